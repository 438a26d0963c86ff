"""Hosts lost for good, on hosts: the others go on without them, and new hosts take their places."""

from __future__ import annotations

import json
import re
import signal
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from conftest import Fab, MakeLab
from documented import documented
from invariants import await_so, holds
from kills import kills
from observe import document, lost_pings, run

from provision import lab as labs
from provision.lab import Lab

#: The steps at which a recovery is killed, where node2 of two is lost.
STEPS = (
    "node1: sending /var/lib/overlay-provision/recovery.json",
    "node1: sending /var/lib/overlay-provision/recoveries",
    "controller: phase shut-out",
    "node1: phase shut-out",
    "node1: phase force",
    "cluster: phase first-network",
    "cluster: phase freed",
    "node1: ending the recovery",
)
START = "docker run -d --restart always --stop-signal KILL --network demo --name"
#: etcdctl for Docker's keys, with the certificate of a node's dockerd, at one address.
_STORE = (
    "cd /etc/docker/overlay; ETCDCTL_API=2 etcdctl --no-sync --timeout 2s --total-timeout 4s"
    " --ca-file store-ca.crt --cert-file store.crt --key-file store.key --endpoints https://{address}:2379"
)


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "kill" in metafunc.fixturenames:
        chosen = kills(STEPS)
        metafunc.parametrize("kill", chosen, ids=[f"{when} {step}" for step, when in chosen])


@pytest.fixture(scope="module")
def lab(make_lab: MakeLab) -> Lab:
    return make_lab(4)


def inventory(lab: Lab, *nodes: str) -> Path:
    """Write an inventory with these hosts. `NAME=NODE`: a host under another name."""
    found = dict(re.findall(r"(?m)^  (node\d+): \{address: ([0-9.]+)\}$", lab.inventory.read_text()))
    names = dict(one.split("=") if "=" in one else (one, one) for one in nodes)
    lines = "".join(f"  {name}: {{address: {found[node]}}}\n" for name, node in names.items())
    path = lab.folder / "recovered.yml"
    path.write_text(re.sub(r"(?m)^nodes:\n(?:  .*\n)+", f"nodes:\n{lines}", lab.inventory.read_text()))
    return path


def in_use(lab: Lab, fab: Fab, *nodes: str) -> Path:
    """Provision these hosts, and start containers: two on the first, which ping each other, and one on each other."""
    path = inventory(lab, *nodes)
    document(fab(lab, "provision", "--json", inventory=path))
    run(lab, "node1", f"{START} web --network-alias www busybox sleep 999999; {START} db busybox sleep 999999")
    for number, node in enumerate(nodes[1:], 201):
        run(lab, node, f"{START} of-{node} --ip 10.99.0.{number} --network-alias as-{node} busybox sleep 999999")
        reached(lab, "node1", "web", f"as-{node}")
    run(lab, "node1", "docker exec -d web sh -c 'ping -i 0.1 db >/tmp/pings 2>&1'")
    return path


def end_pings(lab: Lab) -> str:
    """End the pings; return what ping printed."""
    end = "kill -INT $(pidof ping); while pidof ping >/dev/null; do sleep 0.1; done"
    return run(lab, "node1", f"docker exec web sh -c '{end}; cat /tmp/pings'")


def as_written(lab: Lab, fab: Fab, path: Path, page: str, *, upto: str = "") -> list[dict[str, Any]]:
    """Run the commands of a page in docs/, up to one; return their reports. There is nobody to ask for a yes."""
    reports = []
    for _, verb, *words in documented(page):
        agreed = ["--yes"] if verb in ("recover", "provision", "certs") else []
        code = 5 if (page, verb) == ("lost-host-returns", "status") else 0
        reports.append(document(fab(lab, verb, *words, *agreed, "--json", inventory=path), code))
        if [verb, *words] == upto.split():
            break
    return reports


def recovered(lab: Lab, fab: Fab, path: Path, *words: str) -> dict[str, Any]:
    report = document(fab(lab, "recover", "--yes", "--json", *words, inventory=path))
    print(report["summary"])
    assert {one["status"] for one in report["outcomes"]} <= {"passed"}
    return report


def reached(lab: Lab, node: str, container: str, *targets: str) -> None:
    for target in targets:
        await_so(lab, node, f"docker exec {container} ping -c 1 -W 1 {target} >/dev/null 2>&1", 20)


def takes_over(lab: Lab, node: str, lost: str) -> None:
    """A container on this node has what a lost host's container had: its name, its alias and its address."""
    address = f"10.99.0.{199 + int(lost.removeprefix('node'))}"
    run(lab, node, f"{START} of-{lost} --ip {address} --network-alias as-{lost} busybox sleep 999999")
    reached(lab, "node1", "web", f"of-{lost}", f"as-{lost}", address)


def told(report: dict[str, Any]) -> str:
    return json.dumps(report["problems"] + report.get("warnings", []))


def test_270_271_272_one_of_two_hosts_is_lost_and_replaced(bare_lab: Lab, fab: Fab) -> None:
    """No packet between containers of the host that is left is lost. What the other held can be used again at once."""
    lab = bare_lab
    path = in_use(lab, fab, "node1", "node2")
    labs.power_cut(lab.name, "node2")
    refused = document(fab(lab, "recover", "--json", inventory=path), 3)
    assert "give up node2 with of-node2, and go on with what node1 has" in told(refused)
    shown, found = as_written(lab, fab, path, "one-host-lost", upto="recover")
    print(found["summary"])
    assert [row["containers"] for row in shown["lost"]] == ["of-node2"]
    assert {one["status"] for one in found["outcomes"]} == {"passed"}
    assert lost_pings(end_pings(lab)) == 0
    run(lab, "node1", "docker network create -d overlay --subnet 10.98.7.0/24 first && docker network rm first")
    takes_over(lab, "node1", "node2")
    run(lab, "node1", "docker rm -f of-node2")
    labs.renew(lab.name, "node2", say=lambda _: None)
    document(fab(lab, "provision", "--json", inventory=path))
    takes_over(lab, "node2", "node2")
    reached(lab, "node2", "of-node2", "web", "www", "db")
    assert document(fab(lab, "provision", "--json", inventory=path))["changes"] == []
    assert "nothing to recover" in document(fab(lab, "recover", "--json", inventory=path))["summary"]


@pytest.mark.whole
def test_341_a_successor_whose_first_run_was_killed_was_not_given_up(bare_lab: Lab, fab: Fab) -> None:
    lab = bare_lab
    path = in_use(lab, fab, "node1", "node2")
    labs.power_cut(lab.name, "node2")
    recovered(lab, fab, path)
    labs.renew(lab.name, "node2", say=lambda _: None)
    killed = fab(lab, "provision", "--yes", inventory=path, at=("node2: phase etcd", "after", "die"))
    assert killed.returncode == -signal.SIGKILL, killed.stdout + killed.stderr
    assert "given up" not in told(document(fab(lab, "plan", "--json", inventory=path)))
    document(fab(lab, "provision", "--json", inventory=path))
    assert document(fab(lab, "provision", "--json", inventory=path))["changes"] == []


def given_up(lab: Lab, fab: Fab, path: Path, node: str) -> None:
    """Every verb says of a host that has returned that it was given up; it is not let in unasked, and then joins."""
    for verb, code in (("status", 5), ("plan", 0), ("preflight", 0), ("verify", 5)):
        report = document(fab(lab, verb, "--json", inventory=path), code)
        said = [one["what"] for one in (*report["problems"], *report["warnings"]) if one["where"] == node]
        assert any(what.startswith("this host was given up in the recovery of") for what in said), (verb, report)
    document(fab(lab, "provision", "--json", inventory=path), 3)
    await_so(lab, node, "! systemctl is-active -q etcd", 30)
    as_written(lab, fab, path, "lost-host-returns", upto="provision")
    run(lab, node, "ls -d /var/lib/etcd/removed-*")
    reached(lab, "node1", "web", f"of-{node}")
    assert document(fab(lab, "provision", "--json", inventory=path))["changes"] == []


def on_this_machine(code: str) -> str:
    """Return the command that does something to a lab."""
    return f'{sys.executable} -c "from provision.lab import *; {code}"'


def shut_out(lab: Lab, node: str) -> None:
    """The store refuses what a lost host shows it."""
    (kept,) = (one.address for one in lab.nodes if one.name == "node1")
    refused = run(lab, node, f"{_STORE.format(address=kept)} ls / 2>&1 || true")
    assert "bad certificate" in refused or "reset" in refused, refused


@pytest.mark.whole
@pytest.mark.parametrize("moment", [*STEPS[2:4], *STEPS[-2:], "after"])
def test_273_274_275_the_lost_host_returns(bare_lab: Lab, fab: Fab, moment: str) -> None:
    """While the recovery is under way, and after it."""
    lab = bare_lab
    path = in_use(lab, fab, "node1", "node2")
    labs.power_cut(lab.name, "node2")
    if moment == "after":
        recovered(lab, fab, path)
        labs.power_on(lab.name, "node2", wait=False)
    else:
        deed = on_this_machine(f"power_on({lab.name!r}, 'node2', wait=False)")
        document(fab(lab, "recover", "--yes", "--json", inventory=path, at=(moment, "before", deed)))
    await_so(lab, "node2", "docker info >/dev/null 2>&1", 60)
    shut_out(lab, "node2")
    given_up(lab, fab, path, "node2")
    assert lost_pings(end_pings(lab)) == 0


@pytest.mark.whole
def test_276_346_a_recovery_that_was_killed_goes_on(bare_lab: Lab, fab: Fab, kill: tuple[str, str]) -> None:
    """Meanwhile other verbs name it and change nothing. In the end, what the lost host held can be used again."""
    lab = bare_lab
    path = in_use(lab, fab, "node1", "node2")
    labs.power_cut(lab.name, "node2")
    killed = fab(lab, "recover", "--yes", inventory=path, at=(*kill, "die"))
    assert killed.returncode == -signal.SIGKILL, killed.stdout + killed.stderr
    assert "a recovery is under way" in told(document(fab(lab, "provision", "--json", inventory=path), 3))
    report = recovered(lab, fab, path)
    assert "all 0 networks" not in json.dumps(report["outcomes"])
    assert lost_pings(end_pings(lab)) == 0
    assert run(lab, "node1", "cat /var/lib/overlay-provision/recoveries").count("lost: node2") == 1
    assert not holds(lab, "node1", "ls /var/lib/overlay-provision/recovery.json")
    assert run(lab, "node1", "ls -d /var/lib/etcd/before-recovery-*").count("\n") == 1
    takes_over(lab, "node1", "node2")


@pytest.mark.whole
def test_346_etcd_does_not_run_on_the_host_that_is_left(bare_lab: Lab, fab: Fab) -> None:
    """What the lost host held is not known before; in the end it can be used again."""
    lab = bare_lab
    path = in_use(lab, fab, "node1", "node2")
    labs.power_cut(lab.name, "node2")
    run(lab, "node1", "systemctl kill -s KILL etcd; systemctl stop etcd")
    refused = told(document(fab(lab, "recover", "--json", inventory=path), 3))
    assert "give up node2 with containers that no member lists now" in refused
    assert "node1: the networks that this host knows cannot be listed now" in refused
    report = recovered(lab, fab, path)
    assert "Docker lists all 1 networks" in [one["evidence"] for one in report["outcomes"]]
    takes_over(lab, "node1", "node2")


@pytest.mark.whole
def test_277_the_host_that_is_left_loses_its_power_while_it_is_forced(bare_lab: Lab, fab: Fab) -> None:
    lab = bare_lab
    path = in_use(lab, fab, "node1", "node2")
    labs.power_cut(lab.name, "node2")
    step = ("node1: phase force", "after", on_this_machine(f"power_cut({lab.name!r}, 'node1')"))
    assert fab(lab, "recover", "--yes", inventory=path, at=step).returncode == 4
    labs.power_on(lab.name, "node1")
    recovered(lab, fab, path)
    await_so(lab, "node1", "docker exec web ping -c 1 -W 1 db", 60)


@pytest.mark.whole
def test_278_two_of_three_hosts_are_lost_and_two_come_in_at_once(bare_lab: Lab, fab: Fab) -> None:
    """One under the same name and address, one under others. Addresses of lost containers are reached everywhere."""
    lab = bare_lab
    path = in_use(lab, fab, "node1", "node2", "node3")
    for node in ("node2", "node3"):
        labs.power_cut(lab.name, node)
    refused = document(fab(lab, "recover", "--yes", "--json", inventory=path), 3)
    assert "--lost node2 --lost node3" in told(refused)
    recovered(lab, fab, path, "--lost", "node2", "--lost", "node3")
    assert lost_pings(end_pings(lab)) == 0
    labs.renew(lab.name, "node2", say=lambda _: None)
    path = inventory(lab, "node1", "node2", "other=node4")
    document(fab(lab, "provision", "--yes", "--json", inventory=path))
    run(lab, "node4", f"{START} of-node2 --ip 10.99.0.201 busybox sleep 999999")
    run(lab, "node2", f"{START} of-node3 --ip 10.99.0.202 busybox sleep 999999")
    reached(lab, "node1", "web", "of-node2", "of-node3", "10.99.0.201", "10.99.0.202")
    reached(lab, "node2", "of-node3", "web", "of-node2", "10.99.0.201")
    reached(lab, "node4", "of-node2", "web", "of-node3", "10.99.0.202")
    assert document(fab(lab, "provision", "--json", inventory=path))["changes"] == []


def acknowledged(lab: Lab, nodes: Sequence[str], key: str) -> list[str]:
    """Return the nodes at whose own member a write is acknowledged."""
    own = {one.name: one.address for one in lab.nodes}
    write = f"{_STORE} set /{key} {{node}} >/dev/null 2>&1"
    return [node for node in nodes if holds(lab, node, write.format(address=own[node], node=node))]


@pytest.mark.whole
def test_279_two_lost_hosts_return_together_and_are_no_store_of_their_own(bare_lab: Lab, fab: Fab) -> None:
    lab = bare_lab
    path = in_use(lab, fab, "node1", "node2", "node3")
    for node in ("node2", "node3"):
        labs.power_cut(lab.name, node)
    recovered(lab, fab, path, "--lost", "node2", "--lost", "node3")
    assert acknowledged(lab, ["node1"], "mine") == ["node1"]
    labs.power_on(lab.name, "node2", "node3", wait=False)
    for node in ("node2", "node3"):
        await_so(lab, node, "! systemctl is-active -q etcd", 60)
        await_so(lab, node, "docker info >/dev/null 2>&1", 60)
    assert acknowledged(lab, ["node1", "node2", "node3"], "both") == ["node1"]
    document(fab(lab, "provision", "--yes", "--json", inventory=path))
    assert run(lab, "node3", f"{_STORE.format(address=lab.nodes[2].address)} get --quorum /mine").strip() == "node1"
    reached(lab, "node1", "web", "of-node2", "of-node3")
    assert document(fab(lab, "provision", "--json", inventory=path))["changes"] == []


@pytest.mark.whole
def test_345_two_lost_hosts_return_together_after_a_rotation_and_are_no_store_of_their_own(
    bare_lab: Lab, fab: Fab
) -> None:
    """Members that trust different authorities tell each other nothing."""
    lab = bare_lab
    path = in_use(lab, fab, "node1", "node2", "node3")
    for node in ("node2", "node3"):
        labs.power_cut(lab.name, node)
    recovered(lab, fab, path, "--lost", "node2", "--lost", "node3")
    path = inventory(lab, "node1", "other=node4")
    document(fab(lab, "provision", "--yes", "--json", inventory=path))
    document(fab(lab, "certs", "--rotate", "--authority", "--yes", "--json", inventory=path))
    assert acknowledged(lab, ["node1"], "mine") == ["node1"]
    labs.power_on(lab.name, "node2", "node3", wait=False)
    for node in ("node2", "node3"):
        await_so(lab, node, "docker info >/dev/null 2>&1", 60)
    for _ in range(10):
        assert acknowledged(lab, ["node1", "node2", "node3", "node4"], "both") == ["node1", "node4"]
    given_up(lab, fab, inventory(lab, "node1", "other=node4", "node2"), "node2")
    assert run(lab, "node2", f"{_STORE.format(address=lab.nodes[1].address)} get --quorum /mine").strip() == "node1"
    assert acknowledged(lab, ["node1", "node2", "node3", "node4"], "both") == ["node1", "node2", "node4"]


@pytest.mark.whole
def test_280_the_lost_host_returns_when_its_successor_has_joined(bare_lab: Lab, fab: Fab) -> None:
    """The successor has another name and address, and the inventory names the lost host no more."""
    lab = bare_lab
    path = in_use(lab, fab, "node1", "node2")
    labs.power_cut(lab.name, "node2")
    recovered(lab, fab, path)
    path = inventory(lab, "node1", "other=node3")
    document(fab(lab, "provision", "--yes", "--json", inventory=path))
    run(lab, "node3", f"{START} of-node3 --ip 10.99.0.201 busybox sleep 999999")
    reached(lab, "node1", "web", "of-node3", "10.99.0.201")
    labs.power_on(lab.name, "node2", wait=False)
    await_so(lab, "node2", "docker info >/dev/null 2>&1 && ! systemctl is-active -q etcd", 60)
    shut_out(lab, "node2")
    assert acknowledged(lab, ["node1", "node2", "node3"], "both") == ["node1", "node3"]
    reached(lab, "node1", "web", "of-node3", "10.99.0.201")
    run(lab, "node3", "docker rm -f of-node3")  # its address is that of the container which comes back
    given_up(lab, fab, inventory(lab, "node1", "other=node3", "node2"), "node2")
    document(fab(lab, "certs", "--rotate", "--authority", "--yes", "--json", inventory=lab.folder / "recovered.yml"))
    reached(lab, "node1", "web", "of-node2")


@pytest.mark.whole
def test_355_a_host_that_was_given_up_returns_where_three_others_are_members(bare_lab: Lab, fab: Fab) -> None:
    lab = bare_lab
    path = in_use(lab, fab, "node1", "node2")
    labs.power_cut(lab.name, "node2")
    recovered(lab, fab, path)
    document(fab(lab, "provision", "--yes", "--json", inventory=inventory(lab, "node1", "node3", "node4")))
    labs.power_on(lab.name, "node2")
    path = inventory(lab, "node1", "node3", "node4", "node2")
    assert "aside" in told(document(fab(lab, "provision", "--json", inventory=path), 3))
    document(fab(lab, "provision", "--yes", "--json", inventory=path))
    run(
        lab, "node2", "ls -d /var/lib/overlay-provision/former-stores/removed-*/member && ! systemctl is-active -q etcd"
    )
    reached(lab, "node1", "web", "of-node2")
    assert document(fab(lab, "provision", "--json", inventory=path))["changes"] == []


@pytest.mark.whole
def test_282_283_347_two_recoveries_on_two_sides_are_named_and_one_is_kept(bare_lab: Lab, fab: Fab) -> None:
    """The other one's member is stopped, its data put aside, and it joins anew. Its networks are named before.

    The run is killed before that, when all nodes have one list of recoveries. Docker restarts there nevertheless.
    """
    lab = bare_lab
    path = in_use(lab, fab, "node1", "node2")
    labs.power_cut(lab.name, "node2")
    recovered(lab, fab, path)
    labs.power_cut(lab.name, "node1")
    labs.power_on(lab.name, "node2")
    assert "node2 was given up" in told(document(fab(lab, "recover", "--yes", "--json", inventory=path), 3))
    document(fab(lab, "recover", "--yes", "--keep", "node2", "--json", inventory=path))
    labs.power_on(lab.name, "node1")
    for verb, code in (("status", 5), ("plan", 3), ("provision", 3), ("recover", 3)):
        assert "there are two clusters now" in told(document(fab(lab, verb, "--json", inventory=path), code)), verb
    run(lab, "node2", "docker network create -d overlay --subnet 10.98.8.0/24 theirs")
    refused = told(document(fab(lab, "recover", "--keep", "node1", "--json", inventory=path), 3))
    assert "node1 does not know these networks: theirs" in refused
    step = ("node2: phase others", "before", "die")
    killed = fab(lab, "recover", "--yes", "--keep", "node1", inventory=path, at=step)
    assert killed.returncode == -signal.SIGKILL, killed.stdout + killed.stderr
    recovered(lab, fab, path)
    changes = document(fab(lab, "provision", "--yes", "--json", inventory=path))["changes"]
    assert ("node2", "restart", "unit docker.service") in [
        (one["where"], one["action"], one["resource"]) for one in changes
    ]
    run(lab, "node2", "ls -d /var/lib/etcd/removed-*")
    reached(lab, "node1", "web", "of-node2")
    assert document(fab(lab, "provision", "--json", inventory=path))["changes"] == []


@pytest.mark.whole
def test_352_354_only_hosts_that_were_given_up_are_left(bare_lab: Lab, fab: Fab, tmp_path: Path) -> None:
    """They are a majority of their former cluster, and at work. Their old data counts only if a person says so."""
    lab = bare_lab
    path = in_use(lab, fab, "node1", "node2", "node3")
    for node in ("node2", "node3"):
        labs.power_cut(lab.name, node)
    recovered(lab, fab, path, "--lost", "node2", "--lost", "node3")
    labs.power_cut(lab.name, "node1")
    labs.power_on(lab.name, "node2", "node3")
    words = "only hosts that were given up in the recovery of"
    assert words in told(document(fab(lab, "status", "--json", inventory=path), 5))
    path = inventory(lab, "node2", "node3")
    for verb in (("provision", "--yes"), ("plan",), ("verify",), ("backup", str(tmp_path / "cluster.tar.gz"))):
        assert words in told(document(fab(lab, *verb, "--json", inventory=path), 3)), verb
    assert words in json.dumps(document(fab(lab, "preflight", "--json", inventory=path), 3)["outcomes"])
    assert "--keep" in told(document(fab(lab, "recover", "--yes", "--json", inventory=path), 3))
    recovered(lab, fab, path, "--keep", "node2")
    document(fab(lab, "provision", "--yes", "--json", inventory=path))
    reached(lab, "node2", "of-node2", "of-node3")
    assert document(fab(lab, "provision", "--json", inventory=path))["changes"] == []


@pytest.mark.whole
def test_343_a_host_that_was_only_cut_off_is_given_up_and_comes_back(bare_lab: Lab, fab: Fab) -> None:
    """Its containers have run all the time; their names and addresses were freed meanwhile."""
    lab = bare_lab
    path = in_use(lab, fab, "node1", "node2")
    labs.cut_link(lab.name, "node2")
    recovered(lab, fab, path)
    labs.heal_link(lab.name, "node2")
    run(lab, "node1", "docker run -d --name new --network demo busybox sleep 999999")
    changes = document(fab(lab, "provision", "--yes", "--json", inventory=path))["changes"]
    assert ("node2", "restart", "unit docker.service") in [
        (one["where"], one["action"], one["resource"]) for one in changes
    ]
    for name in ("of-node2", "as-node2"):
        await_so(lab, "node1", f"docker exec web ping -c 1 -W 1 {name} >/dev/null 2>&1", 75)
    await_so(lab, "node2", "docker exec of-node2 ping -c 1 -W 1 new >/dev/null 2>&1", 75)
    assert document(fab(lab, "provision", "--json", inventory=path))["changes"] == []
