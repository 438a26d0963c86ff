"""Traffic over the overlay between hosts: TCP and UDP, packets of the largest size, and a large transfer."""

from __future__ import annotations

import re
import secrets
import shlex
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial

from provision.checks.probe_pool import proven
from provision.checks.probes import Probe
from provision.checks.proof import Proof
from provision.checks.suites.overlay import REACH
from provision.core.check import check
from provision.core.outcome import Outcome, failed, passed
from provision.core.reach import Flow
from provision.errors import Problem, StepFailed
from provision.node import library

#: The ports that listen in a probe: for messages to its address, for messages to its name, and for the transfer.
BY_ADDRESS, BY_NAME, BULK = 7001, 7002, 7003
#: Seconds after which the listeners end by themselves.
LISTEN_SECONDS = 30
#: Seconds that a probe may send to another, and how often one looks for what has not arrived, in tenths of a second.
SEND_SECONDS = 3
LOOKS = 20
#: Bytes that are transferred and hashed.
BULK_BYTES = 64 << 20
#: Seconds that the transfer may take.
BULK_SECONDS = 60
#: Bytes of the headers of IPv4 and of an ICMP echo.
PING_HEADERS = 28
#: Bytes of the headers that VXLAN adds.
HEADERS = 50
#: Pings of the largest size. If a node's counter of fragments grows by fewer, other traffic may have caused it.
PINGS = 5

_VXLAN = "is 4789/udp, or overlay.vxlan_port, open between the nodes, both ways?"

#: Print the address that each name resolves to, or nothing. `ping` prints it before any answer arrives.
_RESOLVE = """
for name; do seen=$(ping -c 1 -W 1 "$name" 2>&1); seen=${seen#*"("}; echo "$name ${seen%%")"*}"; done
"""
_PING = """
left=$1; while [ "$left" -gt 0 ]; do ping -c 1 -W 1 -s "$2" "$3" 2>&1; left=$((left - 1)); done
"""
_MTU = """
cat "/sys/class/net/$(ip -o -4 address | while read -r _ device _ address _; do
    [ "${address%/*}" != "$1" ] || echo "$device"
done)/mtu"
"""
#: The kernel's IP counters of this network namespace: a line of names and a line of values.
_PIECES = "grep ^Ip: /proc/net/snmp"


@check("overlay", needs=[REACH])
def tcp_and_udp(proof: Proof) -> Iterator[Outcome]:
    """TCP and UDP cross between nodes: a random word sent to a container's address, and to its name, arrives."""
    for network in proof.cluster.networks:
        yield from proven(proof, network, partial(_all_heard, proof, network.name))


def _all_heard(proof: Proof, network: str, probes: Sequence[Probe]) -> list[Outcome]:
    nonce = secrets.token_hex(4)
    folder = _folder(proof)
    ports = [f"{port}/{protocol}" for port in (BY_ADDRESS, BY_NAME) for protocol in ("tcp", "udp")]
    with ThreadPoolExecutor(len(probes)) as pool:

        def on_each(script: Callable[[Probe], str]) -> list[str]:
            return list(pool.map(lambda probe: _beside(proof, probe, script(probe)), probes))

        resolved = list(pool.map(lambda source: _resolved(source, probes), probes))
        with ExitStack() as listening:

            def listen(probe: Probe) -> None:
                script = f"ports_listen {folder} {probe.address} {LISTEN_SECONDS} {' '.join(ports)}"
                remote = proof.coordinator.remotes[probe.node.name]
                what = "listening in a probe's network"
                listening.enter_context(remote.running(_inside(probe, script), timeout=LISTEN_SECONDS, what=what))

            list(pool.map(listen, probes))
            names = dict(zip(probes, resolved, strict=True))
            on_each(lambda source: _sends(source, probes, names[source], nonce))
            heard = on_each(lambda _: f"ports_heard {folder} {nonce} {len(ports) * (len(probes) - 1)} {LOOKS}")
    told = {probe: set(map(_line, text.splitlines())) for probe, text in zip(probes, heard, strict=True)}
    return [
        _crossed(network, source, target, ports, told[target], nonce)
        for source in probes
        for target in probes
        if target is not source
    ]


def _line(text: str) -> tuple[str, ...]:
    """Split a line `PORT-PROTOCOL LENGTH NONCE SOURCE`, and leave the length out."""
    words = text.split()
    return (*words[:1], *words[2:])


def _crossed(
    network: str, source: Probe, target: Probe, ports: Sequence[str], heard: set[tuple[str, ...]], nonce: str
) -> Outcome:
    where = Flow(source.node.name, target.node.name, f"TCP and UDP on {network}")
    how = {str(BY_ADDRESS): "address", str(BY_NAME): "name"}
    each = {port: (port.replace("/", "-"), nonce, source.name) in heard for port in ports}
    lost = [f"{port.partition('/')[2].upper()} by {how[port.partition('/')[0]]}" for port in ports if not each[port]]
    if lost:
        return failed(where, f"{network}: {target.address} did not hear {', '.join(lost)}", _VXLAN)
    return passed(where, f"{network}: {target.address} heard {nonce} by TCP and UDP, sent to its address and its name")


def _resolved(source: Probe, probes: Sequence[Probe]) -> dict[str, str]:
    names = [probe.name for probe in probes if probe is not source]
    answers = (line.split() for line in source.run(_RESOLVE, *names).splitlines())
    return {words[0]: words[1] for words in answers if len(words) == 2}


def _sends(source: Probe, probes: Sequence[Probe], names: dict[str, str], nonce: str) -> str:
    words = shlex.quote(f"{nonce} {source.name}")
    targets = [(probe, names.get(probe.name, "")) for probe in probes if probe is not source]
    sends = [
        f"{address} {port}/tcp {port}/udp"
        for probe, named in targets
        for port, address in ((BY_ADDRESS, probe.address), (BY_NAME, named))
        if address
    ]
    return "\n".join([f"ports_send {words} {SEND_SECONDS} 0.05 <<'.'", *sends, "."])


def _folder(proof: Proof) -> str:
    """Return the path of a new folder on a node."""
    return f"/run/overlay-provision.traffic.{proof.run}-{secrets.token_hex(3)}"


def _beside(proof: Proof, probe: Probe, script: str) -> str:
    """Run a script with the node's programs in the probe's network namespace: the image may lack these programs."""
    remote = proof.coordinator.remotes[probe.node.name]
    result = remote.run(_inside(probe, script), what="sending in a probe's network")
    if result.code:
        raise StepFailed(Problem(result.stderr.strip()[-400:], probe.node.name, "fab verify, again"))
    return result.stdout


def _inside(probe: Probe, script: str) -> str:
    """Return the script that runs the given one in the probe's network namespace."""
    whole = shlex.quote(f"{library('ports', 'bulk')}\n{script}\n")
    return f"nsenter --net=/proc/{probe.process}/ns/net sh -c {whole}\n"


@check("overlay", needs=[REACH])
def largest_packet_whole(proof: Proof) -> Iterator[Outcome]:
    """Packets of a container's largest size arrive and are not fragmented: a wrong MTU slows or stops connections."""
    for network in proof.cluster.networks:
        yield from proven(proof, network, partial(_all_whole, proof, network.name))


def _all_whole(proof: Proof, network: str, probes: Sequence[Probe]) -> list[Outcome]:
    """Ping from all probes at once. Fragments that leave a node are seen in its counters and the probe's."""
    with ThreadPoolExecutor(len(probes)) as pool:
        before = list(pool.map(lambda probe: _pieces(proof, probe), probes))
        answered = list(pool.map(lambda source: _answered(source, probes), probes))
        after = list(pool.map(lambda probe: _pieces(proof, probe), probes))
    sent = [late - early for late, early in zip(after, before, strict=True)]
    return [
        _whole(network, source, target, pings, pieces)
        for source, each, pieces in zip(probes, answered, sent, strict=True)
        for target, pings in each.items()
    ]


@dataclass(frozen=True)
class Pings:
    """The size in bytes of the packets sent to one target, and how many were answered."""

    size: int
    answered: int


def _answered(source: Probe, probes: Sequence[Probe]) -> dict[Probe, Pings]:
    size = int(source.run(_MTU, source.address))
    targets = [probe for probe in probes if probe is not source]
    said = [source.run(_PING, str(PINGS), str(size - PING_HEADERS), probe.address) for probe in targets]
    return {probe: Pings(size, told.count(" 0% packet loss")) for probe, told in zip(targets, said, strict=True)}


def _whole(network: str, source: Probe, target: Probe, pings: Pings, pieces: int) -> Outcome:
    where = Flow(source.node.name, target.node.name, f"the largest packet on {network}")
    told = f"{network}: of {PINGS} packets of {pings.size} bytes {pings.answered} were answered"
    if pings.answered == PINGS and pieces < PINGS:
        return passed(where, f"{told}, none was fragmented")
    if pieces >= PINGS:
        told += f"; {pieces} fragments left {source.node.name}"
    return failed(where, told, f"the link between the nodes carries less than {pings.size + HEADERS} bytes: fab plan")


def _pieces(proof: Proof, probe: Probe) -> int:
    """Return how many fragments the probe and its node have sent since their start."""
    node = proof.coordinator.remotes[probe.node.name].run(_PIECES, what="reading the IP counters").stdout
    return sum(pieces_sent(told) for told in (node, probe.run(_PIECES)))


def pieces_sent(told: str) -> int:
    """Return the number of fragments from the kernel's line of names and line of values."""
    names, values = told.splitlines()
    return int(dict(zip(names.split(), values.split(), strict=True))["FragCreates"])


@check("overlay", needs=[REACH])
def many_bytes_unharmed(proof: Proof) -> Iterator[Outcome]:
    """A large transfer is unharmed: 64 MiB of random bytes have the same SHA-256 on two nodes."""
    for network in proof.cluster.networks:
        yield from proven(proof, network, partial(_all_moved, proof, network.name))


def _all_moved(proof: Proof, network: str, probes: Sequence[Probe]) -> list[Outcome]:
    """Run one transfer after the other, so that they do not slow each other down."""
    ways = zip(probes, [*probes[1:], probes[0]], strict=True)
    return [_moved(proof, network, source, target) for source, target in ways]


def _moved(proof: Proof, network: str, source: Probe, target: Probe) -> Outcome:
    where = Flow(source.node.name, target.node.name, f"{BULK_BYTES >> 20} MiB on {network}")
    listening, sending = _folder(proof), _folder(proof)
    to = f"{target.address} {BULK}"
    _beside(proof, target, f"bulk_listen {listening} {to} {BULK_SECONDS}")
    try:
        began = time.monotonic()
        sent = _sum(_beside(proof, source, f"bulk_send {sending} {to} {BULK_BYTES} {BULK_SECONDS}"))
        rate = BULK_BYTES / 2**20 / (time.monotonic() - began)
    finally:
        received = _sum(_beside(proof, target, f"bulk_heard {listening}"))
    size = f"{network}: {BULK_BYTES >> 20} MiB"
    if sent and sent == received:
        return passed(where, f"{size} at {rate:.0f} MiB/s, SHA-256 {sent[:12]}… on both sides")
    sums = f"SHA-256 sent {sent[:12] or 'none'}, received {received[:12] or 'none'}"
    return failed(where, f"{size} did not arrive as sent: {sums}", _VXLAN)


def _sum(told: str) -> str:
    """Return the SHA-256 that a script printed; empty if it printed something else."""
    first = told.split(maxsplit=1)[0] if told.strip() else ""
    return first if re.fullmatch("[0-9a-f]{64}", first) else ""
