"""The identity as a step of a rotation leaves it, told before the rotation begins, so that `plan` shows every step."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from functools import cache

from provision.inventory.model import Cluster
from provision.pki import certificates
from provision.pki.certificates import Signer
from provision.pki.leaf import Issued
from provision.planes.etcd.pki.identity import Identity, Need
from provision.planes.etcd.pki.leaves import Authority, leaves
from provision.planes.etcd.pki.rotation import RotationTarget, Step

_NEW_LEAF = Issued(b"certificate", b"key", b"authority")


def foreseen(cluster: Cluster, step: Step) -> Identity:
    """Return the identity as the step leaves it. It writes nothing.

    What is not made yet has a stand-in: the same one in every step, so that one step's files compare with the next's.
    """
    found = Identity.read(cluster, target=RotationTarget(Step.TRUST))
    old = {str(name): found.signers.get(name) or _stand_in("old") for name in Authority}
    new = {name: Signer(next(iter(found.authorities[name][1:]), _stand_in("new").certificate), None) for name in old}
    both = {name: (old[name].certificate, new[name].certificate) for name in old}
    if step is Step.TRUST:
        return replace(found, signers=old, authorities=both, needs=())
    issued = dict.fromkeys(leaves(cluster), _NEW_LEAF)
    needs = tuple(Need(f"authority {name}", step) for name in Authority)
    if step is Step.LEAVES:
        # An authority that was taken over has no key: the first leaf of its kind may come only now.
        needs += tuple(Need(f"leaf {leaf}", "renew" if found.will_hold(leaf) else "create") for leaf in issued)
    authorities = both if step is Step.LEAVES else {name: trusted[1:] for name, trusted in both.items()}
    pinned = found.pinned if step is Step.LEAVES else None
    return replace(found, step=step, signers=new, authorities=authorities, issued=issued, needs=needs, pinned=pinned)


@cache
def _stand_in(name: str) -> Signer:
    key = certificates.new_key()
    return Signer(certificates.sign_authority("stand-in", name, key, datetime.now(UTC)), key)
