"""The host firewall and dockerd's hardening on real hosts: two nodes, and a third host that joins later."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import closed
import pytest
from closed import OPEN, SILENT, TABLE, UDP, dropped, send
from conftest import Fab, MakeLab
from invariants import await_so
from observe import document, run, start

from provision import lab as labs
from provision.lab import Lab

pytestmark = pytest.mark.lab

TCP = (2376, 2379, 2380, 7946)
PAIR = ("node1", "node2")
JOINED = "[ -e /run/overlay-provision/docker.joined ]"
#: The user's own settings, which must stay.
USERS = """{"no-new-privileges": false, "log-opts": {"max-size": "1m"}}"""
SOFT = "no_new_privileges: false, rotate_logs: false"
CONTAINER = "docker run -d --restart always --stop-signal KILL --name"

#: The lines of each chain, by its table and its name.
Ruleset = dict[tuple[str, str], list[str]]


def inventory(lab: Lab, name: str, *, nodes: int, more: str) -> Path:
    """Return the lab's inventory with this number of its hosts, and further keys."""
    text = "".join(
        line
        for line in lab.inventory.read_text().splitlines(keepends=True)
        if not (found := re.match(r"  node(\d+): ", line)) or int(found[1]) <= nodes
    )
    path = lab.folder / f"{name}.yml"
    path.write_text(f"{text}{more}\n")
    return path


@pytest.fixture(scope="module")
def trio(make_lab: MakeLab) -> Lab:
    """Three hosts. The inventories here name two of them until the third joins."""
    return make_lab(3)


@pytest.fixture(scope="module")
def before(trio: Lab) -> dict[str, Ruleset]:
    return {node.name: ruleset(trio, node.name) for node in trio.nodes}


@pytest.fixture(scope="module")
def guarded(trio: Lab, before: dict[str, Ruleset], fab: Fab) -> Path:
    """The inventory of two nodes that were provisioned before the firewall and the hardening were asked for."""
    assert before
    run(trio, "node2", f"echo '{USERS}' >/etc/docker/daemon.json")
    soft = inventory(trio, "soft", nodes=2, more=f"docker: {{hardening: {{{SOFT}}}}}")
    document(fab(trio, "provision", "--json", inventory=soft))
    for name in PAIR:
        run(trio, name, f"{CONTAINER} earlier busybox sleep 1000000")
    path = inventory(trio, "guarded", nodes=2, more="firewall: true")
    planned = document(fab(trio, "plan", "--json", inventory=path))
    told = [(one["action"], one["resource"]) for one in planned["changes"] if one["where"] == "node1"]
    assert told == [
        ("create", "folder /etc/overlay-provision"),
        ("create", "file /etc/overlay-provision/firewall.nft"),
        ("create", "file /etc/systemd/system/overlay-firewall.service"),
        ("start", "table overlay_provision"),
        ("update", "file /etc/docker/overlay/hardening"),
        ("restart", "unit docker.service"),
    ]
    assert document(fab(trio, "provision", "--json", inventory=path))["changes"] == planned["changes"]
    return path


def ruleset(lab: Lab, node: str) -> Ruleset:
    """Return all rules of nftables, by chain, without counters, because dockerd creates its chains in any order."""
    found: Ruleset = {}
    for line in run(lab, node, "nft -s list ruleset").splitlines():
        match line.split():
            case ["table", family, name, "{"]:
                inside = f"{family} {name}"
            case ["chain" | "set", name, "{"]:
                rules = found.setdefault((inside, name), [])
            case words if words and words != ["}"]:
                rules.append(line.strip())
    return found


def table(lab: Lab, node: str) -> str:
    return run(lab, node, f"nft -s list table {TABLE}")


def knocked(lab: Lab, source: str, target: str) -> dict[int, str]:
    return closed.knocked(lab, source, target, TCP)


def every(code: str) -> dict[int, str]:
    return dict.fromkeys(TCP, code)


def all_well(lab: Lab, fab: Fab, path: Path, only: str = "overlay/containers-reach-each-other") -> dict[str, Any]:
    """Assert that nothing is pending and packets cross."""
    return document(fab(lab, "verify", "--only", only, "--json", inventory=path))


def test_from_a_host_that_is_no_node_every_port_is_closed(trio: Lab, guarded: Path) -> None:
    assert guarded
    assert knocked(trio, "node1", "node2") == knocked(trio, "node2", "node1") == every(OPEN)
    for name in PAIR:
        assert knocked(trio, "node3", name) == every(SILENT)
    other = {"node1": "node2", "node2": "node1"}
    for name in PAIR:
        seen = dropped(trio, name)["udp"]
        send(trio, other[name], name)
        assert dropped(trio, name)["udp"] == seen, "a node's datagrams come through"
        send(trio, "node3", name)
        await_so(trio, name, f"nft list chain {TABLE} guard | grep -q 'udp .* packets {seen + 3 * len(UDP)} '")


def test_a_container_does_not_pass_for_its_node(trio: Lab, guarded: Path) -> None:
    assert guarded
    address = trio.nodes[1].address
    assert "SSH" in run(trio, "node1", f"docker exec earlier nc -w 2 {address} 22 </dev/null")
    knock = f"docker exec earlier nc -w 2 {address} {{0}} </dev/null >/dev/null 2>&1; echo {{0}} $?"
    told = run(trio, "node1", "\n".join(knock.format(port) for port in TCP))
    assert dict(map(str.split, told.splitlines())) == {str(port): "1" for port in TCP}


def test_containers_cross_hosts_all_the_same_and_status_says_what_is_clear_text(
    trio: Lab, guarded: Path, fab: Fab
) -> None:
    crossed = [one for one in all_well(trio, fab, guarded, only="overlay")["outcomes"] if "by name" in one["evidence"]]
    assert {one["where"] for one in crossed} >= {"node1 → node2", "node2 → node1"}
    rows = document(fab(trio, "status", "--json", inventory=guarded))["ports"]
    assert {row["open to"] for row in rows} == {"the nodes only"}
    assert {row["port"] for row in rows if "clear text" in row["protected by"]} == {"7946/tcp, udp", "4789/udp"}


def test_dockerd_is_hardened_for_new_containers_where_the_user_does_not_say_otherwise(trio: Lab, guarded: Path) -> None:
    assert guarded
    look = "docker inspect -f '{{json .HostConfig.LogConfig.Config}}' %s; docker exec %s grep NoNewPrivs /proc/1/status"
    for name in PAIR:
        run(trio, name, f"{CONTAINER} later busybox sleep 1000000")
    seen = {(n, c): run(trio, n, look % (c, c)).split() for n in PAIR for c in ("earlier", "later")}
    assert seen["node1", "earlier"] == ["{}", "NoNewPrivs:", "0"]
    assert seen["node1", "later"] == ['{"max-file":"3","max-size":"10m"}', "NoNewPrivs:", "1"]
    assert seen["node2", "earlier"] == seen["node2", "later"] == ['{"max-size":"1m"}', "NoNewPrivs:", "0"]
    out = "--security-opt no-new-privileges=false"
    run(trio, "node1", f"docker rm -f later; docker run --rm {out} busybox grep 'NoNewPrivs:.0' /proc/1/status")
    # Docker's default, which is not changed: containers on its default bridge reach each other.
    assert "enable_icc:true" in run(trio, "node1", "docker network inspect -f '{{.Options}}' bridge")


def test_systemd_finds_little_exposed_in_etcd(trio: Lab, guarded: Path) -> None:
    assert guarded
    for name in PAIR:
        told = run(trio, name, "systemd-analyze security --no-pager etcd.service | tail -n 1")
        print(name, told)
        found = re.search(r"exposure level for etcd.service: ([0-9.]+)", told)
        assert found
        assert float(found[1]) <= 2.0


def test_it_is_there_after_a_power_cut(trio: Lab, guarded: Path, fab: Fab) -> None:
    loaded = table(trio, "node2")
    labs.power_cut(trio.name, "node2")
    labs.power_on(trio.name, "node2")
    assert table(trio, "node2") == loaded
    await_so(trio, "node2", JOINED)
    await_so(trio, "node2", "docker ps --format '{{.Names}}' | grep -qx overlay-keeper-demo-node2")
    assert knocked(trio, "node3", "node2") == every(SILENT)
    all_well(trio, fab, guarded)


def test_one_that_was_changed_or_flushed_is_put_back(trio: Lab, guarded: Path, fab: Fab) -> None:
    loaded = table(trio, "node1")
    run(trio, "node1", f"nft flush chain {TABLE} guard")
    run(trio, "node2", f"nft delete table {TABLE}")
    assert knocked(trio, "node3", "node1") == every(OPEN)
    verified = document(fab(trio, "verify", "--only", "etcd/one-leader", "--json", inventory=guarded), 5)
    assert [one["check"] for one in verified["outcomes"] if one["status"] == "failed"] == ["plan/nothing-pending"]
    made = document(fab(trio, "provision", "--json", inventory=guarded))["changes"]
    assert [(one["where"], one["action"], one["resource"]) for one in made] == [
        (name, "load", "table overlay_provision") for name in PAIR
    ]
    assert table(trio, "node1") == table(trio, "node2") == loaded
    assert knocked(trio, "node3", "node1") == every(SILENT)


def test_one_that_nftables_own_service_flushes_is_loaded_after_it(trio: Lab, guarded: Path) -> None:
    assert guarded
    loaded = table(trio, "node1")
    # The package's own configuration would flush Docker's tables too, which the test could not restore.
    flush = f"table {TABLE}\\ndelete table {TABLE}\\n"
    stop = f"[Service]\\nExecStop=\\nExecStop=nft delete table {TABLE}\\n"
    drop_in = "/run/systemd/system/nftables.service.d"
    run(
        trio,
        "node1",
        f"cp -a /etc/nftables.conf /run/kept; printf '{flush}' >/etc/nftables.conf; mkdir -p {drop_in}; "
        f"printf '{stop}' >{drop_in}/test.conf; systemctl daemon-reload; systemctl start nftables",
    )
    for verb in ("reload", "restart"):
        run(trio, "node1", f"systemctl {verb} nftables")
        await_so(trio, "node1", f"nft list table {TABLE}")
        assert table(trio, "node1") == loaded
    run(
        trio,
        "node1",
        f"systemctl stop nftables; rm -r {drop_in}; cp -a /run/kept /etc/nftables.conf; systemctl daemon-reload; "
        "systemctl start overlay-firewall",
    )


def test_one_that_shuts_out_a_node_is_down_again(trio: Lab, guarded: Path, fab: Fab) -> None:
    """A node's packets come from another address than the one in the inventory."""
    other = "198.51.100.88"
    send_from = f"ip address add {other}/24 dev eth0; ip route replace {trio.nodes[0].address}/32 dev eth0 src {other}"
    run(trio, "node1", f"nft delete table {TABLE}")
    run(trio, "node2", send_from)
    try:
        (told,) = document(fab(trio, "provision", "--json", inventory=guarded), 3)["problems"]
        assert told["where"] == "node2 [source]"
        assert told["what"].startswith(f"packets to node1 come from {other}")
        told = document(fab(trio, "provision", "--ignore", "source", "--json", inventory=guarded), 4)["problems"]
        assert {one["what"] for one in told} == {
            f"the firewall blocks node2 → node1 {port}/tcp, and was removed again" for port in TCP
        }
        assert knocked(trio, "node2", "node1") == every(OPEN)
    finally:
        run(trio, "node2", f"ip route del {trio.nodes[0].address}/32; ip address del {other}/24 dev eth0")
    document(fab(trio, "provision", "--json", inventory=guarded))
    assert knocked(trio, "node3", "node1") == every(SILENT)


def test_what_is_not_asked_for_any_more_goes(trio: Lab, guarded: Path, fab: Fab) -> None:
    none = inventory(trio, "none", nodes=2, more="firewall: false")
    made = document(fab(trio, "provision", "--json", inventory=none))["changes"]
    assert [(one["where"], one["action"], one["resource"]) for one in made] == [
        (name, "remove", "table overlay_provision") for name in PAIR
    ]
    assert knocked(trio, "node3", "node1") == every(OPEN)
    run(trio, "node1", f"docker exec earlier nc -w 2 {trio.nodes[1].address} 2376 </dev/null")
    left = run(trio, "node1", "nft list tables; ls /etc; ls /etc/systemd/system/multi-user.target.wants")
    assert not re.search(r"overlay[-_](provision|firewall)", left)
    document(fab(trio, "provision", "--json", inventory=guarded))
    assert knocked(trio, "node3", "node1") == every(SILENT)


def test_a_node_more_is_let_in_and_nothing_restarts(trio: Lab, guarded: Path, fab: Fab) -> None:
    assert guarded
    grown = inventory(trio, "grown", nodes=3, more="firewall: true")
    began = {(name, unit): start(trio, name, unit) for name in PAIR for unit in ("etcd", "docker")}
    made = document(fab(trio, "provision", "--json", inventory=grown))["changes"]
    assert {
        (one["action"], one["resource"]) for one in made if one["where"] in PAIR and one["phase"] == "firewall"
    } == {
        ("update", "file /etc/overlay-provision/firewall.nft"),
        ("load", "table overlay_provision"),
    }
    assert {(name, unit): start(trio, name, unit) for name, unit in began} == began
    for name in PAIR:
        assert knocked(trio, "node3", name) == knocked(trio, name, "node3") == every(OPEN)
        assert knocked(trio, "jump", name) == every(SILENT)
    all_well(trio, fab, grown)


def test_reset_gives_back_the_ruleset(trio: Lab, guarded: Path, before: dict[str, Ruleset], fab: Fab) -> None:
    assert guarded
    document(fab(trio, "reset", "--yes", "--json", inventory=trio.folder / "grown.yml"))
    for node in trio.nodes:
        run(
            trio,
            node.name,
            "docker ps -aq | xargs -r docker rm -f; rm -f /etc/docker/daemon.json; systemctl restart docker",
        )
    assert {node.name: ruleset(trio, node.name) for node in trio.nodes} == before
