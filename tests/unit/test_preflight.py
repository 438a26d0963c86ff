"""Every obstacle that facts can show: what is said of it, and what is not taken for one."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path as LocalPath

import pytest
from cluster_sample import (
    DOCKER_PROCESS,
    ETCD_PROCESS,
    bare_situation,
    changed,
    planned_sample,
    with_unit,
    with_values,
    without_path,
)
from pki_sample import sample

from provision import layout, pki
from provision.checks import Outcome, failed, preflight
from provision.control_plane.etcd import PLANE
from provision.facts import Facts, Listener, Path
from provision.pki import Authority
from provision.situation import Situation

Change = Callable[[Facts], Facts]
CA = "/etc/docker/overlay/ca.crt"


@dataclass(frozen=True)
class Refused:
    """A difference of one node from a bare host, and what is said of it there."""

    name: str
    change: Change
    check: str
    evidence: str
    advice: str
    where: str = "node2"


def values(**given: str) -> Change:
    return with_values(**given)


def listens(protocol: str, port: int, owner: str) -> Change:
    return lambda facts: replace(facts, listeners=(*facts.listeners, Listener(protocol, "0.0.0.0", port, owner)))


def docker(version: str) -> Change:
    return values(dockerd=f"Docker version {version}, build 1")


def foreign_authority(facts: Facts) -> Facts:
    found = Path("file", 0o444, "root:root", text="-----BEGIN CERTIFICATE-----\njunk\n-----END CERTIFICATE-----\n")
    return replace(facts, paths={**facts.paths, CA: found})


ON_BARE_HOSTS = [
    Refused("no root", values(root="1000"), "root", "do not run as root", "sudo"),
    Refused("52 no systemd", values(init="init"), "systemd", "process 1 is init, not systemd", "boots with systemd"),
    Refused("52 nobody knows", values(init=""), "systemd", "process 1 is unknown", "boots with systemd"),
    Refused("51 no vxlan", values(vxlan=""), "vxlan", "kernel 6.1.0-18-amd64 has no vxlan", "full kernel image"),
    Refused(
        "an address of another host",
        values(addresses="127.0.0.1 192.0.2.9"),
        "address",
        "192.0.2.2 is no address of this host; it has 127.0.0.1, 192.0.2.9",
        "ssh: {host: …}",
    ),
    Refused("44 Docker missing", values(dockerd=""), "docker-version", "Docker is not installed", "apt-get install"),
    Refused(
        "44 no docker command", values(docker_cli=""), "docker-version", "command line is missing", "install docker-cli"
    ),
    Refused("46 somebody's data", values(etcd_data="yes"), "foreign-store", "did not write", "move it away"),
    Refused(
        "91 a foreign authority", foreign_authority, "same-authority", "controller lacks", ".overlay/demo over from"
    ),
    Refused(
        "41 wrong CPU",
        values(machine="aarch64"),
        "cpu",
        "this host is aarch64, etcd-v3.5.30-linux-amd64.tar.gz is for x86_64",
        "etcd release for aarch64",
    ),
    Refused(
        "38 same hostname",
        values(hostname="node1"),
        "hostname",
        "hostname node1 is that of node1 too",
        "set-hostname node2",
    ),
    Refused(
        "37 one machine twice",
        values(machine_id="node1" * 4),
        "one-machine-one-entry",
        "machine-id is that of node1 too",
        "systemd-machine-id-setup",
    ),
    *(
        Refused(
            f"40 port {port}/{protocol} taken",
            listens(protocol, port, 'users:(("nginx",pid=7,fd=3),("nginx",pid=8,fd=3))'),
            "ports",
            f"port {port}/{protocol} is taken by nginx (process 7)",
            f"ss -lntup sport = :{port}",
        )
        for protocol, port in (("tcp", 2376), ("tcp", 2379), ("tcp", 2380), ("tcp", 7946), ("udp", 7946), ("udp", 4789))
    ),
    Refused(
        "40 port taken by the kernel", listens("udp", 4789, "unknown"), "ports", "is taken by unknown", "sport = :4789"
    ),
    *(
        Refused(
            f"54 {key} in daemon.json",
            values(daemon_json=f'{{"debug": true, "{key}": "x"}}'),
            "daemon-json",
            f"daemon.json sets {key}, which we set as flags",
            "remove them",
        )
        for key in ("hosts", "tls", "tlsverify", "tlscert", "cluster-store", "cluster-advertise", "cluster-store-opts")
    ),
    Refused("54 daemon.json cut", values(daemon_json='{"debug": tr'), "daemon-json", "is not JSON", "mend it"),
    *(
        Refused(
            f"39 {name}",
            values(routes=f"{route};"),
            "overlap",
            f"(10.99.0.0/24) overlaps the route {route}",
            "another subnet",
        )
        for name, route in {
            "a route to the subnet": "10.99.0.0/24 dev eth1 scope link",
            "a route to more": "10.0.0.0/8 via 192.0.2.254 dev eth0",
            "a route to one host in it": "10.99.0.7 dev tun0",
        }.items()
    ),
]


def failures(situation: Situation) -> list[Outcome]:
    return list(failed(preflight.run(PLANE, situation)))


@pytest.mark.parametrize("refused", ON_BARE_HOSTS, ids=lambda refused: refused.name)
def test_an_obstacle_is_told_once_where_it_is_with_advice(tmp_path: LocalPath, refused: Refused) -> None:
    (outcome,) = failures(changed(bare_situation(sample(tmp_path)), refused.where, refused.change))
    assert (outcome.check, outcome.where) == (refused.check, refused.where)
    assert refused.evidence in outcome.evidence
    assert refused.advice in outcome.advice


@pytest.mark.parametrize("situation", [lambda f: bare_situation(sample(f)), planned_sample], ids=["bare", "planned"])
def test_nothing_is_in_the_way_of_good_hosts(tmp_path: LocalPath, situation: Callable[[LocalPath], Situation]) -> None:
    outcomes = preflight.run(PLANE, situation(tmp_path))
    assert [outcome for outcome in outcomes if outcome.status != "passed"] == []
    assert {(outcome.check, outcome.where) for outcome in outcomes} == {
        (check, name) for check in preflight.CHECKS for name in ("node1", "node2", "node3")
    }


@pytest.mark.parametrize(
    "change",
    [
        values(addresses=""),
        values(daemon_json=""),
        values(daemon_json='{"live-restore": true, "log-driver": "journald"}'),
        values(routes="default via 192.0.2.254 dev eth0;10.98.0.0/16 dev eth1;10.100.0.0/24 dev eth1;;"),
        values(routes="10.99.0.0/24 dev br0;10.99.0.0/24 dev ov-001001-abcde;"),
        values(machine_id=""),
        values(hostname=""),
        values(dockerd="Docker version 20.10.5, build 55c4c88"),
    ],
    ids=["no ip", "empty", "other keys", "other routes", "Docker's own bridge", "no id", "no name", "another patch"],
)
def test_what_is_no_obstacle_is_not_taken_for_one(tmp_path: LocalPath, change: Change) -> None:
    assert failures(changed(bare_situation(sample(tmp_path)), "node2", change)) == []


@pytest.mark.parametrize("change", [values(machine="aarch64"), values(etcd_data="yes")], ids=["CPU", "data"])
def test_a_node_without_the_store_needs_nothing_of_it(tmp_path: LocalPath, change: Change) -> None:
    assert failures(changed(bare_situation(sample(tmp_path)), "node3", change)) == []


@pytest.mark.parametrize(
    ("version", "evidence"),
    [
        ("17.05.0-ce", "Docker 17.05.0 is outside 18.9 and later, below 23"),
        ("23.0.1", "Docker 23.0.1 is outside 18.9 and later, below 23: Docker 23 and later refuse --cluster-store"),
        ("26.1.5+dfsg1", "refuse --cluster-store"),
    ],
)
def test_44_a_docker_too_old_or_too_new_is_refused_on_every_node(
    tmp_path: LocalPath, version: str, evidence: str
) -> None:
    situation = bare_situation(sample(tmp_path))
    for name in situation.facts:
        situation = changed(situation, name, docker(version))
    outcomes = failures(situation)
    assert [(outcome.check, outcome.where) for outcome in outcomes] == [
        ("docker-version", name) for name in ("node1", "node2", "node3")
    ]
    assert all(evidence in outcome.evidence and "20.10" in outcome.advice for outcome in outcomes)


def test_44_versions_that_differ_are_told_with_the_first_node(tmp_path: LocalPath) -> None:
    (outcome,) = failures(changed(bare_situation(sample(tmp_path)), "node3", docker("19.03.15")))
    assert (outcome.check, outcome.where) == ("one-docker-version", "node3")
    assert outcome.evidence == "Docker 19.03.15 here, 20.10.24 on node1"


@pytest.mark.parametrize("version", ["3.4.20", "3.5.4", "3.6.0"])
def test_45_an_etcd_outside_the_window_is_refused_on_members(tmp_path: LocalPath, version: str) -> None:
    situation = bare_situation(sample(tmp_path))
    outcomes = failures(replace(situation, artifact=replace(situation.artifact, version=version)))
    assert [(outcome.check, outcome.where) for outcome in outcomes] == [
        ("etcd-version", "node1"),
        ("etcd-version", "node2"),
    ]
    assert all(f"etcd {version} is outside" in outcome.evidence for outcome in outcomes)
    assert all("3.5.30" in outcome.advice for outcome in outcomes)


OTHERS = 'users:(("other",pid=9999,fd=3))'


@pytest.mark.parametrize(
    ("change", "taken"),
    [
        (listens("tcp", 2379, f'users:(("etcd",pid={ETCD_PROCESS},fd=9))'), False),
        (listens("tcp", 2376, f'users:(("dockerd",pid={DOCKER_PROCESS},fd=9))'), False),
        (listens("tcp", 2379, f'users:(("dockerd",pid={DOCKER_PROCESS},fd=9))'), True),
        (listens("tcp", 2379, f'users:(("other",pid={ETCD_PROCESS}0,fd=9))'), True),
        (listens("tcp", 2380, OTHERS), True),
        (listens("tcp", 2376, "unknown"), True),
        (listens("udp", 4789, OTHERS), True),
    ],
)
def test_40_only_our_own_daemons_may_hold_our_ports(tmp_path: LocalPath, change: Change, taken: bool) -> None:
    assert [o.check for o in failures(changed(planned_sample(tmp_path), "node1", change))] == ["ports"] * taken


def test_40_a_daemon_not_started_by_us_may_not_hold_them(tmp_path: LocalPath) -> None:
    situation = changed(planned_sample(tmp_path), "node3", with_unit(layout.DOCKER_UNIT, inputs={}))
    evidence = [outcome.evidence for outcome in failures(situation)]
    assert [line.partition(" is taken")[0] for line in evidence] == ["port 2376/tcp", "port 7946/tcp", "port 4789/udp"]


def test_91_the_authority_of_another_controller_is_not_taken_over(tmp_path: LocalPath) -> None:
    situation = planned_sample(tmp_path)
    there = situation.facts["node1"].paths[CA]
    other = sample(tmp_path / "other")
    other.path.parent.mkdir()
    theirs = pki.make(other).authority_path(Authority.DOCKER).read_text()

    def found(text: str) -> Change:
        return lambda facts: replace(facts, paths={**facts.paths, CA: replace(there, text=text)})

    ours = situation.identity.authority_path(Authority.DOCKER).read_text()
    assert failures(changed(situation, "node1", found(ours))) == []
    (outcome,) = failures(changed(situation, "node1", found(theirs)))
    assert (outcome.check, outcome.where) == ("same-authority", "node1")
    assert str(situation.cluster.folder) in outcome.advice


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (values(etcd_data=""), ["replaced-member"]),
        (without_path(layout.ETCD_BOOTSTRAP), ["foreign-store"]),
    ],
)
def test_a_member_that_lost_its_data_or_its_papers_is_told(
    tmp_path: LocalPath, change: Change, expected: list[str]
) -> None:
    outcomes = failures(changed(planned_sample(tmp_path), "node2", change))
    assert [(outcome.check, outcome.where) for outcome in outcomes] == [(check, "node2") for check in expected]


def test_every_obstacle_of_every_node_is_told_at_once(tmp_path: LocalPath) -> None:
    situation = changed(bare_situation(sample(tmp_path)), "node1", values(root="1000", vxlan=""))
    situation = changed(situation, "node2", values(init="init"))
    found = [(outcome.where, outcome.check) for outcome in failures(situation)]
    assert found == [("node1", "root"), ("node1", "vxlan"), ("node2", "systemd")]


def test_an_obstacle_is_a_problem_with_its_node_and_its_check(tmp_path: LocalPath) -> None:
    (outcome,) = failures(changed(bare_situation(sample(tmp_path)), "node1", values(root="1000")))
    assert outcome.problem.where == "node1 [root]"
    assert (outcome.problem.what, outcome.problem.advice) == (outcome.evidence, outcome.advice)


@pytest.mark.parametrize("text", ["null", "7", "[{}]", '["hosts"]'])
def test_54_a_daemon_json_that_is_no_object_is_told(tmp_path: Path, text: str) -> None:
    (outcome,) = failures(changed(bare_situation(sample(tmp_path)), "node2", values(daemon_json=text)))
    assert outcome.check == "daemon-json"
    assert "sets" not in outcome.evidence


def test_39_a_route_over_several_ways_overlaps_too(tmp_path: Path) -> None:
    routes = "10.99.0.0/24 proto static ;nexthop via 192.0.2.5 dev eth0 weight 1 ;"
    (outcome,) = failures(changed(bare_situation(sample(tmp_path)), "node2", values(routes=routes)))
    assert outcome.check == "overlap"
