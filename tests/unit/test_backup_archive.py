"""The archive of a backup: what is read is what was packed; what was damaged is refused."""

from __future__ import annotations

import hashlib
import io
import json
import random
import tarfile
from collections.abc import Callable
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from provision.backup import archive
from provision.core.saved import Saved
from provision.docker.containers import Attachment, Container
from provision.errors import BackupError

WEB = Container("node1", "a" * 64, "web", "busybox", True, "always", (Attachment("demo", "10.99.0.5", True, ("www",)),))
ANSWERS = {
    "node1": f"root\t/var/lib/docker\ncontainer\t{'a' * 64}\tweb\tbusybox\tyes\talways\n"
    f"attachment\t{'a' * 64}\tdemo\t{'f' * 64}\t10.99.0.5\tyes\twww\nrecorded\n",
    "node2": "root\t/var/lib/docker\nrecorded\n",
}
SAVED = Saved(
    "etcd",
    "east",
    "2026-11-27T15:16:49+00:00",
    {"overlay-provision": "0.1.0", "Docker on node1": "20.10.24"},
    ("node3",),
    networks=({"Name": "demo", "Id": "f" * 64, "IPAM": {"Config": [{"Subnet": "10.99.0.0/24"}]}},),
    inventory=b"cluster: east\n",
    identity={"control-plane": b"etcd\n", "docker/ca.key": b"key"},
    files={"etcd/keys.json": b"{}", "etcd/snapshot.db": bytes(random.Random(1).randbytes(5000))},
)
WHOLE = archive.packed(SAVED, ANSWERS)


def files_of(data: bytes) -> dict[str, bytes]:
    return archive._untarred(archive._decompressed(data))


def rebuilt(files: dict[str, bytes]) -> bytes:
    return archive._compressed(archive._tar(files))


def with_entry(entry: tarfile.TarInfo, content: bytes = b"") -> bytes:
    """The whole archive with one more entry in its tar."""
    stream = io.BytesIO(archive._decompressed(WHOLE))
    entry.size = len(content)
    with tarfile.open(fileobj=stream, mode="a", format=tarfile.PAX_FORMAT) as tar:
        tar.addfile(entry, io.BytesIO(content))
    return archive._compressed(stream.getvalue())


def test_what_is_read_is_what_was_packed() -> None:
    checksum = hashlib.sha256(WHOLE).hexdigest()
    assert archive.read(WHOLE) == replace(SAVED, containers=(WEB,), checksum=checksum)


def damaged(number: int) -> bytes:
    """One of many damaged archives: cut, changed at a place, with files swapped, renamed, or without one."""
    draw = random.Random(number)
    data, files = bytearray(WHOLE), files_of(WHOLE)
    names = sorted(files)
    match number % 5:
        case 0:
            return WHOLE[: draw.randrange(len(WHOLE))]
        case 1:
            data[draw.randrange(len(WHOLE))] ^= 0xFF
            return bytes(data)
        case 2:
            one, other = draw.sample([name for name in names if name != archive.MANIFEST], 2)
            return rebuilt({**files, one: files[other], other: files[one]})
        case 3:
            name = draw.choice(names)
            return rebuilt({f"{key}.old" if key == name else key: content for key, content in files.items()})
        case _:
            files.pop(draw.choice(names))
            return rebuilt(files)


@pytest.mark.parametrize("number", range(100))
def test_80_300_a_damaged_archive_is_refused(number: int) -> None:
    with pytest.raises(BackupError):
        archive.read(damaged(number))


@given(place=st.integers(0, len(WHOLE) - 1), change=st.integers(1, 255))
def test_no_changed_byte_changes_what_is_read(place: int, change: int) -> None:
    data = bytearray(WHOLE)
    data[place] ^= change
    try:
        found = archive.read(bytes(data))
    except BackupError:
        return
    assert replace(found, checksum="") == replace(archive.read(WHOLE), checksum="")  # a bit that nothing reads


@given(data=st.binary(max_size=200))
def test_what_is_no_archive_is_refused(data: bytes) -> None:
    for content in (data, archive.GZIP + data, archive._compressed(data)):
        with pytest.raises(BackupError):
            archive.read(content)


def changed(**values: object) -> bytes:
    files = files_of(WHOLE)
    manifest = json.loads(files[archive.MANIFEST])
    return rebuilt({**files, archive.MANIFEST: json.dumps({**manifest, **values}).encode()})


@pytest.mark.parametrize("number", [0, 2, 99, None, "1"])
def test_an_archive_of_another_format_is_refused_and_says_which_program_reads_it(number: object) -> None:
    with pytest.raises(BackupError) as refused:
        archive.read(changed(format=number))
    (problem,) = refused.value.problems
    assert f"has the format {number}, and this program reads 1" in problem.what
    assert "0.1.0" in problem.advice


@pytest.mark.parametrize(
    "values",
    [
        {"kind": "other"},
        {"format": 2, "versions": 1},
        {"files": None},
        {"versions": 1},
        {"missing": 1},
        {"files": {}},
        {"plane": None},
    ],
)
def test_an_archive_with_another_manifest_is_refused(values: dict[str, object]) -> None:
    if values == {"plane": None}:
        assert archive.read(changed(**values)).plane == "None"  # the verb refuses it: no such control plane
        return
    with pytest.raises(BackupError):
        archive.read(changed(**values))


def entry(name: str, kind: bytes = tarfile.REGTYPE, link: str = "") -> tarfile.TarInfo:
    found = tarfile.TarInfo(name)
    found.type, found.linkname = kind, link
    return found


@pytest.mark.parametrize(
    "one",
    [
        entry("../outside"),
        entry("/etc/passwd"),
        entry("identity/../../outside"),
        entry("identity/./ca.key"),
        entry("identity\\ca.key"),
        entry("identity/a\nb"),
        entry("inventory.yml"),
        entry("more"),
        entry("folder", tarfile.DIRTYPE),
        entry("link", tarfile.SYMTYPE, "/etc/passwd"),
        entry("link", tarfile.LNKTYPE, "inventory.yml"),
        entry("device", tarfile.BLKTYPE),
        entry("pipe", tarfile.FIFOTYPE),
    ],
    ids=lambda one: repr(one.name),
)
def test_an_archive_with_another_entry_is_refused(one: tarfile.TarInfo) -> None:
    with pytest.raises(BackupError):
        archive.read(with_entry(one))


def test_a_file_that_is_there_twice_is_refused_even_if_both_are_the_same() -> None:
    with pytest.raises(BackupError, match="there twice"):
        archive.read(with_entry(entry("inventory.yml"), SAVED.inventory))


def test_an_archive_that_would_take_too_much_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(archive, "LIMIT", 1 << 20)
    with pytest.raises(BackupError, match="more than 1 MB"):
        archive.read(archive._compressed(bytes(2 << 20)))


@pytest.mark.parametrize(
    "make",
    [lambda data: data + b"x", lambda data: data + data, lambda _: b"", lambda data: data[:-1], lambda data: data[:-8]],
)
def test_an_archive_that_ends_too_late_or_too_early_is_refused(make: Callable[[bytes], bytes]) -> None:
    with pytest.raises(BackupError):
        archive.read(make(WHOLE))


def test_a_name_that_leads_out_is_not_packed() -> None:
    with pytest.raises(ValueError, match="no name"):
        archive.packed(replace(SAVED, files={"../x": b""}), ANSWERS)
