"""What has to hold when a recovery ends: on the nodes that are left, and between them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from shlex import quote

from provision.core.outcome import Outcome
from provision.core.plane import Coordinator
from provision.core.recovery import Standing
from provision.core.situation import Situation
from provision.errors import StepFailed
from provision.inventory.model import Node
from provision.remote import Remote, Remotes, Result
from provision.resources import keeper_name

_JOURNAL = "journalctl -u docker on the node"
#: The outcome with which a recovery ends.
QUORUM = "recover/quorum"
#: By node: containers that run, by ID, as `NAME STARTED`; None where Docker does not list them.
Running = Mapping[str, Mapping[str, str] | None]
#: The last line of a script that has come to its end.
END = "."
#: What a script says where its node has no keeper.
UNTRIED = "untried"

RUNNING = """
for _ in 1 2; do # a container may end between the two commands
    ids=$(timeout 20 docker ps --no-trunc --format '{{if .Names}}{{.ID}}{{end}}') || exit 1
    [ -n "$ids" ] || { echo . && exit; }
    # shellcheck disable=SC2086 # a word a container
    found=$(timeout 20 docker inspect -f '{{.Id}} {{.Name}} {{.State.StartedAt}}' $ids) || continue
    printf '%s\\n.\\n' "$found" && exit
done
exit 1
"""
#: Prints `untried` where this node has no keeper, or the names of the keepers that do not answer.
_HAS = """
said=$(timeout 20 docker container inspect -f . {own} 2>&1) || case $said in
*[Nn]'o such container'*) echo untried && echo . && exit ;;
*) printf '%s\\n' "$said" >&2 && exit 1 ;;
esac
"""
_PING = "timeout 10 docker exec {own} ping -c 1 -W 2 {name} >/dev/null 2>&1 || echo {name}"
NETWORKS = "timeout 20 docker network ls -f driver=overlay --format '{{.Name}}' && echo ."


def running(remotes: Remotes) -> Running:
    """Return the containers that run now, and since when."""

    def ask(remote: Remote) -> Mapping[str, str] | None:
        lines = said(remote.run(RUNNING, what="looking at containers"))
        return None if lines is None else dict(line.split(" ", 1) for line in lines)

    return remotes.each(ask)


def said(result: Result) -> list[str] | None:
    """Return the lines of a script before its last one; None where the script failed, or did not come to its end."""
    lines = result.stdout.splitlines()
    return lines[:-1] if result.code == 0 and lines[-1:] == [END] else None


def known(keep: Node, *looks: Sequence[Standing]) -> frozenset[str] | None:
    """Return the networks that the kept node has listed at any of these looks; None where it has listed none."""
    listed = [one.networks for look in looks for one in look if one.node == keep and one.lists_networks]
    return frozenset().union(*listed) if listed else None


def proven(
    situation: Situation, coordinator: Coordinator, before: Running, networks: frozenset[str] | None
) -> tuple[Outcome, ...]:
    """Return what was seen. `before`: the containers that ran; `networks`: those that the kept node knew."""
    nodes = tuple(node for node in situation.cluster.nodes if situation.of(node).containers_known)
    remotes = coordinator.remotes
    seen = (_quorum(coordinator), *containers(before, running(remotes)))
    if networks is None:
        what = "the cluster's networks were not listed: nobody has looked whether all are there, and packets cross them"
        return (*seen, Outcome("recover/networks", "cluster", "failed", what, "fab verify"))
    makers = tuple(node for node in nodes if node in coordinator.makers)
    return (*seen, *_networks(remotes, makers, networks), *_packets(remotes, nodes, networks))


def _quorum(coordinator: Coordinator) -> Outcome:
    try:
        coordinator.await_quorum("at the end of the recovery")
    except StepFailed as error:
        return Outcome(QUORUM, "cluster", "failed", str(error), "fab recover, once more")
    return Outcome(QUORUM, "cluster", "passed", "a quorum acknowledges writes")


def containers(before: Running, now: Running) -> Iterator[Outcome]:
    """Say which containers of those that ran have not run on."""
    for node, there in before.items():
        runs = now.get(node)
        if there is None or runs is None:
            when = "before the recovery" if there is None else "after it"
            told = f"Docker did not list its containers {when}: whether all have run on is not known"
            yield Outcome("recover/containers", node, "warning", told, f"docker ps -a on the node; {_JOURNAL}")
            continue
        changed = [started.split()[0][1:] for one, started in there.items() if runs.get(one) != started]
        told = f"{', '.join(changed)}: restarted or ended meanwhile" if changed else f"all {len(there)} ran on"
        advice = "docker ps -a on the node" if changed else ""
        # A warning: a container that restarts or ends by itself would keep the recovery from ending.
        yield Outcome("recover/containers", node, "warning" if changed else "passed", told, advice)


def _networks(remotes: Remotes, nodes: tuple[Node, ...], networks: frozenset[str]) -> Iterator[Outcome]:
    listed = remotes.each(lambda remote: remote.run(NETWORKS, what="listing networks"), nodes)
    for name, answer in listed.items():
        there = said(answer)
        if there is None:
            yield Outcome("recover/networks", name, "failed", f"Docker lists no networks{_why(answer)}", _JOURNAL)
            continue
        missing = sorted(networks - set(there))
        told = f"Docker does not list {', '.join(missing)}" if missing else f"Docker lists all {len(networks)} networks"
        advice = "systemctl restart docker on the node" if missing else ""
        yield Outcome("recover/networks", name, "failed" if missing else "passed", told, advice)


def _why(answer: Result) -> str:
    return f": {words}" if (words := answer.stderr.strip()[-400:]) else ""


def _packets(remotes: Remotes, nodes: tuple[Node, ...], networks: frozenset[str]) -> Iterator[Outcome]:
    """Let keepers ping each other by name, once in each direction. A network that only its user has has none."""
    for network in sorted(networks) if len(nodes) > 1 else ():
        keepers = {keeper_name(network, node.name): node for node in nodes}

        def ask(remote: Remote, network: str = network, keepers: Mapping[str, Node] = keepers) -> Result:
            script = pings(keeper_name(network, remote.node.name), keepers)
            return remote.run(script, what="packets between keepers", timeout=60 + 3 * len(keepers))

        for here, answer in remotes.each(ask, nodes).items():
            silent = said(answer)
            if silent is None:
                told = f"no packet was tried from {here} on {network}{_why(answer)}"
                yield Outcome("recover/packets", here, "failed", told, _JOURNAL)
            elif silent != [UNTRIED]:
                yield _crossed(here, network, [keepers[name].name for name in silent])


def pings(own: str, keepers: Iterable[str]) -> str:
    """Return the script in which a keeper pings the others: it prints which are silent, or that there is no keeper."""
    tried = (_PING.format(own=quote(own), name=quote(name)) for name in keepers if name != own)
    return "\n".join((_HAS.format(own=quote(own)), *tried, f"echo {END}"))


def _crossed(here: str, network: str, silent: list[str]) -> Outcome:
    if not silent:
        return Outcome("recover/packets", here, "passed", f"packets from {here} reach every other node on {network}")
    told = f"no packet from {here} to {', '.join(silent)} on {network}"
    return Outcome("recover/packets", here, "failed", told, "fab verify, when the lost hosts are replaced")
