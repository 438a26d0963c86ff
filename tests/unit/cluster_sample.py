"""A cluster of two members and a node more: its situation, and what its hosts answer before and after provisioning.

The identity is a real one. `planned` says, by rules of its own, what a host shows when every resource is there.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from dataclasses import replace
from hashlib import sha256
from itertools import pairwise
from pathlib import Path as LocalPath
from typing import Any

from pki_sample import sample

from provision import layout
from provision.core.plan import Change, Plan
from provision.core.plane import Goal
from provision.core.situation import Situation
from provision.engine import foresee
from provision.facts import Clock, Container, Facts, Listener, PathFact, Space, Unit
from provision.inventory.model import Cluster, Node
from provision.network.subnets import assigned
from provision.planes.etcd import paths, pki
from provision.planes.etcd.local import Local
from provision.planes.etcd.pki import Identity
from provision.planes.etcd.plane import PLANE
from provision.planes.etcd.release import Artifact
from provision.planes.etcd.resources import Release
from provision.resources import (
    GATEWAY_BRIDGE,
    KEEPER,
    File,
    Folder,
    GatewayBridge,
    Image,
    Keeper,
    Link,
    NoRuleset,
    Resource,
    Ruleset,
    Service,
    User,
)

RELEASE = Artifact(
    archive="/srv/etcd-v3.5.30-linux-amd64.tar.gz",
    sha256="a" * 64,
    top="etcd-v3.5.30-linux-amd64",
    version="3.5.30",
    cpu="x86_64",
    hashes={"etcd": "e" * 64, "etcdctl": "c" * 64},
)
VENDOR_UNIT = """\
# /lib/systemd/system/docker.service
[Service]
ExecStart=/usr/sbin/dockerd -H fd:// $DOCKER_OPTS
"""
ETCD_PROCESS, DOCKER_PROCESS = 201, 202
PORTS = {2379: paths.ETCD_UNIT, 2380: paths.ETCD_UNIT, 2376: layout.DOCKER_UNIT, 7946: layout.DOCKER_UNIT}


def bare(node: Node) -> Facts:
    """A Debian 12 host with its Docker running, and nothing of ours."""
    values = {
        "hostname": node.name,
        "kernel": "6.1.0-18-amd64",
        "machine": "x86_64",
        "machine-id": node.name * 4,
        "init": "systemd",
        "root": "0",
        "vxlan": "yes",
        "dockerd": "Docker version 20.10.24+dfsg1, build 297e128",
        "docker-cli": "/usr/bin/docker",
        "docker-unit": VENDOR_UNIT,
        "docker-root": "/var/lib/docker",
        "programs": "containerd-shim-runc-v2 runc iptables ",
        "cgroups": "yes",
        "seccomp": "yes",
        "routes": "192.0.2.0/24 dev eth0 scope link;",
    }
    docker = Unit("active", "enabled", DOCKER_PROCESS)
    disk = Space("/", 20_000_000_000, frozenset({"rw", "relatime"}))
    return Facts(
        values=values,
        units={layout.DOCKER_UNIT: docker},
        docker_answers=True,
        clock=Clock(0.0, 0.1),
        mtus={"127.0.0.1": 65536, node.address: 1500},
        resolvers=("192.0.2.53",),
        spaces=dict.fromkeys(("/etc", "/usr/local/lib/etcd", layout.STATE, paths.DATA, "/var/lib/docker"), disk),
    )


def bare_situation(cluster: Cluster, identity: Identity | None = None) -> Situation:
    """Bare hosts; the certificates are made, unless an identity is given."""
    facts = {node.name: bare(node) for node in cluster.nodes}
    return Situation(cluster, Local(RELEASE, identity or pki.make(cluster)), facts)


def planned(cluster: Cluster, identity: Identity | None = None) -> Situation:
    """Every host as it is when all is done, the store and the networks at work."""
    before = bare_situation(cluster, identity)
    return replace(before, facts={node.name: _planned_facts(before, node) for node in cluster.nodes})


def planned_sample(folder: LocalPath) -> Situation:
    """What `planned` gives for the cluster of pki_sample."""
    return planned(sample(folder))


def _planned_facts(before: Situation, node: Node) -> Facts:
    facts = before.of(node)
    for phase in PLANE.phases:
        for resource in phase.resources(before, node):
            facts = with_resource(facts, resource)
    members = tuple(map(store_member, before.cluster.members)) if node.member else None
    in_use = ",".join(f"{member.address}:2379" for member in before.cluster.members)
    listeners = tuple(
        Listener("tcp", node.address, port, 'users:(("daemon",pid=201,fd=7))', unit)
        for port, unit in PORTS.items()
        if node.member or unit == layout.DOCKER_UNIT
    )
    return replace(
        facts,
        answers={
            "store-in-use": f"{in_use} {node.address}:2376",
            **(
                answers(members, {"leader": 1, "raftIndex": 99}) | {"store-data": "yes", "store-log": "yes\n"}
                if node.member
                else {}
            ),
        },
        listeners=(*listeners, Listener("udp", "0.0.0.0", 4789, "unknown")),
        networks=(
            *facts.networks,
            *(network(name, str(subnet)) for name, subnet in assigned(before).items()),
        ),
    )


def answers(members: Iterable[dict[str, Any]] | None, status: dict[str, Any] | None = None) -> dict[str, str]:
    """What a member of the store answers to the question for its list, and for itself; None: nothing."""
    listed = {} if members is None else {"members": json.dumps({"members": list(members)})}
    return listed | ({"member-status": json.dumps([{"Status": status}])} if status else {})


def answering(**different: Any) -> Callable[[Facts], Facts]:
    """A member answers otherwise: `members`, its list, and `status`, what it says of itself; None: nothing."""

    def change(facts: Facts) -> Facts:
        kept = dict(facts.answers)
        for name, key in (("members", "members"), ("status", "member-status")):
            if name in different:
                kept.pop(key, None)
                kept |= answers(**{"members": None, name: different[name]})
        return replace(facts, answers=kept)

    return change


def without_data(facts: Facts) -> Facts:
    """A node's folder of the store's data is empty."""
    kept = {name: text for name, text in facts.answers.items() if name != "store-data"}
    return replace(facts, answers={**kept, "store-log": "no\n"})


def with_data(facts: Facts) -> Facts:
    """There is something in a node's folder of the store's data."""
    return replace(facts, answers={**facts.answers, "store-data": "yes"})


def store_member(node: Node, **more: Any) -> dict[str, Any]:
    """A member as etcdctl lists it."""
    urls = {"peerURLs": [f"https://{node.address}:2380"], "clientURLs": [f"https://{node.address}:2379"]}
    return {"ID": 1, "name": node.name, **urls, **more}


def network(name: str, subnet: str, scope: str = "global") -> dict[str, Any]:
    """A network as Docker's API gives it."""
    return {"Name": name, "Scope": scope, "Driver": "overlay", "IPAM": {"Config": [{"Subnet": subnet}]}}


def with_resource(facts: Facts, resource: Resource) -> Facts:
    """The facts of a host that holds a resource too."""
    match resource:
        case Folder():
            found = {resource.path: PathFact("folder", resource.mode, resource.owner)}
        case File():
            content = resource.content or b""
            text = content.decode() if resource.public or not resource.opaque else None
            mode, owner = resource.mode, resource.owner
            found = {resource.path: PathFact("file", mode, owner, sha256(content).hexdigest(), text=text)}
        case Link():
            found = {resource.path: PathFact("link", 0o777, "root:root", target=resource.target)}
        case Release():
            binaries = {f"{resource.folder}/{name}": hash_ for name, hash_ in resource.hashes}
            found = {path: PathFact("file", 0o755, "root:root", hash_) for path, hash_ in binaries.items()}
            found[resource.folder] = PathFact("folder", 0o755, "root:root")
        case User():
            return replace(facts, users=facts.users | {resource.user})
        case Service():
            process = ETCD_PROCESS if resource.unit == paths.ETCD_UNIT else DOCKER_PROCESS
            inputs = {path: _led_to(facts, path).sha256 for path, _ in resource.inputs}
            return replace(
                facts, units={**facts.units, resource.unit: Unit("active", "enabled", process, inputs=inputs)}
            )
        case Ruleset():
            inputs = {path: _led_to(facts, path).sha256 for path, _ in resource.inputs}
            units = {**facts.units, resource.unit: Unit("active", "enabled", inputs=inputs)}
            return replace(facts, units=units, tables=facts.tables | {resource.table})
        case NoRuleset():
            return facts
        case Image():
            return replace(facts, images=facts.images | {resource.image})
        case GatewayBridge():
            bridge = {"Name": GATEWAY_BRIDGE, "Scope": "local", "Driver": "bridge"}
            return replace(facts, networks=(*facts.networks, bridge))
        case Keeper():
            labels = {KEEPER: resource.network}
            keeper = Container(resource.container * 2, resource.container, (resource.network,), "always", labels)
            return replace(facts, containers=(*facts.containers, keeper))
    return replace(facts, paths={**facts.paths, **found})


def _led_to(facts: Facts, path: str) -> PathFact:
    found = facts.paths[path]
    return facts.paths[found.target] if found.target else found


def changed(situation: Situation, name: str, change: Callable[[Facts], Facts]) -> Situation:
    """The situation where one node's facts are others."""
    return replace(situation, facts={**situation.facts, name: change(situation.facts[name])})


def sees(*networks: dict[str, Any]) -> Callable[[Facts], Facts]:
    """A node's Docker has these overlays, beside the networks of its own."""
    return lambda facts: replace(
        facts, networks=(*(one for one in facts.networks if one["Scope"] != "global"), *networks)
    )


def with_path(path: str, **different: Any) -> Callable[[Facts], Facts]:
    """One path of a node is otherwise."""
    return lambda facts: replace(facts, paths={**facts.paths, path: replace(facts.paths[path], **different)})


def with_unit(unit: str, **different: Any) -> Callable[[Facts], Facts]:
    """One unit of a node is otherwise."""
    return lambda facts: replace(facts, units={**facts.units, unit: replace(facts.unit(unit), **different)})


def with_values(**values: str) -> Callable[[Facts], Facts]:
    """Some of what is always asked is otherwise; `_` stands for the `-` of a name."""
    named = {name.replace("_", "-"): value for name, value in values.items()}
    return lambda facts: replace(facts, values={**facts.values, **named})


def without_path(path: str) -> Callable[[Facts], Facts]:
    """One path of a node is not there."""
    return lambda facts: replace(facts, paths={name: there for name, there in facts.paths.items() if name != path})


def foreseen(situation: Situation, goal: Goal) -> list[Plan]:
    """The plan of each stage after the first, as it is known before the first."""
    stages = PLANE.stages(situation, goal)
    return [foresee(PLANE, one.foresee(situation), then.foresee(situation)) for one, then in pairwise(stages)]


def lines(changes: Iterable[Change]) -> list[str]:
    """Each change in one line, without its note."""
    return [f"{change.where}: {change.action} {change.resource}" for change in changes]


def with_lists(situation: Situation, **lists: str) -> Situation:
    """Nodes with these lists of recoveries, a letter for each line."""
    facts = dict(situation.facts)
    for name, letters in lists.items():
        content = "".join(f"{letter} moment{letter} lost: one 192.0.2.9\n" for letter in letters)
        listed = PathFact("file", 0o600, "root:root", text=content)
        facts[name] = replace(facts[name], paths={**facts[name].paths, layout.RECOVERIES: listed})
    return replace(situation, facts=facts)
