"""Connections of the store that are of no use any more, on a node's own shells."""

from __future__ import annotations

from pathlib import Path

import pytest
from mend_program import Program
from node_shell import SHELLS

#: As the kernel shows them: 192.0.2.2 is 020200C0, port 2379 is 094B, and 01 is an established connection. The last but
#: one number of those that matter is that of unanswered probes. Where the timer is 01, a packet was sent again.
TABLE = """\
  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode
   0: 010200C0:094B 00000000:0000 0A 00000000:00000000 00:00000000 00000000   0        0 1 1 0 100 0 0 10 0
   1: 010200C0:B5D2 010200C0:094B 01 00000000:00000000 02:000006A2 00000000   0        0 2 2 0 20 4 0 10 -1
   2: 010200C0:B5D4 020200C0:094B 01 00000000:00000000 02:000006A2 00000000   0        2 3 2 0 20 4 0 10 -1
   3: 010200C0:B5D6 020200C0:094B 01 00000000:00000000 02:000006A2 00000000   0        1 4 2 0 20 4 0 10 -1
   4: 010200C0:B5D8 030200C0:1F90 01 00000000:00000000 02:000006A2 00000000   0        1 5 2 0 20 4 0 10 -1
   5: 010200C0:094B 030200C0:B5D8 01 00000000:00000000 02:000006A2 00000000   0        1 6 2 0 20 4 0 10 -1
   6: 010200C0:B5DA 030200C0:094B 02 00000000:00000000 01:000006A2 00000003   0        1 7 2 0 20 4 0 10 -1
"""
#: Who listens, and what would be ended.
STANDS_IN = (
    'is_listening() { echo "asked $1" >&3; [ "$1" = "$living" ]; }; ss() { [ "$living" = refused ] || echo ended; }'
)


@pytest.fixture(params=SHELLS)
def program(request: pytest.FixtureRequest, tmp_path: Path) -> Program:
    return Program(request.param, tmp_path)


def run(program: Program, living: str = "", also: str = "") -> list[str]:
    (program.folder / "tcp").write_text(TABLE + also)
    given = f"exec 3>&1; connections={program.folder}/tcp living={living}\n{STANDS_IN}"
    return program.run(f'{given}\nchanged=; drop_useless; echo "$changed"')


def test_connections_to_a_member_that_does_not_answer_are_ended(program: Program) -> None:
    assert run(program) == [
        "asked 192.0.2.2",
        "dropped: connections to the store at 192.0.2.2, which does not answer",
        "yes",  # the store is read again, and names are asked for
    ]


def test_a_member_that_answers_keeps_its_connections(program: Program) -> None:
    assert run(program, "192.0.2.2") == ["asked 192.0.2.2", ""]


def test_a_kernel_that_ends_no_connections_is_left_alone(program: Program) -> None:
    assert run(program, "refused") == ["asked 192.0.2.2", ""]


def test_addresses_are_read_as_the_kernel_shows_them(program: Program) -> None:
    assert program.run("address_of FE6433C6") == ["198.51.100.254"]


#: A connection on which the same packet was sent again: this node's address and port, the other's, state, timer, times.
AGAIN = "   7: {} {} {} 00000579:00000000 {}:000006A2 {}     0        0 8 2 0 20 4 0 10 -1\n"
OWN_STORE, OWN_PEER, OTHER, OTHER_PEER = "010200C0:094B", "010200C0:094C", "020200C0:CB52", "020200C0:094C"
OWN_OTHER = "010200C0:D431"


@pytest.mark.parametrize(
    ("also", "asked"),
    [
        ((OWN_STORE, OTHER, "01", "01", "00000005"), True),
        ((OWN_PEER, OTHER, "01", "01", "0000000A"), True),
        ((OWN_OTHER, OTHER_PEER, "01", "01", "0000000F"), True),
        ((OWN_STORE, OTHER, "01", "01", "00000004"), False),
        ((OWN_OTHER, OTHER, "01", "01", "00000009"), False),  # another port
        ((OWN_STORE, OTHER, "01", "02", "00000009"), False),  # keepalive
        ((OWN_STORE, OTHER, "04", "01", "00000009"), False),  # closed by its program
    ],
)
def test_357_where_a_packet_was_sent_again_and_again_the_connections_are_looked_at(
    program: Program, also: tuple[str, ...], asked: bool
) -> None:
    (program.folder / "tcp").write_text("\n" + AGAIN.format(*also) * 2)
    script = f'connections={program.folder}/tcp; end_overdue() {{ echo "$@"; }}; drop_useless'
    assert program.run(script) == (["the store 2379 2380"] if asked else [])


def test_357_they_are_ended_if_the_other_end_answers_and_a_silent_member_counts_as_before(program: Program) -> None:
    (program.folder / "tcp").write_text(TABLE + AGAIN.format(OWN_STORE, OTHER, "01", "01", "00000009"))
    script = f"""
exec 3>&1
connections={program.folder}/tcp changed=
is_listening() {{ [ "$2" = "$living" ]; }}
ss() {{
    echo "$*" >&3
    [ "$1" = -K ] && echo ended || echo '0 1398 192.0.2.1:2379 192.0.2.2:52050 timer:(on,1min41sec,9)'
}}
living=7946; drop_useless; echo "$changed"
living=; drop_useless
"""
    ask = "-Hnto state established ( sport = :2379 or dport = :2379 or sport = :2380 or dport = :2380 )"
    silent = [
        "-K -Hnt state established dst 192.0.2.2 dport = :2379",
        "dropped: connections to the store at 192.0.2.2, which does not answer",
    ]
    assert program.run(script) == [
        *silent,
        ask,
        "-K -Hnt state established src 192.0.2.1:2379 dst 192.0.2.2:52050",
        "ended: the connection of 192.0.2.1:2379 with 192.0.2.2:52050, in which messages of the store waited",
        "yes",
        *silent,
        ask,
    ]


@pytest.mark.parametrize(("code", "asked"), [(124, ["7946"]), (1, ["7946", "2379"])])
def test_357_a_host_that_is_silent_is_asked_at_one_port(program: Program, code: int, asked: list[str]) -> None:
    script = f'is_listening() {{ echo "$2"; return {code}; }}; listens 192.0.2.2 || echo no'
    assert program.run(script) == [*asked, "no"]
