"""Links that become bad in the middle of a run, by a ProxyCommand; and a link that is cut for good."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest
from conftest import HERE, Fab
from invariants import assert_settled, await_so
from observe import document

from provision import lab as labs
from provision.lab import Lab, network

RELEASE = "/var/lib/overlay-provision/etcd.tar.gz"


def through(lab: Lab, *how: object) -> Path:
    """Return the lab's inventory with bad links."""
    words = (*network.inside(lab.name), sys.executable, HERE / "bad_link.py", "%h", "%p", *how)
    lines = lab.inventory.read_text().splitlines()
    gateway = "  gateway: " + json.dumps(" ".join(map(str, words)))
    path = lab.folder / "bad.yml"
    path.write_text("\n".join(gateway if line.startswith("  gateway:") else line for line in lines))
    return path


def nothing_half_sent(lab: Lab) -> None:
    for node in lab.nodes:
        await_so(lab, node.name, "! ls -A /var/lib/overlay-provision | grep pushed")


@pytest.mark.parametrize("percent", [*(pytest.param(percent, marks=pytest.mark.whole) for percent in (1, 50)), 99])
def test_57_a_link_cut_during_an_upload_is_told_and_the_next_run_goes_on(
    bare_lab: Lab, fab: Fab, tmp_path: Path, percent: int
) -> None:
    mark, after = tmp_path / "now", bare_lab.base.etcd.stat().st_size * percent // 100
    inventory = through(bare_lab, "cut", after, mark)
    at = (f"node1: sending {RELEASE}", "before", f"touch {mark}")
    problems = document(fab(bare_lab, "provision", "--json", inventory=inventory, at=at), 4)["problems"]
    told = {problem["where"]: problem["what"] for problem in problems}
    assert told["node1"] == f"the connection was lost during sending {RELEASE}"
    assert told.get("node2", "the connection was lost").startswith("the connection was lost")
    nothing_half_sent(bare_lab)
    assert_settled(bare_lab, fab)


@pytest.mark.whole
def test_58_a_link_that_carries_nothing_any_more_is_given_up(bare_lab: Lab, fab: Fab, tmp_path: Path) -> None:
    mark = tmp_path / "now"
    inventory = through(bare_lab, "freeze", bare_lab.base.etcd.stat().st_size // 2, mark)
    at = (f"node1: sending {RELEASE}", "before", f"touch {mark}")
    problems = document(fab(bare_lab, "provision", "--json", inventory=inventory, at=at), 4)["problems"]
    assert {problem["what"] for problem in problems} == {f"the connection stopped responding during sending {RELEASE}"}
    nothing_half_sent(bare_lab)
    assert_settled(bare_lab, fab)


def test_58_a_host_cut_off_during_a_step_is_named_and_its_step_ends(bare_lab: Lab, fab: Fab) -> None:
    cut = f'{sys.executable} -c \'from provision import lab; lab.cut_link("{bare_lab.name}", "node2")\''
    report = document(fab(bare_lab, "provision", "--json", at=("node2: phase docker", "before", cut)), 4)
    (problem,) = report["problems"]
    assert problem["where"] == "node2"
    # The proxy's own kernel may report first that the host is unreachable.
    lost = [f"{what} during phase docker" for what in ("the connection stopped responding", "the connection was lost")]
    assert problem["what"] in lost
    await_so(bare_lab, "node2", "flock -n /run/overlay-provision/run.lock true")
    labs.heal_link(bare_lab.name, "node2")
    assert_settled(bare_lab, fab)


@pytest.mark.whole
def test_67_a_link_of_200_ms_is_only_slow(bare_lab: Lab, fab: Fab) -> None:
    inventory = through(bare_lab, "slow", 100)
    document(fab(bare_lab, "provision", "--json", inventory=inventory))
    assert document(fab(bare_lab, "provision", "--json", inventory=inventory))["changes"] == []
