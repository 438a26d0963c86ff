"""What only this plane puts on a node."""

from __future__ import annotations

import pathlib
from dataclasses import dataclass

from provision import layout
from provision.core.resource import UPLOADS, Difference, Resource, Upload, call
from provision.facts import INPUTS, Facts, Question
from provision.planes.etcd import paths
from provision.planes.etcd.node import functions


@dataclass(frozen=True)
class Release:
    """The etcd binaries, in a folder of their version."""

    folder: str
    version: str
    archive: pathlib.Path
    top: str
    hashes: tuple[tuple[str, str], ...]

    @property
    def name(self) -> str:
        """`release etcd VERSION`."""
        return f"release etcd {self.version}"

    def question(self) -> Question:
        """Ask for the hash of each binary."""
        paths = tuple(f"{self.folder}/{name}" for name, _ in self.hashes)
        return Question(paths=(self.folder, *paths), large=paths)

    def compare(self, facts: Facts) -> Difference | None:
        """Every binary there, whole and executable by all."""
        binaries = [(facts.paths.get(f"{self.folder}/{name}"), sha256) for name, sha256 in self.hashes]
        if all(b and (b.sha256, b.mode, b.owner) == (sha256, 0o755, "root:root") for b, sha256 in binaries):
            return None
        return Difference("update" if self.folder in facts.paths else "create", note=f"in {self.folder}")

    def remember(self) -> str:
        """That the folder was not there."""
        return call("remember_path", self.folder)

    def upload(self) -> Upload:
        """The archive."""
        return Upload(self.archive, f"{UPLOADS}/etcd.tar.gz")

    def apply(self, difference: Difference) -> str:
        """Unpack beside, check, run once, rename."""
        hashes = dict(self.hashes)
        path = self.upload().path
        put = call("put_release", path, self.folder, hashes["etcd"], hashes["etcdctl"], self.version, self.top)
        return f"{functions('changes')}\n{put}"


def restart_docker(apart: bool) -> tuple[str, ...]:
    """Return what lets a dockerd restart whose containers have no places in the store, in this run or a later one.

    The dockerd was on another store, or cut off while the places were freed. Only a restart makes them.
    """
    if not apart:
        return ()
    # As if dockerd had been started without our drop-in.
    forget = call("sed", "-i", rf"\|{layout.DOCKER_DROP_IN}$|d", f"{INPUTS}/{layout.DOCKER_UNIT}.inputs")
    return (f"[ ! -e {paths.DOCKER_JOINED} ] || {forget}",)


@dataclass(frozen=True)
class RemovedData(Resource):
    """The data of a member that was removed: etcd ends at once with it. It is moved aside, whole.

    `apart`: its host was given up, and its containers' places in the store are gone: see `restart_docker`.
    """

    apart: bool = False

    @property
    def name(self) -> str:
        """`data of a removed member`."""
        return "data of a removed member"

    def compare(self, facts: Facts) -> Difference | None:
        """Whether there is data."""
        if not facts.answers.get("store-data"):
            return None
        note = f"moved aside, to {paths.DATA}/removed-…; the node joins the store anew"
        return Difference("remove", note=note, consent="move the data of a member that was removed aside")

    def apply(self, difference: Difference) -> str:
        """Move it."""
        return "\n".join((functions("changes"), *restart_docker(self.apart), call("set_data_aside")))


@dataclass(frozen=True)
class NoStore(Resource):
    """Nothing of etcd but its programs: the node has left the store, and stays a node."""

    @property
    def name(self) -> str:
        """`member of the store`."""
        return "member of the store"

    def compare(self, facts: Facts) -> Difference | None:
        """Whether files are gone that nobody but us writes; the keys are among the last that go."""
        if not any(path in facts.paths for path in (paths.ETCD_BOOTSTRAP, *paths.ETCD_KEYS)):
            return None
        note = "etcd's unit, configuration, keys and data: this node is a member no more"
        return Difference("remove", note=f"{note}; data that was put aside is kept in {layout.STATE}/former-stores")

    def apply(self, difference: Difference) -> str:
        """Put back what was there before."""
        return f"{functions('reset')}\n{call('put_store_away')}"
