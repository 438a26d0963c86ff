"""A rotation of the authorities as values: what each step plans, who trusts whom meanwhile, what a kill leaves."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from pathlib import Path

import pytest
from cluster_sample import bare_situation, changed, foreseen, lines, planned, planned_sample, with_path, with_unit
from handshakes import RESTARTS, Held
from pki_sample import contents, sample

from provision.core.plane import Goal
from provision.core.situation import Situation
from provision.engine import make_plan
from provision.errors import PreflightRefused
from provision.facts import Container
from provision.pki import files
from provision.planes.etcd import membership, paths, pki, validity
from provision.planes.etcd.local import local, with_identity
from provision.planes.etcd.pki import Authority, Identity, RotationTarget, Step
from provision.planes.etcd.plane import PLANE

NOW = datetime.now(UTC)
PHASES = {phase.name: phase for phase in PLANE.phases}


def turned(situation: Situation, step: Step) -> Situation:
    """All is as the step wants it."""
    return planned(situation.cluster, pki.make(situation.cluster, target=RotationTarget(step)))


def test_each_step_plans_what_is_then_done_and_restarts_each_dockerd_once_in_all(tmp_path: Path) -> None:
    situation = planned_sample(tmp_path)
    for step in Step:
        before = with_identity(situation, Identity.read(situation.cluster, target=RotationTarget(step)))
        plan = make_plan(PLANE, before)
        assert lines(plan.restarts) == RESTARTS[step]
        authorities = [change for change in plan.of("controller", "pki") if change.resource.startswith("authority")]
        assert len(authorities) == len(Authority)
        assert {change.note for change in authorities} == {step.told}
        after = with_identity(situation, pki.make(situation.cluster, target=RotationTarget(step)))
        done = make_plan(PLANE, after)
        assert lines(change for change in plan if change.where != "controller") == lines(done)
        situation = planned(after.cluster, local(after).identity)
        assert lines(make_plan(PLANE, situation)) == []
    assert Identity.read(situation.cluster).step is None
    assert [len(certificates) for certificates in Identity.read(situation.cluster).authorities.values()] == [1, 1, 1]


def test_a_rotation_leaves_nothing_of_the_old_authorities(tmp_path: Path) -> None:
    situation = planned_sample(tmp_path)
    old = [local(situation).identity.fingerprint(name) for name in Authority]
    files_before = set(contents(situation.cluster))
    for step in Step:
        situation = turned(situation, step)
    assert set(contents(situation.cluster)) == files_before
    assert not {local(situation).identity.fingerprint(name) for name in Authority} & set(old)
    assert local(situation).identity.missing() == ()


@pytest.mark.parametrize("order", [("node1", "node3", "node2")], ids=" ".join)
def test_at_every_moment_of_every_step_each_finds_whom_it_trusts(tmp_path: Path, order: Sequence[str]) -> None:
    situation = planned_sample(tmp_path)
    for step in Step:
        after = with_identity(situation, pki.make(situation.cluster, target=RotationTarget(step)))
        for number in range(len(order) + 1):
            held = Held({name: after if name in order[:number] else situation for name in order})
            assert list(held.refusals(after)) == [], f"{step}, {number} nodes changed"
        situation = planned(after.cluster, local(after).identity)


def test_dockerds_restart_in_an_order_in_which_each_finds_a_member_that_it_trusts(tmp_path: Path) -> None:
    situation = planned_sample(tmp_path)
    situation = turned(situation, Step.TRUST)
    leaves = with_identity(situation, Identity.read(situation.cluster, target=RotationTarget(Step.LEAVES)))
    plan = make_plan(PLANE, leaves)
    todo = {node.name: plan.of(node.name, "docker") for node in situation.cluster.nodes}
    waves = PHASES["docker"].waves(leaves, todo)
    assert [[node.name for node in wave] for wave in waves] == [["node1"], ["node3"], ["node2"]]
    for node in situation.cluster.members:
        assert f"{node.name}: update file /etc/etcd/pki/server.crt" in lines(todo[node.name])


def test_a_leaf_that_has_ended_does_not_wait_for_dockerd(tmp_path: Path) -> None:
    """All members would show ended ones, and no quorum that dockerd's restart waits for could be had."""
    situation = turned(planned_sample(tmp_path), Step.TRUST)
    later = NOW + timedelta(days=830)
    identity = Identity.read(situation.cluster, later, RotationTarget(Step.LEAVES))
    plan = make_plan(PLANE, with_identity(situation, identity))
    assert "node1: update file /etc/etcd/pki/server.crt" in lines(plan.of("node1", "pki"))


def test_the_check_of_handshakes_can_fail(tmp_path: Path) -> None:
    situation = planned_sample(tmp_path)
    turned(situation, Step.TRUST)
    after = with_identity(situation, pki.make(situation.cluster, target=RotationTarget(Step.LEAVES)))
    held = Held({"node1": after, "node2": situation, "node3": situation})
    assert "node2 refuses its peer node1" in list(held.refusals(after))


class Killed(BaseException):
    """Stands for SIGKILL: nothing of ours catches it."""


@pytest.mark.parametrize("point", range(0, 40, 3))
@pytest.mark.parametrize("step", Step)
def test_killed_at_any_write_of_a_step_it_goes_on_and_nobody_is_locked_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: Step, point: int
) -> None:
    situation = planned_sample(tmp_path)
    for earlier in list(Step)[: step.number - 1]:
        situation = turned(situation, earlier)
    cluster, count = situation.cluster, iter(range(1000))
    renaming, unlinking = Path.rename, Path.unlink

    def at_point() -> None:
        if next(count) == point:
            raise Killed

    def rename(self: Path, target: Path) -> Path:
        at_point()
        return renaming(self, target)

    def unlink(self: Path, missing_ok: bool = False) -> None:
        at_point()
        unlinking(self, missing_ok=missing_ok)

    with monkeypatch.context() as patched:
        patched.setattr(Path, "rename", rename)
        patched.setattr(Path, "unlink", unlink)
        with suppress(Killed):
            pki.make(cluster, target=RotationTarget(step))
    # Either verb goes on: provision with what is recorded, certs with what is left of the rotation.
    interrupted = with_identity(situation, pki.make(cluster))
    assert local(interrupted).identity.missing() == ()
    held = Held({node.name: situation for node in cluster.nodes})
    assert list(held.refusals(interrupted)) == []
    if local(interrupted).identity.step or step is Step.TRUST:
        for target in pki.remaining(cluster.folder):
            pki.make(cluster, target=target)
    assert Identity.read(cluster).step is None
    assert not list(cluster.folder.rglob("next.*"))
    assert not list(cluster.folder.rglob(f"*{files.PARTIAL}"))


def test_a_record_that_is_none_is_refused(tmp_path: Path) -> None:
    cluster = sample(tmp_path)
    pki.make(cluster)
    (cluster.folder / "rotation").write_text("nonsense\n")
    with pytest.raises(PreflightRefused, match="rotation"):
        Identity.read(cluster)


def test_all_leaves_are_renewed_where_asked_and_no_etcd_restarts(tmp_path: Path) -> None:
    situation = planned_sample(tmp_path)
    since = NOW.replace(microsecond=0) + timedelta(hours=2)
    before = Identity.read(situation.cluster, since, RotationTarget(leaves_since=since))
    assert {need.what for need in before.missing()} == {f"leaf {leaf}" for leaf in pki.leaves(situation.cluster)}
    plan = make_plan(PLANE, with_identity(situation, before))
    assert lines(plan.restarts) == RESTARTS[Step.LEAVES]
    after = pki.make(situation.cluster, since, RotationTarget(leaves_since=since))
    assert after.missing() == ()
    assert not set(after.issued.values()) & set(local(situation).identity.issued.values())
    assert [after.fingerprint(name) for name in Authority] == [
        local(situation).identity.fingerprint(name) for name in Authority
    ]


def ended(tmp_path: Path, days: int) -> Situation:
    """A cluster at work whose certificates were all made so many days ago."""
    cluster = sample(tmp_path)
    situation = planned(cluster, pki.make(cluster, NOW - timedelta(days=days)))
    return with_identity(situation, Identity.read(cluster, NOW))


def test_75_ended_leaves_are_told_since_when_and_renewed_by_provision(tmp_path: Path) -> None:
    situation = ended(tmp_path, 830)
    (problem,) = validity.warnings(situation)
    end = NOW - timedelta(days=5, hours=1)
    assert f"leaf docker/node1-server on {end:%Y-%m-%d} (ended 5 days ago)" in problem.what
    assert "authority" not in problem.what
    assert "fab provision" in problem.advice
    assert lines(make_plan(PLANE, situation).restarts) == RESTARTS[Step.LEAVES]


def test_76_an_ended_authority_is_told_since_when_and_cured_by_a_rotation_that_changes_all_members_at_once(
    tmp_path: Path,
) -> None:
    situation = ended(tmp_path, 3660)
    (problem,) = validity.warnings(situation)
    end = NOW - timedelta(days=10, hours=1)
    assert f"authority etcd-peer on {end:%Y-%m-%d} (ended 10 days ago)" in problem.what
    assert "fab certs --rotate --authority" in problem.advice
    # Connections that stay open may keep a quorum that no new one could make.
    assert membership.is_running(situation)
    assert not membership.stays_at_work(situation)
    aimed = with_identity(situation, Identity.read(situation.cluster, NOW, RotationTarget(Step.TRUST)))
    plan = make_plan(PLANE, aimed)
    todo = {node.name: plan.of(node.name, "etcd") for node in situation.cluster.nodes}
    assert [[node.name for node in wave] for wave in PHASES["etcd"].waves(aimed, todo)] == [["node1", "node2"]]
    assert PHASES["quorum"].waves(aimed, {}) == (situation.cluster.nodes,)


def test_members_that_trust_one_another_change_one_by_one(tmp_path: Path) -> None:
    situation = planned_sample(tmp_path)
    assert membership.stays_at_work(situation)
    strange = with_path(paths.PEER_AUTHORITY, text="none")
    assert not membership.stays_at_work(changed(situation, "node2", strange))


def test_a_rotation_stopped_half_way_is_told(tmp_path: Path) -> None:
    situation = turned(planned_sample(tmp_path), Step.TRUST)
    (problem,) = validity.warnings(situation)
    assert str(problem).startswith("controller: a rotation of the authorities is at step 1 of 3")
    assert "fab certs --rotate --authority" in problem.advice


def as_found(folder: Path) -> Situation:
    """A cluster at work."""
    return planned_sample(folder)


def bare(folder: Path) -> Situation:
    """Hosts and a controller without anything of ours."""
    cluster = sample(folder)
    return bare_situation(cluster, Identity.read(cluster))


def with_ended_leaves(folder: Path) -> Situation:
    return ended(folder, 830)


def with_ended_authorities(folder: Path) -> Situation:
    return ended(folder, 3660)


def without_a_leaf(folder: Path) -> Situation:
    """A leaf is gone from the controller: the first step makes one, and a later step another."""
    situation = planned_sample(folder)
    for path in local(situation).identity.paths(pki.docker_leaf(situation.cluster.node("node1"))):
        path.unlink()
    return situation


def with_etcd_stopped(folder: Path) -> Situation:
    """The first step starts what a later one restarts."""
    return changed(planned_sample(folder), "node2", with_unit(paths.ETCD_UNIT, state="inactive", process=0))


def stopped_in_trust(folder: Path) -> Situation:
    return turned(planned_sample(folder), Step.TRUST)


def stopped_in_leaves(folder: Path) -> Situation:
    """One node has its new leaves, and the others not yet."""
    before = stopped_in_trust(folder)
    return changed(before, "node1", lambda _: turned(before, Step.LEAVES).facts["node1"])


BEGINNINGS = (
    as_found,
    bare,
    with_ended_leaves,
    with_ended_authorities,
    without_a_leaf,
    with_etcd_stopped,
    stopped_in_trust,
    stopped_in_leaves,
)


def with_web(situation: Situation) -> Situation:
    """A container that no restart of Docker brings back runs on node3."""
    web = Container("w" * 64, "web", ())
    return changed(situation, "node3", lambda facts: replace(facts, containers=(*facts.containers, web)))


@pytest.mark.parametrize("beginning", BEGINNINGS, ids=lambda beginning: beginning.__name__)
def test_before_the_first_step_every_step_is_known(tmp_path: Path, beginning: Callable[[Path], Situation]) -> None:
    situation = with_web(beginning(tmp_path))
    folder = contents(situation.cluster)
    stages, named = PLANE.stages(situation, Goal.ROTATE), foreseen(situation, Goal.ROTATE)
    assert contents(situation.cluster) == folder
    assert stages[-1].title == Step.DROP.told
    for (stage, following), plan in zip(pairwise(stages), named, strict=True):
        target = local(stage.enter(situation)).identity.target
        situation = with_web(planned(situation.cluster, pki.make(situation.cluster, target=target)))
        made = make_plan(PLANE, following.enter(situation))
        assert sorted(lines(plan)) == sorted(lines(made))
        assert set(plan.interruptions) == set(made.interruptions)


def test_a_plan_of_a_rotation_shows_files_restarts_and_containers_of_every_step(tmp_path: Path) -> None:
    leaves, drop = foreseen(with_web(planned_sample(tmp_path)), Goal.ROTATE)
    assert lines(leaves.restarts) == RESTARTS[Step.LEAVES]
    assert lines(drop.restarts) == RESTARTS[Step.DROP]
    assert (leaves.stopped, drop.stopped) == (("node3: web",), ())
    assert lines(drop.of("node1", "pki")) == [
        "node1: update file /etc/etcd/pki/peer-ca.crt",
        "node1: update file /etc/etcd/pki/client-ca.crt",
    ]
    assert lines(leaves.of("node3", "docker")) == [
        *(f"node3: update file /etc/docker/overlay/{name}" for name in ("ca.crt", "server.crt", "server.key")),
        *(f"node3: update file /etc/docker/overlay/{name}" for name in ("store-ca.crt", "store.crt", "store.key")),
        "node3: restart unit docker.service",
    ]
    assert not [change for change in leaves if "sha256" in change.note]
