"""Docker where it is missing: what is installed on each host, and the stage in which that is done."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from functools import cache
from pathlib import Path

from provision import layout
from provision.core.phase import Phase
from provision.core.plane import Stage, after_preparation
from provision.core.situation import Situation
from provision.errors import Problem
from provision.facts import Facts, Unit
from provision.inventory.model import Archive, Node
from provision.inventory.releases import ARCHITECTURES
from provision.resources import File, Resource
from provision.resources.packages import PROGRAMS, FirstStart, Offer, Packages, StaticDocker
from provision.templates import render
from provision.versions import begins, version_of

#: The package with Docker's command line, where a distribution splits it off.
COMMAND_LINES = {"docker.io": "docker-cli"}
#: What dockerd needs beside it: the program, and its package.
NEEDED = {"iptables": "iptables", "apparmor_parser": "apparmor"}
UNITS = ("docker.socket", layout.DOCKER_UNIT)
#: Bytes that Docker's packages take, and their download: those of Debian 13 and Docker's own take 200 to 400 MB.
PACKAGES_SIZE, DOWNLOAD_SIZE = 400_000_000, 100_000_000
#: The growth of a static release when it is unpacked: 28.5 grows from 78 to 210 MB.
UNPACKED = 3
#: What the stages after the installation do, for one that says nothing itself.
TITLE = "Docker is configured, and the hosts become a cluster"


class Installation(Phase):
    """Docker on every host that has none, if the inventory asks for that."""

    name = "install"
    prepares = True
    seconds = 1800

    def resources(self, situation: Situation, node: Node) -> tuple[Resource, ...]:
        """Return the packages, or a static release and its units; and the first start."""
        engine, facts = situation.cluster.docker_engine, situation.of(node)
        if not engine.install:
            return ()
        if node.name not in situation.facts:  # only to ask
            names = (engine.package, _command_line(engine.package), *NEEDED.values())
            return (Packages(names), *(_units() if engine.archives else ()))
        if facts.values.get("dockerd"):
            return _units() if engine.archives and facts.values.get("docker-ours") == "archive" else ()
        if engine.archives:
            needed = _needed(facts)
            programs = (Packages(needed, "which Docker needs", "archive"),) if needed else ()
            archive = archive_for(situation, node)
            static = (StaticDocker(archive.path, archive.sha256, archive.version),) if archive else ()
            return (*programs, *static, *_units(), FirstStart())
        return (*_packages(situation, node), FirstStart())


def is_missing(situation: Situation, node: Node) -> bool:
    """Say whether a host that was asked has no Docker, and is to get one."""
    return (
        situation.cluster.docker_engine.install
        and node.name in situation.facts
        and not situation.of(node).values.get("dockerd")
    )


def docker_version(situation: Situation, node: Node) -> str:
    """Return the version of a host's Docker, or of the one that is to be installed; empty if there is none."""
    return version_of(situation.of(node).values.get("dockerd", "")) or coming(situation, node)


def coming(situation: Situation, node: Node) -> str:
    """Return the version of Docker that is to be installed on a host; empty if there is none to install."""
    if not is_missing(situation, node):
        return ""
    if situation.cluster.docker_engine.archives:
        archive = archive_for(situation, node)
        return archive.version if archive else ""
    return version_of(_offered(situation, node))


def problems(situation: Situation, node: Node) -> Iterator[Problem]:
    """Say why Docker cannot be installed on a host where it is missing."""
    if not is_missing(situation, node):
        return
    engine, facts = situation.cluster.docker_engine, situation.of(node)
    offer = Offer.of(facts)
    if engine.archives:
        if archive := archive_for(situation, node):
            if what := unusable(archive):
                advice = "put the archive there, or correct docker.source in the inventory: sha256sum prints the sha256"
                yield Problem(f"{archive.path}: {what}", "controller", advice)
        else:
            what, advice = no_archive(facts)
            yield Problem(f"Docker is missing, and {what}", node.name, advice)
        for program in sorted(_lacking(facts) - {program for program in NEEDED if NEEDED[program] in offer.candidates}):
            what = f"{program} is missing, which Docker needs, and the archive does not have"
            yield Problem(what, node.name, f"install the package {NEEDED[program]}")
    elif not offer.has_apt:
        advice = "name a static release in the inventory: docker: {source: …}; or install Docker there"
        yield Problem("Docker is missing, and there is no apt to install it", node.name, advice)
    elif not _offered(situation, node):
        yield _without_candidate(situation, node, offer)


def no_archive(facts: Facts) -> tuple[str, str]:
    """Say that there is no static release for a host's CPU, and what to do."""
    cpu = facts.values.get("machine", "")
    known = ARCHITECTURES.get(cpu, cpu)
    advice = f"add {known}: {{archive: docker-VERSION.tgz, sha256: 64 digits}} there"
    return f"docker.source has no archive for {known}", advice


def unusable(archive: Archive) -> str:
    """Say what is wrong with a static release on the controller; empty if nothing is."""
    try:
        status = archive.path.stat()
        digest = _digest(archive.path, status.st_mtime_ns, status.st_size)
    except OSError as error:
        return f"cannot be read: {error.strerror}"
    return "" if digest == archive.sha256 else f"its sha256 is {digest[:12]}…, not {archive.sha256[:12]}…"


def room(situation: Situation, node: Node) -> Mapping[str, tuple[str, int]]:
    """Return the folders that an installation writes to on a host where Docker is missing."""
    return needed(situation, node) if is_missing(situation, node) else {}


def needed(situation: Situation, node: Node) -> Mapping[str, tuple[str, int]]:
    """Return the folders that Docker's programs are written to: for what, and how many bytes."""
    if not situation.cluster.docker_engine.archives:
        return {"/usr": ("Docker", PACKAGES_SIZE), "/var/cache/apt": ("Docker's packages", DOWNLOAD_SIZE)}
    archive = archive_for(situation, node)
    size = archive.path.stat().st_size if archive and archive.path.exists() else 0
    return {layout.STATE: ("Docker's archive", size), PROGRAMS: ("Docker", UNPACKED * size)}


def stages(situation: Situation, following: Sequence[Stage]) -> tuple[Stage, ...]:
    """Return the stages that follow, after one that installs Docker where it is missing.

    What the others need to know of a Docker is asked when it is there.
    """
    if not any(is_missing(situation, node) for node in situation.cluster.nodes):
        return tuple(following)
    return after_preparation(following, TITLE, _installed)


def _installed(situation: Situation) -> Situation:
    """Return the situation as it is found when Docker is installed, as far as that is known before."""
    there = {
        node.name: _with_docker(situation, node) for node in situation.cluster.nodes if is_missing(situation, node)
    }
    return replace(situation, facts={**situation.facts, **there})


def _with_docker(situation: Situation, node: Node) -> Facts:
    facts = situation.of(node)
    values = {"dockerd": f"Docker version {coming(situation, node)},", "docker-cli": "yes"}
    if situation.cluster.docker_engine.archives:
        texts = [f"# {unit.path}\n{(unit.content or b'').decode()}" for unit in _units()]
        values |= {"docker-unit": texts[-1], "docker-ours": "archive"}
    else:
        names = _of_docker(situation, node)
        values["docker-packages"] = " -- ".join(f"Package: {name} Status: install ok installed" for name in names)
    units = {**facts.units, layout.DOCKER_UNIT: Unit("active", "enabled")}
    return replace(
        facts,
        values={**facts.values, **values},
        units=units,
        docker_answers=True,
        containers_known=True,
        paths=facts.paths,
    )


def _without_candidate(situation: Situation, node: Node, offer: Offer) -> Problem:
    engine = situation.cluster.docker_engine
    if found := offer.versions.get(engine.package):
        what = f"apt has {engine.package} in {', '.join(found)}, and docker.version is {engine.version}"
        return Problem(f"Docker is missing; {what}", node.name, "correct docker.version, or name a docker.source")
    said = f": {offer.complaint}" if offer.complaint else ""
    advice = (
        "see that apt reaches a repository that has it: apt-get update && apt-cache policy "
        f"{engine.package}; or name a static release in the inventory: docker: {{source: …}}"
    )
    return Problem(f"Docker is missing, and apt knows no package {engine.package}{said}", node.name, advice)


def _packages(situation: Situation, node: Node) -> tuple[Packages, ...]:
    """Return Docker's package, the one of its command line, and those that it needs."""
    version, names, needed = _offered(situation, node), _of_docker(situation, node), _needed(situation.of(node))
    pinned = f"={version}" if situation.cluster.docker_engine.version else ""
    beside = ", ".join((*names[1:], *needed))
    note = f"{version}, with {beside}" if beside else version
    return (Packages((*(f"{name}{pinned}" for name in names), *needed), note),)


def _of_docker(situation: Situation, node: Node) -> tuple[str, ...]:
    """Return Docker's package, and the one of its command line, if apt has that in the same version."""
    package, offer = situation.cluster.docker_engine.package, Offer.of(situation.of(node))
    client = _command_line(package)
    has = (offer.candidates.get(client), *offer.versions.get(client, ()))
    return (package, client) if _offered(situation, node) in has else (package,)


def _offered(situation: Situation, node: Node) -> str:
    """Return the version of Docker's package that is to be installed: apt's candidate, or the newest that fits."""
    engine, offer = situation.cluster.docker_engine, Offer.of(situation.of(node))
    versions = (offer.candidates.get(engine.package, ""), *offer.versions.get(engine.package, ()))
    return next((one for one in versions if one and begins(version_of(one), engine.version)), "")


def _command_line(package: str) -> str:
    return COMMAND_LINES.get(package, f"{package}-cli")


def _lacking(facts: Facts) -> set[str]:
    wanted = {program for program in NEEDED if program != "apparmor_parser" or facts.values.get("apparmor")}
    return wanted - set(facts.values.get("programs", "").split())


def _needed(facts: Facts) -> tuple[str, ...]:
    """Return the packages with programs that Docker needs, of those that apt has."""
    candidates = Offer.of(facts).candidates
    return tuple(NEEDED[program] for program in sorted(_lacking(facts)) if NEEDED[program] in candidates)


def archive_for(situation: Situation, node: Node) -> Archive | None:
    """Return the static release for a host's CPU."""
    cpu = ARCHITECTURES.get(situation.of(node).values.get("machine", ""), "")
    return situation.cluster.docker_engine.archives.get(cpu)


def _units() -> tuple[File, ...]:
    """Return the units of a static release: the packages have their own."""
    return tuple(File(f"/etc/systemd/system/{unit}", render(f"{unit}.j2", programs=PROGRAMS)) for unit in UNITS)


@cache
def _digest(path: Path, changed: int, size: int) -> str:  # noqa: ARG001 (both decide whether it is read again)
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
