"""Names that dockerd does not know: which the program asks for, and how it lets dockerd read them again."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from mend_program import ADDRESS, ID, NETWORK, OWN, SANDBOX, SECOND, Program, endpoint, known_as
from node_shell import SHELLS

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="needs root, for a network namespace")

PLACE = f"/run/docker/netns/{SANDBOX[:12]}"
ASKED = f"{PLACE} {NETWORK} {ID} {ADDRESS} web"
#: A resolver as Docker's, that knows one name with two addresses, and answers nothing for others.
RESOLVER = r"""
import socket, sys
server = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
server.bind(("127.0.0.11", 53))
print("ready", flush=True)
while True:
    query, client = server.recvfrom(512)
    if query[12:-4] == bytes.fromhex(sys.argv[1]):
        records = [b"\xc0\x0c\0\1\0\1\0\0\2\x58\0\4" + socket.inet_aton(a) for a in sys.argv[2:]]
        server.sendto(query[:2] + b"\x81\x80\0\1\0\2\0\0\0\0" + query[12:] + b"".join(records), client)
"""


@pytest.fixture(params=SHELLS)
def mend(request: pytest.FixtureRequest, tmp_path: Path) -> Program:
    return Program(request.param, tmp_path)


def unheard(mend: Program, *lines: str) -> list[str]:
    return mend.run(f"unheard {OWN}", "\n".join(lines) + "\n")


def test_names_of_other_hosts_are_asked_for_from_a_container_here_on_their_network(mend: Program) -> None:
    here = endpoint(OWN, name="here")
    assert unheard(mend, here, known_as("web"), known_as("own", OWN)) == [ASKED]
    assert unheard(mend, f"{ID} web", here, known_as("web")) == []
    assert unheard(mend, f"{ID} old-name", here, known_as("web")) == [ASKED]
    assert unheard(mend, endpoint(SECOND), known_as("web")) == []


def test_a_container_on_two_networks_is_not_asked_for_either_may_answer(mend: Program) -> None:
    there = endpoint(OWN, name="here").replace(NETWORK, "e" * 64)
    assert unheard(mend, endpoint(OWN, name="here"), there, known_as("web")) == []


#: A container's name with a part of ten bytes, which is the number of a new line.
NAME = "ten-bytes-.web"


@pytest.fixture
def resolver() -> Iterator[str]:
    """A network namespace with a resolver that knows NAME; its path."""
    labels = b"".join(bytes([len(part)]) + part.encode() for part in NAME.split(".")) + b"\0"
    inside = f'ip link set lo up; exec {sys.executable} -c "$0" {labels.hex()} 10.99.0.4 {ADDRESS}'
    with subprocess.Popen(["unshare", "-n", "sh", "-c", inside, RESOLVER], stdout=subprocess.PIPE) as process:
        assert process.stdout
        assert process.stdout.readline() == b"ready\n"
        yield f"/proc/{process.pid}/ns/net"
        process.kill()


def test_a_name_is_known_if_the_resolver_has_its_address(mend: Program, resolver: str) -> None:
    ask = "if answers {} {} {}; then echo yes; else echo no; fi 2>/dev/null\n"
    questions = [(NAME, ADDRESS), (NAME, "10.99.0.4"), (NAME, "10.99.0.6"), ("web", ADDRESS)]
    script = "".join(ask.format(resolver, *question) for question in questions)
    assert mend.run(script) == ["yes", "yes", "no", "no"]


#: A store that prints what is written there, and a check whose answer is the first argument.
CHECK = """own={own} known='{known}' unknown='' heard='' names_of='' pidfile=$OVERLAY_RUN/pid
echo 7 >"$pidfile"
store() {{
    case $* in
    *" get "*) echo '{{"Count":3}}' ;;
    *) echo "$*" >>"$OVERLAY_RUN/written" ;;
    esac
}}
answers() {{ echo "$2" >>"$OVERLAY_RUN/asked"; [ -e "$OVERLAY_RUN/knows" ]; }}
check_names
{more}
cat "$OVERLAY_RUN/written" "$OVERLAY_RUN/asked" 2>/dev/null || :
"""
WRITTEN = f'set --swap-with-value {{"Count":3}} /docker/network/v1.0/endpoint_count/{NETWORK} {{"Count":3}}'
ANNOUNCED = f"announced: the names on network {'a' * 12}; web ({ADDRESS}) was unknown here"


@pytest.mark.parametrize(
    ("more", "done"),
    [
        ("", ["web"]),
        ("check_names", [ANNOUNCED, WRITTEN, "web", "web"]),
        ('touch "$OVERLAY_RUN/knows"; check_names; check_names', ["web", "web"]),
        ('touch "$OVERLAY_RUN/knows"; check_names; echo 8 >"$pidfile"; check_names', ["web", "web", "web"]),
    ],
    ids=["once", "twice", "known by then", "another dockerd"],
)
def test_a_name_that_is_unknown_twice_is_announced_and_one_that_is_known_not_asked_for_again(
    mend: Program, more: str, done: list[str]
) -> None:
    known = f"{endpoint(OWN, name='here')}\n{known_as('web')}"
    assert mend.run(CHECK.format(own=OWN, known=known, more=more)) == done
