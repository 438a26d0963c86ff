"""Tables and trees in eighty columns: every word is there and whole, and what differs is marked."""

from __future__ import annotations

from pathlib import Path

import pytest
from cluster_sample import planned
from hypothesis import given
from hypothesis import strategies as some
from pki_sample import sample

from provision.core.table import Table
from provision.planes.etcd.plane import PLANE as ETCD
from provision.planes.swarm.plane import PLANE as SWARM
from provision.report.layout import lines
from provision.verbs.status import ports

WIDTH = 80
NAMES = tuple(f"database-{number}.frankfurt.example.com" for number in range(2))
#: The tables of the verbs with long names, as `status`, `certs`, `plan` and `lab.status` make them.
TABLES = (
    Table(
        "nodes",
        "Nodes",
        ("node", "address", "docker", "daemon", "rows mended", "containers", "names"),
        tuple(
            (name, "198.51.100.111", "20.10.24", "on the store", "0", "9", f"overlay-keeper-demo-{name}, web")
            for name in NAMES
        ),
    ),
    Table(
        "members",
        "Store",
        ("node", "etcd", "role", "health", "database"),
        tuple((name, "3.5.30", "not in the inventory", "no answer", "1024 KiB") for name in NAMES),
    ),
    Table(
        "networks",
        "Networks",
        ("network", "subnet", "id", "on"),
        (("demo", "10.99.0.0/24", "3fad3ced02e9", ", ".join(NAMES)),),
    ),
    Table(
        "certificates",
        "Certificates",
        ("certificate", "end", "left", "where"),
        tuple(
            (f"leaf docker/{name}-server", "2029-03-01", "824 days", f"{name}:/etc/docker/overlay/server.crt")
            for name in NAMES
        ),
    ),
    Table(
        "waiting",
        "Waiting",
        ("node", "what", "for what"),
        ((NAMES[0], "container web", "for the store: of 2 members 2 are needed, no answer from node2"),),
    ),
    Table(
        "afterwards",
        "Afterwards",
        ("stage", "where", "action", "what", "stops for good", "note"),
        (
            (
                "2",
                NAMES[0],
                "restart",
                "unit docker.service",
                "web, db",
                "for ca.crt and 2 more; stops for about 2 s: web",
            ),
        ),
    ),
    Table("hosts", "Lab", ("host", "address", "state", "link"), (("node1", "198.51.100.11", "running", "up"),)),
)


def shown(table: Table, width: int = WIDTH) -> list[str]:
    return [line.text for line in lines(table, width)]


def missing(table: Table, text: list[str]) -> list[str]:
    """The words of cells that are not whole in the text."""
    words = {word for line in text for word in line.split()}
    return [word for row in table.rows for cell in row for word in cell.split() if word not in words]


@pytest.mark.parametrize("table", TABLES, ids=lambda table: table.name)
def test_199_each_table_fits_into_eighty_columns_and_no_word_is_lost_or_broken(table: Table) -> None:
    text = shown(table)
    assert missing(table, text) == []
    assert max(map(len, text)) <= WIDTH


def test_199_the_ports_of_both_control_planes_fit(tmp_path: Path) -> None:
    situation = planned(sample(tmp_path))
    for plane in (ETCD, SWARM):
        table = ports(situation, plane.ports_of(situation.cluster))
        assert missing(table, shown(table)) == []
        assert max(map(len, shown(table))) <= WIDTH


def test_a_table_that_fits_has_a_line_for_each_row() -> None:
    table = TABLES[-1]
    assert shown(table) == shown(table, 0)
    assert len(shown(table)) == 3 + len(table.rows)


def test_without_a_width_each_row_is_one_line() -> None:
    for table in TABLES:
        assert len(shown(table, 0)) == 3 + len(table.rows)


words = some.text(some.characters(codec="ascii", categories=("L", "N", "P")), min_size=1, max_size=100)
cells = some.lists(words, max_size=6).map(" ".join)


@given(some.lists(some.tuples(cells, cells, cells), min_size=1, max_size=4), some.integers(20, 120))
def test_whatever_the_cells_no_word_is_lost_and_only_long_words_are_wider(
    rows: list[tuple[str, str, str]], width: int
) -> None:
    table = Table("t", "Title", ("one", "two", "three"), tuple(rows))
    text = shown(table, width)
    assert missing(table, text) == []
    longest = max((len(word) for row in rows for cell in row for word in cell.split()), default=0)
    assert all(len(line) <= max(width, longest + 9) for line in text)


ID = "3fad3ced02e9" + "0123456789abcdef" * 3 + "0123"
STORE = Table(
    "store",
    "Store",
    ("key", "node1", "node2"),
    (
        (f"/docker/network/v1.0/endpoint/{ID}/a", '{"name": "web"' + "x" * 300, '{"name": "web"' + "x" * 300),
        (f"/docker/network/v1.0/endpoint/{ID}/b", "1" * 300, "absent"),
        ("/docker/nodes/198.51.100.11:2376", "198.51.100.11:2376", "198.51.100.11:2376"),
    ),
    is_tree=True,
)


def test_199_a_store_is_a_tree_with_a_line_for_each_key_and_differences_are_marked() -> None:
    text = shown(STORE)
    assert text[:6] == ["", "Store", "  docker/", "    network/", "      v1.0/", "        endpoint/"]
    assert text[6] == "          3fad3ced02e9…/"
    assert text[7].startswith('            a  {"name": "web"')
    assert text[8].startswith("≠           b  node1: 1111")
    assert "node2: absent" in text[8]
    assert text[9:] == ["    nodes/", "      198.51.100.11:2376  198.51.100.11:2376"]
    assert max(map(len, text)) <= WIDTH
    assert [line.style for line in lines(STORE, WIDTH)][8] == "yellow"


def test_a_value_is_whole_where_there_is_no_width() -> None:
    text = shown(STORE, 0)
    assert any("1" * 300 in line for line in text)
