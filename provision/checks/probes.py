"""Probes: containers that a check starts on a network of every node, sends packets from, and removes."""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from docker.errors import APIError
from docker.types import LogConfig

from provision.checks import attached_shell
from provision.checks.attached_shell import AttachedShell, executed
from provision.checks.proof import Proof
from provision.errors import Problem, StepFailed
from provision.facts import RUN_LABEL
from provision.inventory.model import Node

if TYPE_CHECKING:
    from docker.models.containers import Container

#: Seconds after which a probe ends by itself, so that a killed run leaves none running.
PROBE_SECONDS = 300
#: Seconds to wait for an answer: the other hosts know a new endpoint after one or two (gossip runs every 200 ms).
PATIENCE = 8
#: Seconds to wait for a TCP connection to be made or refused: the kernel sends its request again after one second.
TCP_SECONDS = 3
#: A port at which no container of ours listens: discard.
NOBODYS_PORT = 9
#: Seconds to wait for a container or network to be removed: Docker removes in the background, and says 409 meanwhile.
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

#: Connect to a port of each address at which nobody listens, to all at once: a refusal has crossed both ways by TCP.
#: Print each address and the exit code of `timeout`.
_CONNECT = f"""
for target; do
    case $target in *[!0-9.]*) continue ;; esac
    {{
        timeout {TCP_SECONDS} nc "$target" {NOBODYS_PORT} </dev/null >/dev/null 2>&1
        echo "$target tcp $?"
    }} &
done
wait
"""
#: The exit codes of GNU's and busybox's `timeout` if the time is over.
_OVER = ("124", "143")


class NotOnTheNetworkError(Exception):
    """Docker started a container without an address on its network."""


class AddressTakenError(Exception):
    """Another container of the network has the requested address."""


@dataclass(frozen=True)
class Probe:
    """A container of ours on one node and one network. A keeper serves as a probe without an attached shell."""

    node: Node
    container: Container
    name: str
    address: str
    shell: AttachedShell | None = None

    @property
    def process(self) -> int:
        """The PID of the container's first process, on the node."""
        return int(self.container.attrs["State"]["Pid"])

    def run(self, script: str, *arguments: str) -> str:
        """Run a script in the container; return its stdout and stderr."""
        if self.shell:
            return self.shell.run(script, *arguments)
        return executed(self.container.client.api, self.container.id, script, *arguments)

    def close(self) -> None:
        """Close the attached shell. The container is removed by whoever started it."""
        if self.shell:
            self.shell.close()

    def reach(self, *targets: str) -> dict[str, str]:
        """Ping addresses and names until they answer. Return the milliseconds of each that answered in time."""
        return self.reach_by_tcp(*targets, script=_REACH)[0]

    def reach_by_tcp(self, *targets: str, script: str = _REACH + _CONNECT) -> tuple[dict[str, str], frozenset[str]]:
        """Ping addresses and names as `reach` does; return also the addresses that do not answer by TCP.

        An image without `nc` says nothing of TCP.
        """
        answers = [line.split() for line in self.run(script, *targets).splitlines()]
        pings = {words[0]: words[1] for words in answers if len(words) == 2 and words[1] != "lost"}
        silent = frozenset(words[0] for words in answers if words[1:2] == ["tcp"] and words[2:] and words[2] in _OVER)
        return pings, silent


def new_name(proof: Proof, node: Node) -> str:
    """Return a name that no container has on any node, because a network has its names on all nodes."""
    return f"probe-{proof.run}-{secrets.token_hex(3)}-{node.name}"[:63]


def start(proof: Proof, node: Node, network: str, name: str, address: str | None = None) -> Probe:
    """Start a probe, at `address` or at one that Docker chooses.

    AddressTakenError, NotOnTheNetworkError, or Docker's APIError.
    """
    try:
        return _started(proof, node, network, name, address)
    except APIError as error:
        if not is_forestalled(error):
            raise
        remove(proof, node, name)
        with suppress(APIError):  # an endpoint of that name may have stayed
            proof.coordinator.docker(node).api.disconnect_container_from_network(name, network, force=True)
        return _started(proof, node, network, name, address)


def is_forestalled(error: APIError) -> bool:
    """Say whether another host wrote the same key of Docker's store first. Docker does not try again."""
    return "key modified" in str(error.explanation)


def _started(proof: Proof, node: Node, network: str, name: str, address: str | None) -> Probe:
    api = proof.coordinator.docker(node).api
    given = {"ipv4_address": address} if address else {}
    made = api.create_container(
        proof.cluster.probe.image,
        command=attached_shell.command(PROBE_SECONDS),
        stdin_open=True,
        name=name,
        labels={RUN_LABEL: proof.run},
        use_config_proxy=False,  # the controller's ~/.docker/config.json may name one, for other containers
        # Without a log and shared memory the container starts in nine tenths of the time.
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
    """Return a running container of a network as a probe. NotOnTheNetworkError, or Docker's APIError."""
    container = proof.coordinator.docker(node).containers.get(name)
    address = container.attrs["NetworkSettings"]["Networks"].get(network, {}).get("IPAddress")
    if not address:
        raise NotOnTheNetworkError(f"Docker on {node.name} started {name} without an address on {network}")
    return Probe(node, container, name, address)


def remove(proof: Proof, node: Node, container: str) -> bool:
    """Remove a container by name or ID, wait until it is gone, return whether it existed. StepFailed if it stays."""
    api = proof.coordinator.docker(node).api
    return gone(lambda: api.remove_container(container, force=True), f"container {container}", node.name)


def gone(removal: Callable[[], object], what: str, where: str) -> bool:
    """Repeat a removal until it succeeds or nothing is left to remove. Return whether there was something to remove.

    StepFailed, with Docker's last error message, if it does not succeed in time.
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
                raise StepFailed(Problem(f"{what} could not be removed: {error.explanation}", where)) from error
        time.sleep(0.02)
