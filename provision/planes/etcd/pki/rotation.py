"""A rotation of the authorities, in three steps; the identity's folder records in which one it is.

    step      signs     trusted by etcd and the controller   dockerd's files
    (none)    ca        ca                                    ca
    trust     ca        ca, next                              ca
    leaves    next      ca, next                              next
    drop      next      next                                  next

In each step all that is shown anywhere is trusted by whoever sees it, also while half of the nodes are still at the
step before. `drop` ends with `next` becoming `ca` and the record gone: it is seen only where a run was killed in it.

etcd reads a leaf at each handshake, but what it trusts when it starts: it restarts in `trust` and in `drop`. dockerd
reads both when it starts, and so it restarts once, in `leaves`, from the old to the new. A node shows the store's new
leaf no sooner than its own dockerd restarts: those that still trust the old alone find it at the other members.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path

from provision.core.plane import Goal
from provision.errors import PreflightRefused, Problem

#: Holds the step, a word.
RECORD = "rotation"

#: The certificates that are trusted meanwhile, for clients that read one file.
BOTH = "both.crt"


class Step(StrEnum):
    """What a rotation is at; the value is what the record says."""

    TRUST = "trust"
    LEAVES = "leaves"
    DROP = "drop"

    @property
    def told(self) -> str:
        """What it means, for the plan."""
        return _TOLD[self]

    @property
    def number(self) -> int:
        """Which of the three it is, from 1."""
        return list(Step).index(self) + 1


_TOLD = {
    Step.TRUST: "step 1 of 3: a new one is trusted beside it; etcd restarts, a member at a time",
    Step.LEAVES: "step 2 of 3: the new one signs; each dockerd restarts once, and in no other step",
    Step.DROP: "step 3 of 3: the old one is trusted no more; etcd restarts, a member at a time",
}


@dataclass(frozen=True)
class RotationTarget:
    """What the identity is to be brought to. `step`: None for the one that it is in.

    `leaves_since`: leaves signed before this moment are made anew.
    """

    step: Step | None = None
    leaves_since: datetime | None = None


def recorded(folder: Path) -> Step | None:
    """Return the step that the folder is in, None outside a rotation. PreflightRefused where the record is damaged."""
    path = folder / RECORD
    try:
        return Step(path.read_text(encoding="utf-8").strip())
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:
        advice = f"bring it back from a copy: it holds the step of a rotation ({', '.join(Step)})"
        raise PreflightRefused(Problem("cannot be read", str(path), advice)) from error


def remaining(folder: Path) -> tuple[RotationTarget, ...]:
    """Return what is left of the rotation that the folder is in, the step under way first; all of a new one if none."""
    steps = list(Step)
    return tuple(RotationTarget(step) for step in steps[steps.index(recorded(folder) or Step.TRUST) :])


def targets(folder: Path, goal: Goal) -> tuple[RotationTarget, ...]:
    """Return what the identity is brought to, one after another, for a goal of a verb."""
    if goal is Goal.ROTATE:
        return remaining(folder)
    if goal is Goal.RENEW:
        # A certificate holds its times in whole seconds.
        return (RotationTarget(leaves_since=datetime.now(UTC).replace(microsecond=0)),)
    return (RotationTarget(),)


def signing(base: Path, step: Step | None) -> tuple[Path, Path]:
    """Return certificate and key of the authority that signs. Killed in `drop`, some of `next` is `ca` already."""
    certificate, key = (base / f"ca.{kind}" for kind in ("crt", "key"))
    if step in (Step.LEAVES, Step.DROP):
        certificate, key = (new if (new := one.with_stem("next")).exists() else one for one in (certificate, key))
    return certificate, key


def trusted(base: Path, step: Step | None) -> tuple[Path, ...]:
    """Return the certificates that are trusted, in an order that is the same in `trust` and in `leaves`."""
    if step in (Step.TRUST, Step.LEAVES):
        return base / "ca.crt", base / "next.crt"
    return (signing(base, step)[0],)


def is_pending(folder: Path, authorities: tuple[str, ...], step: Step | None) -> bool:
    """Say whether the step is still to be made on the controller."""
    if step is Step.TRUST and not all((folder / name / "next.crt").exists() for name in authorities):
        return True
    return step is Step.DROP or step != recorded(folder)


def drop(base: Path) -> None:
    """Let the new authority take the old one's place. It may be killed anywhere, and done again."""
    for kind in ("key", "crt"):
        new = base / f"next.{kind}"
        if new.exists():
            new.rename(base / f"ca.{kind}")
    (base / BOTH).unlink(missing_ok=True)
