"""Archives of images are opened on the controller: what Docker would not load is refused before anything is sent."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from cluster_sample import bare_situation, changed, with_values
from image_sample import Mode, image, save, write
from pki_sample import sample
from preflight_sample import failures

from provision.core.outcome import Outcome
from provision.core.situation import Situation
from provision.docker.archive import complaint, normal
from provision.inventory.model import App, AppImage


def bare(folder: Path, archive: Path) -> Situation:
    """Bare hosts without the probe's image."""
    cluster = sample(folder)
    return bare_situation(replace(cluster, probe=replace(cluster.probe, image="busybox", archive=archive)))


def refused(folder: Path, archive: Path) -> Outcome:
    """What is said of this archive: one thing, of the controller, with advice."""
    (found,) = failures(bare(folder, archive))
    assert (found.check, found.where) == ("image-archives", "controller")
    assert "docker save busybox" in found.advice
    return found


@pytest.mark.parametrize(
    ("files", "evidence"),
    [
        ({"bin/sh": b"", "etc/passwd": b"", "usr/bin/env": b""}, "holds the files of a container (docker export)"),
        ({"index.json": b"{}", "oci-layout": b"{}"}, "in the format of OCI alone"),
        ({"readme": b"no image"}, "holds no image: it has no manifest.json"),
        (image(("alpine:3", "alpine:3.20")), "holds alpine:3, alpine:3.20, not busybox:latest"),
        (image(("busybox:1.36",)), "holds busybox:1.36, not busybox:latest"),
        (image(None), "holds an image without a name, not busybox:latest"),
        ({name: text for name, text in image().items() if name != "0/layer.tar"}, "lacks the layer 0/layer.tar"),
        ({name: text for name, text in image().items() if name != "c.json"}, "is damaged"),
        (image() | {"manifest.json": b"{"}, "is damaged"),
        (image() | {"manifest.json": b"7"}, "is damaged"),
    ],
    ids=[
        *("docker export", "OCI", "a tar file", "another image", "another tag", "no name"),
        *("no layer", "no config", "no JSON", "a number"),
    ],
)
def test_103_what_holds_another_thing_than_the_image_is_refused(
    tmp_path: Path, files: dict[str, bytes], evidence: str
) -> None:
    assert evidence in refused(tmp_path, write(tmp_path / "image.tar", files)).evidence


def test_103_what_is_no_archive_is_refused(tmp_path: Path) -> None:
    (tmp_path / "junk").write_bytes(b"junk" * 5000)
    (tmp_path / "empty").touch()
    (tmp_path / "folder").mkdir()
    save(tmp_path / "whole")
    packed = write(tmp_path / "packed", image() | {"0/layer.tar": bytes(range(256)) * 4000}, "w:gz").read_bytes()
    (tmp_path / "cut").write_bytes((tmp_path / "whole").read_bytes()[:700])
    (tmp_path / "cut packed").write_bytes(packed[: len(packed) // 2])
    for name, evidence in {
        "junk": "is no archive of an image",
        "empty": "is no archive of an image",
        "folder": "is a folder",
        "absent": "does not exist",
        "cut": "is cut off",
        "cut packed": "is damaged",
    }.items():
        assert evidence in refused(tmp_path, tmp_path / name).evidence, name


@pytest.mark.parametrize("mode", ["w", "w:gz", "w:bz2", "w:xz"])
def test_103_an_image_is_taken_however_it_is_packed(tmp_path: Path, mode: Mode) -> None:
    assert failures(bare(tmp_path, write(tmp_path / "image", image(), mode))) == []


def test_103_an_archive_that_only_docker_can_unpack_is_left_to_docker(tmp_path: Path) -> None:
    (tmp_path / "image").write_bytes(b"\x28\xb5\x2f\xfd and more")
    assert failures(bare(tmp_path, tmp_path / "image")) == []


@pytest.mark.parametrize(("cpu", "machine"), [("arm64", "x86_64"), ("amd64", "aarch64"), ("s390x", "x86_64")])
def test_103_an_image_for_another_cpu_is_told_at_each_node_that_has_it_not(
    tmp_path: Path, cpu: str, machine: str
) -> None:
    situation = bare(tmp_path, write(tmp_path / "image", image(cpu=cpu)))
    for name in ("node1", "node2"):
        situation = changed(situation, name, with_values(machine=machine))
    situation = changed(situation, "node3", lambda facts: replace(facts, images=frozenset({"busybox"})))
    found = [one for one in failures(situation) if one.check == "image-archives"]
    assert [one.where for one in found] == ["node1", "node2"]
    assert all(f"this host is {machine}, but" in one.evidence and f"for {cpu}" in one.evidence for one in found)
    assert all("docker pull --platform linux/" in one.advice for one in found)


@pytest.mark.parametrize(("cpu", "machine"), [("386", "x86_64"), ("arm", "aarch64"), ("new", "x86_64"), ("arm64", "")])
def test_103_a_cpu_that_runs_the_image_or_is_not_known_is_no_obstacle(tmp_path: Path, cpu: str, machine: str) -> None:
    assert complaint(write(tmp_path / "image", image(cpu=cpu)), "busybox", machine) is None


def test_103_an_image_for_another_system_is_refused(tmp_path: Path) -> None:
    problem = complaint(write(tmp_path / "image", image(system="windows")), "busybox")
    assert problem
    assert "for windows, not for Linux" in problem.what


def test_103_nodes_that_have_the_image_need_no_archive(tmp_path: Path) -> None:
    situation = bare(tmp_path, tmp_path / "absent")
    for name in situation.facts:
        situation = changed(situation, name, lambda facts: replace(facts, images=frozenset({"busybox"})))
    assert failures(situation) == []


def test_103_the_counters_archives_are_opened_for_the_nodes_that_run_it(tmp_path: Path) -> None:
    images = AppImage("redis", write(tmp_path / "redis", image(("redis:latest",)))), AppImage("page", tmp_path / "page")
    situation = bare_situation(replace(sample(tmp_path), app=App(*images)))
    (found,) = failures(situation)
    assert (found.where, found.evidence) == (
        "controller",
        f"{tmp_path}/page does not exist: the image page comes from it",
    )
    there = changed(situation, "node2", lambda facts: replace(facts, images=frozenset({"page"})))
    assert failures(there) == []


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("busybox", "busybox:latest"),
        ("docker.io/library/busybox:1", "busybox:1"),
        ("docker.io/me/it", "me/it:latest"),
        ("registry:5000/busybox", "registry:5000/busybox:latest"),
    ],
)
def test_a_name_is_compared_as_docker_shows_it(name: str, shown: str) -> None:
    assert normal(name) == shown
