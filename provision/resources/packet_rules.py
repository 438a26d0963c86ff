"""Docker's rules for packets (iptables): dockerd makes them at its start, and does not notice if they go. Pure.

A firewall that is loaded anew may flush them. Packets of overlays do not pass them. But then containers do not reach
anything outside of their networks, and no other host reaches a published port through them. Neither a reload of dockerd
nor the start of a container brings all of them back. A restart of dockerd does, in each version.
"""

from __future__ import annotations

import re

from provision.core.situation import Situation
from provision.errors import Problem
from provision.facts import Facts
from provision.resources.containers import GATEWAY_BRIDGE

#: By the word for a rule in the answer of `fact_rules`: what it is.
RULES = {
    "forward": "filter FORWARD -j DOCKER-USER",
    "nat": "nat PREROUTING -j DOCKER",
    "masquerade": f"nat POSTROUTING ! -o {GATEWAY_BRIDGE} -j MASQUERADE",
}
#: Flags with which dockerd makes no such rules.
_WITHOUT = re.compile(r"--iptables[= ]\"?false|--firewall-backend[= ]\"?nftables")


def lost(facts: Facts) -> tuple[str, ...]:
    """Return the rules that a running dockerd has made on a node, and that are gone; none if that is not known."""
    told = facts.values.get("docker-rules")
    if told is None or not facts.docker_answers or _makes_none(facts):
        return ()
    there = told.split()
    wanted = [word for word in RULES if word != "masquerade" or _masquerades(facts)]
    return tuple(RULES[word] for word in wanted if word not in there)


def gone(facts: Facts) -> str:
    """Return the same as a plan says it; empty if nothing is gone."""
    return "Docker's rules for packets, which are gone" if lost(facts) else ""


def _makes_none(facts: Facts) -> bool:
    flags = f"{facts.values.get('docker-unit', '')}\n{facts.values.get('docker-options', '')}"
    settings = facts.settings
    return (
        settings.get("iptables") is False
        or settings.get("firewall-backend") == "nftables"
        or bool(_WITHOUT.search(flags))
    )


def _masquerades(facts: Facts) -> bool:
    """Say whether there is a bridge out of overlays, and Docker masquerades packets from it."""
    option = "com.docker.network.bridge.enable_ip_masquerade"
    bridges = (network for network in facts.networks if network["Name"] == GATEWAY_BRIDGE)
    return any((bridge.get("Options") or {}).get(option, "true") == "true" for bridge in bridges)


def problems(situation: Situation) -> tuple[Problem, ...]:
    """Say on which nodes rules are gone, what that means, and what brings them back."""
    return tuple(
        Problem(
            f"Docker's rules for packets are gone: {'; '.join(gone)}: containers do not reach anything outside of "
            "their networks",
            name,
            "fab provision restarts Docker there, which makes them anew; fab plan names the containers that stops. "
            "What flushed them? A firewall that is loaded must leave Docker's chains alone",
        )
        for name, facts in situation.facts.items()
        if (gone := lost(facts))
    )
