"""Roles and entries of a running swarm changed: one node at a time, and a demoted manager is waited for."""

from __future__ import annotations

from collections.abc import Callable, Collection
from functools import partial
from shlex import quote
from typing import Any

from provision import waiting
from provision.docker.client import asked
from provision.errors import Unanswered
from provision.inventory.model import Node
from provision.planes.swarm import validity, view
from provision.planes.swarm.coordinator import ADVICE, SwarmCoordinator

#: Seconds in which a demoted manager, which nobody can ask, must not be back among the managers. It may come back once
#: as a voter, until it has a worker's certificate: that took 5.5 to 7.5 s on hosts.
DEMOTED_SECONDS = 15.0


def set_role(door: SwarmCoordinator, node: Node, role: str) -> None:
    """Make a node that can be asked a `manager` or a `worker`. StepFailed.

    A demoted manager comes back once as a voter, before it has a worker's certificate. If it is switched off then, a
    second manager has lost its quorum for good. So the certificate is waited for.
    """
    identity = door.docker(node).info()["Swarm"]["NodeID"]
    _until(lambda: _set_role(door, identity, role), f"{node.name} becomes a {role}")
    what = f"{node.name} has a {role}'s certificate"
    waiting.until(lambda: _has_certificate(door, node, role), what, node.name, ADVICE)


def _until(attempt: Callable[[], object], what: str) -> None:
    """Repeat an attempt while the managers do not answer, for example because they elect a leader. StepFailed."""
    waiting.until(lambda: asked(attempt), what, "cluster", ADVICE)


def _set_role(door: SwarmCoordinator, identity: str, role: str) -> None:
    api = door.manager().api
    there = api.inspect_node(identity)
    if there["Spec"]["Role"] != role:
        api.update_node(identity, there["Version"]["Index"], {**there["Spec"], "Role": role})


def _has_certificate(door: SwarmCoordinator, node: Node, role: str) -> None:
    info = asked(door.docker(node).info)
    path = f"{info['DockerRootDir']}/{validity.FOLDER}/{validity.NODE}.crt"
    shown = validity.role(door.remotes[node.name].run(f"cat {quote(path)}\n", what="reading its certificate").stdout)
    if shown != role or info["Swarm"]["ControlAvailable"] != (role == "manager"):
        raise Unanswered(f"its certificate says {shown or 'nothing'}")


def remove(door: SwarmCoordinator, identity: str, name: str, *, leaves_itself: bool) -> None:
    """Strike a node off the list; none there is no error. The join tokens are made anew before that. StepFailed.

    `leaves_itself`: its daemon has just left, and the managers are about to notice. Any other node is demoted, and shut
    out where it still answers.
    """
    there = _entry(door, identity)
    if there is None:
        return
    if leaves_itself:
        _until(lambda: _is_down(door, identity), f"the managers see that {name} has left")
    if view.is_ready(there) and not leaves_itself:
        demote_unasked(door, identity, name)
    else:
        _until(lambda: _set_role(door, identity, "worker"), f"{name} becomes a worker")
    _until(lambda: _renew_tokens(door), f"Docker makes the join tokens anew, before {name} is struck off")
    _until(lambda: _strike_off(door, identity), f"the managers strike {name} off")
    door.await_quorum(f"after {name} left")


def demote_unasked(door: SwarmCoordinator, identity: str, name: str) -> None:
    """Make a node that answers, and that nobody can log in to, a worker. StepFailed."""
    _until(lambda: _set_role(door, identity, "worker"), f"{name} becomes a worker")
    what = f"{name} is no manager for {DEMOTED_SECONDS:.0f} s"
    waiting.until(lambda: _manages_nothing(door, identity), what, "cluster", ADVICE, steady=DEMOTED_SECONDS)


def shut_out(door: SwarmCoordinator, staying: Collection[str]) -> tuple[view.Listed, ...]:
    """Strike all nodes off the list but those of these IDs, and return them. StepFailed.

    The join tokens are made anew before that.
    """
    gone = tuple(one for one in map(view.entry, asked(door.manager().api.nodes)) if one.identity not in staying)
    if gone:
        _until(lambda: _renew_tokens(door), "Docker makes the join tokens anew, before lost nodes are struck off")
    for one in gone:
        _until(partial(_strike_off, door, one.identity), f"the manager strikes {one.hostname} off")
    door.await_quorum("after lost nodes were struck off")
    return gone


def _entry(door: SwarmCoordinator, identity: str) -> dict[str, Any] | None:
    nodes: list[dict[str, Any]] = asked(door.manager().api.nodes)
    return next((one for one in nodes if one["ID"] == identity), None)


def _is_down(door: SwarmCoordinator, identity: str) -> None:
    there = _entry(door, identity)
    if there is not None and view.is_ready(there):
        raise Unanswered("it is ready")


def _manages_nothing(door: SwarmCoordinator, identity: str) -> None:
    there = _entry(door, identity)
    if there is not None and there.get("ManagerStatus"):
        raise Unanswered("it is among the managers")


def _renew_tokens(door: SwarmCoordinator) -> None:
    api = door.manager().api
    swarm = api.inspect_swarm()
    index = swarm["Version"]["Index"]
    api.update_swarm(index, swarm["Spec"], rotate_worker_token=True, rotate_manager_token=True)


def _strike_off(door: SwarmCoordinator, identity: str) -> None:
    if _entry(door, identity) is not None:
        door.manager().api.remove_node(identity, force=True)
