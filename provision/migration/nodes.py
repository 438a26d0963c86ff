"""How far each node is in a migration, and the situation in which the former control plane leaves it. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from enum import IntEnum

from provision import layout
from provision.core.plane import Plane
from provision.core.situation import Situation, is_shared
from provision.facts import Facts, Question
from provision.inventory.model import Cluster, Network
from provision.migration.networks import as_docker_tells
from provision.migration.record import SharedNetwork
from provision.network.subnets import subnets_of
from provision.resources import KEEPER

#: On a node: the record of the whole migration, how far the node is, and when its containers began to stop.
RECORD = f"{layout.STATE}/migration.json"
STAGE = f"{layout.STATE}/migration.stage"
STOPPED = f"{layout.STATE}/migration.stopped"
#: Remove all that a migration has written, the record first: without it, the rest says nothing.
CLEAN = f"rm -f {RECORD} && sync {layout.STATE} && rm -f {layout.HELD} {STAGE} {STOPPED}"
#: Beside what of ours lies there, a node is asked for these.
QUESTION = Question(paths=(RECORD, STAGE, STOPPED), shown=(RECORD, STAGE, STOPPED))


class Stage(IntEnum):
    """How far a node is."""

    #: The former control plane is at work, and nothing is recorded.
    BEFORE = 0
    #: The node has the record, and nothing has stopped.
    RECORDED = 1
    #: dockerd was stopped, and nothing of the former control plane is in its configuration.
    STOPPED = 2
    #: Nothing of the former control plane is left.
    LEFT = 3
    #: The node has no record, and nothing of the former control plane: it was never part, or its containers are back.
    OUT = 4


def stage(before: Plane, facts: Facts) -> Stage:
    """Return how far a node is."""
    if RECORD not in facts.paths:
        return Stage.BEFORE if before.is_on(facts) else Stage.OUT
    told = facts.paths[STAGE].text if STAGE in facts.paths else None
    return {"stopped": Stage.STOPPED, "left": Stage.LEFT}.get((told or "").strip(), Stage.RECORDED)


def is_stopped(facts: Facts) -> bool:
    """Say whether containers of a node were stopped, by its own files: then what runs there now says nothing."""
    return STAGE in facts.paths or STOPPED in facts.paths


def left(before: Plane, situation: Situation) -> Situation:
    """Return the situation as it will be found when the former control plane has left every node."""
    ports = {port.number: port for port in before.ports_of(situation.cluster)}

    def emptied(facts: Facts) -> Facts:
        process = facts.unit(layout.DOCKER_UNIT).process
        others = (
            one
            for one in facts.listeners
            if one.port not in ports or (f"pid={process}," not in one.owner and not ports[one.port].in_kernel)
        )
        mine = (layout.DOCKER_OURS, layout.DOCKER_DROP_IN, layout.PROGRAMS, layout.MEND_UNIT_FILE)
        gone = (layout.DOCKER_UNIT, layout.MEND_UNIT)
        return replace(
            facts,
            listeners=tuple(others),
            paths={path: fact for path, fact in facts.paths.items() if not path.startswith(mine)},
            units={name: unit for name, unit in facts.units.items() if name not in gone},
            containers=(),
            stopped=tuple(one for one in facts.every_container if KEEPER not in one.labels),
            networks=tuple(one for one in facts.networks if not is_shared(one)),
        )

    found = {
        name: emptied(facts) if stage(before, facts) < Stage.LEFT else facts for name, facts in situation.facts.items()
    }
    return replace(situation, facts=found)


def with_recorded(situation: Situation, networks: Sequence[SharedNetwork]) -> Situation:
    """Return the situation with the recorded networks that are not there yet, and each subnet of the inventory fixed.

    So that they keep their subnets, and nothing else gets them. None is removed, for containers come back there.
    """
    there = situation.networks
    missing = tuple(as_docker_tells(one) for one in networks if one.name not in there)
    first, *_ = situation.facts
    facts = situation.facts[first]
    known = replace(facts, networks=(*facts.networks, *missing))
    staying = tuple(one.name for one in networks)
    whole = replace(situation, facts={**situation.facts, first: known}, staying=staying)
    return replace(whole, cluster=_with_subnets(whole))


def _with_subnets(situation: Situation) -> Cluster:
    there = situation.networks

    def fixed(network: Network) -> Network:
        subnet = next(iter(subnets_of(there.get(network.name, {}))), None)
        return replace(network, subnet=network.subnet or subnet)

    return replace(situation.cluster, networks=tuple(map(fixed, situation.cluster.networks)))
