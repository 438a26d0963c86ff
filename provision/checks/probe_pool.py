"""The probes of a network, which the checks of a suite share; new ones replace those that Docker set up wrongly."""

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
from provision.client_errors import explained
from provision.core.outcome import Outcome
from provision.inventory.model import Cluster, Network, Node
from provision.remote.remotes import in_parallel
from provision.resources import keeper_name

#: Seconds to wait for the peers' addresses: gossip announces them every 200 ms. After that, probes are quicker.
WORD_SECONDS = 3
#: Attempts, each with new probes: Docker may set up a container's network wrongly (phases/keepers.py says why).
ATTEMPTS = 3
#: Addresses that a node's probes choose from, for several runs of verify at the same time.
MOST_ADDRESSES = 8

#: Wait until this host has a neighbour entry for each address on a network. No packet is sent. Arguments: ID ADDRESS…
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
    """The probes of one network, shared by a suite: started when first needed, removed when the suite ends.

    The network's keepers serve as probes if this run started them: they are as new on the network as a probe.
    """

    def __init__(self, proof: Proof, network: Network) -> None:
        """Create an empty pool."""
        self._proof, self._network = proof, network
        self._made: list[tuple[Node, str]] = []
        self._probes: list[Probe] = []
        self._started: list[Probe] = []
        self._keepers_asked = False

    @cached_property
    def subnet(self) -> IPv4Network:
        """The network's subnet, from Docker."""
        found = self._proof.coordinator.docker(self._proof.cluster.nodes[0]).api.inspect_network(self._network.name)
        return IPv4Network(found["IPAM"]["Config"][0]["Subnet"])

    def probes(self, each: int = 1) -> list[Probe]:
        """Return `each` probes on every node. Start those that are missing, all at once."""
        if not self._keepers_asked:
            self._keepers_asked = True
            self._probes = new_keepers(self._proof, self._network)
        there = len(self._probes) // len(self._proof.cluster.nodes)
        wanted = [(node, slot) for slot in range(there, each) for node in self._proof.cluster.nodes]
        if wanted:
            _ = self.subnet  # asked for once here, rather than in each thread
            with ThreadPoolExecutor(len(wanted)) as pool:
                self._probes += pool.map(lambda one: self._start(*one), wanted)
        return self._probes[: each * len(self._proof.cluster.nodes)]

    def close(self) -> None:
        """Remove all probes, those that did not start well included."""
        for probe in self._started:
            probe.close()
        made, self._made, self._probes, self._started = self._made, [], [], []
        if made:
            with ThreadPoolExecutor(len(made)) as pool:
                list(pool.map(lambda one: remove(self._proof, *one), made))
        claimed, names = self._proof.claimed, {name for _, name in made}
        for place in [place for place, name in list(claimed.items()) if name in names]:
            del claimed[place]

    def _start(self, node: Node, slot: int) -> Probe:
        for address in (*own_addresses(self._proof.cluster, self.subnet, node)[slot:], None):
            name = new_name(self._proof, node)
            if address and self._proof.claimed.setdefault((self._network.name, address), name) != name:
                continue  # another probe of this run has it. In swarm mode Docker says so only after 20 s
            self._made.append((node, name))
            try:
                probe = start(self._proof, node, self._network.name, name, address)
            except AddressTakenError:
                continue
            self._started.append(probe)
            return probe
        raise AssertionError("the last address is none")


def own_addresses(cluster: Cluster, subnet: IPv4Network, node: Node) -> list[str]:
    """Return the addresses that only this node's probes use, from the end of the subnet.

    When Docker 20.10 has to ask which host has an address, it never forgets the answer (libnetwork, drivers/overlay,
    watchMiss: it adds a peer named "dummy", and no departure removes that peer). It asks when two containers of one
    host first send to each other, and when a container sends to another host before gossip has announced the address.
    If the address later moves to another host, the first host sends its packets to the wrong place until its row is
    mended. Docker gives out the lowest free address. So a probe takes an address from the end of the subnet, and that
    address never moves to another host.
    """
    return _class_of_addresses(cluster, subnet, cluster.nodes.index(node))


def moving_addresses(cluster: Cluster, subnet: IPv4Network) -> list[str]:
    """Return the addresses of probes that move between hosts. No other probe uses them."""
    return _class_of_addresses(cluster, subnet, len(cluster.nodes))


def _class_of_addresses(cluster: Cluster, subnet: IPv4Network, number: int) -> list[str]:
    classes = max(16, 1 << len(cluster.nodes).bit_length())
    last = int(subnet.broadcast_address) - 1
    count = (subnet.num_addresses - 2) // 2
    return [str(IPv4Address(last - index)) for index in islice(range(number, count, classes), MOST_ADDRESSES)]


def probe_pool(proof: Proof, network: Network) -> ProbePool:
    """Return the suite's pool of probes on a network."""
    return cast(ProbePool, proof.shared.setdefault(network.name, ProbePool(proof, network)))


Observe = Callable[[Sequence[Probe]], list[Outcome]]


def proven(proof: Proof, network: Network, observe: Observe, *, each: int = 1) -> Iterator[Outcome]:
    """Observe through `each` probes on every node. After a failure, repeat with new probes, up to three times in all.

    If the first attempt failed, the evidence says so, and why.
    """
    for attempt in range(1, ATTEMPTS + 1):
        try:
            outcomes = observe(probe_pool(proof, network).probes(each))
        except (APIError, NotOnTheNetworkError, ShellLostError) as error:
            probe_pool(proof, network).close()
            if attempt == ATTEMPTS:
                raise
            reason = explained(error).what
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
    """Return the network's keepers as probes if this run started them all; else an empty list.

    Wait until every host knows the addresses of the other hosts' keepers; return an empty list if that takes too long.
    Docker chose the keepers' addresses, so a host must know them before it sends a packet: see `own_addresses`.
    """
    names = {node: keeper_name(network.name, node.name) for node in proof.cluster.nodes}
    if not proof.started.issuperset(names.values()):
        return []
    keepers = in_parallel(lambda node: found(proof, node, network.name, names[node]), proof.cluster.nodes)

    def hears_of_others(keeper: Probe) -> bool:
        identity = keeper.container.attrs["NetworkSettings"]["Networks"][network.name]["NetworkID"]
        others = [other.address for other in keepers if other is not keeper]
        script = f"set -- {identity} {' '.join(others)}\n{_WORD}"
        return proof.coordinator.remotes[keeper.node.name].run(script, what="waiting for peers").code == 0

    return keepers if all(in_parallel(hears_of_others, keepers)) else []
