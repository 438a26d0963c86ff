"""The port matrix on bare hosts: a blocked port is reported, and no other."""

from __future__ import annotations

import re
from pathlib import Path
from xml.etree import ElementTree

import pytest
from conftest import Fab
from observe import document, manifest, run

from provision.lab import Lab

pytestmark = pytest.mark.lab


@pytest.mark.parametrize("way", ["4789/udp", "7946/udp", "7946/tcp", "2379/tcp", "2380/tcp", "2376/tcp"])
def test_53_a_port_blocked_in_one_direction_is_named_and_no_other(lab: Lab, fab: Fab, tmp_path: Path, way: str) -> None:
    port, protocol = way.split("/")
    rule = f"INPUT -i eth0 -p {protocol} --dport {port} -j DROP"  # eth0 only: SSH forwarding comes from the node itself
    run(lab, "node2", f"iptables -I {rule}")
    try:
        files = ("--html", f"{tmp_path}/report.html", "--junit", f"{tmp_path}/report.xml")
        report = document(fab(lab, "preflight", "--json", *files), 3)
    finally:
        run(lab, "node2", f"iptables -D {rule}")
    (bad,) = [outcome for outcome in report["outcomes"] if outcome["status"] == "failed"]
    assert (bad["check"], bad["where"]) == ("ways-open", "node2")
    assert bad["evidence"].startswith(f"node1 → node2 {way} is blocked")
    (lost,) = [one for one in report["ways"] if not one["came"]]
    assert (lost["source"], lost["target"], lost["what"]) == ("node1", "node2", way)
    cells = re.findall(r'<td class="(good|bad)" title=[^>]*>(.*?)</td>', (tmp_path / "report.html").read_text())
    assert cells == [("bad", f"✘ {way}"), ("good", "✔ 6")]
    (suite,) = ElementTree.parse(tmp_path / "report.xml").getroot()
    assert [case.get("name") for case in suite if case.find("failure") is not None] == ["preflight", "node2"]


def test_provision_refuses_a_blocked_way_and_writes_nothing(lab: Lab, fab: Fab) -> None:
    before = {node.name: manifest(lab, node.name) for node in lab.nodes}
    run(lab, "node1", "iptables -I INPUT -p udp --dport 4789 -j DROP")
    try:
        report = document(fab(lab, "provision", "--json"), 3)
    finally:
        run(lab, "node1", "iptables -D INPUT -p udp --dport 4789 -j DROP")
    assert "node2 → node1 4789/udp is blocked" in report["problems"][0]["what"]
    assert {node.name: manifest(lab, node.name) for node in lab.nodes} == before


def test_nothing_listens_and_nothing_is_left_after_the_ports_were_tried(lab: Lab, fab: Fab) -> None:
    document(fab(lab, "preflight", "--json"))
    for node in lab.nodes:
        assert run(lab, node.name, "ss -H -lntu '( sport = :2379 or sport = :4789 or sport = :7946 )'") == ""
        assert run(lab, node.name, "find /run -name 'overlay-provision.ports*'") == ""


def test_a_way_that_swallows_large_packets_is_named_with_what_it_carries(lab: Lab, fab: Fab) -> None:
    rule = f"INPUT -i eth0 -s {lab.nodes[0].address} -m length --length 1421:65535 -j DROP"
    run(lab, "node2", f"iptables -I {rule}")
    try:
        report = document(fab(lab, "preflight", "--json"), 3)
        run(lab, "node2", "ip link set eth0 mtu 1420")  # from now on TCP sends no larger packets
        document(fab(lab, "preflight", "--json"))
    finally:
        run(lab, "node2", f"ip link set eth0 mtu 1500; iptables -D {rule}")
    (bad,) = [outcome for outcome in report["outcomes"] if outcome["status"] == "failed"]
    assert (bad["check"], bad["where"]) == ("large-packets", "node2")
    assert bad["evidence"].startswith("packets of 1450 bytes from node1 are lost on the way without an ICMP error")
    assert "mtu 1420" in bad["advice"]
