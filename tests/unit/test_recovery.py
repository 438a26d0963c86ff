"""The loss of a quorum as values: what may be done, who was away, what is recorded, who is shut out."""

from __future__ import annotations

import json
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest.mock import MagicMock, patch

import pytest
from cluster_sample import (
    answering,
    bare_situation,
    changed,
    lines,
    planned,
    planned_sample,
    store_member,
    with_lists,
)
from handshakes import accepts
from pki_sample import node, sample

from provision import gathering, layout
from provision.core.recovery import LostHost, Recovery, Standing
from provision.core.situation import Situation
from provision.engine import make_plan
from provision.errors import PreflightRefused
from provision.facts import Facts, PathFact, Unit
from provision.inventory.model import Cluster
from provision.pki import certificates
from provision.planes.etcd import paths, pki
from provision.planes.etcd import recovery as etcd_recovery
from provision.planes.etcd.local import local, with_identity
from provision.planes.etcd.phases.etcd import Etcd
from provision.planes.etcd.phases.pki import docker_places, etcd_places
from provision.planes.etcd.pki import Authority, Identity, RotationTarget, Step
from provision.planes.etcd.plane import PLANE
from provision.planes.etcd.strangers import Endpoint
from provision.recovery import generations, outlook, record
from provision.remote import Login, Remotes
from provision.remote.connection import Gateways
from provision.verbs import half_done
from provision.verbs.recover import Decision, _survey, agreed, nothing_to_do
from provision.verbs.session import Survey

FIVE = tuple(node(f"node{number}", f"192.0.2.{number}") for number in range(1, 6))
WORKER = node("node6", "192.0.2.6", member=False)


def looked_at(tmp_path: Path, members: str, answering: str, *, worker: bool = True) -> outlook.Outlook:
    """Members by their numbers, and those of them that answer, without a quorum. A worker answers, or does not."""
    there = tuple(FIVE[int(number) - 1] for number in members)
    cluster = replace(sample(tmp_path), nodes=(*there, WORKER))
    listed = tuple(one.address for one in there)
    standings = [Standing(FIVE[int(one) - 1], holds_data=True, members=listed, progress=int(one)) for one in answering]
    return outlook.outlook(cluster, [*standings, *([Standing(WORKER)] if worker else [])])


def unreached(found: outlook.Outlook) -> set[str]:
    return {one.name for one in found.cluster.nodes} - {one.node.name for one in found.standings}


# What may be done


@pytest.mark.parametrize(
    ("members", "left", "needed"),
    [
        ("12", "1", []),
        ("12", "2", []),
        ("123", "1", ["node2", "node3"]),
        ("1234", "12", []),
        ("1234", "1", ["node2", "node3", "node4"]),
        ("12345", "12", ["node3", "node4", "node5"]),
        ("12345", "5", ["node1", "node2", "node3", "node4"]),
    ],
)
@pytest.mark.parametrize("worker", [True, False])
def test_281_silent_members_that_could_be_a_majority_have_to_be_named_and_each_silent_host_that_is_no_member(
    tmp_path: Path, members: str, left: str, needed: list[str], worker: bool
) -> None:
    """A host that is no member makes no majority. Its containers may be at work."""
    found = looked_at(tmp_path, members, left, worker=worker)
    problems = outlook.obstacles(found, [], unreached(found))
    silent = [] if worker else ["node6"]
    flags = [" ".join(f"--lost {name}" for name in needed), *(f"--lost {name}" for name in silent)]
    assert [problem.advice.partition("add ")[2] for problem in problems] == list(filter(None, flags))
    assert outlook.obstacles(found, [*needed, *silent], unreached(found)) == ()


def test_281_a_host_that_answers_is_not_lost_and_one_that_nobody_knows_is_a_mistake(tmp_path: Path) -> None:
    found = looked_at(tmp_path, "1234", "12")
    wrong = outlook.obstacles(found, ["node1", "nobody", "node3"], unreached(found))
    assert [(one.where, one.what) for one in wrong] == [
        ("node1", "this host answers, and is not lost"),
        (str(found.cluster.path), "--lost nobody: no node has this name"),
    ]


def test_281_a_member_that_the_inventory_does_not_name_is_named_by_its_address(tmp_path: Path) -> None:
    found = replace(looked_at(tmp_path, "123", "1"), cluster=replace(sample(tmp_path), nodes=FIVE[:1]))
    (problem,) = outlook.obstacles(found, [], ())
    assert problem.advice.endswith("--lost 192.0.2.2 --lost 192.0.2.3")
    assert outlook.obstacles(found, ["192.0.2.2", "192.0.2.3"], ()) == ()


def test_281_a_member_with_an_empty_disk_is_lost_though_its_host_answers(tmp_path: Path) -> None:
    found = looked_at(tmp_path, "12", "1")
    found = replace(found, standings=(*found.standings, Standing(FIVE[1])))
    assert (found.silent, found.emptied) == ((), ("192.0.2.2",))
    assert outlook.obstacles(found, [], ()) == ()


def test_281_the_member_that_has_seen_most_is_kept_unless_another_is_named(tmp_path: Path) -> None:
    found = looked_at(tmp_path, "1234", "12")
    assert [outlook.chosen(found, keep) for keep in ("", "node1", "node3")] == [FIVE[1], FIVE[0], None]


def test_339_members_that_do_not_list_each_other_are_no_majority_and_a_person_chooses_one(tmp_path: Path) -> None:
    """node3 was removed while it was away, node4 has its place; now node1 and node2 are lost."""
    found = looked_at(tmp_path, "1234", "34")
    lists = ("123", "124")
    members = [tuple(FIVE[int(number) - 1].address for number in one) for one in lists]
    apart = [replace(one, members=there) for one, there in zip(found.standings, members, strict=False)]
    found = outlook.outlook(found.cluster, apart)
    (problem, *_) = outlook.obstacles(found, ["node1", "node2", "node6"], unreached(found))
    assert problem.what.startswith("node3, node4: not all of them list the others")
    assert "--keep NODE" in problem.advice
    assert outlook.obstacles(found, ["node1", "node2", "node6"], unreached(found), "node4") == ()


@pytest.mark.parametrize(("members", "left"), [("12", "12"), ("123", "13"), ("12345", "145"), ("12345", "12345")])
def test_281_a_majority_that_can_come_back_is_not_given_up(tmp_path: Path, members: str, left: str) -> None:
    """Unless a node is named to go on with."""
    found = looked_at(tmp_path, members, left)
    (problem,) = outlook.obstacles(found, [], unreached(found))
    assert "these hosts answer and have their data, and are a majority" in problem.what
    assert outlook.obstacles(found, [], unreached(found), "node1") == ()


@pytest.mark.parametrize(
    ("members", "left", "settled"),
    [("12", "1", False), ("12", "12", True), ("123", "1", False), ("123", "12", True), ("1234", "12", False)],
)
def test_281_a_quorum_is_doubted_where_too_few_members_answer_for_one(
    tmp_path: Path, members: str, left: str, settled: bool
) -> None:
    """A leader is known for some seconds after the others are lost. Without one, nothing is doubted."""
    found = looked_at(tmp_path, members, left)
    claims = tuple(replace(one, has_quorum=one.holds_data) for one in found.standings)
    assert replace(found, standings=claims).is_settled is settled
    assert found.is_settled


@pytest.mark.parametrize(
    ("members", "silent", "told"),
    [("12", "2", True), ("12", "", False), ("12", "12", False), ("123", "3", False), ("123", "23", True)],
)
def test_281_members_that_are_too_few_without_the_silent_ones_are_told_of_recover(
    tmp_path: Path, members: str, silent: str, told: bool
) -> None:
    """Where all are silent, the controller is cut off."""
    cluster = looked_at(tmp_path, members, "").cluster
    problems = outlook.without(cluster, {f"node{number}" for number in silent} | {"node6"})
    assert [problem.advice.endswith("fab recover --plan") for problem in problems] == ([True] if told else [])


@pytest.mark.parametrize("gone", [("node2",), ()])
def test_281_a_store_without_a_quorum_says_how_to_recover_where_a_host_is_silent(
    tmp_path: Path, gone: tuple[str, ...]
) -> None:
    """etcd runs on all hosts that answer: there is nothing that provision would start."""
    situation = left(planned_sample(tmp_path), *gone)
    (problem,) = PLANE.outage(replace(situation, cluster=sample(tmp_path)))
    assert problem.advice.endswith("if hosts are lost for good: fab recover --plan")


def test_273_a_host_that_was_given_up_is_kept_only_where_it_is_named(tmp_path: Path) -> None:
    """However much it has seen. It makes no majority with others that were given up."""
    found = replace(looked_at(tmp_path, "123", "23"), returned={"node3": "2026-01-02T03:04:05Z"})
    assert [outlook.chosen(found, keep) for keep in ("", "node3")] == [FIVE[1], FIVE[2]]
    assert outlook.obstacles(found, [], unreached(found)) == ()
    both = replace(found, returned={"node2": "then", "node3": "then"})
    assert outlook.chosen(both, "") is None
    problem = outlook.unchosen(both, "")
    assert "node2 was given up in the recovery of then" in problem.what
    assert "--keep NODE" in problem.advice


def test_273_the_controller_knows_of_a_recovery_when_the_node_that_was_kept_is_gone(tmp_path: Path) -> None:
    situation = with_lists(planned_sample(tmp_path), node2="a")
    decided = recovery(situation.cluster, "node2")
    record.keep_list(situation.cluster, generations.with_recovery(situation.facts["node2"], decided))
    known = replace(situation, recoveries=record.listed(situation.cluster))
    assert generations.returned(PLANE, situation) == ("node1",)
    assert generations.returned(PLANE, known) == ("node1", "node2")
    assert generations.moment(known, "node2") == decided.moment
    assert generations.outlived(PLANE, situation) == ()
    (problem,) = generations.outlived(PLANE, known)
    assert "node1, node2" in problem.what
    with pytest.raises(PreflightRefused, match="given up"):
        generations.refuse(PLANE, known)
    elsewhere = replace(situation, recoveries=("another line", "and one more"))
    assert generations.all_lines(elsewhere) == generations.all_lines(situation)
    record.forget(situation.cluster)
    assert record.listed(situation.cluster) == ()


def test_273_recover_says_who_has_returned_where_there_is_nothing_to_recover(tmp_path: Path) -> None:
    situation = with_lists(planned_sample(tmp_path), node1="ab", node2="a")
    session: Any = SimpleNamespace(cluster=situation.cluster, plane=PLANE)
    survey = Survey(Remotes((), Gateways(Login())), situation, (), ())
    found = outlook.outlook(situation.cluster, PLANE.standings(situation))
    report = nothing_to_do(session, found, survey, plan=True)
    assert [one.where for one in report.warnings] == ["node2"]
    assert "given up in the recovery of momentb" in report.warnings[0].what


# The record


def recovery(cluster: Cluster, *lost: str, identity: str = "ab12") -> Recovery:
    gone = tuple(LostHost(one.name, one.address, ("web",)) for one in cluster.nodes if one.name in lost)
    keep = next(one for one in cluster.nodes if one.name not in lost)
    return Recovery(keep, gone, (), identity, "2026-01-02T03:04:05Z")


def noted(decided: Recovery, *, lines: str = "", content: str | None = None) -> Facts:
    """What a node shows that has the record of a recovery, and these lines after that of the recovery."""
    shown = text(record.text(decided) if content is None else content)
    return Facts(paths={layout.RECOVERY: shown, layout.RECOVERIES: text(f"{decided.line}\n{lines}")})


def test_276_the_record_is_read_as_it_was_written_by_the_controller_and_from_a_node(tmp_path: Path) -> None:
    cluster = sample(tmp_path)
    decided = recovery(cluster, "node2")
    assert record.under_way(cluster, {}) is None
    record.begin(cluster, decided)
    with pytest.raises(PreflightRefused, match=r"a recovery is under way(.|\n)*fab recover ends it"):
        half_done.refuse(cluster)
    assert record.under_way(cluster, {"node1": noted(decided, content="{")}) == decided
    record.end(cluster)
    half_done.refuse(cluster)
    there = {"node1": noted(decided)}
    assert record.under_way(cluster, there) == decided
    assert record.left_over(cluster, there) == ()
    with pytest.raises(PreflightRefused, match="best from the controller that began it"):
        half_done.refuse(cluster, there)


def test_276_a_record_counts_only_on_the_node_that_is_kept_and_while_no_later_recovery_is_known(tmp_path: Path) -> None:
    """A host that was left when a recovery began, and away when it ended, comes back with the record."""
    cluster = sample(tmp_path)
    decided = recovery(cluster, "node2")
    later = text(f"{decided.line}\ncd34 later lost: one 192.0.2.9\n")
    for there in (
        {"node3": noted(decided)},
        {"node1": Facts(paths={layout.RECOVERIES: text(decided.line)}), "node3": noted(decided)},
        {"node1": noted(decided, lines="cd34 later lost: one 192.0.2.9\n")},
        {"node1": noted(decided), "node3": Facts(paths={layout.RECOVERIES: later})},
        {"node1": Facts(paths={layout.RECOVERY: text(record.text(decided))})},
    ):
        assert record.under_way(cluster, there) is None
        half_done.refuse(cluster, there)
        holding = [name for name, facts in there.items() if layout.RECOVERY in facts.paths]
        assert [one.where for one in record.left_over(cluster, there)] == holding
    record.begin(cluster, decided)
    assert record.under_way(cluster, {"node1": Facts(paths={layout.RECOVERIES: text(decided.line)})}) is None


@pytest.mark.parametrize("content", ["", "{", "[]", '{"keep": "node1"}', '{"keep": "node9", "lost": [], "others": []}'])
def test_276_a_damaged_record_is_a_warning(tmp_path: Path, content: str) -> None:
    cluster = sample(tmp_path)
    there = {"node1": noted(recovery(cluster, "node2"), content=content)}
    half_done.refuse(cluster, there)
    assert record.under_way(cluster, there) is None
    (problem,) = record.left_over(cluster, there)
    assert (problem.where, "counts for nothing" in problem.what) == ("node1", True)


def test_276_provision_removes_a_record_that_is_left_over(tmp_path: Path) -> None:
    situation = planned_sample(tmp_path)
    assert "node3: remove record of a recovery or a restore" not in lines(make_plan(PLANE, situation))
    facts = {**situation.facts}
    facts["node3"] = replace(facts["node3"], paths={**facts["node3"].paths, layout.RECOVERY: text("{")})
    assert "node3: remove record of a recovery or a restore" in lines(make_plan(PLANE, replace(situation, facts=facts)))


def test_276_a_recovery_that_has_begun_asks_again_where_others_are_back_or_have_a_quorum(tmp_path: Path) -> None:
    found = looked_at(tmp_path, "123", "123")
    begun = Recovery(FIVE[0], (LostHost("node2", "192.0.2.2"), LostHost("gone", "192.0.2.3")))
    assert outlook.doubts(found, begun, {"node1"}) == ()
    (said,) = outlook.doubts(found, begun, {"node1", "node2", "node3"})
    assert said.startswith("node2, node3: back with its data")
    leading = tuple(replace(one, has_quorum=one.node in FIVE[:2]) for one in found.standings)
    (said,) = outlook.doubts(replace(found, standings=leading), begun, {"node1"})
    assert said.startswith("node2: at work with a quorum")


def test_276_a_yes_is_to_what_was_shown(tmp_path: Path) -> None:
    """Who is kept, who is lost, whose data is put aside. The recovery has its identity from what was shown."""
    situation = planned_sample(tmp_path)
    decided = recovery(situation.cluster, "node2")
    shown = Decision(looked_at(tmp_path, "12", "1"), decided, situation, (), False)
    now = replace(situation, recorded=True)
    assert agreed(shown, replace(shown, recovery=replace(decided, identity="cd34"), situation=now)) is now
    for other in (
        None,
        replace(shown, recovery=replace(decided, keep=FIVE[1])),
        replace(shown, recovery=replace(decided, lost=())),
        replace(shown, recovery=replace(decided, others=(FIVE[2],))),
        replace(shown, begun=True),
        replace(shown, doubts=("node2: back with its data",)),
    ):
        with pytest.raises(PreflightRefused, match=r"other hosts answer by now(.|\n)*nothing was changed"):
            agreed(shown, other)


# Who was away


def text(content: str) -> PathFact:
    return PathFact("file", 0o600, "root:root", text=content)


@pytest.mark.parametrize("removed", [False, True], ids=["a new host", "a host that was given up"])
def test_341_a_member_that_joins_has_the_list_before_its_etcd_starts(tmp_path: Path, removed: bool) -> None:
    """A host that was given up gets it when its old data is put aside, not before."""
    situation = with_lists(planned_sample(tmp_path), node1="a")
    alone = answering(members=(store_member(situation.cluster.nodes[0]),))
    facts = {**situation.facts, "node1": alone(situation.facts["node1"])}
    if not removed:
        facts["node2"] = bare_situation(situation.cluster).facts["node2"]
    else:
        facts["node2"] = replace(facts["node2"], units={**facts["node2"].units, paths.ETCD_UNIT: Unit()})
    situation = generations.of_those_present(PLANE, replace(situation, facts=facts))
    mine = [f"{one.action} {one.resource}" for one in make_plan(PLANE, situation) if one.where == "node2"]
    expected = [f"create file {layout.RECOVERIES}", f"start unit {paths.ETCD_UNIT}"]
    expected = ["remove data of a removed member", *expected] if removed else expected
    assert [one for one in mine if one in expected] == expected


def test_273_a_node_with_data_and_a_shorter_list_has_returned_and_says_nothing_of_the_cluster(tmp_path: Path) -> None:
    situation = with_lists(planned_sample(tmp_path), node1="ab", node2="a")
    assert generations.returned(PLANE, situation) == ("node2",)
    (problem,) = generations.warnings(PLANE, situation)
    assert (problem.where, "given up in the recovery of momentb" in problem.what) == ("node2", True)
    assert "fab provision --yes" in problem.advice
    heard = generations.of_those_present(PLANE, situation)
    assert not {"members", "member-status"} & heard.facts["node2"].answers.keys()
    assert heard.facts["node1"] == situation.facts["node1"]


def test_273_a_node_without_data_has_not_returned_and_gets_the_list(tmp_path: Path) -> None:
    situation = with_lists(planned_sample(tmp_path), node1="a", node2="a")
    assert generations.returned(PLANE, situation) == ()
    changes = [change for change in make_plan(PLANE, situation) if change.phase == "recoveries"]
    assert [(change.where, change.action) for change in changes if change.action == "create"] == [("node3", "create")]


def test_282_two_recoveries_of_one_cluster_are_refused(tmp_path: Path) -> None:
    situation = with_lists(planned_sample(tmp_path), node1="ab", node2="ac", node3="a")
    assert generations.returned(PLANE, situation) == ()
    with pytest.raises(PreflightRefused, match=r"node2: recovered apart(.|\n)*fab recover --keep NODE"):
        generations.refuse_divided(situation)
    generations.refuse_divided(with_lists(planned_sample(tmp_path), node1="ab", node2="a"))


def test_282_all_nodes_that_are_left_get_the_list_of_the_one_that_is_kept(tmp_path: Path) -> None:
    situation = with_lists(planned_sample(tmp_path), node1="ab")
    decided = recovery(situation.cluster, "node3")
    content = generations.with_recovery(situation.facts["node1"], decided)
    assert [line.split()[0] for line in content.decode().splitlines()] == ["a", "b", "ab12"]
    again = replace(situation.facts["node1"], paths={layout.RECOVERIES: text(content.decode())})
    assert generations.with_recovery(again, decided) == content


# The store


def left(situation: Situation, *gone: str) -> Situation:
    """The hosts that are left of a cluster at work: without a leader."""
    staying = tuple(one for one in situation.cluster.nodes if one.name not in gone)
    members = tuple(map(store_member, situation.cluster.members))
    facts = {one.name: situation.of(one) for one in staying}
    for one in staying:
        if one.member:
            facts[one.name] = answering(members=members, status={"raftIndex": 7, "version": "3.5.30"})(facts[one.name])
            facts[one.name] = replace(facts[one.name], containers_known=True)
    return replace(situation, cluster=replace(situation.cluster, nodes=staying), facts=facts)


def test_270_the_plan_of_a_recovery(tmp_path: Path) -> None:
    whole = planned_sample(tmp_path)
    decided = recovery(whole.cluster, "node2")
    situation = left(whole, "node2")
    held = "c" * 64 + " " + "d" * 64 + " 192.0.2.2 web\n"
    facts = {**situation.facts}
    facts["node1"] = replace(facts["node1"], answers={**facts["node1"].answers, "store-endpoints": held})
    situation = replace(situation, facts=facts)
    assert PLANE.lost_containers(situation, "192.0.2.2") == ("web",)
    plan = make_plan(PLANE.recovering(decided), situation)
    assert lines(plan) == [
        "controller: replace authority etcd-client",
        "node1: update file /etc/etcd/pki/peer-ca.crt",
        "node1: update file /etc/etcd/pki/client-ca.crt",
        "node1: update file /etc/etcd/bootstrap.env",
        "node1: restart only member of the store",
        "cluster: create network that is removed again",
        "cluster: free endpoints of 192.0.2.2",
    ]
    unlisted = left(whole, "node2")
    assert PLANE.lost_containers(unlisted, "192.0.2.2") == ("containers that no member lists now",)
    (freed,) = (change for change in make_plan(PLANE.recovering(decided), unlisted) if change.phase == "freed")
    assert (freed.resource, freed.note) == ("endpoints of 192.0.2.2", "those that the store lists then")


def with_lists_of_etcd(situation: Situation, name: str, *, networks: str = "", endpoints: str = "") -> Situation:
    """A node's own member lists these."""
    told = {"store-networks": networks, "store-endpoints": endpoints}
    return changed(situation, name, lambda facts: replace(facts, answers={**facts.answers, **told}))


def test_346_what_the_members_have_is_asked_for_in_every_recovery_also_where_the_store_has_a_leader(
    tmp_path: Path,
) -> None:
    """A recovery that was killed has a leader again; and of two clusters, each has one."""
    situation = planned_sample(tmp_path)
    asked = PLANE.asked_for_recovery(situation)
    assert set(asked) == set(situation.facts)
    assert all(script.splitlines()[-2:] == ["fact_store_endpoints", "fact_store_networks"] for script in asked.values())
    session: Any = SimpleNamespace(cluster=situation.cluster, plane=PLANE)
    session.partial_survey = lambda **_: nullcontext(Survey(MagicMock(), situation, (), ()))
    with (
        patch.object(gathering, "followed_up", lambda now, scripts, _: replace(now, local=scripts)),
        _survey(session) as survey,
    ):
        assert survey.situation.local == asked


def test_346_a_recovery_that_goes_on_with_a_leader_frees_what_lost_hosts_hold(tmp_path: Path) -> None:
    """Of a store that lists nothing of a host, nothing is freed; where the member lists nothing, the store is asked."""
    whole = planned_sample(tmp_path)
    decided = recovery(whole.cluster, "node2")
    held = f"{'c' * 64} {'d' * 64} 192.0.2.2 web\n"
    led = with_lists_of_etcd(changed(left(whole, "node2"), "node1", answering(status={"leader": 1})), "node1")
    plane = PLANE.recovering(decided)
    assert "freed" not in {change.phase for change in make_plan(plane, led)}
    (freed,) = (
        change
        for change in make_plan(plane, with_lists_of_etcd(led, "node1", endpoints=held))
        if change.phase == "freed"
    )
    assert freed.note == "web"
    value = json.dumps({"id": "d" * 64, "name": "web", "locator": "192.0.2.2"})
    ours = json.dumps({"id": "e" * 64, "name": "mine", "locator": "192.0.2.1"})
    network = {"key": f"/docker/network/v1.0/endpoint/{'c' * 64}", "nodes": [{"value": value}, {"value": ours}]}
    tree = {"nodes": [network]}
    assert list(etcd_recovery.in_store(tree, "192.0.2.2")) == [Endpoint("192.0.2.2", "web", "c" * 64, "d" * 64)]
    assert list(etcd_recovery.in_store(None, "192.0.2.2")) == []


def test_347_a_yes_is_asked_for_networks_that_only_the_other_cluster_knows(tmp_path: Path) -> None:
    """Both clusters have a leader. One that does not list its networks is named."""
    whole = planned(replace(sample(tmp_path), nodes=FIVE[:2]))
    decided = replace(recovery(whole.cluster), others=(FIVE[1],))
    both = with_lists_of_etcd(with_lists_of_etcd(whole, "node1", networks="demo\n"), "node2", networks="demo\nnew\n")
    said = outlook.would(outlook.outlook(both.cluster, PLANE.standings(both)), decided)
    assert said.endswith("joins anew; node1 does not know these networks: new")
    unlisted = with_lists_of_etcd(whole, "node2", networks="new\n")
    said = outlook.would(outlook.outlook(unlisted.cluster, PLANE.standings(unlisted)), decided)
    assert said.endswith("joins anew; node1: the networks that this host knows cannot be listed now")


def test_347_who_is_of_another_cluster_is_recorded_before_all_get_one_list(tmp_path: Path) -> None:
    """A recovery that was killed then still restarts Docker there. So does one with another node that is kept."""
    situation = with_lists(planned(replace(sample(tmp_path), nodes=FIVE[:3])), node1="ab", node2="ac", node3="ab")
    decided = replace(recovery(situation.cluster), others=(FIVE[1], FIVE[2]), apart=(FIVE[1],))
    again = record.parsed(record.text(decided), situation.cluster)
    assert again == decided
    assert [generations.are_apart(situation, None, FIVE[0], one) for one in (FIVE[1], FIVE[2])] == [True, False]
    one_list = with_lists(situation, node1="abd", node2="abd", node3="abd")
    (others,) = (phase for phase in PLANE.recovering(decided).phases if phase.name == "others")
    found = [others.resources(one_list, one) for one in FIVE[:3]]
    assert [[resource.apart for resource in of_node] for of_node in found] == [[], [True], [False]]  # type: ignore[attr-defined]
    assert generations.are_apart(one_list, decided, FIVE[1], FIVE[0])
    assert not generations.are_apart(one_list, decided, FIVE[0], FIVE[2])
    earlier = {name: value for name, value in json.loads(record.text(decided)).items() if name != "apart"}
    assert record.parsed(json.dumps(earlier), situation.cluster) == replace(decided, apart=())


def test_276_what_was_done_is_not_done_again(tmp_path: Path) -> None:
    cluster = sample(tmp_path)
    pki.make(cluster)
    decided = recovery(cluster, "node2")
    staying = replace(cluster, nodes=tuple(one for one in cluster.nodes if one.name != "node2"))
    identity = pki.shut_out(staying, decided.identity)
    situation = planned(staying, identity)
    known = {name: replace(facts, containers_known=True) for name, facts in situation.facts.items()}
    situation = with_lists_of_etcd(replace(situation, facts=known), "node1")
    changes = lines(make_plan(PLANE.recovering(decided), situation))
    assert changes == ["node1: update file /etc/etcd/bootstrap.env", "cluster: create network that is removed again"]


def test_283_other_members_that_answer_are_stopped_and_their_data_put_aside(tmp_path: Path) -> None:
    whole = planned(replace(sample(tmp_path), nodes=FIVE[:4]))
    decided = replace(recovery(whole.cluster, "node3", "node4"), others=(FIVE[1],))
    plan = make_plan(PLANE.recovering(decided), left(whole, "node3", "node4"))
    (aside,) = (change.note for change in plan if change.phase == "others")
    assert f"{paths.DATA}/removed-ab12;" in aside
    assert PLANE.recovering(decided).copied_data == f"{paths.DATA}/before-recovery-ab12"
    changes = lines(plan)
    stopped, forced = "node2: remove member of the store", "node1: restart only member of the store"
    assert changes.index(stopped) < changes.index(forced)


def test_276_a_controller_without_the_authorities_recovers_nothing(tmp_path: Path) -> None:
    """It is refused before anything is written."""
    whole = planned_sample(tmp_path)
    elsewhere = replace(whole.cluster, path=tmp_path / "elsewhere" / "inventory.yml")
    elsewhere.path.parent.mkdir()
    situation = with_identity(left(replace(whole, cluster=elsewhere), "node2"), Identity.read(elsewhere))
    with pytest.raises(PreflightRefused, match="does not hold the authorities that made the nodes' certificates"):
        make_plan(PLANE.recovering(recovery(whole.cluster, "node2")), situation)


# Who is shut out


def shown(situation: Situation, name: str, which: int = 1) -> bytes:
    """The certificate that a node's dockerd shows the store."""
    place = docker_places(situation.cluster.node(name))[which]
    issued = local(situation).identity.get(place.leaf)
    assert issued is not None
    return issued.certificate


def trusts(situation: Situation, member: str, leaf: bytes) -> bool:
    """What Go does with a leaf: it may be among those that are trusted itself, and somebody's name has to be there."""
    trusted = local(situation).identity.trusted_clients(situation.cluster.node(member))
    assert trusted is not None
    (found,) = certificates.load_all(leaf)
    roots = certificates.load_all(trusted)
    assert found.issuer in [root.subject for root in roots]  # else a dockerd shows nothing
    return found in roots or accepts(trusted, leaf)


def test_284_a_lost_hosts_leaf_opens_nothing_and_those_of_the_others_do(tmp_path: Path) -> None:
    whole = planned_sample(tmp_path)
    old = {name: shown(whole, name) for name in ("node1", "node2", "node3")}
    staying = replace(whole.cluster, nodes=tuple(one for one in whole.cluster.nodes if one.name != "node2"))
    now = with_identity(replace(whole, cluster=staying), pki.shut_out(staying, "ab12"))
    assert [trusts(now, "node1", old[name]) for name in ("node1", "node2", "node3")] == [True, False, True]
    assert {name: shown(now, name) for name in ("node1", "node3")} == {name: old[name] for name in ("node1", "node3")}
    own = local(now).identity.get(pki.store_leaf(staying.node("node1")))
    controller = local(now).identity.get(pki.CONTROLLER_STORE)
    assert own
    assert controller
    assert trusts(now, "node1", own.certificate)
    assert trusts(now, "node1", controller.certificate)
    # Its successor, under the same name: a client's leaf of the new authority, a server's that every dockerd trusts.
    later = with_identity(whole, pki.make(whole.cluster))
    assert shown(later, "node2") != old["node2"]
    assert trusts(later, "node1", shown(later, "node2"))
    assert not trusts(later, "node2", old["node2"])
    assert local(later).identity.trusted_clients(staying.node("node1")) == local(now).identity.trusted_clients(
        staying.node("node1")
    )
    server = local(later).identity.get(etcd_places(whole.cluster.node("node2"))[1].leaf)
    docker = local(whole).identity.certificate(Authority.CLIENT)
    assert server
    assert docker
    assert accepts(docker, server.certificate)
    assert trusts(later, "node2", server.certificate)
    assert pki.make(whole.cluster).missing() == ()


def test_284_a_second_recovery_shuts_out_who_came_after_the_first(tmp_path: Path) -> None:
    whole = planned_sample(tmp_path)
    first = replace(whole.cluster, nodes=tuple(one for one in whole.cluster.nodes if one.name != "node2"))
    pki.shut_out(first, "ab12")
    joined = with_identity(whole, pki.make(whole.cluster))
    came = shown(joined, "node2")
    now = with_identity(replace(whole, cluster=first), pki.shut_out(first, "cd34"))
    assert not trusts(now, "node1", came)
    assert all(trusts(now, "node1", shown(now, name)) for name in ("node1", "node3"))
    assert pki.has_shut_out(whole.cluster, "cd34")
    assert not pki.has_shut_out(whole.cluster, "ab12")


def test_284_the_rotation_goes_on_and_ends_with_nothing_pinned(tmp_path: Path) -> None:
    whole = planned_sample(tmp_path)
    first = replace(whole.cluster, nodes=tuple(one for one in whole.cluster.nodes if one.name != "node2"))
    pki.shut_out(first, "ab12")
    situation = planned(whole.cluster, pki.make(whole.cluster))
    trusted = [local(situation).identity.trusted_clients(one) for one in whole.cluster.members]
    leaves = pki.make(whole.cluster, target=RotationTarget(Step.LEAVES))
    assert [leaves.trusted_clients(one) for one in whole.cluster.members] == trusted
    foreseen = pki.foreseen(whole.cluster, Step.DROP)
    assert foreseen.trusted_clients(whole.cluster.members[0]) == foreseen.trusted(Authority.CLIENT)
    pki.make(whole.cluster, target=RotationTarget(Step.DROP))
    assert Identity.read(whole.cluster).step is None
    assert not list((whole.cluster.folder / Authority.CLIENT).glob("*pinned*"))
    assert not pki.has_shut_out(whole.cluster, "ab12")


@pytest.mark.parametrize("missing", ["next.key", "next.crt", "pinned.crt", "both.crt"])
def test_276_a_controller_that_was_killed_while_it_made_the_authority(tmp_path: Path, missing: str) -> None:
    cluster = sample(tmp_path)
    pki.make(cluster)
    pki.shut_out(cluster, "ab12")
    (cluster.folder / "rotation").unlink()
    (cluster.folder / Authority.CLIENT / missing).unlink()
    identity = pki.shut_out(cluster, "ab12")
    assert identity.missing() == ()
    assert pki.has_shut_out(cluster, "ab12")


def test_284_pinned_leaves_that_cannot_be_read_are_refused(tmp_path: Path) -> None:
    """Without them, the old authority would be trusted again."""
    cluster = sample(tmp_path)
    pki.make(cluster)
    pki.shut_out(cluster, "ab12")
    place = cluster.folder / Authority.CLIENT / "pinned.crt"
    place.unlink()
    place.mkdir()
    with pytest.raises(PreflightRefused, match=r"pinned\.crt: cannot be read"):
        Identity.read(cluster)


def test_284_not_in_a_later_step_of_a_rotation(tmp_path: Path) -> None:
    cluster = sample(tmp_path)
    pki.make(cluster)
    assert pki.can_shut_out(cluster)
    for step, can in ((Step.TRUST, True), (Step.LEAVES, False)):
        pki.make(cluster, target=RotationTarget(step))
        assert pki.can_shut_out(cluster) is can


@pytest.mark.parametrize(("step", "told"), [(None, ""), (Step.TRUST, ""), (Step.LEAVES, "2"), (Step.DROP, "3")])
def test_314_a_recovery_says_where_a_rotation_keeps_it_from_shutting_lost_hosts_out(
    tmp_path: Path, step: Step | None, told: str
) -> None:
    """A run was killed in this step. In the first two cases nothing is said, and the authority is replaced."""
    cluster = sample(tmp_path)
    pki.make(cluster)
    for before in list(Step)[: step.number - 1 if step else 0]:
        pki.make(cluster, target=RotationTarget(before))
    if step:
        (cluster.folder / "rotation").write_text(f"{step}\n")
    plane = PLANE.recovering(recovery(cluster, "node2"))
    situation = left(planned(cluster, Identity.read(cluster)), "node2")
    warnings = plane.warnings(situation)
    assert [f"at step {told} of 3" in one.what for one in warnings] == ([True] if told else [])
    assert all("keep them off" in one.advice and "--rotate --authority twice" in one.advice for one in warnings)
    assert ("controller: replace authority etcd-client" in lines(make_plan(plane, situation))) is not bool(told)


def test_314_after_the_rotation_and_another_one_a_lost_hosts_leaves_open_nothing(tmp_path: Path) -> None:
    """The lost host may hold the leaf of the old authority or the new one's. The first rotation refuses only that."""
    whole = planned_sample(tmp_path)
    held = [shown(whole, "node2")]
    for step in (Step.TRUST, Step.LEAVES):
        pki.make(whole.cluster, target=RotationTarget(step))
    held.append(shown(with_identity(whole, Identity.read(whole.cluster)), "node2"))
    opened = []
    for step in (Step.LEAVES, Step.DROP, Step.TRUST, Step.LEAVES, Step.DROP):
        now = with_identity(whole, pki.make(whole.cluster, target=RotationTarget(step)))
        opened.append([trusts(now, "node1", leaf) for leaf in held])
    assert opened == [[True, True], [False, True], [False, True], [False, True], [False, False]]


def test_283_data_put_aside_is_no_foreign_store() -> None:
    assert paths.DATA in PLANE.kept_data


def test_355_a_host_that_was_given_up_keeps_its_data_where_it_is_no_member_by_now(tmp_path: Path) -> None:
    situation = with_lists(planned_sample(tmp_path), node1="a", node2="a")
    facts = situation.facts["node3"]
    bootstrap = {**facts.paths, paths.ETCD_BOOTSTRAP: text("")}
    old = replace(facts, paths=bootstrap, answers={**facts.answers, "store-data": "yes"})
    there = replace(situation, facts={**situation.facts, "node3": old})
    node3 = situation.cluster.node("node3")
    assert [one.name for one in Etcd().resources(there, node3)] == ["data of a removed member", "member of the store"]
    left = with_lists(there, node3="a")
    assert [one.name for one in Etcd().resources(left, node3)] == ["member of the store"]
