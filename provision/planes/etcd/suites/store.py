"""The state of the store: alarms, members that lag behind, differing copies, and dockerd's connections to it."""

from __future__ import annotations

import json
import socket
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

from provision import layout
from provision.checks.proof import Proof
from provision.core.check import check
from provision.core.outcome import Outcome, failed, passed
from provision.inventory.model import Node
from provision.planes.etcd import ports
from provision.planes.etcd.coordinator import opened
from provision.waiting import wait_for

#: Raft entries that a member may be behind. On a LAN a member is a few behind; etcd refuses writes at 5000.
MOST_BEHIND = 100
#: Seconds to wait for equal members: new entries arrive while the members are asked.
PATIENCE = 10
#: The number of differences that a report shows.
SHOWN = 3

#: Print the journal's lines about dockerd's connection to the store, dockerd's sockets, and the host's TCP connections.
# /proc/net, not /proc/PID/net: dockerd's first thread may be in an overlay's network namespace.
_DOCKERD = f"""
pid=$(systemctl show -p MainPID --value {layout.DOCKER_UNIT})
[ "$pid" -gt 0 ] || exit 0
journalctl -q -o cat "_PID=$pid" | grep 'Initializing discovery'
readlink /proc/"$pid"/fd/* | grep '^socket:'
cat /proc/net/tcp
"""

Tree = Mapping[str, str]


@check("etcd")
def no_alarm(proof: Proof) -> Iterator[Outcome]:
    """No member reports an alarm: NOSPACE stops every write, CORRUPT means that the members' data differ."""
    names = {member["ID"]: member.get("name", "?") for member in opened(proof.coordinator).store().members()}
    for node in proof.cluster.members:
        raised = [f"{alarm['alarm']} of {names.get(alarm['memberID'], '?')}" for alarm in _alarms(proof, node)]
        if raised:
            advice = "remove the cause (NOSPACE: etcdctl compact, defrag; CORRUPT: a new member); etcdctl alarm disarm"
            yield failed(node.name, f"raised: {', '.join(raised)}", advice)
        else:
            yield passed(node.name, "reports no alarm")


def _alarms(proof: Proof, node: Node) -> Iterator[dict[str, Any]]:
    return (alarm for alarm in opened(proof.coordinator).store(node).alarms() if alarm.get("alarm"))


@check("etcd")
def no_member_behind(proof: Proof) -> Iterator[Outcome]:
    """No member lags behind: each has applied all but the latest committed entries."""
    seen: dict[str, Lag] = {}

    def all_near() -> bool:
        seen.update(_lags(proof))
        return all(lag.behind <= MOST_BEHIND for lag in seen.values())

    wait_for(all_near, PATIENCE)
    for name, lag in seen.items():
        told = f"applied raft entry {lag.applied}, {lag.behind} behind the cluster (at most {MOST_BEHIND})"
        if lag.behind <= MOST_BEHIND:
            yield passed(name, told)
        else:
            advice = "is 2380/tcp open between this node and the others, and its disk fast enough? journalctl -u etcd"
            yield failed(name, told, advice)


@dataclass(frozen=True)
class Lag:
    """The last raft entry that a member has applied, and how many more are committed."""

    applied: int
    behind: int


def _lags(proof: Proof) -> dict[str, Lag]:
    members = proof.cluster.members
    with ThreadPoolExecutor(len(members)) as pool:
        told = list(pool.map(lambda node: opened(proof.coordinator).store(node).status(), members))
    committed = max(int(status["raftIndex"]) for status in told)
    applied = (int(status["raftAppliedIndex"]) for status in told)
    return {node.name: Lag(index, max(0, committed - index)) for node, index in zip(members, applied, strict=True)}


@check("etcd")
def one_tree_everywhere(proof: Proof) -> Iterator[Outcome]:
    """Docker's keys are the same in every member's copy of the store, so that every node sees the same networks."""
    trees: dict[str, Tree] = {}

    def equal() -> bool:
        # Docker may write between two members' answers.
        trees.update({node.name: _tree(proof, node) for node in proof.cluster.members})
        return not differences(trees)

    if wait_for(equal, PATIENCE):
        yield passed("cluster", f"{len(next(iter(trees.values())))} keys, the same at {', '.join(trees)}")
    else:
        yield failed("cluster", "; ".join(differences(trees)), "fab status --store shows each member's copy")


def differences(trees: Mapping[str, Tree]) -> list[str]:
    """Return the first few keys that differ between members, each with the members that lack it."""
    every = sorted({key for tree in trees.values() for key in tree})
    differing = [key for key in every if len({tree.get(key) for tree in trees.values()}) > 1]
    told = [_difference(key, trees) for key in differing[:SHOWN]]
    return told + ([f"and {len(differing) - SHOWN} more"] if len(differing) > SHOWN else [])


def _difference(key: str, trees: Mapping[str, Tree]) -> str:
    lacking = [name for name, tree in trees.items() if key not in tree]
    return f"{key}: not at {', '.join(lacking)}" if lacking else f"{key}: not the same at {', '.join(trees)}"


def _tree(proof: Proof, node: Node) -> Tree:
    """Return each key that does not expire, with its value and the index of its last change."""
    found = opened(proof.coordinator).store(node).get("/docker", quorum=False)
    return dict(_keys(found or {}))


def _keys(node: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    if "value" in node and "ttl" not in node:
        yield node["key"], json.dumps([node["value"], node["modifiedIndex"]])
    for below in node.get("nodes", ()):
        yield from _keys(below)


@check("etcd")
def dockerd_uses_tls(proof: Proof) -> Iterator[Outcome]:
    """Every dockerd is connected to members of the store alone, and they refuse plain text: it uses mutual TLS."""
    plain = {node.name: answer for node in proof.cluster.members if (answer := _plain_answer(proof, node))}
    for node in proof.cluster.members:
        if node.name in plain:
            yield failed(node.name, f"answers plain text on {ports.STORE_PORT}: {plain[node.name]}", "fab plan")
    told = proof.coordinator.remotes.each(lambda remote: remote.run(_DOCKERD, what="reading dockerd's connections"))
    addresses = {node.address: node.name for node in proof.cluster.members}
    for name, result in told.items():
        connected = sorted(addresses.get(address, address) for address in set(store_connections(result.stdout)))
        strangers = set(connected) - set(addresses.values())
        if "discovery without TLS" in result.stdout:
            yield failed(name, "dockerd's journal says: Initializing discovery without TLS", "fab plan")
        elif not connected:
            yield failed(name, "dockerd is connected to no member of the store", "on the node: journalctl -u docker")
        elif strangers:
            yield failed(name, f"dockerd is connected to another store: {', '.join(sorted(strangers))}", "fab plan")
        elif not plain:
            said = "; its journal says that it uses TLS" if "discovery with TLS" in result.stdout else ""
            yield passed(name, f"dockerd is connected to {', '.join(connected)}, which refuse plain text{said}")


def store_connections(told: str) -> Iterator[str]:
    """Yield the addresses whose store port dockerd is connected to, from its sockets and /proc/net/tcp."""
    own = {line[len("socket:[") : -1] for line in told.splitlines() if line.startswith("socket:[")}
    established = "01"
    for line in told.splitlines():
        words = line.split()
        if len(words) > 9 and words[3] == established and words[9] in own:
            address, port = words[2].split(":")
            if int(port, 16) == ports.STORE_PORT:
                yield socket.inet_ntoa(bytes.fromhex(address)[::-1])


def _plain_answer(proof: Proof, node: Node) -> str:
    """Return the first line of a member's answer to a plain-text request; empty if it refuses."""
    port = proof.coordinator.remotes[node.name].tunnel(ports.STORE_PORT)
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=5) as connection:
            connection.sendall(b"GET /version HTTP/1.0\r\n\r\n")
            answer = connection.recv(200).decode(errors="replace")
    except ConnectionError:
        return ""
    return "" if not answer or " 400 " in answer.partition("\r\n")[0] else answer.partition("\r\n")[0]
