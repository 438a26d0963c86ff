from __future__ import annotations

import socket
import subprocess
from pathlib import Path

import pytest
from remote_sshd import Sshd, StartSshd, make_key

from provision.errors import ConnectionFailed, Problem
from provision.inventory.model import Node
from provision.remote import Login, Remotes, connect, trust


def fingerprint(key: Path) -> str:
    shown = subprocess.run(["ssh-keygen", "-lf", f"{key}.pub"], check=True, capture_output=True, text=True).stdout
    return shown.split()[1]


def refusal(node: Node, login: Login | None = None) -> Problem:
    with pytest.raises(ConnectionFailed) as refused:
        connect(node, login or Login())
    (problem,) = refused.value.problems
    return problem


def enters(node: Node, login: Login | None = None) -> bool:
    connect(node, login or Login()).close()
    return True


def known_to_openssh(server: Sshd) -> bool:
    """Whether ssh itself, asked to be strict, takes the server for known."""
    command: list[str | Path] = [
        "ssh",
        "-F",
        "none",
        "-i",
        server.key,
        "-p",
        str(server.port),
        "root@127.0.0.1",
        "true",
    ]
    options = [f"UserKnownHostsFile={server.folder}/known_hosts", "StrictHostKeyChecking=yes", "BatchMode=yes"]
    command[1:1] = [word for option in options for word in ("-o", option)]
    return subprocess.run(command, check=False, capture_output=True).returncode == 0


def test_35_an_unknown_key_without_a_terminal_is_refused_then_trusted(server: Sshd) -> None:
    node = server.node(host_keys="ask")
    problem = refusal(node)
    assert fingerprint(server.folder / "host_key") in problem.what
    assert "fab trust" in problem.advice
    assert not node.ssh.known_hosts.exists()
    assert [(trust.where, trust.state) for trust in trust([node], Login())] == [("node1", "recorded")]
    assert [(trust.where, trust.state) for trust in trust([node], Login())] == [("node1", "known")]
    assert enters(node)
    assert known_to_openssh(server)


def test_35_an_unknown_key_is_refused_by_strict(server: Sshd) -> None:
    node = server.node(host_keys="strict")
    assert "is unknown" in refusal(node, Login(ask=lambda _: True)).what
    assert not node.ssh.known_hosts.exists()


def test_35_the_question_shows_the_fingerprint_and_yes_records_it(server: Sshd) -> None:
    questions: list[str] = []
    node = server.node(host_keys="ask")

    def answer(question: str) -> bool:
        questions.append(question)
        return len(questions) > 1

    assert "not trusted" in refusal(node, Login(ask=answer)).what
    assert not node.ssh.known_hosts.exists()
    assert enters(node, Login(ask=answer))
    assert enters(node, Login(ask=answer))
    assert len(questions) == 2
    assert all(fingerprint(server.folder / "host_key") in question for question in questions)


def test_35_a_question_answered_late_needs_no_second_run(start: StartSshd) -> None:
    """sshd hangs up after its grace time while a person compares fingerprints, for another node even."""
    servers = [start("LoginGraceTime 1\n") for _ in range(3)]
    nodes = [server.node(f"node{index}", host_keys="ask") for index, server in enumerate(servers)]
    trust(nodes[:1], Login())

    def ponder(_: str) -> bool:
        for server in servers[1:]:
            with socket.create_connection(("127.0.0.1", server.port)) as later:
                while later.recv(1000):
                    pass  # sshd hangs up on this caller, so it has on those before
        return True

    Remotes.open(nodes, Login(ask=ponder)).close()


def test_35_a_new_key_is_recorded_by_accept_new(server: Sshd) -> None:
    node = server.node(host_keys="accept-new")
    assert enters(node)
    assert enters(server.node(host_keys="strict"))
    assert known_to_openssh(server)
    assert node.ssh.known_hosts.stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize("policy", ["ask", "accept-new", "strict"])
def test_36_a_changed_key_is_always_refused(server: Sshd, policy: str) -> None:
    node = server.node(host_keys=policy)
    node.ssh.known_hosts.write_text("# a comment\n\n")
    trust([node], Login())
    before, old = node.ssh.known_hosts.read_text(), fingerprint(server.folder / "host_key")
    server.rekey()
    problem = refusal(node, Login(ask=lambda _: True))
    assert f"{node.ssh.known_hosts}:3 has ED25519 {old}" in problem.what
    assert fingerprint(server.folder / "host_key") in problem.what
    assert f"ssh-keygen -f {node.ssh.known_hosts} -R '[127.0.0.1]:{server.port}'" in problem.advice
    (seen,) = trust([node], Login())
    assert (seen.state, seen.problem) == ("changed", problem)
    assert node.ssh.known_hosts.read_text() == before
    subprocess.run(["ssh-keygen", "-q", "-f", node.ssh.known_hosts, "-R", f"[127.0.0.1]:{server.port}"], check=True)
    assert trust([node], Login())[0].state == "recorded"
    assert enters(node)


def test_36_a_revoked_key_is_refused(server: Sshd) -> None:
    node = server.node()
    node.ssh.known_hosts.write_text(f"@revoked * {(server.folder / 'host_key.pub').read_text()}")
    assert "is revoked" in refusal(node).what


def test_the_kind_of_key_that_is_known_is_the_one_asked_for(start: StartSshd, tmp_path: Path) -> None:
    rsa = make_key(tmp_path / "rsa", "rsa")
    server = start(f"HostKey {rsa}\n")
    node = server.node(host_keys="strict")
    kind, key, _ = Path(f"{rsa}.pub").read_text().split()
    node.ssh.known_hosts.write_text(f"[127.0.0.1]:{server.port} {kind} {key}\n")
    assert enters(node)


def test_36_a_key_of_another_kind_than_the_known_one_is_a_changed_key(server: Sshd, tmp_path: Path) -> None:
    node = server.node()
    kind, key, _ = Path(f"{make_key(tmp_path / 'rsa', 'rsa')}.pub").read_text().split()
    node.ssh.known_hosts.write_text(f"[127.0.0.1]:{server.port} {kind} {key}\n")
    assert "has changed" in refusal(node).what


def test_a_hashed_file_is_understood(server: Sshd) -> None:
    node = server.node(host_keys="strict")
    trust([node], Login())
    subprocess.run(["ssh-keygen", "-q", "-H", "-f", node.ssh.known_hosts], check=True, capture_output=True)
    assert "127.0.0.1" not in node.ssh.known_hosts.read_text()
    assert enters(node)


def test_many_at_once_lose_no_line(start: StartSshd, tmp_path: Path) -> None:
    servers = [start() for _ in range(6)]
    together = tmp_path / "deep" / "known_hosts"
    nodes = [server.node(f"node{index}", known_hosts=together) for index, server in enumerate(servers)]
    Remotes.open(nodes, Login()).close()
    assert len(together.read_text().splitlines()) == 6
    strict = [
        server.node(f"node{index}", known_hosts=together, host_keys="strict") for index, server in enumerate(servers)
    ]
    Remotes.open(strict, Login()).close()


def test_trust_shows_who_could_not_be_reached_beside_the_others(server: Sshd) -> None:
    seen = trust([server.node("a", port=1), server.node("b")], Login())
    assert [(trust.where, trust.state) for trust in seen] == [("a", "unreachable"), ("b", "recorded")]
    assert seen[0].problem is not None


def test_trust_needs_no_login(server: Sshd, tmp_path: Path) -> None:
    assert trust([server.node(key=tmp_path / "none")], Login())[0].state == "recorded"
    assert "Accepted" not in server.log()
