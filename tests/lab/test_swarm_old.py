"""Docker 20.10 in swarm mode by wish, and hosts that go from one mode to the other and back."""

from __future__ import annotations

import shutil

import pytest
from conftest import Fab, MakeLab
from observe import document, manifest

from provision.lab import Lab

pytestmark = pytest.mark.whole


@pytest.fixture(scope="module")
def lab(make_lab: MakeLab) -> Lab:
    return make_lab()


def test_after_a_reset_either_mode_provisions_the_same_hosts(lab: Lab, fab: Fab) -> None:
    before = {node.name: manifest(lab, node.name) for node in lab.nodes}
    text = lab.inventory.read_text()
    for mode in ("swarm", "etcd", "swarm"):
        lab.inventory.write_text(f"docker: {{control_plane: {mode}}}\n{text}")
        document(fab(lab, "provision", "--json"))
        assert document(fab(lab, "provision", "--json"))["changes"] == []
        checked = document(fab(lab, "verify", "--json"))["outcomes"]
        assert {outcome["status"] for outcome in checked} == {"passed"}
        document(fab(lab, "reset", "--yes", "--json"))
        assert {node.name: manifest(lab, node.name) for node in lab.nodes} == before
        shutil.rmtree(lab.folder / ".overlay")
