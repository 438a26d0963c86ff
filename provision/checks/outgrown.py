"""Nodes whose Docker has outgrown the cluster's control plane: it was upgraded to a version that cannot be part of it.

Only this module decides that. The verbs, the checks and the control planes ask it.
"""

from __future__ import annotations

from collections.abc import Mapping

from provision.core.plane import Plane
from provision.core.situation import Situation
from provision.errors import Problem
from provision.versions import version_of


def versions(plane: Plane, situation: Situation) -> Mapping[str, str]:
    """Return the version of Docker on each node that has outgrown the control plane, by the node's name. Pure.

    A node that holds nothing of the control plane has not: its Docker is only the wrong one to begin with.
    """
    if not plane.outgrown_advice:
        return {}
    found = {name: version_of(facts.values.get("dockerd", "")) for name, facts in situation.facts.items()}
    return {
        name: version
        for name, version in found.items()
        if version and plane.docker_versions.ends_before(version) and plane.is_on(situation.facts[name])
    }


def problems(plane: Plane, situation: Situation) -> tuple[Problem, ...]:
    """Say of each such node which Docker it has, which one the cluster needs, and what that means. Pure."""
    gone = versions(plane, situation)
    fitting = {
        node.name: version
        for node in situation.cluster.nodes
        if node.name not in gone and (version := version_of(situation.of(node).values.get("dockerd", "")))
    }
    have = "".join(f" ({name} has {version})" for name, version in list(fitting.items())[:1])
    needed = f"the cluster's control plane, {plane.name}, which needs {plane.docker_versions}{have}"
    return tuple(
        Problem(f"Docker {version} is too new for {needed}: {plane.outgrown_means}", name, plane.outgrown_advice)
        for name, version in gone.items()
    )
