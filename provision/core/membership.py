"""Raft's arithmetic, in one place: how many members must agree, and how many may be lost."""

from __future__ import annotations


def majority(members: int) -> int:
    """Return how many of so many voting members have to agree."""
    return members // 2 + 1


def spare(members: int, healthy: int) -> int:
    """Return how many more of the healthy members may be lost before no majority is left; negative where none is."""
    return healthy - majority(members)
