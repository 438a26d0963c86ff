"""The cluster's identity: three certificate authorities and the leaves they sign.

etcd's peers, etcd's clients and the Docker API have an authority each. With a single one, any client certificate would
open etcd's peer port. Keys are made on the controller, and an authority's key never leaves it:

    FOLDER/                        0700, `Cluster.folder`; during a rotation also the step and next.{crt,key}
      etcd-peer/ca.{crt,key}       NODE-peer
      etcd-client/ca.{crt,key}     NODE-server, NODE-docker (dockerd as a client of the store), controller
                                   after a recovery also pinned leaves (pins.py)
      docker/ca.{crt,key}          NODE-server, controller

A leaf is replaced when it is no longer fit. An authority is replaced only by a rotation (rotation.py). Near its end it
is renewed with the same key, so that every leaf stays valid. A damaged authority is refused: a new one would cut off
every node that trusts the old one.
"""

from provision.pki.certificates import expiry, load_all
from provision.pki.leaf import Issued, Leaf
from provision.planes.etcd.pki.adoption import take_over
from provision.planes.etcd.pki.foresight import foreseen
from provision.planes.etcd.pki.identity import Identity, Kept, Need
from provision.planes.etcd.pki.issuing import can_shut_out, has_shut_out, make, shut_out
from provision.planes.etcd.pki.leaves import (
    CONTROLLER_DOCKER,
    CONTROLLER_STORE,
    Authority,
    docker_leaf,
    leaves,
    peer_leaf,
    store_client_leaf,
    store_leaf,
)
from provision.planes.etcd.pki.rotation import RotationTarget, Step, remaining, targets

__all__ = [
    "CONTROLLER_DOCKER",
    "CONTROLLER_STORE",
    "Authority",
    "Identity",
    "Issued",
    "Kept",
    "Leaf",
    "Need",
    "RotationTarget",
    "Step",
    "can_shut_out",
    "docker_leaf",
    "expiry",
    "foreseen",
    "has_shut_out",
    "leaves",
    "load_all",
    "make",
    "peer_leaf",
    "remaining",
    "shut_out",
    "store_client_leaf",
    "store_leaf",
    "take_over",
    "targets",
]
