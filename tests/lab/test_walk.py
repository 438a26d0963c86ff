"""Ordinary life: containers come, go and move, and every running one is reached by all others; first without faults."""

from __future__ import annotations

import pytest
from conftest import Fab, MakeLab
from invariants import assert_settled
from observe import document
from walking import PATIENCE, go, go_through_faults, walker

from provision.lab import Lab


def provisioned(make_lab: MakeLab, fab: Fab, nodes: int) -> Lab:
    lab = make_lab(nodes)
    document(fab(lab, "provision", "--json", timeout=500))
    return lab


def seed(request: pytest.FixtureRequest) -> int:
    drawn = request.config.getoption("--seed")
    request.node.user_properties.append(("told", f"seed {drawn}"))
    print(f"--seed {drawn}")
    return int(drawn)


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "steps" in metafunc.fixturenames:
        whole = metafunc.config.getoption("--whole")
        metafunc.parametrize(("nodes", "steps"), [(3, 1000), (2, 500), (5, 500)] if whole else [(3, 100)])


def test_132_a_random_walk_loses_nobody(
    make_lab: MakeLab, fab: Fab, request: pytest.FixtureRequest, nodes: int, steps: int
) -> None:
    who = walker(provisioned(make_lab, fab, nodes), seed(request))
    who.prepare()
    for taken in go(who, steps):
        print(taken, flush=True)
        assert not taken.lost, f"lost for {PATIENCE} s and more"
    print(f"the slowest pair took {max(who.waits, default=0)} ms; refused at first: {who.refused}")
    who.clean()
    assert_settled(who.lab, fab)


def test_135_a_walk_through_faults_loses_nobody_for_good(
    make_lab: MakeLab, fab: Fab, request: pytest.FixtureRequest
) -> None:
    steps = 300 if request.config.getoption("--whole") else 10
    who = walker(provisioned(make_lab, fab, 3), seed(request))
    who.prepare()
    for taken in go_through_faults(who, steps):
        print(taken, flush=True)
        assert not taken.lost
    who.clean()
    assert_settled(who.lab, fab)
