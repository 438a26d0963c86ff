"""Hosts that leave: `state: absent` in the inventory.

A host leaves its networks and dockerd's gossip first, then the control plane's own membership, and is put back last: a
dockerd whose member was removed goes on through the other members, and is out only when its own configuration says so.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from provision.core.phase import Phase
from provision.core.plan import CLUSTER, Change
from provision.core.plane import Coordinator, Stage, as_it_is
from provision.core.situation import Situation
from provision.errors import Problem, StepFailed
from provision.facts import Facts
from provision.inventory.model import Node
from provision.node import library
from provision.remote import Remote
from provision.resources import KEEPER


def leaving(situation: Situation) -> tuple[Node, ...]:
    """Return the absent hosts that still hold something of ours."""
    return tuple(host for host in situation.cluster.absent if situation.of(host).values.get("record") == "yes")


def left(situation: Situation) -> tuple[Node, ...]:
    """Return the absent hosts that are as they were before, of those that were asked: their entries may go."""
    asked = (host for host in situation.cluster.absent if host.name in situation.facts)
    return tuple(host for host in asked if host not in leaving(situation))


def stages(guests: tuple[str, ...], gone: Callable[[Situation], Situation], title: str) -> tuple[Stage, ...]:
    """Return the stages of a run. Where hosts leave, the second one shuts out those that the first one let go.

    `guests`: the addresses of those hosts. `gone` returns the situation as it will be found without them. `title` says
    what the second stage does.
    """
    if not guests:
        return (Stage(as_it_is),)

    def leave(now: Situation) -> Situation:
        return replace(now, guests=guests)

    return (
        Stage(leave, foresee=lambda now: leave(gone(now))),
        Stage(settled, title, foresee=lambda now: settled(gone(now))),
    )


def settled(situation: Situation) -> Situation:
    """Return the situation in which nobody is leaving."""
    return replace(situation, guests=())


def warnings(situation: Situation) -> tuple[Problem, ...]:
    """Say which entries of the inventory may go."""
    what = "absent, and as it was before its first provision"
    return tuple(Problem(what, host.name, "delete its entry from the inventory") for host in left(situation))


def undo(remote: Remote, functions: str, *names: str, what: str) -> str:
    """Run these functions of reset.sh on a host, with the control plane's own. StepFailed where one fails."""
    return done(remote, "\n".join((library("record", "changes", "packages", "reset"), functions, *names, "")), what)


def done(remote: Remote, script: str, what: str) -> str:
    """Run a script that puts a host back, and return its output. StepFailed where it fails."""
    result = remote.run(script, timeout=300, changes=True, what=what)
    if result.code:
        advice = "remove the cause and run the same again: the record still has what is not yet undone"
        raise StepFailed(Problem(f"{what}: {result.stderr.strip()[-800:]}", remote.node.name, advice))
    return result.stdout


class Departure(Phase):
    """A step of each host that leaves."""

    #: The functions of reset.sh that make the step.
    undoing: tuple[str, ...]

    def __init__(self, functions: Callable[[], str]) -> None:
        """`functions` returns the control plane's own shell functions, which reset.sh calls."""
        self._functions = functions

    def cluster_changes(self, situation: Situation) -> tuple[Change, ...]:
        """Return a change for each host."""
        return tuple(self._change(situation, host) for host in self._hosts(situation))

    def change_cluster(self, situation: Situation, coordinator: Coordinator, change: Change) -> None:
        """Carry the step out on its host."""
        host = next(one for one in self._hosts(situation) if self._change(situation, one) == change)
        left = undo(coordinator.remotes[host.name], self._functions(), *self.undoing, what=f"remove {change.resource}")
        if left:
            raise StepFailed(Problem(left.strip(), host.name, "mend the cause, run provision again: it goes on here"))

    def _hosts(self, situation: Situation) -> tuple[Node, ...]:
        return leaving(situation)

    def _change(self, situation: Situation, host: Node) -> Change:
        raise NotImplementedError


class Withdrawal(Departure):
    """Every container off the networks that hosts share, and dockerd as it was before."""

    name = "withdraw"
    undoing = ("leave_overlays", "drop_keepers", "put_back_docker")

    def __init__(self, functions: Callable[[], str], is_in: Callable[[Facts], bool]) -> None:
        """`is_in` says whether a host's dockerd is in the cluster, or would be when it starts."""
        super().__init__(functions)
        self._is_in = is_in

    def _hosts(self, situation: Situation) -> tuple[Node, ...]:
        return tuple(host for host in leaving(situation) if self._is_in(situation.of(host)))

    def _change(self, situation: Situation, host: Node) -> Change:
        shared = set(situation.networks)
        there = (one for one in situation.of(host).containers if not one.name.startswith(KEEPER))
        users = ", ".join(one.name for one in there if not shared.isdisjoint(one.networks))
        lost = f", disconnect {users} from its networks," if users else ""
        return Change(
            CLUSTER,
            self.name,
            f"{host.name} from the networks",
            "remove",
            note=f"{f'{users} disconnected; ' if users else ''}its Docker restarts, configured as before",
            consent=f"take {host.name} out of the cluster{lost} and restart its Docker",
        )


class PutBack(Departure):
    """Everything as it was before the host's first provision."""

    name = "put-back"
    undoing = ("keep_used_docker", "put_back_rest >/dev/null")

    def _change(self, situation: Situation, host: Node) -> Change:
        note = "the host is as it was before its first provision"
        if situation.of(host).values.get("docker-ours"):
            note += "; Docker, which provision has installed, stays if containers, images or volumes are in it"
        return Change(CLUSTER, self.name, f"everything of ours on {host.name}", "remove", note=note)
