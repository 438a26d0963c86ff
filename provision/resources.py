"""What a node can hold. Each kind knows how to ask about itself, compare, and change.

`compare` is pure: facts in, at most one difference out. `apply` returns POSIX sh that calls node/library.sh.
A content or hash that is None is not made yet: it differs from whatever is there.
"""

from __future__ import annotations

import base64
import hashlib
import pathlib
import shlex
from collections.abc import Iterable
from dataclasses import dataclass, field, fields
from typing import Any, Protocol

from provision.facts import Facts, Question
from provision.plan import Action, diff

#: Name and label of the containers that keep a network in use.
KEEPER = "overlay-keeper"
#: Where uploads wait on a node until they are used: on the disk, not in /tmp, root only.
UPLOADS = "/var/lib/overlay-provision"


@dataclass(frozen=True)
class Difference:
    """How a resource differs from what it should be."""

    action: Action
    diff: str = ""
    note: str = ""
    stops: tuple[str, ...] = ()


@dataclass(frozen=True)
class Upload:
    """A file of the controller that a change needs on the node first."""

    source: pathlib.Path
    path: str


class Resource(Protocol):
    """Something that a node should hold."""

    @property
    def name(self) -> str:
        """What the plan calls it."""

    def question(self) -> Question:
        """What to ask the node about it."""

    def compare(self, facts: Facts) -> Difference | None:
        """Say how it differs, None where it does not."""

    def remember(self) -> str:
        """Return sh that records what was there before our first change."""

    def apply(self, difference: Difference) -> str:
        """Return sh that makes it so."""

    def upload(self) -> Upload | None:
        """Return what has to be on the node before `apply`."""


@dataclass(frozen=True)
class _Quiet:
    """The common case: nothing to upload, one path to remember."""

    path: str

    def upload(self) -> Upload | None:
        """Nothing."""
        return None

    def remember(self) -> str:
        """Remember the path."""
        return _call("remember_path", self.path)


@dataclass(frozen=True)
class Folder(_Quiet):
    """A folder with a mode and an owner."""

    mode: int = 0o755
    owner: str = "root:root"

    @property
    def name(self) -> str:
        """`folder PATH`."""
        return f"folder {self.path}"

    def question(self) -> Question:
        """Ask for the path."""
        return Question(paths=(self.path,))

    def compare(self, facts: Facts) -> Difference | None:
        """Kind, mode and owner."""
        there = facts.paths.get(self.path)
        if there is None:
            return Difference("create")
        if (there.kind, there.mode, there.owner) == ("folder", self.mode, self.owner):
            return None
        return Difference("update", note=f"{there.kind} {there.mode:04o} {there.owner} → {self.mode:04o} {self.owner}")

    def apply(self, difference: Difference) -> str:
        """Make it, or mend its mode and owner."""
        return _call("put_folder", self.path, f"{self.mode:04o}", self.owner)


@dataclass(frozen=True)
class File(_Quiet):
    """A file. `opaque` ones (keys, certificates) are compared by hash and never shown.

    `once` ones matter only at first: once there, their content is left as it is.
    """

    content: bytes | None = field(default=None, repr=False)
    mode: int = 0o644
    owner: str = "root:root"
    opaque: bool = False
    once: bool = False
    update_note: str = ""

    @property
    def name(self) -> str:
        """`file PATH`."""
        return f"file {self.path}"

    @property
    def sha256(self) -> str | None:
        """Hash of the content, None where it is not made yet."""
        return None if self.content is None else hashlib.sha256(self.content).hexdigest()

    @property
    def fit(self) -> frozenset[str]:
        """The hashes that a process may have been started on: the one, or none while it is not made."""
        return frozenset(filter(None, [self.sha256]))

    def question(self) -> Question:
        """Ask for mode, owner and hash, and for the text where it may be shown."""
        return Question(paths=(self.path,), hashed=(self.path,), shown=() if self.opaque else (self.path,))

    def compare(self, facts: Facts) -> Difference | None:
        """Kind, mode, owner and content."""
        there = facts.paths.get(self.path)
        if there is None or there.kind != "file":
            return Difference("create", diff=self._diff(""), note=self._note())
        notes = []
        if (there.mode, there.owner) != (self.mode, self.owner):
            notes.append(f"{there.mode:04o} {there.owner} → {self.mode:04o} {self.owner}")
        if not self.once and there.sha256 != self.sha256:
            note = ", ".join(filter(None, [*notes, self._note(), self.update_note]))
            return Difference("update", diff=self._diff(there.text or ""), note=note)
        return Difference("update", note=", ".join(notes)) if notes else None

    def _note(self) -> str:
        return "content not shown" if self.opaque else ""

    def _diff(self, before: str) -> str:
        return "" if self.opaque or self.content is None else diff(self.path, before, self.content.decode())

    def apply(self, difference: Difference) -> str:
        """Write it whole; where only mode or owner differ, mend those."""
        if self.content is None:
            raise ValueError(f"{self.path} has no content yet")
        if self.once and difference.action == "update":
            return f"{_call('chown', self.owner, self.path)} && {_call('chmod', f'{self.mode:04o}', self.path)}"
        put = _call("put_file", self.path, f"{self.mode:04o}", self.owner, self.sha256 or "")
        return f"{put} <<'.'\n{base64.encodebytes(self.content).decode()}.\n"


@dataclass(frozen=True)
class Link(_Quiet):
    """A symbolic link."""

    target: str = ""

    @property
    def name(self) -> str:
        """`link PATH`."""
        return f"link {self.path}"

    def question(self) -> Question:
        """Ask for the path."""
        return Question(paths=(self.path,))

    def compare(self, facts: Facts) -> Difference | None:
        """Where it points."""
        there = facts.paths.get(self.path)
        if there is None:
            return Difference("create", note=f"→ {self.target}")
        if there.target == self.target:
            return None
        return Difference("update", note=f"{there.target or there.kind} → {self.target}")

    def apply(self, difference: Difference) -> str:
        """Switch it in one step."""
        return _call("put_link", self.path, self.target)


@dataclass(frozen=True)
class User:
    """A system user with a group of its own."""

    user: str
    home: str

    @property
    def name(self) -> str:
        """`user NAME`."""
        return f"user {self.user}"

    def question(self) -> Question:
        """Ask whether it exists."""
        return Question(users=(self.user,))

    def compare(self, facts: Facts) -> Difference | None:
        """Whether it exists."""
        return None if self.user in facts.users else Difference("create")

    def remember(self) -> str:
        """The databases' backups too: useradd rewrites them."""
        backups = [f"/etc/{name}-" for name in ("passwd", "shadow", "group", "gshadow", "subuid", "subgid")]
        return f"{_call('remember_path', *backups)}\n{_call('remember_user', self.user)}"

    def apply(self, difference: Difference) -> str:
        """Make it."""
        return _call("put_user", self.user, self.home)

    def upload(self) -> Upload | None:
        """Nothing."""
        return None


@dataclass(frozen=True)
class Service:
    """A systemd service that runs, enabled, on the inputs as they are now.

    `inputs` names the files it reads when it starts and the hashes that each may have had then (none: the file
    is not made yet). The unit itself records what it really started on; a process started on something else,
    by whomever, is restarted.
    """

    unit: str
    inputs: tuple[tuple[str, frozenset[str]], ...]
    seconds: int = 90
    stops_containers: bool = False

    @property
    def name(self) -> str:
        """`unit NAME`."""
        return f"unit {self.unit}"

    def question(self) -> Question:
        """Ask for state, enablement and what it was started on."""
        return Question(units=(self.unit,))

    def compare(self, facts: Facts) -> Difference | None:
        """Restart what runs on other inputs, start what does not run, enable what is not enabled."""
        there = facts.unit(self.unit)
        if there.running:
            stale = [path for path, fit in self.inputs if there.inputs.get(path) not in fit]
            if stale:
                stops = [c.name for c in facts.containers if not c.comes_back] if self.stops_containers else []
                return Difference("restart", note=self._note(facts, stale), stops=tuple(stops))
            return None if there.enablement == "enabled" else Difference("enable")
        return Difference("start")

    def _note(self, facts: Facts, stale: list[str]) -> str:
        reason = f"for {pathlib.PurePosixPath(stale[0]).name}" + (f" and {len(stale) - 1} more" if stale[1:] else "")
        running = [c.name for c in facts.containers if not c.name.startswith(KEEPER)] if self.stops_containers else []
        return reason + (f"; running containers: {', '.join(running)}" if running else "")

    def remember(self) -> str:
        """Whether it was there, enabled and running."""
        return _call("remember_unit", self.unit)

    def apply(self, difference: Difference) -> str:
        """Start, restart or enable it, bounded in time."""
        if difference.action == "enable":
            return _call("systemctl", "enable", "-q", self.unit)
        return _call("run_unit", difference.action, self.unit, str(self.seconds))

    def upload(self) -> Upload | None:
        """Nothing."""
        return None


@dataclass(frozen=True)
class Image:
    """An image that Docker holds, loaded from an archive where it does not."""

    image: str
    archive: pathlib.Path

    @property
    def name(self) -> str:
        """`image NAME`."""
        return f"image {self.image}"

    def question(self) -> Question:
        """Ask whether it is there."""
        return Question(images=(self.image,))

    def compare(self, facts: Facts) -> Difference | None:
        """Whether it is there: whose it is, is not ours to judge."""
        there = self.image.removesuffix(":latest") in facts.images
        return None if there else Difference("load", note=f"from {self.archive.name}")

    def remember(self) -> str:
        """That it was not there."""
        return _call("remember_image", self.image)

    def upload(self) -> Upload:
        """The archive."""
        return Upload(self.archive, f"{UPLOADS}/image.tar")

    def apply(self, difference: Difference) -> str:
        """Load it and drop the archive."""
        path = self.upload().path
        load = _call("docker", "load", "-q", "-i", path)
        complaint = _call("die", f"docker cannot load {self.archive.name}")
        return f"{load} >/dev/null || {complaint}\nrm -f {path}"


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
        return _call("remember_path", self.folder)

    def upload(self) -> Upload:
        """The archive."""
        return Upload(self.archive, f"{UPLOADS}/etcd.tar.gz")

    def apply(self, difference: Difference) -> str:
        """Unpack beside, check, run once, rename."""
        hashes = dict(self.hashes)
        path = self.upload().path
        return _call("put_release", path, self.folder, hashes["etcd"], hashes["etcdctl"], self.version, self.top)


@dataclass(frozen=True)
class Keeper:
    """A container that sleeps on a network: see phases/keeper.py. `anew` where its network is about to be replaced."""

    container: str
    network: str
    image: str
    anew: bool = False

    @property
    def name(self) -> str:
        """`container NAME`."""
        return f"container {self.container}"

    def question(self) -> Question:
        """Ask for its network; containers are always asked for."""
        return Question(networks=(self.network,))

    def compare(self, facts: Facts) -> Difference | None:
        """Whether it runs, on its network."""
        there = any(one.name == self.container and self.network in one.networks for one in facts.containers)
        return (
            None if there and not self.anew else Difference("create", note=f"keeps network {self.network} in use here")
        )

    def remember(self) -> str:
        """Nothing: reset removes it by its label."""
        return ""

    def upload(self) -> Upload | None:
        """Nothing."""
        return None

    def apply(self, difference: Difference) -> str:
        """Start one, in place of any that does not run."""
        return _call("put_keeper", self.container, self.network, self.image)


def join(questions: Iterable[Question]) -> Question:
    """Return one question that asks all of them, each thing once."""
    asked = tuple(questions)

    def all_of(name: str) -> Any:
        return tuple(dict.fromkeys(thing for question in asked for thing in getattr(question, name)))

    return Question(**{field.name: all_of(field.name) for field in fields(Question)})


def _call(*words: str) -> str:
    return " ".join(shlex.quote(word) for word in words)
