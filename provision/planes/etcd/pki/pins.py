"""Leaves that etcd accepts one by one, in place of the authority that has signed them: how a lost host is shut out.

A recovery begins a rotation. In its first two steps etcd accepts, of clients, the new authority and the leaves of the
hosts that were left, but not the old authority: so the leaves of lost hosts open nothing, and no dockerd restarts.
Clients that come meanwhile get a leaf of the new authority. A member that comes meanwhile shows a leaf of the old one,
which every dockerd trusts; etcd connects to itself with it, so that this member accepts this leaf as well.

A dockerd shows its leaf only to a server that names the leaf's issuer among those it accepts. etcd names the subjects
of what it trusts: the new authority has to have the old one's subject, and has (`certificates.sign_authority`).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from provision.errors import PreflightRefused, Problem
from provision.inventory.model import Cluster, Node
from provision.pki import certificates, files
from provision.planes.etcd.pki.leaves import Authority, store_client_leaf, store_leaf

#: In the folder of the authority of the store's clients: the leaves of the hosts that were left, after a first line
#: with the recovery's identity.
FILE = "pinned.crt"
#: What follows the name of a leaf that its own member accepts.
OWN = ".pinned.crt"


@dataclass(frozen=True)
class Pins:
    """`recovery`: its identity. `common`: the leaves that every member accepts. `own`: those that one does, by name."""

    recovery: str
    common: frozenset[bytes]
    own: Mapping[str, bytes] = field(default_factory=dict)

    def of(self, node: Node) -> tuple[bytes, ...] | None:
        """Return the leaves that a member accepts, as PEM; None if its own is not pinned yet."""
        own = self.own.get(store_leaf(node).name)
        return None if own is None else tuple(sorted(self.common | {own}))


def read(folder: Path) -> Pins | None:
    """Return the pinned leaves; None where there was no recovery. PreflightRefused if they cannot be read.

    Without them, etcd would be given the old authority again, by which lost hosts come in.
    """
    base = folder / Authority.CLIENT
    try:
        content = (base / FILE).read_bytes()
        own = {path.name.removesuffix(OWN): path.read_bytes() for path in base.glob(f"*{OWN}")}
    except FileNotFoundError:
        return None
    except OSError as error:
        advice = "this folder holds the cluster's keys, and must be readable by you"
        raise PreflightRefused(
            Problem(f"cannot be read: {error.strerror}", str(error.filename or base / FILE), advice)
        ) from error
    common = frozenset(map(certificates.certificate_pem, certificates.load_all(content)))
    return Pins(content.partition(b"\n")[0].decode(errors="replace").removeprefix("# "), common, own)


def write(cluster: Cluster, recovery: str) -> None:
    """Pin the leaves of these nodes, as they are now."""
    base = cluster.folder / Authority.CLIENT
    leaves = (leaf for node in cluster.nodes for leaf in (store_client_leaf(node), store_leaf(node)))
    found = (path.read_bytes() for leaf in leaves if (path := base / f"{leaf.name}.crt").exists())
    files.write(base / FILE, b"".join((f"# {recovery}\n".encode(), *_first(found))), 0o444)
    files.sync_folder(base)


def write_own(cluster: Cluster) -> None:
    """Pin each member's own leaf for itself, unless a step has begun in which the new authority signs it."""
    base = cluster.folder / Authority.CLIENT
    for node in cluster.members:
        name = store_leaf(node).name
        (leaf,) = _first([(base / f"{name}.crt").read_bytes()])
        place = base / f"{name}{OWN}"
        if not place.exists() or place.read_bytes() != leaf:
            files.write(place, leaf, 0o444)


def clear(base: Path) -> None:
    """Remove the pinned leaves of an authority's folder: the rotation is over."""
    for path in (base / FILE, *base.glob(f"*{OWN}")):
        path.unlink(missing_ok=True)


def _first(contents: Iterable[bytes]) -> list[bytes]:
    """Return the leaf of each of these files, in the form in which it is compared."""
    return [certificates.certificate_pem(one) for content in contents for one in certificates.load_all(content)[:1]]
