"""Decide whether a server's host key is trusted: by the inventory's `host_keys`, or by a question on the terminal."""

from __future__ import annotations

import threading
from collections.abc import Callable

from paramiko import MissingHostKeyPolicy, PKey, SSHClient

from provision.errors import ConnectionFailed, Problem
from provision.remote import host_keys
from provision.remote.host_keys import HostKey
from provision.remote.target import Login, Target

HostKeyCheck = Callable[[Target, Login, str, HostKey], None]
"""Returns if the key is trusted, and raises if not. The string names the server in messages."""

_question = threading.Lock()


class AnsweredError(Exception):
    """A person accepted the key. sshd may have hung up meanwhile, so connect again."""


class HostKeyPolicy(MissingHostKeyPolicy):
    """Passes every server's key to `check`. paramiko is given no known hosts, so it calls this policy for each key."""

    def __init__(self, check: Callable[[HostKey], None]) -> None:
        """`check` returns if the key is trusted, and raises if not."""
        self._check = check

    def missing_host_key(self, client: SSHClient, hostname: str, key: PKey) -> None:
        """Check the key. paramiko calls this for every server."""
        self._check(HostKey(key.get_name(), key.get_base64()))


def check_host_key(target: Target, login: Login, where: str, key: HostKey) -> None:
    """Accept a known key, and treat an unknown key as the inventory's `host_keys` says.

    ConnectionFailed if the key is refused; AnsweredError if a person was asked and accepted it.
    """
    verdict, entry = host_keys.judge(host_keys.read(target.known_hosts), target.known_as, key)
    if verdict == "known":
        return
    # One question at a time on the terminal. A thread that waited reads the file again: the answer may be in it.
    with _question:
        verdict, entry = host_keys.judge(host_keys.read(target.known_hosts), target.known_as, key)
        if verdict == "known":
            raise AnsweredError
        if entry is not None:
            raise ConnectionFailed(mistrust(target, where, key, entry))
        shown = f"the host key of {target.known_as} is unknown: {key.kind} {key.fingerprint}"
        if target.host_keys == "strict":
            raise ConnectionFailed(Problem(shown, where, "compare it with the host's key, then record it: fab trust"))
        if target.host_keys == "ask":
            if login.ask is None:
                advice = "there is no terminal to ask on; compare it with the host's key, then record it: fab trust"
                raise ConnectionFailed(Problem(shown, where, advice))
            if not login.ask(f"{where}: {shown}\nTrust it, and record it in {target.known_hosts}?"):
                raise ConnectionFailed(Problem(f"{shown}: not trusted", where, "nothing was recorded"))
        record_host_key(target, where, key)
        if target.host_keys == "ask":
            raise AnsweredError


def record_host_key(target: Target, where: str, key: HostKey) -> None:
    """Write the key to the known_hosts file. ConnectionFailed if the file cannot be written."""
    try:
        host_keys.record(target.known_hosts, target.known_as, key)
    except OSError as error:
        what = f"the host key cannot be recorded in {target.known_hosts}: {error.strerror}"
        raise ConnectionFailed(Problem(what, where, "make the file writable, or set another ssh.known_hosts")) from None


def mistrust(target: Target, where: str, key: HostKey, entry: host_keys.Entry) -> Problem:
    """Return the problem of a key that is revoked, or that differs from the known key."""
    place = f"{entry.path}:{entry.line}"
    if entry.marker:
        return Problem(f"the host key {key.fingerprint} is revoked in {place}", where, "do not connect")
    what = (
        f"the host key of {target.known_as} has changed: {place} has "
        f"{entry.key.kind} {entry.key.fingerprint}, the host shows {key.kind} {key.fingerprint}"
    )
    advice = (
        "somebody may be intercepting the connection. If the host was reinstalled or replaced: "
        f"ssh-keygen -f {entry.path} -R '{target.known_as}', then: fab trust"
    )
    return Problem(what, where, advice)
