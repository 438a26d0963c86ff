"""Where things are on a node in every control plane, and the ports of Docker's overlay."""

from __future__ import annotations

STATE = "/var/lib/overlay-provision"
#: A recovery that is under way, and a line for each one that there was.
RECOVERY = f"{STATE}/recovery.json"
RECOVERIES = f"{STATE}/recoveries"
#: While it is there, the record of what containers should have is not brought up to date: they are off their networks
#: or, if the file has a word in it, about to be.
HELD = f"{STATE}/containers.held"
DOCKER = "/etc/docker"
DOCKER_UNIT = "docker.service"
DOCKER_DROP_IN_FOLDER = f"/etc/systemd/system/{DOCKER_UNIT}.d"
DOCKER_DROP_IN = f"{DOCKER_DROP_IN_FOLDER}/50-overlay.conf"
DOCKER_CONFIG = f"{DOCKER}/daemon.json"
#: What dockerd reads instead: made at each start from the user's, our defaults, and the keys of a control plane.
DOCKER_RUN_CONFIG = "/run/overlay-provision/daemon.json"
#: Our folder beside dockerd's configuration, and in it our defaults for that.
DOCKER_OURS = f"{DOCKER}/overlay"
DOCKER_HARDENING = f"{DOCKER_OURS}/hardening"
PROGRAMS = "/usr/local/lib/overlay-provision"
#: The program that stays on a node and mends what Docker gets wrong, and its service.
MEND_PROGRAM = f"{PROGRAMS}/mend"
MEND_UNIT = "overlay-mend.service"
MEND_UNIT_FILE = f"/etc/systemd/system/{MEND_UNIT}"
CONFIGURATION = "/etc/overlay-provision"
FIREWALL_TABLE = "overlay_provision"
FIREWALL_RULES = f"{CONFIGURATION}/firewall.nft"
FIREWALL_UNIT = "overlay-firewall.service"
FIREWALL_UNIT_FILE = f"/etc/systemd/system/{FIREWALL_UNIT}"

#: On a node whose former cluster a restore has put aside: the identity of that restore, and how far it is.
RESTORE = f"{STATE}/restore"

GOSSIP_PORT = 7946
VXLAN_PORT = 4789
