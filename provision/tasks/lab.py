"""The verbs of the lab: disposable hosts on this machine."""

from __future__ import annotations

from typing import Any

from provision.command_line import run
from provision.tasks.options import HELP, verb

LAB = {"name": "name of the lab", "json": HELP["json"]}
NODES = {"nodes": "number of nodes", "folder": "folder of the inventory and the keys; default: ./NAME"}
RELEASE = {
    "release": "the hosts' Debian: bookworm (12, Docker 20.10) or trixie (13, Docker 26.1)",
    "docker": "none, for hosts without Docker; with trixie: 28, for that Docker",
}


@verb(help=LAB | NODES | RELEASE)
def up(
    context: Any,
    nodes: str = "2",
    name: str = "lab",
    folder: str = "",
    release: str = "bookworm",
    docker: str = "",
    json: bool = False,
) -> None:
    """Boot disposable hosts on this machine, and write an inventory for them."""
    from provision.verbs.lab import run_up

    run(
        context,
        run_up,
        inventory=(),
        as_json=json,
        nodes=nodes,
        name=name,
        folder=folder or name,
        release=release,
        docker=docker,
    )


@verb(help=LAB)
def down(context: Any, name: str = "lab", json: bool = False) -> None:
    """Remove the lab's hosts and every trace of them."""
    from provision.verbs.lab import run_down

    run(context, run_down, inventory=(), as_json=json, name=name)


@verb(name="status", help=LAB)
def lab_status(context: Any, name: str = "lab", json: bool = False) -> None:
    """Show the lab's hosts."""
    from provision.verbs.lab import run_lab_status

    run(context, run_lab_status, only_looks=True, inventory=(), as_json=json, name=name)
