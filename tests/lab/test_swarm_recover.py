"""Hosts of a swarm lost for good, on hosts: the others go on without them, and new hosts take their places."""

from __future__ import annotations

import json
import signal
import sys
from collections.abc import Iterable
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from conftest import Fab, MakeLab
from invariants import await_so, holds
from kills import kills
from leaving import inventory
from observe import document, run

from provision import lab as labs
from provision.lab import Lab

#: The steps at which a recovery is killed, where the other manager of two is lost.
STEPS = (
    "node1: sending /var/lib/overlay-provision/recovery.json",
    "node1: phase hold",
    "cluster: phase swarm",
    "node1: phase reattach",
    "node1: ending the recovery",
)
#: The further steps where a worker is left.
OF_A_WORKER = ("node2: phase others", "cluster: phase swarm", "cluster: phase same-networks", "node2: phase reattach")
START = "docker run -d --restart always --stop-signal KILL --network demo --name"
STATE = "/var/lib/overlay-provision"
#: Seconds that a test waits for names on all hosts: gossip may need a minute.
NAMES = 75
#: A write that the managers of a node's swarm agree on.
WRITE = (
    "name=w$(date +%s%N); docker network create -d overlay $name >/dev/null 2>&1 && docker network rm $name >/dev/null"
)


#: From the next boot on, Docker's folder and our record are on a disk with little room.
ON_A_SMALL_DISK = r"""
cat >/usr/local/sbin/small-disk <<'END'
#!/bin/sh
size=$(du -sk /var/lib/docker {state} | awk '{{ all += $1 }} END {{ print all + 307200 }}')
mkdir /run/small && mount -t tmpfs -o size=${{size}}k tmpfs /run/small || exit
for folder in /var/lib/docker {state}; do
    cp -a $folder /run/small/ && mount --bind /run/small/${{folder##*/}} $folder || exit
done
{fill}
END
chmod 755 /usr/local/sbin/small-disk
cat >/etc/systemd/system/small-disk.service <<'END'
[Unit]
Before=docker.service overlay-mend.service
[Service]
Type=oneshot
ExecStart=/usr/local/sbin/small-disk
[Install]
WantedBy=multi-user.target
END
systemctl enable -q small-disk
""".replace("{state}", STATE)


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    for fixture, steps in (("kill", STEPS), ("workers_kill", OF_A_WORKER)):
        if fixture in metafunc.fixturenames:
            chosen = kills(steps)
            metafunc.parametrize(fixture, chosen, ids=[f"{when} {step}" for step, when in chosen])


@pytest.fixture(scope="module")
def lab(make_lab: MakeLab) -> Lab:
    return make_lab(4, release="trixie")


def in_use(lab: Lab, fab: Fab, managers: list[str], workers: Iterable[str] = (), left: str = "node1") -> Path:
    """Provision these hosts, and start containers: two on the one that is left, and one on each other.

    One of the two pings the other, at an address that nobody chose.
    """
    path = inventory(lab, "recovered", managers, workers=tuple(workers))
    document(fab(lab, "provision", "--json", inventory=path))
    run(lab, left, f"{START} web --network-alias www busybox sleep 999999")
    run(lab, left, f"{START} db --ip 10.99.0.250 busybox sleep 999999")
    for number, node in enumerate(one for one in (*managers, *workers) if one != left):
        address = f"--ip 10.99.0.{201 + number} --network-alias as-{node}"
        run(lab, node, f"{START} of-{node} {address} busybox sleep 999999")
        reached(lab, left, "web", f"as-{node}")
    address = run(lab, left, "docker inspect -f '{{.NetworkSettings.Networks.demo.IPAddress}}' web").strip()
    # busybox' ping ends when its container has no network for a moment.
    seen = "case $line in *seq=*) read -r now _ </proc/uptime; echo $now ;; esac"
    pings = f"while :; do ping -i 0.1 {address} 2>/dev/null; done | while read -r line; do {seen}; done >/tmp/pings"
    run(lab, left, f"docker exec -d db sh -c '{pings}'")
    run(lab, left, "systemctl restart overlay-mend")  # it looks at once
    recorded = [f"grep -qw of-{node} {STATE}/others" for node in (*managers, *workers) if node != left]
    counted = f"grep -c '^container' {STATE}/containers | grep -qx 2"
    await_so(lab, left, " && ".join([*recorded, counted]), 40)
    return path


def longest_gap(lab: Lab, left: str = "node1") -> float:
    """Return the seconds of the longest gap between two answers to pings, until now."""
    told = run(lab, left, "docker exec db cat /tmp/pings /proc/uptime").splitlines()
    times = [float(line.split()[0]) for line in told]
    assert len(times) > 20
    gap = max(after - before for before, after in pairwise(times))
    print(f"longest gap {gap:.1f} s, {len(times)} pings answered")
    return gap


def lose(lab: Lab, *nodes: str, left: str = "node1") -> None:
    """Cut the power of hosts, until a manager that is left knows that it has no majority: after some seconds."""
    for node in nodes:
        labs.power_cut(lab.name, node)
    await_so(lab, left, "! timeout 10 docker node ls >/dev/null 2>&1", 60)


def recovered(lab: Lab, fab: Fab, path: Path, *words: str, left: str = "node1") -> dict[str, Any]:
    """Recover; what containers should have is recorded as before."""
    before = fixed(lab, left)
    report = document(fab(lab, "recover", "--yes", "--json", *words, inventory=path))
    print(report["summary"])
    assert {one["status"] for one in report["outcomes"]} <= {"passed"}
    reached(lab, left, "web", "db", "web", "www", "10.99.0.250")
    reached(lab, left, "db", "www")
    assert not holds(lab, left, "ls /var/lib/overlay-provision/containers.held")
    run(lab, left, "docker update --restart always web db")  # Docker writes its files, and they are read again
    await_so(lab, left, "[ /var/lib/overlay-provision/containers -ot /run/overlay-provision/mend.recorded.last ]", 30)
    assert fixed(lab, left) == before
    return report


def fixed(lab: Lab, node: str) -> list[list[str]]:
    """The recorded attachments of a node: container, network, address, whether its user chose it, aliases."""
    lines = run(lab, node, "cat /var/lib/overlay-provision/containers").splitlines()
    parts = (line.split("\t") for line in lines if line.startswith("attachment"))
    return [[*part[1:3], *part[4:]] for part in parts]


def reached(lab: Lab, node: str, container: str, *targets: str) -> None:
    for target in targets:
        await_so(lab, node, f"docker exec {container} ping -c 1 -W 1 {target} >/dev/null 2>&1", NAMES)


def told(report: dict[str, Any]) -> str:
    return json.dumps(report["problems"] + report.get("warnings", []))


def settled(lab: Lab, fab: Fab, path: Path) -> None:
    assert document(fab(lab, "provision", "--json", inventory=path))["changes"] == []


def test_285_289_291_340_one_of_two_managers_is_lost_and_replaced(bare_lab: Lab, fab: Fab) -> None:
    """Containers of the host that is left miss each other for a moment; all find each other by name afterwards."""
    lab = bare_lab
    path = in_use(lab, fab, ["node1", "node2"])
    lose(lab, "node2")
    refused = document(fab(lab, "recover", "--json", inventory=path), 3)
    assert "give up node2 with of-node2" in told(refused)
    found = recovered(lab, fab, path)
    assert [row["containers"] for row in found["lost"]] == ["of-node2"]
    assert "removed from the swarm for good: node2 (" in told(found)
    longest_gap(lab)
    labs.renew(lab.name, "node2", say=lambda _: None)
    document(fab(lab, "provision", "--yes", "--json", inventory=path))
    run(lab, "node2", f"{START} of-node2 --ip 10.99.0.201 --network-alias as-node2 busybox sleep 999999")
    reached(lab, "node1", "web", "of-node2", "as-node2", "10.99.0.201")
    reached(lab, "node2", "of-node2", "web", "www", "db", "10.99.0.250")
    settled(lab, fab, path)


def given_up(lab: Lab, fab: Fab, path: Path, *nodes: str) -> None:
    """Every verb says of hosts that are back that they were given up; they are let in with consent only."""
    for verb, codes in (("status", (5,)), ("plan", (0,)), ("preflight", (0,)), ("verify", (0, 5))):
        result = fab(lab, verb, "--json", inventory=path)
        report = json.loads(result.stdout)
        assert result.returncode in codes, (verb, report)
        for node in nodes:
            said = [one["what"] for one in (*report["problems"], *report["warnings"]) if one["where"] == node]
            assert any(what.startswith("this host was given up in the recovery of") for what in said), (verb, report)
    assert "given up" in told(document(fab(lab, "provision", "--json", inventory=path), 3))
    document(fab(lab, "provision", "--yes", "--json", inventory=path, timeout=600))
    for node in nodes:
        run(lab, node, "ls /var/lib/overlay-provision/former-swarms/*/certificates/swarm-node.crt")
        reached(lab, "node1", "web", f"of-{node}", f"as-{node}")
        reached(lab, node, f"of-{node}", "web", "db")
    settled(lab, fab, path)


def on_this_machine(code: str) -> str:
    """Return the command that does something to a lab."""
    return f'{sys.executable} -c "from provision.lab import *; {code}"'


@pytest.mark.whole
@pytest.mark.parametrize("moment", [*STEPS[1:4], "after"])
def test_293_294_the_lost_host_returns(bare_lab: Lab, fab: Fab, moment: str) -> None:
    """While the recovery is under way, and after it."""
    lab = bare_lab
    path = in_use(lab, fab, ["node1", "node2"])
    lose(lab, "node2")
    if moment == "after":
        recovered(lab, fab, path)
        labs.power_on(lab.name, "node2", wait=False)
    else:
        deed = on_this_machine(f"power_on({lab.name!r}, 'node2', wait=False)")
        document(fab(lab, "recover", "--yes", "--json", inventory=path, at=(moment, "before", deed)))
    await_so(lab, "node2", "true", 60)
    given_up(lab, fab, path, "node2")
    longest_gap(lab)


@pytest.mark.whole
def test_297_the_lost_host_is_back_before_the_recovery(bare_lab: Lab, fab: Fab) -> None:
    """Then there is nothing to recover."""
    lab = bare_lab
    path = in_use(lab, fab, ["node1", "node2"])
    lose(lab, "node2")
    document(fab(lab, "recover", "--json", inventory=path), 3)
    labs.power_on(lab.name, "node2")
    await_so(lab, "node1", WRITE, 90)
    assert "nothing to recover" in document(fab(lab, "recover", "--yes", "--json", inventory=path))["summary"]
    reached(lab, "node1", "web", "of-node2")


@pytest.mark.whole
def test_292_a_recovery_that_was_killed_goes_on(bare_lab: Lab, fab: Fab, kill: tuple[str, str]) -> None:
    """Meanwhile other verbs name it and change nothing."""
    lab = bare_lab
    path = in_use(lab, fab, ["node1", "node2"])
    lose(lab, "node2")
    killed = fab(lab, "recover", "--yes", inventory=path, at=(*kill, "die"))
    assert killed.returncode == -signal.SIGKILL, killed.stdout + killed.stderr
    assert "a recovery is under way" in told(document(fab(lab, "provision", "--json", inventory=path), 3))
    recovered(lab, fab, path)
    longest_gap(lab)
    assert run(lab, "node1", "cat /var/lib/overlay-provision/recoveries").count("lost: node2") == 1


@pytest.mark.whole
def test_336_a_recovery_goes_on_when_a_user_has_stopped_a_container_meanwhile(bare_lab: Lab, fab: Fab) -> None:
    """What containers should have is recorded anew, as they are on their networks still."""
    lab = bare_lab
    path = in_use(lab, fab, ["node1", "node2"])
    lose(lab, "node2")
    killed = fab(lab, "recover", "--yes", inventory=path, at=("cluster: phase swarm", "before", "die"))
    assert killed.returncode == -signal.SIGKILL, killed.stdout + killed.stderr
    assert run(lab, "node1", f"cat {STATE}/containers.held") == "attached\n"
    run(lab, "node1", "docker stop db && docker network disconnect demo db")
    report = document(fab(lab, "recover", "--yes", "--json", inventory=path))
    assert {one["status"] for one in report["outcomes"]} <= {"passed"}
    left = "docker inspect -f '{{.State.Running}} {{len .NetworkSettings.Networks}}' db"
    assert run(lab, "node1", left).strip() == "false 0"
    run(lab, "node1", "docker run -d --name probe --network demo busybox sleep 999999")
    reached(lab, "node1", "probe", "web", "www")
    assert not holds(lab, "node1", f"ls {STATE}/containers.held")


@pytest.mark.whole
@pytest.mark.parametrize("workers", [1, 2])
def test_290_349_a_manager_is_lost_and_workers_are_left(bare_lab: Lab, fab: Fab, workers: int) -> None:
    """While Docker does not list its networks, on the one that is kept or on another, nothing is done."""
    lab = bare_lab
    others = ["node2", "node3"][:workers]
    path = in_use(lab, fab, ["node1"], others, left="node2")
    run(lab, "node2", "docker inspect -f '{{.Id}}' web db")
    lose(lab, "node1", left="node2")
    run(lab, others[-1], "systemctl kill --kill-who=main -s STOP docker")
    refused = document(fab(lab, "recover", "--yes", "--json", "--lost", "node1", "--keep", "node2", inventory=path), 3)
    assert [one["where"] for one in refused["problems"] if "does not list its networks" in one["what"]] == [others[-1]]
    run(lab, others[-1], "systemctl kill --kill-who=main -s CONT docker")
    recovered(lab, fab, path, "--lost", "node1", left="node2")
    longest_gap(lab, "node2")
    path = inventory(lab, "recovered", ["node2"], workers=[*others[1:], "node4"])
    document(fab(lab, "provision", "--yes", "--json", inventory=path))
    run(lab, "node4", f"{START} of-node1 --ip 10.99.0.201 busybox sleep 999999")
    reached(lab, "node2", "web", "of-node1", "10.99.0.201", *(f"as-{one}" for one in others[1:]))
    reached(lab, "node4", "of-node1", "web", "www", "db", *(f"as-{one}" for one in others[1:]))
    settled(lab, fab, path)


@pytest.mark.whole
def test_356_a_worker_that_is_left_loses_its_power_before_the_recovery(bare_lab: Lab, fab: Fab) -> None:
    lab = bare_lab
    path = in_use(lab, fab, ["node1"], ["node2"], left="node2")
    await_so(lab, "node2", f"grep -q '\"demo\"' {STATE}/containers.networks", 90)
    labs.power_cut(lab.name, "node1")
    labs.power_cut(lab.name, "node2")
    labs.power_on(lab.name, "node2")
    await_so(lab, "node2", "docker info --format '{{.Swarm.LocalNodeState}}' | grep -q pending", 60)
    document(fab(lab, "recover", "--yes", "--json", "--lost", "node1", inventory=path))
    reached(lab, "node2", "web", "www", "db")
    path = inventory(lab, "recovered", ["node2"], workers=["node4"])
    document(fab(lab, "provision", "--yes", "--json", inventory=path))
    run(lab, "node4", f"{START} of-node1 --ip 10.99.0.201 busybox sleep 999999")
    reached(lab, "node2", "web", "of-node1")
    reached(lab, "node4", "of-node1", "web", "www", "db")
    settled(lab, fab, path)


@pytest.mark.whole
def test_290_killed_while_a_worker_begins_another_swarm(bare_lab: Lab, fab: Fab, workers_kill: tuple[str, str]) -> None:
    lab = bare_lab
    path = in_use(lab, fab, ["node1"], ["node2"], left="node2")
    lose(lab, "node1", left="node2")
    killed = fab(lab, "recover", "--yes", "--lost", "node1", inventory=path, at=(*workers_kill, "die"))
    assert killed.returncode == -signal.SIGKILL, killed.stdout + killed.stderr
    recovered(lab, fab, path, left="node2")


@pytest.mark.whole
def test_358_killed_when_all_workers_have_left_their_swarm(bare_lab: Lab, fab: Fab) -> None:
    """A network on which only the other worker has a container is made anew, and its container comes back there."""
    lab = bare_lab
    path = in_use(lab, fab, ["node1"], ["node2", "node3"], left="node2")
    run(lab, "node1", "docker network create -d overlay --attachable --subnet 10.77.0.0/24 theirs")
    run(lab, "node3", "docker run -d --name alone --network theirs --ip 10.77.0.9 busybox sleep 999999")
    lose(lab, "node1", left="node2")
    at = ("cluster: phase swarm", "before", "die")
    killed = fab(lab, "recover", "--yes", "--lost", "node1", "--keep", "node2", inventory=path, at=at)
    assert killed.returncode == -signal.SIGKILL, killed.stdout + killed.stderr
    recovered(lab, fab, path, left="node2")
    assert "10.77.0.0/24" in run(lab, "node2", "docker network inspect theirs")
    path = inventory(lab, "recovered", ["node2"], workers=["node3"])
    document(fab(lab, "provision", "--yes", "--json", inventory=path))
    assert "10.77.0.9" in run(lab, "node3", "docker exec alone ip address")


@pytest.mark.whole
def test_298_two_of_three_managers_are_lost_and_one_returns_late(bare_lab: Lab, fab: Fab) -> None:
    """One is replaced under its name and address, one under others; it returns when its successor has joined."""
    lab = bare_lab
    path = in_use(lab, fab, ["node1", "node2", "node3"])
    lose(lab, "node2", "node3")
    assert "--lost node2 --lost node3" in told(document(fab(lab, "recover", "--yes", "--json", inventory=path), 3))
    recovered(lab, fab, path, "--lost", "node2", "--lost", "node3")
    longest_gap(lab)
    labs.renew(lab.name, "node2", say=lambda _: None)
    path = inventory(lab, "recovered", ["node1", "node2", "node4"])
    document(fab(lab, "provision", "--yes", "--json", inventory=path))
    run(lab, "node4", f"{START} of-node2 --ip 10.99.0.201 busybox sleep 999999")
    run(lab, "node2", f"{START} new --ip 10.99.0.202 busybox sleep 999999")
    reached(lab, "node1", "web", "of-node2", "new", "10.99.0.201", "10.99.0.202")
    reached(lab, "node2", "new", "web", "of-node2", "10.99.0.201")
    labs.power_on(lab.name, "node3")
    # The others' firewall lets it reach the port at which it is told that it was removed, and no other.
    await_so(lab, "node3", "[ \"$(timeout 5 docker info -f '{{.Swarm.LocalNodeState}}')\" = inactive ]", 120)
    assert [node for node in ("node1", "node3") if holds(lab, node, WRITE)] == ["node1"]
    path = inventory(lab, "recovered", ["node1", "node2", "node4"], workers=["node3"])
    run(lab, "node3", "docker rm -f of-node3")  # its address is another's now
    document(fab(lab, "provision", "--yes", "--json", inventory=path))
    settled(lab, fab, path)


def two_are_lost(lab: Lab, fab: Fab, prepare: str = "true") -> Path:
    """Lose two of three managers, after this on both; the one that is left goes on."""
    path = in_use(lab, fab, ["node1", "node2", "node3"])
    for node in ("node2", "node3"):
        run(lab, node, prepare)
    lose(lab, "node2", "node3")
    recovered(lab, fab, path, "--lost", "node2", "--lost", "node3")
    run(lab, "node1", "docker network create -d overlay mine")
    return path


def writing(lab: Lab, node: str) -> None:
    """Let a node write to its swarm from its boot on."""
    tries = "while :; do timeout 30 docker network create -d overlay theirs$(date +%s%N) >>/run/acknowledged; done"
    await_so(lab, node, f"systemd-run -q --unit test-writer sh -c '{tries}'", 60)


def written_until_left(lab: Lab, node: str) -> int:
    """Wait until a node has left its swarm; return how many writes it has acknowledged."""
    await_so(lab, node, "[ \"$(timeout 5 docker info -f '{{.Swarm.LocalNodeState}}')\" = inactive ]", 120)
    return int(run(lab, node, "systemctl stop test-writer; wc -l </run/acknowledged"))


def let_in_again(lab: Lab, fab: Fab, path: Path) -> None:
    assert [node for node in ("node1", "node2", "node3") if holds(lab, node, WRITE)] == ["node1"]
    given_up(lab, fab, path, "node2", "node3")
    assert "mine" in run(lab, "node3", "docker network ls")
    run(lab, "node1", "docker network rm mine")


@pytest.mark.whole
@pytest.mark.parametrize("when", ["at once", "while the first one's Docker starts", "after the first one"])
def test_295_two_lost_managers_return_and_acknowledge_nothing(bare_lab: Lab, fab: Fab, when: str) -> None:
    """A manager that was left answers each of them before its dockerd starts."""
    lab = bare_lab
    path = two_are_lost(lab, fab)
    if when == "at once":
        labs.power_on(lab.name, "node2", "node3", wait=False)
    else:
        state = "activating" if when.startswith("while") else "active"
        labs.power_on(lab.name, "node2", wait=False)
        await_so(lab, "node2", f"systemctl show -p ActiveState --value docker | grep -qx {state}", 60)
        labs.power_on(lab.name, "node3", wait=False)
    for node in ("node2", "node3"):
        writing(lab, node)
    for node in ("node2", "node3"):
        assert written_until_left(lab, node) == 0
        assert "Initializing Libnetwork Agent" not in run(lab, node, "journalctl -b _SYSTEMD_UNIT=docker.service")
    let_in_again(lab, fab, path)


@pytest.mark.whole
def test_327_two_lost_managers_return_while_the_other_is_cut_off(bare_lab: Lab, fab: Fab) -> None:
    """A majority goes on, as long as nobody tells it that it was given up; then it leaves."""
    lab = bare_lab
    path = two_are_lost(lab, fab)
    labs.cut_link(lab.name, "node1")
    labs.power_on(lab.name, "node2", "node3", wait=False)
    for node in ("node2", "node3"):
        writing(lab, node)
    await_so(lab, "node2", "[ -s /run/acknowledged ]", 90)
    labs.heal_link(lab.name, "node1")
    written = {node: written_until_left(lab, node) for node in ("node2", "node3")}
    print(f"acknowledged before they were told: {written}")
    let_in_again(lab, fab, path)


@pytest.mark.whole
@pytest.mark.parametrize("told", ["before its Docker starts", "while its Docker runs"])
def test_350_two_lost_managers_return_and_their_disks_are_full(bare_lab: Lab, fab: Fab, told: str) -> None:
    """They leave without a copy of their data, which is made when there is room, at a later start of Docker."""
    lab = bare_lab
    at_once = told.startswith("before")
    fill = "cat /dev/zero >/run/small/fill || true"
    path = two_are_lost(lab, fab, ON_A_SMALL_DISK.format(fill=fill if at_once else ""))
    if not at_once:
        labs.cut_link(lab.name, "node1")
    labs.power_on(lab.name, "node2", "node3", wait=False)
    for node in ("node2", "node3"):
        writing(lab, node)
    if not at_once:
        await_so(lab, "node2", "[ -s /run/acknowledged ]", 90)
        for node in ("node2", "node3"):
            run(lab, node, f"{{ {fill}; }} 2>/dev/null")
        labs.heal_link(lab.name, "node1")
    for node in ("node2", "node3"):
        written = written_until_left(lab, node)
        print(f"{node}: {written} acknowledged; {run(lab, node, 'df /run/small | tail -n 1')}")
        assert written == 0 or not at_once
        unit = "docker" if at_once else "overlay-mend"
        await_so(lab, node, f"journalctl -b -o cat -u {unit} | grep '^left:.*swarm.left'", 30)
        run(lab, node, f"ls -d /var/lib/docker/swarm.left.*/raft && ! ls {STATE}/former-swarms/*/raft")
        run(lab, node, f"[ -e {STATE}/containers.held ] && [ ! -s {STATE}/containers.held ]")
        run(lab, node, "rm /run/small/fill; systemctl restart docker")
        run(lab, node, f"! ls -d /var/lib/docker/swarm.left.* && ls -d {STATE}/former-swarms/*/raft")
    assert [node for node in ("node1", "node2", "node3") if holds(lab, node, WRITE)] == ["node1"]
    document(fab(lab, "provision", "--yes", "--json", inventory=path, timeout=600))
    for node in ("node2", "node3"):
        reached(lab, "node1", "web", f"of-{node}", f"as-{node}")
        reached(lab, node, f"of-{node}", "web", "db")
    settled(lab, fab, path)


@pytest.mark.whole
def test_296_another_manager_that_answers_leaves_and_joins_again(bare_lab: Lab, fab: Fab) -> None:
    """Of four managers two are lost; of the other two one goes on, and the containers of both come back."""
    lab = bare_lab
    path = in_use(lab, fab, ["node1", "node2", "node3", "node4"])
    lose(lab, "node3", "node4")
    lost = ("--lost", "node3", "--lost", "node4")
    document(fab(lab, "recover", "--plan", "--json", *lost, inventory=path))  # either may be kept: they list each other
    recovered(lab, fab, path, *lost, "--keep", "node1")
    path = inventory(lab, "recovered", ["node1", "node2"])
    document(fab(lab, "provision", "--yes", "--json", inventory=path))
    reached(lab, "node1", "web", "of-node2", "as-node2", "10.99.0.201")
    reached(lab, "node2", "of-node2", "web", "www", "db")
    settled(lab, fab, path)
