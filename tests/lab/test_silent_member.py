"""A member of the store whose host falls silent: watches that wait there hear nothing, and begin anew elsewhere.

A link is cut for that. A power cut of the lab is not silent: this machine's kernel closes the host's connections.
"""

from __future__ import annotations

import pytest
from conftest import Fab, MakeLab
from invariants import await_so
from leaving import inventory, names
from observe import document, run

from provision import lab as labs
from provision.lab import Lab

RESTART = "systemctl restart docker; until [ -e /run/overlay-provision/docker.joined ]; do sleep 0.1; done"


@pytest.fixture(scope="module")
def lab(make_lab: MakeLab) -> Lab:
    return make_lab(3)


def watched_at(lab: Lab, node: str) -> set[str]:
    """The other members at which a host's dockerd has connections."""
    script = 'ss -Htnp state established dport = :2379 | awk \'/dockerd/ { sub(":.*", "", $4); print $4 }\''
    found = set(run(lab, node, script).split())
    return {other.name for other in lab.nodes if other.address in found and other.name != node}


def test_154_new_names_are_known_though_the_member_at_which_dockerd_watched_is_silent(lab: Lab, fab: Fab) -> None:
    document(fab(lab, "provision", "--json", inventory=inventory(lab, "three", names("123"))))
    while not (there := watched_at(lab, "node1")):  # dockerd may have chosen its own member alone
        run(lab, "node1", RESTART)
        await_so(lab, "node1", "docker exec overlay-keeper-demo-node1 ping -c 1 -W 1 overlay-keeper-demo-node2")
    silent = min(there)
    (other,) = {"node2", "node3"} - {silent}
    labs.cut_link(lab.name, silent)
    run(lab, other, "docker run -d --name late --network demo busybox sleep 9999")
    await_so(lab, "node1", "docker exec overlay-keeper-demo-node1 ping -c 1 -W 1 late >/dev/null 2>&1")
    await_so(lab, "node1", "journalctl -u overlay-mend -o cat | grep -q '^dropped: connections to the store at '")
