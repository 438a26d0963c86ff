"""Where this control plane's things are on a node."""

from __future__ import annotations

from provision import layout

#: The addresses of the cluster's nodes, one a line.
PEERS = f"{layout.DOCKER_OURS}/peers"
CONFIG_PROGRAM = f"{layout.PROGRAMS}/docker-config"
#: How many containers it has started since the boot; it makes the file when it starts the first one.
STARTED = "/run/overlay-provision/mend.started"
#: The networks of a swarm that the node is about to leave, as Docker's API tells them.
NETWORKS = f"{layout.STATE}/containers.networks"
#: Which containers each node had on the networks when all nodes were there, a line `NAME HOST` each.
OTHERS = f"{layout.STATE}/others"
#: The data of swarms that the node has left, a folder each.
FORMER = f"{layout.STATE}/former-swarms"
