"""The cache of the files that hosts are made from: built once, checked at every use, never half-built."""

from __future__ import annotations

import fcntl
import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from provision.errors import Problem, StepFailed
from provision.lab.recipe import DEBIAN, Recipe, Say

CACHE = Path("/var/cache/overlay-lab")
STAMP = "complete.json"


@dataclass(frozen=True)
class Base:
    """A complete base. Hosts do not change it: each writes to a layer of its own."""

    folder: Path

    @property
    def tree(self) -> Path:
        """The Debian root file system that every host starts from."""
        return self.folder / "tree"

    @property
    def etcd(self) -> Path | None:
        """The archive of etcd's binaries, packed like a release; None if the base's Docker has no use for etcd."""
        return next(self.folder.glob("etcd-*.tar.gz"), None)

    @property
    def busybox(self) -> Path:
        """The archive of the image `busybox:latest`."""
        return self.folder / "busybox.tar"

    @property
    def redis(self) -> Path:
        """The archive of the image `redis:latest`."""
        return self.folder / "redis.tar"

    @property
    def web(self) -> Path:
        """The archive of the image `flask-redis:latest`."""
        return self.folder / "flask-redis.tar"


def ensure(say: Say, recipe: Recipe = DEBIAN, cache: Path = CACHE) -> Base:
    """Return the base of a recipe, built if it is missing or broken. StepFailed if the build fails.

    The base is built in a temporary folder and renamed when complete. Other processes wait for it, and use it too.
    """
    folder = cache / recipe.digest
    if is_intact(folder, recipe):
        return Base(folder)
    cache.mkdir(parents=True, exist_ok=True)
    with _alone(cache, say):
        if not is_intact(folder, recipe):
            _build(folder, recipe, say)
    return Base(folder)


def is_intact(folder: Path, recipe: Recipe) -> bool:
    """Whether the folder was completed, and its essential files still have their recorded sizes."""
    try:
        recorded = json.loads((folder / STAMP).read_bytes())
        return bool(recorded) and recorded == _sizes(folder, recipe)
    except (OSError, ValueError):
        return False


def _build(folder: Path, recipe: Recipe, say: Say) -> None:
    building = folder.with_name(f"{folder.name}.building")
    if folder.exists():
        say(f"{folder} is broken: it is built again")
    for old in (building, folder):
        if old.exists():
            shutil.rmtree(old)
    building.mkdir(mode=0o755)
    recipe.build(building, say)
    sizes = _sizes(building, recipe)
    if 0 in sizes.values() or len(sizes) < len(recipe.essential):
        raise StepFailed(
            Problem("the base tree lacks files it should have", str(building), "run it again, or look into that folder")
        )
    # All files must be on the disk before the stamp is written.
    os.sync()
    (building / STAMP).write_text(json.dumps(sizes, indent=2), encoding="utf-8")
    building.rename(folder)


def _sizes(folder: Path, recipe: Recipe) -> dict[str, int]:
    return {
        str(path.relative_to(folder)): path.stat().st_size
        for pattern in recipe.essential
        for path in folder.glob(pattern)
    }


@contextmanager
def _alone(cache: Path, say: Say) -> Iterator[None]:
    """Hold the lock of the cache. The kernel releases it when this process ends, for any reason."""
    with (cache / "lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            say("waiting for another lab that is making the base tree")
            fcntl.flock(lock, fcntl.LOCK_EX)
        yield
