"""A cluster of two members and a node more, and what OpenSSL and the file system say of its identity."""

from __future__ import annotations

import subprocess
from ipaddress import IPv4Network
from pathlib import Path

from provision.inventory.model import SSH, Cluster, Etcd, Network, Node, Probe
from provision.planes.etcd.pki import Authority


def node(name: str, address: str, *, member: bool = True) -> Node:
    ssh = SSH(address, "ops", 22, None, Path("known_hosts"), "strict", None)
    return Node(name, address, member, ssh)


def sample(folder: Path) -> Cluster:
    nodes = (node("node1", "192.0.2.1"), node("node2", "192.0.2.2"), node("node3", "192.0.2.3", member=False))
    networks = (Network("demo", IPv4Network("10.99.0.0/24")),)
    path = folder / "inventory.yml"
    return Cluster("demo", nodes, Etcd("etcd.tar.gz", None), "etcd", networks, Probe("busybox", None), path)


def contents(cluster: Cluster) -> dict[str, tuple[int, bytes]]:
    """Every file's inode and content: what must not move when there is nothing to do."""
    files = (path for path in cluster.folder.rglob("*") if path.is_file())
    return {str(path): (path.stat().st_ino, path.read_bytes()) for path in files}


def verify(folder: Path, authority: Authority, name: str, purpose: str, *more: str) -> str:
    """Ask OpenSSL, which shares no code of ours, what it thinks of a leaf for a purpose."""
    files = ["-CAfile", f"{folder / authority}/ca.crt", f"{folder / authority}/{name}.crt"]
    command = ["openssl", "verify", "-x509_strict", "-purpose", purpose, *more, *files]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    return "" if done.returncode == 0 else done.stdout + done.stderr
