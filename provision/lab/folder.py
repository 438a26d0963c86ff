"""The folder a lab writes for its users: an ordinary inventory, and the keys to its hosts."""

from __future__ import annotations

import json
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from provision.lab import network
from provision.lab.base import Base
from provision.lab.host import Host

FILES = ("inventory.yml", "key", "key.pub", "known_hosts")


@dataclass(frozen=True)
class Lab:
    """A lab as its users see it. All paths are absolute."""

    name: str
    folder: Path
    user: str
    release: str
    nodes: tuple[Host, ...]
    jump: Host
    base: Base
    #: The major version of Docker, if it is not the release's own.
    docker: str = ""

    @property
    def inventory(self) -> Path:
        """The inventory file, for `fab -i`."""
        return self.folder / "inventory.yml"

    @property
    def key(self) -> Path:
        """The private key to every host, for root and for the user with a sudo password."""
        return self.folder / "key"

    @property
    def known_hosts(self) -> Path:
        """The host keys, recorded when they were made, so that no key is unknown at the first connection."""
        return self.folder / "known_hosts"

    @property
    def inside(self) -> tuple[str, ...]:
        """The command prefix for the controller's network, where the hosts are reached without a gateway."""
        return network.inside(self.name)

    @property
    def gateway(self) -> str:
        """The ProxyCommand that reaches the hosts from this machine's own network."""
        return " ".join((*self.inside, "nc", "%h", "%p"))


@dataclass(frozen=True)
class HostStatus:
    """The state of a host now: systemd's state, or off, and whether its cable is plugged in and not cut."""

    name: str
    address: str
    state: str
    linked: bool


def write(lab: Lab, key: Path) -> None:
    """Write the folder: the inventory, and copies of the lab's key pair and of the host keys."""
    lab.folder.mkdir(parents=True, exist_ok=True)
    lab.key.touch(mode=0o600)
    lab.key.write_bytes(key.read_bytes())
    lab.key.with_suffix(".pub").write_bytes(key.with_suffix(".pub").read_bytes())
    lab.known_hosts.write_text("".join(_known(host) for host in (*lab.nodes, lab.jump)), encoding="utf-8")
    lab.inventory.write_text(inventory(lab), encoding="utf-8")


def remove(folder: Path, cluster: str) -> None:
    """Remove the files that `write` wrote, the identity of the cluster, and the folder if it is empty then."""
    for name in FILES:
        (folder / name).unlink(missing_ok=True)
    identities = folder / ".overlay"
    if (identities / cluster).exists():
        shutil.rmtree(identities / cluster)
    if identities.is_dir() and {path.name for path in identities.iterdir()} <= {".gitignore", ".lock"}:
        shutil.rmtree(identities)
    if folder.is_dir() and not any(folder.iterdir()):
        folder.rmdir()


def inventory(lab: Lab) -> str:
    """Return the text of the inventory."""
    return f"""\
# Written by every `fab lab.up`: {len(lab.nodes)} disposable hosts on this machine.
# `fab lab.down` removes them. The jump host, for a gateway of your own, is {lab.jump.address}.
version: 1
cluster: {lab.name}
ssh:
  user: {lab.user}
  key: {_text(lab.key)}
  known_hosts: {_text(lab.known_hosts)}
  host_keys: accept-new
  gateway: {_text(lab.gateway)}
nodes:
{_nodes(lab.nodes)}{_etcd(lab.base.etcd)}overlay:
  networks:
    demo: {{subnet: 10.99.0.0/24}}
probe:
  image: busybox
  archive: {_text(lab.base.busybox)}
app:
  redis: {{image: redis, archive: {_text(lab.base.redis)}}}
  web: {{image: flask-redis, archive: {_text(lab.base.web)}}}
"""


def _nodes(nodes: Sequence[Host]) -> str:
    return "".join(f"  {node.name}: {{address: {node.address}}}\n" for node in nodes)


def _etcd(archive: Path | None) -> str:
    """Return the section `etcd`; nothing for a base without etcd, whose Docker knows no store."""
    return f"etcd:\n  source: {_text(archive)}\n" if archive else ""


def _known(host: Host) -> str:
    kind, key, *_ = host.host_key.with_suffix(".pub").read_text(encoding="utf-8").split()
    return f"{host.address} {kind} {key}\n"


def _text(value: object) -> str:
    return json.dumps(str(value), ensure_ascii=False)  # JSON strings are YAML
