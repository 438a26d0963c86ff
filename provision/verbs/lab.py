"""lab.up, lab.down, lab.status: disposable hosts on this machine."""

from __future__ import annotations

from pathlib import Path

from provision import lab
from provision.core.table import Table
from provision.lab.lab import MOST_NODES
from provision.report import Report
from provision.verbs import numbers
from provision.verbs.session import Session


def run_up(session: Session, *, nodes: str, name: str, folder: str, release: str, docker: str) -> Report:
    """Boot the lab's hosts. UsageError or PreflightRefused if the lab cannot be as asked for."""

    def say(line: str) -> None:
        where, _, what = line.partition(": ")
        session.progress.say(where, what)

    number = numbers.whole(nodes, "--nodes", "nodes", MOST_NODES)
    made = lab.up(name, number, Path(folder), release=release, docker=docker, say=say)
    summary = f"{len(made.nodes)} hosts are up; next: fab -i {_short(made.inventory)} provision"
    return Report("lab.up", summary, tables=(_hosts(name),))


def run_down(session: Session, *, name: str) -> Report:  # noqa: ARG001  the signature of every verb
    """Remove the lab's hosts."""
    lab.down(name)
    return Report("lab.down", f"nothing of {name} is left")


def run_lab_status(session: Session, *, name: str) -> Report:  # noqa: ARG001
    """Show the lab's hosts."""
    return Report("lab.status", f"lab {name}", tables=(_hosts(name),))


def _hosts(name: str) -> Table:
    rows = tuple((host.name, host.address, host.state, "up" if host.linked else "cut") for host in lab.status(name))
    return Table("hosts", f"Lab {name}", ("host", "address", "state", "link"), rows)


def _short(path: Path) -> Path:
    return path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path
