"""Certificates are renewed, rotated and taken over during writes: no write fails, and each dockerd restarts once."""

from __future__ import annotations

import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from conftest import Fab
from invariants import _ETCDCTL, _EVERY, PREFIX, Writer, assert_nothing_lost, assert_settled, await_packets, holds
from observe import document, run, start, steps

from provision import inventory, layout
from provision.core.situation import Situation
from provision.lab import Lab, controller
from provision.node import library
from provision.planes.etcd import paths, pki, release
from provision.planes.etcd.local import Local
from provision.planes.etcd.phases.pki import docker_files, etcd_places, leaf_files, trusted_files
from provision.resources import Difference

pytestmark = pytest.mark.lab

#: Seconds in which a client must succeed with a write. It tries every member repeatedly.
DEADLINE = 10
NAMES = ("node1", "node2")
#: The ports that show a leaf, and the leaf that each must show.
SHOWN = {2379: "/etc/etcd/pki/server.crt", 2380: "/etc/etcd/pki/peer.crt", 2376: "/etc/docker/overlay/server.crt"}
FINGERPRINT = "openssl x509 -noout -fingerprint -sha256"
AUTHORITIES = {2379: "etcd-client", 2380: "etcd-peer", 2376: "docker"}


@dataclass
class Client(Writer):
    """A writer that repeats each write until its deadline, and remembers the failed ones."""

    failed: list[int] = field(default_factory=list)
    longest: float = 0.0

    def write(self, node: str, number: int) -> None:
        began = time.monotonic()
        once = f"{_ETCDCTL} {_EVERY} set {PREFIX}/{number} {number} >/dev/null 2>&1"
        end = f"end=$(($(date +%s) + {DEADLINE}))"
        ok = holds(self.lab, node, f'{end}; until {once}; do [ "$(date +%s)" -lt "$end" ] || exit 1; done')
        self.longest = max(self.longest, time.monotonic() - began)
        (self.acknowledged if ok else self.failed).append(number)


@dataclass
class Docker:
    """Return how often dockerd was started on a node, and how long its last restart took, in seconds."""

    lab: Lab
    name: str

    @property
    def starts(self) -> int:
        return int(run(self.lab, self.name, "journalctl -u docker -o cat | grep -c '^Started docker.service'"))

    @property
    def gap(self) -> float:
        moments = "-p ActiveExitTimestampMonotonic -p ActiveEnterTimestampMonotonic"
        told = run(self.lab, self.name, f"systemctl show {moments} docker")
        times = dict(line.split("=") for line in told.splitlines())
        return (int(times["ActiveEnterTimestampMonotonic"]) - int(times["ActiveExitTimestampMonotonic"])) / 1e6


@pytest.fixture
def writer(cluster: Lab, request: pytest.FixtureRequest) -> Iterator[Client]:
    """Write while the test changes certificates. Afterwards assert that no write has failed and none is lost."""
    client = Client(cluster)
    # No number is used twice in this module.
    client.numbers = iter(range(int(time.monotonic() * 1000), 1 << 62))
    with client.at_work():
        yield client
    print(f"{request.node.name}: {len(client.acknowledged)} writes, {len(client.failed)} failed, ", end="")
    print(f"the longest took {client.longest:.1f} s")
    assert client.acknowledged
    assert client.failed == []
    await_packets(cluster)
    assert_nothing_lost(cluster, client)


def shown(lab: Lab, address: str, port: int) -> str:
    """Return the fingerprint of the leaf that a port shows."""
    read = (
        f"openssl s_client -connect {address}:{port} </dev/null 2>/dev/null | openssl x509 -noout -fingerprint -sha256"
    )
    return controller(lab.name, ["sh", "-c", read], timeout=15).stdout.partition("=")[2].strip()


def lying(lab: Lab, name: str, path: str) -> str:
    return run(lab, name, f"{FINGERPRINT} -in {path}").partition("=")[2].strip()


def assert_shown_as_they_lie(lab: Lab) -> None:
    for node in lab.nodes:
        for port, path in SHOWN.items():
            assert shown(lab, node.address, port) == lying(lab, node.name, path), f"{node.name}:{port}"


def answers(lab: Lab, address: str, port: int, folder: Path) -> bool:
    """Return whether an HTTP request over TLS gets an answer, with a leaf from an identity's folder."""
    base = folder / AUTHORITIES[port]
    command = ["openssl", "s_client", "-quiet", "-connect", f"{address}:{port}"]
    command += ["-cert", str(base / "controller.crt"), "-key", str(base / "controller.key")]
    result = controller(lab.name, command, input="GET /version HTTP/1.0\r\n\r\n", timeout=15)
    return "HTTP/1." in result.stdout


def assert_let_in(lab: Lab, folder: Path, *, wanted: bool) -> None:
    for node in lab.nodes:
        for port in (2379, 2376):
            assert answers(lab, node.address, port, folder) is wanted, f"{node.name}:{port}"


def folder(lab: Lab) -> Path:
    return lab.folder / ".overlay" / lab.name


def restarts(report: dict[str, Any]) -> list[str]:
    return [f"{one['where']} {one['resource']}" for one in report["changes"] if one["restarts"]]


def assert_nothing_pending(lab: Lab, fab: Fab) -> None:
    plan = document(fab(lab, "plan", "--json"))
    assert plan["changes"] == []
    assert not any(words in str(plan["warnings"]) for words in ("have ended", "is at step"))


def test_certs_shows_every_certificate_where_it_lies_and_its_end(cluster: Lab, fab: Fab) -> None:
    report = document(fab(cluster, "certs", "--json"))
    rows = {row["where"]: row for row in report["certificates"]}
    assert len(rows) == len(report["certificates"]) == 3 + 2 * 4 + 2 + 2 * 8
    on_node = rows["node1:/etc/etcd/pki/peer.crt"]
    said = run(cluster, "node1", "openssl x509 -noout -enddate -in /etc/etcd/pki/peer.crt | cut -d= -f2")
    end = datetime.strptime(said.strip(), "%b %d %H:%M:%S %Y %Z").replace(tzinfo=UTC)
    assert on_node["certificate"] == "leaf etcd-peer/node1-peer"
    assert (on_node["end"], on_node["left"]) == (f"{end:%Y-%m-%d}", f"{(end - datetime.now(UTC)).days} days")
    assert rows[f"controller:{folder(cluster)}/docker/ca.crt"]["certificate"] == "authority docker"
    assert report["warnings"] == []


@pytest.mark.usefixtures("writer")
def test_leaves_are_renewed_and_shown_without_a_restart_of_etcd(cluster: Lab, fab: Fab) -> None:
    etcds = {name: start(cluster, name, "etcd") for name in NAMES}
    before = {(name, path): lying(cluster, name, path) for name in NAMES for path in SHOWN.values()}
    report = document(fab(cluster, "certs", "--rotate", "--json"))
    assert restarts(report) == [f"{name} unit docker.service" for name in NAMES]
    assert {name: start(cluster, name, "etcd") for name in NAMES} == etcds
    for (name, path), fingerprint in before.items():
        assert lying(cluster, name, path) != fingerprint
    assert_shown_as_they_lie(cluster)


def test_a_container_that_a_step_would_stop_for_good_is_named_before_the_first_one(cluster: Lab, fab: Fab) -> None:
    run(cluster, "node2", "docker run -d --name once busybox sleep 1000000")
    report = document(fab(cluster, "certs", "--rotate", "--authority", "--json"), 3)
    run(cluster, "node2", "docker rm -f once")
    assert "no restart policy: node2: once" in report["problems"][0]["what"]
    assert_nothing_pending(cluster, fab)
    assert not (folder(cluster) / "rotation").exists()


def test_a_container_that_nobody_foresaw_is_asked_about_before_the_next_step(cluster: Lab, fab: Fab) -> None:
    late = "docker run -d --name late busybox sleep 1000000"
    execute = f'lab.execute("{cluster.name}", "node2", "{late}".split())'
    deed = f"{sys.executable} -c 'from provision import lab; {execute}'"
    rotate = ("certs", "--rotate", "--authority", "--json")
    report = document(fab(cluster, *rotate, at=("node2: phase etcd", "after", deed)), 3)
    assert "would stop the container node2: late for good, which was not foreseen" in report["problems"][0]["what"]
    plan = document(fab(cluster, *rotate, "--plan"))
    assert plan["changes"] == []
    assert [row["what"] for row in plan["afterwards"] if row["stops for good"] == "late"] == ["unit docker.service"]
    run(cluster, "node2", "docker rm -f late")
    document(fab(cluster, *rotate))
    assert_nothing_pending(cluster, fab)


@pytest.mark.usefixtures("writer")
def test_authorities_are_rotated_while_no_write_fails_and_each_dockerd_restarts_once(
    cluster: Lab, fab: Fab, tmp_path: Path
) -> None:
    shutil.copytree(folder(cluster), old := tmp_path / "old")
    dockers = {name: Docker(cluster, name) for name in NAMES}
    starts = {name: docker.starts for name, docker in dockers.items()}
    announced = document(fab(cluster, "certs", "--rotate", "--authority", "--plan", "--json"))
    assert restarts(announced) == [f"{name} unit etcd.service" for name in NAMES]
    assert "each dockerd restarts once, and in no other step" in str(announced["warnings"])
    report = document(fab(cluster, "certs", "--rotate", "--authority", "--json"))
    assert steps(announced) == steps(report)
    for name, docker in dockers.items():
        print(f"{name}: dockerd was away for {docker.gap:.2f} s, once")
        assert docker.starts == starts[name] + 1
    etcd = [f"{name} unit etcd.service" for name in NAMES]
    assert restarts(report) == [*etcd, *(f"{name} unit docker.service" for name in NAMES), *etcd]
    assert_shown_as_they_lie(cluster)
    assert_let_in(cluster, folder(cluster), wanted=True)
    assert_let_in(cluster, old, wanted=False)
    for node in cluster.nodes:
        run(cluster, node.name, f"! grep -q {ca_line(old)} /etc/etcd/pki/*-ca.crt /etc/docker/overlay/*.crt")


def ca_line(of: Path) -> str:
    """Return a line that only this authority's certificate has."""
    return (of / "etcd-peer/ca.crt").read_text().splitlines()[5]


@pytest.mark.whole
@pytest.mark.usefixtures("writer")
def test_killed_in_a_rotation_either_verb_goes_on_and_the_controller_is_not_locked_out(cluster: Lab, fab: Fab) -> None:
    rotate = ("certs", "--rotate", "--authority")
    assert fab(cluster, *rotate, at=("node2: phase etcd", "before", "die")).returncode == -signal.SIGKILL
    plan = document(fab(cluster, "plan", "--json"))
    assert restarts(plan) == ["node2 unit etcd.service"]
    assert "is at step 1 of 3" in str(plan["warnings"])
    document(fab(cluster, "provision", "--json"))
    # The worst moment: one node shows the new authority's leaf and trusts only that authority, the other one the old.
    assert fab(cluster, *rotate, at=("node2: phase docker", "before", "die")).returncode == -signal.SIGKILL
    plan = document(fab(cluster, "plan", "--json"))
    assert restarts(plan) == ["node2 unit docker.service"]
    assert "is at step 2 of 3" in str(plan["warnings"])
    assert document(fab(cluster, "status", "--json"))["exit_code"] == 0
    document(fab(cluster, *rotate, "--json"))
    assert_shown_as_they_lie(cluster)
    assert_settled(cluster, fab)


def let_end(lab: Lab, days: int) -> None:
    """Issue what the folder lacks as if some days earlier, and provision with it. No clock is changed."""
    loaded = inventory.load(lab.inventory)
    moment = datetime.now(UTC) - timedelta(days=days)
    situation = Situation(loaded, Local(release.UNKNOWN, pki.make(loaded, moment)))
    for node in loaded.nodes:
        leaves = (file for place in etcd_places(node) for file in leaf_files(situation, place))
        all_files = (*trusted_files(situation, node), *leaves, *docker_files(situation, node))
        changes = [file.apply(Difference("update")) for file in all_files]
        run(lab, node.name, "\n".join([library("changes"), *changes]))
    for name in NAMES:
        run(lab, name, f"systemctl restart {paths.ETCD_UNIT} && systemctl restart {layout.DOCKER_UNIT}")


def told(result: subprocess.CompletedProcess[str], code: int) -> str:
    return str(document(result, code)["warnings"])


def test_75_leaves_that_have_ended_are_told_since_when_and_cured_by_provision(cluster: Lab, fab: Fab) -> None:
    let_end(cluster, 830)
    for verb, code in (("status", 5), ("preflight", 0), ("certs", 0)):
        words = told(fab(cluster, verb, "--json"), code)
        assert "leaf docker/node1-server on" in words, verb
        assert "(ended 5 days ago)" in words, verb
        assert "fab provision makes new ones" in words, verb
    assert "(ended 5 days ago)" in told(fab(cluster, "provision", "--json"), 0)
    await_packets(cluster)
    assert_nothing_pending(cluster, fab)


@pytest.mark.whole
def test_76_authorities_that_have_ended_are_told_since_when_and_cured_by_a_rotation(cluster: Lab, fab: Fab) -> None:
    for name in pki.Authority:
        shutil.rmtree(folder(cluster) / name)
    let_end(cluster, 3660)
    words = told(fab(cluster, "status", "--json"), 5)
    assert "authority etcd-client on" in words
    assert "(ended 10 days ago)" in words
    assert "fab certs --rotate --authority makes new ones" in words
    assert "(ended 10 days ago)" in told(fab(cluster, "certs", "--rotate", "--authority", "--json"), 0)
    await_packets(cluster)
    assert_nothing_pending(cluster, fab)


@pytest.mark.usefixtures("writer")
def test_91_a_controller_without_the_folder_is_refused_and_may_take_the_nodes_over(
    cluster: Lab, fab: Fab, tmp_path: Path
) -> None:
    shutil.move(folder(cluster), old := tmp_path / "old")
    problems = document(fab(cluster, "provision", "--json"), 3)["problems"]
    assert all("fab certs --adopt" in problem["advice"] for problem in problems)
    document(fab(cluster, "certs", "--adopt", "--json"))
    assert_let_in(cluster, folder(cluster), wanted=True)
    assert_let_in(cluster, old, wanted=False)
    assert_settled(cluster, fab)
