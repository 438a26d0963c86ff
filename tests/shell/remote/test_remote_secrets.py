"""What a script is sent, and the password: given to nobody who does not have to have it."""

from __future__ import annotations

import re
import shutil
import signal
import subprocess
from base64 import b64encode
from collections.abc import Iterator
from contextlib import contextmanager
from hashlib import sha256
from pathlib import Path

import pytest
from paramiko import Channel
from remote_sshd import BUSYBOX, SUDO_PASSWORD, Sshd, StartSshd, await_true

from provision.core.resource import Difference
from provision.node import library
from provision.pki import certificates
from provision.remote import Login, Remote, connect
from provision.remote.scripts import push_line
from provision.resources import File

LOGIN = Login(sudo_password=SUDO_PASSWORD)


@contextmanager
def connected(server: Sshd, user: str) -> Iterator[Remote]:
    remote = connect(server.node(user=user), LOGIN)
    try:
        yield remote
    finally:
        remote.close()


@contextmanager
def traced(server: Sshd, trace: Path) -> Iterator[None]:
    """Record every program that is started below the server, with all its arguments and its whole environment."""
    words = ("strace", "-f", "-v", "-s", "1000000", "-e", "trace=execve", "-o", trace, "-p", str(server.process.pid))
    with subprocess.Popen(words, stderr=subprocess.PIPE, text=True) as tracer:
        assert tracer.stderr is not None
        assert "attached" in tracer.stderr.readline()
        try:
            yield
        finally:
            tracer.send_signal(signal.SIGINT)


@pytest.mark.skipif(not shutil.which("strace"), reason="needs strace")
@pytest.mark.parametrize(
    ("user", "place"), [("root", ""), ("ops", ""), ("root", BUSYBOX)], ids=["root", "ops", "busybox"]
)
def test_87_no_program_that_a_script_starts_is_given_a_secret(
    start: StartSshd, tmp_path: Path, user: str, place: str
) -> None:
    server, trace = start(namespace=place), tmp_path / "trace"
    key = certificates.key_pem(certificates.new_key())
    put = File("/run/put.key", key, 0o400, opaque=True).apply(Difference("create"))
    with traced(server, trace), connected(server, user) as remote:
        done = remote.run(f"{library('changes')}\n{put}\ncat /run/put.key", changes=True)
        assert done.stdout.encode() == key
        remote.push(key, "/run/pushed.key")
        remote.run("/bin/true argument-canary; WORD=environment-canary /bin/true")
    started = trace.read_text()
    assert "argument-canary" in started
    assert "environment-canary" in started
    # A line of each: of the key as it is kept, and as it is sent.
    for secret in (SUDO_PASSWORD, key.decode().split("\n")[2], b64encode(key).decode()[76:140]):
        assert secret not in started


@pytest.fixture
def sent(monkeypatch: pytest.MonkeyPatch) -> bytearray:
    """All that goes to the server on any channel."""
    told, real = bytearray(), Channel.sendall

    def recording(self: Channel, data: bytes) -> None:
        told.extend(data)
        real(self, data)

    monkeypatch.setattr(Channel, "sendall", recording)
    return told


def test_88_where_sudo_asks_too_the_password_goes_to_sudo_alone(start: StartSshd, sent: bytearray) -> None:
    server = start(shell="/bin/bash")
    caught = server.folder / "home" / "told"
    catch = (
        f"echo -n '[sudo] password for ops: ' | tee /dev/stderr\nread -r -t 1 told; echo \"told=$told\" >>{caught}\n"
    )
    (server.folder / "home" / ".bashrc").write_text(catch)
    with connected(server, "ops") as remote:
        assert remote.run("id -u").stdout == "0\n"
    shells = caught.read_text().split()
    assert set(shells) == {"told="}
    assert sent.count(SUDO_PASSWORD.encode()) == len(shells)


#: Prints, on both its streams, the very prompt that its sudo was told to use.
THE_PROMPT = """
p=$$; until [ "$(tr '\\0' '\\n' </proc/$p/cmdline | head -n 1)" = sudo ]; do p=$(cut -d' ' -f4 /proc/$p/stat); done
prompt=$(tr '\\0' '\\n' </proc/$p/cmdline | sed -n '/^-p$/{n;s/%%/%/;s/%p/ops/;p}')
printf %s "$prompt"; printf %s "$prompt" >&2
"""


def test_88_a_script_that_prints_the_very_prompt_does_not_get_the_password(start: StartSshd, sent: bytearray) -> None:
    with connected(start(), "ops") as remote:
        before = sent.count(SUDO_PASSWORD.encode())
        result = remote.run(THE_PROMPT)
    assert result.stdout == result.stderr
    assert re.fullmatch("[0-9a-f]{16}%[0-9a-f]{16}ops:", result.stdout)
    assert sent.count(SUDO_PASSWORD.encode()) == before + 1


@pytest.mark.parametrize("place", ["", BUSYBOX], ids=["coreutils", "busybox"])
def test_a_file_is_its_owners_alone_as_long_as_it_arrives(start: StartSshd, place: str) -> None:
    with connected(start(namespace=place), "root") as remote:
        remote.run("umask 0; mkdir /run/x")
        shell = remote.shell("half a file", 10)
        shell.send(push_line("mark", "/run/x/file", sha256(b"whole").hexdigest(), 0o644).encode())
        look = "stat -c '%a %s' /run/x/.file.pushed.*"
        await_true(lambda: remote.run(look).stdout == "600 0\n")
        shell.send(b"who")
        await_true(lambda: remote.run(look).stdout == "600 3\n")
        shell.send(b"le")
        shell.end_input()
        assert shell.finish("mark").code == 0
        assert remote.run("stat -c '%a %s' /run/x/file").stdout == "644 5\n"
