"""The Docker that the inventory names, beside the one that a node has."""

from __future__ import annotations

from collections.abc import Iterator

from provision.checks.node_view import NodeView
from provision.core.check import PREFLIGHT, check
from provision.core.outcome import Outcome
from provision.facts.installed import installed
from provision.inventory.model import Archive
from provision.phases import installation, upgrade
from provision.versions import is_newer, version_of


@check(PREFLIGHT)
def docker_not_downgraded(view: NodeView) -> Iterator[Outcome]:
    """Docker is not later than the inventory wants it: what a later one has written, an earlier one may not read."""
    wanted, version = upgrade.engine(view.situation, view.node), version_of(view.value("dockerd"))
    if wanted and version and is_newer(version, wanted.version):
        beginning = ".".join(version.split(".")[:2])
        where = "docker.source" if wanted.archive else "docker.version"
        yield view.failed(
            f"Docker {version} is later than {wanted.version}, which {where} names: a downgrade is not made",
            f"name {beginning} or later there, so that the other nodes follow; or delete {where}",
        )


@check(PREFLIGHT)
def docker_archive(view: NodeView) -> Iterator[Outcome]:
    """Where docker.source names a later Docker than a node has, it has one for the node's CPU."""
    archives, there = view.situation.cluster.docker_engine.archives, installed(view.facts)
    later = [one.version for one in archives.values() if there.is_older(one.version)]
    if later and not installation.archive_for(view.situation, view.node):
        what, advice = installation.no_archive(view.facts)
        yield view.failed(f"Docker {there.version} cannot become {later[0]}: {what}", advice)


@check(PREFLIGHT)
def docker_upgrade(view: NodeView) -> Iterator[Outcome]:
    """Where a node's Docker is to be upgraded, the node can get the other one, and the cluster can work with it."""
    wanted, there = upgrade.engine(view.situation, view.node), installed(view.facts).version
    if not wanted or not wanted.compare(view.facts):
        return
    coming = upgrade.coming(view.situation, view.node)
    version, what = coming or there, f"Docker {there} cannot become {coming}"
    if not coming:
        what = f"the upgrade to Docker {there}, which was interrupted, cannot be completed"
    if view.plane.docker_versions.ends_before(version):
        yield view.failed(f"{what} in this cluster: {view.plane.docker_reason}", view.plane.upgrade_advice)
    elif coming and (lost := view.plane.outage(view.situation)):  # an interrupted upgrade may be its cause
        yield view.failed(f"{what}: {lost[0].what}", lost[0].advice)
    elif wanted.archive:
        yield from _from_archive(view, what, wanted.archive)
    else:
        yield from _from_package(view, what, wanted.package, wanted.version if coming else "")


def _from_archive(view: NodeView, what: str, archive: Archive) -> Iterator[Outcome]:
    if view.value("docker-ours") != "archive":
        package = installed(view.facts).package
        owner = f"it is of the package {package}" if package else "we have not installed it"
        advice = f"delete docker.source, and write `package: {package}`" if package else "upgrade it there by hand"
        yield view.failed(f"{what} from an archive: {owner}", advice)
    elif reason := installation.unusable(archive):
        yield view.failed(f"{what}: {archive.path}: {reason}", "put the archive there, or correct docker.source")


def _from_package(view: NodeView, what: str, package: str, version: str) -> Iterator[Outcome]:
    """`version`: what apt has to offer; empty if nothing."""
    there = installed(view.facts)
    if there.package != package:
        owner = f"of the package {there.package}" if there.package else "of no package"
        advice = f"write `package: {there.package}` under docker" if there.package else "upgrade it there by hand"
        yield view.failed(f"{what}: dockerd is {owner}, and docker.package is {package}", advice)
    elif version and not there.best(version):
        known = f"apt knows {', '.join(there.offered)}" if there.offered else f"apt knows no package {package}"
        advice = "apt-get update there; or add the source that has it, or write a version that apt knows"
        yield view.failed(f"{what}: {known}", advice)
    elif there.held == "user":
        advice = f"apt-mark unhold {package}, if it may change; or delete docker.version"
        yield view.failed(f"{what}: the package {package} is held (apt-mark showhold), and not by us", advice)
