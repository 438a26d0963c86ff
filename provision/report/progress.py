"""What is going on, on standard error: a live row a node on a terminal, a plain line a step elsewhere."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any


class Progress:
    """Takes what each place is doing; and the time that each stage took."""

    def __init__(self, *, live: bool | None = None) -> None:
        """Draw rows if standard error is a terminal, unless `live` says otherwise."""
        self._live = sys.stderr.isatty() if live is None else live
        self._rows: dict[str, str] = {}
        self._lock = threading.Lock()
        self._display: Any = None
        self.times: dict[str, float] = {}

    def say(self, where: str, what: str) -> None:
        """Show what a place is doing now."""
        with self._lock:
            self._rows[where] = what
            if not self._live:
                print(f"{where}: {what}", file=sys.stderr, flush=True)
            elif self._display is not None:
                self._display.update(self._drawn())

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Measure a stage in seconds; stages of one name add up."""
        started = time.monotonic()
        try:
            yield
        finally:
            self.times[name] = self.times.get(name, 0.0) + time.monotonic() - started

    def __enter__(self) -> Progress:
        """Begin to draw."""
        if self._live:
            from rich.console import Console
            from rich.live import Live

            self._display = Live(console=Console(stderr=True), transient=True, refresh_per_second=8)
            self._display.start()
        return self

    def __exit__(self, *error: object) -> None:
        """Clear what was drawn."""
        if self._display is not None:
            self._display.stop()
            self._display = None

    @contextmanager
    def paused(self) -> Iterator[None]:
        """Leave the terminal to a question."""
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
