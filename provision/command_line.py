"""Run a verb for a task of Fabric: turn its report, or its error, into output and an exit code."""

from __future__ import annotations

import gc
import json
import os
import re
import sys
import traceback
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from provision import streams
from provision.environment import bypass_proxies
from provision.errors import Exit, Problem, ProvisionError, StepFailed, Unanswered, UsageError
from provision.report import Report, files
from provision.streams import OutputClosed

if TYPE_CHECKING:
    from provision.verbs.session import Session

DEFAULT_INVENTORY = Path("inventory.yml")


def run(
    context: Any,
    verb: Callable[..., Report],
    *,
    inventory: Sequence[str],
    as_json: bool,
    only_looks: bool = False,
    **options: Any,
) -> NoReturn:
    """Run a verb with the options of the command line, print its report, and exit.

    `only_looks`: the verb changes nothing. When nobody reads its output any more, it ends; others go on to their end.
    """
    # A run takes seconds and imports much: garbage collection would cost a tenth of its start and free nothing.
    gc.disable()
    sys.excepthook = sys.__excepthook__  # from here on an error that nobody catches is a bug
    bypass_proxies(os.environ)
    try:
        report = _report(lambda: _called(context, verb, inventory, options, only_looks=only_looks), _name(verb))
    except OutputClosed:
        streams.unwritten(BrokenPipeError(), Exit.USAGE)
    try:
        _print(report, as_json=as_json)
        sys.stdout.flush()
        sys.stderr.flush()
    except OSError as error:
        if only_looks:
            streams.unwritten(error, report.exit_code or Exit.USAGE)
        with suppress(OSError):
            print(f"the report could not be written: {error.strerror}", file=sys.stderr, flush=True)
    # Daemon threads of SSH and gRPC have nothing left to do: not waiting for them saves a third of a second.
    os._exit(report.exit_code)


def refuse(what: str, advice: str, *, as_json: bool) -> NoReturn:
    """Print what is wrong with the command line, and exit."""
    error = UsageError(Problem(what, "command line", advice))
    _print(Report("fab", error.title, error.exit_code, problems=error.problems), as_json=as_json)
    raise SystemExit(error.exit_code)


def _called(
    context: Any, verb: Callable[..., Report], inventory: Sequence[str], options: dict[str, Any], *, only_looks: bool
) -> Report:
    from provision.report.progress import Progress
    from provision.verbs.session import Session

    path, identities = _inventory(context, inventory)
    bundle = options.pop("bundle", None)  # None: this verb writes no bundle
    named = {name: options.pop(name, "") for name in files.FORMATS}
    wanted = {name: files.checked(name, file, files.FORMATS[name]) for name, file in named.items() if file}
    with Progress(needs_a_reader=only_looks) as progress:
        session = Session(path, _login(context, identities, progress), progress)
        report = _settled(lambda: _bundled(session, bundle, verb, options), _name(verb))
    subject = session.cluster if session.is_loaded else None
    warnings = (*report.warnings, *progress.notes)
    return files.written(replace(report, subject=subject, warnings=warnings), wanted)


def _bundled(session: Session, bundle: str | None, verb: Callable[..., Report], options: dict[str, Any]) -> Report:
    if bundle is None:
        return verb(session, **options)
    from provision.verbs.bundle import with_bundle

    return with_bundle(session, bundle, lambda: _settled(lambda: verb(session, **options), _name(verb)))


def _inventory(context: Any, named: Sequence[str]) -> tuple[Path, tuple[Path, ...]]:
    """Separate the inventory from the private keys: Fabric reads every `-i` as --identity.

    UsageError for a file that is neither, for two inventories, and for hosts that are named beside the inventory.
    """
    if getattr(context, "original_host", None):
        advice = "leave -H out; a host can be chosen only by: reset --only NAME"
        raise UsageError(Problem("the inventory names the hosts", f"-H {context.original_host}", advice))
    given = [Path(name) for name in context.config.authentication.identities or ()]
    inventories = [path for path in given if path.suffix.lower() in (".yml", ".yaml")]
    keys = tuple(path for path in given if path not in inventories)
    for path in keys:
        _check_key(path)
    inventories += [Path(name) for name in named]
    if len({path.absolute() for path in inventories}) > 1:
        what = f"there is one inventory in a run, not {len(inventories)}: {', '.join(map(str, inventories))}"
        raise UsageError(Problem(what, "command line", "name one: fab -i FILE.yml VERB"))
    return next(iter(inventories), DEFAULT_INVENTORY), keys


def _check_key(path: Path) -> None:
    """Raise UsageError unless the file is a private key. A pipe is not read: it gives its content only once."""
    try:
        text = path.read_bytes()[:200] if path.is_file() else b""
        what = "" if path.is_file() else "there is no such file"
    except OSError as error:
        text, what = b"", f"cannot be read: {error.strerror}"
    if not re.match(rb"\s*-----BEGIN [A-Z0-9 ]*PRIVATE KEY-----", text):
        what = what or "this is neither an inventory (FILE.yml) nor a private SSH key"
        raise UsageError(Problem(what, f"-i {path}", "name an inventory: fab -i FILE.yml VERB"))


def _login(context: Any, identities: tuple[Path, ...], progress: Any) -> Any:
    from provision.remote import Login

    file = getattr(context.config, "_runtime_ssh_path", None) or context.config.ssh_config_path  # fab --ssh-config FILE
    ask = progress.agreed if progress.can_ask else None
    return Login(context.config.sudo.password, identities, ask, Path(file) if file else None)


def _name(verb: Callable[..., Report]) -> str:
    return verb.__name__.removeprefix("run_")


def _settled(call: Callable[[], Report], verb: str) -> Report:
    """Return the report of the call. An error becomes a report too, unless it is a mistake in this program."""
    try:
        return call()
    except ProvisionError as error:
        return Report(verb, error.title, error.exit_code, problems=error.problems)
    except Unanswered as error:
        advice = f"fab status shows who answers; then run {verb} again: it goes on from there"
        return Report(verb, StepFailed.title, StepFailed.exit_code, problems=(Problem(str(error), "cluster", advice),))
    except Exception as error:
        from provision.client_errors import explained, is_of_a_client

        if not is_of_a_client(error):
            raise
        return Report(verb, StepFailed.title, StepFailed.exit_code, problems=(explained(error),))


def _report(call: Callable[[], Report], verb: str) -> Report:
    try:
        return _settled(call, verb)
    except KeyboardInterrupt:
        again = verb if verb in ("migrate", "recover", "backup", "restore") else "provision"
        advice = f"a step that is under way on a node ends with the connection; run {again} again to continue"
        return Report(verb, "interrupted", Exit.INTERRUPTED, problems=(Problem("interrupted", advice=advice),))
    except Exception:  # a bug: its report needs the traceback
        with suppress(OSError):
            traceback.print_exc(file=sys.stderr)
        os._exit(1)


def _print(report: Report, *, as_json: bool) -> None:
    if as_json:
        from provision.report.document import document

        print(json.dumps(document(report), indent=2))
        return
    from provision.report import text

    text.show(report)
