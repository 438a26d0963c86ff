"""The etcd release: what is known of a good one, and what is said of a bad one."""

from __future__ import annotations

import io
import os
import tarfile
import tempfile
from dataclasses import replace
from hashlib import sha256
from pathlib import Path

import pytest
from pki_sample import sample

from provision.errors import Exit, PreflightRefused, Problem
from provision.inventory.model import Etcd
from provision.planes.etcd import release
from provision.planes.etcd.release import Artifact

TOP = "etcd-v3.5.30-linux-amd64"


def program(machine: int, name: str) -> bytes:
    """The beginning of an ELF file for a CPU (elf.h: e_ident, e_type, e_machine), then what does not compress."""
    header = b"\x7fELF\x02\x01" + bytes(12) + machine.to_bytes(2, "little")
    return header + b"".join(sha256(f"{name}{block}".encode()).digest() for block in range(2000))


ETCD, ETCDCTL = program(62, "etcd"), program(62, "etcdctl")
RELEASE = {f"{TOP}/README.md": b"words", f"{TOP}/etcd": ETCD, f"{TOP}/etcdctl": ETCDCTL, f"{TOP}/etcdutl": b"more"}


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A cache of the test's own."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache"


def archived(path: Path, files: dict[str, bytes]) -> Path:
    with tarfile.open(path, "w:gz") as archive:
        for name, content in files.items():
            entry = tarfile.TarInfo(name)
            entry.size, entry.mode = len(content), 0o755
            archive.addfile(entry, io.BytesIO(content))
    return path


def load(source: Path | str, sha256: str | None = None) -> Artifact:
    folder = Path(source).parent if isinstance(source, Path) else Path("/srv")
    return release.load(replace(sample(folder), etcd=Etcd(str(source), sha256)))


def refusal(source: Path | str, sha256: str | None = None) -> Problem:
    with pytest.raises(PreflightRefused) as refused:
        load(source, sha256)
    assert refused.value.exit_code is Exit.REFUSED
    (problem,) = refused.value.problems
    assert problem.where == "controller"
    return problem


def hash_of(content: bytes) -> str:
    return sha256(content).hexdigest()


@pytest.mark.parametrize("prefix", ["", "./"])
def test_a_release_archive_is_described(tmp_path: Path, prefix: str) -> None:
    path = archived(tmp_path / "any name.tgz", {f"{prefix}{name}": content for name, content in RELEASE.items()})
    assert load(path) == Artifact(
        archive=str(path),
        sha256=hash_of(path.read_bytes()),
        top=f"{prefix}{TOP}",
        version="3.5.30",
        cpu="x86_64",
        hashes={"etcd": hash_of(ETCD), "etcdctl": hash_of(ETCDCTL)},
    )


def test_the_same_archive_gives_the_same_description_again(tmp_path: Path) -> None:
    path = archived(tmp_path / "etcd.tgz", RELEASE)
    assert load(path) == load(path)


def test_an_archive_put_in_its_place_is_read_anew(tmp_path: Path) -> None:
    path = archived(tmp_path / "etcd.tgz", RELEASE)
    first = load(path)
    archived(tmp_path / "new.tgz", {**RELEASE, f"{TOP}/etcd": ETCD + b"patched"}).replace(path)
    assert load(path).hashes["etcd"] == hash_of(ETCD + b"patched") != first.hashes["etcd"]


@pytest.mark.parametrize("damage", ["", "{", "{}", "[]", '{"archive": "x"}'])
def test_a_damaged_cache_is_no_obstacle(tmp_path: Path, cache: Path, damage: str) -> None:
    path = archived(tmp_path / "etcd.tgz", RELEASE)
    first = load(path)
    for memory in cache.rglob("*.json"):
        memory.write_text(damage)
    assert load(path) == first


def test_a_folder_is_a_release_too(tmp_path: Path) -> None:
    folder = tmp_path / TOP
    folder.mkdir()
    (folder / "etcd").write_bytes(ETCD)
    (folder / "etcdctl").write_bytes(ETCDCTL)
    found = load(folder)
    assert (found.version, found.cpu, found.top) == ("3.5.30", "x86_64", "etcd-v3.5.30")
    assert found.hashes == {"etcd": hash_of(ETCD), "etcdctl": hash_of(ETCDCTL)}
    with tarfile.open(found.path) as archive:
        assert sorted(archive.getnames()) == ["etcd-v3.5.30/etcd", "etcd-v3.5.30/etcdctl"]
    assert load(folder) == found
    (folder / "etcd").write_bytes(ETCD + b"patched")
    assert load(folder).hashes["etcd"] == hash_of(ETCD + b"patched")


@pytest.mark.parametrize(("files", "what"), [(("etcd",), "lacks etcdctl"), ((), "lacks etcd and etcdctl")])
def test_a_folder_that_is_no_release_is_refused(tmp_path: Path, files: tuple[str, ...], what: str) -> None:
    folder = tmp_path / TOP
    folder.mkdir()
    for file in files:
        (folder / file).write_bytes(ETCD)
    problem = refusal(folder)
    assert problem.what == f"the folder {folder} {what}"
    assert "a folder that holds etcd and etcdctl" in problem.advice


def binaries(folder: Path, etcd: bytes) -> Path:
    folder.mkdir()
    for name in ("etcd", "etcdctl"):
        (folder / name).write_bytes(etcd)
        (folder / name).chmod(0o755)
    return folder


@pytest.mark.parametrize("name", ["bin", "etcd-v3.5.21-linux-amd64"])
def test_207_a_folder_of_any_name_is_asked_for_its_version(tmp_path: Path, name: str) -> None:
    says = b"#!/bin/sh\n[ \"$1\" = --version ] && printf 'etcd Version: 3.5.30\\nGit SHA: x\\n'\n"
    found = load(binaries(tmp_path / name, says))
    assert (found.version, found.top) == ("3.5.30", "etcd-v3.5.30")


GO = b"path\tgo.etcd.io/etcd/server/v3\nmod\tgo.etcd.io/etcd/server/v3\t(devel)\t\ndep\tgithub.com/x/y\tv1.2.3\th1:a=\n"
MODULE = b"dep\tgo.etcd.io/etcd/api/v3\tv3.5.33\n=>\t../api\t(devel)\t\n"


@pytest.mark.parametrize("machine", [183, 21, 62])
def test_207_a_folder_for_another_cpu_is_read(tmp_path: Path, machine: int) -> None:
    found = load(binaries(tmp_path / "bin", program(machine, "etcd") + GO + MODULE))
    assert found.version == "3.5.33"


def test_207_a_folder_for_another_cpu_that_says_nothing_is_taken_at_its_name(tmp_path: Path) -> None:
    assert load(binaries(tmp_path / "etcd-v3.4.23-linux-arm64", program(183, "etcd") + GO)).version == "3.4.23"
    problem = refusal(binaries(tmp_path / "bin", program(183, "etcd") + GO))
    assert problem.what == (
        f"the version of {tmp_path}/bin/etcd cannot be known: it does not run here (it is for aarch64)"
    )
    assert "rename the folder to etcd-vVERSION" in problem.advice


def test_206_a_cache_that_takes_no_file_is_no_obstacle_to_an_archive(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    assert load(archived(tmp_path / "etcd.tgz", RELEASE)).version == "3.5.30"
    problem = refusal(binaries(tmp_path / TOP, ETCD))
    assert "Not a directory" in problem.what
    assert "XDG_CACHE_HOME" in problem.advice


def test_42_a_source_that_is_not_there_is_told_with_where_to_get_one(tmp_path: Path) -> None:
    problem = refusal(tmp_path / "etcd.tar.gz")
    assert problem.what == f"etcd.source {tmp_path}/etcd.tar.gz does not exist"
    assert "github.com/etcd-io/etcd/releases" in problem.advice
    assert f"write etcd: {{version: 3.5.30}} in {tmp_path}/inventory.yml" in problem.advice


@pytest.mark.parametrize("closed", ["etcd.tgz", "bin/etcdctl", "bin", "."])
def test_42_a_source_that_may_not_be_read_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, closed: str) -> None:
    with tempfile.TemporaryDirectory() as folder:  # pytest's own is closed to others
        here = Path(folder)
        monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
        here.chmod(0o755)
        archived(here / "etcd.tgz", RELEASE)
        binaries(here / "bin", ETCD)
        (here / closed).chmod(0)
        before = os.geteuid()
        os.seteuid(65534 if before == 0 else before)
        try:
            problem = refusal(here / "etcd.tgz" if closed in ("etcd.tgz", ".") else here / "bin")
        finally:
            os.seteuid(before)
            here.chmod(0o755)
        assert "cannot be read: Permission denied" in problem.what
        assert "see who may read it" in problem.advice


@pytest.mark.parametrize("case", [str.lower, str.upper])
def test_43_the_checksum_that_the_inventory_gives_is_kept_to(tmp_path: Path, case: type[str]) -> None:
    path = archived(tmp_path / "etcd.tgz", RELEASE)
    right = hash_of(path.read_bytes())
    assert load(path, case(right)).sha256 == right
    problem = refusal(path, "0" * 64)
    assert problem.what == f"{path} has sha256 {right}, the inventory says {'0' * 64}"
    assert "download it again" in problem.advice


def test_43_a_file_under_that_checksum_in_the_cache_is_still_checked(cache: Path) -> None:
    (cache / "overlay-provision").mkdir(parents=True)
    path = archived(cache / "overlay-provision" / f"{'0' * 64}.tar.gz", RELEASE)
    assert f"{path} has sha256" in refusal("https://192.0.2.1/etcd.tar.gz", "0" * 64).what


@pytest.mark.parametrize("percent", [0, 1, 50, 99])
def test_an_archive_cut_short_is_refused(tmp_path: Path, percent: int) -> None:
    path = archived(tmp_path / "etcd.tgz", RELEASE)
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) * percent // 100])
    problem = refusal(path)
    assert f"{path} is not a whole .tar.gz archive" in problem.what
    assert problem.advice == "download it again"


@pytest.mark.parametrize("content", [b"<html>not found</html>", b"PK\x03\x04" + bytes(2000)])
def test_a_file_that_is_no_archive_is_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "etcd.tgz").write_bytes(content)
    assert "is not a whole .tar.gz archive" in refusal(tmp_path / "etcd.tgz").what


@pytest.mark.parametrize(
    "files",
    [
        {},
        {f"{TOP}/README.md": b"words"},
        {f"{TOP}/etcd": ETCD},
        {"etcd": ETCD, "etcdctl": ETCDCTL},
        {"etcd/etcd": ETCD, "etcd/etcdctl": ETCDCTL},
        {"v3.5.30/etcd": ETCD, "v3.5.30/etcdctl": ETCDCTL},
        {f"{TOP}/bin/etcd": ETCD, f"{TOP}/bin/etcdctl": ETCDCTL},
        {f"/{TOP}/etcd": ETCD, f"/{TOP}/etcdctl": ETCDCTL},
        {f"../{TOP}/etcd": ETCD, f"../{TOP}/etcdctl": ETCDCTL},
    ],
    ids=[
        "empty",
        "no binaries",
        "one binary",
        "no top",
        "top without version",
        "another top",
        "deeper",
        "root",
        "outside",
    ],
)
def test_an_archive_that_is_no_release_is_refused(tmp_path: Path, files: dict[str, bytes]) -> None:
    problem = refusal(archived(tmp_path / "etcd.tgz", files))
    assert "does not hold etcd-vVERSION-…/etcd and …/etcdctl" in problem.what
    assert "as etcd publishes them" in problem.advice


@pytest.mark.parametrize(
    ("machine", "cpu"), [(62, "x86_64"), (183, "aarch64"), (21, "ppc64le"), (243, "riscv64"), (8, "unknown")]
)
def test_41_the_cpu_is_read_from_the_binaries(tmp_path: Path, machine: int, cpu: str) -> None:
    files = {f"{TOP}/{name}": program(machine, name) for name in ("etcd", "etcdctl")}
    assert load(archived(tmp_path / "etcd.tgz", files)).cpu == cpu


def test_41_a_script_is_for_no_cpu(tmp_path: Path) -> None:
    files = {f"{TOP}/{name}": b"#!/bin/sh\nexit\n" for name in ("etcd", "etcdctl")}
    assert load(archived(tmp_path / "etcd.tgz", files)).cpu == "none"


@pytest.mark.parametrize("percent", [10, 40, 60, 90])
def test_43_an_archive_damaged_inside_is_refused(tmp_path: Path, percent: int) -> None:
    path = archived(tmp_path / "etcd.tgz", RELEASE)
    whole = path.read_bytes()
    start = len(whole) * percent // 100
    path.write_bytes(whole[:start] + b"\xff" * 40 + whole[start + 40 :])
    refusal(path)


def test_41_the_cpu_of_a_big_endian_binary_is_read(tmp_path: Path) -> None:
    binary = b"\x7fELF\x02\x02" + bytes(12) + (22).to_bytes(2, "big")  # EI_DATA 2: most significant byte first
    path = archived(tmp_path / "etcd.tgz", {f"{TOP}/{name}": binary for name in ("etcd", "etcdctl")})
    assert load(path).cpu == "s390x"
