"""Real hosts for tests. `lab` has two nodes and exists as long as its module; they boot in about a second.

A test that needs other hosts uses `make_lab`. A test that needs bare hosts uses `bare_lab`: the same two, renewed.
"""

from __future__ import annotations

import itertools
import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Protocol

import pytest
from invariants import BACK, Writer, assert_nothing_lost, await_packets
from observe import document, run
from record import Record

from provision import lab as labs
from provision.lab import Lab

ROOT = Path(__file__).parents[2]
HERE = Path(__file__).parent
COUNTER = itertools.count(1)

MakeLab = Callable[..., Lab]
Back = Callable[..., None]


class Fab(Protocol):
    def __call__(
        self,
        lab: Lab,
        *words: str,
        inventory: Path | None = None,
        timeout: float = 300,
        inside: bool = False,
        at: tuple[str, str, str] | None = None,
    ) -> subprocess.CompletedProcess[str]:
        """Run `fab -i INVENTORY WORDS` from the checkout, without a terminal. `inside`: in the lab's network.

        `at`: a step, `before` or `after`, and what to do there; see interposed.py.
        """


#: Files of which `script/faults` runs every test. Of others it runs those that are marked `whole`.
FAULTS = ("faults", "random", "killed", "bad_links", "walk", "leaving", "replaced", "strangers")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    left_out = []
    for item in items:
        if not item.path.is_relative_to(HERE):
            continue
        item.add_marker(pytest.mark.lab)
        whole = item.get_closest_marker("whole") is not None
        if whole or item.path.stem.removeprefix("test_") in FAULTS:
            item.add_marker(pytest.mark.faults)
        if whole and not config.getoption("--whole"):
            left_out.append(item)
    items[:] = [item for item in items if item not in left_out]
    config.hook.pytest_deselected(items=left_out)


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--whole", action="store_true", help="run the tests marked whole too; kill at every step of a run")
    parser.addoption("--minutes", type=float, default=0.5, help="how long to cause random faults")
    parser.addoption("--seed", type=int, help="the seed of what is random; without it, the time")
    parser.addoption("--times", type=int, default=1, help="how often to cause each fault")
    parser.addoption("--record", metavar="FILE", help="add the results to the table in this file")


def pytest_configure(config: pytest.Config) -> None:
    # Drawn once: the processes of pytest-xdist are given these options, and must collect the same tests.
    if config.option.seed is None:
        config.option.seed = int(time.time())
    if path := config.getoption("--record"):
        config.pluginmanager.register(Record(Path(path)))


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    times = metafunc.config.getoption("--times")
    if times > 1 and "back" in metafunc.fixturenames:
        metafunc.fixturenames.append("again")
        metafunc.parametrize("again", range(times), ids=lambda number: f"round{number}")


@pytest.fixture(scope="session")
def machine() -> None:
    """Make sure that this machine can run labs. Remove labs that a killed test run left."""
    if sys.platform != "linux" or os.geteuid() != 0:
        reason = "a lab needs Linux and root"
        if os.environ.get("CI") or os.environ.get("LAB_REQUIRED"):
            pytest.fail(reason)
        pytest.skip(reason)
    for name in labs.names():
        owner = re.fullmatch(r"t(\d+)n\d+", name)
        if owner and not Path("/proc", owner[1]).exists():
            labs.down(name)


@pytest.fixture(scope="module")
def make_lab(machine: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[MakeLab]:  # noqa: ARG001
    """Return a function that makes labs. `ops`: log in as a user with a sudo password. All labs end with the module."""
    names: list[str] = []

    def make(nodes: int = 2, *, ops: bool = False, release: str = "bookworm", docker: str = "") -> Lab:
        names.append(f"t{os.getpid()}n{next(COUNTER)}")
        folder = tmp_path_factory.mktemp(names[-1]) / "lab"
        return labs.up(names[-1], nodes, folder, release=release, docker=docker, ops=ops, say=lambda _: None)

    yield make
    for name in names:
        labs.down(name)


@pytest.fixture(scope="module")
def lab(make_lab: MakeLab) -> Lab:
    """Two nodes, shared by the module's tests. Each test leaves them switched on, connected and usable."""
    return make_lab()


@pytest.fixture
def bare_lab(lab: Lab) -> Lab:
    """The module's two nodes, as new, and no trace of their cluster on the controller."""
    shutil.rmtree(lab.folder / ".overlay", ignore_errors=True)
    return labs.renew(lab.name, say=lambda _: None)


@pytest.fixture(scope="module")
def cluster(lab: Lab, fab: Fab) -> Lab:
    """The lab, provisioned and in use: each node has a container on the overlay and a plain one, `--restart always`."""
    assert document(fab(lab, "provision", "--json"))["exit_code"] == 0
    for node in lab.nodes:
        start = "docker run -d --restart always --stop-signal KILL"
        run(lab, node.name, f"{start} --name user-{node.name} --network demo busybox sleep 1000000")
        run(lab, node.name, f"{start} --name plain-{node.name} busybox sleep 1000000")
    return lab


@pytest.fixture(scope="module")
def writer(cluster: Lab) -> Writer:
    """The writer that writes keys to the store during all faults of the module."""
    return Writer(cluster)


@pytest.fixture
def kept(cluster: Lab, writer: Writer) -> Iterator[Callable[[], None]]:
    """Write keys during the test. Return a function that stops the writer and asserts that nothing is lost.

    A file of tests of another control plane replaces this fixture by what that one promises.
    """
    earlier = len(writer.acknowledged)
    with ExitStack() as work:
        work.enter_context(writer.at_work())

        def call() -> None:
            work.close()
            assert len(writer.acknowledged) > earlier
            assert_nothing_lost(cluster, writer)

        yield call


@pytest.fixture
def limit() -> float:
    """The promised seconds until packets cross again. A file of tests may promise something else."""
    return BACK


@pytest.fixture
def back(cluster: Lab, kept: Callable[[], None], limit: float, request: pytest.FixtureRequest) -> Back:
    """Return a function to call when the fault ends, or with the time at which it ended.

    The function waits until packets cross again, asserts that this was in time and that the control plane has kept its
    promise, and records the time.
    """

    def call(began: float | None = None) -> None:
        began = began or time.monotonic()
        await_packets(cluster, limit)
        took = time.monotonic() - began
        assert took <= limit
        kept()
        request.node.user_properties.append(("recovered", round(took, 1)))

    return call


@pytest.fixture(scope="session")
def fab(tmp_path_factory: pytest.TempPathFactory) -> Fab:
    home = tmp_path_factory.mktemp("home")
    environment = {name: value for name, value in os.environ.items() if name != "SSH_AUTH_SOCK"}

    def call(
        lab: Lab,
        *words: str,
        inventory: Path | None = None,
        timeout: float = 300,
        inside: bool = False,
        at: tuple[str, str, str] | None = None,
    ) -> subprocess.CompletedProcess[str]:
        fab = (
            (sys.executable, str(HERE / "interposed.py"), *at) if at else (str(Path(sys.executable).with_name("fab")),)
        )
        command = (*fab, "-i", str(inventory or lab.inventory), *words)
        return subprocess.run(
            (*lab.inside, *command) if inside else command,
            cwd=ROOT,
            env={**environment, "HOME": str(home)},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=timeout,
            check=False,
            start_new_session=True,  # no terminal to ask on
        )

    return call
