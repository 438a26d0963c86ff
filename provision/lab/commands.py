"""Run this machine's tools. The error of a tool that fails contains its output."""

from __future__ import annotations

import os
import shlex
import subprocess
from collections.abc import Sequence
from pathlib import Path

from provision.errors import Problem, StepFailed

HERE = "this machine"
"""The place of a problem that does not belong to a node."""

PATH = f"{os.environ.get('PATH', os.defpath)}:/usr/sbin:/sbin"
"""The search path for tools: after a plain `su`, root's own path lacks the sbin folders."""


def run(*command: str | Path, input: str | None = None, timeout: float = 60) -> str:  # noqa: A002 (as subprocess)
    """Run a command and return its stdout. StepFailed, with its output, if it fails or exceeds `timeout` (s)."""
    result = attempt(command, input=input, timeout=timeout)
    if result.returncode:
        raise StepFailed(Problem(f"{_words(command)}: {_reason(result)}", HERE))
    return result.stdout


def attempt(
    command: Sequence[str | Path],
    *,
    input: str | None = None,  # noqa: A002
    timeout: float = 60,
) -> subprocess.CompletedProcess[str]:
    """Run a command that may fail. StepFailed if it cannot start or exceeds `timeout` (s)."""
    source = subprocess.DEVNULL if input is None else None
    try:
        return subprocess.run(  # noqa: S603 (no shell; every word is the lab's)
            command,
            input=input,
            stdin=source,
            capture_output=True,
            text=True,
            encoding="utf-8",
            errors="replace",
            timeout=timeout,
            check=False,
            env={**os.environ, "PATH": PATH},
        )
    except subprocess.TimeoutExpired:
        raise StepFailed(Problem(f"{_words(command)}: did not end within {timeout:g} s", HERE)) from None
    except OSError as error:
        raise StepFailed(Problem(f"{_words(command)}: {error.strerror}", HERE)) from None


def _words(command: Sequence[str | Path]) -> str:
    text = shlex.join(str(word) for word in command)
    return text if len(text) <= 200 else f"{text[:200]}…"


def _reason(result: subprocess.CompletedProcess[str]) -> str:
    output = (result.stderr.strip() or result.stdout.strip()).splitlines()
    return "\n".join((f"exit code {result.returncode}", *output[-10:]))
