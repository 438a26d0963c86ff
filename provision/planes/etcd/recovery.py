"""A store that has lost its quorum, as the nodes that are left know it. Pure."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any
from urllib.parse import urlsplit

from provision.core.recovery import Standing
from provision.core.situation import Situation
from provision.facts import Facts
from provision.inventory.model import Node
from provision.planes.etcd import paths
from provision.planes.etcd.membership import listed, member_status, peer_url
from provision.planes.etcd.strangers import Endpoint, parsed
from provision.resources import KEEPER

#: The answers in which a node's own member lists endpoints and networks. A member that does not list them gives none.
ENDPOINTS, NETWORKS = "store-endpoints", "store-networks"
#: What a lost host has where no member lists endpoints.
UNLISTED = "containers that no member lists now"


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
        networks=frozenset(facts.answers.get(NETWORKS, "").split()),
        lists_networks=NETWORKS in facts.answers,
        progress=int(status.get("raftIndex", 0)),
        told=f"etcd {status['version']}, {status.get('raftIndex', 0)} changes" if status.get("version") else "",
    )


def endpoints(situation: Situation) -> Mapping[str, tuple[Endpoint, ...]]:
    """Return the endpoints that the members list, by the host's address."""
    answers = (facts.answers.get(ENDPOINTS, "") for facts in situation.facts.values())
    return parsed(line for answer in answers for line in answer.splitlines())


def in_store(tree: Mapping[str, Any] | None, host: str) -> Iterator[Endpoint]:
    """Yield the endpoints of a host, from the store's folder of endpoints; None if the store does not have that."""
    for network in (tree or {}).get("nodes", ()):
        for key in network.get("nodes", ()):
            said = json.loads(key["value"])
            if said.get("locator") == host:
                yield Endpoint(host, said["name"], network["key"].rpartition("/")[2], said["id"])


def containers(situation: Situation, address: str) -> tuple[str, ...]:
    """Return the names of the containers of a host that does not answer, keepers left out."""
    if not any(ENDPOINTS in facts.answers for facts in situation.facts.values()):
        return (UNLISTED,)
    found = endpoints(situation).get(address, ())
    return tuple(sorted({one.name for one in found if not one.name.startswith(KEEPER)}))


def is_alone(situation: Situation, node: Node) -> bool:
    """Say whether a node's member leads a store of which it is the only member."""
    facts = situation.of(node)
    urls = [url for one in listed(facts) or () for url in one.get("peerURLs", ())]
    return urls == [peer_url(node)] and bool(member_status(facts).get("leader"))
