"""preflight: every obstacle on every node at once."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from provision import inventory, membership, tunnels, validity
from provision.checks import Outcome, failed, preflight
from provision.errors import Exit
from provision.report import Report
from provision.verbs.converge import with_ways
from provision.verbs.session import Look, Session


def run_preflight(session: Session, *, ignore: Sequence[str]) -> Report:
    """Look for every obstacle on every node, and warn of what is ignored by name. Nothing is written."""
    ignored = preflight.choose(ignore)
    with session.looked() as look:
        situation = with_ways(session, tunnels.tried(look.situation, look.remotes), look.remotes)
        outcomes = (*_way_there(session, look), *preflight.run(session.plane, situation, ignored))
    bad = len(list(failed(outcomes)))
    warned = sum(outcome.status == "warning" for outcome in outcomes)
    passed = (
        f"{len(outcomes) - warned} checks passed, {warned} ignored" if warned else f"all {len(outcomes)} checks passed"
    )
    return Report(
        "preflight",
        f"{bad} of {len(outcomes)} checks failed: nothing was touched"
        if bad
        else f"{passed} on {len(session.cluster.nodes)} nodes",
        Exit.REFUSED if bad else Exit.DONE,
        outcomes=outcomes,
        ways=situation.matrix.ways,
        warnings=(
            *inventory.warnings(session.cluster),
            *validity.warnings(situation),
            *membership.warnings(situation),
        ),
        times=tuple(session.progress.times.items()),
    )


def _way_there(session: Session, look: Look) -> Iterator[Outcome]:
    """Say whether the release is as it should be, and whether each node lets us in."""
    release = look.situation.artifact
    for problem in look.of_release:
        yield Outcome("release", "controller", "failed", problem.what, problem.advice)
    if not look.of_release:
        evidence = f"{release.path.name}: etcd {release.version} for {release.cpu}, sha256 {release.sha256[:12]}…"
        yield Outcome("release", "controller", "passed", evidence)
    for problem in look.unreached:
        yield Outcome("reachable", problem.where, "failed", problem.what, problem.advice)
    for node in session.cluster.nodes:
        if node.name in look.situation.facts:
            yield Outcome("reachable", node.name, "passed", f"{node.ssh.host} lets us in")
