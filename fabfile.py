"""The command line: `fab -i inventory.yml VERB`. Each verb is one short task."""

from __future__ import annotations

import sys
from functools import partial
from typing import Any

import fabric.main
from fabric import Config, Executor, Task, task
from invoke import Collection

# Invoke turns the writing of bytecode off. Python would then compile the modules below again in every run.
sys.dont_write_bytecode = bool(sys.flags.dont_write_bytecode)

from provision import streams  # noqa: E402  (see above)
from provision.command_line import refuse, run  # noqa: E402  (see above)

streams.guard()

# OpenSSH itself reads its configuration (provision/remote/openssh.py). Fabric's reader does not understand all of it.
Config.load_ssh_config = lambda _: None


class OneVerb(Executor):
    """Runs one verb: each ends the process with its own exit code, so that a second one would never run."""

    def execute(self, *tasks: Any) -> Any:
        """Run the verb of the command line, or exit with 2 if there are several."""
        if len(tasks) > 1:
            verbs = [task.name for task in tasks]
            refuse(
                f"there is one verb in a run, not {len(verbs)}: {', '.join(verbs)}",
                "run them one after another, each with its own -i and flags",
                as_json=any(task.as_kwargs.get("json") for task in tasks),
            )
        return super().execute(*tasks)


fabric.main.program.executor_class = OneVerb


class Verb(Task):
    """A task whose repeatable flags need a value too. Invoke lets `--only` without one pass as if it were not there."""

    def get_arguments(self, ignore_unknown_help: bool | None = None) -> list[Any]:
        """Return the arguments, of which none has been given yet."""
        arguments: list[Any] = super().get_arguments(ignore_unknown_help)
        for argument in arguments:
            argument.raw_value = None
        return arguments


verb = partial(task, klass=Verb)

HELP = {
    "inventory": "the inventory file; default: the FILE.yml of -i, then ./inventory.yml",
    "json": "print one JSON document on standard output",
}
BUNDLE = {"bundle": "also write diagnostics of every node, without secrets, to FILE.tar.gz"}
FILES = {
    "junit": "also write the report as JUnit XML to FILE.xml",
    "html": "also write the report as a web page to FILE.html",
}
YES = {"yes": "do not ask for confirmation"}
IGNORE = {"ignore": "a preflight check that only warns; repeat for more checks"}


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

    options = {"nodes": nodes, "name": name, "folder": folder or name, "release": release, "docker": docker}
    run(context, run_up, inventory=(), as_json=json, **options)


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


namespace = Collection(preflight, plan, provision, verify, status, certs, migrate, reset, run_on_nodes, init, trust)
namespace.add_collection(Collection("lab", up, down, lab_status))


def main() -> None:
    """Run the same command line without a fabfile: `overlay-provision VERB`."""
    from importlib.metadata import version

    name = "overlay-provision"
    fabric.main.Fab(
        name=name,
        version=version(name),
        namespace=namespace,
        executor_class=OneVerb,
        config_class=Config,
    ).run()
