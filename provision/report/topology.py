"""A picture of the cluster: the place of each node, and the lines between them. No I/O; sizes are in SVG units."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from itertools import combinations
from math import cos, pi, sin
from typing import Literal

from provision.core.reach import Flow
from provision.inventory.model import Cluster, Node

WIDTH, HEIGHT, MARGIN = 172, 64, 10

#: The most nodes for which there is room for labels on the lines.
LABELLED = 3


@dataclass(frozen=True)
class Box:
    """The box of a node; x and y are its centre."""

    node: Node
    x: float
    y: float


@dataclass(frozen=True)
class Line:
    """The line between two nodes; `lost` lists what was sent and did not arrive."""

    start: Box
    end: Box
    state: Literal["open", "closed", "unknown"]
    label: str
    lost: str

    @property
    def middle(self) -> tuple[float, float]:
        """The place of the label."""
        return (self.start.x + self.end.x) / 2, (self.start.y + self.end.y) / 2


@dataclass(frozen=True)
class Drawing:
    """The picture; its origin is its centre."""

    boxes: tuple[Box, ...]
    lines: tuple[Line, ...]
    width: float
    height: float


def drawn(cluster: Cluster, ways: Iterable[Flow]) -> Drawing:
    """Place the nodes on an ellipse, or two nodes side by side, and draw a line between every two nodes."""
    count = len(cluster.nodes)
    wide, high = (152.0, 0.0) if count == 2 else (max(200.0, count * 34.0), max(110.0, count * 24.0))
    first = {2: pi, 4: -3 * pi / 4}.get(count, -pi / 2)
    turns = (first + 2 * pi * index / count for index in range(count))
    boxes = tuple(
        Box(node, round(wide * cos(turn), 1), round(high * sin(turn), 1))
        for node, turn in zip(cluster.nodes, turns, strict=True)
    )
    seen = tuple(ways)
    lines = tuple(_line(start, end, seen, labelled=count <= LABELLED) for start, end in combinations(boxes, 2))
    return Drawing(boxes, lines, 2 * wide + WIDTH + 2 * MARGIN, 2 * high + HEIGHT + 2 * MARGIN)


def _line(start: Box, end: Box, ways: tuple[Flow, ...], *, labelled: bool) -> Line:
    both = {start.node.name, end.node.name}
    between = [way for way in ways if {way.source, way.target} == both]
    lost = list(dict.fromkeys(str(way) for way in between if not way.came))
    if lost:
        return Line(start, end, "closed", " · ".join(lost) if labelled else "", ", ".join(lost))
    times = [way.milliseconds for way in between if way.milliseconds is not None]
    label = f"{min(times):.2f} ms" if times and labelled else ""
    return Line(start, end, "open" if between else "unknown", label, "")
