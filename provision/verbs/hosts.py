"""init, trust and run: the inventory's start, the hosts' keys, and a script of one's own on every node."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from provision import inventory, planes
from provision.core.outcome import Outcome
from provision.core.table import Table
from provision.errors import Exit, Problem, UsageError
from provision.remote import Remote, Result, trust
from provision.report import Report
from provision.verbs.session import Session


def run_init(session: Session, *, hosts: Sequence[str], cluster: str) -> Report:
    """Write a commented inventory. UsageError where one is there already, or an address cannot be."""
    text = inventory.template(hosts, ports=planes.ports(), cluster=cluster)
    try:
        with session.path.open("x") as file:
            file.write(text)
    except FileExistsError:
        advice = "edit it, remove it, or write another: --inventory FILE"
        raise UsageError(Problem("there is an inventory already", str(session.path), advice)) from None
    except OSError as error:
        raise UsageError(Problem(f"cannot write: {error.strerror}", str(session.path))) from None
    return Report("init", f"{session.path} written; next: fab -i {session.path} trust, then preflight, then provision")


def run_trust(session: Session) -> Report:
    """Show each server's host key, and record those that are new."""
    seen = trust(session.cluster.nodes, session.login)
    problems = tuple(one.problem for one in seen if one.problem)
    rows = tuple((one.where, one.host, one.fingerprint, one.state) for one in seen)
    return Report(
        "trust",
        f"{len(problems)} of {len(seen)} not to be trusted" if problems else f"{len(seen)} host keys known",
        Exit.REFUSED if problems else Exit.DONE,
        tables=(Table("host_keys", "Host keys: compare them with what the hosts' owner says", _COLUMNS, rows),),
        problems=problems,
    )


_COLUMNS = ("where", "host", "fingerprint", "state")


def run_script(session: Session, *, script: str, timeout: int) -> Report:
    """Run a script of the user's on every node at once, as root; exit with the worst exit code."""
    try:
        text = Path(script).read_text()
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(Problem(f"cannot read the script: {error}", script, "fab run SCRIPT")) from None

    def run(remote: Remote) -> Result:
        session.progress.say(remote.node.name, f"running {script}")
        return remote.run(text, timeout=timeout, changes=True, what=script)

    with session.connected(lock="run") as remotes:
        results = remotes.each(run)
    worst = max(result.code for result in results.values())
    return Report(
        "run",
        f"{script} ended with {worst}" if worst else f"{script} ended well on {len(results)} nodes",
        Exit.STEP_FAILED if worst else Exit.DONE,
        outcomes=tuple(_outcome(script, name, result) for name, result in results.items()),
    )


def _outcome(script: str, name: str, result: Result) -> Outcome:
    text = "\n".join(filter(None, [result.stdout.rstrip(), result.stderr.rstrip()])) or "(no output)"
    return Outcome(
        Path(script).name,
        name,
        "failed" if result.code else "passed",
        text,
        f"it ended with {result.code}" if result.code else "",
    )
