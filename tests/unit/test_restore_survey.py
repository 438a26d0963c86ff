"""What a restore finds on the hosts before it changes one: what lives is not put aside unasked."""

from __future__ import annotations

import json
from base64 import b64encode
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any
from unittest.mock import MagicMock

import pytest
from cluster_sample import answering, changed, planned_sample, without_data

from provision import layout
from provision.backup import record
from provision.backup.record import MARK, Restore
from provision.core.recovery import Recovery
from provision.core.saved import Saved
from provision.core.situation import Situation
from provision.errors import ConsentMissing, PreflightRefused
from provision.facts import Facts, PathFact
from provision.planes.etcd.plane import PLANE
from provision.planes.etcd.restoring import Restoring
from provision.planes.etcd.saving import KEYS
from provision.recovery import generations
from provision.recovery import record as recovery
from provision.verbs import half_done, restore
from provision.verbs.restore_survey import Fit, Way, surveyed
from provision.verbs.session import Survey

RESTORE = Restore("c" * 64, "2026-11-27T15:16:49+00:00", "0123456789abcdef")
SAVED = Saved("etcd", "demo", RESTORE.moment, files={KEYS: b'{"v2": {}, "v3": {}}'}, restore=RESTORE.identity)
FIT = Fit(SAVED, PLANE, RESTORE, {})
NAMES = ("node1", "node2", "node3")


def with_text(path: str, text: str) -> Callable[[Facts], Facts]:
    """A node has this file."""
    there = PathFact("file", 0o600, "root:root", text=text)
    return lambda facts: replace(facts, paths={**facts.paths, path: there})


def with_networks(facts: Facts) -> Facts:
    return replace(facts, answers={**facts.answers, "store-networks": "demo\n"})


def everywhere(situation: Situation, change: Callable[[Facts], Facts], *names: str) -> Situation:
    for name in names or situation.facts:
        situation = changed(situation, name, change)
    return situation


def refused(situation: Situation, lost: Sequence[str] = (), fit: Fit = FIT) -> dict[str, str]:
    """Why the hosts are not restored over, by the host; empty if they are."""
    session = MagicMock(cluster=situation.cluster, plane=Restoring(SAVED))
    session.plane.local = MagicMock(side_effect=Reached)
    try:
        surveyed(session, fit, MagicMock(situation=situation, unreached=()), lost)
    except PreflightRefused as error:
        return {one.where: f"{one.what}; {one.advice}" for one in error.problems}
    except Reached:
        pass
    return {}


class Reached(Exception):
    """The obstacles lie behind."""


def test_303_a_restore_that_goes_on_asks_for_what_lives_where_it_has_not_begun(tmp_path: Path) -> None:
    """A host that was silent at first has the former cluster. What this restore has set up is not asked for."""
    living = everywhere(planned_sample(tmp_path), with_networks)
    assert set(refused(living)) == {"node1", "node2"}
    begun = changed(living, "node1", with_text(MARK, f"{RESTORE.identity} keys\n"))
    assert set(refused(begun)) == {"node2"}
    assert refused(begun, ["node2"]) == {}
    assert refused(everywhere(living, with_text(MARK, f"{RESTORE.identity}\n"))) == {}


def test_303_data_that_has_only_to_be_started_is_not_put_aside_unasked(tmp_path: Path) -> None:
    stopped = everywhere(planned_sample(tmp_path), answering(members=None, status=None))
    found = refused(stopped)
    assert set(found) == {"node1", "node2"}
    assert "only have to be started" in found["node1"]
    assert refused(stopped, ["node1", "node2"]) == {}
    assert refused(everywhere(stopped, without_data, "node1", "node2")) == {}


def test_303_a_store_that_began_anew_without_networks_is_no_cluster_that_lives(tmp_path: Path) -> None:
    assert refused(everywhere(planned_sample(tmp_path), with_keys())) == {}


def with_keys(v2: Sequence[str] = (), v3: Sequence[str] = ()) -> Callable[[Facts], Facts]:
    """A member has these keys at the top of the tree that Docker uses, and of etcd's third version."""
    at_top = json.dumps({"action": "get", "node": {"dir": True, "nodes": [{"key": key} for key in v2] or None}})
    others = json.dumps({"kvs": [{"key": b64encode(key.encode()).decode()} for key in v3]})
    told = {"store-networks": "", "store-keys": at_top, "store-keys-v3": others}
    return lambda facts: replace(facts, answers={**facts.answers, **told})


def test_348_a_store_that_does_not_list_its_networks_is_a_cluster_that_lives(tmp_path: Path) -> None:
    """Its member has a quorum, and was too slow for the list: what it has is not known."""
    there = everywhere(planned_sample(tmp_path), with_keys())
    slow = changed(there, "node1", without_networks)
    assert "with a quorum: networks that it does not list, and what was changed" in refused(slow)["node1"]
    assert set(refused(slow)) == {"node1"}
    assert refused(slow, ["node1"]) == {}
    stopped = everywhere(slow, answering(members=None, status=None), "node1", "node2")
    assert refused(everywhere(stopped, without_data, "node1", "node2")) == {}


def without_networks(facts: Facts) -> Facts:
    return replace(facts, answers={name: answer for name, answer in facts.answers.items() if name != "store-networks"})


def test_333_a_store_that_has_only_keys_of_users_is_a_cluster_that_lives(tmp_path: Path) -> None:
    there = everywhere(planned_sample(tmp_path), with_keys())
    assert "keys /mine" in refused(changed(there, "node1", with_keys(["/docker", "/mine"])))["node1"]
    found = refused(changed(there, "node2", with_keys(v3=["/overlay-provision/x", *"abcdefg"])))
    assert set(found) == {"node2"}
    assert "with a quorum: keys a, b, c, d, e and 2 more, and what was changed" in found["node2"]
    assert refused(everywhere(there, with_keys(["/mine"], ["a"])), NAMES) == {}
    assert refused(everywhere(there, with_keys(["/docker", "/overlay-provision"]))) == {}
    assert refused(everywhere(there, with_keys())) == {}
    silent = changed(there, "node1", lambda facts: replace(facts, answers=facts.answers | {"store-keys": ""}))
    assert "keys that it does not list" in refused(silent)["node1"]


def test_303_the_mark_of_another_restore_is_named(tmp_path: Path) -> None:
    there = changed(everywhere(planned_sample(tmp_path), with_keys()), "node3", marked)
    assert set(refused(there)) == {"node3"}
    assert refused(there, ["node3"]) == {}


def marked(facts: Facts) -> Facts:
    return replace(facts, values={**facts.values, "restore": "another keys"})


def test_353_the_mark_of_a_restore_that_has_ended_holds_nothing_up(tmp_path: Path) -> None:
    """Its node was away when it ended, or lost its power before the removal was on the disk."""
    there = changed(everywhere(planned_sample(tmp_path), with_keys()), "node3", marked)
    assert [one.where for one in half_done.problems(there.cluster, there.facts)] == ["node3"]
    at_work = generations.Generations().resources(there, there.cluster.node("node3"))
    assert not any(isinstance(one, generations.NoRecord) for one in at_work), "a restore would lose its own mark"
    ended = changed(there, "node1", with_text(layout.RECOVERIES, "another moment lost: \n"))
    assert half_done.problems(ended.cluster, ended.facts) == ()
    assert refused(ended) == {}
    phase = generations.Generations()
    (left_over, _) = phase.resources(ended, ended.cluster.node("node3"))
    difference = left_over.compare(ended.facts["node3"])
    assert difference
    assert layout.RESTORE in left_over.apply(difference)


def test_352_hosts_that_were_given_up_are_not_restored_over_unasked(tmp_path: Path) -> None:
    """Only the controller knows that they were, and they may be at work as their former cluster."""
    there = replace(everywhere(planned_sample(tmp_path), with_keys()), recoveries=("a moment lost: one 192.0.2.9",))
    assert set(refused(there)) == {"node1", "node2"}
    assert refused(there, ["node1", "node2"]) == {}


def test_352_the_controller_knows_of_a_restore_what_the_nodes_know(tmp_path: Path) -> None:
    there = planned_sample(tmp_path)
    recovery.keep_list(there.cluster, b"a moment lost: one 192.0.2.9\n")
    record.begin(there.cluster, RESTORE)
    remotes = MagicMock()
    restore._end(session_of(there), Way(FIT, there, (), (), (), ()), remotes)
    assert [one.split()[0] for one in recovery.listed(there.cluster)] == ["a", RESTORE.identity]


def test_303_what_else_is_under_way_on_a_host_is_refused(tmp_path: Path) -> None:
    there = planned_sample(tmp_path)
    decided = Recovery(there.cluster.node("node2"), (), (), "a1", "2026-01-02T03:04:05Z")
    begun = changed(there, "node2", with_text(layout.RECOVERY, recovery.text(decided)))
    begun = changed(begun, "node2", with_text(layout.RECOVERIES, f"{decided.line}\n"))
    assert set(refused(begun, NAMES)) == {"node2"}
    divided = changed(
        changed(there, "node1", with_text(layout.RECOVERIES, "a\n")), "node2", with_text(layout.RECOVERIES, "b\n")
    )
    assert set(refused(divided)) == {"cluster"}
    assert refused(divided, NAMES) == {}


def session_of(situation: Situation) -> Any:
    plane = MagicMock(local=lambda _: (situation.local, ()), supplied=lambda there, _: (there, ()))
    made = MagicMock(cluster=situation.cluster, plane=plane)
    made.progress.times = {}
    survey = Survey(MagicMock(), situation, (), ())
    made.partial_survey.return_value.__enter__.return_value = survey
    return made


def test_308_a_restore_that_was_killed_at_its_end_only_ends(tmp_path: Path) -> None:
    """Some hosts have lost their mark. Nothing is put aside, and a host that it did not set up stays as it is."""
    there = planned_sample(tmp_path)
    fit = replace(FIT, restore=replace(RESTORE, restored=("node1", "node2")))
    way = surveyed(session_of(there), fit, MagicMock(situation=there, unreached=()), ())
    assert way.stages == ()
    assert [node.name for node in way.situation.cluster.nodes] == ["node1", "node2"]


def test_308_the_controllers_record_says_first_that_the_cluster_is_set_up(tmp_path: Path) -> None:
    there = planned_sample(tmp_path)
    record.begin(there.cluster, RESTORE)
    remotes = MagicMock()
    remotes.each.side_effect = RuntimeError("killed")
    way = Way(FIT, there, (), (), (), ())
    with pytest.raises(RuntimeError):
        restore._end(session_of(there), way, remotes)
    known = record.under_way(there.cluster)
    assert known
    assert known.restored == NAMES
    remotes.each.side_effect = None
    restore._end(session_of(there), way, remotes)
    assert record.under_way(there.cluster) is None


def test_a_lost_host_takes_no_part_in_the_proof(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    there, asked = planned_sample(tmp_path), []
    left = replace(there, cluster=replace(there.cluster, nodes=there.cluster.nodes[:2]))
    monkeypatch.setattr(restore.proof, "proven", lambda cluster, *_: asked.append(cluster) or MagicMock())
    restore._back(session_of(there), Way(FIT, left, (), (), (), ()), MagicMock())
    assert asked == [left.cluster]


def test_303_the_hosts_are_looked_at_again_under_the_lock(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """After the yes: what is given up then, and was not named before, needs another one."""
    there = planned_sample(tmp_path)
    session, given_up, locked = session_of(there), iter([(), ("give up node1",)]), []
    lock = session.partial_survey.return_value.__enter__.return_value.remotes.lock.return_value
    lock.__enter__.side_effect = lambda *_: locked.append("locked")
    lock.__exit__.return_value = False
    session.agreed.side_effect = lambda question: locked.append(question) or len(locked) == 1
    monkeypatch.setattr(restore.destination, "read", lambda _: b"")
    monkeypatch.setattr(restore.archive, "read", lambda _: SAVED)
    monkeypatch.setattr(restore.restore_survey, "fitting", lambda *_: FIT)
    monkeypatch.setattr(restore.gathering, "gather", lambda *_: there)
    monkeypatch.setattr(restore.restore_survey, "surveyed", lambda *_: Way(FIT, there, (), (), next(given_up), ()))
    with pytest.raises(ConsentMissing, match="give up node1"):
        restore.run_restore(session, file="f", plan=False, yes=False, lost=())
    assert [one == "locked" or "give up" in one for one in locked] == [False, True, True]
