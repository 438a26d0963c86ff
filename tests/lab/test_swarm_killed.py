"""Row 55 in swarm mode: the controller is killed before or after each step; the next run completes the plan."""

from __future__ import annotations

import shutil
import signal
from dataclasses import replace
from pathlib import Path

import pytest
from conftest import Fab, MakeLab
from kills import assert_completed, kills, phases, planned, steps_of
from observe import document, manifest
from swarm_sample import NODES, at_work, bare, facts, own, without

from provision import lab as labs
from provision.inventory.model import Probe
from provision.lab import Lab
from provision.planes.swarm import view
from provision.planes.swarm.plane import PLANE

pytestmark = pytest.mark.whole
NOWHERE = Path("/nonexistent")


def first_steps() -> tuple[str, ...]:
    """Return every step of a first provision of two nodes."""
    situation = bare(NOWHERE)
    probe = Probe("busybox", NOWHERE / "busybox.tar")
    return steps_of(PLANE, replace(situation, cluster=replace(situation.cluster, nodes=NODES[:2], probe=probe)))


def join_steps() -> tuple[str, ...]:
    """Return every step that makes a third node a member."""
    situation = without(at_work(NOWHERE), "node3")
    third = facts({view.INFO: own(NODES[2], "inactive")})
    probe = Probe("busybox", NOWHERE / "busybox.tar")
    situation = replace(situation, facts={**situation.facts, "node3": third})
    steps = steps_of(PLANE, replace(situation, cluster=replace(situation.cluster, probe=probe)))
    return tuple(step for step in steps if step.startswith(("node3", "cluster")) and "overlay" not in step)


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    for name, steps in (("first", first_steps()), ("join", join_steps())):
        if name in metafunc.fixturenames:
            chosen = kills(steps)
            metafunc.parametrize(name, chosen, ids=[f"{when} {step}" for step, when in chosen])


@pytest.fixture(scope="module")
def lab(make_lab: MakeLab) -> Lab:
    return make_lab(release="trixie")


@pytest.fixture(scope="module")
def start(lab: Lab) -> dict[str, list[str]]:
    """The manifest of each host before the first run."""
    return {each.name: manifest(lab, each.name) for each in lab.nodes}


@pytest.fixture(scope="module")
def three(make_lab: MakeLab) -> Lab:
    return make_lab(3, release="trixie")


def test_the_sweep_has_every_step_of_a_first_provision_of_a_swarm(lab: Lab, fab: Fab) -> None:
    assert planned(document(fab(lab, "plan", "--json"))["changes"]) == phases(first_steps())


def test_55_killed_in_a_first_provision_of_a_swarm(
    lab: Lab, fab: Fab, start: dict[str, list[str]], first: tuple[str, str]
) -> None:
    """The next run completes the first one; a third run changes nothing; after reset no trace of us is left."""
    assert_completed(lab, fab, start, first, lambda: assert_changed_once(lab, fab))


def assert_changed_once(lab: Lab, fab: Fab) -> None:
    document(fab(lab, "provision", "--json"))
    assert document(fab(lab, "provision", "--json"))["changes"] == []


def test_55_killed_while_a_node_joins_a_swarm(three: Lab, fab: Fab, join: tuple[str, str]) -> None:
    """Two managers are at work; the third node joins them."""
    lab, (step, when) = three, join
    shutil.rmtree(lab.folder / ".overlay", ignore_errors=True)
    labs.renew(lab.name, say=lambda _: None)
    two = lab.folder / "two.yml"
    lines = lab.inventory.read_text().splitlines(keepends=True)
    two.write_text("".join(line for line in lines if not line.startswith("  node3:")))
    document(fab(lab, "provision", "--json", inventory=two))
    assert fab(lab, "provision", at=(step, when, "die")).returncode == -signal.SIGKILL
    assert_changed_once(lab, fab)
