"""The inventory: what it says, what is filled in where it is silent, and that all mistakes come at once."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from ipaddress import IPv4Network
from pathlib import Path
from typing import Any

import pytest
from inventory_sample import RIGHT, assert_only, changed, loaded, mistakes

from provision import inventory, planes
from provision.errors import UsageError
from provision.inventory import releases
from provision.inventory.model import SSH, App, AppImage, Archive, DockerEngine, Etcd, EtcdRelease, Hardening

ROOT = Path(__file__).parents[2]
SCHEMA = ROOT / "provision/inventory/schema.json"


def test_what_is_not_said_is_filled_in(tmp_path: Path) -> None:
    cluster = loaded(tmp_path, RIGHT[: RIGHT.index("overlay")])
    known_hosts = Path("~/.ssh/known_hosts").expanduser()
    assert cluster.nodes[0].ssh == SSH("192.0.2.1", None, None, None, known_hosts, "ask", None)
    assert [(network.name, network.subnet) for network in cluster.networks] == [("demo", IPv4Network("10.99.0.0/24"))]
    assert (cluster.control_plane, cluster.probe.image, cluster.probe.archive) == ("auto", "busybox", None)
    assert cluster.etcd == Etcd(str(tmp_path / "etcd.tar.gz"), None)


def test_a_subnet_may_be_left_to_the_program(tmp_path: Path) -> None:
    cluster = loaded(tmp_path, changed("10.99.0.0/24", "auto") + "    other: {subnet: 10.98.0.0/24}\n")
    assert [network.subnet for network in cluster.networks] == [None, IPv4Network("10.98.0.0/24")]


def test_hardening_is_switched_one_by_one(tmp_path: Path) -> None:
    assert loaded(tmp_path, RIGHT).hardening == Hardening()
    said = "docker:\n  hardening: {rotate_logs: false, isolate_default_bridge: true}\n"
    assert loaded(tmp_path, RIGHT + said).hardening == Hardening(rotate_logs=False, isolate_default_bridge=True)


DIGITS = "a" * 64


def test_docker_is_installed_where_that_is_asked_for(tmp_path: Path) -> None:
    assert loaded(tmp_path, RIGHT).docker_engine == DockerEngine(False, "docker.io", {}, "", True)
    said = "docker: {install: true, package: docker-ce, version: '28.5', hold: false}\n"
    assert loaded(tmp_path, RIGHT + said).docker_engine == DockerEngine(True, "docker-ce", {}, "28.5", False)
    said = f"docker:\n  install: true\n  source: {{amd64: {{archive: docker-28.5.2.tgz, sha256: {DIGITS}}}, arm64: }}\n"
    archives = {"amd64": Archive(tmp_path / "docker-28.5.2.tgz", DIGITS)}
    assert loaded(tmp_path, RIGHT + said).docker_engine == DockerEngine(True, archives=archives)


@pytest.mark.parametrize("version", ["28", "28.5", "28.5.2", "20.10.24", "26.0"])
def test_a_version_of_docker_or_its_beginning(tmp_path: Path, version: str) -> None:
    assert loaded(tmp_path, f"{RIGHT}docker: {{version: '{version}'}}\n").docker_engine.version == version


@pytest.mark.parametrize(
    ("docker", "what", "advice"),
    [
        ("install: yes", "`yes` is taken for", "write install: true"),
        ("version: 28.5", "`28.5` is taken for a number", 'put it in quotes: version: "28.5"'),
        ("version: 28", "`28` is a number", 'put it in quotes: version: "28"'),
        ("version: 28.5.2.1", "is not a version of Docker", '"28.5"'),
        ("version: '28.'", "is not a version of Docker", '"28.5"'),
        ("version: '028'", "is not a version of Docker", '"28.5"'),
        ("version: latest", "is not a version of Docker", '"28.5"'),
        ("package: docker.io=20", "holds `=`", "docker.io"),
        ("package: -y", "starts with `-`", "docker.io"),
        ("source: docker.tgz", "a group of keys is expected", "archive: "),
        ("source: {}", "no archive is named", "amd64: {archive:"),
        ("source: {amd64: }", "no archive is named", "amd64: {archive:"),
        ("source: {x86_64: {archive: docker.tgz}}", "docker.source.x86_64: there is no such key", "amd64, arm64"),
        ("source: {amd64: {archive: docker.tgz}}", "docker.source.amd64.sha256: this key is missing", "sha256"),
        (f"source: {{amd64: {{sha256: {DIGITS}}}}}", "docker.source.amd64.archive: this key is missing", "docker-28"),
        (
            f"source: {{amd64: {{archive: x.tgz, sha256: {DIGITS}}}}}",
            "no version is in the file's name",
            "docker-28.5.2",
        ),
        (
            f"version: '27', source: {{amd64: {{archive: a/docker-28.5.2.tgz, sha256: {DIGITS}}}}}",
            "docker.source.amd64: the archive is of 28.5.2, and docker.version is 27",
            "the archive of that version",
        ),
        ("source: {amd64: {archive: x, sha256: abc}}", "not 64 hexadecimal digits", "sha256sum FILE"),
        (
            f"package: docker.io, source: {{amd64: {{archive: x, sha256: {DIGITS}}}}}",
            "from a package",
            "one of the two",
        ),
    ],
)
def test_where_docker_comes_from(tmp_path: Path, docker: str, what: str, advice: str) -> None:
    problems = mistakes(tmp_path, f"{RIGHT}docker: {{{docker}}}\n")
    assert any(what in problem.what and advice in problem.advice for problem in problems), problems


def test_the_firewall_is_asked_for(tmp_path: Path) -> None:
    assert [loaded(tmp_path, RIGHT + said).firewall for said in ("", "firewall: true\n")] == [False, True]
    assert_only(mistakes(tmp_path, f"{RIGHT}firewall: yes\n"), 11, "firewall", "write firewall: true")


@pytest.mark.parametrize(("text", "mtu"), [("auto", None), ("1400", 1400), ("576", 576), ("9000", 9000)])
def test_the_size_of_packets_may_be_said(tmp_path: Path, text: str, mtu: int | None) -> None:
    assert loaded(tmp_path, f"{RIGHT}  mtu: {text}\n").mtu == mtu


@pytest.mark.parametrize("text", ["575", "9001", "-1", "true", '"1400"', "1e3", "large", "[1400]", "", "{a: 1}", "017"])
def test_what_is_no_size_of_a_packet_is_told(tmp_path: Path, text: str) -> None:
    problems = mistakes(tmp_path, f"{RIGHT}  mtu: {text}\n")
    assert_only(problems, 11, "overlay.mtu: ", "write a number from 576 to 9000, or auto")


@pytest.mark.parametrize("text", ["Auto", "automatic", "any"])
def test_what_is_no_subnet_is_told_that_auto_is_one(tmp_path: Path, text: str) -> None:
    assert_only(mistakes(tmp_path, changed("10.99.0.0/24", text)), 10, f"`{text}` is not an IPv4 subnet", "or auto")


def test_a_section_with_nothing_in_it_is_one_that_is_not_there(tmp_path: Path) -> None:
    assert loaded(tmp_path, f"{RIGHT}ssh:\ndocker:\nprobe:\n") == loaded(tmp_path, RIGHT)


def test_a_node_overrides_what_all_share(tmp_path: Path) -> None:
    login = "user: ops, port: 2222, key: all, known_hosts: known"
    shared = f"ssh: {{{login}, host_keys: strict, gateway: jump@192.0.2.9}}\n"
    own = "192.0.2.2, ssh: {host: node2.example, user: root, key: ~/own, gateway: null}"
    first, second = loaded(tmp_path, shared + changed("192.0.2.2", own)).nodes
    known_hosts = tmp_path / "known"
    assert first.ssh == SSH("192.0.2.1", "ops", 2222, tmp_path / "all", known_hosts, "strict", "jump@192.0.2.9")
    own_key = Path("~/own").expanduser()
    assert second.ssh == SSH("node2.example", "root", 2222, own_key, known_hosts, "strict", None)


def test_paths_are_taken_from_the_inventorys_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "inventory.yml").write_text(f"{RIGHT}probe: {{archive: busybox.tar}}\n")
    monkeypatch.chdir(tmp_path)
    cluster = inventory.load(Path("inventory.yml"))
    assert cluster.path == tmp_path / "inventory.yml"
    assert cluster.etcd
    assert cluster.etcd.source == str(tmp_path / "etcd.tar.gz")
    assert cluster.probe.archive == tmp_path / "busybox.tar"
    assert cluster.folder == tmp_path / ".overlay/demo"


def test_the_counters_images_are_named_both_or_not_at_all(tmp_path: Path) -> None:
    assert loaded(tmp_path, RIGHT).app is None
    redis, web = "{image: 'redis:8'}", "{image: flask-redis, archive: web.tar}"
    cluster = loaded(tmp_path, f"{RIGHT}app: {{redis: {redis}, web: {web}}}\n")
    assert cluster.app == App(AppImage("redis:8", None), AppImage("flask-redis", tmp_path / "web.tar"))
    (problem,) = mistakes(tmp_path, f"{RIGHT}app: {{redis: {redis}}}\n")
    assert "web" in problem.what


@pytest.mark.parametrize(
    ("said", "members"),
    [
        ("--", "12"),
        ("---", "123"),
        ("-----", "123"),
        ("----+", "125"),
        ("0----", "234"),
        ("+++++", "12345"),
        ("++++-", "1234"),
        ("0-", "2"),
        ("--0", "12"),
        ("000+0", "4"),
    ],
)
def test_members_are_the_first_three_unless_said_otherwise(tmp_path: Path, said: str, members: str) -> None:
    words = {"-": "", "+": ", member: true", "0": ", member: false"}
    nodes = "".join(f'  "{n}": {{address: 192.0.2.{n}{words[word]}}}\n' for n, word in enumerate(said, start=1))
    text = re.sub(r"(?m)^  node.*\n", "", RIGHT).replace("nodes:\n", f"nodes:\n{nodes}")
    assert "".join(node.name for node in loaded(tmp_path, text).members) == members


def test_an_absent_host_is_no_node_and_another_becomes_a_member_in_its_place(tmp_path: Path) -> None:
    words = ("", "", ", state: absent", "", ", state: present")
    nodes = "".join(f"  node{n}: {{address: 192.0.2.{n}{word}}}\n" for n, word in enumerate(words, start=1))
    cluster = loaded(tmp_path, re.sub(r"(?m)^  node.*\n", "", RIGHT).replace("nodes:\n", f"nodes:\n{nodes}"))
    assert [node.name for node in cluster.nodes] == ["node1", "node2", "node4", "node5"]
    assert [node.name for node in cluster.members] == ["node1", "node2", "node4"]
    assert [node.name for node in cluster.absent] == ["node3"]


def test_two_nodes_stay(tmp_path: Path) -> None:
    text = changed("192.0.2.2", "192.0.2.2, state: absent")
    assert_only(mistakes(tmp_path, text), 5, "without node2 fewer than two nodes are left", "fab reset")


def test_somebody_must_be_a_member(tmp_path: Path) -> None:
    text = re.sub(r"(192\.0\.2\.\d)", r"\1, member: false", RIGHT)
    assert_only(mistakes(tmp_path, text), 3, "no node is a member", "delete `member: false`")


@pytest.mark.parametrize(
    ("nodes", "members", "warning"),
    [
        (2, 2, "while either of its two members is down, no container can join a network"),
        (3, 3, None),
        (3, 1, "while that member is down"),
        (4, 4, "4 members survive the loss of 1, like 3 members"),
        (5, 5, None),
        (9, 9, "each write waits for 5"),
        (21, 3, "21 nodes: more than 20 were not tried"),
    ],
)
def test_warnings(tmp_path: Path, nodes: int, members: int, warning: str | None) -> None:
    lines = "".join(
        f"  node{n}: {{address: 192.0.2.{n}, member: {str(n <= members).lower()}}}\n" for n in range(1, nodes + 1)
    )
    text = re.sub(r"(?m)^  node.*\n", "", RIGHT).replace("nodes:\n", f"nodes:\n{lines}")
    found = inventory.warnings(loaded(tmp_path, text))
    assert len(found) == (warning is not None)
    assert all(warning and warning in problem.what and problem.advice for problem in found)


@pytest.mark.parametrize(
    ("etcd", "what", "advice"),
    [
        ("source: https://host.example/etcd.tar.gz", "a download needs its checksum", "SHA256SUMS"),
        ("source: http://host.example/etcd.tar.gz", "can be changed in transit", "https://"),
        ("source: ftp://host.example/etcd.tar.gz", "can be changed in transit", "https://"),
        ("source: 'https://'", "is not a URL", "https://HOST/PATH"),
        ("source: 'https://[::1'", "is not a URL", "https://HOST/PATH"),
        ("source: ~nobody-of-that-name/etcd.tar.gz", "there is no such home folder", "the whole path"),
        ("source: x, sha256: abc", "not 64 hexadecimal digits", "sha256sum FILE"),
        (f"source: x, sha256: sha256:{'a' * 64}", "not 64 hexadecimal digits", "sha256sum FILE"),
        (f"source: x, sha256: {'1' * 64}", "is taken for a number", "put it in quotes"),
        (f"source: x, sha256: {{amd64: {'a' * 64}}}", "a source has one checksum", "64 digits of the source"),
        (f"sha256: {'a' * 64}", "etcd.version: this key is missing", "add version: 3.5.30, or source:"),
        ("", "etcd.version: this key is missing", "add version: 3.5.30, or source:"),
        ("version:", "etcd.version: this key is missing", "add version: 3.5.30, or source:"),
        ("source: x, version: 3.5.30", "named by its version already (line 6)", "delete one of the two"),
        ("source: x, mirror: https://host.example", "a source is not looked for there", "a version in place of"),
        ("version: 3.5.30, mirror: host.example/etcd", "is not the URL of a mirror", "http://HOST/PATH"),
        ("version: 3.5.30, mirror: ftp://host.example", "is not the URL of a mirror", "http://HOST/PATH"),
        ("version: 3.5.30, mirror: 'http://host.example/?a'", "is not the URL of a mirror", "http://HOST/PATH"),
        ("version: 3.5.30, mirror: 'http:///etcd'", "is not a URL", "http://HOST/PATH"),
        ("version: 3.5.30, mirror: 'http://host.example:x'", "is not a URL", "http://HOST/PATH"),
        ("version: 3.5.30, mirror: 'http://a:pass@host.example'", "`host.example` holds a login", "HOST/PATH"),
        (f"source: 'https://a:pass@host.example/x', sha256: {'a' * 64}", "holds a login", "HOST/PATH"),
        (f"version: 3.5.30, sha256: {'a' * 64}", "a version has a checksum for each CPU", "delete it"),
        (f"version: 3.5.99, sha256: {'a' * 64}", "a version has a checksum for each CPU", "amd64: 64 digits"),
        (f"version: 3.5.30, sha256: {{arm64: {'a' * 64}}}", "archive of etcd 3.5.30 has 4d19473d2567…", "delete it"),
        ("version: 3.5.99, sha256: {amd64: abc}", "not 64 hexadecimal digits", "sha256sum FILE"),
        ("version: 3.5.99, sha256: {amd64: 123}", "`123` is taken for a number", 'amd64: "64 digits"'),
        (f"version: 3.5.99, sha256: {{x86_64: {'a' * 64}}}", "`x86_64` is no CPU", "amd64, arm64"),
        ("version: 3.5.99, sha256: {}", "nothing is written here", "amd64, arm64"),
        ("version: 3.5.99, sha256: [a]", "is taken for a list", "64 digits"),
    ],
)
def test_where_etcd_comes_from(tmp_path: Path, etcd: str, what: str, advice: str) -> None:
    problems = mistakes(tmp_path, changed("etcd:\n  source: etcd.tar.gz", f"etcd: {{{etcd}}}"))
    assert any(what in problem.what and advice in problem.advice for problem in problems), problems
    assert all(problem.where.endswith("/inventory.yml:6") for problem in problems)
    assert not any("pass" in str(problem) for problem in problems)


@pytest.mark.parametrize("typed", ["3.5.30", '"3.5.30"', "'3.5.30'"])
def test_a_release_is_named_by_its_version(tmp_path: Path, typed: str) -> None:
    etcd = loaded(tmp_path, changed("source: etcd.tar.gz", f"version: {typed}")).etcd
    assert isinstance(etcd, EtcdRelease)
    assert (etcd.version, etcd.mirror) == ("3.5.30", "https://github.com/etcd-io/etcd/releases/download")
    assert etcd.sha256 == releases.known()["3.5.30"]
    assert set(etcd.sha256) == {"amd64", "arm64"}


def test_a_mirror_may_be_plain_http_because_the_checksum_decides(tmp_path: Path) -> None:
    text = changed("source: etcd.tar.gz", "version: 3.5.30\n  mirror: http://192.0.2.9:8080/etcd/")
    assert loaded(tmp_path, text).etcd == EtcdRelease(
        "3.5.30", "http://192.0.2.9:8080/etcd", releases.known()["3.5.30"]
    )


@pytest.mark.parametrize(
    ("version", "what"),
    [
        ("3.4.20", "etcd 3.4.20 is outside 3.4.21 or 3.5.5 and later, below 3.6"),
        ("3.5.0", "etcd 3.5.0 is outside"),
        ("3.5.4", "etcd 3.5.4 is outside"),
        ("3.3.27", "etcd 3.3.27 is outside"),
        ("2.3.8", "etcd 2.3.8 is outside"),
        ("3.6.0", "later ones have no v2 API for Docker"),
        ("4.0.0", "etcd 4.0.0 is outside"),
        ("v3.5.30", "is not the version of a release"),
        ("3.5.30-rc.0", "is not the version of a release"),
        ("3.5.030", "is not the version of a release"),
        ("'3.5'", "is not the version of a release"),
        ("3.5", "`3.5` is taken for a number"),
        ("35", "`35` is a number"),
        ("latest", "is not the version of a release"),
        ("../../x", "is not the version of a release"),
    ],
)
def test_45_a_version_that_does_not_work_is_refused_with_its_line(tmp_path: Path, version: str, what: str) -> None:
    problems = mistakes(tmp_path, changed("source: etcd.tar.gz", f"version: {version}"))
    assert_only(problems, 7, f"etcd.version: {what}" if what.startswith("etcd") else what, "")
    assert problems[0].advice


def test_200_a_version_that_is_not_in_the_table_needs_its_checksums(tmp_path: Path) -> None:
    text = changed("source: etcd.tar.gz", "version: 3.5.99")
    advice = "add sha256: {amd64: 64 digits, arm64: 64 digits}, from the release's file SHA256SUMS"
    words = "etcd.sha256: this tool does not know the checksums of etcd 3.5.99"
    assert_only(mistakes(tmp_path, text), 7, words, advice)
    text = text.replace("3.5.99", f"3.5.99\n  sha256: {{amd64: {'A' * 64}}}")
    etcd = loaded(tmp_path, text).etcd
    assert isinstance(etcd, EtcdRelease)
    assert etcd.sha256 == {"amd64": "a" * 64}


def test_the_table_of_releases_names_its_source_and_has_every_version_for_two_cpus() -> None:
    first, second, *_ = releases.TABLE.read_text().splitlines()
    assert "as released, as kubespray" in first
    assert second == "version\tarch\tsha256"
    assert releases.known()
    for version, checksums in releases.known().items():
        assert releases.VERSIONS.holds(version)
        assert set(checksums) == {"amd64", "arm64"}
        assert all(re.fullmatch("[0-9a-f]{64}", sha256) for sha256 in checksums.values())


def test_the_sample_and_the_template_need_no_download_by_hand(tmp_path: Path) -> None:
    for cluster in (
        inventory.load(ROOT / "inventory.yml"),
        loaded(tmp_path, inventory.template(["192.0.2.1", "192.0.2.2"])),
    ):
        assert isinstance(cluster.etcd, EtcdRelease)
        assert set(cluster.etcd.sha256) >= {"amd64", "arm64"}


@pytest.mark.parametrize("etcd", ["", "etcd:\n"])
@pytest.mark.parametrize(
    "docker", ["", "docker:\n", "docker: {control_plane: auto}\n", "docker: {control_plane: swarm}\n"]
)
def test_a_release_is_named_where_etcd_needs_one(tmp_path: Path, etcd: str, docker: str) -> None:
    without = changed("etcd:\n  source: etcd.tar.gz\n", etcd)
    assert loaded(tmp_path, without + docker).etcd is None
    problems = mistakes(tmp_path, f"{without}docker:\n  control_plane: etcd\n")
    line = without.count("\n") + 2
    assert_only(problems, line, "etcd: this key is missing", "add etcd: {version: 3.5.30}")


ENCRYPTED = f"{RIGHT}    safe: {{subnet: 10.98.0.0/24, encrypted: true}}\n"


@pytest.mark.parametrize("plane", ["", "docker: {control_plane: swarm}\n", "docker: {control_plane: auto}\n"])
def test_a_network_is_encrypted_if_it_says_so(tmp_path: Path, plane: str) -> None:
    networks = loaded(tmp_path, ENCRYPTED + plane).networks
    assert [(one.name, one.encrypted) for one in networks] == [("demo", False), ("safe", True)]


def test_where_etcd_is_asked_for_no_network_is_encrypted(tmp_path: Path) -> None:
    text = f"{ENCRYPTED}docker: {{control_plane: etcd}}\n"
    line = text.splitlines().index("    safe: {subnet: 10.98.0.0/24, encrypted: true}") + 1
    words = "overlay.networks.safe.encrypted: with docker.control_plane: etcd, Docker has no keys"
    assert_only(mistakes(tmp_path, text), line, words, "use swarm mode")
    assert loaded(tmp_path, text.replace("encrypted: true", "encrypted: false")).control_plane == "etcd"


def test_where_etcd_is_asked_for_there_is_no_ingress(tmp_path: Path) -> None:
    assert loaded(tmp_path, RIGHT).ingress
    assert not loaded(tmp_path, f"{RIGHT}  ingress: false\n").ingress
    text = f"{RIGHT}  ingress: false\ndocker: {{control_plane: etcd}}\n"
    line = text.splitlines().index("  ingress: false") + 1
    words = "overlay.ingress: with docker.control_plane: etcd, there is no network ingress"
    assert_only(mistakes(tmp_path, text), line, words, "use swarm mode")
    assert loaded(tmp_path, text.replace("false", "true")).ingress


def test_where_etcd_is_asked_for_vxlan_keeps_its_port(tmp_path: Path) -> None:
    assert loaded(tmp_path, RIGHT).vxlan_port == 4789
    assert loaded(tmp_path, f"{RIGHT}  vxlan_port: 4799\n").vxlan_port == 4799
    text = f"{RIGHT}  vxlan_port: 4799\ndocker: {{control_plane: etcd}}\n"
    line = text.splitlines().index("  vxlan_port: 4799") + 1
    words = "overlay.vxlan_port: with docker.control_plane: etcd, Docker uses port 4789"
    assert_only(mistakes(tmp_path, text), line, words, "use swarm mode")
    assert loaded(tmp_path, text.replace("4799", "4789")).vxlan_port == 4789


@pytest.mark.parametrize("port", ["0", "1023", "49152", "7946", "-1"])
def test_what_docker_does_not_take_for_vxlan_is_refused(tmp_path: Path, port: str) -> None:
    text = f"{RIGHT}  vxlan_port: {port}\n"
    advice = "write a number from 1024 to 49151, and not 7946"
    assert_only(mistakes(tmp_path, text), len(text.splitlines()), f"`{port}` is no port for VXLAN", advice)


def test_a_download_with_its_checksum(tmp_path: Path) -> None:
    digest = "AB" * 32
    text = changed("source: etcd.tar.gz", f"source: https://host.example/etcd.tar.gz\n  sha256: {digest}")
    assert loaded(tmp_path, text).etcd == Etcd("https://host.example/etcd.tar.gz", digest.lower())


@pytest.mark.parametrize(
    "gateway",
    [
        "bastion",
        "ops@bastion.example:2222",
        "ops@192.0.2.9,root@inner:22",
        "ops@[2001:db8::1]:22",
        "ssh -W %h:%p bastion",
        "ip netns exec lab nc %h %p",
    ],
)
def test_gateways(tmp_path: Path, gateway: str) -> None:
    assert loaded(tmp_path, f'ssh: {{gateway: "{gateway}"}}\n{RIGHT}').nodes[0].ssh.gateway == gateway


@pytest.mark.parametrize("gateway", ["none", "a@b@", "bastion:99999", "-oProxyCommand=x", "a,,b", "nc 192.0.2.9 22"])
def test_what_is_no_gateway(tmp_path: Path, gateway: str) -> None:
    problems = mistakes(tmp_path, f'ssh: {{gateway: "{gateway}"}}\n{RIGHT}')
    assert len(problems) == 1
    assert "ssh.gateway: " in problems[0].what
    assert problems[0].advice


@pytest.mark.parametrize(
    ("key", "value"), [("user", "a;b"), ("user", "-x"), ("host", "-x"), ("host", "$(id)"), ("host", "a b")]
)
def test_what_a_shell_would_take_for_more_is_no_login(tmp_path: Path, key: str, value: str) -> None:
    problems = mistakes(tmp_path, changed("192.0.2.2", f'192.0.2.2, ssh: {{{key}: "{value}"}}'))
    assert_only(problems, 5, f"nodes.node2.ssh.{key}: `{value}`", "")


def test_two_nodes_behind_one_sshd(tmp_path: Path) -> None:
    problems = mistakes(tmp_path, changed("192.0.2.2", "192.0.2.2, ssh: {host: 192.0.2.1}"))
    assert_only(problems, 5, "node2 and node1 (line 4) have the same SSH host, `192.0.2.1`", "its own ssh host or port")
    hosts = re.sub(r"192\.0\.2\.(\d)", r"192.0.2.\1, ssh: {host: nat.example, port: 220\1}", RIGHT)
    assert [node.ssh.port for node in loaded(tmp_path, hosts).nodes] == [2201, 2202]


@pytest.mark.parametrize(
    ("text", "line", "what"),
    [
        (changed("cluster: demo", "cluster: demo\n\tx: 1"), 3, "a tab instead of spaces"),
        (changed("cluster: demo", "cluster: a: b"), 2, "a second `key:` on one line"),
        (changed("cluster: demo", "cluster demo"), 2, "a line without `key: value`"),
        (changed("192.0.2.1}", "192.0.2.1"), 4, "a bracket that is not closed"),
        (changed("etcd.tar.gz", '"etcd.tar.gz'), 7, "a quote that is not closed"),
        (changed("  node2", " node2"), 5, "not indented like its neighbours"),
        (changed("cluster: demo", "cluster: @demo"), 2, "cannot start with this character"),
        (RIGHT + "---\nversion: 1\n", 11, "a second document"),
        ("- version: 1\n", 1, "an inventory consists of `key: value` lines"),
    ],
)
def test_what_is_not_yaml(tmp_path: Path, text: str, line: int, what: str) -> None:
    assert_only(mistakes(tmp_path, text), line, what, "")


WRONG = """\
version: "1"
cluster: Demo
ssh: {user: no, port: 022, gatway: x}
nodes:
  node1: {address: 192.0.02.1}
  Node1: {address: 192.0.2.1, member: yes}
  node1: {address: 192.0.2.3}
  no: {address: 20.10}
  x: 192.0.2.4
  y;: *x
etcd: {source: http://host.example/x}
docker: {control_plane: swram}
overlay:
  networks:
    bridge: {subnet: 10.0.0.1/24}
    other: {subnet: 10.0.0.0/16}
    third: {subnet: 192.0.2.0/24}
    none: {}
probe: []
"""


def test_every_mistake_is_told_in_one_pass_by_line(tmp_path: Path) -> None:
    problems = mistakes(tmp_path, WRONG)
    told = [int(problem.where.rpartition(":")[2]) for problem in problems]
    assert told == sorted(told)
    assert set(told) == set(range(1, 20)) - {4, 13, 14}
    assert [told.count(line) for line in (3, 6, 10, 18)] == [3, 3, 2, 2]
    assert all(problem.what and problem.advice for problem in problems)


def test_no_message_shows_what_a_terminal_would_obey(tmp_path: Path) -> None:
    problems = mistakes(tmp_path, changed("node2", '"\\e[2J\\u202e\\ud800"') + 'probe: {image: "\\a\\e]0;x"}\n')
    assert {problem.where.rpartition(":")[2] for problem in problems} == {"5", "11"}
    assert all(str(problem).replace("\n", "").isprintable() for problem in problems)


@pytest.mark.parametrize(("old", "line"), [("version", 1), ("node2", 5), ("etcd.tar.gz", 7)])
def test_half_a_character_is_refused(tmp_path: Path, old: str, line: int) -> None:
    problems = mistakes(tmp_path, changed(old, '"\\ud83d"'))
    halves = [problem for problem in problems if "half a character" in problem.what]
    assert_only(tuple(halves), line, "`\\ud83d`", "without \\u")


def test_the_committed_schema_is_the_generated_one() -> None:
    generated = json.dumps(inventory.schema(), indent=2) + "\n"
    again = "python -m provision.inventory > schema.json && mv schema.json provision/inventory/"
    assert SCHEMA.read_text() == generated, f"make it anew: {again}"


def test_the_sample_and_the_template_name_every_key_and_the_schema() -> None:
    for text in ((ROOT / "inventory.yml").read_text(), inventory.template(["192.0.2.1", "192.0.2.2"])):
        assert [key for key in keys(inventory.schema()) if not re.search(rf"\b{key}\b", text)] == []
        named = re.match(r"# yaml-language-server: \$schema=(\S+)\n", text)
        assert named
        assert (ROOT / named[1]).samefile(SCHEMA)


def keys(schema: Mapping[str, Any]) -> Iterator[str]:
    for section in (schema, *schema["$defs"].values()):
        yield from section["properties"]


def test_the_sample_is_right() -> None:
    cluster = inventory.load(ROOT / "inventory.yml")
    assert [node.address for node in cluster.nodes] == ["192.168.174.141", "192.168.174.142"]
    assert {node.ssh.host_keys for node in cluster.nodes} == {"accept-new"}


def test_a_template_loads_as_what_it_was_made_from(tmp_path: Path) -> None:
    hosts = ["no@192.0.2.7:2222", "root@192.0.2.5", "192.0.2.6"]
    nodes = loaded(tmp_path, inventory.template(hosts, cluster="123", version="3.5.33")).nodes
    assert [(node.name, node.address) for node in nodes] == [
        ("node1", "192.0.2.7"),
        ("node2", "192.0.2.5"),
        ("node3", "192.0.2.6"),
    ]
    assert [(node.ssh.user, node.ssh.port) for node in nodes] == [("no", 2222), ("root", None), (None, None)]


def test_a_template_says_a_common_login_once(tmp_path: Path) -> None:
    text = inventory.template(["ops@192.0.2.1:2222", "ops@192.0.2.2:2222"])
    assert re.findall(r"(?m)^ +(?:user|port): .*", text) == ["  user: ops", "  port: 2222"]
    assert {(node.ssh.user, node.ssh.port) for node in loaded(tmp_path, text).nodes} == {("ops", 2222)}


@pytest.mark.parametrize(
    ("hosts", "what"),
    [
        ([], "two hosts or more"),
        (["192.0.2.1"], "two hosts or more"),
        (["192.0.2.1", "ops@192.0.2.1"], "192.0.2.1 is given twice"),
        (["192.0.2.1", "node2.example"], "`node2.example` is not an IPv4 address"),
        (["192.0.2.1", "192.0.2.2:ssh"], "is not ADDRESS:PORT"),
        (["192.0.2.1", "192.0.2.2:2379"], "2379 is taken by etcd"),
        (["192.0.2.1", "-x@192.0.2.2"], "starts with `-`"),
        (["192.0.2.1", "@192.0.2.2"], "is empty"),
    ],
)
def test_no_template_from_what_cannot_be(hosts: list[str], what: str) -> None:
    with pytest.raises(UsageError) as caught:
        inventory.template(hosts, ports=planes.ports())
    assert what in str(caught.value)
    assert all(problem.advice for problem in caught.value.problems)
