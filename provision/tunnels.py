"""Whether SSH leads to the APIs of the store and of Docker: tried early, as they are needed only after the changes."""

from __future__ import annotations

from dataclasses import replace

from provision import layout
from provision.errors import Problem
from provision.remote import Remote, Remotes
from provision.situation import Situation

#: Of no daemon: what is tried on it shows in no journal (tcpmux).
NOBODYS_PORT = 1


def tried(situation: Situation, remotes: Remotes) -> Situation:
    """Return the situation with what each node's sshd said to the tunnels that will be needed."""

    def ask(remote: Remote) -> tuple[Problem, ...]:
        served = {listener.port for listener in situation.of(remote.node).listeners}
        needed = (layout.DOCKER_PORT, *((layout.STORE_PORT,) if remote.node.member else ()))
        free = tuple(port for port in needed if port not in served)
        # A daemon at work would see a caller hang up: it is bothered only where there is doubt.
        if not free and remote.tunnel_refused(NOBODYS_PORT) is None:
            return ()
        return tuple(problem for port in free or needed if (problem := remote.tunnel_refused(port)))

    answers = remotes.each(ask)
    facts = {name: replace(found, not_forwarded=answers[name]) for name, found in situation.facts.items()}
    return replace(situation, facts=facts)
