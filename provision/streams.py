"""The standard streams of this program when they are closed or full, or when nobody reads them any more."""

from __future__ import annotations

import atexit
import io
import os
import signal
import sys
from contextlib import suppress
from types import TracebackType
from typing import BinaryIO, NoReturn

from provision.errors import Exit, Problem, UsageError

#: The descriptors of the streams that were closed when the program began.
_closed: set[int] = set()


class OutputClosed(BaseException):
    """Nobody reads the output any more. Like an interrupt, it ends a run that only looks."""


def guard() -> None:
    """Replace closed streams by /dev/null, and end the program without a traceback if its output cannot be written.

    A descriptor of a closed stream would else be given to the next file or connection, and take in what is printed.
    """
    for descriptor, (name, mode) in enumerate((("stdin", "r"), ("stdout", "w"), ("stderr", "w"))):
        try:
            os.fstat(descriptor)
        except OSError:
            os.dup2(os.open(os.devnull, os.O_RDWR), descriptor)
            _closed.add(descriptor)
        if getattr(sys, name) is None:
            setattr(sys, name, os.fdopen(descriptor, mode, encoding="utf-8", closefd=False))
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")  # for ASCII terminals
    sys.excepthook = _refused
    atexit.register(_flush)


def taken() -> BinaryIO:
    """Return standard output, for data; what is printed later goes to standard error. UsageError if it is closed."""
    if 1 in _closed:
        raise UsageError(Problem("standard output is closed", "-", "name a file, or a pipe that takes the data"))
    sys.stdout.flush()
    data = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    return data


def _refused(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    """Report an error of Fabric before a verb began: it refuses the command line, or cannot print a help or a list."""
    if isinstance(error, OSError) and error.filename is None:
        unwritten(error, Exit.USAGE)
    if not isinstance(error, Exception):
        sys.__excepthook__(kind, error, trace)
        return
    with suppress(OSError):
        what = str(error) or kind.__name__
        print(f"cannot start\n  ✘ command line: {what}\n    → see fab --help, fab --list", file=sys.stderr, flush=True)
    os._exit(Exit.USAGE)


def _flush() -> None:
    try:
        sys.stdout.flush()
    except (OSError, ValueError) as error:
        unwritten(error, Exit.USAGE)


def unwritten(error: Exception, code: int) -> NoReturn:
    """End the program, whose output cannot be written: by SIGPIPE if nobody reads it, as other programs end."""
    if isinstance(error, BrokenPipeError):
        signal.signal(signal.SIGPIPE, signal.SIG_DFL)
        os.kill(os.getpid(), signal.SIGPIPE)
    with suppress(OSError, ValueError):
        reason = getattr(error, "strerror", None) or error
        print(f"the output could not be written: {reason}", file=sys.stderr, flush=True)
    os._exit(code)
