"""The one place that waits: until an attempt succeeds, or a condition holds. On a monotonic clock, and bounded."""

from __future__ import annotations

import time
from collections.abc import Callable

from provision.errors import Problem, StepFailed, Unanswered

#: Seconds to wait for a quorum: an election takes one to two, a slow disk's first start some more.
QUORUM_SECONDS = 60.0
#: Seconds after which waiting is longer than usual.
PATIENCE = 3.0


def until(
    attempt: Callable[[], object],
    what: str,
    where: str,
    advice: str,
    meanwhile: Callable[[], object] | None = None,
) -> None:
    """Repeat `attempt` until it raises neither Unanswered nor StepFailed. StepFailed says what was waited for.

    `meanwhile` is called between attempts once they take longer than usual; an error that it raises ends the waiting.
    """
    began = time.monotonic()
    pause = 0.05
    while True:
        try:
            attempt()
            return
        except (Unanswered, StepFailed) as error:
            if time.monotonic() > began + QUORUM_SECONDS:
                problem = Problem(f"waited {QUORUM_SECONDS:.0f} s until {what}: {error}", where, advice)
                raise StepFailed(problem) from error
        if meanwhile and time.monotonic() > began + PATIENCE:
            meanwhile()
        time.sleep(pause)
        pause = min(pause * 1.5, 1.0)


def until_steady(trouble: Callable[[], str], seconds: float, what: str, where: str, advice: str) -> None:
    """Return once `trouble` has named nothing for so many seconds in a row. StepFailed where it does after a minute."""
    began = quiet_since = time.monotonic()
    while time.monotonic() < quiet_since + seconds:
        if words := trouble():
            quiet_since = time.monotonic()
            if quiet_since > began + QUORUM_SECONDS:
                raise StepFailed(Problem(f"waited {QUORUM_SECONDS:.0f} s {what}: {words}", where, advice))
        time.sleep(0.25)


def wait_for(condition: Callable[[], bool], seconds: float, pause: float = 0.1) -> bool:
    """Return whether the condition came to hold within `seconds`; the condition is asked at least once."""
    deadline = time.monotonic() + seconds
    while not (holds := condition()) and time.monotonic() < deadline:
        time.sleep(pause)
    return holds
