"""An inventory to start from: with the given addresses, and every other key in a comment."""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path

from provision.errors import Problem, UsageError
from provision.inventory import addresses, values
from provision.inventory.document import ETCD_VERSION
from provision.inventory.errors import Wrong, show
from provision.inventory.reader import parse
from provision.ports import Port

SCHEMA = Path(__file__).with_name("schema.json")
"""The JSON Schema with which editors complete and check the file."""

FEWEST = 2
"""The fewest hosts of an overlay network."""

_TEXT = """\
# yaml-language-server: $schema={schema}
#
# Show what would change:        fab plan
# Change it, and verify it:      fab provision
# A line that is commented out shows the default, or an example. Paths are taken from this file's folder.

version: 1

# The cluster's name, for the certificates and the store: a-z, 0-9 and dashes.
cluster: {cluster}

# How the nodes are reached. ~/.ssh/config, then OpenSSH's defaults, fill in the keys that are missing here.
ssh:
  # The user who logs in; sudo is used unless this is root (for its password: fab --prompt-for-sudo-password).
  {user}
  {port}
  # A private key. Keys of ~/.ssh/config and the agent are tried too.
  # key: ~/.ssh/id_ed25519
  # known_hosts: ~/.ssh/known_hosts
  # A host key seen for the first time: ask shows its fingerprint, accept-new records it, strict refuses it.
  host_keys: ask
  # A jump host, user@bastion:port, or an OpenSSH ProxyCommand with %h and %p.
  # gateway: null

# Two or more hosts, by name. For each:
#   address   the IPv4 address by which the other nodes reach this one, for the store and the overlay's own traffic
#   member    whether the node is a member of the store; default: both of two nodes, the first three of more
#   state     absent: the node leaves the cluster, and its host becomes as it was before; then delete its entry
#   ssh       settings for this node alone: any key of the ssh above, or host: another address to connect to
nodes:
{nodes}

# The etcd release to push: 3.4.21 or later, or 3.5.5 or later, but not 3.6. Needed where etcd is the control plane, see
# below. The archive for each node's CPU is downloaded once, into ~/.cache/overlay-provision, and checked.
etcd:
  version: {version}
  # Another place to download it from: MIRROR/v{version}/etcd-v{version}-linux-amd64.tar.gz.
  # mirror: https://github.com/etcd-io/etcd/releases/download
  # The checksums of a version that this tool does not know, from the release's file SHA256SUMS.
  # sha256: {{amd64: 64 digits, arm64: 64 digits}}
  # In place of a version: an archive, a folder with etcd and etcdctl, or an https URL with sha256: 64 digits.
  # source: artifacts/etcd-v{version}-linux-amd64.tar.gz

docker:
  # How nodes share the networks: etcd (Docker before 23), swarm, or auto for what their Docker supports.
  # What the first provision chose stays, whatever Docker the nodes get later.
  control_plane: auto
  # true: provision installs Docker where a host has none, and reset removes it there.
  # install: false
  # What is installed: a package, by apt, together with Docker's client.
  # package: docker.io
  # In place of a package: a static release for each CPU, for hosts without a repository.
  # source:
  #   amd64: {{archive: docker-28.5.2.tgz, sha256: 64 digits}}
  #   arm64: {{archive: docker-28.5.2-arm64.tgz, sha256: 64 digits}}
  # A version, or its beginning: hosts with an older Docker are upgraded, one at a time.
  # version: "28.5"
  # Where etcd is the control plane, Docker's package is held at its version: Docker 23 cannot use etcd.
  # hold: true
  # Settings of dockerd, unless your own daemon.json has them. A change of one restarts dockerd.
  # hardening:
  #   # Setuid programs gain no privileges in new containers (opt out: --security-opt no-new-privileges=false).
  #   no_new_privileges: true
  #   # The log of a new container is limited to three files of 10 MB.
  #   rotate_logs: true
  #   # Open files: 65536 per process, which may raise it to 1048576. A dockerd that has a lower limit itself, and may
  #   # not raise limits (CAP_SYS_RESOURCE), then starts no container.
  #   limit_open_files: false
  #   # Containers on Docker's default bridge do not reach each other, unless linked.
  #   isolate_default_bridge: false
  #   # Ports are published by packet rules alone; not over IPv6.
  #   without_userland_proxy: false
  # In swarm mode, how many days the hosts' certificates last; Docker renews them, and chooses 90 by itself.
  # certificate_days: 90

# Whether only the nodes may reach ports 2376, 2379, 2380, 7946 and 4789, by a table of nftables.
# firewall: false

overlay:
  # The networks that cross hosts: name and IPv4 range. Nothing else may use the range; auto chooses one.
  # In swarm mode, encrypted: true encrypts a network's packets between hosts: IPsec, IP protocol 50.
  networks:
    demo: {{subnet: 10.99.0.0/24}}
  # The largest packet between the nodes, in bytes; containers get 50 less, 76 on an encrypted network. auto is the MTU
  # of the nodes' links.
  # mtu: auto
  # The UDP port of packets between containers on different hosts. Another one in swarm mode only, from the beginning.
  # vxlan_port: 4789
  # In swarm mode, false removes the network ingress, which only services with published ports use. true leaves it.
  # ingress: true

# The container that verification runs on every node.
probe:
  image: busybox
  # The image, as `docker save` writes it; pushed to nodes without a registry.
  # archive: artifacts/busybox.tar

# The images of examples/flask-redis, which verify tries across two nodes; an archive is as above. Not tried by default.
# app:
#   redis: {{image: "redis:8"}}
#   web: {{image: flask-redis}}
"""


@dataclass(frozen=True)
class _Host:
    address: str
    user: str | None
    port: int | None

    @property
    def login(self) -> tuple[str, ...]:
        """The keys under ssh for this host, as lines of YAML."""
        user = (f"user: {_typed(self.user)}",) if self.user else ()
        return (*user, f"port: {self.port}") if self.port else user


def template(
    hosts: Sequence[str],
    *,
    ports: Collection[Port] = (),
    cluster: str = "demo",
    version: str = ETCD_VERSION,
    schema: Path = SCHEMA,
) -> str:
    """Return an inventory for hosts, each `[user@]IPv4[:port]`. UsageError names every wrong host."""
    known = _checked(hosts, ports)
    shared = known[0].login if len({host.login for host in known}) == 1 else ()
    settings = dict(line.split(": ", 1) for line in shared)
    return _TEXT.format(
        schema=schema,
        cluster=_typed(cluster),
        user=f"user: {settings['user']}" if "user" in settings else "# user: ops",
        port=f"port: {settings['port']}" if "port" in settings else "# port: 22",
        nodes="\n".join(_node(number, host, shared) for number, host in enumerate(known, start=1)),
        version=_typed(version),
    )


def _node(number: int, host: _Host, shared: tuple[str, ...]) -> str:
    own = f"\n    ssh: {{{', '.join(host.login)}}}" if host.login and not shared else ""
    return f"  node{number}:\n    address: {host.address}{own}"


def _typed(text: str) -> str:
    """Return text as YAML, in quotes if YAML would read it as another value."""
    return text if parse(f"key: {text}").values == {"key": text} else json.dumps(text)


def _checked(hosts: Sequence[str], ports: Collection[Port]) -> tuple[_Host, ...]:
    known, problems = [], []
    for host in hosts:
        try:
            known.append(_host(host, ports))
        except Wrong as wrong:
            problems.append(Problem(f"{show(host)}: {wrong.what}", "init", wrong.advice))
    seen = [host.address for host in known]
    problems += [
        Problem(f"{address} is given twice", "init", "name each host once")
        for address in dict.fromkeys(seen)
        if seen.count(address) > 1
    ]
    if not problems and len(known) < FEWEST:
        what = "an overlay network joins two hosts or more"
        advice = "give two addresses: fab init --host ops@192.0.2.11 --host ops@192.0.2.12"
        problems.append(Problem(what, "init", advice))
    if problems:
        raise UsageError(*problems)
    return tuple(known)


def _host(text: str, ports: Collection[Port]) -> _Host:
    user, at, rest = text.rpartition("@")
    address, colon, port = rest.partition(":")
    if colon and not re.fullmatch(r"[0-9]{1,5}", port):
        raise Wrong(f"{show(rest)} is not ADDRESS:PORT", "write user@192.0.2.11:22")
    return _Host(
        addresses.address(address),
        values.user(user) if at else None,
        values.unused_port(values.port(int(port)), ports) if colon else None,
    )
