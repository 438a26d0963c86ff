"""Run a verb for a task of Fabric: turn its report, or its error, into output and an exit code."""

from __future__ import annotations

import gc
import json
import os
import sys
import traceback
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from provision.errors import Exit, Problem, ProvisionError, StepFailed, Unanswered
from provision.report import Report, files

if TYPE_CHECKING:
    from provision.verbs.session import Session

DEFAULT_INVENTORY = Path("inventory.yml")


def run(context: Any, verb: Callable[..., Report], *, inventory: str, as_json: bool, **options: Any) -> NoReturn:
    """Run a verb with the options of the command line, print its report, and exit."""
    # A run takes seconds and imports much: garbage collection would cost a tenth of its start and free nothing.
    gc.disable()
    for stream in (sys.stdout, sys.stderr):
        stream.reconfigure(errors="backslashreplace")  # type: ignore[union-attr]  # for ASCII terminals
    report = _report(lambda: _called(context, verb, inventory, options), _name(verb))
    with suppress(BrokenPipeError):  # whoever reads the report has seen enough, such as `head`
        _print(report, as_json=as_json)
        sys.stdout.flush()
        sys.stderr.flush()
    # Daemon threads of SSH and gRPC have nothing left to do: not waiting for them saves a third of a second.
    os._exit(report.exit_code)


def _called(context: Any, verb: Callable[..., Report], inventory: str, options: dict[str, Any]) -> Report:
    from provision.report.progress import Progress
    from provision.verbs.session import Session

    path, identities = _inventory(context, inventory)
    bundle = options.pop("bundle", None)  # None: this verb writes no bundle
    named = {name: options.pop(name, "") for name in files.FORMATS}
    wanted = {name: files.checked(name, file, files.FORMATS[name]) for name, file in named.items() if file}
    with Progress() as progress:
        session = Session(path, _login(context, identities, progress), progress)
        report = _settled(lambda: _bundled(session, bundle, verb, options), _name(verb))
    subject = session.cluster if session.is_loaded else None
    return files.written(replace(report, subject=subject), wanted)


def _bundled(session: Session, bundle: str | None, verb: Callable[..., Report], options: dict[str, Any]) -> Report:
    if bundle is None:
        return verb(session, **options)
    from provision.verbs.bundle import with_bundle

    return with_bundle(session, bundle, lambda: _settled(lambda: verb(session, **options), _name(verb)))


def _inventory(context: Any, named: str) -> tuple[Path, tuple[Path, ...]]:
    """Separate the inventory from the private keys: Fabric reads every `-i` as --identity."""
    given = [Path(name) for name in context.config.authentication.identities or ()]
    inventories = [path for path in given if path.suffix in (".yml", ".yaml")]
    keys = tuple(path for path in given if path not in inventories)
    return Path(named) if named else next(iter(inventories), DEFAULT_INVENTORY), keys


def _login(context: Any, identities: tuple[Path, ...], progress: Any) -> Any:
    from provision.remote import Login

    return Login(context.config.sudo.password, identities, progress.agreed if progress.can_ask else None)


def _name(verb: Callable[..., Report]) -> str:
    return verb.__name__.removeprefix("run_")


def _settled(call: Callable[[], Report], verb: str) -> Report:
    """Return the report of the call. A ProvisionError becomes a report too."""
    try:
        return call()
    except ProvisionError as error:
        return Report(verb, error.title, error.exit_code, problems=error.problems)
    except Unanswered as error:
        advice = f"fab status shows who answers; then run {verb} again: it goes on from there"
        return Report(verb, StepFailed.title, StepFailed.exit_code, problems=(Problem(str(error), "cluster", advice),))


def _report(call: Callable[[], Report], verb: str) -> Report:
    try:
        return _settled(call, verb)
    except KeyboardInterrupt:
        advice = "a step that is under way on a node ends with the connection; run provision again to continue"
        return Report(verb, "interrupted", Exit.INTERRUPTED, problems=(Problem("interrupted", advice=advice),))
    except Exception:  # a bug: its report needs the traceback
        traceback.print_exc(file=sys.stderr)
        os._exit(1)


def _print(report: Report, *, as_json: bool) -> None:
    if as_json:
        from provision.report.document import document

        print(json.dumps(document(report), indent=2))
        return
    from provision.report import text

    text.show(report)
