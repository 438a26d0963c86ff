"""--bundle, and the bundle that a failed run writes by itself: an archive of diagnostics."""

from __future__ import annotations

import json
import platform
from collections.abc import Callable, Mapping
from dataclasses import replace
from importlib import metadata

from provision.bundle import archive
from provision.bundle.collection import Told, collect
from provision.core.plane import Plane
from provision.errors import Exit, Problem
from provision.report import Report, files
from provision.report.document import document
from provision.report.text import lines
from provision.verbs.session import Session

#: The failures for which a bundle is written without --bundle.
_BY_ITSELF = (Exit.STEP_FAILED, Exit.VERIFICATION_FAILED)
_LIBRARIES = ("overlay-provision", "cryptography", "docker", "fabric", "paramiko")

_README = """\
{verb}, run {run}: {summary}

controller/  the inventory, the report as text and as JSON (with the plan), and versions
NODE/        the diagnostics of each node: {plane}, docker, network, system; each command's stdout and stderr

{nodes}

Private keys, passwords, tokens, logins in URLs, the sudo password, and the environment and arguments of containers
are replaced by {mark}. A secret that nothing marks as one, such as a bare word in a log, is not recognised: read the
files before you give them to others.

{files}
"""


def with_bundle(session: Session, file: str, call: Callable[[], Report]) -> Report:
    """Return the verb's report. Write a bundle to `file`, if given, or if the verb failed; the report has its path.

    UsageError if `file` is no path for a bundle.
    """
    path = files.checked("bundle", file, (".tar.gz",)) if file else None
    report = call()
    if report.exit_code == Exit.USAGE or not (path or report.exit_code in _BY_ITSELF):
        return report
    try:
        with session.progress.stage("bundle"):
            data = _packed(session, report)
            if path is None:
                folder = archive.make_folder(session.cluster.folder)
                path = folder / f"{session.run}.tar.gz"
            archive.write(path, data)
            if not file:
                archive.keep_latest(path.parent)
    except OSError as error:
        told = Problem(f"cannot write the bundle: {error.strerror}", str(error.filename or path or ""))
        return replace(report, warnings=(*report.warnings, told))
    return replace(report, bundle=str(path))


def _packed(session: Session, report: Report) -> bytes:
    nodes = session.cluster.nodes
    for node in nodes:
        session.progress.say(node.name, "collecting for the bundle")
    told = collect(nodes, session.login, _plane(session).node_functions("bundle"))
    texts = _controller(session, report)
    texts |= {f"{name}/{part}.txt": text for name, one in told.items() for part, text in one.parts.items()}
    texts = {"README.txt": _readme(session, report, told, texts), **texts}
    known = [session.login.sudo_password] if session.login.sudo_password else []
    return archive.packed(f"bundle-{session.run}", texts, known)


def _plane(session: Session) -> Plane:
    """Return the control plane; where the run ended before one was chosen, the first that may be meant."""
    return session.candidates[0]


def _controller(session: Session, report: Report) -> dict[str, str]:
    return {
        "controller/inventory.yml": session.path.read_text(encoding="utf-8", errors="replace"),
        "controller/report.txt": "\n".join(line.text for line in lines(report)) + "\n",
        "controller/report.json": json.dumps(document(report), indent=2),
        "controller/versions.txt": "".join(f"{name} {version}\n" for name, version in _versions(session).items()),
    }


def _versions(session: Session) -> dict[str, str]:
    found = {"python": platform.python_version(), "system": platform.platform()}
    for name in (*_LIBRARIES, *_plane(session).libraries):
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            found[name] = "not installed as a package"
    return found


def _readme(session: Session, report: Report, told: Mapping[str, Told], texts: Mapping[str, str]) -> str:
    from provision.bundle.redaction import MARK

    return _README.format(
        verb=report.verb,
        run=session.run,
        plane=_plane(session).name,
        summary=report.summary,
        nodes="\n".join(f"{name}: {_said(one)}" for name, one in told.items()),
        mark=MARK,
        files="\n".join(texts),
    )


def _said(told: Told) -> str:
    count = f"{len(told.parts)} files"
    return f"{count}, but not all: {told.missing}" if told.missing else count
