"""A store that has lost its quorum, as the nodes that are left know it. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from urllib.parse import urlsplit

from provision.core.recovery import Standing
from provision.core.situation import Situation
from provision.facts import Facts
from provision.inventory.model import Node
from provision.planes.etcd import paths
from provision.planes.etcd.membership import listed, member_status, peer_url
from provision.planes.etcd.strangers import Endpoint, parsed
from provision.resources import KEEPER


def standings(situation: Situation) -> tuple[Standing, ...]:
    """Return what each node that answers is to the store."""
    return tuple(
        _standing(node, situation.of(node)) for node in situation.cluster.nodes if node.name in situation.facts
    )


def _standing(node: Node, facts: Facts) -> Standing:
    status = member_status(facts)
    urls = (url for one in listed(facts) or () for url in one.get("peerURLs", ()))
    return Standing(
        node,
        holds_data=paths.ETCD_BOOTSTRAP in facts.paths and facts.answers.get("store-log", "").strip() == "yes",
        has_quorum=bool(status.get("leader")),
        members=tuple(urlsplit(url).hostname or "" for url in urls),
        networks=frozenset(facts.answers.get("store-networks", "").split()),
        progress=int(status.get("raftIndex", 0)),
        told=f"etcd {status['version']}, {status.get('raftIndex', 0)} changes" if status.get("version") else "",
    )


def endpoints(situation: Situation) -> Mapping[str, tuple[Endpoint, ...]]:
    """Return the endpoints of hosts that do not answer, by the host's address."""
    lines = (
        line for facts in situation.facts.values() for line in facts.answers.get("lost-endpoints", "").splitlines()
    )
    return parsed(lines)


def containers(situation: Situation, address: str) -> tuple[str, ...]:
    """Return the names of the containers of a host that does not answer, keepers left out."""
    found = endpoints(situation).get(address, ())
    return tuple(sorted({one.name for one in found if not one.name.startswith(KEEPER)}))


def is_alone(situation: Situation, node: Node) -> bool:
    """Say whether a node's member leads a store of which it is the only member."""
    facts = situation.of(node)
    urls = [url for one in listed(facts) or () for url in one.get("peerURLs", ())]
    return urls == [peer_url(node)] and bool(member_status(facts).get("leader"))
