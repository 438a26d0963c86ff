"""The verbs that need no control plane: scripts on all nodes, an inventory, host keys."""

from __future__ import annotations

from typing import Any

from provision.command_line import run
from provision.tasks.options import HELP, verb


@verb(
    name="run",
    iterable=["inventory"],
    help=HELP | {"script": "a file with a script for sh", "timeout": "seconds it may take on each node"},
)
def run_on_nodes(context: Any, script: str, inventory: list[str], json: bool = False, timeout: str = "600") -> None:
    """Run a script on every node at once, as root; exit with 4 if it fails on a node."""
    from provision.verbs.hosts import run_script

    run(context, run_script, inventory=inventory, as_json=json, script=script, timeout=timeout)


@verb(
    iterable=["inventory", "host"],
    help=HELP | {"host": "[user@]IPv4[:port]; repeat for each node", "cluster": "name of the cluster"},
)
def init(context: Any, host: list[str], inventory: list[str], json: bool = False, cluster: str = "demo") -> None:
    """Write a commented inventory.yml: fab init --host 192.0.2.1 --host 192.0.2.2."""
    from provision.verbs.hosts import run_init

    run(context, run_init, inventory=inventory, as_json=json, hosts=host, cluster=cluster)


@verb(iterable=["inventory"], help=HELP)
def trust(context: Any, inventory: list[str], json: bool = False) -> None:
    """Show the nodes' SSH host keys and record the new ones, without logging in."""
    from provision.verbs.hosts import run_trust

    run(context, run_trust, inventory=inventory, as_json=json)
