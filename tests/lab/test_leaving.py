"""Members that leave, on hosts: nothing acknowledged is lost, and nobody who stays notices.

`--whole` makes every change with the firewall and without, and kills the run at each step, as `script/faults` does.
"""

from __future__ import annotations

import signal

import pytest
from conftest import Fab, MakeLab
from leaving import REFUSED, Seen, dockerds, inventory, keys, let_lead, members, names, watched
from observe import document, manifest, run, steps

from provision import lab as labs
from provision.lab import Lab

#: Changes: the members before, and the members after.
SOME = [("123", "12"), ("123", "124")]
MORE = [("12345", "123"), ("123", "12"), ("1234", "12"), ("12345", "12")]


#: The steps of a change, as interposed.py names them. The second change has only those that the first one lacks.
STEPS = {
    ("123", "12"): ("cluster: phase leave", *(f"node{n}: phase {p}" for p in ("firewall", "docker") for n in (1, 2))),
    ("123", "124"): (
        *("controller: phase pki", "node1: phase firewall", "node4: phase host", "node4: phase pki"),
        *("node4: phase firewall", "node4: phase etcd", "cluster: phase leave", "node1: phase docker"),
        *("node4: phase docker", "node4: phase image", "node4: phase keeper"),
    ),
    # The node after the dash is absent.
    ("123", "12-3"): tuple(f"cluster: phase {phase}" for phase in ("withdraw", "leave", "put-back")),
}
KILLS = [(*change, step, when) for change, steps in STEPS.items() for step in steps for when in ("before", "after")]
#: Without --whole, the run is killed at every seventh of them.
EVERY = 7


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    whole = metafunc.config.getoption("--whole")
    if "kill" in metafunc.fixturenames:
        kills = KILLS if whole else KILLS[1::EVERY]
        metafunc.parametrize(
            "kill", kills, ids=[f"{before} to {after}, {w} {step}" for before, after, step, w in kills]
        )
    if "change" in metafunc.fixturenames:
        chosen = [(*one, wall) for one in (*SOME, *(MORE if whole else ())) for wall in (True, False) if wall or whole]
        ids = [f"{before} to {after}{', firewall' if wall else ''}" for before, after, wall in chosen]
        metafunc.parametrize("change", chosen, ids=ids)


@pytest.fixture(scope="module")
def lab(make_lab: MakeLab) -> Lab:
    return make_lab(5)


def test_140_members_leave_and_nobody_who_stays_notices(bare_lab: Lab, fab: Fab, change: tuple[str, str, bool]) -> None:
    lab, (before, after, firewall) = bare_lab, change
    old = inventory(lab, "before", names(before), firewall=firewall)
    new = inventory(lab, "after", names(after), firewall=firewall)
    document(fab(lab, "provision", "--json", inventory=old))
    staying, leaving = ([name for name in names(before) if (name in names(after)) == stays] for stays in (True, False))
    let_lead(lab, leaving[0], names(before))  # 118: the leader leaves
    began, seen = dockerds(lab, staying), list[Seen]()
    with watched(lab, *staying[:2], seen):
        assert document(fab(lab, "provision", "--json", inventory=new), 3)["problems"]
        plan = document(fab(lab, "plan", "--json", inventory=new))
        report = document(fab(lab, "provision", "--json", "--yes", inventory=new))
    assert steps(plan) == steps(report)
    assert members(lab, fab, new) == names(after)
    assert set(seen[0].writes) <= keys(lab, "node1")
    assert (seen[0].gap < REFUSED, seen[0].lost_pings) == (True, 0), seen[0].gap
    assert dockerds(lab, staying) == began
    assert document(fab(lab, "provision", "--json", inventory=new))["changes"] == []


@pytest.mark.whole
@pytest.mark.parametrize("old_address", ["gone", "kept"])
def test_117_269_a_member_whose_address_changed_leaves_and_joins_as_another(
    bare_lab: Lab, fab: Fab, old_address: str
) -> None:
    lab = bare_lab
    old = inventory(lab, "before", names("123"))
    document(fab(lab, "provision", "--json", inventory=old))
    address = lab.nodes[2].address
    moved = f"{address.rpartition('.')[0]}.73"
    if old_address == "gone":
        run(lab, "node3", f"ip address del {address}/24 dev eth0 && ip address add {moved}/24 dev eth0")
    else:
        ways = (f"ip route replace {node.address} dev eth0 src {moved}" for node in lab.nodes[:2])
        run(lab, "node3", f"ip address add {moved}/24 dev eth0 && {' && '.join(ways)}")
    new = lab.folder / "moved.yml"
    new.write_text(old.read_text().replace(f"address: {address}", f"address: {moved}"))
    document(fab(lab, "trust", "--json", inventory=new))
    began, seen = dockerds(lab, names("12")), list[Seen]()
    with watched(lab, "node1", "node2", seen):
        plan = document(fab(lab, "plan", "--json", inventory=new))
        report = document(fab(lab, "provision", "--json", "--yes", inventory=new))
    assert steps(plan) == steps(report)
    assert members(lab, fab, new) == names("123")
    assert set(seen[0].writes) <= keys(lab, "node3")
    assert (seen[0].gap < REFUSED, seen[0].lost_pings) == (True, 0), seen[0].gap
    assert dockerds(lab, names("12")) == began
    assert document(fab(lab, "provision", "--json", inventory=new))["changes"] == []
    run(lab, "node3", "docker run --rm --network demo busybox ping -c 1 -W 5 user-node1")


@pytest.mark.whole
def test_a_host_that_has_left_is_put_back_alone(bare_lab: Lab, fab: Fab) -> None:
    lab = bare_lab
    before = manifest(lab, "node3")
    old, new = inventory(lab, "before", names("123")), inventory(lab, "after", names("12"))
    document(fab(lab, "provision", "--json", inventory=old))
    refused = document(fab(lab, "reset", "--only", "node3", "--yes", "--json", inventory=old), 3)
    assert refused["problems"][0]["what"] == "the cluster still counts on node3"
    document(fab(lab, "provision", "--json", "--yes", inventory=new))
    document(fab(lab, "reset", "--only", "node3", "--yes", "--json", inventory=old))
    assert manifest(lab, "node3") == before
    # The firewall kept node3 from removing its keeper's endpoint.
    made = document(fab(lab, "provision", "--json", inventory=new))["changes"]
    assert [change["resource"] for change in made] == [f"endpoints of {lab.nodes[2].address}"]
    assert document(fab(lab, "provision", "--json", inventory=new))["changes"] == []


def test_144_an_absent_member_leaves_and_its_host_is_as_it_was(bare_lab: Lab, fab: Fab) -> None:
    lab = bare_lab
    before = manifest(lab, "node3")
    old = inventory(lab, "before", names("123"))
    new = inventory(lab, "after", names("12"), absent=names("3"))
    document(fab(lab, "provision", "--json", inventory=old))
    for name, network in (("user-three", "demo"), ("user-stopped", "demo")):
        run(lab, "node3", f"docker run -d --name {name} --network {network} busybox sleep 9999")
    run(lab, "node3", "docker stop -t 0 user-stopped")
    began, seen = dockerds(lab, names("12")), list[Seen]()
    with watched(lab, "node1", "node2", seen):
        refused = document(fab(lab, "provision", "--json", inventory=new), 3)["problems"]
        assert "take node3 out of the cluster, disconnect user-three from its networks" in refused[0]["what"]
        document(fab(lab, "provision", "--json", "--yes", inventory=new))
    assert members(lab, fab, new) == names("12")
    assert (seen[0].gap < REFUSED, seen[0].lost_pings) == (True, 0), seen[0].gap
    assert set(seen[0].writes) <= keys(lab, "node1")
    assert dockerds(lab, names("12")) == began
    assert run(lab, "node3", "docker ps -aq | wc -l").strip() == "2"
    run(lab, "node3", "docker rm -f user-three user-stopped")
    assert manifest(lab, "node3") == before
    done = document(fab(lab, "provision", "--json", inventory=new))
    assert done["changes"] == []
    assert "delete its entry" in str(done["warnings"])
    # The removed container's name and address are free again.
    run(lab, "node1", "docker run --rm --name user-three --network demo busybox ping -c 1 -W 5 user-node2")


@pytest.mark.whole
def test_140_a_member_that_stays_as_a_node_puts_its_store_away_and_may_come_back(bare_lab: Lab, fab: Fab) -> None:
    lab = bare_lab
    old = inventory(lab, "before", names("123"))
    new = inventory(lab, "after", names("12"), workers=names("3"))
    document(fab(lab, "provision", "--json", inventory=old))
    began = dockerds(lab, names("123"))
    document(fab(lab, "provision", "--json", "--yes", inventory=new))
    assert document(fab(lab, "provision", "--json", inventory=new))["changes"] == []
    run(lab, "node3", "! id etcd 2>/dev/null && [ ! -e /etc/etcd ] && [ ! -e /var/lib/etcd ] && ! systemctl cat etcd")
    document(fab(lab, "provision", "--json", inventory=old))
    assert document(fab(lab, "provision", "--json", inventory=old))["changes"] == []
    assert members(lab, fab, old) == names("123")
    assert dockerds(lab, names("123")) == began


def test_141_a_dead_member_is_removed_while_two_others_live(bare_lab: Lab, fab: Fab) -> None:
    lab = bare_lab
    old, new = inventory(lab, "before", names("123")), inventory(lab, "after", names("124"))
    document(fab(lab, "provision", "--json", inventory=old))
    labs.power_cut(lab.name, "node3")
    began, seen = dockerds(lab, names("12")), list[Seen]()
    with watched(lab, "node1", "node2", seen):
        plan = document(fab(lab, "plan", "--json", inventory=new))["changes"]
        told = [change["resource"] for change in plan if change["where"] == "cluster"]
        assert told == ["member node3", "member node4"]
        document(fab(lab, "provision", "--json", "--yes", inventory=new))
    assert members(lab, fab, new) == names("124")
    assert set(seen[0].writes) <= keys(lab, "node4")
    assert (seen[0].gap < REFUSED, seen[0].lost_pings) == (True, 0), seen[0].gap
    assert dockerds(lab, names("12")) == began


@pytest.mark.whole
def test_142_a_removed_member_that_comes_back_with_its_data_is_let_in_anew(lab: Lab, fab: Fab) -> None:
    """The hosts are those of the test before: node3 was off when it was removed."""
    labs.power_on(lab.name, "node3")
    path = inventory(lab, "back", names("1243"))
    plan = document(fab(lab, "provision", "--json", inventory=path), 3)
    assert "move the data of a member that was removed aside on node3" in plan["problems"][0]["what"]
    document(fab(lab, "provision", "--json", "--yes", inventory=path))
    assert sorted(members(lab, fab, path)) == names("1234")
    assert run(lab, "node3", "ls -d /var/lib/etcd/removed-*/member").strip()
    assert document(fab(lab, "provision", "--json", inventory=path))["changes"] == []


def test_140_killed_while_members_leave(bare_lab: Lab, fab: Fab, kill: tuple[str, str, str, str]) -> None:
    """The next run completes what was begun; a third run changes nothing."""
    lab, (before, after, step, when) = bare_lab, kill
    after, _, absent = after.partition("-")
    old = inventory(lab, "before", names(before))
    new = inventory(lab, "after", names(after), absent=names(absent))
    document(fab(lab, "provision", "--json", inventory=old))
    assert fab(lab, "provision", "--yes", inventory=new, at=(step, when, "die")).returncode == -signal.SIGKILL
    document(fab(lab, "provision", "--json", "--yes", inventory=new))
    assert members(lab, fab, new) == names(after)
    assert document(fab(lab, "provision", "--json", inventory=new))["changes"] == []
