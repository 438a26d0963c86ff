"""Docker as it is there, before it is ours."""

from __future__ import annotations

import json
from collections.abc import Iterator

from provision.checks.preflight.scene import Scene, check, version_of
from provision.errors import Problem


@check
def docker_version(scene: Scene) -> Iterator[Problem]:
    """Present, and one that still has the cluster store."""
    version = version_of(scene.value("dockerd"))
    window = scene.plane.docker_versions
    if not version:
        yield Problem("Docker is not installed", advice="apt-get install docker.io (Debian 12), or Docker CE 20.10")
    elif not window.holds(version):
        newer = tuple(map(int, version.split("."))) >= window.limit
        reason = f": {scene.plane.docker_reason}" if newer else ""
        yield Problem(
            f"Docker {version} is outside {window}{reason}",
            advice="install Docker 20.10 (Debian 12: docker.io)",
        )
    elif not scene.value("docker-cli"):
        yield Problem("the docker command line is missing", advice="apt-get install docker-cli, or docker-ce-cli")


@check
def one_docker_version(scene: Scene) -> Iterator[Problem]:
    """Networks are shared between daemons, so they must agree on their form."""
    mine = version_of(scene.value("dockerd"))
    for other in scene.others[:1]:
        theirs = version_of(scene.situation.of(other).values.get("dockerd", ""))
        if mine and theirs and mine.split(".")[:2] != theirs.split(".")[:2]:
            yield Problem(
                f"Docker {mine} here, {theirs} on {other.name}",
                advice="install the same version on every node",
            )


@check
def daemon_json(scene: Scene) -> Iterator[Problem]:
    """A key both there and on the command line stops dockerd from starting; the store's are added to these."""
    text = scene.value("daemon-json")
    if not text.strip():
        return
    try:
        settings = json.loads(text)
        if not isinstance(settings, dict):
            raise ValueError("no object")
    except ValueError as error:
        yield Problem(f"/etc/docker/daemon.json is not JSON: {error}", advice="mend it: dockerd would not start")
        return
    clashes = settings.keys() & {
        "hosts",
        "tls",
        "tlsverify",
        "tlscacert",
        "tlscert",
        "tlskey",
        "cluster-store",
        "cluster-advertise",
        "cluster-store-opts",
    }
    if clashes:
        yield Problem(
            f"/etc/docker/daemon.json sets {', '.join(sorted(clashes))}, which we set ourselves",
            advice="remove them from daemon.json",
        )


@check
def swarm(scene: Scene) -> Iterator[Problem]:
    """A daemon in swarm mode takes no other store for its networks: it would not start again."""
    if scene.value("swarm") and not scene.plane.swarm_mode:
        yield Problem(
            "Docker is in swarm mode here, which excludes another store for its networks",
            advice="where the swarm is not needed: docker swarm leave --force, which ends its services on this host",
        )
