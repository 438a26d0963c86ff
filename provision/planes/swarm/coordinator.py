"""The door to a running swarm: each node's Docker, through its socket and SSH."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from functools import partial
from ipaddress import IPv4Network
from threading import Lock
from typing import TYPE_CHECKING

from provision import waiting
from provision.core.plane import Coordinator, Status
from provision.core.situation import Situation
from provision.errors import Problem, StepFailed, Unanswered
from provision.inventory.model import Cluster, Node
from provision.planes.swarm import view
from provision.planes.swarm.node import functions
from provision.remote import Remote, Remotes
from provision.resources import call

if TYPE_CHECKING:
    from docker import DockerClient

SOCKET = "/var/run/docker.sock"
#: What to do where no manager answers.
ADVICE = "fab status; on the node: docker info, journalctl -u docker.service"
#: Seconds in which gossip comes back after a short cut: 3 to 41, and up to 62 after a reboot of the leader.
GOSSIP_SECONDS = 70.0
#: Seconds until a dockerd is back in the swarm: an election, 20 to 25 s until it is active, and then gossip.
BACK_SECONDS = 60 + GOSSIP_SECONDS
#: The name of the object with which a write is tried.
QUORUM = "overlay-provision-quorum"


class SwarmCoordinator:
    """The door to a cluster on this plane."""

    def __init__(self, cluster: Cluster, remotes: Remotes) -> None:
        """Reach the nodes through `remotes`."""
        self.cluster, self.remotes = cluster, remotes
        self._clients: dict[str, DockerClient] = {}
        #: Nodes on which a door to Docker's socket was opened for a user who is not root.
        self._doors: list[Node] = []
        self._lock = Lock()

    @property
    def makers(self) -> tuple[Node, ...]:
        """The managers."""
        return self.cluster.members

    def docker(self, node: Node) -> DockerClient:
        """Return a Docker client of one node."""
        from provision.docker.client import over_socket

        with self._lock:
            if node.name not in self._clients:
                path = self._socket(self.remotes[node.name])
                self._clients[node.name] = over_socket(node.name, self.remotes[node.name].socket_tunnel(path))
            return self._clients[node.name]

    def _socket(self, remote: Remote) -> str:
        """Return a socket of Docker that the SSH user may use. StepFailed if none can be made."""
        if remote.user == "root":
            return SOCKET
        living = self.remotes.living()
        self._doors.append(remote.node)
        script = f"{functions('door')}\n{call('open_door', remote.user, self.remotes.run, *living)}\n"
        result = remote.run(script, timeout=60, what="opening a door to Docker's socket")
        if result.code:
            what = f"no socket for {remote.user} that leads to Docker's: {result.stderr.strip()[-400:]}"
            raise StepFailed(
                Problem(what, remote.node.name, "log in as root, or see systemctl status 'overlay-door-*'")
            )
        return result.stdout.strip()

    def manager(self) -> DockerClient:
        """Return a client of the first member that manages the swarm and knows its leader. StepFailed if none does."""
        from provision.docker.client import asked

        problem = Problem("no manager of the swarm answers", "cluster", ADVICE)
        for node in self.cluster.members:
            try:
                client = asked(partial(self.docker, node))
                asked(client.api.inspect_swarm)
            except Unanswered as error:
                problem = Problem(str(error), node.name, ADVICE)
            else:
                return client
        raise StepFailed(problem)

    def missing_peers(self, node: Node, network: str, wanted: Sequence[Node]) -> tuple[Node, ...]:
        """Return those of the nodes that a node's daemon does not know on a network, itself included."""
        there = self.docker(node).api.inspect_network(network, verbose=True)
        known = {one["IP"] for one in there.get("Peers") or ()}
        return tuple(one for one in wanted if one.address not in known)

    def aim(self, situation: Situation) -> None:
        """Take up nothing: the controller keeps no certificate."""

    def await_quorum(self, occasion: str) -> None:
        """Return once the managers have made an object and removed it. StepFailed when they do not in a minute."""
        from provision.docker.client import asked

        name = f"{QUORUM}-{os.getpid()}"

        def write() -> None:
            api = self.manager().api
            made = asked(lambda: api.create_config(name, occasion.encode()))
            asked(lambda: api.remove_config(made["ID"]))

        waiting.until(write, f"the swarm's managers agree on a write ({occasion})", "cluster", ADVICE)

    def await_back(self, situation: Situation, nodes: Sequence[Node]) -> None:
        """Return once all nodes are ready, every manager is heard, and on each network all know each other."""
        from provision.planes.swarm import gate

        names = ", ".join(node.name for node in nodes)
        what = f"dockerd is in the swarm again on {names}, and all nodes know each other"
        waiting.until(lambda: gate.check(situation, self), what, names, ADVICE, seconds=BACK_SECONDS)

    def cleaning_up_after(self, subnet: IPv4Network) -> AbstractContextManager[None]:
        """Do nothing: the managers forget a network with its removal."""
        return nullcontext()

    def users_data(self, situation: Situation) -> list[Problem]:
        """Return which services, secrets and configs a reset would delete. Unanswered if no manager lists them."""
        from provision.docker.client import asked

        if not any(view.active(situation)):
            return []
        unseen = "services, secrets and configs in the swarm cannot be looked at: no manager knows a leader"
        if not view.is_running(situation):
            raise Unanswered(unseen)
        try:
            docker = self.manager()
            things = {"service": docker.services, "secret": docker.secrets, "config": docker.configs}
            found = {kind: asked(there.list) for kind, there in things.items()}
        except (StepFailed, Unanswered) as error:
            raise Unanswered(unseen) from error
        return [
            Problem(f"{kind} {one.name} is in the swarm and not ours", "cluster")
            for kind, there in found.items()
            for one in there
            if not one.name.startswith(QUORUM)
        ]

    def status(self, situation: Situation, *, store: bool) -> Status:
        """Look at managers and daemons."""
        from provision.planes.swarm.status import could_not_start, status

        found = status(self.remotes.each(could_not_start), situation)
        hidden = "; --store shows nothing: a swarm's keys are encrypted, and its managers do not give them"
        return replace(found, summary=found.summary + hidden) if store else found

    def save(self, situation: Situation) -> Mapping[str, bytes]:
        """Return a copy of a manager's files, taken while it is at work."""
        from provision.planes.swarm.saving import save

        return save(self, situation)

    def close(self) -> None:
        """Close the clients, and the doors."""
        for client in self._clients.values():
            client.close()
        script = f"{functions('door')}\n{call('close_door', self.remotes.run)}\n"
        self.remotes.each(lambda remote: remote.run(script, what="closing the door"), tuple(self._doors))


def opened(coordinator: Coordinator) -> SwarmCoordinator:
    """Return this plane's coordinator as what it is, for phases and checks of this plane."""
    if not isinstance(coordinator, SwarmCoordinator):
        raise TypeError(f"{coordinator!r} is another plane's")
    return coordinator
