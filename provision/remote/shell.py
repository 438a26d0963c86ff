"""A root shell on a node that reads its commands from stdin, so that nothing is ever in an argument list.

The command line is always the same: a shell that reads one line and runs it, in an environment of our own. That line
decides how the rest of stdin is used: as a script of known length, or as the bytes of a file. For a user with sudo the
shell runs under sudo, which asks for the password with a random prompt. The password is sent only after that prompt,
and only before the shell has printed a random word to show that it runs.
"""

from __future__ import annotations

import re
import secrets
import select
import time
from contextlib import suppress
from dataclasses import dataclass

from paramiko import Channel, ChannelException, SSHException

from provision.errors import ConnectionFailed, Problem, StepFailed
from provision.remote import refusals
from provision.remote.connection import Link
from provision.remote.target import Login

SLICE = 64 * 1024
"""Bytes given to paramiko in one call: with much more, paramiko copies the rest again and again."""

HEARTBEAT = 5.0
"""Seconds between two heartbeats sent to a running shell."""

HEARTBEAT_LIMIT = 15
"""Seconds without a heartbeat after which the node treats the controller as gone."""

STALL_LIMIT = 30.0
"""Seconds without a byte sent after which the connection counts as lost."""

OUTPUT_GRACE = 3.0
"""Seconds for the rest of the output of a script that has ended, if the end of its streams does not come."""

SUDO_TIMEOUT = 30.0
"""Seconds sudo may take to ask for the password or to start the shell."""

CLEAN = "/usr/bin/env -i PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin HOME=/root LC_ALL=C"
"""Starts a program without the variables that /etc/environment, sshd, sudo and start-up files set."""

READ_AND_OBEY = 'umask 022; IFS= read -r line && eval "$line"'

ROOT_SHELL = f"{CLEAN} sh -c '{READ_AND_OBEY}'"
"""The command of every shell. Nothing else starts anything of ours on a node."""


class SessionRefusedError(Exception):
    """sshd opens no further session on this connection."""


@dataclass(frozen=True)
class Result:
    """The exit code and the output of a script."""

    code: int
    stdout: str
    stderr: str


class Shell:
    """One shell on one channel. `what` names its work in errors."""

    def __init__(self, link: Link, login: Login, what: str, timeout: float) -> None:
        """Start the shell as root.

        ConnectionFailed if sudo refuses, SessionRefusedError if sshd does, StepFailed if the connection is gone.
        """
        self.what = what
        self._link = link
        self._timeout = timeout
        self._deadline = time.monotonic() + timeout
        self._input_open = True
        self.stdout = bytearray()
        self.stderr = bytearray()
        try:
            self._channel: Channel = link.transport.open_session(timeout=min(timeout, SUDO_TIMEOUT))
            self._poll = select.poll()
            self._poll.register(self._channel.fileno(), select.POLLIN)
            if link.target.user == "root":
                self._channel.exec_command(f"exec {ROOT_SHELL}")
            else:
                self._become_root(login.sudo_password)
        except ChannelException:
            raise SessionRefusedError from None
        except (SSHException, OSError, EOFError) as error:
            raise self.lost(error) from None

    def _become_root(self, password: str | None) -> None:
        first, second = secrets.token_hex(8), secrets.token_hex(8)
        # The command does not contain the marks as they are printed, so an echo of it cannot pass for a prompt: sudo
        # turns %% into a percent sign and %p into the user whose password it asks for, and printf joins the halves.
        prompt = re.compile(f"{first}%{second}(.*?):".encode())
        logged_in, ready = (f"{half}{second}".encode() for half in ("a", "b"))
        sudo = f"sudo -S -p '{first}%%{second}%p:' -- {_marked('b', second, ROOT_SHELL)}"
        self._channel.exec_command(f"exec {CLEAN} {_marked('a', second, sudo)}")
        prompts = 0
        deadline = min(self._deadline, time.monotonic() + SUDO_TIMEOUT)
        alive = True
        while ready not in self.stderr:
            asked = prompt.findall(self.stderr)
            if len(asked) > prompts:
                prompts += 1
                self._answer(password, prompts, asked[-1].decode(errors="replace"))
            overdue = time.monotonic() > deadline
            if overdue or not alive:
                _, sh_ran, words = self.stderr.partition(logged_in)
                tail = _last_line(prompt.sub(b"\n", words if sh_ran else self.stderr + b"\n" + self.stdout))
                if overdue:
                    tail = f"no answer within {SUDO_TIMEOUT:g} s{f'; {tail}' if tail else ''}"
                explain = refusals.of_sudo if sh_ran else refusals.of_shell
                raise self._refused(explain(self._link, tail))
            alive = self.read(deadline)
        del self.stderr[: self.stderr.index(ready) + len(ready)]

    def _answer(self, password: str | None, prompts: int, owner: str) -> None:
        """Send the password at the first prompt. `owner`: whose password sudo asks for."""
        if prompts > 1 or password is None:
            raise self._refused(refusals.of_password(self._link, owner, given=password is not None))
        self._channel.sendall(password.encode() + b"\n")

    def _refused(self, problem: Problem) -> ConnectionFailed:
        self.close()
        return ConnectionFailed(problem)

    def prove(self) -> None:
        """See that the shell obeys, as root, and end it. ConnectionFailed says what runs there instead."""
        first, second = secrets.token_hex(8), secrets.token_hex(8)
        self.send(f'printf %s%s:%s: {first} {second} "$(id -u)"\n'.encode())
        self.end_input()
        while self.read(self._deadline) and time.monotonic() < self._deadline:
            pass
        if not self._link.transport.is_active():
            raise self.lost(None)
        self.close()
        answer = bytes(self.stdout).decode(errors="replace")
        _, obeyed, rest = answer.partition(f"{first}{second}:")
        user = rest.partition(":")[0]
        if obeyed and user == "0":
            return
        words = _last_line(self.stdout + b"\n" + self.stderr)
        if obeyed or self._link.target.user != "root":
            raise ConnectionFailed(refusals.of_user(self._link, user, words))
        echoed = f"{first} {second}" in answer
        raise ConnectionFailed(refusals.of_shell(self._link, "it repeats what it is sent" if echoed else words))

    def send(self, data: bytes) -> None:
        """Send bytes to stdin, in slices. StepFailed if the connection is lost or stalls.

        A shell that ended before it read everything is no error here: `finish` says why it ended.
        """
        self._channel.settimeout(STALL_LIMIT)
        try:
            for start in range(0, len(data), SLICE):
                self._channel.sendall(data[start : start + SLICE])
        except (SSHException, OSError, EOFError) as error:
            if self._channel.exit_status < 0:
                raise self.lost(error) from None

    def end_input(self) -> None:
        """Tell the shell that no more will come."""
        self._channel.shutdown_write()
        self._input_open = False

    def read(self, until: float) -> bool:
        """Read the output, waiting at most until the monotonic clock shows `until`. False once the shell has ended."""
        channel = self._channel
        ended = bool(channel.eof_received or channel.closed)
        arrived = False
        while channel.recv_ready():
            self.stdout += channel.recv(SLICE)
            arrived = True
        while channel.recv_stderr_ready():
            self.stderr += channel.recv_stderr(SLICE)
            arrived = True
        if not ended and not arrived:
            self._poll.poll(max(0.0, until - time.monotonic()) * 1000)
        return not ended

    def beat(self) -> None:
        """Send a heartbeat. StepFailed if the shell has ended or the connection is lost."""
        if self._channel.closed or self._channel.eof_received:
            raise self.lost(None)
        self.send(b".")

    def wait_for_line(self, mark: str) -> str:
        """Return the line after the mark, once it is complete; empty if the shell ended before."""
        while self.read(self._deadline):
            line, whole, _ = self.stdout.partition(mark.encode())[2].partition(b"\n")
            if whole:
                return line.decode(errors="replace")
            if time.monotonic() >= self._deadline:
                raise self.overdue()
        return ""

    def finish(self, mark: str) -> Result:
        """Read to the end, and return the result. Output before the mark is a login shell's, and is dropped.

        StepFailed if the script takes too long, the connection is lost, or the script never started.
        """
        next_beat = time.monotonic() + HEARTBEAT
        last_moment = self._deadline
        while self.read(min(next_beat, last_moment)):
            now = time.monotonic()
            if self._channel.exit_status_ready():
                # What the script has left running holds the streams open: their end would not come.
                if now >= last_moment:
                    break
                next_beat = last_moment = min(last_moment, now + OUTPUT_GRACE)
                continue
            if now >= self._deadline:
                raise self.overdue(mark)
            if now >= next_beat and self._input_open:
                self.beat()
            if now >= next_beat:
                next_beat = now + HEARTBEAT
        if not self._channel.status_event.wait(timeout=max(0.0, self._deadline - time.monotonic())):
            raise self.overdue(mark)
        code = self._channel.recv_exit_status()
        self.close()
        before, started, stdout = bytes(self.stdout).partition(mark.encode())
        stderr = bytes(self.stderr).partition(mark.encode())[2] if started else bytes(self.stderr)
        if code < 0:
            raise self.lost(None)
        if not started:
            reason = _last_line(self.stderr) or before.decode(errors="replace").strip()[-200:]
            raise self.failed(f"{self.what} did not start: {reason or f'exit code {code}'}")
        return Result(code, stdout.decode(errors="replace"), stderr.decode(errors="replace"))

    def failed(self, what: str, advice: str = "") -> StepFailed:
        """Close the shell, and return the error to raise."""
        self.close()
        return StepFailed(Problem(what, self._link.where, advice))

    def overdue(self, mark: str = "") -> StepFailed:
        """Close the shell, which ends its work on the node, and return the error to raise. The mark is not quoted."""
        tail = _last_line(bytes(self.stderr).rpartition(mark.encode() or b"\0")[2])
        last = f"; its last output: {tail}" if tail else ""
        return self.failed(f"{self.what} did not end within {self._timeout:g} s and was stopped{last}")

    def lost(self, error: BaseException | None) -> StepFailed:
        """Close the shell, and return the error that says the connection is gone."""
        transport = self._link.transport
        silent = isinstance(error, TimeoutError) or transport.fell_silent
        reason = "the connection stopped responding" if silent else "the connection was lost"
        message = f"; sshd said: {transport.last_words}" if transport.last_words else ""
        advice = "the work on the node ends by itself; run again"
        if silent and not self.stdout:  # the login's packets were small, and the script's are large
            host = self._link.target.host
            advice = (
                f"{advice}. If large packets are lost on the way there, `ping -M do -s 1400 {host}` fails and "
                f"`ping {host}` does not: then set a smaller MTU at both ends, or allow ICMP on the way"
            )
        return self.failed(f"{reason} during {self.what}{message}", advice)

    def close(self) -> None:
        """Close the channel. A script that still runs ends when the node notices."""
        if hasattr(self, "_channel"):
            with suppress(SSHException, OSError, EOFError):  # the link may be gone already
                self._channel.close()


def _marked(first: str, second: str, command: str) -> str:
    """Return a command that prints both halves of a mark, joined, and then becomes the given command."""
    return f"sh -c 'printf %s%s {first} {second} >&2; exec \"$@\"' sh {command}"


def _last_line(output: bytes | bytearray) -> str:
    """Return the last line that is not empty, for an error message; empty if there is none."""
    lines = output.decode(errors="replace").split("\n")
    return next((line.strip() for line in reversed(lines) if line.strip()), "")
