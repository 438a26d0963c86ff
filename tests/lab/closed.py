"""Connections and datagrams from one host to another's ports: which the host firewall lets through."""

from __future__ import annotations

import re
from collections.abc import Sequence

from observe import run

from provision.lab import Lab

TABLE = "inet overlay_provision"
#: Ports for datagrams, in every control plane: VXLAN and gossip.
UDP = (4789, 7946)
#: Results of a connection.
OPEN, SILENT = "0", "124"


def knocked(lab: Lab, source: str, target: str, ports: Sequence[int]) -> dict[int, str]:
    """Return the result of a connection from one host to each port of another."""
    address = address_of(lab, target)
    knock = "(timeout 5 bash -c 'exec 3<>/dev/tcp/$0/$1' {0} {1} 2>/dev/null; echo {1} $?) &"
    script = "\n".join([*(knock.format(address, port) for port in ports), "wait"])
    return {int(port): code for port, code in (line.split() for line in run(lab, source, script).splitlines())}


def address_of(lab: Lab, name: str) -> str:
    return next(node.address for node in lab.nodes if node.name == name)


def dropped(lab: Lab, node: str) -> dict[str, int]:
    """Return the number of packets that the rule of each protocol has dropped."""
    listed = run(lab, node, f"nft list chain {TABLE} guard")
    return {kind: int(count) for kind, count in re.findall(r"(tcp|udp) dport .* counter packets (\d+)", listed)}


def send(lab: Lab, source: str, target: str) -> None:
    """Send three datagrams to each port."""
    address = address_of(lab, target)
    run(lab, source, "\n".join(f"bash -c 'echo 1 >/dev/udp/{address}/{port}'" for port in UDP * 3))
