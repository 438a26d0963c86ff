"""The command line: `fab -i inventory.yml VERB`. One short task a verb, nothing else."""

from __future__ import annotations

from typing import Any

from fabric import task

from provision.command_line import run

HELP = {
    "inventory": "the inventory; default: -i FILE.yml, then ./inventory.yml",
    "json": "one JSON document on standard output",
}
YES = {"yes": "do not ask"}


@task(help=HELP)
def preflight(context: Any, inventory: str = "", json: bool = False) -> None:
    """Look for every obstacle on every node; nothing is written."""
    from provision.verbs.converge import run_preflight

    run(context, run_preflight, inventory=inventory, as_json=json)


@task(help=HELP | {"exit_code": "exit 7 when changes are pending"})
def plan(context: Any, inventory: str = "", json: bool = False, exit_code: bool = False) -> None:
    """Show what provision would change; nothing is written."""
    from provision.verbs.converge import run_plan

    run(context, run_plan, inventory=inventory, as_json=json, exit_code=exit_code)


@task(help=HELP | YES)
def provision(context: Any, inventory: str = "", json: bool = False, yes: bool = False) -> None:
    """Make every node as the inventory says, and prove that containers reach each other."""
    from provision.verbs.converge import run_provision

    run(context, run_provision, inventory=inventory, as_json=json, yes=yes)


@task(help=HELP)
def verify(context: Any, inventory: str = "", json: bool = False) -> None:
    """Prove that the cluster works, and that nothing is pending."""
    from provision.verbs.converge import run_verify

    run(context, run_verify, inventory=inventory, as_json=json)
