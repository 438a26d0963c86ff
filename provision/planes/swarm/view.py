"""What the nodes' Docker daemons say of their swarm. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from provision.core.situation import Situation
from provision.facts import Facts
from provision.inventory.model import Node

#: Paths of Docker's API: what a daemon says of itself, and, if it is a manager, of all nodes of its swarm.
INFO, NODES = "/info", "/nodes"


@dataclass(frozen=True)
class Daemon:
    """A daemon's own words. `state`: `inactive`, `pending`, `active`, `error` or `locked`; empty if it is silent."""

    state: str = ""
    identity: str = ""
    manager: bool = False
    error: str = ""


def trusted(info: Mapping[str, Any]) -> bytes:
    """Return the authorities' certificates that a manager trusts, from its answer to INFO; empty if it is none."""
    told = (info.get("Swarm") or {}).get("Cluster") or {}
    return str((told.get("TLSInfo") or {}).get("TrustRoot") or "").encode()


@dataclass(frozen=True)
class Listed:
    """A node of the swarm, as its managers list it."""

    identity: str
    hostname: str
    address: str
    ready: bool
    manager: bool
    leader: bool = False
    reachable: bool = False
    version: str = ""

    @property
    def answers(self) -> bool:
        """Whether the managers hear from it, and from a manager also what it votes."""
        return self.ready and (self.reachable or not self.manager)


def daemon(facts: Facts) -> Daemon:
    """Return what a node's daemon says of itself."""
    return told(facts.docker.get(INFO) or {})


def told(info: Mapping[str, Any]) -> Daemon:
    """Return what a daemon says of itself in its answer to INFO."""
    told = info.get("Swarm") or {}
    return Daemon(
        state=told.get("LocalNodeState", ""),
        identity=told.get("NodeID", ""),
        manager=bool(told.get("ControlAvailable")),
        error=told.get("Error", ""),
    )


def data_path_port(situation: Situation) -> int | None:
    """Return the UDP port of packets between the swarm's containers; None if no manager says."""
    infos = (facts.docker.get(INFO) or {} for facts in situation.facts.values())
    clusters = ((info.get("Swarm") or {}).get("Cluster") or {} for info in infos)
    return next((cluster["DataPathPort"] for cluster in clusters if cluster.get("DataPathPort")), None)


def raft(facts: Facts) -> Mapping[str, int]:
    """Return the settings of the swarm's log, as Docker's API names them; empty if the node is no manager."""
    cluster = ((facts.docker.get(INFO) or {}).get("Swarm") or {}).get("Cluster") or {}
    return (cluster.get("Spec") or {}).get("Raft") or {}


def listed(situation: Situation) -> tuple[Listed, ...]:
    """Return the nodes as a manager lists them; empty if no manager does, for example without a quorum."""
    answers = (facts.docker.get(NODES) for facts in situation.facts.values())
    return next((tuple(map(entry, answer)) for answer in answers if answer), ())


def is_ready(one: Mapping[str, Any]) -> bool:
    """Say whether the managers hear from a node, given as they list it."""
    return bool(one["Status"].get("State") == "ready")


def entry(one: Mapping[str, Any]) -> Listed:
    """Return a node, given as the managers list it."""
    status = one.get("ManagerStatus") or {}
    return Listed(
        identity=one["ID"],
        hostname=one["Description"].get("Hostname", ""),
        address=(status.get("Addr") or one["Status"].get("Addr", "")).partition(":")[0],
        ready=is_ready(one),
        manager=one["Spec"].get("Role") == "manager",
        leader=bool(status.get("Leader")),
        reachable=status.get("Reachability") == "reachable",
        version=(one["Description"].get("Engine") or {}).get("EngineVersion", ""),
    )


def found(situation: Situation, node: Node) -> Listed | None:
    """Return a node of the inventory as the managers list it: by its ID, never by its hostname."""
    identity = daemon(situation.of(node)).identity
    return next((one for one in listed(situation) if one.identity == identity), None)


def active(situation: Situation) -> Iterator[Node]:
    """Walk the nodes of the inventory that are in a swarm."""
    return (node for node in situation.cluster.nodes if daemon(situation.of(node)).state == "active")


def is_running(situation: Situation) -> bool:
    """Say whether a swarm was found at work: a manager knows a leader."""
    return any(one.leader for one in listed(situation))
