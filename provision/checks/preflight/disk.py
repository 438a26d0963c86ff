"""The file systems that we write to: room, and leave to write."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping
from pathlib import Path

from provision import layout
from provision.checks.preflight.scene import Scene, check
from provision.errors import Problem
from provision.facts import Space

MB = 1_000_000

#: Of etcd's log: a file has 64 MB from the start (wal.SegmentSizeBytes).
SEGMENT = 64 * MB

#: etcd keeps five of them (--max-wals) and makes the next one ahead.
SEGMENTS = 6

#: For configuration, certificates, records and journals, on every file system that we write to.
MARGIN = 64 * MB

#: An archive unpacked: etcd 3.5.30 goes from 20 to 47 MB. An image's layers grow no more.
UNPACKED = 3


def folders(scene: Scene) -> tuple[str, ...]:
    """Where we, our etcd and our containers write. Nothing of ours is in /tmp, so it may be anything."""
    everywhere = ("/etc", layout.STATE, scene.value("docker-root"))
    return (*everywhere, layout.RELEASES, layout.DATA) if scene.node.member else everywhere


@check
def disk(scene: Scene) -> Iterator[Problem]:
    """A disk that fills up half-way leaves a store that cannot write, or a daemon that does not start."""
    wanted: dict[Space, dict[str, int]] = defaultdict(dict)
    for folder, (what, size) in _wanted(scene).items():
        if space := scene.facts.spaces.get(folder):
            wanted[space][what] = size
    for space, needs in wanted.items():
        needed = sum(needs.values()) + MARGIN
        if space.free < needed:
            what = ", ".join(f"{what} {_megabytes(size)}" for what, size in needs.items() if size)
            yield Problem(
                f"{space.mount} has {_megabytes(space.free)} free, {_megabytes(needed)} are needed"
                + (f": {what}, a margin of {_megabytes(MARGIN)}" if what else ""),
                advice=f"make room there, or mount a larger disk: df -h {space.mount}",
            )


def _wanted(scene: Scene) -> Mapping[str, tuple[str, int]]:
    """Return what each folder is for, and the bytes that it still has to take."""
    found, cluster = scene.facts, scene.situation.cluster
    release = scene.situation.artifact
    there = f"{layout.RELEASES}/{release.version}/etcd" in found.paths
    archive = 0 if there or not scene.node.member else _size(release.path)
    image = 0 if cluster.probe.image in found.images else _size(cluster.probe.archive)
    # A store at work has most of its log already.
    segments = 2 if scene.value("etcd-data") else SEGMENTS
    needs = {
        "/etc": ("configuration", 0),
        layout.STATE: ("uploads", archive + image),
        scene.value("docker-root"): (f"the image {cluster.probe.image}", image * UNPACKED),
        layout.RELEASES: ("the etcd release", archive * UNPACKED),
        layout.DATA: ("etcd's log", segments * SEGMENT),
    }
    return {folder: needs[folder] for folder in folders(scene)}


def _size(path: Path | None) -> int:
    try:
        return path.stat().st_size if path else 0
    except OSError:
        return 0


def _megabytes(size: int) -> str:
    return f"{size / MB:.0f} MB"


@check
def writable(scene: Scene) -> Iterator[Problem]:
    """What is mounted read-only takes no configuration, and what is mounted noexec runs no etcd."""
    sealed: dict[str, list[str]] = defaultdict(list)
    for folder in folders(scene):
        space = scene.facts.spaces.get(folder)
        if space and "ro" in space.options:
            sealed[space.mount].append(folder)
    for mount, inside in sealed.items():
        yield Problem(
            f"{mount} is mounted read-only; we write to {', '.join(inside)}",
            advice=f"mount -o remount,rw {mount}; if the kernel made it read-only, journalctl -k says why",
        )
    programs = scene.facts.spaces.get(layout.RELEASES)
    if scene.node.member and programs and "noexec" in programs.options:
        yield Problem(
            f"{programs.mount} is mounted noexec; etcd runs from {layout.RELEASES}",
            advice=f"mount -o remount,exec {programs.mount}",
        )
