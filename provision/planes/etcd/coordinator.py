"""The door to a running cluster: etcd v2 and v3, and Docker, through SSH tunnels. The only importer of etcd3.

Every client speaks TLS to a port on loopback and insists that the certificate shown is that of the node's address.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from ipaddress import IPv4Network
from threading import Lock
from typing import TYPE_CHECKING, Any, TypeVar

from provision import waiting
from provision.core.plane import Coordinator, Status
from provision.core.situation import Situation
from provision.errors import Problem, StepFailed, Unanswered
from provision.inventory.model import Cluster, Node
from provision.planes.etcd import membership, paths, pki, ports, status
from provision.planes.etcd.joining import joined
from provision.planes.etcd.local import local
from provision.planes.etcd.store import Store, StoreError
from provision.remote import Remotes

if TYPE_CHECKING:
    import etcd3
    from docker import DockerClient

T = TypeVar("T")

# etcd3 0.12 carries generated code that today's protobuf loads only in its Python implementation.
os.environ["PROTOCOL_BUFFERS_PYTHON_IMPLEMENTATION"] = "python"
# An idle channel tells every fork and reconnect on standard error; nobody can act on that.
os.environ.setdefault("GRPC_VERBOSITY", "NONE")

#: What an error of etcd3 means that has no cause with words.
_WITHOUT_WORDS = {
    "ConnectionFailedError": "the connection failed",
    "ConnectionTimeoutError": "it did not answer in time",
    "PreconditionFailedError": "it refuses the request in its present state",
}

#: Folders in the store of a network's endpoints, and of a subnet's addresses.
OF_NETWORKS = "/docker/network/v1.0/endpoint"
OF_SUBNETS = "/docker/network/v1.0/ipam/default/data/GlobalDefault"
#: Keys in the store that are not a user's: Docker's network state, and our own probes.
OUR_KEYS = ("/docker", "/overlay-provision")


class EtcdCoordinator:
    """The door to a cluster on this plane: clients of the store and of Docker, through SSH tunnels."""

    def __init__(self, cluster: Cluster, remotes: Remotes, identity: pki.Identity) -> None:
        """Reach the nodes through `remotes`, as the controller of `identity`."""
        self.cluster, self.remotes, self.identity = cluster, remotes, identity
        #: Whether this run has changed the membership: the next change waits until all are well again.
        self.membership_changed = False
        self._made: dict[tuple[str, str], Any] = {}
        self._lock = Lock()

    @property
    def makers(self) -> tuple[Node, ...]:
        """Every node."""
        return self.cluster.nodes

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
            lambda: Store(node, self.remotes[node.name].tunnel(ports.STORE_PORT, node.address), self.identity),
        )

    def store_at(self, address: str, name: str) -> Store:
        """Return the HTTP side of a member by its address; where no node has it, through the first member's sshd."""
        node = next((one for one in self.cluster.nodes if one.address == address), None)
        if node:
            return self.store(node)
        first = self.cluster.members[0]
        stranger = replace(first, name=name, address=address)
        port = self.remotes[first.name].tunnel(ports.STORE_PORT, address)
        return self._once("store", stranger, lambda: Store(stranger, port, self.identity))

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

    def v3(self, node: Node, ask: Callable[[etcd3.Etcd3Client], T]) -> T:
        """Return a member's answer through the v3 API. StoreError if it does not answer, or says no."""
        import grpc
        from etcd3.exceptions import Etcd3Exception

        try:
            return ask(self.etcd(node))
        except (Etcd3Exception, grpc.RpcError) as error:
            # etcd3 hides what the member has said behind an error of its own, without words.
            cause = next((one for one in (error, error.__cause__, error.__context__) if hasattr(one, "details")), None)
            words = (cause and cause.details()) or _WITHOUT_WORDS.get(type(error).__name__, "it gives no reason")
            raise StoreError(f"etcd on {node.name} does not answer: {words}") from error
        except OSError as error:  # a certificate or key that it would show
            raise StoreError(f"{error.filename or 'a certificate'}: {error.strerror or error}") from error

    def _etcd(self, node: Node) -> etcd3.Etcd3Client:
        import etcd3

        certificate, key = self.identity.paths(pki.CONTROLLER_STORE)
        return etcd3.client(
            host="127.0.0.1",
            port=self.remotes[node.name].tunnel(ports.STORE_PORT, node.address),
            ca_cert=str(self.identity.authority_path(pki.Authority.CLIENT)),
            cert_cert=str(certificate),
            cert_key=str(key),
            timeout=10,
            # A list of all keys may be larger than the 4 MB that gRPC takes by itself.
            grpc_options={
                "grpc.ssl_target_name_override": node.address,
                "grpc.max_receive_message_length": -1,
            }.items(),
        )

    def docker(self, node: Node) -> DockerClient:
        """Return a Docker client of one node."""
        return self._once("docker", node, lambda: self._docker(node))

    def _docker(self, node: Node) -> DockerClient:
        from provision.docker.client import over_tls

        port = self.remotes[node.name].tunnel(ports.DOCKER_PORT, node.address)
        authority = self.identity.authority_path(pki.Authority.DOCKER)
        return over_tls(node.name, port, node.address, authority, *self.identity.paths(pki.CONTROLLER_DOCKER))

    def aim(self, situation: Situation) -> None:
        """Show the certificates that the controller keeps now."""
        self.identity = local(situation).identity

    def await_quorum(self, occasion: str) -> None:
        """Return once a v2 write was acknowledged. StepFailed, naming `occasion`, when none is in a minute."""
        key = f"/overlay-provision/quorum/{os.getpid()}"

        def write() -> None:
            store = self._any_store()
            store.put(key, occasion)
            store.delete(key)
            store.delete_empty(key.rpartition("/")[0])

        waiting.until(write, f"etcd acknowledges a write ({occasion})", "cluster", paths.ADVICE)

    def await_back(self, situation: Situation, nodes: Sequence[Node]) -> None:
        """Return once a quorum acknowledges a write, and dockerd is on the store on each of these nodes."""
        self.await_quorum("after dockerd has restarted on " + ", ".join(node.name for node in nodes))
        self.remotes.each(joined, tuple(nodes))

    def await_members(self, nodes: tuple[Node, ...], meanwhile: Callable[[], object]) -> None:
        """Return once each of these members reads through the quorum. See `until` for `meanwhile`."""
        for node in nodes:
            waiting.until(
                partial(self.store(node).get, "/"), f"etcd on {node.name} answers", node.name, paths.ADVICE, meanwhile
            )

    def forget_strangers(self) -> None:
        """Remove the announcements of dockerds on hosts that are no nodes; one that lives and may is back in 20 s."""
        addresses = {node.address for node in self.cluster.nodes}
        for entry in (self.store().get("/docker/nodes") or {}).get("nodes", ()):
            if entry["key"].rpartition("/")[2].partition(":")[0] not in addresses:
                self.store().delete(entry["key"])

    @contextmanager
    def cleaning_up_after(self, subnet: IPv4Network) -> Iterator[None]:
        """Remove the empty folders that Docker leaves in the store: one a network made, or refused; one a subnet."""
        before = self._empty_folders()
        try:
            yield
        finally:
            known = {network["Id"] for node in self.cluster.nodes for network in self.docker(node).api.networks()}
            for folder in self._empty_folders() - before:
                if folder.rpartition("/")[2] not in known:
                    self.store().delete_empty(folder)
            self.store().delete_empty(f"{OF_SUBNETS}/{subnet.network_address}")

    def _empty_folders(self) -> frozenset[str]:
        found = (self.store().get(OF_NETWORKS) or {}).get("nodes", ())
        return frozenset(folder["key"] for folder in found if not folder.get("nodes"))

    def users_data(self, situation: Situation) -> list[Problem]:
        """Return which keys in the store are a user's. Unanswered if no member lists the keys."""
        running = [node for node in self.cluster.members if situation.of(node).unit(paths.ETCD_UNIT).running]
        if not running:
            if membership.with_log(situation, "yes"):
                raise Unanswered("keys in the store cannot be looked at: etcd runs on no member")
            return []
        try:
            root = self.store(running[0]).get("/", quorum=False) or {}
            v2 = [entry["key"] for entry in root.get("nodes", ()) if entry["key"] not in OUR_KEYS]
            # A member tells its own copy without a quorum, too.
            held = self.v3(
                running[0], lambda client: list(client.get_range("\0", "\0", keys_only=True, serializable=True))
            )
            v3 = [meta.key.decode(errors="replace") for _, meta in held]
        except Exception as error:  # whatever the clients say, the member does not answer
            raise Unanswered(
                f"keys in the store cannot be looked at: etcd on {running[0].name} does not answer"
            ) from error
        foreign = [*v2, *(key for key in v3 if not key.startswith(OUR_KEYS))]
        return [Problem(f"key {key} is in the store and not ours", "cluster") for key in foreign]

    def status(self, situation: Situation, *, store: bool) -> Status:
        """Look at members, dockerds and, with `store`, at each member's copy of Docker's keys."""
        return status.status(self, situation, store=store)

    def save(self, situation: Situation) -> Mapping[str, bytes]:
        """Return Docker's and users' keys, and a snapshot of those of etcd's third version."""
        from provision.planes.etcd.saving import saved_files

        return saved_files(self)

    def close(self) -> None:
        """Close what was opened."""
        for client in self._made.values():
            if hasattr(client, "close"):
                client.close()


def opened(coordinator: Coordinator) -> EtcdCoordinator:
    """Return this plane's coordinator as what it is, for phases and checks of this plane."""
    if not isinstance(coordinator, EtcdCoordinator):
        raise TypeError(f"{coordinator!r} is another plane's")
    return coordinator
