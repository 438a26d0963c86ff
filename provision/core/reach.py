"""Who reaches what: what was sent from node to node, and whether it came."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Flow:
    """From one node to another: what was sent, whether it came, after how many milliseconds, where that is known."""

    source: str
    target: str
    what: str
    milliseconds: float | None = None
    came: bool = True

    def __str__(self) -> str:
        """As a person reads it."""
        return f"{self.source} → {self.target}"


@dataclass(frozen=True, order=True)
class Cell:
    """One way: from a node to a port of another."""

    source: str
    target: str
    port: int
    protocol: str

    def __str__(self) -> str:
        """As a person reads it."""
        return f"{self.source} → {self.target} {self.port}/{self.protocol}"


@dataclass(frozen=True)
class Matrix:
    """What was asked and what crossed; from node to node the largest packet that did, in bytes.

    `vanished`: the smallest that did not, where nobody on the way said so. Then nobody sends smaller ones.
    """

    asked: tuple[Cell, ...] = ()
    heard: frozenset[Cell] = frozenset()
    sizes: Mapping[tuple[str, str], int] = field(default_factory=dict)
    vanished: Mapping[tuple[str, str], int] = field(default_factory=dict)

    @property
    def blocked(self) -> tuple[Cell, ...]:
        """The ways that are not open."""
        return tuple(cell for cell in self.asked if cell not in self.heard)

    @property
    def doubtful(self) -> tuple[Cell, ...]:
        """The ways that are not open, and those over which larger packets vanished."""
        return tuple(
            cell
            for cell in self.asked
            if cell not in self.heard or (cell.protocol == "udp" and (cell.source, cell.target) in self.vanished)
        )

    def updated(self, later: Matrix) -> Matrix:
        """Return what is known after the doubtful ways were tried again. What `later` did not ask was in use then."""
        in_use = frozenset(self.doubtful) - frozenset(later.asked)
        sizes = {way: max(size, self.sizes.get(way, 0)) for way, size in {**self.sizes, **later.sizes}.items()}
        # Packets vanish only if they do so again.
        vanished = {
            way: max(size, self.vanished.get(way, 0))
            for way, size in {**self.vanished, **later.vanished}.items()
            if way in later.vanished or way not in later.sizes
        }
        asked = tuple(cell for cell in self.asked if cell not in in_use)
        return Matrix(asked, self.heard | later.heard, sizes, vanished)

    @property
    def flows(self) -> tuple[Flow, ...]:
        """Each as a report shows it."""
        return tuple(
            Flow(cell.source, cell.target, f"{cell.port}/{cell.protocol}", came=cell in self.heard)
            for cell in self.asked
        )
