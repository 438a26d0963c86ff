"""Progress on standard error: one live row per node on a terminal, one plain line per step elsewhere."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from provision.errors import Problem
from provision.streams import OutputClosed


class Progress:
    """Shows what each place is doing, and measures the time of each stage."""

    def __init__(self, *, live: bool | None = None, needs_a_reader: bool = False) -> None:
        """Draw rows if standard error is a terminal, unless `live` says otherwise.

        `needs_a_reader`: if nobody reads standard error any more, `say` raises OutputClosed. Else it says no more.
        """
        self._needs_a_reader = needs_a_reader
        self._silent = False
        self._live = sys.stderr.isatty() if live is None else live
        self._rows: dict[str, str] = {}
        self._lock = threading.Lock()
        self._display: Any = None
        self.times: dict[str, float] = {}
        #: What a person should know of what was done: the report has it among its warnings.
        self.notes: list[Problem] = []

    def say(self, where: str, what: str) -> None:
        """Show what a place is doing now."""
        with self._lock:
            self._rows[where] = what
            if not self._live:
                self._print(f"{where}: {what}")
            elif self._display is not None:
                self._display.update(self._drawn())

    def _print(self, line: str) -> None:
        if self._silent:
            return
        try:
            print(line, file=sys.stderr, flush=True)
        except OSError as error:
            self._silent = True
            if self._needs_a_reader and isinstance(error, BrokenPipeError):
                raise OutputClosed from None

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Measure a stage in seconds; stages of one name add up."""
        started = time.monotonic()
        try:
            yield
        finally:
            self.times[name] = self.times.get(name, 0.0) + time.monotonic() - started

    def __enter__(self) -> Progress:
        """Start to draw the rows."""
        if self._live:
            from rich.console import Console
            from rich.live import Live

            self._display = Live(console=Console(stderr=True), transient=True, refresh_per_second=8)
            self._display.start()
        return self

    def __exit__(self, *error: object) -> None:
        """Remove the rows."""
        if self._display is not None:
            self._display.stop()
            self._display = None

    @property
    def can_ask(self) -> bool:
        """Whether there is a terminal to ask on."""
        return sys.stdin.isatty() and sys.stderr.isatty()

    def agreed(self, question: str) -> bool:
        """Ask a question that takes a yes or no. False without a terminal, and without a yes."""
        if not self.can_ask:
            return False
        with self.paused():
            print(f"{question} [y/N] ", end="", file=sys.stderr, flush=True)
            return sys.stdin.readline().strip().lower() in ("y", "yes")

    @contextmanager
    def paused(self) -> Iterator[None]:
        """Stop drawing while a question is on the terminal."""
        self.__exit__()
        try:
            yield
        finally:
            self.__enter__()

    def _drawn(self) -> Any:
        from rich.spinner import Spinner
        from rich.table import Table

        table = Table.grid(padding=(0, 2))
        for where, what in self._rows.items():
            table.add_row(Spinner("dots"), where, what)
        return table
