"""Docker upgraded on hosts in use: one node at a time, no packet lost between the others, nothing left down."""

from __future__ import annotations

import re
import time
from dataclasses import dataclass
from datetime import datetime
from itertools import permutations
from pathlib import Path

import pytest
from conftest import Fab, MakeLab
from invariants import await_so, holds
from observe import document, run
from runs import begin
from test_install import static_release

from provision.lab import Lab, docker_packages
from provision.lab.without_docker import DEBS

pytestmark = pytest.mark.whole

LEADS = "docker node inspect self -f '{{.ManagerStatus.Leader}}' | grep -q true"

#: What a user's container does: it asks every other one by name, five times a second, and writes down the answers.
ASKS = (
    "for one in {others}; do while :; do"
    " if ping -c 1 -W 1 $one >/dev/null 2>&1; then echo $one ok; else echo $one lost; fi; sleep 0.2; done & done; wait"
)


@pytest.fixture(scope="module")
def lab(make_lab: MakeLab, fab: Fab) -> Lab:
    """Three hosts of one swarm with Docker 20.10, in use, whose apt knows later versions."""
    lab = make_lab(3, release="trixie")
    for node in lab.nodes:
        docker_packages.offer(lab.name, node.name, "20.10", "26", "28", say=lambda _: None)
        install(lab, node.name, "20.10")
    with lab.inventory.open("a") as file:
        file.write("docker: {control_plane: swarm}\n")
    document(fab(lab, "provision", "--json"))
    for node in lab.nodes:
        others = " ".join(f"user-{other.name}" for other in lab.nodes if other != node)
        start = "docker run -d --network demo --stop-signal KILL"
        run(
            lab,
            node.name,
            f"{start} --restart always --name user-{node.name} busybox sh -c '{ASKS.format(others=others)}'",
        )
        run(
            lab, node.name, f"{start} --restart always --name deaf-{node.name} --stop-signal TERM busybox sleep 1000000"
        )
        run(lab, node.name, f"{start} --name once-{node.name} busybox sleep 1000000")
    return lab


def install(lab: Lab, name: str, version: str) -> None:
    """Install a version of Docker by hand, whatever was there."""
    beginning = f"apt-cache madison docker.io | cut -d'|' -f2 | tr -d ' ' | grep '^{version}'"
    client = "" if version == "20.10" else "docker-cli=$version"
    gone = "docker-cli-" if version == "20.10" else ""
    apt = "DEBIAN_FRONTEND=noninteractive apt-get -qq --yes --allow-downgrades --no-install-recommends"
    run(lab, name, f"apt-get -qq update; version=$({beginning}) && {apt} install docker.io=$version {client} {gone}")


def wants(lab: Lab, version: str) -> None:
    text = re.sub(r"docker: .*", f'docker: {{control_plane: swarm, version: "{version}"}}', lab.inventory.read_text())
    lab.inventory.write_text(text)


@dataclass(frozen=True)
class Asked:
    """One question of a container to another: when it was answered, and how."""

    when: float
    asking: str
    about: str
    answer: str


def asked(lab: Lab) -> list[Asked]:
    """All questions of all users' containers."""
    found = []
    for node in lab.nodes:
        for line in run(lab, node.name, f"docker logs -t user-{node.name}").splitlines():
            when, about, answer = line.split()
            moment = datetime.fromisoformat(re.sub(r"(\.\d{6})\d*Z", r"\1+00:00", when)).timestamp()
            found.append(Asked(moment, node.name, about.removeprefix("user-"), answer))
    return found


def away(lab: Lab, name: str) -> tuple[float, float]:
    """When the last upgrade of a node began and ended."""
    lines = run(lab, name, "journalctl -u overlay-upgrade.service -o short-unix --no-pager -q").splitlines()
    last = max(number for number, line in enumerate(lines) if "Started overlay-upgrade" in line)
    return float(lines[last].split()[0]), float(lines[-1].split()[0])


def older(lab: Lab, version: str) -> set[str]:
    """The nodes whose Docker is not of this version yet."""
    return {node.name for node in lab.nodes if f" {version}." not in run(lab, node.name, "dockerd --version")}


def assert_upgraded(lab: Lab, version: str) -> None:
    """Every Docker has the version, what has a restart policy runs, what has none does not, and all names answer."""
    assert older(lab, version) == set()
    for node in lab.nodes:
        names = run(lab, node.name, "docker ps --format '{{.Names}}'").split()
        assert {f"user-{node.name}", f"deaf-{node.name}"} <= set(names)
        assert f"once-{node.name}" not in names
        for other in lab.nodes:
            await_so(lab, node.name, f"docker exec user-{node.name} ping -c 1 -W 1 deaf-{other.name}")


def assert_no_ping_lost(lab: Lab) -> None:
    """While a node's Docker was upgraded, the containers on the other two answered each other."""
    everything = asked(lab)
    windows = {node.name: away(lab, node.name) for node in lab.nodes}
    for name, (began, ended) in windows.items():
        assert not [one for one, (start, _) in windows.items() if began < start < ended]
        for pair in permutations({node.name for node in lab.nodes} - {name}, 2):
            heard = [one for one in everything if (one.asking, one.about) == pair and began <= one.when <= ended]
            assert len(heard) > 5, f"{pair} while {name} was upgraded"
            assert {one.answer for one in heard} == {"ok"}, f"{pair} while {name} was upgraded"


def test_258_docker_is_upgraded_under_pings(lab: Lab, fab: Fab) -> None:
    wants(lab, "26")
    plan = document(fab(lab, "plan", "--json"))
    named = {change["where"]: change for change in plan["changes"]}
    assert set(named) == {node.name for node in lab.nodes}
    for name, change in named.items():
        assert change["action"] == "upgrade"
        assert change["note"].startswith("20.10.")
        assert " → 26." in change["note"]
        assert change["stops"] == [f"once-{name}"]
    assert fab(lab, "provision").returncode == 3  # nobody agrees
    assert older(lab, "20.10") == set()
    document(fab(lab, "provision", "--yes", "--json"))
    assert document(fab(lab, "provision", "--json"))["changes"] == []
    assert_upgraded(lab, "26")
    assert_no_ping_lost(lab)


def test_259_the_next_node_waits_for_containers_that_do_not_come_back(lab: Lab, fab: Fab) -> None:
    for node in lab.nodes:
        run(lab, node.name, "echo 'sleep 1000000' >/srv/go")
        run(lab, node.name, f"docker run -d --restart always --name lame-{node.name} -v /srv:/srv busybox sh /srv/go")
        run(lab, node.name, "rm /srv/go")
    wants(lab, "28")
    problems = document(fab(lab, "provision", "--yes", "--json"), 4)["problems"]
    (done,) = {node.name for node in lab.nodes} - older(lab, "28")
    assert f"lame-{done} does not run on {done}" in str(problems)
    for node in lab.nodes:
        run(lab, node.name, f"docker rm -f lame-{node.name}")


def test_264_an_upgrade_by_hand_is_named(lab: Lab, fab: Fab) -> None:
    first, _ = sorted(older(lab, "28"), key=lambda name: holds(lab, name, LEADS))
    install(lab, first, "28")
    (said,) = [one for one in document(fab(lab, "plan", "--json"))["warnings"] if "no run of ours" in one["what"]]
    assert said["where"] == first
    assert re.match(r"Docker was 2\S+ here and is 28\.", said["what"])


def test_260_a_run_killed_in_an_upgrade_is_ended_by_the_next(lab: Lab, fab: Fab) -> None:
    """The node ends its upgrade by itself. The next run waits for that, and goes on."""
    wants(lab, "28")
    left = older(lab, "28")
    assert len(left) == 1
    process = begin(lab, "provision", "--yes")
    at_work = "systemctl is-active -q overlay-upgrade.service && ! systemctl is-active -q docker.service"
    deadline = time.monotonic() + 120
    while not any(holds(lab, name, at_work) for name in left):
        assert time.monotonic() < deadline
    process.kill()
    process.communicate()
    document(fab(lab, "provision", "--yes", "--json"))
    assert document(fab(lab, "provision", "--json"))["changes"] == []
    assert_upgraded(lab, "28")
    assert_no_ping_lost(lab)
    document(fab(lab, "verify", "--json"))
    assert "no run of ours" not in str(document(fab(lab, "plan", "--json"))["warnings"])  # it is proven


def test_261_an_older_docker_than_there_is_refused(lab: Lab, fab: Fab) -> None:
    for name in older(lab, "28"):
        install(lab, name, "28")
    wants(lab, "26")
    problems = document(fab(lab, "provision", "--yes", "--json"), 3)["problems"]
    assert [problem["where"].split()[0] for problem in problems] == [node.name for node in lab.nodes]
    assert all("Docker 28." in problem["what"] and "later than 26" in problem["what"] for problem in problems)
    assert older(lab, "28") == set()


def test_266_a_later_archive_replaces_a_docker_of_ours(make_lab: MakeLab, fab: Fab, tmp_path: Path) -> None:
    lab = make_lab(2, release="trixie", docker="none")
    names = [node.name for node in lab.nodes]
    for name in names:  # Debian's own programs are linked with libraries, which a static release does not need
        run(lab, name, f"cd {DEBS} && dpkg -i ./iptables_*.deb >/dev/null")
    text = lab.inventory.read_text()
    source = "docker: {{install: true, source: {{amd64: {{archive: '{}', sha256: '{}'}}}}}}\n"
    lab.inventory.write_text(text + source.format(*static_release(lab, tmp_path)))
    document(fab(lab, "provision", "--json"))
    for name in names:
        start = "docker run -d --network demo --stop-signal KILL --restart always"
        run(lab, name, f"{start} --name deaf-{name} busybox sleep 1000000")
    lab.inventory.write_text(text + source.format(*static_release(lab, tmp_path, "28")))
    changes = document(fab(lab, "plan", "--json"))["changes"]
    assert [(change["where"], change["action"], change["resource"]) for change in changes] == [
        (name, "upgrade", "Docker") for name in names
    ]
    assert "no majority" in changes[0]["note"]
    document(fab(lab, "provision", "--json"))
    assert document(fab(lab, "provision", "--json"))["changes"] == []
    assert older(lab, "28") == set()
    for name in names:
        for other in names:
            await_so(lab, name, f"docker exec deaf-{name} ping -c 1 -W 1 deaf-{other}")
    for name in names:
        run(lab, name, f"docker rm -f deaf-{name}")
    document(fab(lab, "reset", "--yes", "--json"))
    assert not any(holds(lab, name, "command -v dockerd") for name in names)


def test_260_262_a_cluster_with_a_store_ends_an_upgrade_and_goes_no_further(make_lab: MakeLab, fab: Fab) -> None:
    """Debian 12 has one Docker: a package that was not completely installed is the upgrade that can be tried there."""
    lab = make_lab()
    names = [node.name for node in lab.nodes]
    text = lab.inventory.read_text()
    document(fab(lab, "provision", "--json"))
    for name in names:
        docker_packages.offer(lab.name, name, "20.10", say=lambda _: None)
        run(lab, name, "apt-get -qq update")
        start = "docker run -d --network demo --stop-signal KILL --restart always"
        run(lab, name, f"{start} --name deaf-{name} busybox sleep 1000000")
    lab.inventory.write_text(f'{text}docker: {{version: "26"}}\n')
    for problem in document(fab(lab, "provision", "--json"), 3)["problems"]:
        assert "cannot become 26 in this cluster: Docker 23 and later refuse --cluster-store" in problem["what"]
        assert "fab migrate" in problem["advice"]
    lab.inventory.write_text(f'{text}docker: {{version: "20.10"}}\n')
    assert document(fab(lab, "provision", "--json"))["changes"] == []
    run(lab, names[1], "dpkg --unpack /srv/docker-20.10/docker.io_*.deb")
    (change,) = document(fab(lab, "plan", "--json"))["changes"]
    assert (change["where"], change["action"]) == (names[1], "upgrade")
    assert "which was not completed" in change["note"]
    document(fab(lab, "provision", "--json"))
    assert document(fab(lab, "provision", "--json"))["changes"] == []
    for name in names:
        for other in names:
            await_so(lab, name, f"docker exec deaf-{name} ping -c 1 -W 1 deaf-{other}")
