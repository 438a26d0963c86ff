"""init, trust and run: write an inventory, record the hosts' SSH keys, run a script on every node."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from provision import inventory, planes
from provision.core.outcome import Outcome
from provision.core.table import Table
from provision.errors import Exit, Problem, UsageError
from provision.remote import Remote, Result, trust
from provision.report import Report
from provision.verbs import numbers
from provision.verbs.session import Session


def run_init(session: Session, *, hosts: Sequence[str], cluster: str) -> Report:
    """Write a commented inventory. UsageError if the file exists already, or an address is invalid."""
    text = inventory.template(hosts, ports=planes.ports(), cluster=cluster)
    try:
        with session.path.open("x", encoding="utf-8") as file:
            file.write(text)
    except FileExistsError:
        advice = "edit or remove the file, or write another one: --inventory FILE"
        raise UsageError(Problem("the inventory exists already", str(session.path), advice)) from None
    except OSError as error:
        raise UsageError(Problem(f"cannot write: {error.strerror}", str(session.path))) from None
    return Report("init", f"{session.path} written; next: fab -i {session.path} trust, then preflight, then provision")


def run_trust(session: Session) -> Report:
    """Show each host's SSH key, and record new keys."""
    seen = trust(session.cluster.nodes, session.login)
    problems = tuple(one.problem for one in seen if one.problem)
    rows = tuple((one.where, one.host, one.fingerprint, one.state) for one in seen)
    return Report(
        "trust",
        f"{len(problems)} of {len(seen)} host keys not trusted" if problems else f"{len(seen)} host keys known",
        Exit.REFUSED if problems else Exit.DONE,
        tables=(Table("host_keys", "Host keys: compare them with those that the hosts' owner names", _COLUMNS, rows),),
        problems=problems,
    )


_COLUMNS = ("where", "host", "fingerprint", "state")


LONGEST = 7 * 24 * 3600
"""The most seconds that a script may take."""


def run_script(session: Session, *, script: str, timeout: str) -> Report:
    """Run a user's script on every node at once, as root. The report shows each node's exit code."""
    seconds = numbers.whole(timeout, "--timeout", "seconds", LONGEST)
    try:
        text = Path(script).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(Problem(f"cannot read the script: {error}", script, "fab run SCRIPT")) from None

    def run(remote: Remote) -> Result:
        session.progress.say(remote.node.name, f"running {script}")
        return remote.run(text, timeout=seconds, changes=True, guest=True, what=script)

    with session.connected(lock="run") as remotes:
        results = remotes.each(run)
    worst = max(result.code for result in results.values())
    return Report(
        "run",
        f"{script} ended with exit code {worst}" if worst else f"{script} succeeded on {len(results)} nodes",
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
        f"the script ended with exit code {result.code}" if result.code else "",
    )
