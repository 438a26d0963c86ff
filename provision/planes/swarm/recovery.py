"""A swarm that has lost its quorum, or its last manager: what its nodes know, and which hosts were given up. Pure."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from typing import Any

from provision import layout
from provision.core.recovery import Recovery, Standing
from provision.core.resource import call
from provision.core.situation import Situation, is_shared
from provision.errors import Problem
from provision.facts import Facts
from provision.inventory.model import Node
from provision.migration.networks import of_docker
from provision.migration.record import SharedNetwork
from provision.node import library
from provision.planes.swarm import paths, validity, view
from provision.planes.swarm.node import functions
from provision.recovery import generations
from provision.resources import KEEPER

#: The name of the answer of `fact_swarm_tasks`: a line `NAME HOST` for each container that a daemon knows.
TASKS = "swarm-tasks"
#: The end of the name of the option with a network's numbers.
NUMBERS = "vxlanid_list"


def standings(situation: Situation, given_up: Collection[str] = ()) -> tuple[Standing, ...]:
    """Return what each node that answers is to the swarm.

    Where no manager answers, each worker has what is left: its networks, and the containers on them. A manager that was
    given up, by its name, is none of this swarm.
    """
    nodes = [node for node in situation.cluster.nodes if node.name in situation.facts]
    managed = any(manages(situation, node) for node in nodes if node.name not in given_up)
    return tuple(_standing(situation, node, managed=managed) for node in nodes)


def manages(situation: Situation, node: Node) -> bool:
    """Say whether a node is a manager, by its daemon's word, or by its certificate where the daemon is silent.

    A daemon may not answer in time while it waits for a quorum.
    """
    facts = situation.of(node)
    if view.daemon(facts).state:
        return view.daemon(facts).manager
    return facts.values.get("swarm") == "yes" and validity.role(facts.answers.get(validity.NODE, "")) == "manager"


def _standing(situation: Situation, node: Node, *, managed: bool) -> Standing:
    facts, daemon = situation.of(node), view.daemon(situation.of(node))
    info = facts.docker.get(view.INFO) or {}
    swarm = info.get("Swarm") or {}
    managers = [one.get("Addr", "").partition(":")[0] for one in swarm.get("RemoteManagers") or ()]
    manager = manages(situation, node)
    role = "manager" if manager else "worker"
    # One that was rebooted without its managers is `pending`: it is in the swarm, too.
    in_swarm = daemon.state == "active" or facts.values.get("swarm") == "yes"
    return Standing(
        node,
        holds_data=manager or (not managed and in_swarm),
        has_quorum=any(view.entry(one).leader for one in facts.docker.get(view.NODES) or ()),
        members=tuple(filter(None, managers)),
        networks=frozenset(one["Name"] for one in facts.networks if is_shared(one)),
        told="; ".join(filter(None, (f"{role}, {daemon.state}" if daemon.state else "Docker is silent", daemon.error))),
    )


def follow_up(situation: Situation) -> Mapping[str, str]:
    """Return the scripts that ask the daemons for the containers of all hosts, where no manager knows a leader."""
    if view.is_running(situation):
        return {}
    names = sorted(situation.networks)
    script = "\n".join((library("facts"), functions("facts"), call("fact_swarm_tasks", *names), ""))
    return {node.name: script for node in view.active(situation)} if names else {}


def lost_containers(situation: Situation, address: str) -> tuple[str, ...]:
    """Return the names of a host's containers, as other daemons know them, or as recorded before it was lost."""
    answers = [facts.answers.get(TASKS, "") for facts in situation.facts.values()]
    records = (facts.paths.get(paths.OTHERS) for facts in situation.facts.values())
    texts = [*answers, *((one and one.text) or "" for one in records)]
    lines = (line.split() for text in texts for line in text.splitlines())
    return tuple(sorted({line[0] for line in lines if line[1:] == [address] and not line[0].startswith(KEEPER)}))


def networks(situation: Situation, decided: Recovery) -> tuple[SharedNetwork, ...]:
    """Return the networks that the swarm had: by the kept node's record from before it left, or as daemons tell.

    The records of other nodes that left in this recovery, before a run was killed, count last. A worker does not know
    networks on which it has no container. Those that the inventory has, `provision` makes.
    """
    others = (situation.facts.get(one.name) for one in decided.others if one not in decided.apart)
    left = (facts for facts in others if facts and view.daemon(facts).state == "inactive")
    of_others = [network for facts in left for network in _recorded(facts) or ()]
    mine = _recorded(situation.of(decided.keep)) or ()
    told = (*of_others, *situation.networks.values(), *mine)
    return tuple({one["Name"]: _shared(one) for one in told if _is_ours(one)}.values())


def _recorded(facts: Facts) -> Sequence[Mapping[str, Any]] | None:
    """Return the networks that a node had in its swarm; None where they are unknown, or Docker knows better.

    The record counts as long as containers are off their networks, and where Docker was started without its managers.
    See former_swarm.sh.
    """
    held, recorded = facts.paths.get(layout.HELD), facts.paths.get(paths.NETWORKS)
    is_off = held is not None and not held.text
    if not (is_off or view.daemon(facts).state == "pending") or not recorded or not (recorded.text or "").strip():
        return None
    try:
        found: list[Mapping[str, Any]] = json.loads(recorded.text or "")
    except ValueError:  # a damaged disk
        return None
    return found


def unanswered(situation: Situation, decided: Recovery) -> tuple[Problem, ...]:
    """Say which workers do not tell their networks, where another swarm begins: it would be without these networks."""
    if manages(situation, decided.keep):
        return ()
    what = "its Docker does not list its networks, and another swarm would begin without them"
    advice = "when this lists them there: docker network ls; then fab recover, once more"
    found = {one.name: situation.facts.get(one.name) for one in (decided.keep, *decided.others)}
    unknown = [name for name, facts in found.items() if facts and not facts.docker_answers and _recorded(facts) is None]
    return tuple(Problem(what, name, advice) for name in unknown)


def _shared(network: Mapping[str, Any]) -> SharedNetwork:
    """Return a network with all its options but its numbers (VNI), which the new swarm chooses."""
    options = network.get("Options") or {}
    return replace(of_docker(network), options={key: options[key] for key in options if not key.endswith(NUMBERS)})


def _is_ours(network: Mapping[str, Any]) -> bool:
    return network.get("Driver") == "overlay" and not network.get("Ingress")


def identity(situation: Situation, node: Node) -> str:
    """Return a node's ID: as its daemon says, else as its certificate does. Empty where it is in no swarm."""
    facts = situation.of(node)
    if facts.values.get("swarm") != "yes":  # it has left
        return ""
    return view.daemon(facts).identity or validity.identity(facts.answers.get(validity.NODE, ""))


def was_given_up(situation: Situation, node: Node) -> bool:
    """Say whether a node is back that was struck off the list while it was away: the running swarm shuts it out.

    It may have left its swarm by itself since then: see mend_removed.sh.
    """
    facts = situation.of(node)
    if paths.PEERS not in facts.paths or view.daemon(facts).state == "active" or not view.is_running(situation):
        return False
    mine = identity(situation, node)
    if not mine:
        return layout.HELD in facts.paths and generations.lines(facts) != generations.all_lines(situation)
    return mine not in {one.identity for one in view.listed(situation)}


def keeps_gossip(facts: Facts) -> bool:
    """Say whether a node's daemon has left its swarm by itself and still listens for gossip: it would hear nobody."""
    listens = any((one.port, one.unit) == (layout.GOSSIP_PORT, layout.DOCKER_UNIT) for one in facts.listeners)
    return listens and view.daemon(facts).state == "inactive" and layout.HELD in facts.paths


def folder(situation: Situation, node: Node) -> str:
    """Return the folder in which a node keeps the data of the swarm that it leaves; a number follows if it is there."""
    return f"{paths.FORMER}/{identity(situation, node) or 'unknown'}"


def disowned(facts: Facts) -> Facts:
    """Return a node's facts without what its daemon says of its swarm, and without the networks of the swarm."""
    info = {key: value for key, value in (facts.docker.get(view.INFO) or {}).items() if key != "Swarm"}
    docker = {path: answer for path, answer in facts.docker.items() if path != view.NODES}
    networks = tuple(one for one in facts.networks if not is_shared(one))
    return replace(facts, docker={**docker, view.INFO: info}, networks=networks)


def returned(situation: Situation, known: Collection[str]) -> tuple[Problem, ...]:
    """Say which other hosts than those that are known were struck off the list, and how they join again."""
    what = "this host was struck off the swarm while it was away: its old data is not let in"
    advice = (
        f"fab provision --yes lets it join anew; its old data is kept in {paths.FORMER}, and its containers come back"
    )
    nodes = (node for node in situation.cluster.nodes if node.name not in known and was_given_up(situation, node))
    return tuple(Problem(what, node.name, advice) for node in nodes)
