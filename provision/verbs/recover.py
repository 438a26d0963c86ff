"""recover: a cluster that has lost its quorum, and hosts for good, goes on with those that are left."""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from dataclasses import replace

from provision import engine
from provision.core.plan import Plan
from provision.core.plane import Plane
from provision.core.recovery import LostHost, Recovery
from provision.core.situation import Situation
from provision.core.table import Table
from provision.errors import ConnectionFailed, ConsentMissing, Exit, PreflightRefused, Problem
from provision.recovery import outlook
from provision.recovery.outlook import Outlook
from provision.report import Report
from provision.verbs.session import Session, Survey


def run_recover(session: Session, *, lost: Sequence[str], keep: str, plan: bool, yes: bool) -> Report:
    """Look who is left; show who is kept and what is lost; after a yes, go on with those that are left."""
    with session.partial_survey() as survey:
        if not survey.situation.facts:
            raise ConnectionFailed(*survey.unreached)
        situation = _of_those_that_answer(session, survey)
        found = outlook.outlook(session.cluster, session.plane.standings(situation))
        if found.has_quorum:
            return _nothing_to_do(found, survey)
        recovery = _decided(session, survey, found, lost, keep)
        plane = session.plane.recovering(recovery)
        todo = engine.make_plan(plane, situation)
        if not plan:
            if not yes:
                _consent(session, recovery)
            _carry_out(session, plane, situation, todo, survey)
        return _report(found, recovery, todo, done=not plan)


def _of_those_that_answer(session: Session, survey: Survey) -> Situation:
    nodes = tuple(node for node in session.cluster.nodes if node.name in survey.situation.facts)
    return replace(survey.situation, cluster=replace(session.cluster, nodes=nodes))


def _nothing_to_do(found: Outlook, survey: Survey) -> Report:
    """Return the report that a majority lives, and what to do with hosts that do not answer."""
    who = ", ".join(one.node.name for one in found.standings if one.has_quorum)
    advice = "to replace one: a fresh host at its address, or its entry deleted; then fab provision"
    silent = tuple(replace(problem, advice=f"{problem.advice}; {advice}") for problem in survey.unreached)
    return Report("recover", f"nothing to recover: {who} has a quorum", tables=(_standings(found),), warnings=silent)


def _decided(session: Session, survey: Survey, found: Outlook, lost: Sequence[str], keep: str) -> Recovery:
    """Return which node is kept and which hosts are given up. PreflightRefused with each reason against that."""
    unreached = {node.name for node in session.cluster.nodes} - set(survey.situation.facts)
    if problems := outlook.obstacles(found, lost, unreached):
        raise PreflightRefused(*problems)
    kept = outlook.chosen(found, keep)
    if kept is None:
        what = f"--keep {keep}: it does not have the cluster's data" if keep else "no node has the cluster's data"
        raise PreflightRefused(Problem(what, "cluster", "fab restore FILE sets the cluster up from a backup"))
    addresses = dict.fromkeys([*found.silent, *(n.address for n in session.cluster.nodes if n.name in unreached)])
    gone = tuple(
        LostHost(found.name_of(one), one, session.plane.lost_containers(survey.situation, one)) for one in addresses
    )
    others = tuple(one.node for one in found.holders if one.node != kept)
    return Recovery(kept, gone, others, secrets.token_hex(8))


def _consent(session: Session, recovery: Recovery) -> None:
    """Ask for a yes to what is lost. ConsentMissing."""
    gone = "; ".join(
        f"{one.name} with {', '.join(one.containers) or 'no container that the others know'}" for one in recovery.lost
    )
    what = f"give up {gone}, and go on with what {recovery.keep.name} has"
    if others := ", ".join(node.name for node in recovery.others):
        what += f"; {others}: the store's data there is put aside, and the host joins anew"
    if not session.agreed(f"Recover? It will {what}."):
        advice = "fab recover --plan shows it; add --yes to agree in advance"
        raise ConsentMissing(Problem(f"recover would {what}", "cluster", advice))


def _carry_out(session: Session, plane: Plane, situation: Situation, todo: Plan, survey: Survey) -> None:
    with survey.remotes.lock("recover", shared=False, run=session.run):
        coordinator = plane.open(survey.remotes, situation)
        try:
            engine.carry_out(plane, situation, todo, coordinator, session.progress)
        finally:
            coordinator.close()


def _report(found: Outlook, recovery: Recovery, todo: Plan, *, done: bool) -> Report:
    names = ", ".join(one.name for one in recovery.lost)
    summary = (
        f"recovered: {recovery.keep.name} has the cluster, without {names}; "
        f"next: a new host in place of each, under the same or another name and address, and fab provision"
    )
    return Report(
        "recover",
        summary if done else f"{recovery.keep.name} would go on without {names}; nothing is changed yet",
        Exit.DONE,
        changes=todo.changes,
        tables=(_standings(found), _lost(recovery)),
    )


def _standings(found: Outlook) -> Table:
    rows = tuple(
        (
            one.node.name,
            "yes" if one.holds_data else "no",
            "yes" if one.has_quorum else "no",
            ", ".join(sorted(one.networks)),
            one.told,
        )
        for one in found.standings
    )
    silent = tuple((found.name_of(one), "?", "?", "", "does not answer") for one in found.silent)
    return Table("members", "Who is left", ("node", "has the data", "quorum", "networks", ""), rows + silent)


def _lost(recovery: Recovery) -> Table:
    rows = tuple((one.name, one.address, ", ".join(one.containers)) for one in recovery.lost)
    return Table("lost", "Lost", ("host", "address", "containers"), rows)
