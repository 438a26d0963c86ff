"""Two faults of hosts at once, drawn at random, on bare hosts of both control planes.

Either preflight refuses them, and nothing is touched; or provision ends well, or names a host with a fault. Afterwards
reset ends well, and the hosts are as they were. `--seed` says what they are drawn from; it is in each test's name.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from random import Random

import pytest
from conftest import Fab, MakeLab
from host_faults import FAULTS, READ_ONLY, HostFault
from observe import document, manifest, run

from provision import lab as labs
from provision.lab import Lab

RELEASES = ("bookworm", "trixie")
NODES = ("node1", "node2")
#: How many pairs are drawn, without --whole and with it.
SOME, ALL = 5, 100


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    seed = metafunc.config.getoption("--seed")
    number = ALL if metafunc.config.getoption("--whole") else SOME
    metafunc.parametrize(
        "draw", [(seed, draw) for draw in range(number)], ids=[f"{seed}-{draw}" for draw in range(number)]
    )


@pytest.fixture(scope="module")
def hosts(make_lab: MakeLab) -> dict[str, Lab]:
    return {release: make_lab(release=release) for release in RELEASES}


@contextmanager
def caused(lab: Lab, fault: HostFault, node: str) -> Iterator[None]:
    other = next(one for one in lab.nodes if one.name != node)
    names = {"name": node, "other": other.name, "address": other.address}
    run(lab, node, fault.cause.format(**names))
    yield
    run(lab, node, fault.undo.format(**names))


def seen(lab: Lab) -> dict[str, list[str]]:
    return {node: manifest(lab, node) for node in NODES}


def test_190_two_faults_of_hosts_at_once(
    hosts: dict[str, Lab], fab: Fab, draw: tuple[int, int], request: pytest.FixtureRequest
) -> None:
    seed, number = draw
    lab, chance = hosts[RELEASES[number % len(RELEASES)]], Random(f"{seed}-{number}")
    faults = [(fault, chance.choice(NODES)) for fault in chance.sample(FAULTS, 2)]
    told = ", ".join(f"{fault.name} on {node}" for fault, node in faults)
    request.node.user_properties.append(("told", f"seed {seed}-{number}: {told}"))
    print(told)
    labs.renew(lab.name, say=lambda _: None)
    shutil.rmtree(lab.folder / ".overlay", ignore_errors=True)
    with ExitStack() as stack:
        for fault, node in sorted(faults, key=lambda one: one[0].name == READ_ONLY):
            stack.enter_context(caused(lab, fault, node))
        before = seen(lab)
        found = fab(lab, "preflight", "--json")
        if found.returncode == 3:
            failed = [one for one in document(found, 3)["outcomes"] if one["status"] == "failed"]
            assert failed
            assert all(one["advice"] for one in failed), failed
            assert seen(lab) == before
            return
        document(found)
        made = fab(lab, "provision", "--json")
        if made.returncode:
            places = " ".join(one["where"] for one in document(made, made.returncode)["problems"])
            assert made.returncode in (3, 4, 5)
            assert any(node in places for _, node in faults), places
        document(fab(lab, "reset", "--yes", "--delete-user-data", "--json"))
        assert seen(lab) == before
