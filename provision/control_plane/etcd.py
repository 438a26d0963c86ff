"""Docker's own overlay with its cluster store in etcd: what Docker called `--cluster-store`, up to 20.10."""

from __future__ import annotations

from provision import layout
from provision.control_plane import ControlPlane, Window
from provision.phases.docker import Docker
from provision.phases.etcd import Etcd
from provision.phases.firewall import Firewall
from provision.phases.host import Host
from provision.phases.image import Images
from provision.phases.keeper import Keepers
from provision.phases.overlay import Overlay
from provision.phases.pki import Certificates
from provision.phases.quorum import Quorum

PLANE = ControlPlane(
    name="etcd",
    # Earlier ones can lose data (etcd advisories of March and September 2022); 3.6 has no v2 API.
    store_versions=Window(lowest=((3, 4, 21), (3, 5, 5)), limit=(3, 6)),
    # 18.09 brought `docker system dial-stdio`, through which a node is asked about its Docker.
    docker_versions=Window(lowest=((18, 9),), limit=(23,)),
    docker_reason="Docker 23 and later refuse --cluster-store: support for external key-value stores was removed",
    member_ports=(layout.STORE_PORT, layout.PEER_PORT),
    node_ports=(layout.DOCKER_PORT, layout.GOSSIP_PORT, layout.VXLAN_PORT),
    phases=(
        Host(),
        Certificates(),
        Firewall(),
        Etcd(),
        Docker(),
        Images(),
        Quorum(),
        Overlay(),
        Keepers(),
    ),
)
