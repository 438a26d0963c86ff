"""One member of the store over HTTP: the v2 keys that Docker uses, and the membership calls that etcd3 lacks."""

from __future__ import annotations

import json
import ssl
from collections.abc import Mapping
from typing import Any
from urllib.parse import quote

from provision import waiting
from provision.errors import Unanswered
from provision.inventory.model import Node
from provision.planes.etcd import paths, pki


class StoreError(Unanswered):
    """The store answered, and said no; or did not answer."""


class Store:
    """One member's HTTP side: the v2 keys that Docker uses, and the membership calls that etcd3 lacks."""

    def __init__(self, node: Node, port: int, identity: pki.Identity) -> None:
        """Speak to `node` through the tunnel that ends on the local `port`."""
        import urllib3

        certificate, key = identity.paths(pki.CONTROLLER_STORE)
        context = ssl.create_default_context(cafile=str(identity.authority_path(pki.Authority.CLIENT)))
        context.load_cert_chain(certificate, key)
        self.node = node
        self._pool = urllib3.HTTPSConnectionPool(
            "127.0.0.1",
            port,
            ssl_context=context,
            server_hostname=node.address,
            assert_hostname=node.address,
            timeout=urllib3.Timeout(10),
            retries=False,
            maxsize=4,
        )

    def get(self, key: str, *, quorum: bool = True) -> Mapping[str, Any] | None:
        """Return the v2 node at `key` with all below, None if there is none. `quorum=False`: this member's own copy."""
        query = f"/v2/keys{key}?recursive=true&quorum={str(quorum).lower()}"
        status, answer = self._ask("GET", query)
        if status == 404:
            return None
        return dict(self._accepted(status, answer)["node"])

    def put(self, key: str, value: str) -> None:
        """Write a v2 key: acknowledged by a quorum when this returns."""
        self._accepted(*self._ask("PUT", f"/v2/keys{quote(key)}", fields={"value": value}))

    def put_new(self, key: str, value: str) -> None:
        """Write a v2 key, unless it is there."""
        status, answer = self._ask("PUT", f"/v2/keys{quote(key)}?prevExist=false", fields={"value": value})
        if status != 412:
            self._accepted(status, answer)

    def delete(self, key: str) -> None:
        """Delete a v2 key and all below it; none there is no error."""
        status, answer = self._ask("DELETE", f"/v2/keys{key}?recursive=true")
        if status != 404:
            self._accepted(status, answer)

    def delete_empty(self, key: str) -> None:
        """Delete a v2 folder unless something is in it."""
        self._ask("DELETE", f"/v2/keys{key}?dir=true")

    def status(self) -> dict[str, Any]:
        """Return this member's word on itself: version, leader, raftIndex, raftAppliedIndex; numbers as text."""
        return self._call("/v3/maintenance/status", {})

    def alarms(self) -> list[dict[str, Any]]:
        """Return the alarms that are raised, as this member knows them: memberID and alarm of each."""
        return list(self._call("/v3/maintenance/alarm", {"action": "GET"}).get("alarms", []))

    def members(self) -> list[dict[str, Any]]:
        """Return the member list: ID, name, peerURLs, isLearner of each."""
        return list(self._call("/v3/cluster/member/list", {}).get("members", []))

    def add_learner(self, peer_url: str) -> None:
        """Add a member that does not vote yet."""
        self._call("/v3/cluster/member/add", {"peerURLs": [peer_url], "isLearner": True})

    def remove(self, member: str) -> None:
        """Remove a member, by its ID."""
        self._call("/v3/cluster/member/remove", {"ID": member})

    def hand_over(self, member: str) -> None:
        """Let another member lead, by its ID; this one has to be the leader."""
        self._call("/v3/maintenance/transfer-leadership", {"targetID": member})

    def promote(self, member: str, name: str) -> None:
        """Let a learner vote, as soon as it has caught up."""

        def attempt() -> None:
            self._call("/v3/cluster/member/promote", {"ID": member})

        waiting.until(attempt, f"{name} catches up with the store", name, paths.ADVICE)

    def _call(self, path: str, body: Mapping[str, Any]) -> dict[str, Any]:
        return self._accepted(*self._ask("POST", path, body=json.dumps(body)))

    def _ask(self, method: str, path: str, **content: Any) -> tuple[int, dict[str, Any]]:
        import urllib3

        try:
            if "fields" in content:
                response = self._pool.request(method, path, encode_multipart=False, **content)
            else:
                response = self._pool.request(method, path, **content)
            return response.status, response.json()
        except (urllib3.exceptions.HTTPError, ValueError) as error:
            raise StoreError(f"etcd on {self.node.name} does not answer: {error}") from error

    def _accepted(self, status: int, answer: dict[str, Any]) -> dict[str, Any]:
        if status >= 400:
            raise StoreError(f"etcd on {self.node.name}: {answer.get('message') or answer.get('error') or status}")
        return answer
