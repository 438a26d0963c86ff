"""Whether a dockerd is on the store: awaited after each of its starts."""

from __future__ import annotations

from typing import TYPE_CHECKING

from provision.core.resource import call
from provision.errors import Problem, StepFailed
from provision.node import library
from provision.planes.etcd.node import functions

if TYPE_CHECKING:
    from provision.remote import Remote

#: For a daemon to join: the minute in which its neighbours forget an old address, and a reload, with a quorum that has
#: just answered: 0.1 to 0.5 s on the lab.
JOIN_SECONDS = 120


def joined(remote: Remote) -> None:
    """Return once dockerd is on the store. StepFailed if it is not within two minutes."""
    result = remote.run(
        f"{library('changes')}\n{functions('changes')}\n{call('await_joined', str(JOIN_SECONDS))}\n",
        timeout=JOIN_SECONDS + 30,
    )
    if result.code:
        words = f"dockerd does not join the store: {result.stderr.strip()[-1500:]}"
        advice = "mend the cause, run provision again: it goes on here"
        raise StepFailed(Problem(words, f"{remote.node.name}, phase docker", advice))
