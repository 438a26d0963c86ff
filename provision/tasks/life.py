"""The verbs of a cluster's life: certificates, the next control plane, the end."""

from __future__ import annotations

from typing import Any

from provision import streams
from provision.command_line import run
from provision.tasks.options import HELP, IGNORE, YES, checked, verb


@verb(
    iterable=["inventory", "ignore"],
    help=HELP
    | IGNORE
    | YES
    | {
        "rotate": "renew every leaf certificate",
        "authority": "with --rotate: also renew the authorities, in three steps",
        "plan": "with --rotate: only show what the next step would change",
        "adopt": "take the nodes over from a lost controller",
    },
)
def certs(
    context: Any,
    inventory: list[str],
    json: bool = False,
    rotate: bool = False,
    authority: bool = False,
    plan: bool = False,
    adopt: bool = False,
    yes: bool = False,
    *,
    ignore: list[str],
) -> None:
    """Show every certificate, its place and its end; or renew the certificates."""
    from provision.verbs.certs import run_certs

    run(
        context,
        run_certs,
        only_looks=plan or not (rotate or adopt),
        inventory=inventory,
        as_json=json,
        rotate=rotate,
        authority=authority,
        plan=plan,
        adopt=adopt,
        yes=yes,
        ignore=ignore,
    )


@verb(
    iterable=["inventory", "only"],
    help=HELP
    | YES
    | {
        "delete_user_data": "also delete containers on our networks and foreign keys in the store",
        "only": "only the node of this name; repeat the flag for more",
    },
)
def reset(
    context: Any,
    inventory: list[str],
    json: bool = False,
    yes: bool = False,
    delete_user_data: bool = False,
    *,
    only: list[str],
) -> None:
    """Put every node back to the state before the first provision."""
    from provision.verbs.reset import run_reset

    run(context, run_reset, inventory=inventory, as_json=json, only=only, yes=yes, delete_user_data=delete_user_data)


@verb(
    iterable=["inventory", "ignore"],
    help=HELP
    | IGNORE
    | YES
    | {
        "plan": "only show what stops, what stays and what comes back",
        "delete_user_data": "also delete keys in the store that are not Docker's",
    },
)
def migrate(
    context: Any,
    inventory: list[str],
    json: bool = False,
    plan: bool = False,
    yes: bool = False,
    delete_user_data: bool = False,
    *,
    ignore: list[str],
) -> None:
    """Go on with Docker's swarm mode: the same networks, the same containers."""
    from provision.verbs.migrate import run_migrate

    run(
        context,
        run_migrate,
        only_looks=plan,
        inventory=inventory,
        as_json=json,
        plan=plan,
        yes=yes,
        delete_user_data=delete_user_data,
        ignore=ignore,
    )


@verb(
    iterable=["inventory", "lost"],
    help=HELP
    | YES
    | {
        "lost": "a host that is gone for good; repeat the flag for more",
        "keep": "the node whose data the cluster goes on with; default: the one that has most",
        "plan": "only show who is left, who is kept and what is lost",
    },
)
def recover(
    context: Any,
    inventory: list[str],
    json: bool = False,
    keep: str = "",
    plan: bool = False,
    yes: bool = False,
    *,
    lost: list[str],
) -> None:
    """Go on without hosts that are lost for good, where the others have no quorum."""
    from provision.verbs.recover import run_recover

    run(
        context,
        run_recover,
        only_looks=plan,
        inventory=inventory,
        as_json=json,
        lost=lost,
        keep=keep,
        plan=plan,
        yes=yes,
    )


@verb(
    positional=["file"],
    iterable=["inventory"],
    help=HELP | {"file": "the archive, FILE.tar.gz; - is standard output"},
)
def backup(context: Any, file: str, inventory: list[str], json: bool = False) -> None:
    """Save all that sets the cluster up again in one archive, while everything runs.

    Whoever can read the archive is root on every node: fab backup - | age -r KEY > FILE.age, or | gpg -e -r KEY.
    """
    from provision.verbs.backup import run_backup

    stream = streams.taken() if checked(file, "backup") == "-" else None
    run(context, run_backup, inventory=inventory, as_json=json, file=file, stream=stream)


@verb(
    positional=["file"],
    iterable=["inventory", "lost"],
    help=HELP
    | YES
    | {
        "file": "an archive of fab backup; - is standard input",
        "plan": "only show what would be set up, and what is given up",
        "lost": "a host whose cluster is given up; repeat the flag for more",
    },
)
def restore(
    context: Any,
    file: str,
    inventory: list[str],
    json: bool = False,
    plan: bool = False,
    yes: bool = False,
    *,
    lost: list[str],
) -> None:
    """Set the cluster up again from a backup, on the same hosts or on others."""
    from provision.verbs.restore import run_restore

    run(
        context,
        run_restore,
        only_looks=plan,
        inventory=inventory,
        as_json=json,
        file=checked(file, "restore"),
        plan=plan,
        yes=yes,
        lost=lost,
    )
