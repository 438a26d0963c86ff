"""Running the machine's own tools, with their words in the error when one fails."""

from __future__ import annotations

import os
import shlex
import subprocess
from collections.abc import Sequence
from pathlib import Path

from provision.errors import Problem, StepFailed

HERE = "this machine"
"""Where a problem of the lab is, when it is not a node's."""

PATH = f"{os.environ.get('PATH', os.defpath)}:/usr/sbin:/sbin"
"""Where tools are looked for: root's own path lacks theirs after a plain `su`."""


def run(*command: str | Path, input: str | None = None, timeout: float = 60) -> str:  # noqa: A002 (as subprocess)
    """Run a command, return its stdout. StepFailed, with its words, if it fails or exceeds `timeout` (s)."""
    done = attempt(command, input=input, timeout=timeout)
    if done.returncode:
        raise StepFailed(Problem(f"{_words(command)}: {_reason(done)}", HERE))
    return done.stdout


def attempt(
    command: Sequence[str | Path],
    *,
    input: str | None = None,  # noqa: A002
    timeout: float = 60,
) -> subprocess.CompletedProcess[str]:
    """Run a command whose failure is an answer. StepFailed if it cannot start or takes `timeout` seconds."""
    source = subprocess.DEVNULL if input is None else None
    try:
        return subprocess.run(  # noqa: S603 (no shell; every word is the lab's)
            command,
            input=input,
            stdin=source,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=timeout,
            check=False,
            env={**os.environ, "PATH": PATH},
        )
    except subprocess.TimeoutExpired:
        raise StepFailed(Problem(f"{_words(command)}: no end after {timeout:g} s", HERE)) from None
    except OSError as error:
        raise StepFailed(Problem(f"{_words(command)}: {error.strerror}", HERE)) from None


def _words(command: Sequence[str | Path]) -> str:
    text = shlex.join(str(word) for word in command)
    return text if len(text) <= 200 else f"{text[:200]}…"


def _reason(done: subprocess.CompletedProcess[str]) -> str:
    said = (done.stderr.strip() or done.stdout.strip()).splitlines()
    return "\n".join((f"exit code {done.returncode}", *said[-10:]))
