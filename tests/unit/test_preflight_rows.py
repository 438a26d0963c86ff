"""Every obstacle that facts can show, by its number in the catalogue of faults."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path as LocalPath
from typing import Any

import pytest
from cluster_sample import (
    bare_situation,
    changed,
    network,
    planned_sample,
    sees,
    with_data,
    with_unit,
)
from image_sample import save
from pki_sample import sample
from preflight_sample import Change, docker, failures, listens, obstacle, values

from provision import layout
from provision.core.situation import Situation
from provision.errors import Problem
from provision.facts import Clock, Container, Facts, PathFact, Space
from provision.planes.etcd import paths, pki, validity
from provision.planes.etcd.local import local
from provision.planes.etcd.pki import Authority
from provision.resources import KEEPER

CA = "/etc/docker/overlay/ca.crt"
NGINX = 'users:(("nginx",pid=7,fd=3),("nginx",pid=8,fd=3))'
OTHERS = 'users:(("other",pid=9999,fd=3))'


def test_37_two_entries_of_one_machine(tmp_path: LocalPath) -> None:
    outcome = obstacle(tmp_path, values(machine_id="node1" * 4), "one-machine-one-entry")
    assert "machine-id is that of node1 too" in outcome.evidence
    assert "systemd-machine-id-setup" in outcome.advice


def test_38_one_hostname_twice(tmp_path: LocalPath) -> None:
    outcome = obstacle(tmp_path, values(hostname="node1"), "hostname")
    assert outcome.evidence == "the hostname node1 is that of node1 too"
    assert "set-hostname node2" in outcome.advice


def test_39_a_network_that_has_to_be_made_anew_while_a_container_uses_it(tmp_path: LocalPath) -> None:
    situation = planned_sample(tmp_path)
    for name in situation.facts:
        situation = changed(situation, name, sees(network("demo", "10.97.0.0/24")))
    keeper = Container("1" * 12, "overlay-keeper-demo-node2", ("demo",), labels={KEEPER: "demo"})
    used = (keeper, Container("2" * 12, "web", ("bridge", "demo")), Container("3" * 12, "other", ("bridge",)))
    situation = changed(situation, "node2", lambda facts: replace(facts, containers=used))
    (found,) = failures(situation)
    assert (found.check, found.where) == ("network-in-use", "node2")
    assert found.evidence == "network demo has to be recreated, but is in use by web"


def test_a_network_that_cannot_be_seen_without_a_quorum_is_not_taken_for_one_to_be_made_anew(
    tmp_path: LocalPath,
) -> None:
    situation = planned_sample(tmp_path)
    for name in situation.facts:
        situation = changed(situation, name, sees())
    used = (Container("2" * 12, "web", ("demo",)),)
    situation = changed(situation, "node2", lambda facts: replace(facts, containers=used))
    assert failures(situation) == []


@pytest.mark.parametrize(
    "route",
    [
        "10.99.0.0/24 dev eth1 scope link",
        "10.0.0.0/8 via 192.0.2.254 dev eth0",
        "10.99.0.7 dev tun0",
        "10.99.0.0/24 proto static",  # over several ways: `nexthop …` comes after it
    ],
)
def test_39_a_network_that_a_node_routes_elsewhere(tmp_path: LocalPath, route: str) -> None:
    outcome = obstacle(tmp_path, values(routes=f"{route};nexthop via 192.0.2.5 dev eth0 weight 1 ;"), "overlap")
    assert f"(10.99.0.0/24) overlaps the route {route}" in outcome.evidence


@pytest.mark.parametrize(
    ("protocol", "port"),
    [("tcp", 2376), ("tcp", 2379), ("tcp", 2380), ("tcp", 7946), ("udp", 7946), ("udp", 4789)],
)
def test_40_a_port_that_somebody_has(tmp_path: LocalPath, protocol: str, port: int) -> None:
    outcome = obstacle(tmp_path, listens(protocol, port, NGINX), "ports")
    assert outcome.evidence == f"port {port}/{protocol} is taken by nginx (process 7)"
    assert f"ss -lntup sport = :{port}" in outcome.advice


def test_40_a_port_that_the_kernel_has(tmp_path: LocalPath) -> None:
    assert "is taken by unknown" in obstacle(tmp_path, listens("udp", 4789, "unknown"), "ports").evidence


@pytest.mark.parametrize(
    ("change", "taken"),
    [
        (listens("tcp", 2379, OTHERS, "etcd.service"), False),
        (listens("tcp", 2376, OTHERS, "docker.service"), False),
        (listens("tcp", 2379, OTHERS, "docker.service"), True),
        (listens("tcp", 2379, OTHERS, "other.service"), True),
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


def test_41_the_wrong_cpu(tmp_path: LocalPath) -> None:
    outcome = obstacle(tmp_path, values(machine="aarch64"), "cpu")
    assert outcome.evidence == "this host is aarch64, but etcd-v3.5.30-linux-amd64.tar.gz is for x86_64"
    assert outcome.advice == "write etcd: {version: 3.5.30} in place of the source: it fits each node's CPU"


def test_208_the_wrong_cpu_of_a_node_that_is_no_member(tmp_path: LocalPath) -> None:
    situation = changed(bare_situation(sample(tmp_path)), "node3", values(machine="aarch64"))
    (outcome,) = failures(situation)
    assert (outcome.check, outcome.where) == ("cpu", "node3")


@pytest.mark.parametrize(
    ("change", "evidence", "advice"),
    [
        (values(dockerd=""), "Docker is not installed", "apt-get install"),
        (values(docker_cli=""), "the docker command line is missing", "install docker-cli"),
    ],
)
def test_44_docker_missing(tmp_path: LocalPath, change: Change, evidence: str, advice: str) -> None:
    outcome = obstacle(tmp_path, change, "docker-version")
    assert outcome.evidence == evidence
    assert advice in outcome.advice


@pytest.mark.parametrize(
    ("version", "evidence"),
    [
        ("17.05.0-ce", "Docker 17.05.0 is outside 20.10 and later, below 23"),
        ("23.0.1", "Docker 23.0.1 is outside 20.10 and later, below 23: Docker 23 and later refuse --cluster-store"),
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
    outcome = obstacle(tmp_path, docker("22.06.0"), "one-docker-version", "node3")
    assert outcome.evidence == "Docker 22.06.0 here, 20.10.24 on node1"


def with_release(situation: Situation, **different: Any) -> Situation:
    """The controller has another release."""
    kept = local(situation)
    return replace(situation, local=replace(kept, release=replace(kept.release, **different)))


@pytest.mark.parametrize(
    ("cpu", "version", "refused"),
    [
        ("aarch64", "3.4.23", True),
        ("s390x", "3.4.23", True),
        ("ppc64le", "3.4.23", False),
        ("x86_64", "3.4.23", False),
        ("aarch64", "3.5.30", False),
    ],
)
def test_209_etcd_3_4_starts_on_two_cpus_only(tmp_path: LocalPath, cpu: str, version: str, refused: bool) -> None:
    situation = bare_situation(sample(tmp_path))
    for node in situation.cluster.nodes:
        situation = changed(situation, node.name, values(machine=cpu))
    outcomes = failures(with_release(situation, cpu=cpu, version=version))
    assert [outcome.check for outcome in outcomes] == ["cpu"] * (3 if refused else 0)
    assert all(f"etcd {version} refuses to start there" in outcome.evidence for outcome in outcomes)


@pytest.mark.parametrize("version", ["3.4.20", "3.5.4", "3.6.0"])
def test_45_an_etcd_outside_the_window_is_refused_on_members(tmp_path: LocalPath, version: str) -> None:
    situation = bare_situation(sample(tmp_path))
    outcomes = failures(with_release(situation, version=version))
    assert [(outcome.check, outcome.where) for outcome in outcomes] == [
        ("etcd-version", "node1"),
        ("etcd-version", "node2"),
    ]
    assert all(f"etcd {version} is outside" in outcome.evidence for outcome in outcomes)
    assert all("3.5.30" in outcome.advice for outcome in outcomes)


def test_46_somebody_elses_data_of_etcd(tmp_path: LocalPath) -> None:
    outcome = obstacle(tmp_path, with_data, "foreign-store")
    assert "did not write" in outcome.evidence
    assert "move the data away" in outcome.advice


def test_47_a_docker_in_swarm_mode(tmp_path: LocalPath) -> None:
    outcome = obstacle(tmp_path, values(swarm="yes"), "swarm")
    assert "in swarm mode here" in outcome.evidence
    assert "docker swarm leave --force" in outcome.advice


@pytest.mark.parametrize(
    ("clock", "evidence"),
    [
        (Clock(1.2, 1.3), "at least 1.1 s ahead of that of node1"),
        (Clock(-9.0, -8.0), "at least 8.0 s behind that of node1"),
        # Node 1 is between 0 and 0.1 ahead: what may be within a second is no obstacle.
        (Clock(1.0, 9.0), ""),
        (Clock(-9.0, -0.9), ""),
        (Clock(-50.0, 50.0), ""),
    ],
)
def test_48_clocks_apart_by_more_than_a_second(tmp_path: LocalPath, clock: Clock, evidence: str) -> None:
    situation = changed(bare_situation(sample(tmp_path)), "node2", lambda facts: replace(facts, clock=clock))
    situation = changed(situation, "node3", lambda facts: replace(facts, clock=Clock(-0.3, 0.3)))
    found = [(outcome.check, outcome.where) for outcome in failures(situation)]
    assert found[:1] == [("clock", "node2")][: bool(evidence)]
    assert evidence in next((outcome.evidence for outcome in failures(situation)), "")


def disk(*folders: str, free: int = 20_000_000_000, options: str = "rw", mount: str = "/data") -> Change:
    space = Space(mount, free, frozenset(options.split(",")))
    return lambda facts: replace(facts, spaces={**facts.spaces, **dict.fromkeys(folders, space)})


def test_49_a_disk_without_room_for_the_log_of_the_store(tmp_path: LocalPath) -> None:
    outcome = obstacle(tmp_path, disk(paths.DATA, free=447_000_000), "disk")
    assert outcome.evidence == "/data has 447 MB free, 448 MB are needed: etcd's log 384 MB, a margin of 64 MB"
    assert "df -h /data" in outcome.advice
    good = changed(bare_situation(sample(tmp_path)), "node2", disk(paths.DATA, free=448_000_000))
    assert failures(good) == []


def test_49_what_shares_a_disk_needs_the_sum_and_what_is_there_is_not_needed_again(tmp_path: LocalPath) -> None:
    archives = {"etcd": 20_000_000, "image": 10_000_000}
    for name, size in archives.items():
        with (tmp_path / name).open("wb") as file:
            file.truncate(size)
    cluster = sample(tmp_path)
    cluster = replace(cluster, probe=replace(cluster.probe, archive=tmp_path / "image"))
    save(tmp_path / "image", size=archives["image"])
    situation = bare_situation(cluster)
    situation = with_release(situation, archive=str(tmp_path / "etcd"))
    everything = disk(*situation.facts["node2"].spaces, free=1)

    (outcome,) = failures(changed(situation, "node2", everything))
    needs = "uploads 30 MB, the image busybox 30 MB, the etcd release 60 MB, etcd's log 384 MB, a margin of 64 MB"
    assert outcome.evidence == f"/data has 0.0 MB free, 568 MB are needed: {needs}"

    def there(facts: Facts) -> Facts:
        file = PathFact("file", 0o755, "root:root")
        more = dict.fromkeys((f"{paths.RELEASES}/3.5.30/etcd", paths.ETCD_BOOTSTRAP), file)
        return with_data(replace(everything(facts), paths={**facts.paths, **more}, images=frozenset({"busybox"})))

    (outcome,) = failures(changed(situation, "node2", there))
    assert "192 MB are needed: etcd's log 128 MB, a margin of 64 MB" in outcome.evidence
    (outcome,) = failures(changed(situation, "node3", everything))
    assert "184 MB are needed: uploads 30 MB, the image busybox 30 MB, the etcd release 60 MB" in outcome.evidence


@pytest.mark.parametrize("folder", ["/etc", "/usr/local/lib/etcd", "/var/lib/overlay-provision", "/var/lib/docker"])
def test_50_a_file_system_that_is_read_only(tmp_path: LocalPath, folder: str) -> None:
    outcome = obstacle(tmp_path, disk(folder, options="ro,relatime"), "writable")
    assert outcome.evidence == f"/data is mounted read-only; we write to {folder}"
    assert "mount -o remount,rw /data" in outcome.advice


def test_50_one_read_only_file_system_is_told_once_with_all_that_lies_on_it(tmp_path: LocalPath) -> None:
    outcome = obstacle(tmp_path, disk("/etc", paths.DATA, options="ro", mount="/"), "writable")
    assert outcome.evidence == "/ is mounted read-only; we write to /etc, /var/lib/etcd"


def test_50_programs_must_run_where_etcd_is_put_and_nowhere_else(tmp_path: LocalPath) -> None:
    outcome = obstacle(tmp_path, disk(paths.RELEASES, options="rw,noexec"), "programs-run")
    assert outcome.evidence == "/data is mounted noexec; etcd runs from /usr/local/lib/etcd"
    elsewhere = disk("/etc", layout.STATE, paths.DATA, "/var/lib/docker", options="rw,noexec")
    assert failures(changed(bare_situation(sample(tmp_path)), "node2", elsewhere)) == []
    # A node that is no member of the store asks it with the release's etcdctl.
    obstacle(tmp_path, disk(paths.RELEASES, options="rw,noexec"), "programs-run", "node3")
    no_member = disk(paths.DATA, options="ro,noexec")
    assert failures(changed(bare_situation(sample(tmp_path)), "node3", no_member)) == []


def test_51_no_vxlan(tmp_path: LocalPath) -> None:
    outcome = obstacle(tmp_path, values(vxlan=""), "vxlan")
    assert outcome.evidence == "kernel 6.1.0-18-amd64 has no vxlan"
    assert "full kernel image" in outcome.advice


@pytest.mark.parametrize(("init", "named"), [("init", "init"), ("", "unknown")])
def test_52_no_systemd(tmp_path: LocalPath, init: str, named: str) -> None:
    outcome = obstacle(tmp_path, values(init=init), "systemd")
    assert outcome.evidence == f"process 1 is {named}, not systemd"
    assert "boots with systemd" in outcome.advice


@pytest.mark.parametrize(
    "key", ["hosts", "tls", "tlsverify", "tlscert", "cluster-store", "cluster-advertise", "cluster-store-opts"]
)
def test_54_a_key_of_daemon_json_that_is_a_flag_of_ours(tmp_path: LocalPath, key: str) -> None:
    outcome = obstacle(tmp_path, values(daemon_json=f'{{"debug": true, "{key}": "x"}}'), "daemon-json")
    assert f"daemon.json sets {key}, which we set ourselves" in outcome.evidence
    assert "remove it there" in outcome.advice


@pytest.mark.parametrize("text", ["null", "7", "[{}]", '["hosts"]', '{"debug": tr'])
def test_54_a_daemon_json_that_is_no_object(tmp_path: LocalPath, text: str) -> None:
    outcome = obstacle(tmp_path, values(daemon_json=text), "daemon-json")
    assert "is not JSON" in outcome.evidence
    assert "correct it" in outcome.advice


def with_authority(text: str) -> Change:
    found = PathFact("file", 0o444, "root:root", text=text)
    return lambda facts: replace(facts, paths={**facts.paths, CA: found})


def test_91_what_is_no_authority_of_ours_is_not_taken_over(tmp_path: LocalPath) -> None:
    junk = "-----BEGIN CERTIFICATE-----\njunk\n-----END CERTIFICATE-----\n"
    outcome = obstacle(tmp_path, with_authority(junk), "same-authority")
    assert "controller lacks" in outcome.evidence
    assert ".overlay/demo from" in outcome.advice


def test_91_the_authority_of_another_controller_is_not_taken_over(tmp_path: LocalPath) -> None:
    situation = planned_sample(tmp_path)
    other = sample(tmp_path / "other")
    other.path.parent.mkdir()
    theirs = pki.make(other).authority_path(Authority.DOCKER).read_text()
    ours = local(situation).identity.authority_path(Authority.DOCKER).read_text()
    assert failures(changed(situation, "node1", with_authority(ours))) == []
    (outcome,) = failures(changed(situation, "node1", with_authority(theirs)))
    assert (outcome.check, outcome.where) == ("same-authority", "node1")
    assert str(situation.cluster.folder) in outcome.advice


@pytest.mark.parametrize(
    ("lost", "cluster", "of_ours", "refused"),
    [
        ("192.0.2.1", "demo", ["node2", "node3"], []),
        ("192.0.2.2", "demo", ["node2", "node3"], ["node1"]),
        ("192.0.2.1", "other", ["node2", "node3"], ["node1"]),
        ("192.0.2.1", "demo", [], ["node1", "node2", "node3"]),
    ],
    ids=["given up", "another was given up", "of another cluster", "none is ours"],
)
def test_345_a_host_that_was_given_up_may_have_an_authority_of_ours_that_was_replaced(
    tmp_path: LocalPath, lost: str, cluster: str, of_ours: list[str], refused: list[str]
) -> None:
    situation = replace(planned_sample(tmp_path), recoveries=(f"id 2026-05-04T10:20:30Z lost: a-host {lost}",))
    former = replace(sample(tmp_path / "former"), name=cluster)
    former.path.parent.mkdir()
    theirs = pki.make(former).authority_path(Authority.DOCKER).read_text()
    ours = local(situation).identity.authority_path(Authority.DOCKER).read_text()
    for name in ("node1", "node2", "node3"):
        situation = changed(situation, name, with_authority(ours if name in of_ours else theirs))
    assert [one.where for one in failures(situation) if one.check == "same-authority"] == refused
    assert bool(validity.without_authorities(situation)) == bool(refused)


def test_92_an_sshd_that_refuses_to_forward(tmp_path: LocalPath) -> None:
    said = Problem("sshd on 192.0.2.2 refuses to forward to 192.0.2.2:2376", "node2", "AllowTcpForwarding yes")
    outcome = obstacle(tmp_path, lambda facts: replace(facts, not_forwarded=(said,)), "forwarding")
    assert (outcome.evidence, outcome.advice) == (said.what, said.advice)


def test_without_a_swarm_no_network_is_encrypted(tmp_path: LocalPath) -> None:
    situation = bare_situation(sample(tmp_path))
    networks = tuple(replace(one, encrypted=True) for one in situation.cluster.networks)
    (outcome,) = failures(replace(situation, cluster=replace(situation.cluster, networks=networks)))
    assert (outcome.check, outcome.where) == ("swarm-mode-only", "node1")
    assert outcome.evidence.startswith("overlay.networks.demo.encrypted: ")
    assert "in swarm mode" in outcome.advice


def test_without_a_swarm_there_is_no_ingress_to_remove(tmp_path: LocalPath) -> None:
    situation = bare_situation(sample(tmp_path))
    (outcome,) = failures(replace(situation, cluster=replace(situation.cluster, ingress=False)))
    assert (outcome.check, outcome.where) == ("swarm-mode-only", "node1")
    assert outcome.evidence == "overlay.ingress: only a swarm has a network ingress"


def test_without_a_swarm_vxlan_keeps_its_port(tmp_path: LocalPath) -> None:
    situation = bare_situation(sample(tmp_path))
    (outcome,) = failures(replace(situation, cluster=replace(situation.cluster, vxlan_port=4799)))
    assert (outcome.check, outcome.where) == ("swarm-mode-only", "node1")
    assert outcome.evidence.startswith("overlay.vxlan_port: Docker takes another port than 4789 only when")
