"""The Docker that is installed on a node, and its configuration."""

from __future__ import annotations

import json
from collections.abc import Iterator

from provision.checks.node_view import NodeView, version_of
from provision.core.check import PREFLIGHT, check
from provision.core.outcome import Outcome


@check(PREFLIGHT)
def docker_version(view: NodeView) -> Iterator[Outcome]:
    """Docker is installed, in a version that the control plane supports."""
    version = version_of(view.value("dockerd"))
    window = view.plane.docker_versions
    if not version:
        yield view.failed("Docker is not installed", view.plane.docker_advice)
    elif not window.holds(version):
        reason = f": {view.plane.docker_reason}" if window.ends_before(version) else ""
        folder = view.situation.cluster.folder
        settled = f"; the cluster was provisioned with {view.plane.name}, as {folder} says, and stays with it"
        advice = view.plane.docker_advice + (settled if view.situation.recorded else "")
        yield view.failed(f"Docker {version} is outside {window}{reason}", advice)
    elif not view.value("docker-cli"):
        yield view.failed("the docker command line is missing", advice="apt-get install docker-cli, or docker-ce-cli")


@check(PREFLIGHT)
def daemon_json(view: NodeView) -> Iterator[Outcome]:
    """daemon.json is valid JSON, without keys that we set: dockerd does not start if a setting is given twice."""
    text = view.value("daemon-json")
    if not text.strip():
        return
    try:
        settings = json.loads(text)
        if not isinstance(settings, dict):
            raise ValueError("not an object")
    except ValueError as error:
        yield view.failed(f"/etc/docker/daemon.json is not JSON: {error}", advice="correct it: dockerd would not start")
        return
    clashes = settings.keys() & view.plane.daemon_keys
    if clashes:
        yield view.failed(
            f"/etc/docker/daemon.json sets {', '.join(sorted(clashes))}, which we set ourselves",
            advice="remove them from daemon.json",
        )


@check(PREFLIGHT)
def swarm(view: NodeView) -> Iterator[Outcome]:
    """Docker is not in swarm mode, unless the control plane is swarm: dockerd would not start with another store."""
    if view.value("swarm") and not view.plane.swarm_mode:
        yield view.failed(
            "Docker is in swarm mode here, and cannot use another store for its networks",
            advice="if the swarm is not needed: docker swarm leave --force, which ends its services on this host",
        )
