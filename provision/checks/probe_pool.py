"""The probes of a network that the checks of a suite share, and fresh ones where Docker failed some."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import cached_property
from ipaddress import IPv4Address, IPv4Network
from itertools import islice
from typing import cast

from docker.errors import APIError

from provision.checks.attached_shell import ShellLostError
from provision.checks.probes import AddressTakenError, NotOnTheNetworkError, Probe, found, new_name, remove, start
from provision.checks.proof import Proof
from provision.core.outcome import Outcome
from provision.inventory.model import Cluster, Network, Node
from provision.remote.remotes import in_parallel
from provision.resources import keeper_name

#: Seconds for word of a keeper, which gossip brings every 200 ms: probes are quicker than to wait for more.
WORD_SECONDS = 3
#: Fresh probes where Docker did not serve the first: phases/keepers.py tells of its threads that lead nowhere.
ATTEMPTS = 3
#: Addresses that a node's probes choose from: runs of verify may go beside each other.
MOST_ADDRESSES = 8

#: Of a network by its ID: until a host knows the way to each address. Nothing is sent.
_WORD = f"""
for space in /run/docker/netns/*-*; do case $1 in "${{space##*-}}"*) break ;; esac; done
shift
nsenter --net="$space" sh -c 'end=$(($(date +%s) + {WORD_SECONDS}))
    for address; do
        until ip neigh show to "$address" | grep -q PERMANENT; do
            [ "$(date +%s)" -lt "$end" ] || exit 1
            sleep 0.02
        done
    done' sh "$@"
"""


class ProbePool:
    """The probes of one network that the checks of a suite share: started when first asked for, removed at its end.

    The network's keepers come first where this run has started them: they are as new on it as a probe would be.
    """

    def __init__(self, proof: Proof, network: Network) -> None:
        """Start none yet."""
        self._proof, self._network = proof, network
        self._made: list[tuple[Node, str]] = []
        self._probes: list[Probe] = []
        self._started: list[Probe] = []
        self._keepers_asked = False

    @cached_property
    def subnet(self) -> IPv4Network:
        """Return the network's own, as Docker says it."""
        found = self._proof.coordinator.docker(self._proof.cluster.nodes[0]).api.inspect_network(self._network.name)
        return IPv4Network(found["IPAM"]["Config"][0]["Subnet"])

    def probes(self, each: int = 1) -> list[Probe]:
        """Return so many probes on every node, after starting those that are missing, all at once."""
        if not self._keepers_asked:
            self._keepers_asked = True
            self._probes = new_keepers(self._proof, self._network)
        there = len(self._probes) // len(self._proof.cluster.nodes)
        wanted = [(node, slot) for slot in range(there, each) for node in self._proof.cluster.nodes]
        if wanted:
            _ = self.subnet  # asked for once, before threads do
            with ThreadPoolExecutor(len(wanted)) as pool:
                self._probes += pool.map(lambda one: self._start(*one), wanted)
        return self._probes[: each * len(self._proof.cluster.nodes)]

    def close(self) -> None:
        """Remove them all, those too that did not start well."""
        for probe in self._started:
            probe.close()
        made, self._made, self._probes, self._started = self._made, [], [], []
        if made:
            with ThreadPoolExecutor(len(made)) as pool:
                list(pool.map(lambda one: remove(self._proof, *one), made))

    def _start(self, node: Node, slot: int) -> Probe:
        for address in (*own_addresses(self._proof.cluster, self.subnet, node)[slot:], None):
            name = new_name(self._proof, node)
            self._made.append((node, name))
            try:
                probe = start(self._proof, node, self._network.name, name, address)
            except AddressTakenError:
                continue
            self._started.append(probe)
            return probe
        raise AssertionError("the last address is none")


def own_addresses(cluster: Cluster, subnet: IPv4Network, node: Node) -> list[str]:
    """Return the addresses that only this node's probes use, from the subnet's end.

    Docker 20.10 never forgets the host that answered for an address when it had to ask (libnetwork, drivers/overlay,
    watchMiss: a peer named "dummy", which no departure removes). It asks whenever two containers of one host first
    speak, and whenever one speaks to another host before word of it came. Once the address is given to a container of
    another host, that first host sends its packets to the wrong place, until its row is mended. Docker gives the lowest
    free address: so a probe takes none that it would pass on, and its own address never changes its host.
    """
    return _class_of_addresses(cluster, subnet, cluster.nodes.index(node))


def moving_addresses(cluster: Cluster, subnet: IPv4Network) -> list[str]:
    """Return the addresses of probes that move between hosts, which no other probe has."""
    return _class_of_addresses(cluster, subnet, len(cluster.nodes))


def _class_of_addresses(cluster: Cluster, subnet: IPv4Network, number: int) -> list[str]:
    classes = max(16, 1 << len(cluster.nodes).bit_length())
    last = int(subnet.broadcast_address) - 1
    count = (subnet.num_addresses - 2) // 2
    return [str(IPv4Address(last - index)) for index in islice(range(number, count, classes), MOST_ADDRESSES)]


def probe_pool(proof: Proof, network: Network) -> ProbePool:
    """Return the suite's probes on a network."""
    return cast(ProbePool, proof.shared.setdefault(network.name, ProbePool(proof, network)))


Observe = Callable[[Sequence[Probe]], list[Outcome]]


def proven(proof: Proof, network: Network, observe: Observe, *, each: int = 1) -> Iterator[Outcome]:
    """Observe through `each` probes on every node until all is well, with fresh ones up to three times.

    Where it was not well at once, the evidence says so, and why.
    """
    for attempt in range(1, ATTEMPTS + 1):
        try:
            outcomes = observe(probe_pool(proof, network).probes(each))
        except (APIError, NotOnTheNetworkError, ShellLostError) as error:
            probe_pool(proof, network).close()
            if attempt == ATTEMPTS:
                raise
            reason = str(error)
            continue
        wrong = [outcome.evidence for outcome in outcomes if outcome.status == "failed"]
        if not wrong:
            break
        probe_pool(proof, network).close()
        if attempt < ATTEMPTS:
            reason = wrong[0]
    later = f" (attempt {attempt}; before: {reason[:160]})" if attempt > 1 else ""
    yield from (replace(outcome, evidence=outcome.evidence + later) for outcome in outcomes)


def new_keepers(proof: Proof, network: Network) -> list[Probe]:
    """Return the network's keepers where this run has started them all, once every host has had word of the others'.

    None where it does not come in time. A keeper has the address that Docker chose, so nobody may have to ask for it.
    """
    names = {node: keeper_name(network.name, node.name) for node in proof.cluster.nodes}
    if not proof.started.issuperset(names.values()):
        return []
    keepers = in_parallel(lambda node: found(proof, node, network.name, names[node]), proof.cluster.nodes)

    def hears_of_others(keeper: Probe) -> bool:
        identity = keeper.container.attrs["NetworkSettings"]["Networks"][network.name]["NetworkID"]
        others = [other.address for other in keepers if other is not keeper]
        script = f"set -- {identity} {' '.join(others)}\n{_WORD}"
        return proof.coordinator.remotes[keeper.node.name].run(script, what="waiting for word of others").code == 0

    return keepers if all(in_parallel(hears_of_others, keepers)) else []
