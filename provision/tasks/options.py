"""What the tasks share: the decorator, and the help of flags that several verbs have."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

from fabric import Task, task

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
