"""The second control plane, swarm mode, on hosts: provision, proof, a power cut, every port, reset."""

from __future__ import annotations

import io
import re
import tarfile
from pathlib import Path

import pytest
from conftest import Fab, MakeLab
from dropped import assert_kept_while_used
from invariants import await_packets, await_so, holds
from observe import document, everything, lost_pings, manifest, run, start, with_password
from recorded import assert_recorded, remove_containers

from provision import lab as labs
from provision.lab import Lab

NODES = ("node1", "node2")


@pytest.fixture(scope="module")
def lab(make_lab: MakeLab) -> Lab:
    """Hosts with the Docker of Debian 13, for which `auto` means swarm mode."""
    lab = make_lab(release="trixie")
    lab.inventory.write_text(f"firewall: true\n{lab.inventory.read_text()}")
    return lab


@pytest.fixture(scope="module")
def before(lab: Lab) -> dict[str, list[str]]:
    return {node: manifest(lab, node) for node in NODES}


@pytest.fixture(scope="module")
def cluster(lab: Lab, fab: Fab, before: dict[str, list[str]]) -> Lab:
    assert before
    planned = document(fab(lab, "plan", "--json"))
    made = document(fab(lab, "provision", "--json"))
    assert made["changes"] == planned["changes"]
    assert [change["resource"] for change in made["changes"] if change["where"] == "cluster"] == [
        *("swarm", "node2 in the swarm", "network demo")
    ]
    for node in NODES:
        container = "docker run -d --restart always --stop-signal KILL"
        run(lab, node, f"{container} --name user-{node} --network demo busybox sleep 1000000")
        run(lab, node, f"{container} --name plain-{node} busybox sleep 1000000")
    await_packets(lab)
    return lab


def log_options(lab: Lab, node: str) -> str:
    """The options of a new container's log."""
    made = "one=$(docker create busybox) && docker inspect -f '{{.HostConfig.LogConfig.Config}}' $one"
    return run(lab, node, f"{made} && docker rm $one >/dev/null").strip()


def test_a_second_run_changes_nothing_and_every_check_passes(cluster: Lab, fab: Fab) -> None:
    before = everything(cluster)
    assert document(fab(cluster, "provision", "--json"))["changes"] == []
    assert everything(cluster) == before
    assert document(fab(cluster, "plan", "--exit-code", "--json"))["changes"] == []
    checked = {outcome["check"] for outcome in document(fab(cluster, "verify", "--json"))["outcomes"]}
    assert {"swarm/gossip-knows-every-node", "overlay/containers-reach-each-other", "app/page-counts-up"} <= checked


def test_status_shows_the_managers(cluster: Lab, fab: Fab) -> None:
    report = document(fab(cluster, "status", "--json"))
    assert report["summary"].startswith("2 of 2 managers healthy")
    assert sorted(row["role"] for row in report["members"]) == ["leader", "manager"]
    assert [row["daemon"] for row in report["nodes"]] == ["in the swarm"] * 2


def test_230_234_what_containers_should_have_is_recorded(cluster: Lab) -> None:
    assert assert_recorded(cluster, "node1")
    remove_containers(cluster, "node1")


def test_193_flushed_rules_are_planned_as_a_restart(cluster: Lab, fab: Fab) -> None:
    run(cluster, "node2", "iptables-save >/run/rules; iptables -F; iptables -t nat -F")
    try:
        changes = document(fab(cluster, "plan", "--json"))["changes"]
    finally:
        run(cluster, "node2", "iptables-restore </run/rules; rm /run/rules")
    assert [(one["where"], one["action"], one["resource"]) for one in changes] == [
        ("node2", "restart", "unit docker.service")
    ]


def test_a_user_with_a_sudo_password_comes_to_dockers_socket_and_leaves_no_door(cluster: Lab) -> None:
    inventory = cluster.folder / "ops.yml"
    inventory.write_text(cluster.inventory.read_text().replace("user: root", "user: ops"))
    code, said = with_password(cluster, inventory, "verify", "--only", "swarm")
    assert (code, "checks passed" in said) == (0, True), said
    for node in NODES:
        run(cluster, node, "! ls /run/overlay-door-* 2>/dev/null")


def test_dockerd_has_our_defaults_and_what_its_user_says_wins(cluster: Lab) -> None:
    for node in NODES:
        assert "no-new-privileges" in run(cluster, node, "docker info -f '{{.SecurityOptions}}'")
        assert log_options(cluster, node) == "map[max-file:3 max-size:10m]"
    theirs = """echo '{"debug": true, "log-opts": {"max-size": "1m"}}' >/etc/docker/daemon.json"""
    run(cluster, "node2", f"{theirs}; systemctl reload docker")
    await_so(cluster, "node2", "docker info -f '{{.Debug}}' | grep -qx true")
    run(cluster, "node2", "systemctl restart docker")
    assert log_options(cluster, "node2") == "map[max-size:1m]"
    assert "no-new-privileges" in run(cluster, "node2", "docker info -f '{{.SecurityOptions}}'")
    await_packets(cluster)
    run(cluster, "node2", "rm /etc/docker/daemon.json")


def test_another_default_restarts_one_dockerd_after_the_other(cluster: Lab, fab: Fab) -> None:
    run(cluster, "node1", "docker run -d --name mortal busybox sleep 1000000")
    leads = "docker node ls -f role=manager | grep Leader | grep -q node1"
    first, last = reversed(NODES) if holds(cluster, "node1", leads) else NODES
    with cluster.inventory.open("a") as inventory:  # for the tests that follow too
        inventory.write("docker: {hardening: {without_userland_proxy: true}}\n")
    planned = document(fab(cluster, "plan", "--json"))["changes"]
    restarts = [(change["where"], change["stops"]) for change in planned if change["action"] == "restart"]
    assert restarts == [("node1", ["mortal"]), ("node2", [])]
    refused = document(fab(cluster, "provision", "--json"), 3)["problems"]
    assert "node1: mortal" in refused[0]["what"]
    assert document(fab(cluster, "provision", "--yes", "--json"))["changes"] == planned
    # systemd's clock is that of this machine on every host.
    served = run(cluster, first, "systemctl show -p ActiveEnterTimestampMonotonic --value docker")
    assert int(served) < int(start(cluster, last, "docker"))
    for node in NODES:
        run(cluster, node, "grep -q '\"userland-proxy\": false' /run/overlay-provision/daemon.json")
    run(cluster, "node1", "docker rm -f mortal")
    await_packets(cluster)
    assert document(fab(cluster, "provision", "--json"))["changes"] == []


#: A kernel with IPsec takes such a state.
IPSEC = """unshare -n ip xfrm state add src 10.1.1.1 dst 10.1.1.2 proto esp spi 0x99 mode transport \\
    aead "rfc4106(gcm(aes))" 0x0000000000000000000000000000000000000000 64"""


def test_124_an_encrypted_network_needs_a_kernel_that_encrypts(cluster: Lab, fab: Fab) -> None:
    text = cluster.inventory.read_text()
    cluster.inventory.write_text(text.replace("10.99.0.0/24}", "10.99.0.0/24, encrypted: true}"))
    before = everything(cluster)
    try:
        refused = document(fab(cluster, "provision", "--yes", "--json"), 3)["problems"]
    finally:
        cluster.inventory.write_text(text)
    assert everything(cluster) == before
    without = [node for node in NODES if not holds(cluster, node, IPSEC)]
    assert [problem["where"] for problem in refused if "ESP" in problem["what"]] == [
        f"{node} [kernel-encrypts]" for node in without
    ]


@pytest.mark.parametrize("off", [("node2",), NODES], ids=["one", "both"])
def test_119_after_a_power_cut_the_users_containers_find_each_other_unaided(
    cluster: Lab, fab: Fab, off: tuple[str, ...]
) -> None:
    for node in off:
        labs.power_cut(cluster.name, node)
    for node in off:
        labs.power_on(cluster.name, node)
    await_packets(cluster)
    assert document(fab(cluster, "provision", "--json"))["changes"] == []


def test_the_authority_is_replaced_and_no_container_notices(cluster: Lab, fab: Fab) -> None:
    def authority() -> str:
        return run(cluster, "node2", "cat /var/lib/docker/swarm/certificates/swarm-root-ca.crt")

    shown = document(fab(cluster, "certs", "--json"))["certificates"]
    kinds = ("authority swarm", "leaf swarm/node1", "authority swarm", "leaf swarm/node2")
    assert tuple(row["certificate"] for row in shown) == kinds
    before = authority()
    ping = "docker exec user-node1 ping -i 0.2 user-node2 >/run/pings 2>&1"
    run(cluster, "node1", f"systemd-run -q --unit test-pinger sh -c '{ping}'")
    planned = document(fab(cluster, "certs", "--rotate", "--plan", "--json"))["changes"]
    assert document(fab(cluster, "certs", "--rotate", "--json"))["changes"] == planned
    run(cluster, "node1", "pkill -INT -x ping; until grep -q received /run/pings; do sleep 0.1; done")
    assert lost_pings(run(cluster, "node1", "cat /run/pings")) == 0
    assert authority() != before
    assert document(fab(cluster, "provision", "--json"))["changes"] == []


def test_87_no_token_of_the_swarm_is_in_a_report_or_a_file_of_ours(cluster: Lab, fab: Fab, tmp_path: Path) -> None:
    token = run(cluster, "node1", "docker swarm join-token -q worker").strip().rpartition("-")[0]
    assert token.startswith("SWMTKN-")
    bundle = tmp_path / "bundle.tar.gz"
    verbs = (["plan"], ["status"], ["provision"], ["verify", "--only", "swarm", "--bundle", str(bundle)])
    said = "".join(fab(cluster, *verb, "--json").stdout for verb in verbs)
    with tarfile.open(bundle) as archive:
        for member in archive:
            said += (archive.extractfile(member) or io.BytesIO()).read().decode(errors="replace")
    assert "swarm" in said
    assert token not in said
    for node in NODES:
        run(cluster, node, f"! grep -rqs {token} /etc /var/lib/overlay-provision /run/overlay-provision")


def test_182_183_a_network_that_is_dropped_is_kept_while_a_container_is_on_it(cluster: Lab, fab: Fab) -> None:
    assert_kept_while_used(cluster, fab)


def test_its_reset_puts_the_hosts_back(cluster: Lab, fab: Fab, before: dict[str, list[str]]) -> None:
    refused = document(fab(cluster, "reset", "--yes", "--json"), 3)["problems"]
    assert {problem["what"] for problem in refused} == {f"container user-{node} is on network demo" for node in NODES}
    for node in NODES:
        run(cluster, node, f"docker rm -f user-{node} plain-{node}")
    document(fab(cluster, "reset", "--yes", "--json"))
    assert {node: manifest(cluster, node) for node in NODES} == before


def test_another_port_for_vxlan_no_ingress_and_certificates_for_a_month(bare_lab: Lab, fab: Fab) -> None:
    text = re.sub(r"(?m)^docker:.*\n", "", bare_lab.inventory.read_text())  # of the tests before
    wished = text.replace("overlay:\n", "overlay:\n  vxlan_port: 4799\n  ingress: false\n")
    bare_lab.inventory.write_text(f"docker: {{certificate_days: 30}}\n{wished}")
    try:
        planned = document(fab(bare_lab, "plan", "--json"))["changes"]
        assert document(fab(bare_lab, "provision", "--json"))["changes"] == planned
        for node in NODES:
            run(bare_lab, node, "! docker network inspect ingress 2>/dev/null")
            assert run(bare_lab, node, "ss -H -lnu '( sport = :4799 or sport = :4789 )'").split()[3] == "0.0.0.0:4799"
            run(bare_lab, node, "nft list table inet overlay_provision | grep -q '4799, 7946'")
            leaf = "openssl x509 -noout -in /var/lib/docker/swarm/certificates/swarm-node.crt -checkend"
            run(bare_lab, node, f"{leaf} $((29 * 86400)) && ! {leaf} $((31 * 86400))")
        assert document(fab(bare_lab, "provision", "--json"))["changes"] == []
    finally:
        bare_lab.inventory.write_text(text)
    (refused,) = document(fab(bare_lab, "plan", "--json"), 3)["problems"]
    assert "the swarm was made with 4799" in refused["what"]
