"""What an error of a daemon's client means for a person: the errors of all checks and steps come through here.

The libraries are recognised by their names, not imported: most runs have no error, and not all libraries loaded.
"""

from __future__ import annotations

import errno
import re
import socket
import ssl
from collections.abc import Callable, Mapping
from typing import Any

from provision.errors import Problem, ProvisionError

_JOURNAL = "on the node: journalctl -u docker.service"
_STATUS = "fab status shows which daemons answer; then run this again"
_CERTIFICATES = "fab certs shows where each certificate lies and when it ends; fab provision renews what is missing"
_ROOM = "make room on the controller, where the inventory and /tmp are; then run this again"
_OPEN_FILES = "let the controller open more files (ulimit -n); then run this again"
#: By the number of an error: what to do about trouble that the controller has, never a daemon.
_OF_THE_CONTROLLER: Mapping[int | None, str] = {
    errno.ENOSPC: _ROOM,
    errno.EDQUOT: _ROOM,
    errno.EROFS: "let the controller write there; then run this again",
    errno.EMFILE: _OPEN_FILES,
    errno.ENFILE: _OPEN_FILES,
}
#: Docker's words about an image that it does not have.
_NO_IMAGE = re.compile(r"no such image: (\S+)", re.IGNORECASE)


def explained(error: Exception, where: str = "", advice: str = "") -> Problem:
    """Return what is wrong, where and what to do. `where`, `advice`: used if the error itself says nothing of it."""
    problem = _problem(error)
    place = problem.where or node_asked(error) or where or "cluster"
    return Problem(problem.what, place, problem.advice or advice or _STATUS)


def is_of_a_client(error: Exception) -> bool:
    """Say whether the error is of a client's library, a connection or a file: not a mistake in this program."""
    return _is_of_the_system(error) or any(_library(kind) in _CLIENTS for kind in type(error).__mro__)


def node_asked(error: Exception) -> str:
    """Return the node whose Docker was asked when a client of ours raised this error; empty if that is not known."""
    request = getattr(error, "request", None) or getattr(getattr(error, "response", None), "request", None)
    return str(getattr(request, "node_asked", ""))


def _is_of_the_system(error: Exception) -> bool:
    """Say whether the system has raised the error. Libraries derive errors of their own from it, without a number."""
    if isinstance(error, EOFError | ConnectionError | TimeoutError | ssl.SSLError | socket.gaierror):
        return True
    return isinstance(error, OSError) and error.errno is not None


def _library(kind: type) -> str:
    return kind.__module__.partition(".")[0]


def _problem(error: Exception) -> Problem:
    if isinstance(error, ProvisionError) and error.problems:
        first, *more = error.problems
        return Problem("; ".join([first.what, *map(str, more)]), first.where, first.advice)
    libraries = map(_library, type(error).__mro__)
    explain = next((_EXPLAINED[library] for library in libraries if library in _EXPLAINED), None)
    if explain:
        return explain(error)
    if _is_of_the_system(error):
        return _connection(error)
    what = f"the check itself has failed ({type(error).__name__}: {_one_line(error)})"
    return Problem(what, advice="this is a mistake in overlay-provision: please report it, with the file of --bundle")


def _ours(error: Exception) -> Problem:
    return Problem(_one_line(error))


def _docker(error: Any) -> Problem:
    words = _one_line(getattr(error, "explanation", None) or error)
    status = getattr(error, "status_code", None)
    if image := _NO_IMAGE.search(words):
        advice = "fab provision loads the probe's image from its archive; without one, docker pull there"
        return Problem(f"Docker has no image {image[1]}", advice=advice)
    if type(error).__name__ == "TLSParameterError":
        return Problem("a certificate or key with which Docker is asked is missing", "controller", _CERTIFICATES)
    if status is None:  # the client's own error, mostly about an answer that did not come
        return _connection(error, "Docker") if _root(error) is not error else Problem(f"Docker: {words}")
    return Problem(f"Docker {'fails' if status >= 500 else 'refuses'}: {words}", advice=_JOURNAL)


def _http(error: Exception) -> Problem:
    return _connection(error, "Docker")


def _rpc(error: Any) -> Problem:
    details = error.details() if callable(getattr(error, "details", None)) else ""
    return Problem(f"a daemon does not answer: {_one_line(details) or 'no reason is given'}")


def _ssh(error: Exception) -> Problem:
    return Problem(f"the SSH connection is lost: {_one_line(error)}", advice="is the node up? fab status")


def _connection(error: Exception, daemon: str = "a daemon") -> Problem:
    """Say of an error of the network what its innermost cause says."""
    root = _root(error)
    if isinstance(root, ssl.SSLError):
        words = (
            getattr(root, "verify_message", "")
            or (getattr(root, "reason", None) or _one_line(root)).replace("_", " ").lower()
        )
        return Problem(f"TLS with {daemon} fails: {words}", advice=_CERTIFICATES)
    if isinstance(root, OSError) and root.errno in _OF_THE_CONTROLLER:
        what = f"{root.filename}: {root.strerror}" if root.filename is not None else str(root.strerror)
        return Problem(what, "controller", _OF_THE_CONTROLLER[root.errno])
    if isinstance(root, OSError) and root.filename is not None:
        return Problem(f"{root.filename}: {root.strerror}", "controller", "is the file there, and readable by you?")
    if isinstance(root, TimeoutError) or "timed out" in str(root).lower():
        return Problem(f"{daemon} did not answer in time", advice=_STATUS)
    words = getattr(root, "strerror", None) or "the connection was closed"
    return Problem(f"{daemon} does not answer: {words}", advice=_STATUS)


def _root(error: BaseException) -> BaseException:
    """Return the innermost cause: libraries wrap errors of others in their own, some of them as an argument."""
    seen = [error]  # an error may be the cause of its own cause
    while True:
        last = seen[-1]
        causes = (getattr(last, "reason", None), *last.args, last.__cause__, last.__context__)
        inner = next((one for one in causes if isinstance(one, BaseException) and one not in seen), None)
        if inner is None:
            return last
        seen.append(inner)


def _one_line(words: object) -> str:
    text = words.decode(errors="replace") if isinstance(words, bytes) else str(words)
    return re.sub(r"\s+", " ", text).strip()[:400]


#: By the name of a library, the first of an error's ancestry: an error of Docker's client is one of `requests` as well.
_EXPLAINED: Mapping[str, Callable[[Exception], Problem]] = {
    "provision": _ours,
    "docker": _docker,
    "requests": _http,
    "urllib3": _http,
    "http": _http,
    "grpc": _rpc,
    "paramiko": _ssh,
    "ssl": _connection,
}
#: The libraries whose errors are those of a client.
_CLIENTS = frozenset(_EXPLAINED) - {"provision"}
