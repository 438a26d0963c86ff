"""A port has one number: that of a plane's table."""

from __future__ import annotations

import re
from pathlib import Path

import provision
from provision import layout
from provision.planes.etcd.ports import PEER_PORT, STORE_PORT
from provision.planes.swarm.ports import MANAGEMENT_PORT

NUMBERS = {
    "gossip_port": layout.GOSSIP_PORT,
    "store_port": STORE_PORT,
    "peer_port": PEER_PORT,
    "managers_port": MANAGEMENT_PORT,
}
SCRIPTS = sorted(Path(provision.__file__).parent.rglob("*.sh"))


def test_shell_on_nodes_names_its_ports_and_has_the_numbers_of_the_tables() -> None:
    said = [(path.name, line.strip()) for path in SCRIPTS for line in path.read_text().splitlines()]
    numbers = "|".join(str(number) for number in NUMBERS.values())
    lines = [line for _, line in said if re.search(rf"\b({numbers})\b", line.partition("#")[0])]
    assert sorted(set(lines)) == sorted(f"{name}={number}" for name, number in NUMBERS.items())
