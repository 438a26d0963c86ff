"""Each container is back: with its ID and its address, and found by name and alias from another node."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from functools import reduce

from provision.core.outcome import Outcome
from provision.core.resource import call
from provision.core.table import Table
from provision.docker.containers import Attachment, Container
from provision.errors import Problem, StepFailed
from provision.facts import RUN_LABEL
from provision.inventory.model import Cluster, Node
from provision.migration.record import VERB, Migration
from provision.node import library
from provision.remote import Remote, Remotes, Result
from provision.waiting import attempts

#: Seconds in which every name is found: gossip that was cut comes back after up to 62.
SECONDS = 70.0
#: Seconds in which every container runs: `overlay-mend` starts those whose network came late, every two seconds.
START_SECONDS = 30.0
ABOUT = "Each container runs with its ID and its address, and is found by its name and aliases from another node."


@dataclass(frozen=True)
class Words:
    """How outcomes are told: the name of the check, and the verb that goes on when a cause is removed."""

    check: str
    verb: str


#: Those of a migration.
MIGRATION = Words("migration/containers-are-back", VERB)


@dataclass(frozen=True)
class Seen:
    """A container as Docker tells it now. `addresses`: by network."""

    runs: bool
    #: When it was started last.
    started: float
    addresses: Mapping[str, str]
    error: str = ""


@dataclass(frozen=True)
class Heard:
    """What names lead to, as another node hears. `addresses`: by network and name.

    `unasked`: by a container's node and network, why the probe that looks for names could not start, and where.
    """

    addresses: Mapping[tuple[str, str], str] = field(default_factory=dict)
    unasked: Mapping[tuple[str, str], str] = field(default_factory=dict)

    def joined(self, other: Heard) -> Heard:
        """Return what both have heard."""
        return Heard({**self.addresses, **other.addresses}, {**self.unasked, **other.unasked})


@dataclass(frozen=True)
class Back:
    """What was proven, and how long each container was away."""

    outcomes: tuple[Outcome, ...]
    tables: tuple[Table, ...]
    summary: str


def proven(cluster: Cluster, migration: Migration, remotes: Remotes, run: str, words: Words) -> Back:
    """Look at every container, look for each name from another node, and say how long each was away."""
    seen: dict[str, Seen] = {}
    stopped: dict[str, float] = {}
    for _ in attempts(START_SECONDS, 1.0):
        for answer in remotes.each(lambda remote: _looked(remote, migration)).values():
            stopped.update(answer[0])
            seen.update(answer[1])
        if all(seen[one.identity].runs for one in migration.staying if one.runs and one.identity in seen):
            break
    heard = _heard(cluster, migration, seen, remotes, run)
    outcomes = tuple(outcome(one, seen.get(one.identity), stopped, heard, words) for one in migration.staying)
    rows = tuple(_row(one, seen.get(one.identity), stopped) for one in migration.staying)
    table = Table("downtime", "Containers", ("node", "container", "id", "seconds away"), rows)
    times = [
        seconds for one in migration.staying if (seconds := away(one, seen.get(one.identity), stopped)) is not None
    ]
    longest = f", away for {max(times):.1f} s at most" if times else ""
    return Back(outcomes, (table,), f"{len(migration.staying)} containers{longest}")


def _looked(remote: Remote, migration: Migration) -> tuple[dict[str, float], dict[str, Seen]]:
    """Ask a node when its containers began to stop, and how each of them is now."""
    mine = migration.of(remote.node.name)
    script = f"{library('migrate')}\n{call('show_again', *(one.identity for one in mine))}\n"
    result = remote.run(script, what="looking at the containers")
    if result.code:
        what = f"cannot look at the containers: {result.stderr.strip()[-400:]}"
        raise StepFailed(Problem(what, remote.node.name, "systemctl status docker.service says more"))
    stopped: dict[str, float] = {}
    seen: dict[str, Seen] = {}
    for words in (line.split("\t") for line in result.stdout.splitlines()):
        if words[0] == "stopped" and len(words) == 2:
            stopped[remote.node.name] = float(words[1])
        if words[0] == "container" and len(words) == 6:
            places = dict(place.split("=", 1) for place in words[4].split())
            seen[words[1]] = Seen(words[2] == "true", _moment(words[3]), places, words[5])
    return stopped, seen


def _moment(text: str) -> float:
    """Return Docker's time in seconds. It has nine digits after the point, which Python's reader shortens."""
    return datetime.fromisoformat(text).timestamp()


def _heard(cluster: Cluster, migration: Migration, seen: Mapping[str, Seen], remotes: Remotes, run: str) -> Heard:
    """Look for the names of each node's containers from another node."""
    wanted: dict[str, dict[str, list[str]]] = {}
    for one in migration.staying:
        now = seen.get(one.identity)
        if now and now.runs:
            for place in one.attachments:
                wanted.setdefault(one.node, {}).setdefault(place.network, []).extend(_names(one, place))
    askers = {_asker(cluster, name): name for name in wanted}

    def ask(remote: Remote) -> Heard:
        node = askers[remote.node]
        heard = Heard()
        for network, names in wanted[node].items():
            label = f"{RUN_LABEL}={run}"
            find = call("find_names", network, cluster.probe.image, label, *dict.fromkeys(names))
            found, error = _found(remote, f"{library('migrate')}\n{find}\n", names)
            unasked = {(node, network): f"on {remote.node.name}: {error}"} if error else {}
            heard = heard.joined(Heard({(network, name): found[name] for name in found}, unasked))
        return heard

    return reduce(Heard.joined, remotes.each(ask, tuple(askers)).values(), Heard())


def _found(remote: Remote, script: str, names: Collection[str]) -> tuple[Mapping[str, str], str]:
    """Look until all names are found. Return what each leads to, and why the probe twice did not start."""
    found: dict[str, str] = {}
    error = ""
    for _ in attempts(SECONDS, 1.0):
        result = remote.run(script, what="looking for names")
        if result.code and error:
            return found, error
        error = _error(result) if result.code else ""
        words = (line.split() for line in result.stdout.splitlines())
        found.update({one[0]: one[1] for one in words if len(one) == 2})
        if all(name in found for name in names):
            break
    return found, ""


def _error(result: Result) -> str:
    """Return why `docker run` failed, in Docker's words, without its hint at its manual."""
    words = " ".join(line.strip() for line in result.stderr.splitlines() if "--help" not in line)
    return words.strip()[-400:] or f"exit code {result.code}"


def _asker(cluster: Cluster, node: str) -> Node:
    """Return another node than this one, if there is one: the next in the inventory."""
    names = [one.name for one in cluster.nodes]
    return cluster.nodes[(names.index(node) + 1) % len(names)]


def _names(container: Container, place: Attachment) -> tuple[str, ...]:
    return (container.name, *place.aliases)


def outcome(one: Container, now: Seen | None, stopped: Mapping[str, float], heard: Heard, words: Words) -> Outcome:
    """Return what came of one container. Pure."""
    where = f"{one.node}: {one.name}"
    problems = tuple(_problems(one, now, stopped, heard))
    if problems:
        advice = f"remove the cause, or a container that is not wanted any more, and run {words.verb} again"
        return Outcome(words.check, where, "failed", "; ".join(problems), advice, about=ABOUT)
    if now is None:
        return Outcome(words.check, where, "passed", "removed since", about=ABOUT)
    if one.runs and not now.runs:
        advice = f"docker logs {one.name} says why; docker start {one.name}"
        return Outcome(words.check, where, "warning", "was started again, and has ended by itself", advice, about=ABOUT)
    names = ", ".join(name for place in one.attachments for name in _names(one, place))
    told = f"runs; found as {names}" if one.runs and names else "runs" if one.runs else "stopped, as before"
    return Outcome(words.check, where, "passed", told, about=ABOUT)


def _problems(one: Container, now: Seen | None, stopped: Mapping[str, float], heard: Heard) -> Iterator[str]:
    if now is None:
        return  # removed since
    for place in one.attachments:
        if place.network not in now.addresses:
            yield f"is not connected to the network {place.network}"
    if not one.runs:
        return
    if not now.runs and (now.error or now.started < stopped.get(one.node, 0.0)):
        yield f"does not run{f': {now.error}' if now.error else ''}"
    if not now.runs:
        return
    for place in one.attachments:
        address = now.addresses.get(place.network, "")
        if not address:
            yield f"has no address on the network {place.network}"
        elif place.fixed and address != place.address:
            yield f"has {address} on {place.network}, and had {place.address}"
        if why := heard.unasked.get((one.node, place.network)):
            yield f"the probe that looks for names on {place.network} cannot start {why}"
            continue
        for name in _names(one, place):
            if not heard.addresses.get((place.network, name)):
                yield f"{name} is not found on {place.network} from another node"


def away(one: Container, now: Seen | None, stopped: Mapping[str, float]) -> float | None:
    """Return for how many seconds a container that ran did not, by its node's clock; None if it is not back. Pure."""
    if now is None or not one.runs or one.node not in stopped or now.started < stopped[one.node]:
        return None
    return now.started - stopped[one.node]


def _row(one: Container, now: Seen | None, stopped: Mapping[str, float]) -> tuple[str, ...]:
    seconds = away(one, now, stopped)
    told = (
        f"{seconds:.1f}" if seconds is not None else "removed" if now is None else "did not run" if not one.runs else ""
    )
    return one.node, one.name, one.identity[:12], told
