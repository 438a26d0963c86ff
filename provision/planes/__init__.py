"""The control planes, and how one is chosen. Nothing else knows which there are.

The inventory names one, or says `auto`. Then what the first provision has recorded counts, so that another Docker never
changes the control plane of a cluster; before that, what the nodes hold, and then which Docker they have.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from provision.core.plane import Plane
from provision.core.situation import Situation
from provision.errors import PreflightRefused, Problem, UsageError
from provision.inventory.model import Cluster
from provision.migration import record as migration
from provision.phases import upgrade
from provision.phases.installation import docker_version
from provision.pki import files
from provision.ports import Port

#: A file in the identity's folder: the name of the control plane that the cluster was provisioned with.
RECORD = "control-plane"


def known() -> tuple[Plane, ...]:
    """Return every control plane. Nodes that decide nothing get the first."""
    from provision.planes.etcd.plane import PLANE as ETCD
    from provision.planes.swarm.plane import PLANE as SWARM

    return (ETCD, SWARM)


def successor(plane: Plane) -> Plane | None:
    """Return the control plane that comes after one, to which `fab migrate` leads; None after the last."""
    there = known()
    return next(iter(there[there.index(plane) + 1 :]), None)


def ports() -> tuple[Port, ...]:
    """Return the ports of every control plane."""
    from provision.planes.etcd.ports import PORTS as ETCD
    from provision.planes.swarm.ports import PORTS as SWARM

    return tuple({(port.number, port.protocol): port for port in (*SWARM, *ETCD)}.values())


def candidates(cluster: Cluster) -> tuple[Plane, ...]:
    """Return the control planes that may be meant: one, where the inventory or the record names it.

    UsageError where the inventory names one that is not to be had; PreflightRefused where it contradicts the record, or
    the record cannot be read.
    """
    there = known()
    named = tuple(plane for plane in there if plane.name == cluster.control_plane)
    if cluster.control_plane != "auto" and not named:
        raise UsageError(
            Problem(
                f"docker.control_plane: {cluster.control_plane} is not available in this version",
                where=str(cluster.path),
                advice="use `control_plane: etcd` (or auto), with Docker below 23 on every node",
            )
        )
    if not (kept := recorded(cluster)):
        return named or there
    if migration.under_way(cluster):
        return (kept,)
    if named and named != (kept,):
        way = f"to go on with it there: {migration.VERB}; " if successor(kept) in named else ""
        raise PreflightRefused(
            Problem(
                f"docker.control_plane: {cluster.control_plane}, but the cluster was provisioned with {kept.name}",
                where=str(cluster.path),
                advice=f"{way}write `control_plane: {kept.name}`, or auto; to begin anew with {cluster.control_plane}, "
                f"first fab reset with {kept.name}, then move {cluster.folder} away",
            )
        )
    return (kept,)


def chosen(candidates: Sequence[Plane], situation: Situation) -> Plane:
    """Return the candidate that the nodes hold already, or else the one for the Docker that they have. Pure.

    Of the candidates for which a node's Docker is not too new, the node wants the one that ends first. A node without
    Docker wants the one for the Docker that it is to get. A node that gets none, or does not answer, wants none.
    PreflightRefused where nodes want different ones.
    """
    left = [plane for plane in candidates if any(map(plane.is_on, situation.facts.values()))] or candidates
    versions = {
        node.name: upgrade.coming(situation, node) or docker_version(situation, node)
        for node in situation.cluster.nodes
    }
    wanted = {name: plane for name, version in versions.items() if (plane := _wanted(version, left))}
    if len(set(wanted.values())) > 1:
        raise _mixed(wanted, versions)
    return next(iter(wanted.values()), left[0])


def _wanted(version: str, candidates: Sequence[Plane]) -> Plane | None:
    fitting = (plane for plane in candidates if version and not plane.docker_versions.ends_before(version))
    return min(fitting, key=lambda plane: plane.docker_versions.limit, default=None)


def _mixed(wanted: Mapping[str, Plane], versions: Mapping[str, str]) -> PreflightRefused:
    groups: dict[str, list[str]] = {}
    for name, plane in wanted.items():
        groups.setdefault(f"Docker {versions[name]} ({plane.name})", []).append(name)
    told = "; ".join(f"{docker} on {', '.join(names)}" for docker, names in groups.items())
    planes = " or ".join(dict.fromkeys(plane.name for plane in wanted.values()))
    advice = f"install the same Docker on every node, or write docker.control_plane: {planes} in the inventory"
    return PreflightRefused(Problem(f"no control plane fits every node: {told}", "cluster", advice))


def recorded(cluster: Cluster) -> Plane | None:
    """Return the control plane that the cluster was provisioned with; None before that. PreflightRefused."""
    path, there = cluster.folder / RECORD, known()
    names = ", ".join(plane.name for plane in there)
    advice = f"bring it back from a copy: it holds the name of the cluster's control plane ({names})"
    try:
        name = path.read_text(encoding="utf-8").strip()
    except FileNotFoundError:
        # A cluster from before there was a record.
        return next((plane for plane in there if plane.keeps(cluster)), None)
    except (OSError, ValueError) as error:
        raise PreflightRefused(Problem(f"cannot be read: {error}", str(path), advice)) from error
    for plane in there:
        if plane.name == name:
            return plane
    raise PreflightRefused(Problem(f"names no control plane of this version: {name[:40]!r}", str(path), advice))


def record(cluster: Cluster, plane: Plane) -> None:
    """Write down what the cluster is provisioned with, before its first change. PreflightRefused where that fails."""
    if not (cluster.folder / RECORD).exists() or migration.under_way(cluster):
        files.put(cluster.folder, {RECORD: f"{plane.name}\n".encode()})
