"""Write a report to a file that the command line names."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path

from provision.errors import Problem, UsageError
from provision.report import Report

#: The options --NAME FILE, and the endings allowed for FILE, so that no inventory is overwritten by mistake.
FORMATS = {"junit": (".xml",), "html": (".html", ".htm")}


def checked(option: str, file: str, endings: tuple[str, ...]) -> Path:
    """Return the path. UsageError if the file cannot be written; the caller checks this before the verb starts."""
    path = Path(file)
    if not file.endswith(endings):
        what, advice = f"its name does not end in {endings[0]}", f"name it {file}{endings[0]}"
        raise UsageError(Problem(what, f"--{option} {file}", advice))
    if not path.parent.is_dir() or path.is_dir() or not os.access(path.parent, os.W_OK):
        raise UsageError(Problem("cannot be written there", f"--{option} {file}", "name a file in another folder"))
    return path


def written(report: Report, files: Mapping[str, Path]) -> Report:
    """Write each file, completely or not at all. Return the report, with a warning for each file that failed."""
    for name, path in files.items():
        temporary = path.with_name(f".{path.name}.{os.getpid()}")
        try:
            temporary.write_text(_renderer(name)(report), encoding="utf-8", errors="replace")
            temporary.replace(path)
        except OSError as error:
            temporary.unlink(missing_ok=True)
            advice = "make room there, or name another file"
            warning = Problem(f"not written: {error.strerror}", f"--{name} {path}", advice)
            report = replace(report, warnings=(*report.warnings, warning))
    return report


def _renderer(name: str) -> Callable[[Report], str]:
    if name == "junit":
        from provision.report.junit import junit

        return junit
    from provision.report.page import page

    return page
