"""Hosts with several versions of Docker in one swarm: what holds with one version holds with two."""

from __future__ import annotations

import pytest
from conftest import Fab, MakeLab
from observe import document

from provision import lab as labs

pytestmark = pytest.mark.whole


def test_210_two_versions_of_docker_in_one_swarm(make_lab: MakeLab, fab: Fab) -> None:
    """Docker 26 and 28 are provisioned together and proven; then 26 becomes 28 on a host that is in use."""
    lab = make_lab(3, release="trixie")
    first, *_, last = lab.nodes
    labs.upgrade(lab.name, last.name, release="trixie", docker="28", say=lambda _: None)
    document(fab(lab, "provision", "--json"))
    assert document(fab(lab, "provision", "--json"))["changes"] == []
    document(fab(lab, "verify", "--json"))
    labs.upgrade(lab.name, first.name, release="trixie", docker="28", say=lambda _: None)
    document(fab(lab, "provision", "--json"))
    document(fab(lab, "verify", "--json"))
