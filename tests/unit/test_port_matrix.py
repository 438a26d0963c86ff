"""The port matrix as values: what is asked, and what is read from what the nodes heard."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from pki_sample import sample

from provision.core.reach import Cell, Matrix
from provision.facts import Facts, Listener, Unit
from provision.network.port_matrix import cells, held, read, silent
from provision.planes.etcd.ports import PORTS

RUN = "0123abcd"


def facts(*listeners: Listener) -> Facts:
    return replace(Facts(), listeners=listeners)


def test_every_port_is_asked_in_both_directions_on_bare_hosts(tmp_path: Path) -> None:
    cluster = sample(tmp_path)
    asked = cells(cluster, PORTS, {node.name: facts() for node in cluster.nodes})
    pairs = len(cluster.nodes) * (len(cluster.nodes) - 1)
    members = len(cluster.members) * (len(cluster.nodes) - 1)
    assert len(asked) == len(set(asked)) == 4 * pairs + 2 * members
    assert {(cell.port, cell.protocol) for cell in asked} == {
        (2379, "tcp"),
        (2380, "tcp"),
        (2376, "tcp"),
        (7946, "tcp"),
        (7946, "udp"),
        (4789, "udp"),
    }


def test_a_port_somebody_listens_on_is_not_asked_there(tmp_path: Path) -> None:
    cluster = sample(tmp_path)
    first, *_ = (node.name for node in cluster.nodes)
    taken = {node.name: facts() for node in cluster.nodes} | {first: facts(Listener("udp", "0.0.0.0", 4789, "unknown"))}
    asked = cells(cluster, PORTS, taken)
    assert not [cell for cell in asked if cell.target == first and cell.port == 4789]
    assert [cell for cell in asked if cell.source == first and cell.port == 4789]


def test_a_new_node_that_our_own_firewall_does_not_know_yet_is_tried_when_the_firewall_is_replaced(
    tmp_path: Path,
) -> None:
    """As on a node without a daemon of ours that runs. Whoever the firewall lets in is tried at once."""
    cluster = sample(tmp_path)
    first, new, other = cluster.nodes
    found = {node.name: facts() for node in cluster.nodes}
    found[first.name] = replace(facts(), admitted=frozenset({first.address, other.address}))
    tried, later = cells(cluster, PORTS, found), held(cluster, PORTS, found)
    assert not [cell for cell in tried if (cell.source, cell.target) == (new.name, first.name)]
    assert [cell for cell in tried if (cell.source, cell.target) == (other.name, first.name)]
    assert [cell for cell in tried if (cell.source, cell.target) == (first.name, new.name)]
    assert set(later) == {Cell(new.name, first.name, port, "tcp") for port in (2376, 2379, 2380, 7946)}


def test_ports_that_a_daemon_of_ours_is_about_to_take_are_left_to_it(tmp_path: Path) -> None:
    cluster = sample(tmp_path)
    first, *_ = (node.name for node in cluster.nodes)
    units = {name: Unit("activating", inputs={"/etc/file": "0"}) for name in ("docker.service", "etcd.service")}
    asked = cells(
        cluster, PORTS, {node.name: facts() for node in cluster.nodes} | {first: replace(facts(), units=units)}
    )
    assert {cell.target for cell in asked} == {node.name for node in cluster.nodes} - {first}


def test_a_way_is_asked_for_or_in_use_by_a_daemon_that_can_be_knocked_at(tmp_path: Path) -> None:
    cluster = sample(tmp_path)
    first, *others = (node.name for node in cluster.nodes)
    units = {name: Unit("active", inputs={"/etc/file": "0"}) for name in ("docker.service", "etcd.service")}
    found = {node.name: facts() for node in cluster.nodes} | {first: replace(facts(), units=units)}
    knocked = held(cluster, PORTS, found)
    assert not set(knocked) & set(cells(cluster, PORTS, found))
    assert set(knocked) == {Cell(other, first, port, "tcp") for other in others for port in (2376, 2379, 2380, 7946)}
    assert held(cluster, PORTS, {node.name: facts() for node in cluster.nodes}) == ()


def test_where_nothing_comes_back_the_way_is_shut() -> None:
    assert silent({"a": "b 2379\n", "b": "", "c": "b 7946\n"}) == (
        Cell("a", "b", 2379, "tcp"),
        Cell("c", "b", 7946, "tcp"),
    )


def test_a_port_that_was_taken_meanwhile_is_neither_open_nor_blocked() -> None:
    asked = (Cell("a", "b", 2379, "tcp"), Cell("a", "b", 4789, "udp"))
    matrix = read(asked, {}, {"b": f"4789-udp 10 {RUN} a\ntaken 2379-tcp\n"}, RUN)
    assert (matrix.asked, matrix.blocked) == (asked[1:], ())


def test_53_the_way_that_is_blocked_is_named_and_no_other() -> None:
    asked = (Cell("a", "b", 4789, "udp"), Cell("b", "a", 4789, "udp"))
    matrix = read(asked, {}, {"a": f"4789-udp 10 {RUN} b\n", "b": ""}, RUN)
    assert matrix.blocked == (Cell("a", "b", 4789, "udp"),)
    assert str(matrix.blocked[0]) == "a → b 4789/udp"


def test_what_another_run_sent_proves_nothing() -> None:
    asked = (Cell("a", "b", 2379, "tcp"),)
    assert read(asked, {}, {"b": "2379-tcp 10 ffffffff a\nrubbish\n\n2379-tcp 3\n"}, RUN).blocked == asked


def test_the_largest_packet_is_the_last_before_the_first_that_did_not_cross() -> None:
    sent = {"a": "sent b 1280\nsent b 1400\nsent b 1450\nsent b 1500\n"}
    heard = "".join(f"4789-udp {size - 30} {RUN} a {size}\n" for size in (1280, 1400, 1500))
    assert read((), sent, {"b": heard}, RUN).sizes == {("a", "b"): 1400}


def test_a_packet_that_came_in_another_length_than_it_was_sent_does_not_count() -> None:
    sent = {"a": "sent b 1280\n"}
    assert read((), sent, {"b": f"4789-udp 40 {RUN} a 1280\n"}, RUN) == Matrix()


@pytest.mark.parametrize(("told", "vanished"), [("", {("a", "b"): 1450}), ("told b\n", {})])
def test_what_is_lost_has_vanished_unless_somebody_told_the_sender(told: str, vanished: dict[Any, int]) -> None:
    sent = {"a": f"sent b 1280\nsent b 1400\nsent b 1450\nsent b 1500\n{told}"}
    heard = "".join(f"4789-udp {size - 30} {RUN} a {size}\n" for size in (1280, 1400))
    assert read((), sent, {"b": heard}, RUN).vanished == vanished
    assert read((), {"a": "sent b 1280\n"}, {"b": heard}, RUN).vanished == {}


ASKED = (Cell("a", "b", 2379, "tcp"), Cell("a", "b", 4789, "udp"), Cell("b", "a", 4789, "udp"))


def test_113_only_what_did_not_come_or_vanished_is_tried_again() -> None:
    matrix = Matrix(ASKED, frozenset(ASKED[1:]), {("a", "b"): 1400}, {("a", "b"): 1450})
    assert matrix.doubtful == ASKED[:2]
    assert Matrix(ASKED, frozenset(ASKED)).doubtful == ()


def test_113_what_comes_at_another_try_is_open_and_what_vanishes_once_has_not_vanished() -> None:
    first = Matrix(ASKED, frozenset(ASKED[2:]), {("a", "b"): 1400}, {("a", "b"): 1450})
    came = Matrix(ASKED[:2], frozenset(ASKED[:2]), {("a", "b"): 1450})
    assert first.updated(came) == Matrix(ASKED, frozenset(ASKED), {("a", "b"): 1450}, {})
    lost = Matrix(ASKED[:2], frozenset(), {("a", "b"): 1400}, {("a", "b"): 1450})
    assert first.updated(lost) == first
    # A try at which no packet came says nothing about their sizes.
    assert first.updated(Matrix(ASKED[:2])) == first


def test_a_port_that_was_taken_before_it_was_tried_again_is_not_called_blocked() -> None:
    assert Matrix(ASKED).updated(Matrix(ASKED[1:])).asked == ASKED[1:]
