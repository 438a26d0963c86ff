"""Which recoveries each node was part of, and so which nodes were away during one. Pure.

Every recovery adds a line to a list on the nodes that were left. A node whose list is shorter, and which has data of
the cluster, was given up, and has returned: what its data says of the cluster counts no more, however new it looks.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

from provision import layout
from provision.core.phase import Phase
from provision.core.plane import Plane
from provision.core.recovery import Recovery
from provision.core.resource import Difference, Resource
from provision.core.situation import Situation
from provision.errors import PreflightRefused, Problem
from provision.facts import Facts, Question
from provision.inventory.model import Node
from provision.resources import File

#: On a node: no recovery is under way. Its line in the list of recoveries stays. If containers have stayed on their
#: networks, their record is brought up to date again.
CLEAN = f"rm -f {layout.RECOVERY} && {{ [ ! -s {layout.HELD} ] || rm -f {layout.HELD}; }} && sync {layout.STATE}"
#: What every node is asked.
QUESTION = Question(
    paths=(layout.RECOVERIES, layout.RECOVERY),
    hashed=(layout.RECOVERIES,),
    shown=(layout.RECOVERIES, layout.RECOVERY),
)


def lines(facts: Facts) -> tuple[str, ...]:
    """Return a node's list, the oldest recovery first."""
    there = facts.paths.get(layout.RECOVERIES)
    return tuple(((there and there.text) or "").splitlines())


def all_lines(situation: Situation) -> tuple[str, ...]:
    """Return the longest list that a node has, or the controller's, where that goes on from it."""
    longest = max(map(lines, situation.facts.values()), key=len, default=())
    goes_on = situation.recoveries[: len(longest)] == longest
    return situation.recoveries if goes_on else longest


def lost(situation: Situation) -> tuple[str, ...]:
    """Return the addresses of all hosts that were given up in a recovery."""
    hosts = (line.partition(" lost: ")[2] for line in all_lines(situation))
    return tuple(dict.fromkeys(address for one in hosts for address in re.findall(r"\d+\.\d+\.\d+\.\d+(?=,|$)", one)))


def given_up(situation: Situation) -> tuple[str, ...]:
    """Return the addresses of the hosts that were given up in a recovery, and that no node has today."""
    nodes = {node.address for node in situation.cluster.nodes}
    return tuple(one for one in lost(situation) if one not in nodes)


def with_recovery(facts: Facts, recovery: Recovery) -> bytes:
    """Return the list that all nodes that are left get: that of the node that is kept, and the recovery."""
    earlier = (line for line in lines(facts) if line != recovery.line)
    return "".join(f"{line}\n" for line in (*earlier, recovery.line)).encode()


def returned(plane: Plane, situation: Situation) -> tuple[str, ...]:
    """Return the names of the nodes that have data from before a recovery in which they were given up."""
    longest = all_lines(situation)
    return tuple(
        name
        for name, facts in situation.facts.items()
        if plane.holds_data(facts) and lines(facts) != longest and lines(facts) == longest[: len(lines(facts))]
    )


def moment(situation: Situation, name: str) -> str:
    """Return when a host that has returned was given up, in ISO 8601, UTC."""
    return "".join(all_lines(situation)[len(lines(situation.facts[name]))].split()[1:2])


def divided(situation: Situation) -> tuple[Problem, ...]:
    """Say that nodes were part of different recoveries: there are two clusters, and a person chooses one."""
    longest = all_lines(situation)
    other = [name for name, facts in situation.facts.items() if lines(facts) != longest[: len(lines(facts))]]
    if not other:
        return ()
    what = f"{', '.join(other)}: recovered apart from the other nodes: there are two clusters now"
    return (Problem(what, "cluster", "fab recover --keep NODE settles it: the others join that node's cluster anew"),)


def are_apart(situation: Situation, begun: Recovery | None, *nodes: Node) -> bool:
    """Say whether nodes are of two clusters. A recovery that has begun has given all nodes one list."""
    lists = {lines(situation.of(node)) for node in nodes}
    return len(lists) > 1 or not frozenset(nodes).isdisjoint(begun.apart if begun else ())


def of_those_present(plane: Plane, situation: Situation) -> Situation:
    """Return the situation in which nodes that have returned say nothing of the cluster."""
    away = returned(plane, situation)
    facts = {name: plane.disowned(found) if name in away else found for name, found in situation.facts.items()}
    return replace(situation, facts=facts) if away else situation


def warnings(plane: Plane, situation: Situation) -> tuple[Problem, ...]:
    """Say which nodes have returned, and how they join again."""
    problems = []
    for name in returned(plane, situation):
        what = f"this host was given up in the recovery of {moment(situation, name)}: its old data is not let in"
        advice = f"fab provision --yes lets it join anew; its old data is kept in {plane.kept_data}"
        problems.append(Problem(what, name, advice))
    return tuple(problems)


def refuse_divided(situation: Situation) -> None:
    """Raise PreflightRefused where nodes were part of different recoveries."""
    if problems := divided(situation):
        raise PreflightRefused(*problems)


def outlived(plane: Plane, situation: Situation) -> tuple[Problem, ...]:
    """Say that only nodes that were given up have data: what was acknowledged since is on none of them."""
    away = returned(plane, situation)
    if not away or any(plane.holds_data(facts) for name, facts in situation.facts.items() if name not in away):
        return ()
    last = moment(situation, away[-1])
    what = f"only hosts that were given up in the recovery of {last} have the cluster's data: {', '.join(away)}"
    advice = (
        "switch a host on that was left then, with its entry in the inventory; if they are all lost, fab restore FILE, "
        "or fab recover --keep NODE, which goes on with that host's old data: what came after that recovery is lost"
    )
    return (Problem(what, "cluster", advice),)


def doubtful(plane: Plane, situation: Situation) -> tuple[Problem, ...]:
    """Say that nobody knows which data counts, or that the data which counts is on none of these nodes."""
    return (*divided(situation), *outlived(plane, situation))


def refuse(plane: Plane, situation: Situation) -> None:
    """Raise PreflightRefused where `doubtful` says something."""
    if problems := doubtful(plane, situation):
        raise PreflightRefused(*problems)


def being_restored(found: Mapping[str, Facts]) -> tuple[str, ...]:
    """Return the names of the nodes with the mark of a restore that has not ended."""
    ended = {line.partition(" ")[0] for facts in found.values() for line in lines(facts)}
    marks = {name: facts.values["restore"] for name, facts in found.items() if facts.values.get("restore")}
    return tuple(name for name, mark in marks.items() if mark.partition(" ")[0] not in ended)


@dataclass(frozen=True)
class NoRecord(Resource):
    """No record of a recovery or a restore. While one is under way, nothing is provisioned: it is left over then."""

    @property
    def name(self) -> str:
        """`record of a recovery or a restore`."""
        return "record of a recovery or a restore"

    def compare(self, facts: Facts) -> Difference | None:
        """Whether there is one."""
        return Difference("remove") if layout.RECOVERY in facts.paths or facts.values.get("restore") else None

    def apply(self, difference: Difference) -> str:
        """Remove it, durably."""
        return f"rm -f {layout.RESTORE} && {CLEAN}"


def left_over(situation: Situation, node: Node) -> bool:
    """Say whether a node has the record of a recovery, of which none is under way, or the mark of a restore that ended.

    Where this is asked, no recovery is under way: its own plane has other phases.
    """
    facts = situation.of(node)
    marked = bool(facts.values.get("restore")) and node.name not in being_restored(situation.facts)
    return layout.RECOVERY in facts.paths or marked


def known(situation: Situation) -> tuple[Resource, ...]:
    """Return the list of recoveries, once there was one. A node has it before it gets data of the cluster."""
    longest = "".join(f"{line}\n" for line in all_lines(situation)).encode()
    return (File(layout.RECOVERIES, longest, 0o600),) if longest else ()


class Generations(Phase):
    """Every node has the list of recoveries; one with old data takes it when that is put aside."""

    name = "recoveries"

    def __init__(self, gets_it_before: Callable[[Situation, Node], bool] = lambda *_: False) -> None:
        """Take which nodes get the list in a phase before this one."""
        self._gets_it_before = gets_it_before

    def resources(self, situation: Situation, node: Node) -> tuple[Resource, ...]:
        """Return the list, and that no record is left over, where one is."""
        over = (NoRecord(),) if left_over(situation, node) else ()
        return over if self._gets_it_before(situation, node) else (*over, *known(situation))
