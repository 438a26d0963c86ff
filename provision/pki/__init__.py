"""The cluster's identity: three certificate authorities and the leaves they sign.

One authority for all would let any client certificate speak to the etcd peer port, so there is one each for
etcd's peers, etcd's clients and the Docker API. Keys are made here, on the controller, and an authority's key
never leaves it:

    FOLDER/                        0700, `Cluster.folder`; in a rotation also `rotation`, the step, and next.{crt,key}
      etcd-peer/ca.{crt,key}       NODE-peer
      etcd-client/ca.{crt,key}     NODE-server, NODE-docker (dockerd as a client of the store), controller
      docker/ca.{crt,key}          NODE-server, controller

A leaf is remade when it is no longer fit. An authority only by a rotation (rotation.py): near its end it signs
itself anew with the same key, so that every leaf stays valid, and one that is damaged is refused, because a new one
would cut off every node that trusts the old.
"""

from provision.pki.adoption import take_over
from provision.pki.certificates import expiry, load_all
from provision.pki.identity import Identity, Kept, Need
from provision.pki.leaves import (
    CONTROLLER_DOCKER,
    CONTROLLER_STORE,
    Authority,
    Issued,
    Leaf,
    docker_leaf,
    leaves,
    peer_leaf,
    store_client_leaf,
    store_leaf,
)
from provision.pki.making import make
from provision.pki.rotation import Aim, Step, remaining

__all__ = [
    "CONTROLLER_DOCKER",
    "CONTROLLER_STORE",
    "Aim",
    "Authority",
    "Identity",
    "Issued",
    "Kept",
    "Leaf",
    "Need",
    "Step",
    "docker_leaf",
    "expiry",
    "leaves",
    "load_all",
    "make",
    "peer_leaf",
    "remaining",
    "store_client_leaf",
    "store_leaf",
    "take_over",
]
