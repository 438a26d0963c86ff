"""The command line on bare hosts: what it refuses, and the exit codes."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from conftest import Fab

from provision.lab import Lab

pytestmark = pytest.mark.lab


def test_a_plan_on_bare_hosts_is_pending_and_changes_nothing(lab: Lab, fab: Fab) -> None:
    first, second = (fab(lab, "plan", "--exit-code", "--json") for _ in range(2))
    assert (first.returncode, second.returncode) == (7, 7), first.stderr
    plans = [json.loads(result.stdout)["changes"] for result in (first, second)]
    assert plans[0] == plans[1]
    assert {change["where"] for change in plans[0]} == {"controller", "node1", "node2", "cluster"}


def test_a_missing_inventory_is_a_mistake_of_usage(lab: Lab, fab: Fab, tmp_path: Path) -> None:
    result = fab(lab, "plan", inventory=tmp_path / "none.yml")
    assert result.returncode == 2
    assert "Traceback" not in result.stderr


def test_an_unknown_verb_is_fabrics_own_error(lab: Lab, fab: Fab) -> None:
    assert fab(lab, "provisoin").returncode == 1


def test_215_hosts_that_were_never_provisioned_are_said_to_be_that_and_nothing_more(lab: Lab, fab: Fab) -> None:
    for verb in ("status", "verify"):
        result = fab(lab, verb)
        assert result.returncode == 5, result.stderr
        assert result.stdout.splitlines()[-1] == "not provisioned yet: fab provision"
        assert len(result.stdout.splitlines()) < 40
