"""Docker's errors in ordinary life: checks fail while overlay-mend is stopped, and pass soon after it runs."""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest
from conftest import Fab
from invariants import OWN_MEMBER, await_so
from observe import document, run
from proofs import connected, red
from recorded import assert_recorded, recorded, remove_containers

from provision import lab as labs
from provision.checks.proof import Proof
from provision.lab import Lab
from provision.planes.etcd.suites.endpoints import in_store


@pytest.fixture(scope="module")
def cluster(lab: Lab, fab: Fab) -> Lab:
    document(fab(lab, "provision", "--json"))
    return lab


@pytest.fixture(scope="module")
def proof(cluster: Lab) -> Iterator[Proof]:
    with connected(cluster) as made:
        yield made


def test_133_an_address_that_moves_after_local_packets_is_lost_until_its_row_is_mended(
    cluster: Lab, proof: Proof
) -> None:
    """Docker's error: two containers of one host have sent to each other, and then an address moves to another host."""
    start = "docker run -d --name {} --network demo --ip 10.99.0.{} busybox sleep 600 >/dev/null"
    pair = "; ".join((start.format("left", 100), start.format("right", 101)))
    run(cluster, "node1", "systemctl stop overlay-mend")
    run(cluster, "node1", f"{pair}; docker exec left ping -c 1 right; docker rm -f left right")
    run(cluster, "node2", pair)
    try:
        told = red(proof, "overlay/hosts-send-to-where-it-is")
        assert told == {"node1": "sends to the wrong host: right at 10.99.0.101 is on node2, not on node1"}
        assert "does not answer" in red(proof, "moves/moved-address-is-reached")["node1 → node2"]
        run(cluster, "node1", "systemctl start overlay-mend")
        await_so(cluster, "node1", "journalctl -u overlay-mend -o cat | grep -q 'mended: right'")
        assert not red(proof, "overlay/hosts-send-to-where-it-is")
        assert not red(proof, "moves/moved-address-is-reached")
        said = run(cluster, "node1", "journalctl -u overlay-mend -o cat | grep mended")
        assert re.search(r"mended: right \(10\.99\.0\.101, .*\) .* is on host \S+12; the row here said \S+11\n", said)
        assert int(run(cluster, "node1", "cat /run/overlay-provision/mend.rows")) >= 1
    finally:
        run(cluster, "node1", "systemctl start overlay-mend")
        run(cluster, "node2", "docker rm -f left right")


#: Write the rows that Docker writes for two containers of one host that have sent to each other, and entries in the
#: bridge's table that place both behind the tunnel, as may happen. Print how many of four pings are answered.
IN_THE_TUNNEL = """
own=$(ip -4 -o address show eth0 | sed 's|.* inet ||; s|/.*||')
space=$(ls /run/docker/netns/1-*)
for name in left right; do
    mac=$(docker inspect -f '{{.NetworkSettings.Networks.demo.MacAddress}}' $name)
    nsenter --net="$space" bridge fdb replace $mac dev vxlan0 dst $own self permanent
    nsenter --net="$space" bridge fdb replace $mac dev vxlan0 master dynamic
done
docker exec left ping -c 4 -W 1 right >/tmp/answers & docker exec right ping -c 4 -W 1 left >/dev/null; wait
grep -c 'bytes from' /tmp/answers || :
"""


def test_139_two_on_one_host_are_not_lost_to_each_other_in_its_bridge(cluster: Lab) -> None:
    """Docker's error: a row for a container of this host leads packets back out of the tunnel."""
    start = "docker run -d --name {} --network demo busybox sleep 600 >/dev/null"
    run(cluster, "node1", f"{start.format('left')}; {start.format('right')}")
    try:
        run(cluster, "node1", "docker exec left ping -c 1 right; systemctl stop overlay-mend")
        assert int(run(cluster, "node1", IN_THE_TUNNEL)) == 0
        run(cluster, "node1", "systemctl start overlay-mend")
        await_so(cluster, "node1", "docker exec left ping -c 1 -W 1 right")
        said = "journalctl -u overlay-mend -o cat | grep -q 'mended: right .* is here, and needs no row'"
        await_so(cluster, "node1", said)
    finally:
        run(cluster, "node1", "systemctl start overlay-mend; docker rm -f left right")


def test_143_dockerds_that_start_while_none_answers_yet_find_each_other(cluster: Lab) -> None:
    """Docker's error: a dockerd greets a neighbour only when it is announced, and all are announced already."""
    shut = "iptables -{} INPUT -p tcp --dport 7946 -j REJECT --reject-with tcp-reset"
    own = "_SYSTEMD_INVOCATION_ID=$(systemctl show -p InvocationID --value docker)"
    heard = f"journalctl -q -o cat {own} | grep 'serf: EventMemberJoin' | grep -qv ' {{}}'"
    addresses = {node.name: node.address for node in cluster.nodes}
    for name in addresses:
        run(cluster, name, shut.format("I"))
    try:
        for name in addresses:
            run(cluster, name, "systemctl restart docker")
        for name in addresses:
            await_so(cluster, name, "[ -e /run/overlay-provision/docker.joined ]")
            run(cluster, name, f"! {heard.format(addresses[name])}")
    finally:
        for name in addresses:
            run(cluster, name, shut.format("D"))
    for name, address in addresses.items():
        await_so(cluster, name, heard.format(address))


def test_a_thread_that_watched_a_network_that_is_left_comes_home(cluster: Lab) -> None:
    """Docker's error: whatever it does on such a thread finds no network."""
    inodes = "stat -L -c %i /proc/$(cat /run/docker.pid)/task/*/ns/net"
    lived = "stat -L -c %i /proc/self/ns/net /run/docker/netns/*"
    away = f'{inodes} | grep -vxF "$({lived})"'
    run(cluster, "node1", "docker network create -d overlay --subnet 10.96.0.0/24 left >/dev/null")
    try:
        run(cluster, "node1", "systemctl stop overlay-mend")
        run(cluster, "node1", "docker run --rm --network left busybox true")
        # The thread does not come back by itself.
        run(cluster, "node1", "for _ in 1 2 3 4 5; do sleep 1; " + away + " || exit 1; done")
        run(cluster, "node1", "systemctl start overlay-mend")
        await_so(cluster, "node1", f"! {away}")
        for _ in range(5):
            run(cluster, "node1", "docker run --rm --network left busybox true")
            await_so(cluster, "node1", f"! {away}", 30)
    finally:
        run(cluster, "node1", "systemctl start overlay-mend; docker network rm left")


#: Let the other dockerds read the names on demo without a container's endpoint, and put the endpoint back unseen.
UNSEEN = """
export ETCDCTL_API=2; . /etc/docker/overlay/store.env; cd /etc/docker/overlay
store() {
    etcdctl --no-sync --ca-file store-ca.crt --cert-file store.crt --key-file store.key \\
        --endpoints "https://${OVERLAY_ADVERTISE%:*}:2379" "$@"
}
place=$(docker inspect -f '{{with .NetworkSettings.Networks.demo}}{{.NetworkID}}/{{.EndpointID}}{{end}}' late)
key=/docker/network/v1.0/endpoint/$place count=/docker/network/v1.0/endpoint_count/${place%/*}
late=$(store get "$key") number=$(store get "$count")
store rm "$key"
store set "$count" "$number"
sleep 5
store set "$key" "$late"
"""


def test_148_a_name_that_a_host_has_missed_is_known_again(cluster: Lab) -> None:
    """Docker's error: it reads names when the number of endpoints changes, and may miss that."""
    knows = "docker exec asks timeout 2 ping -c 1 -W 1 late"
    run(cluster, "node1", "docker run -d --name late --network demo busybox sleep 6000 >/dev/null")
    run(cluster, "node2", "docker run -d --name asks --network demo busybox sleep 6000 >/dev/null")
    try:
        await_so(cluster, "node2", knows)
        for node in cluster.nodes:
            run(cluster, node.name, "systemctl stop overlay-mend")
        run(cluster, "node1", UNSEEN)
        run(cluster, "node2", f"for _ in 1 2 3; do {knows} && exit 1; done; true")
        run(cluster, "node2", "systemctl start overlay-mend")
        await_so(cluster, "node2", knows)
        said = "journalctl -u overlay-mend -o cat | grep -q 'announced: the names on network .*; late .* was unknown'"
        await_so(cluster, "node2", said)
    finally:
        run(cluster, "node1", "systemctl start overlay-mend; docker rm -f late")
        run(cluster, "node2", "systemctl start overlay-mend; docker rm -f asks")


def test_an_endpoint_that_nobody_has_is_freed(cluster: Lab, proof: Proof) -> None:
    """A dockerd that cannot reach the store leaves an endpoint: a container is removed while no member answers."""
    run(cluster, "node1", "docker run -d --name gone --network demo busybox sleep 600 >/dev/null")
    run(cluster, "node1", "systemctl stop overlay-mend; systemctl stop etcd; docker rm -f gone || true")
    run(cluster, "node1", "systemctl start etcd")
    await_so(cluster, "node1", f"{OWN_MEMBER} get --limit 1 / >/dev/null 2>&1")
    try:
        assert any(one.name == "gone" for one in in_store(proof))
        run(cluster, "node1", "systemctl start overlay-mend")
        await_so(cluster, "node1", "journalctl -u overlay-mend -o cat | grep -q 'freed: an endpoint of gone'")
        assert not any(one.name == "gone" for one in in_store(proof))
        run(cluster, "node2", "docker run --rm --name gone --network demo busybox true")
    finally:
        run(cluster, "node1", "systemctl start overlay-mend")


def test_230_234_what_containers_should_have_is_recorded_and_whole_after_a_power_cut(cluster: Lab) -> None:
    left = assert_recorded(cluster, "node1")
    labs.power_cut(cluster.name, "node1")
    labs.power_on(cluster.name, "node1")
    assert recorded(cluster, "node1") == left
    await_so(cluster, "node1", "[ -e /run/overlay-provision/docker.joined ]")
    remove_containers(cluster, "node1")
