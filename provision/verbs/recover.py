"""recover: a cluster that has lost its quorum, and hosts for good, goes on with those that are left."""

from __future__ import annotations

import secrets
import time
from collections.abc import Collection, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime

from provision import engine, gathering, layout, waiting
from provision.core.outcome import Outcome, failures
from provision.core.plan import CLUSTER, Plan
from provision.core.recovery import LostHost, Recovery
from provision.core.situation import Situation
from provision.errors import ConnectionFailed, ConsentMissing, Exit, PreflightRefused, Problem, StepFailed
from provision.inventory.model import Node
from provision.recovery import generations, outlook, proof, record, tables
from provision.recovery.outlook import Outlook
from provision.remote import Remotes
from provision.report import Report
from provision.verbs import half_done
from provision.verbs.session import Session, Survey

#: Seconds to wait until a member that has lost the others knows no leader any more.
SETTLE_SECONDS = 30.0
#: What to do for a host that is gone.
NEXT = "a new host at the address of each, or another one in the inventory in its place; then fab provision"


@dataclass(frozen=True)
class Decision:
    """A recovery that begins or goes on, and what it rests on."""

    found: Outlook
    recovery: Recovery
    #: Of the nodes that answer and are not given up.
    situation: Situation
    warnings: tuple[Problem, ...]
    #: Whether the recovery has begun, and why it is asked for again.
    begun: bool
    doubts: tuple[str, ...] = ()
    #: Which nodes do not answer, and why; and their names.
    unreached: tuple[Problem, ...] = ()
    silent: frozenset[str] = frozenset()

    @property
    def choice(self) -> tuple[object, ...]:
        """What a yes is given to."""
        one = self.recovery
        return one.keep, one.addresses, frozenset(one.others), self.doubts, one.identity if self.begun else ""

    @property
    def unasked(self) -> bool:
        """Whether it goes on without a yes: that was given when it began."""
        return self.begun and not self.doubts


def run_recover(
    session: Session, *, lost: Sequence[str], keep: str, plan: bool, yes: bool, hurried: Collection[str] = ()
) -> Report:
    """Look who is left; show who is kept and what is lost; after a yes, go on with those that are left.

    `hurried`: the names of nodes that were silent a moment ago.
    """
    with _survey(session, hurried=hurried) as survey:
        found, decision = _looked_at(session, survey, lost, keep)
        if decision is None:
            if found.is_settled or not _settles(session, found, survey.silent):
                return nothing_to_do(session, found, survey, plan=plan)
            return run_recover(session, lost=lost, keep=keep, plan=plan, yes=yes, hurried=survey.silent)
        todo = engine.make_plan(session.plane.recovering(decision.recovery), decision.situation)
        if plan:
            would = f"{decision.recovery.keep.name} would go on; nothing is changed yet"
            return _report(decision, todo, would)
    if not (yes or decision.unasked):
        _consent(session, decision)
    return _recovered(session, decision, lost, keep)


@contextmanager
def _survey(session: Session, *, hurried: Collection[str] = ()) -> Iterator[Survey]:
    """Ask all nodes, also what only a recovery has to know."""
    with session.partial_survey(hurried=hurried) as survey:
        yield replace(survey, situation=_asked(session, survey.situation, survey.remotes))


def _asked(session: Session, situation: Situation, remotes: Remotes) -> Situation:
    """Ask what only a recovery has to know."""
    return gathering.followed_up(situation, session.plane.asked_for_recovery(situation), remotes)


def _looked_at(session: Session, survey: Survey, lost: Sequence[str], keep: str) -> tuple[Outlook, Decision | None]:
    """Return who is left, and the recovery that goes on or is proposed; None where there is a quorum.

    A recovery that has begun goes on, unless another node is named to be kept, or there are two clusters by now.
    """
    situation, plane = survey.situation, session.plane
    if not situation.facts:
        raise ConnectionFailed(*survey.unreached)
    half_done.refuse(session.cluster, situation.facts, verb="recover")
    found = _outlook(session, survey)
    divided = generations.divided(situation)
    if divided and not keep:
        raise PreflightRefused(*divided)
    begun = None if divided else record.under_way(session.cluster, situation.facts)
    if begun and keep in ("", begun.keep.name):
        left = _of_those_left(situation, begun)
        warnings = plane.recovering(begun).warnings(left)
        doubts = outlook.doubts(found, begun, _back(session, survey))
        return found, Decision(found, begun, left, warnings, True, doubts, survey.unreached, survey.silent)
    if begun is None and found.has_quorum and not divided:
        return found, None
    recovery = _decided(session, survey, found, lost, keep, begun)
    left = _of_those_left(situation, recovery)
    warnings = plane.recovering(recovery).warnings(left)
    return found, Decision(found, recovery, left, warnings, False, (), survey.unreached, survey.silent)


def _outlook(session: Session, survey: Survey) -> Outlook:
    """Return what the nodes that answer know; those that were given up are named."""
    plane, situation = session.plane, survey.situation
    returned = {name: generations.moment(situation, name) for name in generations.returned(plane, situation)}
    return outlook.outlook(session.cluster, plane.standings(situation), returned)


def _back(session: Session, survey: Survey) -> frozenset[str]:
    """Return the names of the nodes that answer and have data of the cluster."""
    return frozenset(name for name, facts in survey.situation.facts.items() if session.plane.holds_data(facts))


def _settles(session: Session, found: Outlook, unreached: Collection[str]) -> bool:
    """Look again until members that answer are enough for a quorum, or know none. Return whether that came to be."""
    silent = ", ".join(map(found.name_of, found.silent))
    what = f"a node still knows a leader, and too few members answer for that ({silent}: silent); looking again for"
    session.progress.say(CLUSTER, f"{what} up to {SETTLE_SECONDS:.0f} s")

    def settled() -> bool:
        with _survey(session, hurried=unreached) as survey:
            return _outlook(session, survey).is_settled

    return waiting.wait_for(settled, SETTLE_SECONDS, pause=1.0)


def _of_those_left(situation: Situation, recovery: Recovery) -> Situation:
    """Return the situation with the nodes that answer and are not given up."""
    cluster, facts = situation.cluster, situation.facts
    nodes = tuple(one for one in cluster.nodes if one.name in facts and one.address not in recovery.addresses)
    left = {node.name: facts[node.name] for node in nodes}
    return replace(situation, cluster=replace(cluster, nodes=nodes), facts=left)


def nothing_to_do(session: Session, found: Outlook, survey: Survey, *, plan: bool) -> Report:
    """Return the report that a majority lives, and what to do with hosts that do not answer.

    Records of recoveries that are over are removed.
    """
    who = ", ".join(one.node.name for one in found.standings if one.has_quorum)
    silent = tuple(replace(one, advice=f"{one.advice}; to replace it: {NEXT}") for one in survey.unreached)
    beyond = "" if found.is_settled else ", with members that do not answer here"
    left_over = record.left_over(session.cluster, survey.situation.facts)
    if not plan:
        _cleaned(session, survey.remotes.only([one.where for one in left_over]))
    return Report(
        "recover",
        f"nothing to recover: {who} has a quorum{beyond}",
        tables=(tables.left(found),),
        warnings=(*silent, *generations.warnings(session.plane, survey.situation), *(left_over if plan else ())),
    )


def _cleaned(session: Session, remotes: Remotes) -> None:
    """Remove the records of recoveries that are over: from these nodes, and from the controller."""
    if len(list(remotes)):
        with remotes.lock("recover", run=session.run):
            remotes.each(lambda remote: remote.carry_out(generations.CLEAN, "removing a record"))
    record.end(session.cluster)


def _decided(
    session: Session, survey: Survey, found: Outlook, lost: Sequence[str], keep: str, begun: Recovery | None
) -> Recovery:
    """Return which node is kept and which hosts are given up. PreflightRefused with each reason against that.

    `begun`: the recovery that is given up for this one.
    """
    unreached = [node for node in session.cluster.nodes if node.name not in survey.situation.facts]
    if problems := outlook.obstacles(found, lost, {node.name for node in unreached}, keep):
        raise PreflightRefused(*problems)
    kept = outlook.chosen(found, keep)
    if kept is None:
        raise PreflightRefused(outlook.unchosen(found, keep))
    addresses = dict.fromkeys((*found.silent, *(node.address for node in unreached), *found.emptied))
    gone = tuple(
        LostHost(found.name_of(one), one, session.plane.lost_containers(survey.situation, one)) for one in addresses
    )
    others = tuple(one.node for one in found.standings if one.holds_data and one.node != kept)
    apart = tuple(node for node in others if generations.are_apart(survey.situation, begun, kept, node))
    moment = f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%SZ}"
    return Recovery(kept, gone, others, secrets.token_hex(8), moment, apart)


def _consent(session: Session, decision: Decision) -> None:
    """Ask for a yes to what is lost. ConsentMissing."""
    what = outlook.would(decision.found, decision.recovery, decision.doubts)
    noted = "".join(f" Note: {one.what}; {one.advice}." for one in decision.warnings)
    if not session.agreed(f"Recover? It will {what}.{noted}"):
        other = "; --keep NODE gives this recovery up for another one" if decision.begun else ""
        advice = f"fab recover --plan shows it; add --yes to agree in advance{other}"
        raise ConsentMissing(Problem(f"recover would {what}", "cluster", advice), *decision.warnings)


def agreed(shown: Decision, now: Decision | None) -> Situation:
    """Return what is found now, if the yes was given to that. PreflightRefused."""
    if now is None or now.choice != shown.choice:
        what = "other hosts answer by now than when this recovery was shown, or they hold other data"
        raise PreflightRefused(Problem(what, "cluster", f"nothing was changed; {record.VERB} looks again"))
    return now.situation


def _recovered(session: Session, shown: Decision, lost: Sequence[str], keep: str) -> Report:
    """Look again under the lock; record the decision, carry it out, prove the result, and end the record."""
    began = time.monotonic()
    recovery = shown.recovery
    plane = session.plane.recovering(recovery)
    with ExitStack() as held:
        remotes = held.enter_context(Remotes.open(shown.situation.cluster.nodes, session.login))
        held.enter_context(remotes.lock("recover", run=session.run))
        with _survey(session, hurried=shown.silent) as survey:
            situation = agreed(shown, _looked_at(session, survey, lost, keep)[1])
        todo = engine.make_plan(plane, situation)
        before = proof.running(remotes)
        record.begin(session.cluster, recovery)
        _noted(session, remotes, situation, recovery)
        coordinator = plane.open(remotes, situation)
        try:
            situation = engine.carry_out(plane, situation, todo, coordinator, session.progress)
            situation = _asked(session, situation, remotes)
            networks = proof.known(recovery.keep, shown.found.standings, session.plane.standings(situation))
            outcomes = proof.proven(_staying(situation, recovery), coordinator, before, networks)
        except StepFailed as error:
            raise StepFailed(*map(_to_go_on, error.problems)) from None
        finally:
            coordinator.close()
        if not _goes_on(outcomes):
            _ended(remotes, recovery)
            record.end(session.cluster)
    took = time.monotonic() - began
    copied = f", and its data from before in {plane.copied_data}" if plane.copied_data else ""
    summary = f"recovered in {took:.1f} s: {recovery.keep.name} has the cluster{copied}; next: {NEXT}"
    return _report(shown, todo, summary, outcomes)


def _staying(situation: Situation, recovery: Recovery) -> Situation:
    """Return the situation without the nodes that join anew."""
    nodes = tuple(node for node in situation.cluster.nodes if node not in recovery.others)
    return replace(situation, cluster=replace(situation.cluster, nodes=nodes))


def _noted(session: Session, remotes: Remotes, situation: Situation, recovery: Recovery) -> None:
    """Write the record and the list of recoveries on each node, before anything changes there. StepFailed."""
    content, lines = record.text(recovery).encode(), generations.with_recovery(situation.of(recovery.keep), recovery)
    for nodes in _kept_first(remotes, recovery):
        remotes.each(lambda remote: remote.push(content, layout.RECOVERY), nodes)
        remotes.each(lambda remote: remote.push(lines, layout.RECOVERIES), nodes)
    record.keep_list(session.cluster, lines)


def _ended(remotes: Remotes, recovery: Recovery) -> None:
    """Remove the record from each node. StepFailed."""
    for nodes in _kept_first(remotes, recovery):
        remotes.each(lambda remote: remote.carry_out(generations.CLEAN, "ending the recovery"), nodes)


def _kept_first(remotes: Remotes, recovery: Recovery) -> tuple[tuple[Node, ...], ...]:
    """Return the node that is kept, whose record decides whether the recovery is under way; then the others."""
    return (recovery.keep,), tuple(remote.node for remote in remotes if remote.node != recovery.keep)


def _to_go_on(problem: Problem) -> Problem:
    """Return the problem with what goes on with a recovery: `provision` does not."""
    advice = problem.advice.replace("run provision again", f"run {record.VERB} again")
    return replace(problem, advice=advice if record.VERB in advice else f"{record.VERB} goes on from here; {advice}")


def _report(decision: Decision, todo: Plan, summary: str, outcomes: tuple[Outcome, ...] = ()) -> Report:
    bad = any(failures(outcomes))
    failed = "; but a proof failed" + (f", and {record.VERB} goes on" if _goes_on(outcomes) else "")
    return Report(
        "recover",
        summary + (failed if bad else ""),
        Exit.VERIFICATION_FAILED if bad else Exit.DONE,
        changes=todo.changes,
        outcomes=outcomes,
        tables=(tables.left(decision.found), tables.lost(decision.recovery)),
        warnings=(*decision.warnings, *decision.unreached),
    )


def _goes_on(outcomes: tuple[Outcome, ...]) -> bool:
    """Say whether the recovery has not ended: there is no quorum."""
    return any(one.check == proof.QUORUM for one in failures(outcomes))
