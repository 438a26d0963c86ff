"""What is told of certificates and their ends."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cluster_sample import planned
from pki_sample import sample

from provision.core.validity import left
from provision.planes.etcd import pki, validity
from provision.planes.etcd.local import with_identity
from provision.planes.etcd.pki import Identity

NOW = datetime(2030, 5, 1, 12, tzinfo=UTC)


@pytest.mark.parametrize(
    ("hours", "told"),
    [(25, "1 day"), (1, "0 days"), (0, "ended 0 days ago"), (-1, "ended 0 days ago"), (-25, "ended 1 day ago")],
)
def test_days_are_whole_ones(hours: int, told: str) -> None:
    assert left(NOW + timedelta(hours=hours), NOW) == told


def test_every_certificate_is_found_where_it_lies(tmp_path: Path) -> None:
    cluster = sample(tmp_path)
    situation = planned(cluster, pki.make(cluster, NOW))
    found = {one.where: (one.what, one.end) for one in validity.found(situation)}
    leaf = NOW + timedelta(days=825, hours=-1)
    assert found["node1:/etc/etcd/pki/peer.crt"] == ("leaf etcd-peer/node1-peer", leaf)
    assert found["node3:/etc/docker/overlay/store.crt"] == ("leaf etcd-client/node3-docker", leaf)
    assert found["node1:/etc/etcd/pki/client-ca.crt"][0] == "authority etcd-client"
    assert found[f"controller:{cluster.folder}/docker/controller.crt"] == ("leaf docker/controller", leaf)
    # The controller's 3 authorities and 12 leaves; each leaf of a node beside its authority.
    assert len(found) == 3 + 12 + 2 * (4 + 4 + 2)


def test_what_ended_on_a_node_is_told_though_the_controller_has_a_newer_one(tmp_path: Path) -> None:
    cluster = sample(tmp_path)
    situation = planned(cluster, pki.make(cluster, NOW - timedelta(days=830)))
    pki.make(cluster, NOW)
    (problem,) = validity.warnings(with_identity(situation, Identity.read(cluster, NOW)))
    assert "leaf etcd-peer/node1-peer on 2030-04-26 (ended 5 days ago)" in problem.what
    assert "controller" not in problem.what


def test_certificates_that_are_valid_are_not_spoken_of(tmp_path: Path) -> None:
    cluster = sample(tmp_path)
    assert validity.warnings(planned(cluster, pki.make(cluster))) == ()
