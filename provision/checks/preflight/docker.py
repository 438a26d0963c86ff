"""The Docker that is installed on a node, and its configuration."""

from __future__ import annotations

import json
from collections.abc import Iterator

from provision import layout
from provision.checks.node_view import NodeView
from provision.core import outcome
from provision.core.check import PREFLIGHT, check
from provision.core.outcome import Outcome
from provision.docker.vendor import Vendor
from provision.phases import installation

#: What to do about a setting that we set. The user's dockerd may be part of a cluster made by hand.
HAND_OVER = (
    "remove it there, then systemctl daemon-reload && systemctl restart docker. If that is how dockerd uses a store of "
    "yours: first write the store's networks into the inventory, with their subnets, and stop the containers on them"
)

#: What lets provision install Docker.
INSTALL = "docker: {install: true} in the inventory"


@check(PREFLIGHT)
def docker_version(view: NodeView) -> Iterator[Outcome]:
    """Docker is installed, in a version that the control plane supports."""
    version = installation.docker_version(view.situation, view.node)
    window = view.plane.docker_versions
    if installation.is_missing(view.situation, view.node):
        for problem in installation.problems(view.situation, view.node):
            yield outcome.failed(problem.where, problem.what, problem.advice)
    if not view.value("dockerd") and not view.situation.cluster.docker_engine.install:
        yield view.failed("Docker is not installed", f"{view.plane.docker_advice}; or let provision do it: {INSTALL}")
    elif version and not window.holds(version):
        reason = f": {view.plane.docker_reason}" if window.ends_before(version) else ""
        folder = view.situation.cluster.folder
        settled = f"; the cluster was provisioned with {view.plane.name}, as {folder} says, and stays with it"
        advice = view.plane.docker_advice + (settled if view.situation.recorded else "")
        what = f"Docker {version}" + ("" if view.value("dockerd") else ", which is to be installed,")
        yield view.failed(f"{what} is outside {window}{reason}", advice)
    elif view.value("dockerd") and not view.value("docker-cli"):
        yield view.failed("the docker command line is missing", advice="apt-get install docker-cli, or docker-ce-cli")


@check(PREFLIGHT)
def daemon_json(view: NodeView) -> Iterator[Outcome]:
    """daemon.json is valid JSON, without keys that we set: dockerd does not start if a setting is given twice."""
    text, file = view.value("daemon-json"), Vendor.of(view.facts.values).config
    if not text.strip():
        return
    try:
        settings = json.loads(text)
        if not isinstance(settings, dict):
            raise ValueError("not an object")
    except ValueError as error:
        yield view.failed(f"{file} is not JSON: {error}", advice="correct it: dockerd would not start")
        return
    clashes = settings.keys() & view.plane.daemon_keys
    if clashes:
        yield view.failed(
            f"{file} sets {', '.join(sorted(clashes))}, which we set ourselves",
            advice=HAND_OVER,
        )


@check(PREFLIGHT)
def docker_flags(view: NodeView) -> Iterator[Outcome]:
    """dockerd's command line has no flag that we set: it would use another store, or certificates of its own."""
    for flag, file in Vendor.of(view.facts.values).given(view.plane.daemon_keys):
        yield view.failed(
            f"{file} gives dockerd {flag}, which we set ourselves",
            advice=HAND_OVER,
        )


@check(PREFLIGHT)
def docker_drop_ins(view: NodeView) -> Iterator[Outcome]:
    """No drop-in that systemd reads after ours replaces dockerd's command line: it would start without our settings."""
    ours = layout.DOCKER_DROP_IN.rpartition("/")[2]
    for file in Vendor.of(view.facts.values).overriding:
        folder, _, name = file.rpartition("/")
        yield view.failed(
            f"{file} replaces dockerd's command line, and systemd reads it after {ours}, ours: dockerd would start "
            "without our settings",
            advice=f"mv {file} {folder}/40-{name} && systemctl daemon-reload; its command line is then kept, with our "
            "settings added",
        )


@check(PREFLIGHT)
def docker_starts(view: NodeView) -> Iterator[Outcome]:
    """dockerd starts with its present configuration: a run restarts it, and then no container would run."""
    if any(daemon_json(view)):
        return
    # One that has failed with settings of ours gets those of this run.
    failed = "" if layout.DOCKER_DROP_IN in view.facts.paths else view.value("docker-last-words")
    if words := " / ".join((view.value("docker-failure") or failed).split("\n")).strip(" /"):
        yield view.failed(
            f"dockerd does not start: {words}",
            advice=f"correct {Vendor.of(view.facts.values).config}, or what else it names; then systemctl restart "
            "docker, and run this again",
        )


@check(PREFLIGHT)
def containers_start(view: NodeView) -> Iterator[Outcome]:
    """Docker has what it needs to start a container: its programs, and what the kernel demands of them."""
    programs, settings = view.value("programs").split(), view.facts.settings
    if not view.value("dockerd"):
        return
    if view.value("apparmor") and "apparmor_parser" not in programs:
        yield view.failed(
            "AppArmor is on, and apparmor_parser is missing, with which Docker loads the profile of every container",
            advice="apt-get install apparmor && systemctl restart docker",
        )
    if missing := {"runc", "containerd-shim-runc-v2"} - {*programs} if "default-runtime" not in settings else set():
        yield view.failed(
            f"{' and '.join(sorted(missing))} is missing, with which Docker starts containers",
            advice="install the package of Docker's runtime again: runc and containerd, or containerd.io",
        )
    if "iptables" not in programs and settings.get("iptables") is not False:
        yield view.failed(
            "iptables is missing, with which Docker connects containers: dockerd does not start without it",
            advice="apt-get install iptables && systemctl restart docker",
        )
    if not view.value("cgroups"):
        yield view.failed(
            "no control groups for devices are mounted at /sys/fs/cgroup: runc starts no container",
            advice="boot with the distribution's kernel and systemd's own control groups",
        )
    if "seccomp-profile" in settings and not view.value("seccomp"):
        yield view.failed(
            "seccomp-profile is set, and the kernel has no seccomp: Docker starts no container",
            advice="remove seccomp-profile from daemon.json, or boot the distribution's kernel",
        )


@check(PREFLIGHT)
def swarm(view: NodeView) -> Iterator[Outcome]:
    """Docker is not in swarm mode, unless the control plane is swarm: dockerd would not start with another store."""
    if view.value("swarm") and not view.plane.swarm_mode:
        yield view.failed(
            "Docker is in swarm mode here, and cannot use another store for its networks",
            advice="if the swarm is not needed: docker swarm leave --force, which ends its services on this host",
        )
