"""A second control plane, of the tests' own, passes through every verb: only a plane's own code depends on etcd.

The plane is chosen by the hosts' Docker version, and recorded.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from observe import document, manifest, run
from other_plane import ASKED

from provision.lab import Lab

HERE = Path(__file__).parent


def other(lab: Lab, *words: str, code: int = 0) -> dict[str, Any]:
    """Run a verb with that plane; return its document."""
    command = [sys.executable, str(HERE / "other_plane.py"), "-i", str(lab.inventory), *words, "--json"]
    done = subprocess.run(
        command,
        cwd=HERE.parents[1],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        start_new_session=True,
        check=False,
    )
    return document(done, code)


def questions(lab: Lab) -> int:
    """Count how often a node was asked the question of the plane that is not chosen."""
    return len(run(lab, "node1", f"cat {ASKED}").splitlines())


@pytest.fixture(scope="module")
def before(lab: Lab) -> dict[str, list[str]]:
    return {node.name: manifest(lab, node.name) for node in lab.nodes}


def test_a_plane_of_its_own_is_planned_and_needs_its_own_yes(lab: Lab, before: dict[str, list[str]]) -> None:
    plan = other(lab, "plan", "--exit-code", code=7)
    assert [(change["where"], change["resource"]) for change in plan["changes"]] == [
        ("node1", "file /etc/other-plane"),
        ("node2", "file /etc/other-plane"),
        ("cluster", "greeting"),
    ]
    assert "afterwards nothing more" in [warning["what"] for warning in plan["warnings"]]
    assert "this run would greet" in other(lab, "provision", code=3)["problems"][0]["what"]
    assert {node.name: manifest(lab, node.name) for node in lab.nodes} == before
    assert not (lab.folder / ".overlay").exists()


@pytest.mark.usefixtures("before")
def test_it_is_provisioned_proven_and_shown(lab: Lab) -> None:
    asked = questions(lab)
    assert asked > 0
    made = other(lab, "provision", "--yes")
    assert {outcome["check"] for outcome in made["outcomes"]} == {"other/is-marked"}
    assert (lab.folder / ".overlay" / lab.name / "control-plane").read_text() == "other\n"
    assert questions(lab) == asked + 1
    assert other(lab, "provision")["changes"] == []
    assert {outcome["status"] for outcome in other(lab, "verify")["outcomes"]} == {"passed"}
    assert {"release", "not-taken"} <= {outcome["check"] for outcome in other(lab, "preflight")["outcomes"]}
    status = other(lab, "status")
    assert [row["greeting"].strip() for row in status["greetings"]] == ["hello", "hello"]
    assert [(row["daemon"], row["answers"]) for row in status["nodes"]] == [("at rest", "7")] * 2
    assert [row["port"] for row in status["ports"]] == ["7001/tcp"]
    assert questions(lab) == asked + 1
    run(lab, "node1", "echo gone >/etc/other-plane")
    assert [o["where"] for o in other(lab, "verify", code=5)["outcomes"] if o["status"] == "failed"] == [
        "cluster",
        "node1",
    ]


def test_its_reset_puts_the_hosts_back(lab: Lab, before: dict[str, list[str]]) -> None:
    other(lab, "reset", "--yes")
    assert {node.name: manifest(lab, node.name) for node in lab.nodes} == before
