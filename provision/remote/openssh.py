"""What OpenSSH's client would do for a host: the answer of `ssh -G`, which reads all configuration files."""

from __future__ import annotations

import os
import pwd
import re
import shutil
import socket
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from getpass import getuser
from pathlib import Path

from provision.errors import ConnectionFailed, Problem, UsageError

SSH_PORT = 22

SYSTEM_FILE = Path("/etc/ssh/ssh_config")

ANSWER_TIMEOUT = 30
"""Seconds for OpenSSH's answer. It may run commands (`Match exec`) and look up names (`CanonicalizeHostname`)."""

NO_FILE = "/dev/null"
"""Named as an IdentityFile, so that OpenSSH does not add its default keys to those of the configuration."""


@dataclass(frozen=True)
class Question:
    """What the inventory and the command line say about a host: it has precedence over the configuration files."""

    host: str
    user: str | None = None
    port: int | None = None
    file: Path | None = None

    @property
    def command(self) -> tuple[str, ...]:
        """The command line that prints OpenSSH's options for the host."""
        words = ["-G", "-T", "-o", f"IdentityFile={NO_FILE}"]
        words += ["-F", str(self.file)] if self.file else []
        words += ["-l", self.user] if self.user else []
        words += ["-p", str(self.port)] if self.port else []
        return ("ssh", *words, "--", self.host)


@dataclass(frozen=True)
class Options:
    """OpenSSH's options for one host. None: not set. Tokens and `~` in files and commands are as in the configuration.

    `identity_files` are those that the configuration names; `none` may be among them.
    """

    host: str
    port: int
    user: str
    identity_files: tuple[str, ...] = ()
    identities_only: bool = False
    identity_agent: str | None = None
    host_key_alias: str | None = None
    proxy_jump: str | None = None
    proxy_command: str | None = None
    passes_descriptor: bool = False


def parse(answer: str, question: Question) -> Options:
    """Return the options in an answer of `ssh -G`: a keyword and its value a line."""
    values: dict[str, list[str]] = {}
    for line in answer.splitlines():
        keyword, _, value = line.partition(" ")
        values.setdefault(keyword.lower(), []).append(value)
    first = {keyword: value for keyword, (value, *_) in values.items() if value}
    return Options(
        host=first.get("hostname", question.host),
        port=int(first.get("port", question.port or SSH_PORT)),
        user=first.get("user", question.user or getuser()),
        identity_files=tuple(name for name in values.get("identityfile", ()) if name != NO_FILE),
        identities_only=first.get("identitiesonly") == "yes",
        identity_agent=first.get("identityagent"),
        host_key_alias=first.get("hostkeyalias"),
        proxy_jump=_unless_none(first.get("proxyjump")),
        proxy_command=_unless_none(first.get("proxycommand")),
        passes_descriptor=first.get("proxyusefdpass") == "yes",
    )


def _unless_none(value: str | None) -> str | None:
    return None if value is None or value.lower() == "none" else value


@cache
def options(question: Question) -> Options:
    """Ask OpenSSH, once for each question.

    UsageError if a configuration is wrong, or if there is a configuration but no client that understands it;
    ConnectionFailed if the answer takes too long.
    """
    if shutil.which("ssh") is None:
        return _without_client(question)
    manual = "see how OpenSSH reads it: ssh -G HOST"
    try:
        done = subprocess.run(  # noqa: S603 (the host's name is checked, and comes after `--`)
            question.command, stdin=subprocess.DEVNULL, capture_output=True, timeout=ANSWER_TIMEOUT, check=False
        )
    except subprocess.TimeoutExpired:
        what = f"ssh -G {question.host} did not end within {ANSWER_TIMEOUT} s: a Match exec, or a name server"
        raise ConnectionFailed(Problem(what, question.host, manual)) from None
    if done.returncode:
        lines = done.stderr.decode(errors="replace").splitlines() or [f"exit code {done.returncode}"]
        what = f"OpenSSH refuses its configuration: {'; '.join(line.strip() for line in lines[:2])}"
        raise UsageError(Problem(what, "controller", f"correct the file; {manual}"))
    return parse(os.fsdecode(done.stdout), question)


def _without_client(question: Question) -> Options:
    files = (question.file,) if question.file else (home() / ".ssh/config", SYSTEM_FILE)
    if unread := [str(file) for file in files if file.exists()]:
        what = f"there is no OpenSSH client (`ssh`) to read {' and '.join(unread)}"
        advice = "install it (Debian: apt install openssh-client); or remove the configuration"
        raise UsageError(Problem(what, "controller", advice))
    return parse("", question)


def home() -> Path:
    """Return the home folder in OpenSSH's sense: that of the user database, whatever HOME is."""
    return Path(pwd.getpwuid(os.getuid()).pw_dir)


def tokens(options: Options, name: str) -> Mapping[str, str]:
    """Return the values of OpenSSH's tokens for a host that was named so (ssh_config(5), TOKENS)."""
    machine = socket.gethostname()
    return {
        "%%": "%",
        "%d": str(home()),
        "%h": options.host,
        "%i": str(os.getuid()),
        "%k": options.host_key_alias or name,
        "%L": machine.partition(".")[0],
        "%l": machine,
        "%n": name,
        "%p": str(options.port),
        "%r": options.user,
        "%u": getuser(),
    }


def fill_in(text: str, values: Mapping[str, str]) -> str:
    """Replace tokens by their values. A token without a value stays."""
    return re.sub(r"%.", lambda match: values.get(match.group(), match.group()), text)


def path(text: str, values: Mapping[str, str]) -> Path:
    """Return a file of the configuration, with `~`, tokens and ${VARIABLES} replaced."""
    filled = re.sub(r"\$\{(\w+)\}", lambda match: os.environ.get(match[1], ""), fill_in(text, values))
    start, slash, rest = filled.partition("/")
    if start == "~":
        return home() / rest
    return Path(filled).expanduser() if start.startswith("~") and slash else Path(filled)


def agent(options: Options, values: Mapping[str, str]) -> Path | None:
    """Return the socket of the agent to ask: IdentityAgent's, else that of SSH_AUTH_SOCK. None: no agent is asked."""
    named = options.identity_agent or "SSH_AUTH_SOCK"
    if named == "none":
        return None
    if named == "SSH_AUTH_SOCK" or re.fullmatch(r"\$\w+", named):
        named = os.environ.get(named.removeprefix("$"), "")
    return path(named, values) if named else None
