"""A report into a file that the command line names."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path

from provision.errors import Problem, UsageError
from provision.report import Report

#: What --NAME FILE writes, and how the file's name has to end: an inventory is not written over by mistake.
FORMATS = {"junit": (".xml",), "html": (".html", ".htm")}


def checked(option: str, file: str, endings: tuple[str, ...]) -> Path:
    """Return the path. UsageError, before anything is done, where no such file can be written."""
    path = Path(file)
    if not file.endswith(endings):
        what, advice = f"its name does not end in {endings[0]}", f"name it {file}{endings[0]}"
        raise UsageError(Problem(what, f"--{option} {file}", advice))
    if not path.parent.is_dir() or path.is_dir() or not os.access(path.parent, os.W_OK):
        raise UsageError(Problem("cannot be written there", f"--{option} {file}", "name a file in a folder of yours"))
    return path


def written(report: Report, files: Mapping[str, Path]) -> Report:
    """Write each format's file, whole or not at all. A file that could not be is a warning in the report returned."""
    for name, path in files.items():
        temporary = path.with_name(f".{path.name}.{os.getpid()}")
        try:
            temporary.write_text(_renderer(name)(report), encoding="utf-8", errors="replace")
            temporary.replace(path)
        except OSError as error:
            temporary.unlink(missing_ok=True)
            told = Problem(f"not written: {error.strerror}", f"--{name} {path}", "make room there, or name another")
            report = replace(report, warnings=(*report.warnings, told))
    return report


def _renderer(name: str) -> Callable[[Report], str]:
    if name == "junit":
        from provision.report.junit import junit

        return junit
    from provision.report.page import page

    return page
