"""The overlay: every network on every node with one ID, and packets that cross, by address and by name."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial

from provision.checks.probe_pool import proven
from provision.checks.probes import Probe
from provision.checks.proof import Proof
from provision.checks.suites.docker import PROBE_IMAGE
from provision.core.check import check
from provision.core.outcome import Outcome, failed, passed
from provision.core.reach import Flow
from provision.inventory.model import Network, Node

#: The check without which containers of different hosts exchange nothing.
REACH = "overlay/containers-reach-each-other"
#: The feature of a network card that is switched off where it computes wrong checksums.
OFFLOAD = "tx-checksum-ip-generic"


@check("overlay", quick=True)
def one_network_everywhere(proof: Proof) -> Iterator[Outcome]:
    """Every network of the inventory is on every node with the same ID: it is one network, not several of one name."""
    for network in proof.cluster.networks:
        found = {node.name: _ids(proof, node, network) for node in proof.cluster.nodes}
        distinct = set(found.values())
        if len(distinct) == 1 and len(next(iter(distinct))) == 1:
            yield passed(network.name, f"{next(iter(distinct))[0][:12]} on {', '.join(found)}")
        else:
            said = ", ".join(f"{name}: {' '.join(i[:12] for i in ids) or 'none'}" for name, ids in found.items())
            yield failed(network.name, f"not one network: {said}", "fab plan; fab status --store")


def _ids(proof: Proof, node: Node, network: Network) -> tuple[str, ...]:
    listed = proof.coordinator.docker(node).api.networks(names=[network.name])
    return tuple(sorted(one["Id"] for one in listed if one["Name"] == network.name))


@check("overlay", quick=True, needs=[PROBE_IMAGE])
def containers_reach_each_other(proof: Proof) -> Iterator[Outcome]:
    """Containers on different nodes reach each other by address and by name, by ping and by TCP, on every network."""
    for network in proof.cluster.networks:
        yield from proven(proof, network, partial(_all_reached, proof, network.name))


@check("overlay", needs=[PROBE_IMAGE])
def containers_of_one_host_reach_each_other(proof: Proof) -> Iterator[Outcome]:
    """Containers on the same node reach each other by address and by name, on every network."""
    for network in proof.cluster.networks:
        yield from proven(proof, network, partial(_neighbours_reached, proof, network.name), each=2)


def _all_reached(proof: Proof, network: str, started: Sequence[Probe]) -> list[Outcome]:
    return _reached(
        proof, network, [(source, [one for one in started if one.node != source.node]) for source in started]
    )


def _neighbours_reached(proof: Proof, network: str, started: Sequence[Probe]) -> list[Outcome]:
    """Ping from the first of each node's two probes to the second."""
    pairs: dict[str, list[Probe]] = {}
    for probe in started:
        pairs.setdefault(probe.node.name, []).append(probe)
    return _reached(proof, network, [(first, [second]) for first, second in pairs.values()])


def _reached(proof: Proof, network: str, ways: Sequence[tuple[Probe, Sequence[Probe]]]) -> list[Outcome]:
    """Ping each source's targets by address and by name, and try TCP, from all sources at once."""

    def reach(source: Probe, targets: Sequence[Probe]) -> list[Outcome]:
        seen, silent = source.reach_by_tcp(*(target for probe in targets for target in (probe.address, probe.name)))
        return [
            _pings_only(proof, network, source, probe)
            if probe.address in seen and probe.address in silent
            else _told(network, source, probe, seen.get(probe.address), seen.get(probe.name))
            for probe in targets
        ]

    with ThreadPoolExecutor(len(ways)) as pool:
        return [outcome for outcomes in pool.map(reach, *zip(*ways, strict=True)) for outcome in outcomes]


def _pings_only(proof: Proof, network: str, source: Probe, probe: Probe) -> Outcome:
    """Return the outcome of a container that answers pings, and no connection by TCP."""
    what = f"{network}: {probe.address} answers pings, but nothing by TCP"
    if source.node == probe.node:
        return failed(f"{source.node.name}, twice", what, "does a firewall on the node drop it? nft list ruleset")
    off = (f"on {at.name}: ethtool -K {_device(proof, at, to)} {OFFLOAD} off" for at, to in _both(source, probe))
    advice = f"mostly the network cards compute wrong checksums of packets in VXLAN; {'; '.join(off)}"
    return failed(Flow(source.node.name, probe.node.name, f"TCP on {network}"), what, f"{advice}; then fab verify")


def _both(source: Probe, probe: Probe) -> tuple[tuple[Node, Node], tuple[Node, Node]]:
    return (source.node, probe.node), (probe.node, source.node)


def _device(proof: Proof, node: Node, peer: Node) -> str:
    """Return the network device through which a node reaches another one; `DEVICE` if it does not say."""
    told = proof.coordinator.remotes[node.name].run(f"ip -o -4 route get {peer.address}", what="reading a route").stdout
    words = told.split()
    return words[words.index("dev") + 1] if "dev" in words[:-1] else "DEVICE"


def _told(network: str, source: Probe, probe: Probe, by_address: str | None, by_name: str | None) -> Outcome:
    same = source.node == probe.node
    lost = [how for how, time in (("address", by_address), ("name", by_name)) if time is None]
    taken = None if by_address is None else float(by_address)
    way = Flow(source.node.name, probe.node.name, f"ping on {network}", taken)
    where = f"{source.node.name}, twice" if same else way
    if not lost:
        return passed(where, f"{network}: {probe.address} answers in {by_address} ms, by name in {by_name} ms")
    advice = "fab status" if same else "are the ports of fab status open between the nodes, both ways?"
    return failed(where, f"{network}: no answer from {probe.address} by {' nor by '.join(lost)}", advice)
