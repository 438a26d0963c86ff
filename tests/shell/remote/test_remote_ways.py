"""Jump hosts, ProxyCommands and tunnels; many nodes at once."""

from __future__ import annotations

import http.client
import http.server
import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from functools import partial
from pathlib import Path

import pytest
from remote_sshd import SUDO_PASSWORD, Sshd, StartSshd, await_true, free_port

from provision.errors import ConnectionFailed, LockHeld, Problem, StepFailed
from provision.inventory.model import Node
from provision.remote import Login, Remote, Remotes, connect, openssh, trust


def let_in(door: Sshd, guest: Sshd) -> None:
    """Let the guest's key open the door as well."""
    with (door.folder / "authorized_keys").open("a") as file:
        file.write(Path(f"{guest.key}.pub").read_text())


@pytest.fixture
def jump(start: StartSshd, server: Sshd) -> Sshd:
    jump = start()
    let_in(jump, server)
    return jump


def gateway(jump: Sshd) -> str:
    return f"root@127.0.0.1:{jump.port}"


def test_many_nodes_share_one_connection_to_the_jump_host(jump: Sshd, server: Sshd) -> None:
    nodes = [server.node(f"node{number}", gateway=gateway(jump)) for number in range(3)]
    with Remotes.open(nodes, Login()) as remotes:
        ids = remotes.each(lambda remote: remote.run("id -u").stdout)
    assert ids == {"node0": "0\n", "node1": "0\n", "node2": "0\n"}
    assert jump.log().count("Accepted publickey") == 1


def test_a_file_goes_through_a_jump_host_whole(jump: Sshd, server: Sshd) -> None:
    with closing(connect(server.node(gateway=gateway(jump)), Login())) as remote:
        remote.push(os.urandom(5_000_000), "/run/file")
        assert remote.run("stat -c %s /run/file").stdout == "5000000\n"


def test_35_the_jump_hosts_key_is_asked_for_by_the_same_policy(jump: Sshd, server: Sshd) -> None:
    node = server.node(gateway=gateway(jump), host_keys="ask")
    with pytest.raises(ConnectionFailed) as refused:
        connect(node, Login())
    assert refused.value.problems[0].where == "jump host 127.0.0.1"
    assert [(trust.where, trust.state) for trust in trust([node], Login())] == [
        ("jump host 127.0.0.1", "recorded"),
        ("node1", "recorded"),
    ]
    connect(node, Login()).close()


def test_36_a_jump_host_whose_key_changed_is_one_problem_for_all_behind_it(jump: Sshd, server: Sshd) -> None:
    nodes = [server.node(f"node{number}", gateway=gateway(jump)) for number in range(3)]
    trust(nodes, Login())
    jump.rekey()
    with pytest.raises(ConnectionFailed) as refused:
        Remotes.open(nodes, Login())
    (problem,) = refused.value.problems
    assert problem.where == "jump host 127.0.0.1"
    assert "has changed" in problem.what
    assert [trust.state for trust in trust(nodes, Login())] == ["changed", *["unreachable"] * 3]


def test_31_a_node_that_the_jump_host_cannot_reach(jump: Sshd, server: Sshd) -> None:
    with pytest.raises(ConnectionFailed, match=r"127.0.0.1 cannot connect to ") as refused:
        connect(server.node(gateway=gateway(jump), port=free_port()), Login())
    assert refused.value.problems[0].where == "node1"
    assert f"ssh -J root@127.0.0.1:{jump.port} -p" in refused.value.problems[0].advice


def test_31_a_jump_host_that_is_down(server: Sshd) -> None:
    with pytest.raises(ConnectionFailed, match=r"jump host 127.0.0.1: 127.0.0.1 port .* the port refuses"):
        connect(server.node(gateway=f"root@127.0.0.1:{free_port()}"), Login())


def test_92_a_jump_host_that_refuses_forwarding(start: StartSshd, server: Sshd) -> None:
    jump = start("AllowTcpForwarding no\n")
    let_in(jump, server)
    with pytest.raises(ConnectionFailed, match="AllowTcpForwarding") as refused:
        connect(server.node(gateway=gateway(jump)), Login())
    assert f"sshd on 127.0.0.1 refuses to forward to 127.0.0.1:{server.port}" in refused.value.problems[0].what


def test_two_jump_hosts_of_the_ssh_configuration(jump: Sshd, server: Sshd, start: StartSshd, home: Path) -> None:
    outer = start()
    let_in(outer, server)
    (home / ".ssh").mkdir()
    (home / ".ssh" / "config").write_text(
        f"Host inner\n  HostName 127.0.0.1\n  Port {jump.port}\n  User root\n"
        f"Host box\n  HostName 127.0.0.1\n  ProxyJump root@127.0.0.1:{outer.port},inner\n"
    )
    connect(server.node(host="box"), Login()).close()
    assert "Accepted" in outer.log()
    assert "Accepted" in jump.log()


def test_a_proxy_command_is_filled_in_and_ended(server: Sshd, tmp_path: Path) -> None:
    command = f"sh -c 'echo $$ >{tmp_path}/pid; exec nc %h %p'"
    with closing(connect(server.node(gateway=command), Login())) as remote:
        assert remote.run("id -u").stdout == "0\n"
        remote.push(os.urandom(5_000_000), "/run/file")
        pid = int((tmp_path / "pid").read_text())
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)


def test_161_a_proxy_command_gets_pipes_which_it_may_open_anew(server: Sshd) -> None:
    command = "sh -c 'cat </dev/stdin | nc %h %p >/dev/stdout; [ -p /dev/stdin ]'"
    with closing(connect(server.node(gateway=command), Login())) as remote:
        remote.push(os.urandom(5_000_000), "/run/file")
        assert remote.run("head -c 5000000 /dev/zero; stat -c %s /run/file").stdout[-8:] == "5000000\n"


def test_161_a_proxy_command_runs_in_the_users_shell(server: Sshd, monkeypatch: pytest.MonkeyPatch) -> None:
    command = "nc $([[ %h == 127* ]] && echo %h) %p"
    monkeypatch.setenv("SHELL", "/bin/bash")
    connect(server.node(gateway=command), Login()).close()


PASS_ON = """
import socket, sys
link = socket.create_connection((sys.argv[1], int(sys.argv[2])))
socket.send_fds(socket.socket(fileno=1), [b"x"], [link.fileno()])
"""


def test_161_a_proxy_command_may_pass_its_connection_on(server: Sshd, home: Path) -> None:
    (home / "pass.py").write_text(PASS_ON)
    (home / ".ssh").mkdir()
    config = home / ".ssh" / "config"
    config.write_text(f"Host *\n  ProxyUseFdpass yes\n  ProxyCommand {sys.executable} {home}/pass.py %h %p\n")
    with closing(connect(server.node(), Login())) as remote:
        assert remote.run("id -u").stdout == "0\n"
    config.write_text("Host *\n  ProxyUseFdpass yes\n  ProxyCommand true\n")
    openssh.options.cache_clear()
    with pytest.raises(ConnectionFailed, match="passed no connection on"):
        connect(server.node(), Login())


def test_a_proxy_command_that_ignores_its_end_is_killed(server: Sshd, tmp_path: Path) -> None:
    command = f"sh -c 'trap \"\" TERM HUP; echo $$ >{tmp_path}/pid; nc %h %p; while :; do sleep 1; done'"
    connect(server.node(gateway=command), Login()).close()
    with pytest.raises(ProcessLookupError):
        os.kill(int((tmp_path / "pid").read_text()), 0)


def test_31_a_proxy_command_that_fails_is_quoted_with_its_words(server: Sshd) -> None:
    with pytest.raises(ConnectionFailed) as refused:
        connect(server.node(gateway="echo 'no way to %h' >&2; exit 3"), Login())
    assert "`echo 'no way to 127.0.0.1' >&2; exit 3`: no way to 127.0.0.1" in refused.value.problems[0].what


class Page(http.server.BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.send_response(200)
        self.end_headers()
        self.wfile.write(b"x" * 1_000_000)

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def page() -> Iterator[int]:
    """The port of a small web server."""
    web = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Page)
    thread = threading.Thread(target=web.serve_forever, daemon=True)
    thread.start()
    yield web.server_port
    web.shutdown()
    thread.join()
    web.server_close()


def fetch(port: int) -> bytes:
    with closing(http.client.HTTPConnection("127.0.0.1", port, timeout=30)) as client:
        client.request("GET", "/")
        return client.getresponse().read()


@pytest.fixture
def remote(server: Sshd) -> Iterator[Remote]:
    with closing(connect(server.node(), Login())) as remote:
        yield remote


def test_a_tunnel_carries_many_connections_at_once(remote: Remote, page: int) -> None:
    port = remote.tunnel(page)
    sizes: list[int] = []
    callers = [threading.Thread(target=lambda: sizes.append(len(fetch(port)))) for _ in range(8)]
    for caller in callers:
        caller.start()
    for caller in callers:
        caller.join()
    assert sizes == [1_000_000] * 8


def test_a_tunnel_passes_the_end_of_one_direction_on(remote: Remote) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = remote.tunnel(listener.getsockname()[1])
        with socket.create_connection(("127.0.0.1", port), timeout=30) as client:
            peer, _ = listener.accept()
            client.sendall(b"question")
            client.shutdown(socket.SHUT_WR)
            question = b"".join(iter(lambda: peer.recv(100), b""))
            peer.sendall(question + b" answered")
            peer.close()
            assert client.recv(100) == b"question answered"


def test_a_tunnel_to_a_service_not_yet_up_works_once_it_is(remote: Remote) -> None:
    later = free_port()
    port = remote.tunnel(later, "127.0.0.1")
    with pytest.raises((http.client.HTTPException, OSError)):
        fetch(port)
    web = http.server.HTTPServer(("127.0.0.1", later), Page)
    thread = threading.Thread(target=web.handle_request, daemon=True)
    thread.start()
    assert len(fetch(port)) == 1_000_000
    thread.join()
    web.server_close()


def test_a_tunnel_to_a_service_that_restarted_does_not_use_the_old_stream(remote: Remote) -> None:
    with socket.create_server(("127.0.0.1", 0)) as old:
        where = old.getsockname()[1]
        port = remote.tunnel(where)
        spare, _ = old.accept()
        spare.close()
    web = http.server.HTTPServer(("127.0.0.1", where), Page)
    thread = threading.Thread(target=web.handle_request, daemon=True)
    thread.start()
    assert remote.run("true").code == 0  # by then the old stream's end has arrived
    assert len(fetch(port)) == 1_000_000
    thread.join()
    web.server_close()


def test_a_tunnel_ends_with_its_remote(server: Sshd, page: int) -> None:
    remote = connect(server.node(), Login())
    port = remote.tunnel(page)
    remote.close()
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", port)).close()


def test_92_a_node_that_refuses_forwarding(start: StartSshd, page: int) -> None:
    remote = connect(start("AllowTcpForwarding no\n").node(), Login())
    with pytest.raises(ConnectionFailed, match=r"node1: sshd on 127.0.0.1 refuses to forward") as refused:
        remote.tunnel(page)
    assert "AllowTcpForwarding yes" in refused.value.problems[0].advice
    remote.close()


def test_92_a_node_that_permits_only_some_ports(start: StartSshd, page: int) -> None:
    remote = connect(start(f"PermitOpen 127.0.0.1:{page}\n").node(), Login())
    assert len(fetch(remote.tunnel(page))) == 1_000_000
    with pytest.raises(ConnectionFailed, match="PermitOpen"):
        remote.tunnel(page + 1)
    remote.close()


@pytest.mark.parametrize("setting", ["AllowTcpForwarding no", "DisableForwarding yes", "PermitOpen 127.0.0.1:1"])
def test_92_a_refusal_is_known_before_a_tunnel_is_needed(start: StartSshd, page: int, setting: str) -> None:
    remote = connect(start(f"{setting}\n").node(), Login())
    for port in (page, free_port()):
        refusal = remote.tunnel_refused(port)
        assert refusal
        assert refusal.what == f"sshd on 127.0.0.1 refuses to forward to 127.0.0.1:{port}"
    remote.close()


@pytest.mark.parametrize(
    ("setting", "is_refused"),
    [
        ("", False),
        ("AllowTcpForwarding no", True),
        ("AllowStreamLocalForwarding no", True),
        ("DisableForwarding yes", True),
    ],
)
def test_92_a_refusal_of_sockets_is_known_before_one_is_needed(
    start: StartSshd, tmp_path: Path, setting: str, is_refused: bool
) -> None:
    remote = connect(start(f"{setting}\n").node(), Login())
    with socket.socket(socket.AF_UNIX) as answering:
        answering.bind(str(tmp_path / "socket"))
        answering.listen()
        assert (remote.sockets_refused(str(tmp_path / "socket")) is not None) == is_refused
    remote.close()


def test_92_of_many_refused_at_once_each_is_told_its_own_reason(start: StartSshd) -> None:
    unserved = free_port()
    remote = connect(start(f"PermitOpen 127.0.0.1:{unserved}\n").node(), Login())
    ports = [unserved, unserved + 1] * 20
    with ThreadPoolExecutor(len(ports)) as threads:
        refusals = list(threads.map(remote.tunnel_refused, ports))
    remote.close()
    for port, refusal in zip(ports, refusals, strict=True):
        told = None if port == unserved else f"sshd on 127.0.0.1 refuses to forward to 127.0.0.1:{port}"
        assert (refusal and refusal.what) == told


def test_92_a_port_that_nobody_serves_yet_is_no_refusal(server: Sshd, page: int) -> None:
    remote = connect(server.node(), Login())
    assert [remote.tunnel_refused(port) for port in (page, free_port())] == [None, None]
    remote.close()


def test_the_problems_of_all_nodes_come_as_one_error_and_nothing_stays_open(
    server: Sshd, start: StartSshd, tmp_path: Path
) -> None:
    nodes = [
        server.node("good"),
        server.node("down", port=free_port()),
        start().node("locked", key=tmp_path / "none"),
        start().node("ops", user="ops"),
    ]
    with pytest.raises(ConnectionFailed) as refused:
        Remotes.open(nodes, Login())
    assert [problem.where for problem in refused.value.problems] == ["down", "locked", "ops"]
    await_true(lambda: "Disconnected from user root" in server.log() or "Connection closed" in server.log())


def test_each_returns_by_name_in_inventory_order_and_for_those_asked(server: Sshd) -> None:
    nodes = [server.node(name) for name in ("b", "a", "c")]
    with Remotes.open(nodes, Login()) as remotes:
        assert list(remotes.each(lambda remote: remote.node.name).items()) == [("b", "b"), ("a", "a"), ("c", "c")]
        assert remotes.each(lambda remote: remote.node.name, nodes[1:2]) == {"a": "a"}
        assert remotes["c"].node is nodes[2]


def test_each_collects_errors_and_lets_the_others_finish(server: Sshd) -> None:
    finished: list[str] = []

    def step(remote: Remote) -> None:
        if remote.node.name != "b":
            raise StepFailed(Problem("broken", remote.node.name))
        remote.run("sleep 0.2")
        finished.append("b")

    with Remotes.open([server.node(name) for name in "abc"], Login()) as remotes:
        with pytest.raises(StepFailed) as failed:
            remotes.each(step)
        assert [problem.where for problem in failed.value.problems] == ["a", "c"]
        assert finished == ["b"]
        with pytest.raises(LockHeld):
            remotes.each(lambda remote: (_ for _ in ()).throw(LockHeld(Problem("x", remote.node.name))))


def says(server: Sshd, script: str, answer: str) -> bool:
    return server.inside(script) == answer


INTERRUPTED = """
import sys, pickle
from provision.remote import Remotes, Login
nodes, password = pickle.loads(bytes.fromhex(sys.argv[1]))
step = lambda remote: remote.run(f"echo $$ >/run/{remote.node.name}; sleep 1000", timeout=1000, changes=True)
try:
    with Remotes.open(nodes, Login(sudo_password=password)) as remotes:
        remotes.each(step)
except KeyboardInterrupt:
    sys.exit(130)
"""


@pytest.mark.parametrize("user", ["root", "ops"])
def test_56_an_interrupt_ends_what_runs_on_the_nodes(start: StartSshd, user: str) -> None:
    import pickle

    servers = [start(), start()]
    nodes: list[Node] = [server.node(f"node{index}", user=user) for index, server in enumerate(servers)]
    arguments = pickle.dumps((nodes, SUDO_PASSWORD)).hex()
    root = Path(__file__).parents[3]
    command = ("env", "--default-signal=INT", sys.executable, "-c", INTERRUPTED, arguments)  # whoever runs the tests
    controller = subprocess.Popen(command, cwd=root)
    for server, node in zip(servers, nodes, strict=True):
        await_true(partial(says, server, f"[ ! -s /run/{node.name} ] || echo begun", "begun\n"))
    controller.send_signal(signal.SIGINT)
    assert controller.wait(30) == 130
    for server, node in zip(servers, nodes, strict=True):
        gone = f'[ -d "/proc/$(cat /run/{node.name})" ] || echo gone'
        await_true(partial(says, server, gone, "gone\n"))
