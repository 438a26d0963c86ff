"""What the tasks share: the decorator, and the help of flags that several verbs have."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from typing import Any, TypeVar

from fabric import Task, task

from provision.command_line import refuse

Function = TypeVar("Function", bound=Callable[..., None])


class Verb(Task):
    """A task whose repeatable flags need a value too. Invoke lets `--only` without one pass as if it were not there."""

    def get_arguments(self, ignore_unknown_help: bool | None = None) -> list[Any]:
        """Return the arguments, of which none has been given yet."""
        arguments: list[Any] = super().get_arguments(ignore_unknown_help)
        for argument in arguments:
            argument.raw_value = None
        return arguments


def verb(**options: Any) -> Callable[[Function], Function]:
    """Return a decorator that makes a function a task. `options`: see fabric.task."""
    decorator: Callable[[Function], Function] = task(klass=Verb, **options)
    return decorator


def checked(file: str, verb: str) -> str:
    """Return the FILE of a verb. Invoke takes an option that it does not know for it: that is refused, but --help."""
    if file in ("-h", "--help"):
        os.execv(sys.executable, (sys.executable, sys.argv[0], "--help", verb))  # noqa: S606  (no shell is needed)
    if file.startswith("-") and file != "-":
        refuse(f"{verb} has no option {file}", f"see fab --help {verb}", as_json=False)
    return file


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
