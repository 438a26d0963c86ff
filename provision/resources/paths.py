"""Folders, files and links."""

from __future__ import annotations

import base64
import hashlib
from dataclasses import dataclass, field

from provision.core.plan import diff
from provision.core.resource import Difference, OfPath, call
from provision.facts import Facts, Question


@dataclass(frozen=True)
class Folder(OfPath):
    """A folder with a mode and an owner. A link to a folder is followed: the user keeps its content elsewhere."""

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
        """Return a difference of kind, mode or owner."""
        there = facts.paths.get(self.path)
        if there is None:
            return Difference("create", again="update")
        there = there.followed
        if (there.kind, there.mode, there.owner) == ("folder", self.mode, self.owner):
            return None
        return Difference("update", note=f"{there.kind} {there.mode:04o} {there.owner} → {self.mode:04o} {self.owner}")

    def apply(self, difference: Difference) -> str:
        """Create the folder, or set its mode and owner."""
        return call("put_folder", self.path, f"{self.mode:04o}", self.owner)


@dataclass(frozen=True)
class File(OfPath):
    """A file.

    `opaque`: the file (a key or a certificate) is compared by hash and never shown in a diff. `public`: it is opaque
    but no secret, and the node is asked for its text. `once`: an existing file keeps its content.
    """

    content: bytes | None = field(default=None, repr=False)
    mode: int = 0o644
    owner: str = "root:root"
    opaque: bool = False
    public: bool = False
    once: bool = False
    update_note: str = ""

    @property
    def name(self) -> str:
        """`file PATH`."""
        return f"file {self.path}"

    @property
    def sha256(self) -> str | None:
        """The hash of the content; None if the content does not exist yet."""
        return None if self.content is None else hashlib.sha256(self.content).hexdigest()

    @property
    def fit(self) -> frozenset[str]:
        """The hashes of this file with which a process may have started; empty if the content does not exist yet."""
        return frozenset(filter(None, [self.sha256]))

    def question(self) -> Question:
        """Ask for mode, owner and hash, and for the text if it may be shown."""
        return Question(
            paths=(self.path,), hashed=(self.path,), shown=() if self.opaque and not self.public else (self.path,)
        )

    def compare(self, facts: Facts) -> Difference | None:
        """Return a difference of kind, mode, owner or content."""
        there = facts.paths.get(self.path)
        if there is None or there.kind != "file":
            return Difference("create", diff=self._diff(""), note=self._note(""), again="update")
        notes = []
        if (there.mode, there.owner) != (self.mode, self.owner):
            notes.append(f"{there.mode:04o} {there.owner} → {self.mode:04o} {self.owner}")
        if not self.once and there.sha256 != self.sha256:
            note = ", ".join(filter(None, [*notes, self._note(there.sha256), self.update_note]))
            return Difference("update", diff=self._diff(there.text or ""), note=note)
        return Difference("update", note=", ".join(notes)) if notes else None

    def _note(self, before: str) -> str:
        if not self.opaque or self.once:
            return ""
        return f"sha256 {before[:12] or 'none'} → {self.sha256[:12] if self.sha256 else 'made by this run'}"

    def _diff(self, before: str) -> str:
        return "" if self.opaque or self.content is None else diff(self.path, before, self.content.decode())

    def apply(self, difference: Difference) -> str:
        """Write the whole file. If it has to keep its content, set only mode and owner."""
        if self.content is None:
            raise ValueError(f"{self.path} has no content yet")
        if self.once and difference.action == "update":
            return f"{call('chown', self.owner, self.path)} && {call('chmod', f'{self.mode:04o}', self.path)}"
        put = call("put_file", self.path, f"{self.mode:04o}", self.owner, self.sha256 or "")
        return f"{put} <<'.'\n{base64.encodebytes(self.content).decode()}.\n"


@dataclass(frozen=True)
class Link(OfPath):
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
        """Return a difference of the target."""
        there = facts.paths.get(self.path)
        if there is None:
            return Difference("create", note=f"→ {self.target}", again="update")
        if there.target == self.target:
            return None
        return Difference("update", note=f"{there.target or there.kind} → {self.target}")

    def apply(self, difference: Difference) -> str:
        """Replace the link atomically."""
        return call("put_link", self.path, self.target)
