"""Facts of a node's part in its swarm, from files: its daemon need not answer."""

from __future__ import annotations

from base64 import b64decode
from pathlib import Path

import pytest
from node_shell import SHELLS, Shell

from provision.planes.swarm.node import functions


@pytest.mark.parametrize("command", SHELLS)
@pytest.mark.parametrize(
    ("text", "address"),
    [
        ('{"LocalAddr":"192.0.2.9","AdvertiseAddr":"192.0.2.1:2377","DataPathAddr":""}', "192.0.2.1"),
        ('{"LocalAddr":"192.0.2.9"}', ""),
        (None, ""),
    ],
)
def test_186_the_address_in_the_swarm(command: tuple[str, ...], tmp_path: Path, text: str | None, address: str) -> None:
    if text is not None:
        (tmp_path / "swarm").mkdir()
        (tmp_path / "swarm/docker-state.json").write_text(text)
    told = Shell(command, tmp_path).run(f"{functions('facts')}\ndocker={tmp_path}\nfact_swarm_address\n")
    kind, name, encoded = told.rstrip("\n").split("\t")
    assert (kind, name, b64decode(encoded).decode().strip()) == ("answer", "swarm-address", address)


@pytest.mark.parametrize("command", SHELLS)
@pytest.mark.parametrize(
    ("active", "told"),
    [(" docker.service ", ["config c", "secret s", "service v"]), (" ", [])],
)
def test_333_what_users_have_in_the_swarm(
    command: tuple[str, ...], tmp_path: Path, active: str, told: list[str]
) -> None:
    """It is asked beside the survey, whose variables are not there yet."""
    stands_in = """
    timeout() { shift; "$@"; }
    docker() { case $1 in service) echo service v ;; secret) echo secret s ;; config) echo config c ;; esac; }
    """
    script = f"{functions('facts')}\n{stands_in}\nactive='{active}'\nfact_swarm_contents\n"
    answer = Shell(command, tmp_path).run(script)
    assert sorted(b64decode(answer.rpartition("\t")[2]).decode().splitlines()) == told
