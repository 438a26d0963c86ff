"""The address of a manager that was set up anew at another one than before.

Docker's `--force-new-cluster` leaves the address in the swarm's log as it was (swarmkit, `createConfigChangeEnts`), so
that no other manager would find this one. The method with which managers join takes a member's new address from the
member itself. The member ignores that entry of its log when it starts again, and a manager that reads the log from its
beginning looks for the former address first, and gets no further. So the log is replaced by a snapshot, which has the
new address.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from functools import partial

from provision import waiting
from provision.checks.tls_probe import Client, dial, written
from provision.core.resource import call
from provision.docker.client import asked
from provision.errors import Unanswered
from provision.inventory.model import Node
from provision.node import library
from provision.planes.swarm import rpc, view
from provision.planes.swarm.coordinator import ADVICE, SwarmCoordinator
from provision.planes.swarm.ports import MANAGEMENT_PORT
from provision.planes.swarm.saving import AUTHORITY, CERTIFICATE, KEY, SavedManager

JOIN = "RaftMembership/Join"
#: After how many entries of its log Docker takes a snapshot, and how many it keeps, as it is by default; and meanwhile.
INTERVAL = "SnapshotInterval"
USUAL = {INTERVAL: 10_000, "LogEntriesForSlowFollowers": 500}
EACH = 1
#: What a manager keeps in front of its key, for itself alone.
_HEADERS = re.compile(rb"(?m)^[A-Za-z-]+: .*\n|^\n")


def is_kept(node: Node, entry: view.Listed, interval: int | None) -> bool:
    """Say whether a manager's entry has the address of the inventory, for good. Pure.

    `interval`: how many entries of the log come before Docker takes a snapshot.
    """
    return entry.address == node.address and interval != EACH


def correct(door: SwarmCoordinator, node: Node, manager: SavedManager) -> None:
    """Let the only manager of a swarm have the address of the inventory, for good. StepFailed."""
    there = asked(door.docker(node).api.inspect_swarm)["Spec"]["Raft"]
    if is_kept(node, _entry(door, node), there[INTERVAL]):
        return
    usual = settings(there, manager.raft)
    _after_snapshot(door, node, partial(_configure, door, node, dict.fromkeys(USUAL, EACH)))
    _after_snapshot(door, node, partial(_join, door, node, manager))
    _until(partial(_configure, door, node, usual), node)


def settings(there: Mapping[str, int], saved: Mapping[str, int]) -> Mapping[str, int]:
    """Return the settings of the log that its user has: those of now or, where a run was killed, those saved. Pure."""
    of_user = next((one for one in (there, saved) if one.get(INTERVAL, EACH) != EACH), {})
    return {name: of_user.get(name, usual) for name, usual in USUAL.items()}


def _until(attempt: Callable[[], object], node: Node) -> None:
    waiting.until(attempt, f"the swarm keeps {node.name}'s address", node.name, ADVICE)


def _after_snapshot(door: SwarmCoordinator, node: Node, change: Callable[[], object]) -> None:
    """Make a change, and wait until Docker has taken a snapshot after that. StepFailed."""
    before = _snapshots(door, node)

    def is_new() -> None:
        if _snapshots(door, node) == before:
            change()
            raise Unanswered("Docker has taken no snapshot of its log")

    _until(is_new, node)


def _entry(door: SwarmCoordinator, node: Node) -> view.Listed:
    """Return the manager as the swarm lists it. Unanswered."""
    api = door.docker(node).api
    identity = asked(api.info)["Swarm"]["NodeID"]
    return next(view.entry(one) for one in asked(api.nodes) if one["ID"] == identity)


def _join(door: SwarmCoordinator, node: Node, manager: SavedManager) -> None:
    """Call the method with which a member tells its address. Unanswered."""
    identity = asked(door.docker(node).info)["Swarm"]["NodeID"]
    address = f"{node.address}:{MANAGEMENT_PORT}".encode()
    message = b"\x0a" + bytes([len(address)]) + address  # JoinRequest, with `addr` as its field 1
    secrets = {name: manager.certificates[name] for name in (CERTIFICATE, AUTHORITY)}
    with written({**secrets, KEY: _HEADERS.sub(b"", manager.certificates[KEY])}) as files:
        client = Client("the manager itself", files[CERTIFICATE], files[KEY])
        port = door.remotes[node.name].tunnel(MANAGEMENT_PORT)
        try:
            with dial(client, port, identity, files[AUTHORITY]) as stream:
                reply = rpc.call(stream, identity, [JOIN], message)[JOIN]
        except OSError as error:
            raise Unanswered(f"its port for managers: {error}") from error
    if reply.status != rpc.OK or _entry(door, node).address != node.address:
        raise Unanswered(f"{JOIN}: {reply}")


def _configure(door: SwarmCoordinator, node: Node, raft: Mapping[str, int]) -> None:
    """Say after how many entries Docker takes a snapshot of its log, and how many of them it keeps. Unanswered."""
    api = door.docker(node).api
    swarm = asked(api.inspect_swarm)
    spec = {**swarm["Spec"], "Raft": {**swarm["Spec"]["Raft"], **raft}}
    asked(lambda: api.update_swarm(swarm["Version"]["Index"], spec))


def _snapshots(door: SwarmCoordinator, node: Node) -> str:
    root = asked(door.docker(node).info)["DockerRootDir"]
    script = f"{library()}{call('ls', f'{root}/swarm/raft/snap-v3-encrypted')}\n"
    return door.remotes[node.name].run(script, what="looking for snapshots").stdout
