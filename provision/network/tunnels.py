"""Whether sshd forwards to what the controller needs later: tried before anything is changed."""

from __future__ import annotations

from dataclasses import replace

from provision.core.plane import Plane
from provision.core.situation import Situation
from provision.errors import Problem
from provision.remote import Remote, Remotes

#: A port without a daemon (tcpmux): a connection to it appears in no daemon's journal.
NOBODYS_PORT = 1


def tried(plane: Plane, situation: Situation, remotes: Remotes) -> Situation:
    """Return the situation with the refusals of each node's sshd to forward to what the plane will need."""
    ports = plane.ports_of(situation.cluster)

    def ask(remote: Remote) -> tuple[Problem, ...]:
        if plane.uses_socket and (refusal := remote.sockets_refused()):
            return (refusal,)
        served = {listener.port for listener in situation.of(remote.node).listeners}
        needed = tuple(port.number for port in ports if port.tunnelled and (remote.node.member or not port.members))
        free = tuple(port for port in needed if port not in served)
        # A running daemon would log a connection that closes at once. Its port is tried only if sshd may refuse.
        if not free and remote.tunnel_refused(NOBODYS_PORT) is None:
            return ()
        return tuple(problem for port in free or needed if (problem := remote.tunnel_refused(port)))

    answers = remotes.each(ask, tuple(node for node in situation.cluster.nodes if node.name in situation.facts))
    facts = {name: replace(situation.facts[name], not_forwarded=problems) for name, problems in answers.items()}
    return replace(situation, facts={**situation.facts, **facts})
