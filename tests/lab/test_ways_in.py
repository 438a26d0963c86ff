"""Access: operators with their kinds of login, and no client without the right certificate."""

from __future__ import annotations

import base64
import stat
import subprocess
import tarfile
from pathlib import Path

import pytest
from conftest import Fab, MakeLab
from observe import document, run, with_password

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

    code, output = with_password(cluster, cluster.folder / "jump.yml", "provision")
    assert code == 0, output
    assert OPS_PASSWORD not in output


@pytest.fixture
def stranger(tmp_path: Path) -> list[str]:
    """Return a certificate of an authority that nobody trusts."""
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
    """Return whether an HTTP request over TLS gets an answer: TLS 1.3 refuses a client only after its handshake."""
    command = ["openssl", "s_client", "-quiet", "-connect", address, *certificate]
    result = controller(lab.name, command, input="GET /version HTTP/1.0\r\n\r\n", timeout=15)
    return "HTTP/1." in result.stdout


CANARY = "c4n4ry-Zq7Yx"
PEM = f"-----BEGIN PRIVATE KEY-----\\n{CANARY}\\n-----END PRIVATE KEY-----\\n"
#: Plant secrets where operators put them. No daemon reads these files again before the test restores them.
SECRETS = f"""
docker run -d --name canary -e CANARY={CANARY} --label com.example.token={CANARY} busybox \\
    sh -c 'sleep 600; echo {CANARY}'
printf '[Service]\\nEnvironment="HTTPS_PROXY=http://me:{CANARY}@proxy.example:3128" "NOTE={OPS_PASSWORD}"\\n' \
    >/etc/systemd/system/docker.service.d/canary.conf
echo '{{"registry-mirrors": ["https://me:{CANARY}@mirror.example"]}}' >/etc/docker/daemon.json
cp -a /etc/default/docker /run/kept && printf '{PEM}' >>/etc/default/docker
cp -a /etc/systemd/system/etcd.service /run/kept.service
echo '# token = {CANARY}' >>/etc/systemd/system/etcd.service
systemctl daemon-reload
echo 'token={CANARY} {OPS_PASSWORD} https://me:{CANARY}@x.example' >/dev/kmsg || true
"""
CURE = """
docker rm -f canary; rm -f /etc/systemd/system/docker.service.d/canary.conf /etc/docker/daemon.json
mv -f /run/kept /etc/default/docker; mv -f /run/kept.service /etc/systemd/system/etcd.service; systemctl daemon-reload
"""


def test_87_a_failed_verify_leaves_a_bundle_without_any_secret_and_names_it(cluster: Lab) -> None:
    run(cluster, "node1", SECRETS)
    try:
        code, output = with_password(cluster, cluster.folder / "jump.yml", "verify", "--only", "etcd/one-leader")
    finally:
        run(cluster, "node1", CURE)
    assert code == 5, output
    (path,) = (cluster.folder / ".overlay" / cluster.name / "bundles").glob("*.tar.gz")
    assert str(path) in output
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    with tarfile.open(path) as tar:
        found = {entry.name.partition("/")[2]: tar.extractfile(entry).read() for entry in tar}  # type: ignore[union-attr]
    assert all(one.name in found["README.txt"].decode() for one in cluster.nodes)
    for secret in (CANARY, OPS_PASSWORD):
        for form in (secret.encode(), base64.b64encode(secret.encode())):
            assert [name for name, data in found.items() if form in data] == []
    # Each secret was in the bundle: the text around it still is.
    assert b'"CANARY"' in found["node1/docker/container-details.txt"]
    assert b"@proxy.example:3128" in found["node1/docker/unit.txt"]
    assert b"@mirror.example" in found["node1/docker/daemon.json.txt"]
    assert b"com.example.token" in found["node1/docker/container-details.txt"]
    assert b"# token = REDACTED" in found["node1/etcd/unit.txt"]
    assert b"token = REDACTED" in found["controller/report.json"]
    assert b"published local member" in found["node2/etcd/journal.txt"]


def test_a_bundle_is_written_where_it_is_asked_for_and_says_which_node_told_nothing(
    cluster: Lab, fab: Fab, tmp_path: Path
) -> None:
    path = tmp_path / "b.tar.gz"
    inventory = cluster.folder / "jump.yml"
    report = document(fab(cluster, "verify", "--bundle", str(path), "--json", inventory=inventory, inside=True), 3)
    assert report["bundle"] == str(path)
    with tarfile.open(path) as tar:
        (readme,) = (tar.extractfile(entry).read().decode() for entry in tar if entry.name.endswith("README.txt"))  # type: ignore[union-attr]
    for node in cluster.nodes:
        assert f"{node.name}: 0 files, but not all: {node.name}: sudo asks for the password" in readme
    report = document(fab(cluster, "verify", "--bundle", str(tmp_path / "none" / "b.tar.gz"), "--json"), 2)
    assert report["problems"]
