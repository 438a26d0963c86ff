"""What certificates that end or are gone make of a plan: exactly what is then done."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

from cluster_sample import lines, planned, planned_sample
from pki_sample import sample

from provision.engine import make_plan
from provision.planes.etcd import pki
from provision.planes.etcd.local import local, with_identity
from provision.planes.etcd.pki import Identity
from provision.planes.etcd.plane import PLANE


def test_a_leaf_gone_from_the_controller_plans_what_is_then_done(tmp_path: Path) -> None:
    situation = planned_sample(tmp_path)
    for path in local(situation).identity.paths(pki.docker_leaf(situation.cluster.node("node1"))):
        path.unlink()
    before = with_identity(situation, Identity.read(situation.cluster))
    after = with_identity(situation, pki.make(situation.cluster))
    on_nodes = [c for c in make_plan(PLANE, before) if c.where != "controller"]
    done = list(make_plan(PLANE, after))
    assert lines(on_nodes) == lines(done)


def test_an_authority_renewed_plans_what_is_then_done(tmp_path: Path) -> None:
    cluster = sample(tmp_path)
    now = datetime.now(UTC)
    pki.make(cluster, now - timedelta(days=3650 - 825 - 30 - 1))  # the authority is 1 day from renewing
    pki.make(cluster, now - timedelta(days=2))  # leaves renewed 2 days before
    situation = planned(cluster)
    later = now + timedelta(days=3)
    before = Identity.read(cluster, later)
    plan = make_plan(PLANE, with_identity(situation, before))
    after = pki.make(cluster, later)
    done = make_plan(PLANE, with_identity(situation, after))
    assert lines(c for c in plan if c.where != "controller") == lines(done)
