"""The file systems that provision writes to: free space and permission."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping

from provision import layout
from provision.checks.node_view import NodeView
from provision.checks.sizes import MB, UNPACKED, size_of
from provision.core.check import PREFLIGHT, check
from provision.core.outcome import Outcome
from provision.facts import Space
from provision.phases import installation, upgrade

#: Free bytes for configuration, certificates, records and journals, on every file system.
MARGIN = 64 * MB
#: The folder of sockets and process IDs, a small file system in memory, and the free bytes that daemons need there.
RUN = "/run"
RUN_MARGIN = 4 * MB
#: Free inodes on every file system: a run makes some hundred files, and so does an image.
INODES = 1000


@check(PREFLIGHT)
def disk(view: NodeView) -> Iterator[Outcome]:
    """Every file system has enough free space: on a full one, members cannot write and daemons do not start."""
    wanted: dict[Space, dict[str, int]] = defaultdict(dict)
    for folder, (what, size) in needs(view).items():
        if space := view.facts.spaces.get(folder):
            wanted[space][what] = size
    for space, sizes in wanted.items():
        margin = RUN_MARGIN if space.mount == RUN else MARGIN
        needed = sum(sizes.values()) + margin
        if space.free < needed:
            what = ", ".join(f"{what} {_megabytes(size)}" for what, size in sizes.items() if size)
            yield view.failed(
                f"{space.mount} has {_megabytes(space.free)} free, {_megabytes(needed)} are needed"
                + (f": {what}, a margin of {_megabytes(margin)}" if what else ""),
                advice=f"make room there, or mount a larger disk: df -h {space.mount}",
            )


def needs(view: NodeView) -> Mapping[str, tuple[str, int]]:
    """Return the folders that we, our daemons and our containers write to; for each, what for, and how many bytes.

    Nothing is written to /tmp, so /tmp is not checked.
    """
    found, cluster = view.facts, view.situation.cluster
    image = 0 if found.has_image(cluster.probe.image) else size_of(cluster.probe.archive)
    own = view.plane.disk_needs(view.situation, view.node)
    _, uploads = own.get(layout.STATE, ("", 0))
    docker = {**installation.room(view.situation, view.node), **upgrade.room(view.situation, view.node)}
    _, archive = docker.get(layout.STATE, ("", 0))
    common = {
        "/etc": ("configuration", 0),
        RUN: ("what daemons run with", 0),
        layout.PROGRAMS: ("programs", 0),
        layout.STATE: ("uploads", image + uploads + archive),
        view.value("docker-root"): (f"the image {cluster.probe.image}", image * UNPACKED),
    }
    more = {**own, **docker}
    return {**common, **{folder: need for folder, need in more.items() if folder not in common}}


def _megabytes(size: int) -> str:
    return f"{size / MB:.{1 if size < 10 * MB else 0}f} MB"


@check(PREFLIGHT)
def inodes(view: NodeView) -> Iterator[Outcome]:
    """Every file system can hold more files: without a free inode none can be made, however much room there is."""
    for space in {view.facts.spaces[folder] for folder in needs(view) if folder in view.facts.spaces}:
        if space.inodes is not None and space.inodes < INODES:
            yield view.failed(
                f"{space.mount} has {space.inodes} inodes left, {INODES} are needed: each file takes one",
                advice="delete files there that nobody needs; where most are: "
                f"du --inodes -xS {space.mount} | sort -n | tail",
            )


@check(PREFLIGHT)
def writable(view: NodeView) -> Iterator[Outcome]:
    """Every file system is mounted read-write: on a read-only one, neither configuration nor data can be written."""
    sealed: dict[str, list[str]] = defaultdict(list)
    for folder in needs(view):
        space = view.facts.spaces.get(folder)
        if space and "ro" in space.options:
            sealed[space.mount].append(folder)
    for mount, inside in sealed.items():
        yield view.failed(
            f"{mount} is mounted read-only; we write to {', '.join(inside)}",
            advice=f"mount -o remount,rw {mount}; if the kernel made it read-only, journalctl -k says why",
        )
