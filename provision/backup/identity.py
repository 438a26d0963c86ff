"""The identity's folder, into an archive and out of it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from provision.errors import PreflightRefused, Problem
from provision.inventory.model import Cluster
from provision.pki import files

#: What says that a verb is under way, and diagnostics: no part of the identity.
LEFT_OUT = ("migration.json", "recovery.json", "restore.json", "bundles")
#: The key of an authority: another key is another authority.
KEY = "ca.key"


def saved(cluster: Cluster) -> Mapping[str, bytes]:
    """Return every file of the folder by its path there. PreflightRefused where one cannot be read."""
    try:
        with files.locked(cluster.folder.parent):
            found = (path for path in sorted(cluster.folder.rglob("*")) if path.is_file())
            named = {path.relative_to(cluster.folder).as_posix(): path for path in found}
            return {name: path.read_bytes() for name, path in named.items() if _belongs(name)}
    except OSError as error:
        what = f"cannot be read: {error.strerror}"
        raise PreflightRefused(Problem(what, str(error.filename or cluster.folder), "run as its owner")) from error


def _belongs(name: str) -> bool:
    hidden = any(part.startswith(".") for part in name.split("/"))
    return not hidden and not name.endswith(files.PARTIAL) and name.split("/")[0] not in LEFT_OUT


def authorities(folder: Path) -> Mapping[str, bytes]:
    """Return the keys of the authorities in the folder, by their path there."""
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in sorted(folder.glob(f"*/{KEY}"))}


def missing(cluster: Cluster, there: Mapping[str, bytes], *, goes_on: bool) -> Mapping[str, bytes]:
    """Return the files that are put in place: all that are not there, where the controller has no authority.

    `goes_on`: a restore that was killed goes on. PreflightRefused if the authorities are others than those saved.
    """
    here = authorities(cluster.folder)
    if others := [name for name, key in here.items() if name in there and there[name] != key]:
        what = f"has other authorities than the backup: {', '.join(name.partition('/')[0] for name in others)}"
        advice = (
            f"if those of the backup are to count: mv {cluster.folder} {cluster.folder}.before; then run this again. "
            "If the cluster lives and has rotated them, take a newer backup"
        )
        raise PreflightRefused(Problem(what, str(cluster.folder), advice))
    if here and not goes_on:
        return {}
    return {name: content for name, content in there.items() if not (cluster.folder / name).exists()}
