"""Hosts that are no nodes any more and have endpoints in the store: these endpoints are freed when the host is gone."""

from __future__ import annotations

import signal
from pathlib import Path

import pytest
from conftest import Fab, MakeLab
from invariants import await_so
from leaving import inventory
from observe import document, run

from provision import lab as labs
from provision.lab import Lab

#: Seconds until every host reaches a container that takes such a name or address.
REACHED = 20
START = (
    "docker run -d --name {name} --network demo --ip 10.99.0.{number} --network-alias alias-{name} busybox sleep 9999"
)
#: In a container: ping every target until it answers.
_REACH = """
end=$(($(date +%s) + {seconds}))
for target in {targets}; do
    until ping -c 1 -W 1 "$target" >/dev/null 2>&1; do
        [ "$(date +%s)" -lt "$end" ] || {{ echo "$target does not answer"; exit 1; }}
    done
done
"""


@pytest.fixture(scope="module")
def lab(make_lab: MakeLab) -> Lab:
    return make_lab(3)


def started(lab: Lab, node: str, **numbers: int) -> None:
    """Start containers with these names, each with an alias and the address of its number."""
    for name, number in numbers.items():
        run(lab, node, START.format(name=name, number=number))


def reached(lab: Lab, node: str, seconds: int = REACHED, **numbers: int) -> None:
    """Each of these containers answers a node's own one, by name, by alias and at its address."""
    targets = " ".join(f"{name} alias-{name} 10.99.0.{number}" for name, number in numbers.items())
    run(lab, node, f"docker exec user-{node} sh -c '{_REACH.format(seconds=seconds, targets=targets)}'")


def freed(report: dict[str, list[dict[str, str]]]) -> list[str]:
    return [change["note"] for change in report["changes"] if change["action"] == "free"]


def users(lab: Lab) -> None:
    for node in ("node1", "node2"):
        run(lab, node, f"docker run -d --name user-{node} --network demo busybox sleep 9999")


def provisioned(lab: Lab, fab: Fab, *, firewall: bool) -> Path:
    """Provision three hosts; return the inventory that names two of them."""
    old = inventory(lab, "before", ("node1", "node2", "node3"), firewall=firewall)
    document(fab(lab, "provision", "--json", inventory=old))
    return inventory(lab, "after", ("node1", "node2"), firewall=firewall)


def test_134_146_what_a_host_held_that_is_gone_for_good_is_free_again(bare_lab: Lab, fab: Fab) -> None:
    """One host has its rows from gossip. The other one's dockerd was restarted, and has asked for them."""
    lab = bare_lab
    new = provisioned(lab, fab, firewall=True)
    run(lab, "node3", "docker network create -d overlay --subnet 10.97.0.0/24 theirs")
    run(lab, "node3", "docker run -d --name alone --network theirs busybox sleep 9999")
    started(lab, "node3", web=201, db=202)
    run(lab, "node1", "systemctl restart docker")
    await_so(lab, "node1", "[ -e /run/overlay-provision/docker.joined ]")
    users(lab)
    for node in ("node1", "node2"):
        reached(lab, node, 60, web=201, db=202)
    labs.power_cut(lab.name, "node3")
    afterwards = document(fab(lab, "plan", "--json", inventory=new))["afterwards"]
    planned = {row["what"]: row["note"] for row in afterwards}
    told = "alone on theirs, db on demo, overlay-keeper-demo-node3 on demo, web on demo"
    assert planned[f"endpoints of {lab.nodes[2].address}"] == told
    step = ("node1: freeing the endpoint of alone", "after", "die")
    assert fab(lab, "provision", "--yes", inventory=new, at=step).returncode == -signal.SIGKILL
    assert freed(document(fab(lab, "provision", "--json", "--yes", inventory=new))) == [told.partition(", ")[2]]
    started(lab, "node1", web=201)
    started(lab, "node2", db=202)
    for node in ("node1", "node2"):
        reached(lab, node, web=201, db=202)
    run(lab, "node1", "journalctl -u overlay-mend -o cat | grep 'mended: db'")
    run(lab, "node1", "docker network rm theirs")
    assert document(fab(lab, "provision", "--json", inventory=new))["changes"] == []


@pytest.mark.whole
def test_147_a_host_that_lives_behind_an_entry_that_is_gone_keeps_what_it_has_until_it_is_off(
    bare_lab: Lab, fab: Fab
) -> None:
    lab = bare_lab
    new = provisioned(lab, fab, firewall=False)
    started(lab, "node3", web=201)
    users(lab)
    made = document(fab(lab, "provision", "--json", "--yes", inventory=new))
    assert freed(made) == []
    assert "web on demo" in str(made["warnings"])
    reached(lab, "node1", web=201)
    run(lab, "node1", f"! {START.format(name='web', number=203)}; docker rm -f web")
    again = document(fab(lab, "provision", "--json", inventory=new))
    assert again["changes"] == []
    assert f"{lab.nodes[2].address} is no node" in str(again["warnings"])
    labs.power_cut(lab.name, "node3")
    refused = document(fab(lab, "provision", "--json", inventory=new), 3)["problems"][0]["what"]
    assert "which is no node and does not answer (web on demo)" in refused
    document(fab(lab, "provision", "--json", "--yes", inventory=new))
    started(lab, "node2", web=201)
    for node in ("node1", "node2"):
        reached(lab, node, web=201)
    assert document(fab(lab, "provision", "--json", inventory=new))["changes"] == []
