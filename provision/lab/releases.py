"""The releases of Debian, and the versions of Docker, that a lab's hosts may run. All hosts of a lab run the same."""

from __future__ import annotations

from collections.abc import Mapping

from provision.errors import Problem, UsageError
from provision.lab import recipe, trixie, trixie_docker28, without_docker
from provision.lab.recipe import Recipe

RECIPES: Mapping[str, Recipe] = {recipe.SUITE: recipe.DEBIAN, trixie.SUITE: trixie.DEBIAN}
"""The recipe of each release's base, with the release's own Docker, by the release's name."""

OTHER_DOCKER: Mapping[tuple[str, str], Recipe] = {
    (trixie.SUITE, trixie_docker28.DOCKER): trixie_docker28.DEBIAN,
    (recipe.SUITE, without_docker.DOCKER): without_docker.BOOKWORM,
    (trixie.SUITE, without_docker.DOCKER): without_docker.TRIXIE,
}
"""The recipes of a release with another Docker, or with none, by the release's name and Docker's major version."""

DEFAULT = recipe.SUITE


def find(release: str, docker: str = "") -> Recipe:
    """Return the recipe of a release, with its own Docker or another. UsageError if labs do not know it."""
    if release not in RECIPES:
        raise UsageError(Problem(f"no lab can run the release {release!r}", advice=f"use {' or '.join(RECIPES)}"))
    if not docker:
        return RECIPES[release]
    if (release, docker) not in OTHER_DOCKER:
        advice = "leave --docker out, or use " + " or ".join(f"--release {r} --docker {d}" for r, d in OTHER_DOCKER)
        raise UsageError(Problem(f"no lab can run Docker {docker!r} on {release}", advice=advice))
    return OTHER_DOCKER[release, docker]


def describe(release: str, docker: str) -> str:
    """Return a name for what the hosts run."""
    return f"{release} with Docker {docker}" if docker else release
