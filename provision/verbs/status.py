"""status: the state of the cluster, from its own daemons. Nothing is written."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime

from provision import inventory, layout
from provision.checks import outgrown
from provision.core.plane import Plane, Status
from provision.core.situation import Situation
from provision.core.table import Table
from provision.core.validity import Certificate, ending, left
from provision.errors import ConnectionFailed, Exit, Problem
from provision.inventory.model import Node
from provision.network.subnets import assigned
from provision.ports import Port
from provision.recovery import generations
from provision.recovery import record as recovery
from provision.report import Report
from provision.resources import packet_rules
from provision.verbs import half_done
from provision.verbs.session import Session
from provision.verbs.steps import NOT_PROVISIONED, is_provisioned
from provision.versions import version_of


def run_status(session: Session, *, store: bool) -> Report:
    """Return members, nodes, networks, ports and certificates; with `store`, also Docker's keys in each member."""
    with session.partial_survey() as survey, session.coordinator(survey.remotes, survey.situation) as coordinator:
        plane, situation = session.plane, survey.situation
        if not situation.facts:
            raise ConnectionFailed(*survey.unreached)
        status = coordinator.status(situation, store=store)
    provisioned = is_provisioned(plane, situation)
    if not provisioned:
        status = Status(NOT_PROVISIONED, False, (), status.nodes)
    now = datetime.now(UTC)
    found = ending(plane.certificates(situation), now)
    soon = _soon(plane, [one for one in found if one.end > now], now)
    unasked = plane.unasked(situation) if provisioned else ()
    too_new = outgrown.problems(plane, situation)
    problems = (
        *half_done.problems(session.cluster, situation.facts),
        *generations.doubtful(plane, situation),
        *generations.warnings(plane, situation),
        *survey.unreached,
        *too_new,
        *packet_rules.problems(situation),
        *soon,
        *unasked,
    )
    return Report(
        "status",
        status.summary + _missing(session, situation),
        Exit.DONE if status.is_well and not problems and not found else Exit.VERIFICATION_FAILED,
        tables=(
            *status.tables,
            _nodes(plane, situation, status),
            _networks(session, situation),
            ports(situation, plane.ports_of(session.cluster)),
            *status.closing,
        ),
        warnings=(
            *inventory.warnings(session.cluster),
            *plane.warnings(situation),
            *recovery.left_over(session.cluster, situation.facts),
        ),
        problems=problems,
    )


def _soon(plane: Plane, found: Sequence[Certificate], now: datetime) -> tuple[Problem, ...]:
    """Say which certificates are about to end; those that have ended are among the plane's warnings."""
    ends = {one.what: f"{left(one.end, now)} left, until {one.end:%Y-%m-%d}" for one in reversed(found)}
    told = "; ".join(f"{what}: {end}" for what, end in ends.items())
    return (Problem(f"certificates end soon: {told}", "cluster", plane.renewal),) if told else ()


def _missing(session: Session, situation: Situation) -> str:
    names = [node.name for node in session.cluster.nodes if node.name not in situation.facts]
    return f"; not reached: {', '.join(names)}" if names else ""


def _nodes(plane: Plane, situation: Situation, status: Status) -> Table:
    def row(node: Node) -> tuple[str, ...]:
        if node.name not in status.nodes:
            return (node.name, node.address, "", "not reached", *("" for _ in plane.node_columns), "", "")
        facts = situation.of(node)
        names = [container.name for container in facts.containers]
        return (
            node.name,
            node.address,
            version_of(facts.values.get("dockerd", "")),
            *status.nodes[node.name],
            str(len(names)),
            ", ".join(names[:8]) + (" …" if names[8:] else ""),
        )

    columns = ("node", "address", "docker", "daemon", *plane.node_columns, "containers", "names")
    return Table("nodes", "Nodes", columns, tuple(map(row, situation.cluster.nodes)))


def _networks(session: Session, situation: Situation) -> Table:
    rows = []
    for name, subnet in assigned(situation).items():
        seen = {
            node.name: found["Id"]
            for node in session.cluster.nodes
            for found in situation.of(node).networks
            if found["Name"] == name
        }
        identities = sorted({identity[:12] for identity in seen.values()})
        rows.append((name, str(subnet), " ".join(identities) or "none", ", ".join(seen) or "nowhere"))
    return Table("networks", "Networks", ("network", "subnet", "id", "on"), tuple(rows))


def ports(situation: Situation, table: Sequence[Port]) -> Table:
    """Return a table of the ports: the purpose of each, its protection, and from where it can be reached. Pure."""
    unguarded = [name for name, facts in situation.facts.items() if layout.FIREWALL_TABLE not in facts.tables]
    everywhere = len(unguarded) == len(situation.facts)
    others = "whoever reaches the node" if everywhere else f"whoever reaches {', '.join(unguarded)}"
    protocols = {port.number: [one.protocol for one in table if one.number == port.number] for port in table}
    first = {port.number: port for port in reversed(table)}
    removed = ", ".join(generations.given_up(situation))

    def open_to(port: Port) -> str:
        if unguarded:
            return others
        return (
            f"the nodes, and hosts that were given up: {removed}"
            if removed and port.tells_removed
            else "the nodes only"
        )

    rows = tuple(
        (
            f"{number}/{', '.join(protocols[number])}",
            port.purpose,
            port.protection,
            open_to(port),
        )
        for number, port in sorted(first.items())
    )
    return Table("ports", "Ports", ("port", "for", "protected by", "open to"), rows)
