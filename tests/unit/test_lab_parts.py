"""The parts of the lab that need neither root nor hosts."""

from __future__ import annotations

import json
import os
import tarfile
from pathlib import Path

import pytest
from ruamel.yaml import YAML

from provision import inventory
from provision import lab as labs
from provision.errors import PreflightRefused, UsageError
from provision.lab import folder as lab_folder
from provision.lab import groups, image, network, recipe, releases, requirements, trixie, trixie_docker28
from provision.lab import host as hosts
from provision.lab import lab as lab_module
from provision.lab.base import Base


@pytest.fixture
def lab(tmp_path: Path) -> labs.Lab:
    base = tmp_path / 'a "base": #1'
    base.mkdir()
    (base / "etcd-v3.4.23-linux-amd64.tar.gz").touch()
    nodes = (hosts.node("some", 1), hosts.node("some", 2))
    return labs.Lab("some", tmp_path / "it's a: folder", "ops", "bookworm", nodes, hosts.jump("some"), Base(base))


def test_the_inventory_is_ordinary(lab: labs.Lab) -> None:
    content = YAML(typ="safe").load(lab_folder.inventory(lab))
    assert content["cluster"] == "some"
    assert content["ssh"] == {
        "user": "ops",
        "key": str(lab.key),
        "known_hosts": str(lab.known_hosts),
        "host_keys": "accept-new",
        "gateway": "ip netns exec some-ctl nc %h %p",
    }
    assert content["nodes"] == {"node1": {"address": "198.51.100.11"}, "node2": {"address": "198.51.100.12"}}
    assert content["etcd"]["source"] == str(lab.base.etcd)
    assert content["probe"] == {"image": "busybox", "archive": str(lab.base.busybox)}


def test_the_inventory_of_a_base_without_etcd_loads_and_does_not_name_etcd(lab: labs.Lab) -> None:
    assert lab.base.etcd is not None
    lab.base.etcd.unlink()
    for path in (lab.key, lab.base.busybox, lab.base.redis, lab.base.web):
        path.parent.mkdir(exist_ok=True)
        path.touch()
    lab.inventory.write_text(lab_folder.inventory(lab))
    assert "etcd" not in lab.inventory.read_text()
    cluster = inventory.load(lab.inventory)
    assert cluster.etcd is None
    assert [node.name for node in cluster.nodes] == ["node1", "node2"]


def test_each_release_has_a_base_of_its_own() -> None:
    assert releases.find(releases.DEFAULT) is recipe.DEBIAN
    recipes = (*releases.RECIPES.values(), *releases.OTHER_DOCKER.values())
    assert len({each.digest for each in recipes}) == len(recipes)


def test_hosts_with_debian_13_get_dockers_command_and_no_etcd() -> None:
    assert "--no-install-recommends docker.io docker-cli\n" in trixie.SCRIPT
    assert "etcd" not in trixie.SCRIPT
    assert "tree/usr/bin/docker" in trixie.DEBIAN.essential
    assert not [path for path in trixie.DEBIAN.essential if "etcd" in path]


def test_a_release_that_labs_do_not_know_is_refused_with_those_they_know(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="'sid'") as error:
        labs.up("some", 2, tmp_path, release="sid", say=lambda _: None)
    assert "use bookworm or trixie" in str(error.value)


def test_hosts_with_another_docker_get_only_docker_from_the_next_release() -> None:
    assert releases.find("trixie", "28") is trixie_docker28.DEBIAN
    assert releases.find("trixie") is trixie.DEBIAN
    pins = trixie_docker28.SCRIPT.split("<<'.'\n")[1].split("\n.\n")[0].split("\n\n")
    assert pins == [
        "Package: *\nPin: release n=forky\nPin-Priority: 100",
        "Package: docker.io docker-cli containerd runc\nPin: release n=forky\nPin-Priority: 990",
    ]


@pytest.mark.parametrize(("release", "docker"), [("bookworm", "28"), ("trixie", "26")])
def test_a_docker_that_labs_do_not_know_is_refused_with_those_they_know(
    release: str, docker: str, tmp_path: Path
) -> None:
    with pytest.raises(UsageError, match=f"no lab can run Docker '{docker}' on {release}") as error:
        labs.up("some", 2, tmp_path, release=release, docker=docker, say=lambda _: None)
    assert "--release trixie --docker 28" in str(error.value)


def test_a_lab_with_another_docker_is_refused(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(lab_module, "STATE", tmp_path)
    monkeypatch.setattr(requirements, "check", lambda _: None)
    (tmp_path / "some").mkdir()
    recorded = {"folder": "/lab", "user": "root", "release": "trixie"}
    (tmp_path / "some" / lab_module.SETTINGS).write_text(json.dumps(recorded))
    with pytest.raises(UsageError, match="lab some runs trixie already"):
        labs.up("some", 2, Path("/lab"), release="trixie", docker="28", say=pytest.fail)
    (tmp_path / "some" / lab_module.SETTINGS).write_text(json.dumps({**recorded, "docker": "28"}))
    with pytest.raises(UsageError, match="lab some runs trixie with Docker 28 already"):
        labs.up("some", 2, Path("/lab"), release="trixie", say=pytest.fail)


@pytest.mark.parametrize("recorded", [{}, {"release": "bookworm"}], ids=["before releases", "since"])
def test_a_lab_of_another_release_is_refused_before_a_base_is_built(
    recorded: dict[str, str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(lab_module, "STATE", tmp_path)
    monkeypatch.setattr(requirements, "check", lambda _: None)
    (tmp_path / "some").mkdir()
    (tmp_path / "some" / lab_module.SETTINGS).write_text(json.dumps({"folder": "/lab", "user": "root", **recorded}))
    with pytest.raises(UsageError, match="lab some runs bookworm already"):
        labs.up("some", 2, Path("/lab"), release="trixie", say=pytest.fail)


@pytest.mark.parametrize("name", ["", "Lab", "a-b", "../x", "a b", "1a", "x" * 21, "$(id)"])
def test_a_name_that_could_be_misread_is_refused(name: str) -> None:
    for call in (labs.down, labs.status, labs.find):
        with pytest.raises(UsageError, match="cannot name a lab"):
            call(name)


@pytest.mark.parametrize("nodes", [0, -1, 101])
def test_a_number_of_nodes_that_cannot_be_is_refused(nodes: int, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="1 to 100 nodes"):
        labs.up("some", nodes, tmp_path, say=lambda _: None)


def test_a_lab_that_is_not_there_is_told() -> None:
    with pytest.raises(UsageError, match="no lab nowhere"):
        labs.find("nowhere")
    with pytest.raises(UsageError, match="no host node1"):
        labs.power_cut("nowhere", "node1")
    assert labs.status("nowhere") == ()
    assert "nowhere" not in labs.names()


def test_all_that_this_machine_lacks_is_told(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(requirements, "PATH", str(tmp_path))
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    with pytest.raises(PreflightRefused) as refusal:
        requirements.check(2)
    assert "labs need root" in str(refusal.value)
    assert "debootstrap" in str(refusal.value)
    assert "apt-get install" in str(refusal.value)
    assert "systemd-container" in requirements.missing_packages()


def test_more_nodes_than_inotify_allows_are_refused(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    allowed = tmp_path / "max_user_instances"
    allowed.write_text("128\n")
    monkeypatch.setattr(requirements, "WATCHERS", allowed)
    with pytest.raises(PreflightRefused, match=r"sysctl fs\.inotify\.max_user_instances="):
        requirements.check(20)


def test_a_group_is_made_in_every_tree(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(groups, "ROOT", tmp_path)
    for tree in ("systemd", "unified", "cpu,cpuacct"):
        (tmp_path / tree).mkdir()
    (tmp_path / "cpu").symlink_to("cpu,cpuacct")
    assert [folder.parent.name for folder in groups.make("some")] == ["cpu,cpuacct", "systemd", "unified"]
    assert groups.names("so") == {"some"}
    groups.remove("some")
    assert groups.names("so") == frozenset()


def test_where_there_is_one_tree_one_group_is_made(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(groups, "ROOT", tmp_path)
    (tmp_path / "cgroup.controllers").touch()
    (tmp_path / "system.slice").mkdir()
    assert groups.make("some") == (tmp_path / "some",)


def test_addresses_are_those_of_the_documentation_range() -> None:
    assert hosts.node("some", 1).address == "198.51.100.11"
    assert hosts.jump("some").address.startswith(network.PREFIX)


def test_the_image_is_the_same_each_time_and_whole(tmp_path: Path) -> None:
    busybox = tmp_path / "busybox"
    busybox.write_bytes(b"binary")
    for name in ("one.tar", "two.tar"):
        image.write(tmp_path / name, busybox, ["sh", "ping"], "amd64")
    assert (tmp_path / "one.tar").read_bytes() == (tmp_path / "two.tar").read_bytes()
    with tarfile.open(tmp_path / "one.tar") as archive:
        manifest = archive.extractfile("manifest.json")
        assert manifest is not None
        [entry] = json.load(manifest)
        assert entry["RepoTags"] == ["busybox:latest"]
        assert {entry["Config"], *entry["Layers"]} < set(archive.getnames())
        layer = archive.extractfile(entry["Layers"][0])
        with tarfile.open(fileobj=layer) as content:
            assert content.getmember("bin/ping").linkname == "busybox"
            assert content.getmember("tmp").mode == 0o1777


def test_the_image_of_a_folder_holds_its_files_as_roots(tmp_path: Path) -> None:
    (tmp_path / "tree/app").mkdir(parents=True)
    (tmp_path / "tree/app/run").write_text("program")
    (tmp_path / "tree/app/run").chmod(0o755)
    image.write_tree(tmp_path / "some.tar", image.Image("some:1", ("run",), folder="/app"), tmp_path / "tree", "amd64")
    with tarfile.open(tmp_path / "some.tar") as archive:
        [entry] = json.loads(archive.extractfile("manifest.json").read())
        assert entry["RepoTags"] == ["some:1"]
        config = json.loads(archive.extractfile(entry["Config"]).read())["config"]
        assert (config["Cmd"], config["WorkingDir"]) == (["run"], "/app")
        with tarfile.open(fileobj=archive.extractfile(entry["Layers"][0])) as content:
            file = content.getmember("./app/run")
            assert (file.mode, file.uid, file.gid, file.uname) == (0o755, 0, 0, "root")


def test_removing_the_folder_leaves_nothing_of_ours_and_all_of_others(tmp_path: Path) -> None:
    identity = tmp_path / "lab/.overlay/demo"
    identity.mkdir(parents=True)
    (identity.parent / ".gitignore").write_text("*\n")
    (identity.parent / ".lock").touch()
    lab_folder.remove(tmp_path / "lab", "demo")
    assert not (tmp_path / "lab").exists()

    (tmp_path / "lab/.overlay/theirs").mkdir(parents=True)
    (tmp_path / "lab/notes").write_text("mine")
    lab_folder.remove(tmp_path / "lab", "demo")
    assert {path.name for path in (tmp_path / "lab").rglob("*")} == {"notes", ".overlay", "theirs"}
