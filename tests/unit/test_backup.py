"""What a restore finds and plans: the identity, the record, the networks, and the store that is made anew."""

from __future__ import annotations

import io
import stat
from collections.abc import Callable
from dataclasses import replace
from ipaddress import IPv4Network
from pathlib import Path as LocalPath
from unittest.mock import Mock

import pytest
from cluster_sample import bare_situation, changed, lines, network, planned_sample, sees, with_data, with_path
from pki_sample import sample

from provision import layout
from provision.backup import destination, foreseen, identity, record
from provision.core.plane import Goal
from provision.core.saved import Saved
from provision.core.situation import LABEL, Situation
from provision.docker.containers import Attachment, Container
from provision.engine import make_plan
from provision.errors import BackupError, PreflightRefused, StepFailed, UsageError
from provision.facts import Container as Running
from provision.facts import Facts, PathFact
from provision.inventory.model import Cluster, Network
from provision.pki import files
from provision.planes.etcd import paths, pki
from provision.planes.etcd import restoring as restoring_module
from provision.planes.etcd.bootstrap import token
from provision.planes.etcd.local import local
from provision.planes.etcd.plane import PLANE
from provision.planes.etcd.restoring import Restoring
from provision.planes.etcd.saving import KEYS
from provision.verbs import half_done
from provision.verbs.restore_survey import fitting, with_local

DEMO = network("demo", "10.99.0.0/24") | {"Id": "d" * 64}
MINE = network("mine", "10.77.0.0/24") | {"Id": "e" * 64}
SAVED = Saved(
    "etcd",
    "demo",
    "2026-11-27T15:16:49+00:00",
    networks=(DEMO, MINE),
    files={KEYS: b'{"v2": {}, "v3": {}}'},
    checksum="c" * 64,
    restore="0123456789abcdef",
)


def cluster_with(folder: LocalPath, *networks: Network) -> Cluster:
    return replace(sample(folder), networks=networks)


def test_the_identity_is_saved_whole_without_what_is_in_the_making(tmp_path: LocalPath) -> None:
    cluster = sample(tmp_path)
    pki.make(cluster)
    there = {path.relative_to(cluster.folder).as_posix() for path in cluster.folder.rglob("*") if path.is_file()}
    for name in ("docker/ca.key.new", "bundles/a.tar.gz", "restore.json", "recovery.json", ".lock"):
        path = cluster.folder / name
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(b"x")
    assert set(identity.saved(cluster)) == there


def test_a_controller_without_an_identity_gets_that_of_the_backup(tmp_path: LocalPath) -> None:
    (tmp_path / "old").mkdir()
    (tmp_path / "new").mkdir()
    old, new = sample(tmp_path / "old"), sample(tmp_path / "new")
    pki.make(old)
    kept = identity.saved(old)
    found = identity.missing(new, kept, goes_on=False)
    assert found == kept
    files.put(new.folder, found)
    assert identity.saved(new) == kept
    assert {stat.S_IMODE(path.stat().st_mode) for path in new.folder.rglob("*") if path.is_file()} == {0o600}
    assert {stat.S_IMODE(path.stat().st_mode) for path in (new.folder, new.folder / "docker")} == {0o700}
    assert pki.Identity.read(new).missing() == ()


def test_an_identity_that_is_there_stays_unless_a_restore_was_killed_while_it_came(tmp_path: LocalPath) -> None:
    cluster = sample(tmp_path)
    pki.make(cluster)
    kept = {**identity.saved(cluster), "docker/more.crt": b"more"}
    assert identity.missing(cluster, kept, goes_on=False) == {}
    assert identity.missing(cluster, kept, goes_on=True) == {"docker/more.crt": b"more"}


def test_a_saved_identity_is_read_beside_the_inventory_closed_to_others_and_leaves_nothing(tmp_path: LocalPath) -> None:
    """Whatever happens meanwhile. Where no folder can be made, that is said."""
    cluster = sample(tmp_path)
    situation, seen = bare_situation(cluster), []
    before = sorted(tmp_path.rglob("*"))

    def local(there: Cluster) -> None:
        seen.append((there.path.parent.parent, stat.S_IMODE(there.path.parent.stat().st_mode)))
        assert (there.folder / "docker/ca.key").read_bytes() == b"key"
        raise KeyboardInterrupt

    session = Mock(cluster=cluster, plane=Mock(local=local))
    saved = replace(SAVED, identity={"docker/ca.key": b"key"})
    with pytest.raises(KeyboardInterrupt):
        with_local(session, situation, saved)
    assert seen == [(tmp_path, 0o700)]
    assert sorted(tmp_path.rglob("*")) == before
    session.cluster = replace(cluster, path=tmp_path / "none" / "inventory.yml")
    with pytest.raises(PreflightRefused, match="must be writable"):
        with_local(session, situation, saved)


def test_other_authorities_are_refused_and_the_way_out_is_named(tmp_path: LocalPath) -> None:
    cluster = sample(tmp_path)
    pki.make(cluster)
    kept = {**identity.saved(cluster), "docker/ca.key": b"another"}
    with pytest.raises(PreflightRefused) as refused:
        identity.missing(cluster, kept, goes_on=True)
    (problem,) = refused.value.problems
    assert "docker" in problem.what
    assert f"mv {cluster.folder}" in problem.advice


def test_a_restore_is_recorded_and_only_the_same_backup_goes_on(tmp_path: LocalPath) -> None:
    cluster = sample(tmp_path)
    assert record.warnings(cluster, {}) == ()
    restore = record.of(cluster, SAVED)
    record.begin(cluster, restore)
    assert record.of(cluster, SAVED) == restore
    with pytest.raises(PreflightRefused, match="another backup"):
        record.of(cluster, replace(SAVED, checksum="f" * 64))
    with pytest.raises(PreflightRefused, match="fab restore FILE"):
        half_done.refuse(cluster)
    record.end(cluster)
    half_done.refuse(cluster)
    record.end(cluster)


def test_another_controller_sees_a_restore_by_the_nodes(tmp_path: LocalPath) -> None:
    (problem,) = record.warnings(sample(tmp_path), {"node1": Facts(values={"restore": "yes"}), "node2": Facts()})
    assert problem.where == "node1"


def test_a_damaged_record_is_named(tmp_path: LocalPath) -> None:
    cluster = sample(tmp_path)
    files.put(cluster.folder, {record.FILE: b"{"})
    with pytest.raises(PreflightRefused, match="cannot be read"):
        record.under_way(cluster)


@pytest.mark.parametrize(
    ("saved", "cluster", "what"),
    [
        ({"cluster": "west"}, {}, "of the cluster west"),
        ({"plane": "other"}, {}, "control plane other"),
        ({"plane": "swarm"}, {}, "docker.control_plane: etcd"),
        ({"plane": "swarm"}, {"control_plane": "auto"}, "provisioned with etcd"),
    ],
)
def test_a_backup_that_does_not_fit_is_refused(
    tmp_path: LocalPath, saved: dict[str, str], cluster: dict[str, str], what: str
) -> None:
    there = replace(sample(tmp_path), **cluster)  # type: ignore[arg-type]
    pki.make(there)
    with pytest.raises(BackupError, match=what):
        fitting(there, replace(SAVED, **saved))  # type: ignore[arg-type]


def test_the_saved_networks_count(tmp_path: LocalPath) -> None:
    """One that only the inventory has is new; one that only the backup has stays."""
    cluster = cluster_with(tmp_path, Network("demo", IPv4Network("10.98.0.0/24")), Network("new", None))
    situation = foreseen.with_networks(bare_situation(cluster), SAVED)
    assert situation.cluster.networks == (Network("demo", IPv4Network("10.99.0.0/24")), Network("new", None))
    assert set(situation.networks) == {"demo", "mine"}
    assert situation.staying == ("demo", "mine")


def test_what_differs_from_the_inventory_is_named(tmp_path: LocalPath) -> None:
    """Only of those that this tool made, provision would remove one."""
    ours = MINE | {"Labels": {LABEL: "demo"}}
    users = network("users", "10.76.0.0/24")
    saved = replace(SAVED, networks=(DEMO, ours, users))
    situation = bare_situation(cluster_with(tmp_path, Network("demo", IPv4Network("10.98.0.0/24"))))
    assert [problem.what for problem in foreseen.differences(situation, saved)] == [
        "network demo comes back with 10.99.0.0/24; the inventory has 10.98.0.0/24",
        "network mine is in the backup, and not in the inventory: it comes back",
    ]


def container(number: int, node: str, network: str = "demo", *, temporary: bool = False) -> Container:
    return Container(node, str(number) * 64, f"c{number}", "busybox", True, "no", (Attachment(network),), temporary)


def with_containers(*numbers: int, **different: bool) -> Callable[[Facts], Facts]:
    there = tuple(Running(str(number) * 64, f"c{number}", ("demo",)) for number in numbers)
    return lambda facts: replace(facts, containers=there, **{"containers_known": True, **different})  # type: ignore[arg-type]


def test_containers_come_back_where_their_disks_are(tmp_path: LocalPath) -> None:
    """Not on a network of the host's own; one that runs, and is not in the backup, is started again, too."""
    saved = replace(
        SAVED,
        containers=(
            container(1, "node1"),
            container(2, "node1"),
            container(3, "node2"),
            container(4, "node1", "bridge"),
        ),
    )
    situation = bare_situation(sample(tmp_path))
    for name, numbers in (("node1", (4,)), ("node2", (1, 5)), ("node3", ())):
        situation = changed(situation, name, with_containers(*numbers))
    found = {one.name: one for one in foreseen.surviving(situation, saved)}
    assert {name: one.node for name, one in found.items()} == {"c1": "node2", "c4": "node1", "c5": "node2"}
    assert found["c1"].attachments == (Attachment("demo"),)
    assert found["c4"].attachments == found["c5"].attachments == ()


def test_312_what_ran_before_the_first_try_and_is_not_in_the_archive_is_started_again(tmp_path: LocalPath) -> None:
    """A restore was killed after Docker's restart. The controller's record says what ran; one host is silent by now."""
    cluster = sample(tmp_path)
    situation = bare_situation(cluster)
    for name, number in (("node1", 5), ("node2", 6), ("node3", 7)):
        situation = changed(situation, name, with_containers(number))
    record.begin(cluster, record.of(cluster, SAVED), foreseen.surviving(situation, SAVED))
    stopped = (Running("5" * 64, "c5", ()),)
    situation = changed(situation, "node1", lambda facts: replace(facts, containers=(), stopped=stopped))
    situation = changed(situation, "node2", lambda facts: replace(facts, containers=(), containers_known=False))
    situation = changed(situation, "node3", with_containers())  # its disk is gone
    restore = record.of(cluster, SAVED)
    found = foreseen.surviving(situation, SAVED, restore.ran)
    assert {one.name: (one.node, one.runs) for one in found} == {"c5": ("node1", True), "c6": ("node2", True)}
    record.begin(cluster, restore, found)
    assert {one.name for one in record.of(cluster, SAVED).ran} == {"c5", "c6", "c7"}


def test_where_docker_does_not_say_the_saved_containers_of_the_node_are_tried(tmp_path: LocalPath) -> None:
    saved = replace(SAVED, containers=(container(1, "node1"), container(2, "node1", temporary=True)))
    found = foreseen.surviving(bare_situation(sample(tmp_path)), saved)
    assert [one.name for one in found] == ["c1"]


def restoring(situation: Situation) -> tuple[Restoring, Situation]:
    """The control plane of a restore, and the situation with what the controller keeps for that."""
    plane = Restoring(SAVED)
    kept = replace(local(situation), token=f"overlay-{SAVED.restore}")
    return plane, replace(situation, local=kept)


def test_on_fresh_hosts_there_is_one_stage_and_the_keys_come_before_docker(tmp_path: LocalPath) -> None:
    plane, situation = restoring(bare_situation(sample(tmp_path)))
    (stage,) = plane.stages(situation, Goal.CONVERGE)
    plan = make_plan(plane, foreseen.with_networks(stage.enter(situation), SAVED))
    phases = list(dict.fromkeys(change.phase for change in plan))
    assert phases.index("etcd") < phases.index("keys") < phases.index("docker") < phases.index("keeper")
    assert "overlay" not in phases  # the networks are there with the keys


def test_the_former_store_is_put_aside_and_the_new_one_has_a_new_token(tmp_path: LocalPath) -> None:
    plane, situation = restoring(planned_sample(tmp_path))
    for name in ("node1", "node2"):
        old = with_path(paths.ETCD_BOOTSTRAP, text="ETCD_INITIAL_CLUSTER_STATE=new\nETCD_INITIAL_CLUSTER_TOKEN=old\n")
        situation = changed(changed(situation, name, old), name, with_data)
    first, second = plane.stages(situation, Goal.CONVERGE)
    plan = make_plan(plane, first.enter(situation))
    assert {change.resource for change in plan} == {"former store"}
    assert {change.where for change in plan if change.consent} == {"node1", "node2"}
    later = foreseen.with_networks(second.foresee(situation), SAVED)
    assert 2379 in {one.port for one in situation.facts["node1"].listeners}
    assert 2379 not in {one.port for one in later.facts["node1"].listeners}
    assert token(later) == f"overlay-{SAVED.restore}"
    told = lines(make_plan(plane, later))
    assert "cluster: create keys of the backup" in " ".join(told)
    assert [line for line in told if "bootstrap.env" in line or "restart unit docker.service" in line]


def marked(text: str) -> Callable[[Facts], Facts]:
    """A node has the mark of a restore."""
    mark = PathFact("file", 0o600, "root:root", text=text)
    return lambda facts: replace(facts, paths={**facts.paths, record.MARK: mark})


def test_a_restore_that_goes_on_does_not_do_again_what_is_done(tmp_path: LocalPath) -> None:
    plane, situation = restoring(planned_sample(tmp_path))
    for name in ("node1", "node2", "node3"):
        done = marked(f"{SAVED.restore} keys\n")
        situation = changed(changed(situation, name, done), name, sees(DEMO, MINE))
    (stage,) = plane.stages(situation, Goal.CONVERGE)
    plan = make_plan(plane, foreseen.with_networks(stage.enter(situation), SAVED))
    assert not {"aside", "keys", "etcd", "docker"} & {change.phase for change in plan}


def test_keys_are_written_again_where_a_host_has_joined_a_restore_and_nothing_is_overwritten(
    tmp_path: LocalPath, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What Docker and users have changed since the keys were there is as they left it."""
    saved = replace(SAVED, files={KEYS: b'{"v2": {"/mine": "1", "/docker/network/v1.0/idm/vxlan-id": "2"}, "v3": {}}'})
    monkeypatch.setattr(restoring_module, "wait_for_members", lambda *_: None)
    for others, written in ((f"{SAVED.restore} keys", "put_new"), (SAVED.restore, "put")):
        plane, situation = Restoring(saved), planned_sample(tmp_path)
        for name, text in (("node1", others), ("node2", SAVED.restore), ("node3", others)):
            situation = changed(situation, name, marked(f"{text}\n"))
        (keys,) = (phase for phase in plane.phases if phase.name == "keys")
        (change,) = keys.cluster_changes(situation)
        door = Mock()
        monkeypatch.setattr(restoring_module, "opened", lambda _, door=door: door)
        keys.change_cluster(situation, door, change)
        assert [one[0] for one in door.store().method_calls] == [written, written]


def test_the_mark_of_another_restore_says_nothing(tmp_path: LocalPath) -> None:
    plane, situation = restoring(planned_sample(tmp_path))
    situation = changed(situation, "node1", marked("another keys\n"))
    assert len(plane.stages(situation, Goal.CONVERGE)) == 2
    assert PLANE.phases  # the usual ones are as they were
    assert len(plane.phases) == len(PLANE.phases) + 2


def test_a_backup_is_written_whole_or_not_at_all(tmp_path: LocalPath, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "cluster.tar.gz"
    path.write_bytes(b"earlier")
    path.chmod(0o644)
    where = destination.checked(str(path), None)
    with monkeypatch.context() as broken:
        broken.setattr("os.fsync", lambda _: (_ for _ in ()).throw(OSError(28, "No space left on device")))
        with pytest.raises(StepFailed, match="No space left"):
            destination.write(where, b"new")
    assert {one.name: one.read_bytes() for one in tmp_path.iterdir()} == {"cluster.tar.gz": b"earlier"}
    with monkeypatch.context() as broken:
        broken.setattr(destination, "sync_folder", lambda _: (_ for _ in ()).throw(OSError(5, "Input/output error")))
        with pytest.raises(StepFailed, match="is written, but may not survive"):
            destination.write(where, b"new")
    assert path.read_bytes() == b"new"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


@pytest.mark.parametrize("file", ["/dev/null", "/nowhere/file", "/tmp"])
def test_a_place_where_no_file_can_be_is_refused_before_the_hosts_are_asked(file: str) -> None:
    with pytest.raises(UsageError):
        destination.checked(file, None)


def test_where_the_folder_is_missing_that_is_said(tmp_path: LocalPath) -> None:
    with pytest.raises(UsageError, match=f"no folder {tmp_path}/none"):
        destination.checked(str(tmp_path / "none" / "file"), None)


class Full(io.BytesIO):
    def write(self, data: object) -> int:
        raise OSError(32, "Broken pipe")


def test_nobody_is_told_of_an_earlier_backup_in_a_pipe() -> None:
    with pytest.raises(StepFailed) as refused:
        destination.write(Full(), b"new")
    assert "earlier" not in refused.value.problems[0].advice


def test_what_is_secret_in_a_backup_is_not_shown() -> None:
    shown = repr(replace(SAVED, identity={"ca.key": b"SECRET"}, files={KEYS: b"SECRET"}, inventory=b"SECRET"))
    assert "SECRET" not in shown


class Terminal(io.BytesIO):
    def isatty(self) -> bool:
        return True


def test_a_backup_is_not_written_to_a_terminal_but_to_a_pipe() -> None:
    with pytest.raises(UsageError, match="terminal"):
        destination.checked("-", Terminal())
    pipe = io.BytesIO()
    assert destination.checked("-", pipe) is pipe


def test_nothing_to_read_is_said(tmp_path: LocalPath) -> None:
    with pytest.raises(UsageError, match="No such file"):
        destination.read(str(tmp_path / "none"))


def test_the_mark_lies_where_the_nodes_facts_look_for_it() -> None:
    assert f"{layout.STATE}/restore" == record.MARK
