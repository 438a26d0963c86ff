"""Which ports are open between the nodes: a nonce really crosses from each to each, before anything is changed.

Ports that our own running daemons hold are proven by the cluster that runs through them. The nodes need bash to send
and systemd to listen: no daemon of ours is there yet.
"""

from __future__ import annotations

import shlex
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from itertools import takewhile
from typing import TYPE_CHECKING

from provision.core.reach import Cell, Matrix
from provision.errors import Problem, StepFailed
from provision.inventory.model import Cluster, Node
from provision.node import library
from provision.ports import Port

if TYPE_CHECKING:
    from provision.facts import Facts
    from provision.remote import Remote, Remotes

#: Listeners end by themselves, should nobody come back for them.
LISTEN_SECONDS = 30

#: Bytes of an IPv4 packet that are tried beside what the link itself says it carries: IPv6's least, VPNs and tunnels,
#: PPPoE, Ethernet, and the jumbo frames of clouds.
SIZES = (576, 1280, 1400, 1420, 1450, 1460, 1480, 1492, 1500, 8951, 9000)


def wanted(cluster: Cluster, ports: Sequence[Port]) -> tuple[Cell, ...]:
    """Return every way that has to be open."""
    return tuple(
        Cell(source.name, target.name, port.number, port.protocol)
        for target in cluster.nodes
        for port in ports
        if target.member or not port.members
        for source in cluster.nodes
        if source != target
    )


def cells(cluster: Cluster, ports: Sequence[Port], facts: Mapping[str, Facts]) -> tuple[Cell, ...]:
    """Return every way that has to be open and is not in use already, or about to be. Pure."""

    units: dict[tuple[int, str], str] = {(port.number, port.protocol): port.unit for port in ports}

    def is_held(cell: Cell) -> bool:
        there = facts[cell.target]
        taken = any((one.port, one.protocol) == (cell.port, cell.protocol) for one in there.listeners)
        return taken or _is_ours(there, units[cell.port, cell.protocol])

    return tuple(cell for cell in wanted(cluster, ports) if not is_held(cell))


def _is_ours(facts: Facts, unit: str) -> bool:
    """Whether a daemon is up that an earlier run started.

    A dockerd takes its gossip's port when it joins the store, and never tries again if we are in its place.
    """
    found = facts.unit(unit)
    return bool(found.inputs) and found.state in ("active", "activating", "reloading")


def measure(cluster: Cluster, ports: Sequence[Port], facts: Mapping[str, Facts], remotes: Remotes, run: str) -> Matrix:
    """Let a nonce cross each way. Nothing is left on a node. StepFailed where a node cannot take part."""
    asked = cells(cluster, ports, facts)
    if not asked:
        return Matrix()
    targets = tuple(node for node in cluster.nodes if any(cell.target == node.name for cell in asked))
    folder = f"/run/overlay-provision.ports.{run}"
    remotes.each(lambda remote: _do(remote, _listening(remote.node, asked, folder)), targets)
    try:
        sent = remotes.each(lambda remote: _do(remote, _sending(cluster, remote.node, asked, run)), cluster.nodes)
    finally:
        ways = Counter(cell.target for cell in asked)
        heard = remotes.each(
            lambda remote: _do(remote, f"ports_heard {folder} {run} {ways[remote.node.name]}"), targets
        )
    return read(asked, sent, heard, run)


def shut(
    cluster: Cluster, ports: Sequence[Port], facts: Mapping[str, Facts], remotes: Remotes, run: str
) -> tuple[Cell, ...]:
    """Return the ways that are not open, those too to ports that our own daemons hold: StepFailed as `measure`.

    At such a port a connection is begun, and only silence counts: a refusal has come from there. Datagrams to such a
    port are left to the proof, which ends every run that changes something: its packets and names need both ports.
    """
    in_use = held(cluster, ports, facts)
    knocked = remotes.each(lambda remote: _do(remote, _knocking(cluster, remote.node, in_use)), cluster.nodes)
    return (*measure(cluster, ports, facts, remotes, run).blocked, *silent(knocked))


def held(cluster: Cluster, ports: Sequence[Port], facts: Mapping[str, Facts]) -> tuple[Cell, ...]:
    """Return the ways by TCP that have to be open and are in use. Pure."""
    asked = set(cells(cluster, ports, facts))
    return tuple(cell for cell in wanted(cluster, ports) if cell.protocol == "tcp" and cell not in asked)


def silent(knocked: Mapping[str, str]) -> tuple[Cell, ...]:
    """Read what each node said of those it knocked at, `TARGET PORT` where nothing came back. Pure."""
    return tuple(
        Cell(source, words[0], int(words[1]), "tcp")
        for source, text in sorted(knocked.items())
        for words in map(str.split, text.splitlines())
    )


def _knocking(cluster: Cluster, node: Node, in_use: Sequence[Cell]) -> str:
    knocks = (
        f"ports_knock {cell.target} {cluster.node(cell.target).address} {cell.port} &"
        for cell in in_use
        if cell.source == node.name
    )
    return "\n".join([*knocks, "wait"])


def read(asked: Sequence[Cell], sent: Mapping[str, str], heard: Mapping[str, str], run: str) -> Matrix:
    """Read what each node sent and was told, `sent TARGET SIZE`, `told TARGET`, and what each heard. Pure.

    That is `PORT-PROTOCOL LENGTH RUN SOURCE [SIZE]`, and `taken PORT-PROTOCOL` of one that was not ours to try.
    """
    ways: set[Cell] = set()
    taken: set[tuple[str, str]] = set()
    sizes: dict[tuple[str, str], set[int]] = defaultdict(set)
    for target, text in heard.items():
        for words in (line.split() for line in text.splitlines()):
            if words[:1] == ["taken"]:
                taken.add((target, words[1]))
            if len(words) not in (4, 5) or words[2] != run:
                continue
            port, _, protocol = words[0].partition("-")
            ways.add(Cell(words[3], target, int(port), protocol))
            if len(words) == 5 and int(words[1]) + 30 == int(words[4]):
                sizes[words[3], target].add(int(words[4]))
    largest: dict[tuple[str, str], int] = {}
    vanished: dict[tuple[str, str], int] = {}
    for way, (each, told) in _tried(sent).items():
        # After the first that did not come whole, later ones may come in pieces.
        whole = list(takewhile(sizes.get(way, set()).__contains__, each))
        if whole:
            largest[way] = whole[-1]
            if len(whole) < len(each) and not told:
                vanished[way] = each[len(whole)]
    tried = tuple(cell for cell in asked if (cell.target, f"{cell.port}-{cell.protocol}") not in taken)
    return Matrix(tried, frozenset(ways) & frozenset(tried), largest, vanished)


def _tried(sent: Mapping[str, str]) -> dict[tuple[str, str], tuple[list[int], bool]]:
    """Return the sizes sent on each way, in their order, and whether the sender was told of a smaller path."""
    sizes: dict[tuple[str, str], list[int]] = defaultdict(list)
    told: set[tuple[str, str]] = set()
    for source, text in sent.items():
        for words in (line.split() for line in text.splitlines()):
            if len(words) == 3 and words[0] == "sent":
                sizes[source, words[1]].append(int(words[2]))
            elif len(words) == 2 and words[0] == "told":
                told.add((source, words[1]))
    return {way: (each, way in told) for way, each in sizes.items()}


def _listening(node: Node, asked: Iterable[Cell], folder: str) -> str:
    ports = dict.fromkeys(f"{cell.port}/{cell.protocol}" for cell in asked if cell.target == node.name)
    return f"ports_listen {folder} {node.address} {LISTEN_SECONDS} {' '.join(ports)}"


def _sending(cluster: Cluster, node: Node, asked: Iterable[Cell], run: str) -> str:
    words = shlex.quote(f"{run} {node.name}")
    lines = ["command -v bash >/dev/null || die 'bash is not there to send with'"]
    for target in cluster.nodes:
        mine = [cell for cell in asked if (cell.source, cell.target) == (node.name, target.name)]
        if not mine:
            continue
        lines.append(f"ports_send {words} {target.address} {' '.join(f'{c.port}/{c.protocol}' for c in mine)}")
        udp = [cell.port for cell in mine if cell.protocol == "udp"]
        if udp:
            lines.append(f"ports_sizes {words} {target.name} {target.address} {udp[0]} {' '.join(map(str, SIZES))} &")
    return "\n".join([*lines, "wait"])


def _do(remote: Remote, script: str) -> str:
    result = remote.run(f"{library('ports')}\n{script}\n", timeout=LISTEN_SECONDS)
    if result.code:
        words = result.stderr.strip()[-400:]
        raise StepFailed(Problem(f"cannot try the ports: {words}", remote.node.name, "nothing was changed"))
    return result.stdout
