"""The one place that waits: until an attempt succeeds, or a condition holds. On a monotonic clock, and bounded."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator

from provision.errors import Problem, StepFailed, Unanswered

#: Seconds to wait for a quorum: an election takes one to two, a slow disk's first start some more.
QUORUM_SECONDS = 60.0
#: Seconds after which waiting is longer than usual.
PATIENCE = 3.0


def attempts(seconds: float, pause: float = 0.1, longest: float = 0.0) -> Iterator[None]:
    """Yield once, and again after each pause until `seconds` are over. The pause grows by half, up to `longest`."""
    deadline = time.monotonic() + seconds
    yield
    while time.monotonic() < deadline:
        time.sleep(pause)
        pause = max(pause, min(pause * 1.5, longest))
        yield


def until(
    attempt: Callable[[], object],
    what: str,
    where: str,
    advice: str,
    meanwhile: Callable[[], object] | None = None,
    steady: float = 0.0,
    seconds: float = QUORUM_SECONDS,
) -> None:
    """Repeat `attempt` until it has raised neither Unanswered nor StepFailed for `steady` seconds in a row.

    StepFailed says what was waited for, after `seconds`. `meanwhile` is called between attempts once they take longer
    than usual; an error that it raises ends the waiting.
    """
    began = time.monotonic()
    well_since: float | None = None
    trouble: object = "its answers came too slowly"
    for _ in attempts(seconds + steady, 0.05, 0.5):
        try:
            attempt()
        except (Unanswered, StepFailed) as error:
            well_since, trouble = None, error
        else:
            now = time.monotonic()
            well_since = now if well_since is None else well_since
            if now - well_since >= steady:
                return
        if meanwhile and time.monotonic() > began + PATIENCE:
            meanwhile()
    raise StepFailed(Problem(f"waited {time.monotonic() - began:.0f} s until {what}: {trouble}", where, advice))


def wait_for(condition: Callable[[], bool], seconds: float, pause: float = 0.1) -> bool:
    """Return whether the condition came to hold within `seconds`; the condition is asked at least once."""
    return any(condition() for _ in attempts(seconds, pause))
