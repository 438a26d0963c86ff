"""Who gets in: operators as they log in, and nobody without the right certificate."""

from __future__ import annotations

import os
import pty
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import Fab, MakeLab
from observe import document, run

from provision.lab import OPS_PASSWORD, Lab, controller

pytestmark = pytest.mark.lab

PORTS = {2379: "etcd-client", 2376: "docker"}


@pytest.fixture(scope="module")
def cluster(make_lab: MakeLab) -> Lab:
    lab = make_lab(2, ops=True)
    jump = lab.folder / "jump.yml"
    text = lab.inventory.read_text()
    lines = [
        line for line in text.splitlines() if not line.strip().startswith(("gateway:", "known_hosts:", "host_keys:"))
    ]
    at = lines.index("ssh:")
    lines[at + 1 : at + 1] = [
        f"  gateway: ops@{lab.jump.address}",
        "  known_hosts: jump_known_hosts",
        "  host_keys: ask",
    ]
    jump.write_text("\n".join(lines) + "\n")
    return lab


def _with_password(lab: Lab, *words: str) -> tuple[int, str]:
    """Run fab inside the lab's network, the sudo password typed where Fabric asks for it."""
    command = [*lab.inside, str(Path(sys.executable).with_name("fab")), "-i", str(lab.folder / "jump.yml")]
    process, terminal = pty.fork()
    if process == 0:
        os.chdir(Path(__file__).parents[2])
        os.environ.pop("SSH_AUTH_SOCK", None)
        os.execvp(command[0], [*command, "--prompt-for-sudo-password", *words])
    output, answered = b"", False
    while True:
        try:
            part = os.read(terminal, 4096)
        except OSError:
            break
        if not part:
            break
        output += part
        if not answered and b"password" in output.lower():
            os.write(terminal, OPS_PASSWORD.encode() + b"\n")
            answered = True
    _, status = os.waitpid(process, 0)
    return os.waitstatus_to_exitcode(status), output.decode(errors="replace")


def test_ops_with_a_sudo_password_comes_through_a_jump_host_once_it_is_trusted(cluster: Lab, fab: Fab) -> None:
    inventory = cluster.folder / "jump.yml"
    refused = fab(cluster, "plan", inventory=inventory, inside=True)
    assert refused.returncode == 3
    assert "fab trust" in refused.stderr
    assert "Traceback" not in refused.stderr

    document(fab(cluster, "trust", "--json", inventory=inventory, inside=True))
    no_password = fab(cluster, "plan", inventory=inventory, inside=True)
    assert no_password.returncode == 3
    assert "--prompt-for-sudo-password" in no_password.stderr

    code, output = _with_password(cluster, "provision")
    assert code == 0, output
    assert OPS_PASSWORD not in output


@pytest.fixture
def stranger(tmp_path: Path) -> list[str]:
    """A certificate of nobody's authority."""
    key, certificate = str(tmp_path / "key"), str(tmp_path / "certificate")
    making = "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -subj /CN=controller -days 2 -keyout"
    subprocess.run([*making.split(), key, "-out", certificate], check=True, capture_output=True)
    return ["-cert", certificate, "-key", key]


@pytest.mark.parametrize("port", PORTS)
def test_a_port_refuses_whoever_has_no_certificate_or_a_wrong_one(cluster: Lab, port: int, stranger: list[str]) -> None:
    right = PORTS[port]
    wrong = next(authority for authority in PORTS.values() if authority != right)
    for node in cluster.nodes:
        address = f"{node.address}:{port}"
        assert _answers(cluster, address, _leaf(cluster, right, "controller"))
        assert not _answers(cluster, address, [])
        assert not _answers(cluster, address, stranger)
        assert not _answers(cluster, address, _leaf(cluster, wrong, "controller"))


def test_the_peer_port_answers_members_only_and_only_from_their_own_address(cluster: Lab, stranger: list[str]) -> None:
    request = "printf 'GET /members HTTP/1.0\\r\\n\\r\\n'"
    leaf = "-cert /etc/etcd/pki/peer.crt -key /etc/etcd/pki/peer.key"
    for node, other in zip(cluster.nodes, reversed(cluster.nodes), strict=True):
        member = (
            f"{{ {request}; sleep 2; }} | timeout 10 openssl s_client -quiet -connect {other.address}:2380 {leaf} 2>&1"
        )
        assert "HTTP/1." in run(cluster, node.name, f"{member} || true")
        address = f"{node.address}:2380"
        for client in (
            [],
            stranger,
            _leaf(cluster, "etcd-client", "controller"),
            _leaf(cluster, "etcd-peer", f"{node.name}-peer"),
        ):
            assert not _answers(cluster, address, client)


def _leaf(lab: Lab, authority: str, name: str) -> list[str]:
    base = lab.folder / ".overlay" / lab.name / authority
    return ["-cert", str(base / f"{name}.crt"), "-key", str(base / f"{name}.key")]


def test_nothing_listens_on_dockers_plain_port(cluster: Lab) -> None:
    for node in cluster.nodes:
        assert controller(cluster.name, ["nc", "-z", "-w", "2", node.address, "2375"]).returncode != 0


def _answers(lab: Lab, address: str, certificate: list[str]) -> bool:
    """Whether an HTTP request over TLS gets any answer: TLS 1.3 refuses a client only after its handshake."""
    command = ["openssl", "s_client", "-quiet", "-connect", address, *certificate]
    result = controller(lab.name, command, input="GET /version HTTP/1.0\r\n\r\n", timeout=15)
    return "HTTP/1." in result.stdout
