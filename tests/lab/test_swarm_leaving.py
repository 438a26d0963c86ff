"""Nodes that leave a swarm, on hosts: nobody who stays notices, and whoever has left has no way back.

`script/faults` kills the run at each step, too.
"""

from __future__ import annotations

import signal
from collections.abc import Sequence
from pathlib import Path

import pytest
from conftest import Fab, MakeLab
from leaving import dockerds, inventory, members, names, pinged
from observe import document, manifest, run, steps

from provision import lab as labs
from provision.lab import Lab

#: The steps of a manager that leaves.
STEPS = ("swarm", "withdraw", "leave", "put-back")


@pytest.fixture(scope="module")
def lab(make_lab: MakeLab) -> Lab:
    return make_lab(4, release="trixie")


def tokens(lab: Lab) -> set[str]:
    """The swarm's join tokens."""
    return {run(lab, "node1", f"docker swarm join-token -q {role}").strip() for role in ("manager", "worker")}


def changed(lab: Lab, fab: Fab, path: Path) -> None:
    """Provision without consent, and with it: what was planned was done, and nobody who stays noticed."""
    began, old, lost = dockerds(lab, names("12")), tokens(lab), list[int]()
    with pinged(lab, "node1", "node2", lost):
        assert document(fab(lab, "provision", "--json", inventory=path), 3)["problems"]
        plan = document(fab(lab, "plan", "--json", inventory=path))
        report = document(fab(lab, "provision", "--json", "--yes", inventory=path))
    assert steps(plan) == steps(report)
    assert lost == [0]
    assert dockerds(lab, names("12")) == began
    assert tokens(lab).isdisjoint(old)
    assert document(fab(lab, "provision", "--json", inventory=path))["changes"] == []


def let_lead(lab: Lab, name: str, managers: Sequence[str]) -> None:
    """Let this manager lead: whoever else leads becomes a worker for a moment."""
    leads = "docker node inspect self -f '{{.ManagerStatus.Leader}}'"
    while (leader := next(one for one in managers if "true" in run(lab, one, leads))) != name:
        run(lab, name, f"docker node demote {leader}")
        gate = "openssl x509 -noout -subject -in /var/lib/docker/swarm/certificates/swarm-node.crt"
        run(lab, leader, f"until {gate} | grep -q swarm-worker; do sleep 0.2; done")
        run(lab, name, f"until docker node promote {leader}; do sleep 0.5; done")
        run(lab, leader, "until docker node ls; do sleep 0.5; done")


def test_144_an_absent_manager_leaves_its_swarm_and_its_host_is_as_it_was(bare_lab: Lab, fab: Fab) -> None:
    lab = bare_lab
    before = manifest(lab, "node3")
    old = inventory(lab, "before", names("123"))
    document(fab(lab, "provision", "--json", inventory=old))
    for name in ("user-three", "user-stopped"):
        run(lab, "node3", f"docker run -d --name {name} --network demo busybox sleep 9999")
    run(lab, "node3", "docker stop -t 0 user-stopped")
    let_lead(lab, "node3", names("123"))
    new = inventory(lab, "after", names("12"), absent=names("3"))
    changed(lab, fab, new)
    assert members(lab, fab, new) == names("12")
    assert run(lab, "node3", "docker ps -aq | wc -l").strip() == "2"
    run(lab, "node3", "docker rm -f user-three user-stopped")
    assert manifest(lab, "node3") == before
    assert "delete its entry" in str(document(fab(lab, "provision", "--json", inventory=new))["warnings"])
    # The removed container's name and address are free again, and the host may come back.
    run(lab, "node1", "docker run --rm --name user-three --network demo busybox ping -c 1 -W 5 user-node2")
    document(fab(lab, "provision", "--json", inventory=old))
    assert members(lab, fab, old) == names("123")


@pytest.mark.parametrize("off", [False, True], ids=["which answers", "which is switched off"])
def test_140_a_manager_that_the_inventory_lacks_is_removed_and_replaced(bare_lab: Lab, fab: Fab, off: bool) -> None:
    lab = bare_lab
    before = manifest(lab, "node3")
    old, new = inventory(lab, "before", names("123")), inventory(lab, "after", names("124"))
    document(fab(lab, "provision", "--json", inventory=old))
    let_lead(lab, "node3", names("123"))  # whom the newcomer cannot reach, through its firewall
    if off:
        labs.power_cut(lab.name, "node3")
        run(lab, "node1", "until docker node inspect node3 -f '{{.Status.State}}' | grep -q down; do sleep 0.5; done")
    changed(lab, fab, new)
    assert members(lab, fab, new) == names("124")
    run(lab, "node4", "docker run --rm --network demo busybox ping -c 1 -W 5 user-node1")
    if off:
        labs.power_on(lab.name, "node3")
    address = run(lab, "node1", "docker inspect -f '{{.NetworkSettings.Networks.demo.IPAddress}}' user-node1").strip()
    keeper = "docker exec overlay-keeper-demo-node3"
    alone = f"! {keeper} ping -c 1 -W 2 {address} >/dev/null 2>&1"
    # After a power cut, the keeper may not run.
    run(lab, "node3", alone if off else f"{keeper} true && {alone}")
    # The way that the warning names.
    absent = inventory(lab, "absent", names("124"), absent=names("3"))
    document(fab(lab, "provision", "--yes", "--json", inventory=absent))
    assert manifest(lab, "node3") == before


@pytest.mark.whole
@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize("leave", STEPS)
def test_140_killed_while_a_manager_leaves_a_swarm(bare_lab: Lab, fab: Fab, leave: str, when: str) -> None:
    """The next run completes what was begun; a third run changes nothing."""
    lab = bare_lab
    document(fab(lab, "provision", "--json", inventory=inventory(lab, "before", names("123"))))
    new = inventory(lab, "after", names("12"), absent=names("3"))
    at = (f"cluster: phase {leave}", when, "die")
    assert fab(lab, "provision", "--yes", inventory=new, at=at).returncode == -signal.SIGKILL
    document(fab(lab, "provision", "--json", "--yes", inventory=new))
    assert members(lab, fab, new) == names("12")
    assert document(fab(lab, "provision", "--json", inventory=new))["changes"] == []
