"""The checks that follow each provision: each fails during a fault made for it, and passes again after it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from conftest import Fab
from observe import document, run
from proofs import connected, outcomes, red

from provision.lab import Lab
from provision.planes.etcd.coordinator import opened

#: A warning from etcd3's generated code, at its first import.
pytestmark = pytest.mark.filterwarnings("ignore:Call to deprecated create function")

#: A second store on the second node, with that node's certificate. The node's own connections lead to it.
IMPOSTOR = """
. /etc/etcd/etcd.env
env -i systemd-run -q --unit impostor /usr/local/bin/etcd --name impostor --data-dir /run/impostor --enable-v2 \
    --listen-client-urls "https://$ADDRESS:12379" --advertise-client-urls "https://$ADDRESS:12379" \
    --listen-peer-urls http://127.0.0.1:12380 --initial-advertise-peer-urls http://127.0.0.1:12380 \
    --initial-cluster impostor=http://127.0.0.1:12380 --client-cert-auth --trusted-ca-file "$ETCD_TRUSTED_CA_FILE" \
    --cert-file "$ETCD_CERT_FILE" --key-file "$ETCD_KEY_FILE"
until ss -H -lnt 'sport = :12379' | grep -q .; do sleep 0.1; done
"""


@pytest.fixture(scope="module")
def proven(lab: Lab, fab: Fab) -> Lab:
    document(fab(lab, "provision", "--json"))
    return lab


@contextmanager
def ruled(lab: Lab, rule: str) -> Iterator[None]:
    """Add a rule to the second node's firewall for the time of the block; `{}` stands for the iptables flag."""
    run(lab, "node2", f"iptables {rule.format('-I')}")
    try:
        yield
    finally:
        run(lab, "node2", f"iptables {rule.format('-D')}")


def told(lab: Lab, check: str) -> dict[str, str]:
    """Return the failures of a check, over new connections."""
    with connected(lab) as proof:
        return red(proof, check)


def test_a_member_that_does_not_answer_is_named(proven: Lab) -> None:
    with ruled(proven, "{} INPUT -i lo -p tcp --dport 2379 -j REJECT"):
        said = told(proven, "etcd/members-answer")
    assert said
    assert told(proven, "etcd/members-answer") == {}


def test_a_dockerd_that_does_not_announce_itself_is_named(proven: Lab) -> None:
    advertised = f"{proven.nodes[1].address}:2376"
    run(proven, "node2", "kill -STOP $(pidof dockerd)")
    try:
        with connected(proven) as proof:
            opened(proof.coordinator).store(proof.cluster.nodes[0]).delete(f"/docker/nodes/{advertised}")
            said = red(proof, "etcd/docker-on-the-store")
    finally:
        run(proven, "node2", "kill -CONT $(pidof dockerd)")
    assert said == {"node2": f"{advertised} is not announced in the store"}
    assert told(proven, "etcd/docker-on-the-store") == {}


def test_a_network_that_one_docker_does_not_see_is_named(proven: Lab) -> None:
    with ruled(proven, "{} OUTPUT -p tcp --dport 2379 -j REJECT --reject-with tcp-reset"):
        said = told(proven, "overlay/one-network-everywhere")
    assert list(said) == ["demo"]
    assert "node2: none" in said["demo"]
    assert told(proven, "overlay/one-network-everywhere") == {}


def test_containers_that_do_not_reach_each_other_are_named(proven: Lab) -> None:
    with ruled(proven, "{} INPUT -i eth0 -p udp --dport 4789 -j DROP"):
        said = told(proven, "overlay/containers-reach-each-other")
    assert set(said) == {"node1 → node2", "node2 → node1"}
    assert told(proven, "overlay/containers-reach-each-other") == {}


#: Packets of TCP in VXLAN are dropped, and pings are not: as if a network card computed wrong checksums.
NO_TCP = """nft add table inet no_tcp
nft add chain inet no_tcp input '{ type filter hook input priority 0; }'
nft add rule inet no_tcp input udp dport 4789 @th,312,8 6 drop
"""


def test_194_tcp_that_is_lost_where_pings_cross_is_named_with_the_network_cards_and_the_command(proven: Lab) -> None:
    run(proven, "node2", NO_TCP)
    try:
        with connected(proven) as proof:
            made = outcomes(proof, "overlay/containers-reach-each-other")
    finally:
        run(proven, "node2", "nft delete table inet no_tcp")
    assert {one.status for one in made} == {"failed"}
    assert all("answers pings, but nothing by TCP" in one.evidence for one in made)
    for node in proven.nodes:
        assert f"on {node.name}: ethtool -K eth0 tx-checksum-ip-generic off" in made[0].advice


def test_195_an_image_that_is_gone_is_one_failure_on_its_node(proven: Lab, fab: Fab) -> None:
    run(proven, "node2", "docker tag busybox kept && docker rmi busybox")
    try:
        report = document(fab(proven, "verify", "--only", "docker/|overlay/containers", "--json"), 5)
    finally:
        run(proven, "node2", "docker tag kept busybox && docker rmi kept")
    failed = [(one["check"], one["where"]) for one in report["outcomes"] if one["status"] == "failed"]
    assert failed == [("plan/nothing-pending", "cluster"), ("docker/probe-image", "node2")]
    assert "http" not in "".join(one["evidence"] for one in report["outcomes"] if one["status"] != "passed")


def test_193_flushed_rules_are_said_by_status_and_planned_as_a_restart(proven: Lab, fab: Fab) -> None:
    run(proven, "node2", "iptables-save >/run/rules; iptables -F; iptables -t nat -F")
    try:
        problems = document(fab(proven, "status", "--json"), 5)["problems"]
        changes = document(fab(proven, "plan", "--json"))["changes"]
    finally:
        run(proven, "node2", "iptables-restore </run/rules; rm /run/rules")
    assert [problem["where"] for problem in problems] == ["node2"]
    assert [(one["where"], one["action"], one["resource"]) for one in changes] == [
        ("node2", "restart", "unit docker.service")
    ]
    assert document(fab(proven, "plan", "--json"))["changes"] == []


def test_192_without_a_certificate_to_ask_with_status_and_verify_say_that_alone(proven: Lab, fab: Fab) -> None:
    path = proven.folder / ".overlay" / proven.name / "docker" / "controller.crt"
    kept = path.rename(path.with_suffix(".kept"))
    try:
        summary = document(fab(proven, "status", "--json"), 5)["summary"]
        seen = document(fab(proven, "verify", "--json"), 5)["outcomes"]
    finally:
        kept.rename(path)
    assert summary == f"no certificate to ask with: {path} is missing"
    assert [one["check"] for one in seen] == ["plan/nothing-pending", "etcd/certificate"]
    assert document(fab(proven, "status", "--json"))["exit_code"] == 0


@pytest.mark.whole
def test_196_every_check_passes_where_a_dockerd_remaps_users(proven: Lab, fab: Fab) -> None:
    run(proven, "node2", 'echo \'{"userns-remap": "default"}\' >/etc/docker/daemon.json; systemctl restart docker')
    try:
        document(fab(proven, "provision", "--yes", "--json"))
        document(fab(proven, "verify", "--only", "docker/", "--json"))
    finally:
        run(proven, "node2", "rm /etc/docker/daemon.json; systemctl restart docker")
    document(fab(proven, "provision", "--yes", "--json"))


@pytest.fixture(scope="module")
def impostor(proven: Lab) -> Iterator[Lab]:
    """This test comes last: the second node's dockerd returns to its own store only after a restart."""
    address = proven.nodes[1].address
    run(proven, "node2", f"ADDRESS={address}\n{IMPOSTOR}")
    with ruled(proven, f"-t nat {{}} OUTPUT -p tcp -d {address} --dport 2379 -j DNAT --to-destination {address}:12379"):
        yield proven
    run(proven, "node2", "systemctl stop impostor; rm -r /run/impostor")


@pytest.mark.parametrize(
    ("check", "where", "words"),
    [
        ("one-leader", "cluster", "members name different leaders"),
        ("one-member-list", "node2", "lists impostor ("),
        ("v3-key", "node2", "did not read the v3 key"),
        ("v2-key", "node2", "did not read the v2 key"),
    ],
)
def test_a_member_of_another_store_is_named(impostor: Lab, check: str, where: str, words: str) -> None:
    said = told(impostor, f"etcd/{check}")
    assert list(said) == [where]
    assert words in said[where]
