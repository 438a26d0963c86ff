"""More than two nodes: a third node joins; then five at once."""

from __future__ import annotations

import json

import pytest
from conftest import Fab, MakeLab
from observe import document, start

from provision import lab as labs
from provision.lab import Lab

pytestmark = pytest.mark.lab


def starts(lab: Lab, *nodes: str) -> dict[tuple[str, str], str]:
    return {(node, unit): start(lab, node, unit) for node in nodes for unit in ("etcd", "docker")}


def test_a_third_node_joins_two_without_a_restart_on_them(make_lab: MakeLab, fab: Fab) -> None:
    lab = make_lab(2)
    document(fab(lab, "provision", "--json"))
    before = starts(lab, "node1", "node2")
    lab = labs.add_node(lab.name, say=lambda _: None)

    planned = document(fab(lab, "plan", "--json"))["changes"]
    assert [change for change in planned if change["restarts"] and change["where"] in ("node1", "node2")] == []
    assert "member node3" in json.dumps(planned)
    report = document(fab(lab, "provision", "--json"))
    assert report["changes"] == planned
    assert starts(lab, "node1", "node2") == before
    members = document(fab(lab, "status", "--json"))["members"]
    assert [member["health"] for member in members] == ["healthy"] * 3
    assert document(fab(lab, "plan", "--json"))["changes"] == []


@pytest.mark.whole
@pytest.mark.parametrize(("release", "members"), [("bookworm", 3), ("trixie", 5)])
def test_five_nodes_are_provisioned_and_verified_with_three_members(
    make_lab: MakeLab, fab: Fab, release: str, members: int
) -> None:
    """In swarm mode, status has the workers in its table of members, too."""
    lab = make_lab(5, release=release)
    document(fab(lab, "provision", "--json", timeout=500))
    report = document(fab(lab, "verify", "--json"))
    crossed = [o for o in report["outcomes"] if o["check"] == "overlay/containers-reach-each-other"]
    assert len(crossed) == 5 * 4
    assert len(document(fab(lab, "status", "--json"))["members"]) == members
    assert document(fab(lab, "provision", "--json"))["changes"] == []
