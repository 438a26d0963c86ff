"""The releases of Debian that a lab's hosts may run. All hosts of a lab run one release."""

from __future__ import annotations

from collections.abc import Mapping

from provision.errors import Problem, UsageError
from provision.lab import recipe, trixie
from provision.lab.recipe import Recipe

RECIPES: Mapping[str, Recipe] = {recipe.SUITE: recipe.DEBIAN, trixie.SUITE: trixie.DEBIAN}
"""The recipe of each release's base, by the release's name."""

DEFAULT = recipe.SUITE


def find(release: str) -> Recipe:
    """Return the recipe of a release. UsageError if labs do not know that release."""
    if release not in RECIPES:
        raise UsageError(Problem(f"no lab can run the release {release!r}", advice=f"use {' or '.join(RECIPES)}"))
    return RECIPES[release]
