"""The verbs of every day: look, plan, provision, prove."""

from __future__ import annotations

from typing import Any

from provision.command_line import run
from provision.tasks.options import BUNDLE, FILES, HELP, IGNORE, YES, verb


@verb(iterable=["inventory", "ignore"], help=HELP | FILES | IGNORE)
def preflight(
    context: Any, inventory: list[str], json: bool = False, junit: str = "", html: str = "", *, ignore: list[str]
) -> None:
    """Look for every obstacle on every node; nothing is changed."""
    from provision.verbs.preflight import run_preflight

    run(
        context,
        run_preflight,
        only_looks=True,
        inventory=inventory,
        as_json=json,
        junit=junit,
        html=html,
        ignore=ignore,
    )


@verb(
    iterable=["inventory", "ignore"],
    help=HELP | FILES | IGNORE | {"exit_code": "exit with 7 if changes are pending"},
)
def plan(
    context: Any,
    inventory: list[str],
    json: bool = False,
    junit: str = "",
    html: str = "",
    exit_code: bool = False,
    *,
    ignore: list[str],
) -> None:
    """Show what provision would change; nothing is changed."""
    from provision.verbs.plan import run_plan

    run(
        context,
        run_plan,
        only_looks=True,
        inventory=inventory,
        as_json=json,
        junit=junit,
        html=html,
        exit_code=exit_code,
        ignore=ignore,
    )


@verb(iterable=["inventory", "ignore"], help=HELP | FILES | IGNORE | YES | BUNDLE)
def provision(
    context: Any,
    inventory: list[str],
    json: bool = False,
    junit: str = "",
    html: str = "",
    yes: bool = False,
    bundle: str = "",
    *,
    ignore: list[str],
) -> None:
    """Set up every node as the inventory says, and prove that containers reach each other."""
    from provision.verbs.provision import run_provision

    run(
        context,
        run_provision,
        inventory=inventory,
        as_json=json,
        junit=junit,
        html=html,
        yes=yes,
        ignore=ignore,
        bundle=bundle,
    )


CHOICE = {
    "only": "run only the checks whose suite/name matches this regular expression",
    "skip": "leave out the checks whose suite/name matches this regular expression",
}


@verb(iterable=["inventory", "ignore"], help=HELP | FILES | CHOICE | IGNORE | BUNDLE)
def verify(
    context: Any,
    inventory: list[str],
    json: bool = False,
    junit: str = "",
    html: str = "",
    only: str = "",
    skip: str = "",
    bundle: str = "",
    *,
    ignore: list[str],
) -> None:
    """Prove that the cluster works, and that nothing is pending."""
    from provision.verbs.verify import run_verify

    run(
        context,
        run_verify,
        only_looks=True,
        inventory=inventory,
        as_json=json,
        junit=junit,
        html=html,
        only=only,
        skip=skip,
        ignore=ignore,
        bundle=bundle,
    )


@verb(
    iterable=["inventory"],
    help=HELP | FILES | {"store": "also show the keys under /docker, as each member has them"},
)
def status(
    context: Any, inventory: list[str], json: bool = False, junit: str = "", html: str = "", store: bool = False
) -> None:
    """Show the members, the nodes, the networks and the certificates as they are now."""
    from provision.verbs.status import run_status

    run(context, run_status, only_looks=True, inventory=inventory, as_json=json, junit=junit, html=html, store=store)
