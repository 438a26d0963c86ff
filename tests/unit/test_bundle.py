"""The archive: whole or not there, its owner's alone, and only the latest are kept."""

from __future__ import annotations

import io
import os
import stat
import tarfile
from pathlib import Path

import pytest

from provision.bundle import archive

CANARY = "c4n4ry-Zq7Yx"


def read(data: bytes) -> dict[str, str]:
    with tarfile.open(fileobj=io.BytesIO(data)) as tar:
        return {entry.name: file.read().decode() for entry in tar if (file := tar.extractfile(entry))}


def test_every_text_goes_in_redacted() -> None:
    texts = {"a/b.txt": f"password={CANARY}\nüber\ud800\n", "README.txt": f"said {CANARY} x"}
    found = read(archive.packed("top", texts, [CANARY]))
    assert found == {"top/a/b.txt": "password=REDACTED\nüber?\n", "top/README.txt": "said REDACTED x"}


def test_an_archive_is_its_owners_alone_whatever_the_umask_and_replaces_what_was_there(tmp_path: Path) -> None:
    path = tmp_path / "b.tar.gz"
    path.write_text("old")
    path.chmod(0o644)
    before = os.umask(0)
    try:
        archive.write(path, b"new")
    finally:
        os.umask(before)
    assert (path.read_bytes(), stat.S_IMODE(path.stat().st_mode)) == (b"new", 0o600)
    assert [one.name for one in tmp_path.iterdir()] == ["b.tar.gz"]


def test_where_it_cannot_be_written_nothing_is_left(tmp_path: Path) -> None:
    (tmp_path / "b.tar.gz").mkdir()
    (tmp_path / "b.tar.gz" / "x").touch()
    with pytest.raises(OSError, match="directory"):
        archive.write(tmp_path / "b.tar.gz", b"new")
    assert [one.name for one in tmp_path.iterdir()] == ["b.tar.gz"]


def test_the_folder_is_closed_to_others_and_holds_the_latest(tmp_path: Path) -> None:
    folder = archive.make_folder(tmp_path / ".overlay" / "demo")
    assert {stat.S_IMODE(path.stat().st_mode) for path in (folder, folder.parent, folder.parent.parent)} == {0o700}
    for number in range(archive.KEPT + 3):
        path = folder / f"{9 - number}.tar.gz"
        archive.write(path, b"x")
        os.utime(path, ns=(number, number))
        archive.keep_latest(folder)
    left = sorted(path.name for path in folder.glob("*.tar.gz"))
    assert left == [f"{number}.tar.gz" for number in range(2, 2 + archive.KEPT)]
