"""Which ports are open between the nodes: each node sends the run's ID to each port of every other node.

This happens before anything is changed. Ports of our own running daemons are left out: the running cluster proves them.
So is what only a firewall of ours shuts out, which knows no new nodes yet: it is tried when the firewall is replaced.
The nodes send with bash and listen with systemd, because no daemon of ours runs yet.

First everything is tried at once. On busy hosts some of it comes too late. So what did not arrive is tried again, with
more time, as long as that brings anything. What counts as blocked at the end was last tried beside blocked flows only,
which keep no host busy.
"""

from __future__ import annotations

import shlex
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
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

#: Seconds after which the listeners end by themselves, and after which a script of a round counts as lost.
ROUND_SECONDS = 180


@dataclass(frozen=True)
class Patience:
    """How long a round waits.

    `send`: seconds for all that one node sends to another. `between`, `size`: seconds between equal datagrams, and
    between those of growing sizes. `looks`: how often a target looks for what is still missing.
    """

    send: int
    between: float
    size: float
    looks: int


FIRST = Patience(send=2, between=0.05, size=0.01, looks=8)
AGAIN = Patience(send=5, between=0.5, size=0.3, looks=25)

#: Sizes of IPv4 packets that are tried besides the link's own MTU, in bytes: IPv6's minimum, VPNs and tunnels, PPPoE,
#: Ethernet, and the jumbo frames of clouds.
SIZES = (576, 1280, 1400, 1420, 1450, 1460, 1480, 1492, 1500, 8951, 9000)


def wanted(cluster: Cluster, ports: Sequence[Port]) -> tuple[Cell, ...]:
    """Return every cell (from a node to a port of another) that has to be open."""
    return tuple(
        Cell(source.name, target.name, port.number, port.protocol)
        for target in cluster.nodes
        for port in ports
        if port.listens and (target.member or not port.members)
        for source in cluster.nodes
        if source != target
    )


def cells(cluster: Cluster, ports: Sequence[Port], facts: Mapping[str, Facts]) -> tuple[Cell, ...]:
    """Return every cell that has to be open, whose port is not in use, by us or by others, and that can be open now.

    A node's firewall, if it is ours, shuts out a new node until this run replaces it: such a cell cannot. Pure.
    """

    table = {(port.number, str(port.protocol)): port for port in ports}

    def is_held(cell: Cell) -> bool:
        there = facts[cell.target]
        taken = any((one.port, one.protocol) == (cell.port, cell.protocol) for one in there.listeners)
        return taken or _is_ours(there, table[cell.port, cell.protocol])

    def is_shut_out(cell: Cell) -> bool:
        admitted = facts[cell.target].admitted
        return bool(admitted) and cluster.node(cell.source).address not in admitted

    return tuple(cell for cell in wanted(cluster, ports) if not is_held(cell) and not is_shut_out(cell))


def _is_ours(facts: Facts, port: Port) -> bool:
    """Return whether a daemon runs that an earlier run started.

    Its ports are left alone even if it does not listen yet. A dockerd takes the gossip port when it joins the cluster,
    and never tries again if our listener has the port at that moment.
    """
    return port.is_ours(facts) and facts.unit(port.unit).state in ("active", "activating", "reloading")


def measure(cluster: Cluster, ports: Sequence[Port], facts: Mapping[str, Facts], remotes: Remotes, run: str) -> Matrix:
    """Send the run's ID to every port, and return what arrived. Nothing stays on a node.

    StepFailed if a node can neither send nor listen.
    """
    asked = cells(cluster, ports, facts)
    matrix = _round(cluster, asked, FIRST, remotes, run) if asked else Matrix()
    while doubtful := matrix.doubtful:
        before, matrix = matrix, matrix.updated(_round(cluster, doubtful, AGAIN, remotes, run))
        if (matrix.heard, matrix.vanished) == (before.heard, before.vanished):
            break
    return matrix


def _round(cluster: Cluster, asked: Sequence[Cell], patience: Patience, remotes: Remotes, run: str) -> Matrix:
    """Try these cells once, all of them at the same time."""
    sources = tuple(node for node in cluster.nodes if any(cell.source == node.name for cell in asked))
    targets = tuple(node for node in cluster.nodes if any(cell.target == node.name for cell in asked))
    ways = Counter(cell.target for cell in asked)
    with ExitStack() as listening:

        def listen(remote: Remote) -> None:
            script = f"{library('ports')}\n{_listening(remote.node, asked, run)}\n"
            what = "listening on the ports"
            listening.enter_context(remote.running(script, timeout=ROUND_SECONDS, what=what))

        remotes.each(listen, targets)
        sent = remotes.each(
            lambda remote: _do(remote, _sending(cluster, remote.node, asked, patience, run), "sending to the ports"),
            sources,
        )
        heard = remotes.each(
            lambda remote: _do(
                remote,
                f"ports_heard {_folder(remote.node, run)} {run} {ways[remote.node.name]} {patience.looks}",
                "reading what arrived",
            ),
            targets,
        )
    return read(asked, sent, heard, run)


def shut(
    cluster: Cluster, ports: Sequence[Port], facts: Mapping[str, Facts], remotes: Remotes, run: str
) -> tuple[Cell, ...]:
    """Return the cells that are not open, those that `cells` leaves out included. StepFailed as in `measure`.

    At a port of our own daemons, a TCP connection is tried. Only silence counts as blocked, because a refusal is an
    answer from the node. UDP at such a port is not tried here: the run's checks send packets through it at the end.
    """
    in_use = held(cluster, ports, facts)
    knocked = remotes.each(
        lambda remote: _do(remote, _knocking(cluster, remote.node, in_use), "trying the ports"), cluster.nodes
    )
    return (*measure(cluster, ports, facts, remotes, run).blocked, *silent(knocked))


def held(cluster: Cluster, ports: Sequence[Port], facts: Mapping[str, Facts]) -> tuple[Cell, ...]:
    """Return the TCP cells that have to be open, of those that `cells` leaves out. Pure."""
    asked = set(cells(cluster, ports, facts))
    return tuple(cell for cell in wanted(cluster, ports) if cell.protocol == "tcp" and cell not in asked)


def silent(knocked: Mapping[str, str]) -> tuple[Cell, ...]:
    """Return the cells without an answer, from each node's lines `TARGET PORT`. Pure."""
    return tuple(
        Cell(source, words[0], int(words[1]), "tcp")
        for source, text in sorted(knocked.items())
        for words in map(str.split, text.splitlines())
    )


def _knocking(cluster: Cluster, node: Node, in_use: Sequence[Cell]) -> str:
    knocks = (
        f"{cell.target} {cluster.node(cell.target).address} {cell.port}" for cell in in_use if cell.source == node.name
    )
    return _fed("ports_knock", knocks)


def _fed(call: str, lines: Iterable[str]) -> str:
    """Return a call of a function that reads these lines."""
    return "\n".join([f"{call} <<'.'", *lines, "."])


def read(asked: Sequence[Cell], sent: Mapping[str, str], heard: Mapping[str, str], run: str) -> Matrix:
    """Return the matrix from the lines that the nodes printed. Pure.

    `sent`, by source: `sent TARGET SIZE`, and `told TARGET` if an ICMP error arrived about a smaller MTU.
    `heard`, by target: `PORT-PROTOCOL LENGTH RUN SOURCE [SIZE]`, and `taken PORT-PROTOCOL` for a port that is in use.
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
        # Sizes after the first that did not arrive do not count: those packets may have been fragmented.
        whole = list(takewhile(sizes.get(way, set()).__contains__, each))
        if whole:
            largest[way] = whole[-1]
            if len(whole) < len(each) and not told:
                vanished[way] = each[len(whole)]
    tried = tuple(cell for cell in asked if (cell.target, f"{cell.port}-{cell.protocol}") not in taken)
    return Matrix(tried, frozenset(ways) & frozenset(tried), largest, vanished)


def _tried(sent: Mapping[str, str]) -> dict[tuple[str, str], tuple[list[int], bool]]:
    """Return, for each source and target, the sizes sent, in order, and whether an ICMP error about the MTU arrived."""
    sizes: dict[tuple[str, str], list[int]] = defaultdict(list)
    told: set[tuple[str, str]] = set()
    for source, text in sent.items():
        for words in (line.split() for line in text.splitlines()):
            if len(words) == 3 and words[0] == "sent":
                sizes[source, words[1]].append(int(words[2]))
            elif len(words) == 2 and words[0] == "told":
                told.add((source, words[1]))
    return {way: (each, way in told) for way, each in sizes.items()}


def _folder(node: Node, run: str) -> str:
    """Return the folder of the listeners: two entries of the inventory may be one machine."""
    return f"/run/overlay-provision.ports.{run}.{node.name}"


def _listening(node: Node, asked: Iterable[Cell], run: str) -> str:
    ports = dict.fromkeys(f"{cell.port}/{cell.protocol}" for cell in asked if cell.target == node.name)
    return f"ports_listen {_folder(node, run)} {node.address} {ROUND_SECONDS} {' '.join(ports)}"


def _sending(cluster: Cluster, node: Node, asked: Iterable[Cell], patience: Patience, run: str) -> str:
    mine: dict[str, list[Cell]] = defaultdict(list)
    for cell in asked:
        if cell.source == node.name:
            mine[cell.target].append(cell)
    # Each node begins with the next one, so that no target is sent to by all of them at once.
    here = cluster.nodes.index(node)
    targets = [target for target in (*cluster.nodes[here:], *cluster.nodes[:here]) if target.name in mine]
    sends, sizes = [], []
    for target in targets:
        ports = " ".join(f"{cell.port}/{cell.protocol}" for cell in mine[target.name])
        sends.append(f"{target.address} {ports}")
        udp = [cell.port for cell in mine[target.name] if cell.protocol == "udp"]
        sizes += [f"{target.name} {target.address} {udp[0]}"] if udp else []
    words, every_size = shlex.quote(f"{run} {node.name}"), " ".join(map(str, SIZES))
    return "\n".join(
        [
            "command -v bash >/dev/null || die 'bash is missing'",
            f"{{\n{_fed(f'ports_sizes {words} {patience.size} {every_size}', sizes)}\n}} &",
            _fed(f"ports_send {words} {patience.send} {patience.between}", sends),
            "wait",
        ]
    )


def _do(remote: Remote, script: str, what: str) -> str:
    result = remote.run(f"{library('ports')}\n{script}\n", timeout=ROUND_SECONDS, what=what)
    if result.code:
        words = result.stderr.strip()[-400:]
        raise StepFailed(Problem(f"cannot test the ports: {words}", remote.node.name, "nothing was changed"))
    return result.stdout
