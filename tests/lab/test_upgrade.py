"""Docker upgraded on hosts in use: one node at a time, no packet lost between the others, nothing left down."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import datetime
from itertools import permutations

import pytest
from conftest import Fab, MakeLab
from invariants import await_so
from observe import document, run

from provision.lab import Lab, docker_packages

pytestmark = pytest.mark.whole

#: What a user's container does: it asks every other one by name, five times a second, and writes down the answers.
ASKS = (
    "while :; do for one in {others}; do"
    " if ping -c 1 -W 1 $one >/dev/null 2>&1; then echo $one ok; else echo $one lost; fi; done; sleep 0.2; done"
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


@pytest.mark.parametrize(("version", "before"), [("26", "20.10"), ("28", "26")])
def test_281_docker_is_upgraded_under_pings(lab: Lab, fab: Fab, version: str, before: str) -> None:
    for one in lab.nodes:
        run(lab, one.name, f"docker start once-{one.name}")
    wants(lab, version)
    plan = document(fab(lab, "plan", "--json"))
    named = {change["where"]: change for change in plan["changes"] if change["action"] == "upgrade"}
    assert set(named) == {node.name for node in lab.nodes}
    for name, change in named.items():
        assert change["note"].startswith(f"{before}.")
        assert f" → {version}." in change["note"]
        assert change["stops"] == [f"once-{name}"]
    assert fab(lab, "provision").returncode == 3  # nobody agrees
    document(fab(lab, "provision", "--yes", "--json"))
    assert document(fab(lab, "provision", "--json"))["changes"] == []
    for node in lab.nodes:
        assert f" {version}." in run(lab, node.name, "dockerd --version")
        names = run(lab, node.name, "docker ps --format '{{.Names}}'").split()
        assert {f"user-{node.name}", f"deaf-{node.name}"} <= set(names)
        assert f"once-{node.name}" not in names
    everything = asked(lab)
    windows = {node.name: away(lab, node.name) for node in lab.nodes}
    assert sorted(windows.values()) == sorted(windows.values(), key=lambda window: window[1])
    for name, (begin, end) in windows.items():
        assert not [one for one, (start, _) in windows.items() if begin < start < end]
        for pair in permutations({node.name for node in lab.nodes} - {name}, 2):
            heard = [one for one in everything if (one.asking, one.about) == pair and begin <= one.when <= end]
            assert len(heard) > 5, f"{pair} while {name} was upgraded"
            assert {one.answer for one in heard} == {"ok"}, f"{pair} while {name} was upgraded"
    for node in lab.nodes:
        for other in lab.nodes:
            await_so(lab, node.name, f"docker exec user-{node.name} ping -c 1 -W 1 deaf-{other.name}")
