"""Members whose data is gone, on hosts: a new machine at the old address, a lost disk, a majority lost for good."""

from __future__ import annotations

import re
import shlex
import signal
import subprocess
from pathlib import Path

import pytest
from conftest import Fab, MakeLab
from leaving import REFUSED, Seen, dockerds, inventory, keys, members, names, watched
from observe import document, run

from provision import lab as labs
from provision.lab import Lab


@pytest.fixture(scope="module")
def lab(make_lab: MakeLab) -> Lab:
    return make_lab(5)


def provisioned(lab: Lab, fab: Fab, numbers: str) -> Path:
    path = inventory(lab, "members", names(numbers))
    document(fab(lab, "provision", "--json", inventory=path))
    return path


def of_cluster(plan: dict[str, list[dict[str, str]]]) -> list[tuple[str, str]]:
    return [(change["action"], change["resource"]) for change in plan["changes"] if change["where"] == "cluster"]


def is_as_planned(lab: Lab, fab: Fab, path: Path, numbers: str) -> None:
    """Every member is healthy, and another run changes nothing."""
    assert members(lab, fab, path) == names(numbers)
    assert document(fab(lab, "provision", "--json", inventory=path))["changes"] == []


@pytest.mark.parametrize(("there", "gone"), [("123", "3"), pytest.param("12345", "45", marks=pytest.mark.whole)])
def test_115_members_are_replaced_by_new_machines_at_their_addresses(
    bare_lab: Lab, fab: Fab, there: str, gone: str
) -> None:
    lab, replaced = bare_lab, names(gone)
    path = provisioned(lab, fab, there)
    staying = [name for name in names(there) if name not in replaced]
    for name in replaced:
        run(lab, name, f"docker run -d --name web-{name} --network demo busybox sleep 9999")
        for host in (host for host in lab.nodes if host.name == name):
            host.host_key.unlink()
    labs.renew(lab.name, *replaced, say=lambda _: None)
    trust_anew(lab, fab, path)
    began, seen = dockerds(lab, staying), list[Seen]()
    with watched(lab, "node1", "node2", seen):
        plan = document(fab(lab, "plan", "--json", inventory=path))
        removed, added = of_cluster(plan)[: len(gone)], of_cluster(plan)[len(gone) :]
        assert sorted(removed) == [("remove", f"member {name}") for name in replaced]
        assert added == [("add", f"member {name}") for name in replaced]
        (refused,) = document(fab(lab, "provision", "--json", inventory=path), 3)["problems"]
        assert f"remove the {removed[0][1]} (https://" in refused["what"]
        document(fab(lab, "provision", "--json", "--yes", inventory=path))
    assert set(seen[0].writes) <= keys(lab, replaced[-1])
    assert (seen[0].gap < REFUSED, seen[0].lost_pings) == (True, 0), seen[0].gap
    assert dockerds(lab, staying) == began
    is_as_planned(lab, fab, path, there)
    for name in replaced:
        start = f"docker run -d --name web-{name} --network demo busybox sleep 9999 2>/dev/null"
        run(lab, name, f"timeout 60 sh -c 'until {start}; do docker rm -f web-{name}; sleep 0.5; done'")
        run(lab, "node1", f"docker run --rm --network demo busybox ping -c 1 -W 5 web-{name}")
    document(fab(lab, "verify", "--json", "--only", "^(etcd|overlay)/", inventory=path))


def trust_anew(lab: Lab, fab: Fab, path: Path) -> None:
    """Do what the error of a changed host key says."""
    for problem in document(fab(lab, "plan", "--json", inventory=path), 3)["problems"]:
        command = re.search(r"replaced: (ssh-keygen -f .* -R '[0-9.]+'), then: fab trust", problem["advice"])
        assert command, problem
        subprocess.run(shlex.split(command[1]), check=True, capture_output=True)
    document(fab(lab, "trust", "--json", inventory=path))


@pytest.mark.whole
def test_115_killed_between_the_removal_and_the_join(bare_lab: Lab, fab: Fab) -> None:
    """It is the first member, by which the store is reached. The next run ends what was begun, and asks nothing."""
    lab = bare_lab
    path = provisioned(lab, fab, "123")
    labs.renew(lab.name, "node1", say=lambda _: None)
    began = dockerds(lab, names("23"))
    killed = fab(lab, "provision", "--yes", inventory=path, at=("cluster: phase lost", "after", "die"))
    assert killed.returncode == -signal.SIGKILL
    assert of_cluster(document(fab(lab, "plan", "--json", inventory=path))) == [("add", "member node1")]
    document(fab(lab, "provision", "--json", inventory=path))
    is_as_planned(lab, fab, path, "123")
    assert dockerds(lab, names("23")) == began


def test_145_a_member_whose_disk_is_not_mounted_is_not_removed_unasked_and_goes_on_with_it(
    bare_lab: Lab, fab: Fab
) -> None:
    lab = bare_lab
    run(lab, "node3", "mkdir -p /srv/etcd /var/lib/etcd && mount --bind /srv/etcd /var/lib/etcd")
    path = provisioned(lab, fab, "123")
    run(lab, "node3", "systemctl stop etcd && umount /var/lib/etcd && systemctl start --no-block etcd")
    refused = document(fab(lab, "provision", "--json", inventory=path), 3)["problems"]
    assert "its host has none of its data in /var/lib/etcd" in refused[0]["what"]
    assert "is a disk not mounted there?" in refused[0]["what"]
    run(lab, "node3", "systemctl stop etcd; mount --bind /srv/etcd /var/lib/etcd")
    changes = document(fab(lab, "provision", "--json", inventory=path))["changes"]
    assert [change["resource"] for change in changes] == ["unit etcd.service"]
    is_as_planned(lab, fab, path, "123")


def test_145_a_member_that_lost_its_data_joins_anew_though_its_etcd_tries_to_start(bare_lab: Lab, fab: Fab) -> None:
    """etcd makes a database, finds that it is a member, and ends, again and again."""
    lab = bare_lab
    path = provisioned(lab, fab, "123")
    lose = "systemctl kill -s KILL etcd; systemctl stop etcd; rm -r /var/lib/etcd/data; systemctl start etcd"
    run(lab, "node3", f"{lose}; until [ $(systemctl show -p NRestarts --value etcd) -gt 0 ]; do sleep 0.1; done")
    run(lab, "node3", "[ -e /var/lib/etcd/data/member/snap/db ]")
    document(fab(lab, "provision", "--json", inventory=path), 3)
    document(fab(lab, "provision", "--json", "--yes", inventory=path))
    is_as_planned(lab, fab, path, "123")


@pytest.mark.whole
def test_145_of_two_members_one_is_replaced_when_the_other_goes_on_alone(bare_lab: Lab, fab: Fab) -> None:
    lab = bare_lab
    path = provisioned(lab, fab, "12")
    run(lab, "node1", "docker run -d --name user-node1 --network demo busybox sleep 9999")
    labs.renew(lab.name, "node2", say=lambda _: None)
    (refused,) = document(fab(lab, "provision", "--yes", "--json", inventory=path), 3)["problems"]
    assert refused["where"] == "node2 [replaced-member]"
    assert "no quorum: 2 of 2 members have to agree" in refused["what"]
    assert refused["advice"].endswith("if hosts are lost for good: fab recover --plan")
    document(fab(lab, "recover", "--yes", "--json", inventory=path))
    began = dockerds(lab, names("1"))
    document(fab(lab, "provision", "--json", inventory=path))
    is_as_planned(lab, fab, path, "12")
    assert dockerds(lab, names("1")) == began
    run(lab, "node2", "docker run --rm --network demo busybox ping -c 1 -W 5 user-node1")


def test_55_killed_before_the_third_of_three_members_has_begun(bare_lab: Lab, fab: Fab) -> None:
    """The others have a quorum. Nothing of the third one is lost: it begins."""
    lab = bare_lab
    path = inventory(lab, "members", names("123"))
    assert fab(lab, "provision", inventory=path, at=("node3: phase etcd", "before", "false")).returncode
    settings = "set -a; . /etc/etcd/etcd.env; export ETCDCTL_API=3"
    flags = "--cacert $ETCD_TRUSTED_CA_FILE --cert $ETCD_CERT_FILE --key $ETCD_KEY_FILE"
    health = f"etcdctl --endpoints $ETCD_ADVERTISE_CLIENT_URLS {flags} endpoint health"
    run(lab, "node1", f"{settings}; until {health} >/dev/null 2>&1; do sleep 0.1; done")
    document(fab(lab, "provision", "--json", inventory=path))
    is_as_planned(lab, fab, path, "123")
