"""Where this control plane's things are on a node."""

from __future__ import annotations

from provision import layout

USER = "etcd"
DATA = "/var/lib/etcd"
RELEASES = "/usr/local/lib/etcd"
ETCD = "/etc/etcd"
ETCD_PKI = "/etc/etcd/pki"
#: A member's keys, towards other members and towards clients.
ETCD_KEYS = (f"{ETCD_PKI}/peer.key", f"{ETCD_PKI}/server.key")
#: What a member trusts of other members, and of clients.
PEER_AUTHORITY = f"{ETCD_PKI}/peer-ca.crt"
CLIENT_AUTHORITY = f"{ETCD_PKI}/client-ca.crt"
ETCD_ENVIRONMENT = "/etc/etcd/etcd.env"
ETCD_BOOTSTRAP = "/etc/etcd/bootstrap.env"
#: Says whether etcd may start: see planes/etcd/node/etcd_before_start.sh.
BEFORE_START = f"{RELEASES}/before-start"
ETCD_UNIT = "etcd.service"
ETCD_UNIT_FILE = f"/etc/systemd/system/{ETCD_UNIT}"
DOCKER_PKI = layout.DOCKER_OURS
DOCKER_STORE = f"{DOCKER_PKI}/store.env"
#: There while dockerd is on the store. Scratch by STORE_PROGRAM.
DOCKER_JOINED = "/run/overlay-provision/docker.joined"
STORE_PROGRAM = f"{layout.PROGRAMS}/docker-store"
JOIN_UNIT = "overlay-join.service"
JOIN_UNIT_FILE = f"/etc/systemd/system/{JOIN_UNIT}"
#: Mends what Docker gets wrong while it runs: see planes/etcd/node/mend.sh.
#: How many rows it has mended since the boot; absent before the first.
MENDED_ROWS = "/run/overlay-provision/mend.rows"

#: What to do where the store does not answer.
ADVICE = f"fab status; on the node: journalctl -u {ETCD_UNIT}"
