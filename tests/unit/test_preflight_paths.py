"""Paths and file systems of a host before us: links, folders and files in each other's place, inodes, /run."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from cluster_sample import bare_situation, changed, with_path, with_resource
from pki_sample import sample
from preflight_sample import Change, failures, obstacle

from provision import layout
from provision.facts import Facts, PathFact, Space
from provision.planes.etcd import paths
from provision.resources import Folder

FOLDER = PathFact("folder", 0o755, "root:root")


def has(path: str, there: PathFact) -> Change:
    return lambda facts: replace(facts, paths={**facts.paths, path: there})


def link(leads_to: PathFact | None) -> PathFact:
    return PathFact("link", 0o777, "root:root", target="/data/it", leads_to=leads_to)


@pytest.mark.parametrize("path", [paths.DATA, layout.DOCKER, layout.DOCKER_DROP_IN_FOLDER, layout.STATE])
def test_100_a_link_to_a_folder_is_followed_and_one_that_leads_nowhere_is_refused(tmp_path: Path, path: str) -> None:
    assert failures(changed(bare_situation(sample(tmp_path)), "node2", has(path, link(FOLDER)))) == []
    outcome = obstacle(tmp_path, has(path, link(None)), "paths")
    assert outcome.evidence == f"{path} is a link to /data/it, which is not there"
    assert "mkdir -p /data/it" in outcome.advice


@pytest.mark.parametrize(
    ("path", "there", "evidence"),
    [
        (layout.DOCKER, PathFact("file", 0o644, "root:root"), "is a file, and a folder has to be there"),
        (layout.DOCKER, link(PathFact("file", 0o644, "root:root")), "is a file, and a folder has to be there"),
        (layout.DOCKER_DROP_IN, FOLDER, "is a folder, and a file has to be there"),
        ("/usr/local/bin/etcd", FOLDER, "is a folder, and a file has to be there"),
        (paths.ETCD_UNIT_FILE, link(FOLDER), "is a folder, and a file has to be there"),
    ],
)
def test_100_what_is_of_another_kind_is_refused(tmp_path: Path, path: str, there: PathFact, evidence: str) -> None:
    outcome = obstacle(tmp_path, has(path, there), "paths")
    assert outcome.evidence == f"{path} {evidence}"
    assert outcome.advice == f"move it away: mv {path} {path}.before"


def test_100_a_unit_that_its_user_has_masked_is_no_obstacle(tmp_path: Path) -> None:
    masked = link(PathFact("character special file", 0o666, "root:root"))
    assert failures(changed(bare_situation(sample(tmp_path)), "node2", has(paths.ETCD_UNIT_FILE, masked))) == []


def test_100_the_folder_that_a_link_leads_to_is_compared() -> None:
    folder = Folder("/srv/it", 0o700)
    right = with_resource(Facts(), folder)
    there = link(replace(FOLDER, mode=0o700))
    assert folder.compare(has("/srv/it", there)(right)) is None
    difference = folder.compare(with_path("/srv/it", mode=0o755)(right))
    assert difference == folder.compare(has("/srv/it", link(FOLDER))(right))
    assert difference


def on(path: str, mount: str, **more: int) -> Change:
    options = {"free": 20_000_000_000, **more}
    return lambda facts: replace(
        facts, spaces={**facts.spaces, path: Space(mount, options=frozenset({"rw"}), **options)}
    )


def test_100_drop_ins_on_another_file_system_are_refused(tmp_path: Path) -> None:
    outcome = obstacle(tmp_path, on(layout.DOCKER_DROP_IN_FOLDER, "/data"), "units-at-boot")
    assert "is on the file system that is mounted at /data: at boot systemd reads it before" in outcome.evidence
    same = on(layout.DOCKER_DROP_IN_FOLDER, "/")
    assert failures(changed(bare_situation(sample(tmp_path)), "node2", same)) == []


@pytest.mark.parametrize("path", ["/run", "/etc", "/var/lib/docker", layout.STATE, layout.PROGRAMS, paths.DATA])
def test_102_a_file_system_without_inodes(tmp_path: Path, path: str) -> None:
    outcome = obstacle(tmp_path, on(path, path, inodes=999), "inodes")
    assert outcome.evidence == f"{path} has 999 inodes left, 1000 are needed: each file takes one"
    assert f"du --inodes -xS {path}" in outcome.advice
    for enough in ({"inodes": 1000}, {}):  # some file systems have no limit
        assert failures(changed(bare_situation(sample(tmp_path)), "node2", on(path, path, **enough))) == []


def test_102_a_small_run_needs_room_for_sockets_only(tmp_path: Path) -> None:
    outcome = obstacle(tmp_path, on("/run", "/run", free=3_900_000), "disk")
    assert outcome.evidence == "/run has 3.9 MB free, 4.0 MB are needed"
    assert failures(changed(bare_situation(sample(tmp_path)), "node2", on("/run", "/run", free=4_000_000))) == []
