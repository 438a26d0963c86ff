"""A network that the inventory no longer has, in any control plane: kept while somebody is on it, then removed."""

from __future__ import annotations

from conftest import Fab
from observe import document, run

from provision.lab import Lab

DEMO = "    demo: {subnet: 10.99.0.0/24}\n"
MORE = f"{DEMO}    more: {{subnet: 10.98.0.0/24}}\n"


def assert_kept_while_used(lab: Lab, fab: Fab) -> None:
    """Add a network to a cluster at work and drop it again, with a stopped container of a user on it, and without."""
    two = lab.folder / "two.yml"
    two.write_text(lab.inventory.read_text().replace(DEMO, MORE))
    document(fab(lab, "provision", "--json", inventory=two))
    run(lab, "node2", "docker run -d --name theirs --network more busybox sleep 600 && docker stop -t 0 theirs")
    (problem,) = document(fab(lab, "provision", "--json"), 3)["problems"]
    assert problem["what"].endswith("the inventory does not have it, but is in use by theirs (stopped)")
    told = document(fab(lab, "reset", "--yes", "--json"), 3)["problems"]
    assert "container theirs (stopped) is on network more" in [one["what"] for one in told]
    run(lab, "node2", "docker start theirs && docker rm -f theirs")
    changes = document(fab(lab, "provision", "--json"))["changes"]
    assert [(one["action"], one["resource"]) for one in changes] == [("remove", "network more")]
