"""The ports of this control plane."""

from __future__ import annotations

from provision import layout
from provision.ports import OVERLAY, Port

STORE_PORT = 2379
PEER_PORT = 2380
DOCKER_PORT = 2376

_UNIT = "etcd.service"
_TLS = "mutual TLS"

PORTS = (
    Port(DOCKER_PORT, "tcp", layout.DOCKER_UNIT, "the Docker API", _TLS, tunnelled=True),
    *OVERLAY,
    Port(STORE_PORT, "tcp", _UNIT, "etcd's clients", _TLS, members=True, tunnelled=True),
    Port(PEER_PORT, "tcp", _UNIT, "etcd's members", _TLS, members=True, tells_removed=True),
)
