"""Clusters whose members change, and their plans."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path as LocalPath

from cluster_sample import (
    answering,
    foreseen,
    lines,
    planned,
    store_member,
)
from pki_sample import node, sample

from provision.core.plane import Goal
from provision.core.situation import Situation
from provision.engine import make_plan
from provision.inventory.model import Node
from provision.planes.etcd import pki
from provision.planes.etcd.local import with_identity
from provision.planes.etcd.plane import PLANE

FIVE = tuple(node(f"node{number}", f"192.0.2.{number}") for number in range(1, 6))


def at_work(folder: LocalPath, *nodes: Node, firewall: bool = False) -> Situation:
    """Members at work."""
    return planned(replace(sample(folder), nodes=nodes, firewall=firewall))


def shrunk(situation: Situation, *nodes: Node, alive: bool = True) -> Situation:
    """The same hosts, of which the inventory names only these now; those that are named no more answer, or not."""
    urls = " ".join(f"https://{one.address}:2379" for one in situation.cluster.nodes if one not in nodes)
    facts = {name: found for name, found in situation.facts.items() if name in {one.name for one in nodes}}
    cluster = replace(situation.cluster, nodes=nodes)
    known = tuple(map(store_member, situation.cluster.members))
    facts = {name: answering(members=known)(found) for name, found in facts.items()}
    first = nodes[0].name
    facts[first] = replace(facts[first], answers={**facts[first].answers, "healthy": urls if alive else ""})
    return with_identity(replace(situation, cluster=cluster, facts=facts), pki.make(cluster))


def plans(situation: Situation) -> list[list[str]]:
    """What each stage would change, as far as it is known before the first one."""
    first, *_ = PLANE.stages(situation, Goal.CONVERGE)
    return [lines(make_plan(PLANE, first.enter(situation))), *map(lines, foreseen(situation, Goal.CONVERGE))]
