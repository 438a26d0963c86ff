"""Which recoveries each node was part of, and so which nodes were away during one. Pure.

Every recovery adds a line to a list on the nodes that were left. A node whose list is shorter, and which has data of
the cluster, was given up, and has returned: what its data says of the cluster counts no more, however new it looks.
"""

from __future__ import annotations

import re
from collections.abc import Callable
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


def given_up(situation: Situation) -> tuple[str, ...]:
    """Return the addresses of the hosts that were given up in a recovery, and that no node has today."""
    nodes = {node.address for node in situation.cluster.nodes}
    lost = (line.partition(" lost: ")[2] for line in all_lines(situation))
    found = dict.fromkeys(address for hosts in lost for address in re.findall(r"\d+\.\d+\.\d+\.\d+(?=,|$)", hosts))
    return tuple(one for one in found if one not in nodes)


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


@dataclass(frozen=True)
class NoRecord(Resource):
    """No record of a recovery. While one is under way, nothing is provisioned: a record is left over then."""

    @property
    def name(self) -> str:
        """`record of a recovery`."""
        return "record of a recovery"

    def compare(self, facts: Facts) -> Difference | None:
        """Whether there is one."""
        return Difference("remove") if layout.RECOVERY in facts.paths else None

    def apply(self, difference: Difference) -> str:
        """Remove it, durably."""
        return CLEAN


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
        over = (NoRecord(),) if layout.RECOVERY in situation.of(node).paths else ()
        return over if self._gets_it_before(situation, node) else (*over, *known(situation))
