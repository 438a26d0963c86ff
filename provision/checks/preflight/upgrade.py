"""The version of Docker that the inventory names, beside the one that a node has."""

from __future__ import annotations

from collections.abc import Iterator

from provision.checks.node_view import NodeView
from provision.core.check import PREFLIGHT, check
from provision.core.outcome import Outcome
from provision.facts.installed import installed
from provision.versions import is_newer, version_of


@check(PREFLIGHT)
def docker_not_downgraded(view: NodeView) -> Iterator[Outcome]:
    """Docker is not later than docker.version: what a later one has written, an earlier one may not read."""
    version, wanted = installed(view.facts).version, view.situation.cluster.docker_engine.version
    if wanted and version and is_newer(version, wanted):
        beginning = ".".join(version.split(".")[:2])
        yield view.failed(
            f"Docker {version} is later than docker.version, {wanted}: a downgrade is not made",
            f'write `version: "{beginning}"`, so that the other nodes follow; or delete docker.version',
        )


@check(PREFLIGHT)
def docker_upgrade(view: NodeView) -> Iterator[Outcome]:
    """Where docker.version is later than a node's Docker, the node can get it, and the cluster can work with it."""
    there, engine = installed(view.facts), view.situation.cluster.docker_engine
    if not engine.version or not there.is_older(engine.version):
        return
    offered = "" if engine.archives else there.best(engine.version)
    what = f"Docker {there.version} cannot become {engine.version}"
    if view.plane.docker_versions.ends_before(version_of(offered) or engine.version):
        yield view.failed(f"{what} in this cluster: {view.plane.docker_reason}", view.plane.upgrade_advice)
    elif engine.archives:
        return
    elif there.package != engine.package:
        owner = f"of the package {there.package}" if there.package else "of no package"
        advice = f"write `package: {there.package}` under docker" if there.package else "name its archive: docker.source"
        yield view.failed(f"{what}: dockerd is {owner}, and docker.package is {engine.package}", advice)
    elif not offered:
        known = f"apt knows {', '.join(there.offered)}" if there.offered else f"apt knows no package {engine.package}"
        advice = "apt-get update there; or add the source that has it, or write a version that apt knows"
        yield view.failed(f"{what}: {known}", advice)
    elif there.held == "user":
        advice = f"apt-mark unhold {engine.package}, if it may change; or delete docker.version"
        yield view.failed(f"{what}: the package {engine.package} is held (apt-mark showhold), and not by us", advice)
