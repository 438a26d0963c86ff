"""A swarm saved and set up anew: whose files are saved, what a backup has to hold, and what is planned on each node."""

from __future__ import annotations

import io
import json
import tarfile
from base64 import b64decode
from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from swarm_sample import NODES, at_work, bare, certificate, listed, listing, own

from provision.backup.record import MARK
from provision.checks import node_view
from provision.core.outcome import failures
from provision.core.plane import Goal
from provision.core.saved import Saved
from provision.core.situation import Situation
from provision.engine import make_plan
from provision.errors import BackupError, PreflightRefused, StepFailed
from provision.facts import Listener, PathFact, Unit
from provision.planes.swarm import saving, view
from provision.planes.swarm.own_address import _HEADERS, EACH, INTERVAL, USUAL, settings
from provision.planes.swarm.phases.restored import without_former
from provision.planes.swarm.plane import PLANE
from provision.planes.swarm.saving import ABOUT, AUTHORITY, CERTIFICATE, FILES, KEY, last_copy, read, source

NOW = datetime.now(UTC)
NODE1, NODE2, NODE3 = NODES


def archive(end: datetime = NOW + timedelta(days=90), **changed: bytes | None) -> bytes:
    """A manager's files; `changed`: another content of one, by the last word of its name, or None for none."""
    contents: dict[str, bytes | None] = {
        "raft/wal-v3-encrypted/0-0.wal": b"log" + bytes(100_000),
        CERTIFICATE: certificate(NOW - timedelta(days=100), end, "swarm-manager").encode(),
        KEY: b"key",
        AUTHORITY: b"authority",
    }
    contents = {name: changed.get(name.rpartition(".")[2], content) for name, content in contents.items()}
    made = io.BytesIO()
    with tarfile.open(fileobj=made, mode="w:gz") as tar:
        for name, content in contents.items():
            if content is not None:
                info = tarfile.TarInfo(name)
                info.size, info.uid, info.mode = len(content), 1000, 0o777
                tar.addfile(info, io.BytesIO(content))
    return made.getvalue()


def saved(files: bytes | None = None, port: int = 4789) -> Saved:
    about = json.dumps({"port": port}).encode()
    content = {FILES: files or archive(), ABOUT: about}
    return Saved("swarm", "lab", "2026-01-02T03:04:05Z", files=content, restore="1234")


def with_info(situation: Situation, name: str, info: Mapping[str, Any]) -> Situation:
    facts = situation.facts[name]
    changed = replace(facts, docker={**facts.docker, view.INFO: info})
    return replace(situation, facts={**situation.facts, name: changed})


def at(situation: Situation, name: str, mark: str = "", **values: str) -> Situation:
    """The same, with a node that is so far with a restore, and with these values among its facts."""
    facts = situation.facts[name]
    mark_file = {MARK: PathFact("file", 0o600, "root:root", text=f"{mark}\n")} if mark else {}
    changed = replace(facts, paths={**facts.paths, **mark_file}, values={**facts.values, **values})
    return replace(situation, facts={**situation.facts, name: changed})


def planned(situation: Situation, backup: Saved) -> list[str]:
    """What is planned for the swarm in each stage."""
    plane, changes = PLANE.restoring(backup), []
    for stage in plane.stages(situation, Goal.CONVERGE):
        plan = make_plan(plane, stage.foresee(situation))
        changes += [change for change in plan if change.phase in ("aside", "swarm")]
    return [f"{one.where}: {one.action} {one.resource}{' (asks)' if one.consent else ''}" for one in changes]


def test_315_the_leader_is_copied_and_else_another_manager(tmp_path: Path) -> None:
    followed = at_work(tmp_path, node1=listed(NODE1), node2=listed(NODE2, leader=True))
    assert source(followed) == NODE2
    assert source(listing(followed, [listed(NODE1), {**listed(NODE2, leader=True), "ID": "of another"}])) == NODE1


def test_316_nothing_is_saved_without_a_leader_or_of_a_locked_swarm(tmp_path: Path) -> None:
    lost = at_work(tmp_path, node1=listed(NODE1))
    with pytest.raises(StepFailed, match="no manager of the swarm knows a leader"):
        source(lost)
    info = own(NODE1)
    info["Swarm"]["Cluster"] = {"Spec": {"EncryptionConfig": {"AutoLockManagers": True}}}
    with pytest.raises(StepFailed, match="autolock"):
        source(with_info(at_work(tmp_path), "node1", info))


def test_315_the_last_copy_counts_whatever_its_lines_end_with() -> None:
    assert last_copy("copy:\nAAAA\ncopy:\nBBBBcopy\nCCCC\n") == b64decode("BBBBcopyCCCC")


def test_321_what_is_saved_becomes_files_of_root_alone() -> None:
    manager = read(saved().files)
    with tarfile.open(fileobj=io.BytesIO(manager.archive)) as there:
        assert {(member.uid, member.mode) for member in there} == {(0, 0o600)}
        assert (there.extractfile(KEY) or io.BytesIO()).read() == b"key"
    assert "certificates" not in repr(manager)
    assert manager.identity == "id-node"
    assert manager.end == (NOW + timedelta(days=90)).replace(microsecond=0)


@pytest.mark.parametrize(
    "files",
    [
        archive()[:-20],
        archive()[: len(archive()) // 2],
        b"no archive",
        archive(key=None),
        archive(crt=None),
        archive(wal=None),
        archive(crt=b"no certificate"),
    ],
    ids=["short", "half", "foreign", "no key", "no certificate", "no log", "damaged"],
)
def test_321_a_manager_that_is_not_whole_is_refused_before_anything_is_touched(files: bytes) -> None:
    with pytest.raises(BackupError, match="the backup has no whole copy of a swarm's manager"):
        PLANE.restoring(saved(files))


def test_321_a_manager_that_takes_too_much_room_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(saving, "LIMIT", 1 << 16)
    with pytest.raises(ValueError, match="it would take more than 0 MB"):
        read(saved().files)


@pytest.mark.parametrize("kind", ["above", "elsewhere", "link"])
def test_321_a_file_that_leads_elsewhere_is_refused(kind: str) -> None:
    made = io.BytesIO()
    with tarfile.open(fileobj=made, mode="w:gz") as tar:
        info = tarfile.TarInfo({"above": "raft/../../x", "elsewhere": "/etc/passwd", "link": "raft/x"}[kind])
        if kind == "link":
            info.type, info.linkname = tarfile.SYMTYPE, "/etc"
        tar.addfile(info)
    with pytest.raises(ValueError, match=r"nothing of a manager's|neither a file nor a folder"):
        read({FILES: made.getvalue()})


def test_320_a_certificate_that_has_ended_is_refused_with_its_date(tmp_path: Path) -> None:
    end = NOW - timedelta(days=1)
    with pytest.raises(PreflightRefused, match=f"has ended on {end:%Y-%m-%d %H:%M} UTC"):
        planned(bare(tmp_path), saved(archive(end)))


def test_326_a_swarm_with_another_port_is_refused(tmp_path: Path) -> None:
    with pytest.raises(PreflightRefused, match=r"overlay\.vxlan_port is 4789, but the saved swarm was made with 4790"):
        planned(bare(tmp_path), saved(port=4790))


CREATE = "cluster: create swarm"
JOINS = [f"cluster: add {one.name} in the swarm" for one in NODES[1:]]
LEAVES = [f"{one.name}: remove former swarm (asks)" for one in NODES]


def test_317_fresh_hosts_get_the_swarm_on_the_first_manager(tmp_path: Path) -> None:
    assert planned(bare(tmp_path), saved()) == [CREATE, *JOINS]


def test_322_what_a_host_has_of_another_swarm_is_put_aside_with_consent(tmp_path: Path) -> None:
    """Before the saved one is set up: two nodes with one identity may not be at work together."""
    assert planned(at_work(tmp_path), saved()) == [*LEAVES, CREATE, *JOINS]
    assert planned(at(bare(tmp_path), "node2", swarm="yes"), saved()) == [LEAVES[1], CREATE, *JOINS]


def test_319_a_restore_goes_on_where_it_was_killed(tmp_path: Path) -> None:
    """The force is not repeated, and a node that has joined the restored swarm is not put aside."""
    aside = at(at(bare(tmp_path), "node2", "1234 aside"), "node1", "1234 placed")
    assert planned(aside, saved()) == [CREATE, *JOINS]
    forced = at(at_work(tmp_path), "node1", "1234 forced")
    assert planned(forced, saved()) == []
    alone = listing(forced, [listed(NODE1, leader=True)])
    assert planned(alone, saved())[:2] == LEAVES[1:]
    moved = [{**listed(NODE1, leader=True), "ManagerStatus": {"Addr": "192.0.2.99:2377"}}, *map(listed, NODES[1:])]
    assert planned(listing(forced, moved), saved()) == [CREATE]
    info = own(NODE1)
    info["Swarm"]["Cluster"] = {"Spec": {"Raft": {"SnapshotInterval": EACH}}}
    assert planned(with_info(forced, "node1", info), saved()) == [CREATE]


def test_319_what_takes_part_in_the_restore_is_no_swarm_that_lives(tmp_path: Path) -> None:
    """A node without a mark that the restored swarm lists does, and one that it does not list lives by itself."""
    plane, there = PLANE.restoring(saved()), at(at_work(tmp_path), "node1", "1234 forced")
    assert not any(one.holds_data or one.networks for one in plane.standings(there))
    alone = listing(there, [listed(NODE1, leader=True)])
    assert [one.node.name for one in plane.standings(alone) if one.holds_data] == ["node2"]  # node3 is a worker


def test_333_what_users_have_in_a_swarm_without_networks_is_told(tmp_path: Path) -> None:
    """Services, secrets and configs, and nodes that are at work there and that the inventory does not know."""
    stranger = {**listed(NODE3), "Status": {"State": "ready", "Addr": "192.0.2.9"}, "Description": {"Hostname": "nine"}}
    gone = {**stranger, "Status": {"State": "down", "Addr": "192.0.2.8"}}
    there = listing(at_work(tmp_path), [listed(NODE1, leader=True), *map(listed, NODES[1:]), stranger, gone])
    facts = replace(there.facts["node1"], answers={"swarm-contents": "secret b\nsecret a\nservice web\n"})
    there = replace(there, facts={**there.facts, "node1": facts})
    told = {one.node.name: one.contents for one in PLANE.restoring(saved()).standings(there)}
    assert told == {"node1": ("nodes nine", "services web", "secrets a, b"), "node2": ("nodes nine",), "node3": ()}
    assert not any(one.contents for one in PLANE.restoring(saved()).standings(at_work(tmp_path / "bare")))


@pytest.mark.parametrize("stage", ["leaving", "placed", "forced"])
def test_319_a_docker_that_was_stopped_meanwhile_is_started_first(tmp_path: Path, stage: str) -> None:
    """That was agreed to. Nothing stands in the way of that."""
    there = at(bare(tmp_path), "node1", f"1234 {stage}")
    mute = replace(there.facts["node1"], docker_answers=False, docker={})
    there = replace(there, facts={**there.facts, "node1": mute})
    assert planned(there, saved()) == [LEAVES[0].removesuffix(" (asks)"), CREATE, *JOINS]
    plane = PLANE.restoring(saved())
    later = plane.stages(there, Goal.CONVERGE)[-1].foresee(there)
    assert [one for one in failures(node_view.run(plane, later, plane.checks())) if one.where == "node1"] == []


def test_318_containers_wait_until_they_are_connected_again(tmp_path: Path) -> None:
    """The program that would start them stops before the swarm is there, and starts after they are back."""
    there = bare(tmp_path)
    facts = there.facts["node2"]
    running = replace(facts, units={**facts.units, "overlay-mend.service": Unit("active", "enabled")})
    plan = make_plan(PLANE.restoring(saved()), replace(there, facts={**there.facts, "node2": running}))
    mine = [(one.phase, one.action) for one in plan if one.where == "node2" and one.phase in ("swarm", "mend")]
    assert (mine[0], mine[-1]) == (("swarm", "update"), ("mend", "start"))


def test_322_ports_of_a_former_swarm_are_nobody_elses(tmp_path: Path) -> None:
    there = at_work(tmp_path)
    theirs = Listener("tcp", "192.0.2.1", 2377, 'users:(("other",pid=77,fd=3))')
    mine = [replace(theirs, unit="docker.service"), Listener("udp", "*", 4789, "unknown")]
    facts = replace(there.facts["node1"], listeners=(theirs, *mine))
    left = without_former(replace(there, facts={**there.facts, "node1": facts}), saved())
    assert left.facts["node1"].listeners == (theirs,)


def test_319_what_another_restore_has_left_is_a_former_swarm(tmp_path: Path) -> None:
    there = at(at_work(tmp_path), "node1", "4321 forced")
    assert planned(there, saved()) == [*LEAVES, CREATE, *JOINS]


def test_338_a_restore_that_was_killed_gives_the_log_the_settings_of_its_user() -> None:
    """While a manager gets its address, a snapshot is taken after each entry."""
    of_user = {INTERVAL: 5000, "LogEntriesForSlowFollowers": 100}
    about = json.dumps({"port": 4789, "raft": {**of_user, "ElectionTick": 10}}).encode()
    manager = read({**saved().files, ABOUT: about})
    meanwhile = dict.fromkeys(USUAL, EACH)
    assert settings(of_user, {}) == settings(meanwhile, manager.raft) == of_user
    # A backup of an earlier version, or one that was taken meanwhile, does not have them.
    assert settings(meanwhile, read(saved().files).raft) == settings(meanwhile, meanwhile) == USUAL


def test_a_key_loses_what_its_manager_keeps_in_front_of_it() -> None:
    key = b"-----BEGIN EC PRIVATE KEY-----\nkek-version: 0\nraft-dek: a+/=\n\nMHcC\n-----END EC PRIVATE KEY-----\n"
    assert _HEADERS.sub(b"", key) == b"-----BEGIN EC PRIVATE KEY-----\nMHcC\n-----END EC PRIVATE KEY-----\n"
