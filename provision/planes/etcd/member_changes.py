"""The membership of a running store changed: one member at a time, each change only while all others are well."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from contextlib import suppress
from shlex import quote
from typing import Any
from urllib.parse import urlsplit

from provision import waiting
from provision.errors import ProvisionError, Unanswered
from provision.inventory.model import Node
from provision.planes.etcd import paths
from provision.planes.etcd.coordinator import EtcdCoordinator
from provision.planes.etcd.membership import peer_url

#: Seconds that all members have to be well before the membership changes again. etcd refuses a change while its leader
#: has not heard from every member for as long (etcdserver.HealthInterval).
HEALTH_SECONDS = 5.0


def announce(coordinator: EtcdCoordinator, node: Node) -> None:
    """Add a node as a learner, unless an interrupted run did so already."""
    if any(peer_url(node) in member.get("peerURLs", ()) for member in coordinator.store().members()):
        return
    settle(coordinator, f"before {node.name} joins")
    # For a moment after another change etcd may still call the cluster unhealthy.
    waiting.until(
        lambda: coordinator.store().add_learner(peer_url(node)), f"etcd adds {node.name}", node.name, paths.ADVICE
    )
    coordinator.membership_changed = True


def promote(coordinator: EtcdCoordinator, node: Node) -> None:
    """Make a learner that has caught up a voting member. StepFailed when it does not catch up in a minute."""
    store = coordinator.store()
    member = next(one for one in store.members() if peer_url(node) in one.get("peerURLs", ()))
    if member.get("isLearner"):
        store.promote(member["ID"], node.name)
        coordinator.membership_changed = True


def remove(coordinator: EtcdCoordinator, url: str, name: str, silent: Collection[str] = ()) -> None:
    """Remove the member that has this peer URL; none there is no error. Its etcd ends by itself.

    `silent`: peer URLs of members that do not answer and are about to be removed, too.
    """
    member = next((one for one in coordinator.store().members() if url in one.get("peerURLs", ())), None)
    if member is None:
        return
    settle(coordinator, f"before {name} leaves", silent)
    if url in silent:
        _disconnect(coordinator, url)
    _hand_over(coordinator, member)
    waiting.until(lambda: _remove(coordinator, member["ID"]), f"etcd removes {name}", name, paths.ADVICE)
    coordinator.membership_changed = True
    coordinator.await_quorum(f"after {name} left")


def _disconnect(coordinator: EtcdCoordinator, url: str) -> None:
    """End every member's connections to one that does not answer.

    etcd stops all else while it removes a member, until what it last sent to that member has failed: for five seconds
    (rafthttp.ConnWriteTimeout) where the member's host is silent. A kernel that ends no connections is left alone.
    """
    member = urlsplit(url)
    ends = f"'( dport = :{member.port} or sport = :{member.port} )'"
    script = f"ss -K state established dst {quote(member.hostname or '')} {ends} >/dev/null 2>&1 || true\n"
    coordinator.remotes.each(lambda remote: remote.run(script, what="ending connections to a silent member"))


def _remove(coordinator: EtcdCoordinator, identity: str) -> None:
    # An answer may be lost, and the change be made: what counts is the list.
    if any(one["ID"] == identity for one in coordinator.store().members()):
        coordinator.store().remove(identity)


def _hand_over(coordinator: EtcdCoordinator, member: Mapping[str, Any]) -> None:
    """Let a member that stays lead before the leader is removed: in an election a write may be lost for seven seconds.

    A leader that cannot be asked is removed all the same.
    """
    store = coordinator.store()
    if store.status().get("leader") != member["ID"]:
        return
    urls = {peer_url(node) for node in coordinator.cluster.members}
    others = (one for one in store.members() if one["ID"] != member["ID"] and not one.get("isLearner"))
    staying = [one["ID"] for one in others if not urls.isdisjoint(one["peerURLs"])]
    with suppress(Unanswered, ProvisionError, StopIteration):
        leader = coordinator.store_at(urlsplit(member["peerURLs"][0]).hostname or "", member.get("name", ""))
        leader.hand_over(next(iter(staying)))


def settle(coordinator: EtcdCoordinator, occasion: str, silent: Collection[str] = ()) -> None:
    """After a change, return once every member of the inventory that votes has answered for five seconds in a row.

    Those at the peer URLs of `silent` cannot. StepFailed when that does not come to be within a minute. Where this run
    has changed nothing yet, nothing is waited for but a write.
    """
    coordinator.await_quorum(occasion)
    if not coordinator.membership_changed:
        return
    what = f"every member answers for {HEALTH_SECONDS:.0f} s ({occasion})"
    waiting.until(lambda: _hear_all(coordinator, silent), what, "cluster", paths.ADVICE, steady=HEALTH_SECONDS)


def _hear_all(coordinator: EtcdCoordinator, silent: Collection[str]) -> None:
    """Unanswered where a member of the inventory, none of `silent`, votes and does not answer through the quorum."""
    voters = (one for one in coordinator.store().members() if one.get("name") and not one.get("isLearner"))
    voting = {url for one in voters for url in one.get("peerURLs", ())}.difference(silent)
    for node in coordinator.cluster.members:
        if peer_url(node) in voting:
            coordinator.store(node).get("/")
