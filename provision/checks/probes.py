"""Probes: containers that a check starts on every node, on one network, looks through, and takes away again."""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from docker.errors import APIError
from docker.types import LogConfig

from provision.checks import attached_shell
from provision.checks.attached_shell import AttachedShell
from provision.checks.proof import Proof
from provision.errors import Problem, StepFailed
from provision.facts import RUN_LABEL
from provision.inventory.model import Node

if TYPE_CHECKING:
    from docker.models.containers import Container

#: A probe ends by itself, so that one left by a killed run does not stay.
PROBE_SECONDS = 300
#: Seconds for an answer: a new endpoint is known on the other side within one or two (gossip every 200 ms).
PATIENCE = 8
#: Seconds for a container or a network to go: Docker does it beside, and says 409 meanwhile.
REMOVAL_SECONDS = 20
_REACH = f"""
for target; do
    end=$(($(date +%s) + {PATIENCE}))
    until seen=$(ping -c 1 -W 1 "$target" 2>&1); do
        [ "$(date +%s)" -lt "$end" ] || break
    done
    time=${{seen##*time=}}
    case $seen in *time=*) echo "$target ${{time%% ms*}}" ;; *) echo "$target lost" ;; esac
done
"""


class NotOnTheNetworkError(Exception):
    """Docker started a container on a network and gave it no address there."""


class AddressTakenError(Exception):
    """Another container of the network has the address that was asked for."""


@dataclass(frozen=True)
class Probe:
    """A container of ours on one node and one network; a keeper has no shell that is attached."""

    node: Node
    container: Container
    name: str
    address: str
    shell: AttachedShell | None = None

    @property
    def process(self) -> int:
        """Its first process, as the node numbers it."""
        return int(self.container.attrs["State"]["Pid"])

    def run(self, script: str, *arguments: str) -> str:
        """Run a script in it; return what it wrote."""
        if self.shell:
            return self.shell.run(script, *arguments)
        answer = self.container.exec_run(["sh", "-c", script, "probe", *arguments])
        return str(answer.output.decode(errors="replace"))

    def close(self) -> None:
        """Let go of it; it is removed by its crew, or by who started it."""
        if self.shell:
            self.shell.close()

    def reach(self, *targets: str) -> dict[str, str]:
        """Ping addresses and names until they answer: the milliseconds of those that did, in time."""
        answers = (line.split() for line in self.run(_REACH, *targets).splitlines())
        return {words[0]: words[1] for words in answers if len(words) == 2 and words[1] != "lost"}


def new_name(proof: Proof, node: Node) -> str:
    """Return a name that no container has: names are of the whole network."""
    return f"probe-{proof.run}-{secrets.token_hex(3)}-{node.name}"[:63]


def start(proof: Proof, node: Node, network: str, name: str, address: str | None = None) -> Probe:
    """Start a probe, at an address or wherever Docker puts it.

    AddressTakenError, NotOnTheNetworkError, or what Docker says.
    """
    api = proof.coordinator.docker(node).api
    given = {"ipv4_address": address} if address else {}
    made = api.create_container(
        proof.cluster.probe.image,
        command=attached_shell.command(PROBE_SECONDS),
        stdin_open=True,
        name=name,
        labels={RUN_LABEL: proof.run},
        # It says nothing and shares nothing: a tenth of its start less.
        host_config=api.create_host_config(
            auto_remove=True, network_mode=network, ipc_mode="none", log_config=LogConfig(type="none")
        ),
        networking_config=api.create_networking_config({network: api.create_endpoint_config(**given)}),
    )
    shell = AttachedShell(api, made["Id"])
    try:
        api.start(made["Id"])
        return replace(found(proof, node, network, name), shell=shell)
    except BaseException as error:
        shell.close()
        if address and isinstance(error, APIError) and "already in use" in str(error.explanation).lower():
            raise AddressTakenError(f"{address} on {network} is in use") from error
        raise


def found(proof: Proof, node: Node, network: str, name: str) -> Probe:
    """Return a container that is on a network as a probe. NotOnTheNetworkError, or what Docker says."""
    container = proof.coordinator.docker(node).containers.get(name)
    address = container.attrs["NetworkSettings"]["Networks"].get(network, {}).get("IPAddress")
    if not address:
        raise NotOnTheNetworkError(f"Docker on {node.name} started {name} without an address")
    return Probe(node, container, name, address)


def remove(proof: Proof, node: Node, container: str) -> bool:
    """Remove a container, by name or ID; return when it is gone, and whether it was there. StepFailed if it stays."""
    api = proof.coordinator.docker(node).api
    return gone(lambda: api.remove_container(container, force=True), f"container {container}", node.name)


def gone(removal: Callable[[], object], what: str, where: str) -> bool:
    """Repeat a removal until it succeeds or there is nothing to remove: whether there was something.

    StepFailed, with Docker's last words.
    """
    deadline = time.monotonic() + REMOVAL_SECONDS
    was_there = False
    while True:
        try:
            removal()
            return True
        except APIError as error:
            if error.status_code == 404:
                return was_there
            was_there = True
            if time.monotonic() > deadline:
                raise StepFailed(Problem(f"{what} is left behind: {error.explanation}", where)) from error
        time.sleep(0.02)
