"""What is saved of a swarm: a copy of a manager's log and certificates, and what has to be known before it is used."""

from __future__ import annotations

import json
import tarfile
from base64 import b64decode
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from io import BytesIO
from pathlib import PurePosixPath
from typing import TYPE_CHECKING

from provision.backup.archive import LIMIT
from provision.core.resource import call
from provision.core.situation import Situation
from provision.errors import Problem, StepFailed
from provision.inventory.model import Node
from provision.node import library
from provision.pki import certificates
from provision.planes.swarm import validity, view
from provision.planes.swarm.node import functions

if TYPE_CHECKING:
    from provision.planes.swarm.coordinator import SwarmCoordinator

#: In a backup: a manager's files, as secret as the swarm itself; and what its daemon says of the swarm.
FILES, ABOUT = "swarm/manager.tar.gz", "swarm/about.json"
#: The folders of Docker's `swarm` that are saved.
FOLDERS = ("raft", "certificates")
#: A node's certificate; its key, which also opens the log; and the authority.
CERTIFICATE, KEY = f"certificates/{validity.NODE}.crt", f"certificates/{validity.NODE}.key"
AUTHORITY = f"certificates/{validity.AUTHORITY}.crt"


def save(door: SwarmCoordinator, situation: Situation) -> Mapping[str, bytes]:
    """Copy a manager's files while it is at work, and return them. StepFailed."""
    node = source(situation)
    root = situation.of(node).values.get("docker-root", "")
    script = f"{library()}{functions('save')}\n{call('save_swarm', root)}\n"
    result = door.remotes[node.name].run(script, what="copying the swarm's data")
    if result.code:
        raise StepFailed(Problem(f"the swarm's data cannot be copied: {result.stderr.strip()[-400:]}", node.name))
    about = {"port": view.data_path_port(situation), "raft": view.raft(situation.of(node))}
    saved = {FILES: last_copy(result.stdout), ABOUT: json.dumps(about).encode()}
    try:
        read(saved)
    except ValueError as error:
        what = f"the copy of the swarm's data is not whole: {error}"
        raise StepFailed(Problem(what, node.name, "nothing was changed; run fab backup again")) from error
    return saved


def last_copy(printed: str) -> bytes:
    """Return the last archive that `save_swarm` has printed. Its mark has a letter that no encoded line has."""
    return b64decode(printed.rpartition("copy:\n")[2])


def source(situation: Situation) -> Node:
    """Return the node whose files are copied: the leader, if it is in the inventory. StepFailed if there is none."""
    managers = [node for node in situation.cluster.members if view.daemon(situation.of(node)).manager]
    if not managers or not view.is_running(situation):
        what = "no manager of the swarm knows a leader: what it has may be out of date"
        raise StepFailed(
            Problem(what, "cluster", "fab status shows the managers; fab recover goes on with one of them")
        )
    if is_locked(situation):
        what = "the swarm is locked (autolock), and what is saved of a locked swarm cannot be restored"
        raise StepFailed(
            Problem(what, "cluster", "on a manager: docker swarm update --autolock=false; then fab backup")
        )
    return min(managers, key=lambda node: not _leads(situation, node))


def _leads(situation: Situation, node: Node) -> bool:
    listed = view.found(situation, node)
    return listed is not None and listed.leader


def is_locked(situation: Situation) -> bool:
    """Say whether a manager that starts waits for a key from a person."""
    infos = ((facts.docker.get(view.INFO) or {}).get("Swarm") or {} for facts in situation.facts.values())
    specs = ((info.get("Cluster") or {}).get("Spec") or {} for info in infos)
    return any((spec.get("EncryptionConfig") or {}).get("AutoLockManagers") for spec in specs)


@dataclass(frozen=True)
class SavedManager:
    """What a backup has of a manager."""

    #: An archive of its log and certificates: plain files, which every tar can unpack, and which only root can read.
    archive: bytes = field(repr=False)
    #: Its certificate, key and authority, by their paths in the archive.
    certificates: Mapping[str, bytes] = field(repr=False)
    #: The UDP port of packets between the swarm's containers; None if it is not known.
    port: int | None = None
    #: The settings of the swarm's log, as Docker's API names them.
    raft: Mapping[str, int] = field(default_factory=dict)

    @property
    def identity(self) -> str:
        """Its ID in the swarm."""
        return validity.identity(self.certificates[CERTIFICATE].decode())

    @property
    def end(self) -> datetime:
        """The end of the certificate with which it starts."""
        return certificates.load_all(self.certificates[CERTIFICATE])[0].not_valid_after_utc


def read(saved: Mapping[str, bytes]) -> SavedManager:
    """Return what was saved of a manager. ValueError, with the reason, if it is not whole."""
    if FILES not in saved:
        raise ValueError(f"{FILES} is missing")
    try:
        archive, found = _rewritten(saved[FILES])
        about = json.loads(saved.get(ABOUT, b"{}"))
        port, raft = about.get("port"), dict(about.get("raft") or {})
    except (tarfile.TarError, EOFError, OSError, ValueError, TypeError, AttributeError) as error:
        raise ValueError(f"{FILES}: {error}") from error
    if not certificates.load_all(found[CERTIFICATE]):
        raise ValueError(f"{FILES}: {CERTIFICATE} is no certificate")
    return SavedManager(archive, found, port, raft)


def _rewritten(archive: bytes) -> tuple[bytes, Mapping[str, bytes]]:
    """Read an archive to its end. Return it without holes, owners and modes of its own; and the certificates."""
    made, found, has_log = BytesIO(), {}, False
    with (
        tarfile.open(fileobj=BytesIO(archive), mode="r:gz") as there,
        tarfile.open(fileobj=made, mode="w:gz", format=tarfile.USTAR_FORMAT, compresslevel=1) as plain,
    ):
        for member in _members(there):
            plain.addfile(_of_root(member), there.extractfile(member))
            has_log = has_log or member.name.endswith(".wal")
            if member.name in (CERTIFICATE, KEY, AUTHORITY) and (content := there.extractfile(member)):
                found[member.name] = content.read()
    if len(found) < 3 or not has_log:
        raise ValueError("a manager's log or certificates are missing")
    return made.getvalue(), found


def _members(there: tarfile.TarFile) -> Iterator[tarfile.TarInfo]:
    """Yield what is in an archive. ValueError where that is no file and no folder of a manager, or too large."""
    size = 0
    for member in there:
        size += member.size
        if size > LIMIT:
            raise ValueError(f"it would take more than {LIMIT >> 20} MB")
        parts = PurePosixPath(member.name).parts
        if parts[:1] not in [(folder,) for folder in FOLDERS] or ".." in parts:
            raise ValueError(f"{member.name} is nothing of a manager's")
        if not member.isreg() and not member.isdir():
            raise ValueError(f"{member.name} is neither a file nor a folder")
        yield member


def _of_root(member: tarfile.TarInfo) -> tarfile.TarInfo:
    info = tarfile.TarInfo(member.name)
    info.type = tarfile.DIRTYPE if member.isdir() else tarfile.REGTYPE
    info.size, info.mtime, info.mode = member.size, member.mtime, 0o700 if member.isdir() else 0o600
    return info
