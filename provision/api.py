"""The cluster's own APIs, reached through SSH tunnels: etcd v2 and v3, and Docker. The only importer of their clients.

Every client speaks TLS to a port on loopback and insists that the certificate shown is that of the node's address.
"""

from __future__ import annotations

import json
import os
import ssl
import time
from collections.abc import Callable, Mapping
from functools import partial
from threading import Lock
from typing import TYPE_CHECKING, Any, TypeVar

from provision import layout, pki
from provision.errors import Problem, StepFailed
from provision.inventory.model import Cluster, Node
from provision.remote import Remotes

if TYPE_CHECKING:
    import etcd3
    from docker import DockerClient

T = TypeVar("T")

# etcd3 0.12 carries generated code that today's protobuf loads only in its Python implementation.
os.environ.setdefault("PROTOCOL_BUFFERS_PYTHON_IMPLEMENTATION", "python")
# An idle channel tells every fork and reconnect on standard error; nobody can act on that.
os.environ.setdefault("GRPC_VERBOSITY", "NONE")

#: How long to wait for a quorum: an election takes one to two seconds, a slow disk's first start some more.
QUORUM_SECONDS = 60.0

#: Seconds after which waiting is longer than usual: an election takes one to two.
PATIENCE = 3.0

#: Seconds to go on trying: each try is another of Docker's threads.
DOCKER_SECONDS = 20.0


class StoreError(Exception):
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
        self._accepted(*self._ask("PUT", f"/v2/keys{key}", fields={"value": value}))

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

    def promote(self, member: str, name: str) -> None:
        """Let a learner vote, as soon as it has caught up."""

        def attempt() -> None:
            self._call("/v3/cluster/member/promote", {"ID": member})

        until(attempt, f"{name} catches up with the store", name)

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


class Clients:
    """Every client of a run, made when first asked for and closed together."""

    def __init__(self, cluster: Cluster, remotes: Remotes, identity: pki.Identity) -> None:
        """Reach the nodes through `remotes`, as the controller of `identity`."""
        self.cluster, self.remotes, self.identity = cluster, remotes, identity
        self._made: dict[tuple[str, str], Any] = {}
        self._lock = Lock()

    def _once(self, kind: str, node: Node, make: Callable[[], T]) -> T:
        with self._lock:
            if (kind, node.name) not in self._made:
                self._made[kind, node.name] = make()
            made: T = self._made[kind, node.name]
            return made

    def store(self, node: Node | None = None) -> Store:
        """Return a member's HTTP side; without a name, that of the first member that answers."""
        if node is None:
            return self._any_store()
        return self._once(
            "store",
            node,
            lambda: Store(node, self.remotes[node.name].tunnel(layout.STORE_PORT, node.address), self.identity),
        )

    def _any_store(self) -> Store:
        for member in self.cluster.members:
            try:
                self.store(member).members()
                return self.store(member)
            except StoreError as error:
                problem = Problem(str(error), where=member.name, advice="fab status")
        raise StepFailed(problem)

    def etcd(self, node: Node) -> etcd3.Etcd3Client:
        """Return an etcd3 client of one member."""
        return self._once("etcd", node, lambda: self._etcd(node))

    def _etcd(self, node: Node) -> etcd3.Etcd3Client:
        import etcd3

        certificate, key = self.identity.paths(pki.CONTROLLER_STORE)
        return etcd3.client(
            host="127.0.0.1",
            port=self.remotes[node.name].tunnel(layout.STORE_PORT, node.address),
            ca_cert=str(self.identity.authority_path(pki.Authority.CLIENT)),
            cert_cert=str(certificate),
            cert_key=str(key),
            timeout=10,
            grpc_options={"grpc.ssl_target_name_override": node.address}.items(),
        )

    def docker(self, node: Node) -> DockerClient:
        """Return a Docker client of one node."""
        return self._once("docker", node, lambda: self._docker(node))

    def _docker(self, node: Node) -> DockerClient:
        from docker import DockerClient
        from docker.tls import TLSConfig
        from requests.adapters import HTTPAdapter

        address = node.address

        class Tunnelled(HTTPAdapter):
            """Loopback in the URL, the node's address in the certificate."""

            def init_poolmanager(self, *arguments: Any, **keywords: Any) -> None:
                super().init_poolmanager(*arguments, server_hostname=address, assert_hostname=address, **keywords)

        certificate, key = self.identity.paths(pki.CONTROLLER_DOCKER)
        tls = TLSConfig(
            client_cert=(str(certificate), str(key)),
            ca_cert=str(self.identity.authority_path(pki.Authority.DOCKER)),
            verify=True,
        )
        port = self.remotes[node.name].tunnel(layout.DOCKER_PORT, address)
        # A version given spares the question; 1.41 is that of Docker 20.10, the last minor before 23.
        client = DockerClient(base_url=f"https://127.0.0.1:{port}", tls=tls, version="1.41", timeout=60)
        # No proxy and no other authorities from the environment: this goes to loopback.
        client.api.trust_env = False
        client.api.mount("https://", Tunnelled(pool_maxsize=8))
        return client

    def wait_for_quorum(self, occasion: str) -> None:
        """Return once a v2 write was acknowledged. StepFailed, naming `occasion`, when none is in a minute."""
        key = f"/overlay-provision/quorum/{os.getpid()}"

        def write() -> None:
            store = self._any_store()
            store.put(key, occasion)
            store.delete(key)
            store.delete_empty(key.rpartition("/")[0])

        until(write, f"etcd acknowledges a write ({occasion})", "cluster")

    def wait_for_members(self, nodes: tuple[Node, ...], meanwhile: Callable[[], object]) -> None:
        """Return once each of these members reads through the quorum. See `until` for `meanwhile`."""
        for node in nodes:
            until(partial(self.store(node).get, "/"), f"etcd on {node.name} answers", node.name, meanwhile)

    def close(self) -> None:
        """Close what was opened."""
        for client in self._made.values():
            if hasattr(client, "close"):
                client.close()


def until(attempt: Callable[[], object], what: str, where: str, meanwhile: Callable[[], object] | None = None) -> None:
    """Repeat `attempt` until it raises no StoreError or StepFailed. StepFailed says what was waited for.

    `meanwhile` is called between attempts once they take longer than usual; what it raises ends the waiting.
    """
    began = time.monotonic()
    pause = 0.05
    while True:
        try:
            attempt()
            return
        except (StoreError, StepFailed) as error:
            if time.monotonic() > began + QUORUM_SECONDS:
                raise StepFailed(
                    Problem(
                        f"waited {QUORUM_SECONDS:.0f} s until {what}: {error}",
                        where=where,
                        advice="fab status; on the node: journalctl -u etcd.service",
                    )
                ) from error
        if meanwhile and time.monotonic() > began + PATIENCE:
            meanwhile()
        time.sleep(pause)
        pause = min(pause * 1.5, 1.0)


def retry(attempt: Callable[[], object], what: str, where: str) -> None:
    """Repeat `attempt` while Docker answers with an error of its own (5xx). StepFailed with its last words."""
    from docker.errors import APIError, DockerException
    from requests.exceptions import RequestException

    deadline = time.monotonic() + DOCKER_SECONDS
    while True:
        try:
            attempt()
            return
        except (DockerException, RequestException) as error:
            hopeless = isinstance(error, APIError) and error.is_client_error()
            if hopeless or time.monotonic() > deadline:
                words = getattr(error, "explanation", None) or str(error)
                advice = "on the node: journalctl -u docker.service; then run provision again: it goes on here"
                raise StepFailed(Problem(f"waited until {what}: {words}", where, advice)) from error
        time.sleep(0.2)
