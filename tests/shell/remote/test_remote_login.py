from __future__ import annotations

import os
import socket
import subprocess
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from remote_sshd import SUDO_PASSWORD, Sshd, StartSshd, await_true, free_port, make_key

from provision.errors import ConnectionFailed, Exit, Problem
from provision.inventory.model import Node
from provision.remote import Login, connect, connection, openssh, sockets


def refusal(node: Node, login: Login | None = None) -> Problem:
    """The one problem that connecting ends in."""
    with pytest.raises(ConnectionFailed) as refused:
        connect(node, login or Login()).close()
    assert refused.value.exit_code == Exit.REFUSED
    (problem,) = refused.value.problems
    assert problem.where == "node1"
    assert problem.advice
    return problem


def enters(node: Node, login: Login | None = None) -> bool:
    with closing(connect(node, login or Login())) as remote:
        return remote.run("id -u").stdout == "0\n"


def test_31_a_port_that_nobody_serves(server: Sshd) -> None:
    port = free_port()
    assert refusal(server.node(port=port)).what == (
        f"127.0.0.1 port {port} cannot be reached: the port refuses connections"
    )


def test_31_a_name_that_does_not_exist(server: Sshd) -> None:
    assert "the name is unknown" in refusal(server.node(host="no-such-host.invalid")).what


def test_31_a_server_that_says_nothing(server: Sshd, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connection, "CONNECT_TIMEOUT", 1.0)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        assert "cannot be reached" in refusal(server.node(port=silent.getsockname()[1])).what


def test_31_an_address_that_swallows_packets(server: Sshd, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sockets, "CONNECT_TIMEOUT", 0.5)
    monkeypatch.setattr(connection, "CONNECT_TIMEOUT", 0.5)
    with socket.socket() as full:
        full.bind(("127.0.0.1", 0))
        full.listen(0)
        # Nobody accepts: once the queue is full, the kernel answers no further caller.
        callers = [socket.socket() for _ in range(4)]
        for caller in callers:
            caller.setblocking(False)
            caller.connect_ex(full.getsockname())
        assert "no answer within 0.5 s" in refusal(server.node(port=full.getsockname()[1])).what
        for caller in callers:
            caller.close()


def test_32_a_key_the_server_does_not_know(server: Sshd, tmp_path: Path) -> None:
    wrong = make_key(tmp_path / "wrong")
    problem = refusal(server.node(key=wrong))
    assert problem.what == f"login as root refused: the server refused {wrong}"
    assert f"ssh -p {server.port} root@127.0.0.1" in problem.advice


def test_32_no_key_at_all(server: Sshd) -> None:
    assert refusal(server.node(key=None)).what == "login as root refused: there is no key to offer"


def test_32_a_key_that_is_not_there_or_not_a_key(server: Sshd, tmp_path: Path) -> None:
    assert f"{tmp_path}/none does not exist" in refusal(server.node(key=tmp_path / "none")).what
    (tmp_path / "text").write_text("hello")
    assert f"{tmp_path}/text cannot be read (not a private key)" in refusal(server.node(key=tmp_path / "text")).what


@pytest.mark.parametrize("kind", ["ed25519", "ecdsa", "rsa"])
def test_keys_of_every_common_kind_open_the_door(server: Sshd, tmp_path: Path, kind: str) -> None:
    key = make_key(tmp_path / kind, kind)
    (server.folder / "authorized_keys").write_text(Path(f"{key}.pub").read_text())
    assert enters(server.node(key=key))


@pytest.mark.parametrize("kind", ["ed25519", "rsa"])
def test_33_an_encrypted_key(server: Sshd, tmp_path: Path, kind: str) -> None:
    key = make_key(tmp_path / "locked", kind, "passphrase")
    problem = refusal(server.node(key=key))
    assert problem.what == f"login as root refused: {key} is encrypted, and no agent holds it"
    assert problem.advice == f"ssh-add {key}"


@pytest.fixture
def agent(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    path = tmp_path / "agent"
    process = subprocess.Popen(["ssh-agent", "-D", "-a", path], stdout=subprocess.DEVNULL)
    await_true(path.exists)
    monkeypatch.setenv("SSH_AUTH_SOCK", str(path))
    yield path
    process.terminate()
    process.wait()


@pytest.mark.usefixtures("agent")
def test_33_an_encrypted_key_that_the_agent_holds(server: Sshd, tmp_path: Path) -> None:
    ask = tmp_path / "ask"
    ask.write_text("#!/bin/sh\necho passphrase\n")
    ask.chmod(0o700)
    key = make_key(tmp_path / "locked", passphrase="passphrase")
    (server.folder / "authorized_keys").write_text(Path(f"{key}.pub").read_text())
    environment = {**os.environ, "SSH_ASKPASS": str(ask), "SSH_ASKPASS_REQUIRE": "force"}
    subprocess.run(["ssh-add", "-q", key], check=True, env=environment)
    assert enters(server.node(key=key))


@pytest.mark.usefixtures("agent")
def test_a_key_in_the_agent_alone(server: Sshd) -> None:
    subprocess.run(["ssh-add", "-q", server.key], check=True)
    assert enters(server.node(key=None))


@pytest.mark.usefixtures("agent")
def test_the_named_key_is_offered_before_the_agents_many(server: Sshd, tmp_path: Path) -> None:
    for number in range(8):
        subprocess.run(["ssh-add", "-q", make_key(tmp_path / str(number))], check=True)
    assert enters(server.node())


@pytest.mark.usefixtures("agent")
def test_too_many_keys_are_told_as_such(server: Sshd, tmp_path: Path) -> None:
    for number in range(8):
        subprocess.run(["ssh-add", "-q", make_key(tmp_path / str(number))], check=True)
    assert "the server hung up after" in refusal(server.node(key=None)).what


def test_a_default_key_in_the_home(server: Sshd, home: Path) -> None:
    (home / ".ssh").mkdir()
    (home / ".ssh" / "id_ed25519").write_bytes(server.key.read_bytes())
    assert enters(server.node(key=None))


def test_a_key_given_on_the_command_line(server: Sshd) -> None:
    assert enters(server.node(key=None), Login(identities=(server.key,)))


def test_what_the_inventory_leaves_open_the_ssh_configuration_says(server: Sshd, home: Path) -> None:
    (home / ".ssh").mkdir()
    (home / ".ssh" / "config").write_text("Include more/*\nHost other\n  Port 1\n")
    (home / ".ssh" / "more").mkdir()
    (home / ".ssh" / "more" / "box").write_text(
        f"Host box\n  HostName 127.0.0.1\n  Port {server.port}\n  User root\n  IdentityFile {server.key}\n"
    )
    assert enters(server.node(host="box", port=None, user=None, key=None))
    assert refusal(server.node(host="box", port=1, user=None)).what.startswith("127.0.0.1 port 1 ")


def configure(home: Path, text: str) -> None:
    (home / ".ssh").mkdir(exist_ok=True)
    (home / ".ssh" / "config").write_text(text)


def hardware_key(home: Path, server: Sshd, agent: Path) -> Path:
    """Give the server's key to an agent, and leave its public half alone in a file."""
    environment = {**os.environ, "SSH_AUTH_SOCK": str(agent)}
    subprocess.run(["ssh-add", "-q", server.key], check=True, env=environment)
    (home / "hardware.pub").write_bytes(Path(f"{server.key}.pub").read_bytes())
    return home / "hardware.pub"


@pytest.mark.parametrize("name", ["hardware.pub", "hardware"])
def test_159_a_public_key_names_one_of_the_agent_that_the_configuration_names(
    server: Sshd, home: Path, agent: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    hardware_key(home, server, agent)
    for number in range(8):  # too many, if they were offered as well
        environment = {**os.environ, "SSH_AUTH_SOCK": str(agent)}
        subprocess.run(["ssh-add", "-q", make_key(home / str(number))], check=True, env=environment)
    monkeypatch.setenv("SSH_AUTH_SOCK", "/nowhere")
    configure(home, f"Host *\n  IdentityFile {home}/{name}\n  IdentitiesOnly yes\n  IdentityAgent {agent}\n")
    assert enters(server.node(key=None))


def test_159_a_public_key_that_no_agent_holds_is_told_as_such(server: Sshd, home: Path) -> None:
    public = Path(f"{server.key}.pub")
    what = f"login as root refused: {public} is a public key, and no agent holds its private key"
    assert refusal(server.node(key=public)).what == what
    configure(home, f"Host *\n  IdentityAgent {home}/gone\n")
    openssh.options.cache_clear()
    assert f"the agent at {home}/gone does not answer" in refusal(server.node(key=public)).what


def test_159_no_agent_is_asked_where_the_configuration_says_none(server: Sshd, home: Path, agent: Path) -> None:
    hardware_key(home, server, agent)
    assert enters(server.node(key=None))
    configure(home, "Host *\n  IdentityAgent none\n")
    openssh.options.cache_clear()
    assert "there is no key to offer" in refusal(server.node(key=None)).what


def test_34_a_wrong_sudo_password_is_tried_once(start: StartSshd) -> None:
    server = start(sudoers="Defaults use_pty, logfile=/run/sudo.log\nops ALL=(ALL:ALL) ALL\n")
    problem = refusal(server.node(user="ops"), Login(sudo_password="wrong-canary"))
    assert problem.what == "sudo password of ops refused"
    assert "--prompt-for-sudo-password" in problem.advice
    await_true(lambda: "incorrect password attempt" in server.inside("cat /run/sudo.log 2>/dev/null || true"))
    assert " 1 incorrect password attempt " in server.inside("tr -s '\\n ' ' ' </run/sudo.log")


def test_34_a_password_that_sudo_wants_and_nobody_gave(server: Sshd) -> None:
    problem = refusal(server.node(user="ops"))
    assert (problem.what, problem.advice) == (
        "sudo asks for the password of ops",
        "fab --prompt-for-sudo-password",
    )


def test_34_a_user_who_may_not_use_sudo(start: StartSshd) -> None:
    server = start(sudoers="root ALL=(ALL:ALL) ALL\n")
    what = refusal(server.node(user="ops"), Login(sudo_password=SUDO_PASSWORD)).what
    assert "ops is not in the sudoers file" in what


def test_a_user_of_sudo_without_a_password(start: StartSshd) -> None:
    assert enters(start(sudoers="ops ALL=(ALL:ALL) NOPASSWD: ALL\n").node(user="ops"))


@pytest.mark.parametrize("prompt", ["[sudo] password for ops: ", "Password: ", "set -x"])
def test_88_a_node_that_imitates_the_prompt_does_not_get_the_password(start: StartSshd, prompt: str) -> None:
    """The login shell asks, and keeps what it is told within a second; sudo itself needs no password."""
    server = start(shell="/bin/bash", sudoers="ops ALL=(ALL:ALL) NOPASSWD: ALL\n")
    words = prompt if prompt == "set -x" else f"echo -n '{prompt}' >&2"
    catch = f'{words}\nread -r -t 1 told; echo "told=$told" >>{server.folder}/home/told\n'
    (server.folder / "home" / ".bashrc").write_text(catch)
    assert enters(server.node(user="ops"), Login(sudo_password=SUDO_PASSWORD))
    assert set((server.folder / "home" / "told").read_text().split()) == {"told="}


def test_87_the_password_is_in_no_error_and_no_log(server: Sshd, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("DEBUG")
    login = Login(sudo_password="wrong-canary")
    with pytest.raises(ConnectionFailed) as refused:
        connect(server.node(user="ops"), login)
    seen = [repr(login), str(refused.value), repr(refused.value), caplog.text, server.log()]
    assert not [text for text in seen if "canary" in text]


def test_a_failed_login_prints_nothing(server: Sshd, capfd: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    refusal(server.node(key=make_key(tmp_path / "wrong")))
    refusal(server.node(port=free_port()))
    assert capfd.readouterr() == ("", "")
