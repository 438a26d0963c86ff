"""Row 55: the controller is killed before or after a step; the next run completes the plan, a third changes nothing.

With `--whole`, which `script/faults` uses, this happens at every step; without it at every seventh.
"""

from __future__ import annotations

import signal
from pathlib import Path

import pytest
from cluster_sample import bare_situation
from conftest import Back, Fab, MakeLab
from invariants import assert_settled, await_so
from kills import assert_completed, kills, phases, planned, steps_of
from observe import document, manifest, run
from pki_sample import node

from provision.inventory.model import Cluster, Etcd, Network, Probe
from provision.lab import Lab
from provision.planes.etcd.pki import Identity
from provision.planes.etcd.plane import PLANE

SOME = 7
NOWHERE = Path("/nonexistent")

#: The changes by hand before each run, by node. MENDED has the steps that undo them.
BY_HAND = {
    "node1": """
        echo '# by hand' >>/etc/systemd/system/etcd.service && systemctl daemon-reload && systemctl restart etcd
        chmod 0440 /etc/etcd/pki/peer.key
        docker ps -aq -f label=overlay-keeper=spare | xargs -r docker rm -f >/dev/null
    """,
    "node2": """
        echo '# by hand' >>/etc/systemd/system/docker.service.d/50-overlay.conf
        systemctl daemon-reload && systemctl restart docker
        until docker network inspect spare >/dev/null 2>&1; do sleep 0.1; done # until dockerd has joined the store
        cd /usr/local/lib/etcd/3.4.23 && cp etcdctl other && printf x >>other && mv other etcdctl
        docker ps -aq -f label=overlay-keeper=spare | xargs -r docker rm -f >/dev/null
        docker network rm spare >/dev/null
    """,
}
MENDED = (
    "node2: sending /var/lib/overlay-provision/etcd.tar.gz",
    "node2: phase host",
    "node1: phase pki",
    "node1: phase etcd",
    "node2: phase docker",
    "cluster: phase overlay",
    "node1: phase keeper",
    "node2: phase keeper",
)


def first_steps() -> tuple[str, ...]:
    """Return every step of a first provision, from the plan for two bare hosts."""
    nodes = (node("node1", "192.0.2.1"), node("node2", "192.0.2.2"))
    cluster = Cluster(
        "t",
        nodes,
        Etcd("etcd.tar.gz", None),
        "etcd",
        (Network("demo", None), Network("spare", None)),
        Probe("busybox", NOWHERE / "busybox.tar"),
        NOWHERE / "inventory.yml",
    )
    return steps_of(PLANE, bare_situation(cluster, Identity.read(cluster)))


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    for name, steps in (("first", first_steps()), ("mending", MENDED)):
        if name in metafunc.fixturenames:
            chosen = kills(steps)[:: 1 if metafunc.config.getoption("--whole") else SOME]
            metafunc.parametrize(name, chosen, ids=[f"{when} {step}" for step, when in chosen])


@pytest.fixture(scope="module")
def lab(make_lab: MakeLab) -> Lab:
    """The lab's inventory with a second network, which is removed by hand."""
    lab = make_lab()
    demo = "    demo: {subnet: 10.99.0.0/24}\n"
    lab.inventory.write_text(lab.inventory.read_text().replace(demo, f"{demo}    spare: {{subnet: 10.98.0.0/24}}\n"))
    return lab


@pytest.fixture(scope="module")
def start(lab: Lab) -> dict[str, list[str]]:
    """The manifest of each host before the first run."""
    return {each.name: manifest(lab, each.name) for each in lab.nodes}


def no_step_is_left(lab: Lab) -> None:
    for each in lab.nodes:
        await_so(lab, each.name, "flock -n /run/overlay-provision/step.lock true")
        await_so(lab, each.name, "flock -n /run/overlay-provision/run.lock true")


def test_the_sweep_has_every_step_of_a_first_provision(lab: Lab, fab: Fab) -> None:
    changes = document(fab(lab, "plan", "--json"))["changes"]
    assert planned(changes) == phases(first_steps())


def test_55_killed_in_a_first_provision(
    lab: Lab, fab: Fab, start: dict[str, list[str]], first: tuple[str, str]
) -> None:
    """The next run completes the first one; a third run changes nothing; after reset no trace of us is left."""

    def settled() -> None:
        assert_settled(lab, fab)
        no_step_is_left(lab)

    assert_completed(lab, fab, start, first, settled)


def test_55_killed_while_it_mends(cluster: Lab, fab: Fab, back: Back, mending: tuple[str, str]) -> None:
    """The same as after a first provision; and no acknowledged key is lost, and packets cross again."""
    for name, script in BY_HAND.items():
        run(cluster, name, script)
    step, when = mending
    assert planned(document(fab(cluster, "plan", "--json"))["changes"]) == phases(MENDED)
    assert fab(cluster, "provision", at=(step, when, "die")).returncode == -signal.SIGKILL
    assert_settled(cluster, fab)
    no_step_is_left(cluster)
    back()
