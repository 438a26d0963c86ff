"""What a backup has while hosts are off, and when there is none."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any
from unittest.mock import MagicMock

import pytest
from cluster_sample import answering, changed, planned_sample, with_lists

from provision.backup import archive
from provision.core.situation import Situation
from provision.errors import ConnectionFailed, PreflightRefused
from provision.planes.etcd.plane import PLANE
from provision.planes.etcd.saving import KEYS
from provision.verbs.backup import run_backup


def session(situation: Situation, folder: Path) -> Any:
    """A session whose survey finds this situation, and whose store has no key."""
    (folder / "inventory.yml").write_text("cluster: demo\n")
    made = MagicMock(cluster=situation.cluster, plane=PLANE, path=folder / "inventory.yml")
    made.progress.times = {}
    survey = made.partial_survey.return_value.__enter__.return_value
    survey.situation, survey.unreached = situation, ()
    survey.remotes.each.return_value = dict.fromkeys(situation.facts, "root\t/var/lib/docker\nrecorded\n")
    opened = made.coordinator.return_value.__enter__.return_value
    opened.save.return_value = {KEYS: json.dumps({"v2": {}, "v3": {}}).encode()}
    return made


def only(situation: Situation, *names: str) -> Situation:
    """The situation in which only these nodes answer."""
    return replace(situation, facts={name: situation.facts[name] for name in names})


def test_310_a_node_that_is_off_is_missing_in_the_backup_and_named(tmp_path: Path) -> None:
    """In the report, in a warning that says what to do, and in the manifest. The others' containers are saved."""
    situation, file = only(planned_sample(tmp_path), "node1", "node2"), tmp_path / "cluster.tar.gz"
    made = session(situation, tmp_path)
    report = run_backup(made, file=str(file), stream=None)
    assert "without what containers on node3 should have" in report.summary
    assert [one.args[0] for one in made.progress.say.call_args_list] == ["node3"]
    assert [(one.where, one.advice.partition(",")[0]) for one in report.warnings] == [("node3", "bring it back")]
    saved = archive.read(file.read_bytes())
    assert saved.missing == ("node3",)
    assert set(saved.versions) == {"overlay-provision", "Docker on node1", "Docker on node2"}


def test_354_there_is_no_backup_of_one_of_two_clusters_or_of_old_data(tmp_path: Path) -> None:
    situation, file = planned_sample(tmp_path), tmp_path / "cluster.tar.gz"
    divided = with_lists(situation, node1="a", node2="b")
    outlived = replace(situation, recoveries=("a moment lost: one 192.0.2.9",))
    for there, words in ((divided, "two clusters"), (outlived, "given up in the recovery of moment")):
        with pytest.raises(PreflightRefused, match=words):
            run_backup(session(there, tmp_path), file=str(file), stream=None)
    assert not file.exists()


def test_354_a_backup_names_hosts_that_have_returned(tmp_path: Path) -> None:
    situation = with_lists(planned_sample(tmp_path), node1="a", node3="a")
    report = run_backup(session(situation, tmp_path), file=str(tmp_path / "cluster.tar.gz"), stream=None)
    assert [one.where for one in report.warnings] == ["node2"]


def test_310_where_nobody_answers_or_the_store_has_no_quorum_there_is_no_backup(tmp_path: Path) -> None:
    situation, file = planned_sample(tmp_path), tmp_path / "cluster.tar.gz"
    alone = changed(only(situation, "node1"), "node1", answering(status={"leader": 0}))
    for there, error in ((only(situation), ConnectionFailed), (alone, PreflightRefused)):
        with pytest.raises(error):
            run_backup(session(there, tmp_path), file=str(file), stream=None)
    assert not file.exists()
