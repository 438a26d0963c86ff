"""Where things are on a node, and the ports they listen on."""

from __future__ import annotations

STATE = "/var/lib/overlay-provision"
USER = "etcd"
DATA = "/var/lib/etcd"
RELEASES = "/usr/local/lib/etcd"
ETCD = "/etc/etcd"
ETCD_PKI = "/etc/etcd/pki"
#: What a member trusts of other members, and of clients.
PEER_AUTHORITY = f"{ETCD_PKI}/peer-ca.crt"
CLIENT_AUTHORITY = f"{ETCD_PKI}/client-ca.crt"
ETCD_ENVIRONMENT = "/etc/etcd/etcd.env"
ETCD_BOOTSTRAP = "/etc/etcd/bootstrap.env"
ETCD_UNIT = "etcd.service"
ETCD_UNIT_FILE = f"/etc/systemd/system/{ETCD_UNIT}"
DOCKER = "/etc/docker"
DOCKER_PKI = "/etc/docker/overlay"
DOCKER_STORE = f"{DOCKER_PKI}/store.env"
DOCKER_HARDENING = f"{DOCKER_PKI}/hardening"
DOCKER_UNIT = "docker.service"
DOCKER_DROP_IN_FOLDER = f"/etc/systemd/system/{DOCKER_UNIT}.d"
DOCKER_DROP_IN = f"{DOCKER_DROP_IN_FOLDER}/50-overlay.conf"
DOCKER_CONFIG = "/etc/docker/daemon.json"
#: What dockerd reads: the user's own configuration, with the store where there is a quorum. Made by STORE_PROGRAM.
DOCKER_RUN_CONFIG = "/run/overlay-provision/daemon.json"
#: There while dockerd is on the store. Made by STORE_PROGRAM.
DOCKER_JOINED = "/run/overlay-provision/docker.joined"
PROGRAMS = "/usr/local/lib/overlay-provision"
STORE_PROGRAM = f"{PROGRAMS}/docker-store"
JOIN_UNIT = "overlay-join.service"
JOIN_UNIT_FILE = f"/etc/systemd/system/{JOIN_UNIT}"
#: Mends what Docker gets wrong while it runs: see node/mend.sh.
MEND_PROGRAM = f"{PROGRAMS}/mend"
MEND_UNIT = "overlay-mend.service"
MEND_UNIT_FILE = f"/etc/systemd/system/{MEND_UNIT}"
#: How many rows it has mended since the boot; absent before the first.
MENDED_ROWS = "/run/overlay-provision/mend.rows"
CONFIGURATION = "/etc/overlay-provision"
FIREWALL_TABLE = "overlay_provision"
FIREWALL_RULES = f"{CONFIGURATION}/firewall.nft"
FIREWALL_UNIT = "overlay-firewall.service"
FIREWALL_UNIT_FILE = f"/etc/systemd/system/{FIREWALL_UNIT}"

STORE_PORT = 2379
PEER_PORT = 2380
DOCKER_PORT = 2376
GOSSIP_PORT = 7946
VXLAN_PORT = 4789
