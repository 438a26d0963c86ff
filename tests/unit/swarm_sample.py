"""Hosts in swarm mode, as their daemons and managers describe them."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509 import NameOID
from pki_sample import node, sample

from provision.checks import node_view
from provision.core.outcome import failures
from provision.core.situation import Situation
from provision.engine import make_plan
from provision.facts import Facts, Unit
from provision.inventory.model import Node
from provision.planes.swarm import view
from provision.planes.swarm.plane import PLANE

NODES = (node("node1", "192.0.2.1"), node("node2", "192.0.2.2"), replace(node("node3", "192.0.2.3"), member=False))


def listed(one: Node, *, leader: bool = False, ready: bool = True, role: str = "") -> dict[str, Any]:
    """A node as Docker's managers list it."""
    manager = {"Reachability": "reachable", "Addr": f"{one.address}:2377"} | ({"Leader": True} if leader else {})
    role = role or ("manager" if one.member else "worker")
    return {
        "ID": f"id-{one.name}",
        "Spec": {"Role": role},
        "Description": {"Hostname": one.name, "Engine": {"EngineVersion": "26.1.5"}},
        "Status": {"State": "ready" if ready else "down", "Addr": one.address},
        **({"ManagerStatus": manager} if role == "manager" else {}),
    }


def own(one: Node, state: str = "active", *, manager: bool | None = None, error: str = "") -> dict[str, Any]:
    """A daemon's own words."""
    swarm = {"LocalNodeState": state, "NodeID": f"id-{one.name}" if state == "active" else "", "Error": error}
    return {"Swarm": {**swarm, "NodeAddr": one.address, "ControlAvailable": one.member if manager is None else manager}}


def facts(docker: dict[str, Any]) -> Facts:
    values = {"dockerd": "Docker version 26.1.5, build 1", "docker-cli": "yes"}
    return Facts(values=values, docker_answers=True, docker=docker, units={"docker.service": Unit("active")})


def bare(folder: Path) -> Situation:
    """Hosts with Docker, in no swarm."""
    cluster = replace(sample(folder), nodes=NODES, control_plane="swarm")
    return Situation(cluster, facts={one.name: facts({view.INFO: own(one, "inactive")}) for one in NODES})


def at_work(folder: Path, **changed: dict[str, Any]) -> Situation:
    """The three in one swarm; `changed`: other entries of the managers' list."""
    entries = [changed.get(one.name, listed(one, leader=one is NODES[0])) for one in NODES]
    answers = {one.name: {view.INFO: own(one)} | ({view.NODES: entries} if one.member else {}) for one in NODES}
    situation = bare(folder)
    return replace(situation, recorded=True, facts={one.name: facts(answers[one.name]) for one in NODES})


def of_cluster(situation: Situation) -> list[str]:
    """The changes of the swarm that are planned."""
    plan = make_plan(PLANE, situation)
    return [f"{one.action} {one.resource}: {one.note}" for one in plan.changes if one.phase == "swarm"]


def failed(situation: Situation) -> list[tuple[str, str]]:
    """The checks of preflight that fail, and where."""
    outcomes = node_view.run(PLANE, situation, PLANE.checks())
    return [(one.check, one.where) for one in failures(outcomes)]


def listing(situation: Situation, entries: list[dict[str, Any]]) -> Situation:
    """The same, with this list at every manager."""
    found = dict(situation.facts)
    for name, one in found.items():
        if view.NODES in one.docker:
            found[name] = replace(one, docker={**one.docker, view.NODES: entries})
    return replace(situation, facts=found)


def without(situation: Situation, name: str) -> Situation:
    """The same, and the managers do not list this node."""
    entries = [one for one in situation.facts["node1"].docker[view.NODES] if one["ID"] != f"id-{name}"]
    return listing(situation, entries)


def certificate(begin: datetime, end: datetime, unit: str = "swarm-worker", identity: str = "id-node") -> str:
    """A certificate as Docker makes one for a node."""
    key = ec.generate_private_key(ec.SECP256R1())
    names = ((NameOID.ORGANIZATIONAL_UNIT_NAME, unit), (NameOID.COMMON_NAME, identity))
    name = x509.Name([x509.NameAttribute(kind, text) for kind, text in names])
    builder = x509.CertificateBuilder(name, name, key.public_key(), 1, begin, end)
    return builder.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM).decode()
