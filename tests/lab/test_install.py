"""Hosts without Docker: provision installs it, reset takes it away again, and neither touches what is a user's.

The hosts are those of `lab.up --docker none`: Docker's packages are in a folder, which is the only source that apt has.
"""

from __future__ import annotations

import hashlib
import shlex
import subprocess
import sys
import tarfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from conftest import Fab, MakeLab
from observe import document, manifest, run

from provision import lab as labs
from provision.lab import Lab, base, releases
from provision.lab.without_docker import DEBS

pytestmark = pytest.mark.whole

NODES = ("node1", "node2")
INSTALL = "docker: {install: true}\n"
#: What a host has beside the manifest of the other tests, which asks Docker for its networks.
TRACES = """
dpkg-query -W -f '${db:Status-Abbrev} ${Package} ${Version}\\n'
ls -A /var/lib/docker
ls -d /opt/containerd /var/lib/containerd /run/docker /run/containerd /usr/local/bin/.docker* 2>/dev/null
ls /sys/class/net
cat /proc/sys/net/ipv4/ip_forward
true
"""
PROGRAMS = ("containerd", "containerd-shim-runc-v2", "ctr", "docker", "docker-init", "docker-proxy", "dockerd", "runc")


@pytest.fixture(scope="module", params=["bookworm", "trixie"])
def lab(request: pytest.FixtureRequest, make_lab: MakeLab) -> Lab:
    return make_lab(release=request.param, docker="none")


def state(lab: Lab) -> dict[str, list[str]]:
    """Return all of each host that reset has to restore."""
    return {node: [*manifest(lab, node), *run(lab, node, TRACES).splitlines()] for node in NODES}


def assert_as_before(lab: Lab, before: dict[str, list[str]]) -> None:
    after = state(lab)
    assert {node: sorted({*after[node]} ^ {*before[node]}) for node in NODES} == {node: [] for node in NODES}
    assert after == before


@contextmanager
def written(lab: Lab, more: str = INSTALL) -> Iterator[Path]:
    """Give an inventory that says something more about Docker, for the time of the block."""
    path = lab.folder / "inventory.install.yml"
    path.write_text(lab.inventory.read_text() + more)
    try:
        yield path
    finally:
        path.unlink()


def problems(report: dict[str, Any]) -> str:
    """Return what a verb refuses for, and its advice."""
    return "\n".join(f"{one['where']}: {one['what']} → {one['advice']}" for one in report["problems"])


def begun(lab: Lab, inventory: Path) -> subprocess.Popen[bytes]:
    """Start a provision, and return once dpkg unpacks packages on node2."""
    command = (str(Path(sys.executable).with_name("fab")), "-i", str(inventory), "provision")
    process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    run(lab, "node2", "timeout 90 sh -c 'until ls /var/lib/dpkg/info/*.list | grep -q runc; do sleep 0.1; done'")
    return process


def test_218_hosts_without_docker_get_it_and_lose_it_again(bare_lab: Lab, fab: Fab) -> None:
    lab, before = bare_lab, state(bare_lab)
    with written(lab) as inventory:
        planned = document(fab(lab, "plan", "--json", inventory=inventory))
        assert {(change["action"], change["resource"]) for change in planned["changes"]} == {
            ("install", "package docker.io"),
            ("start", "unit docker.service"),
        }
        assert_as_before(lab, before)
        done = document(fab(lab, "provision", "--json", inventory=inventory))
        assert planned["changes"] == done["changes"][: len(planned["changes"])]
        again = document(fab(lab, "provision", "--json", inventory=inventory))
        assert again["changes"] == []
        document(fab(lab, "reset", "--yes", "--json", inventory=inventory))
    assert_as_before(lab, before)


def test_219_a_host_loses_its_power_while_docker_is_installed(bare_lab: Lab, fab: Fab) -> None:
    lab, before = bare_lab, state(bare_lab)
    with written(lab) as inventory:
        process = begun(lab, inventory)
        labs.power_cut(lab.name, "node2")
        assert process.wait(timeout=300) == 4
        labs.power_on(lab.name, "node2")
        document(fab(lab, "provision", "--json", inventory=inventory))
        document(fab(lab, "reset", "--yes", "--json", inventory=inventory))
    assert_as_before(lab, before)


def test_219_a_controller_dies_while_docker_is_installed_and_reset_follows(bare_lab: Lab, fab: Fab) -> None:
    lab, before = bare_lab, state(bare_lab)
    with written(lab) as inventory:
        process = begun(lab, inventory)
        process.kill()
        process.wait()
        document(fab(lab, "reset", "--yes", "--json", inventory=inventory))
    assert_as_before(lab, before)


def test_222_another_process_has_apts_lock(bare_lab: Lab, fab: Fab) -> None:
    lab = bare_lab
    other = "apt-get -q update && apt-get -qy -o DPkg::Pre-Invoke::='sleep 10' install apparmor"
    run(lab, "node2", f"systemd-run -q sh -c {shlex.quote(other)}")
    run(lab, "node2", "timeout 60 sh -c 'until pgrep -fx \"sleep 10\"; do sleep 0.1; done'")
    with written(lab) as inventory:
        document(fab(lab, "provision", "--json", inventory=inventory))


def test_223_225_a_static_release_where_apt_has_no_source(bare_lab: Lab, fab: Fab, tmp_path: Path) -> None:
    lab = bare_lab
    for node in NODES:
        # Debian's own programs are linked with libraries, which a static release does not need.
        run(lab, node, f"cd {DEBS} && dpkg -i ./iptables_*.deb >/dev/null && rm /etc/apt/sources.list.d/local.list")
    before = state(lab)
    archive, digest = static_release(lab, tmp_path)
    source = "docker: {{install: true, source: {{amd64: {{archive: '{}', sha256: '{}'}}}}}}\n"
    with written(lab, source.format(archive, "0" * 64)) as inventory:
        refused = document(fab(lab, "provision", "--json", inventory=inventory), 3)
        assert f"its sha256 is {digest[:12]}…" in problems(refused)
    with written(lab, source.format(tmp_path / "missing" / archive.name, digest)) as inventory:
        assert "cannot be read" in problems(document(fab(lab, "provision", "--json", inventory=inventory), 3))
    assert_as_before(lab, before)
    with written(lab, source.format(archive, digest)) as inventory:
        document(fab(lab, "provision", "--json", inventory=inventory))
        assert document(fab(lab, "provision", "--json", inventory=inventory))["changes"] == []
        document(fab(lab, "reset", "--yes", "--json", inventory=inventory))
    assert_as_before(lab, before)


def static_release(lab: Lab, folder: Path, docker: str = "") -> tuple[Path, str]:
    """Pack the programs of the release's own Docker, or of another, as a static release is packed."""
    tree = base.ensure(lambda _: None, releases.find(lab.release, docker)).tree
    version = run_in(tree, "dockerd", "--version").split()[2].split("+")[0].rstrip(",")
    path = folder / f"docker-{version}.tgz"
    with tarfile.open(path, "w:gz", compresslevel=1) as tar:
        for name in PROGRAMS:
            there = next(p for d in ("usr/bin", "usr/sbin", "usr/libexec/docker") if (p := tree / d / name).exists())
            tar.add(there.resolve(), f"docker/{name}")
    return path, hashlib.sha256(path.read_bytes()).hexdigest()


def run_in(tree: Path, *command: str) -> str:
    return subprocess.run(("chroot", tree, *command), capture_output=True, text=True, check=True).stdout


def test_224_apt_knows_no_such_package(bare_lab: Lab, fab: Fab) -> None:
    lab, before = bare_lab, state(bare_lab)
    with written(lab, "docker: {install: true, package: docker-ce}\n") as inventory:
        for verb in ("preflight", "plan", "provision"):
            report = document(fab(lab, verb, "--json", inventory=inventory), 3)
            told = problems(report) or str(report["outcomes"])
            assert "apt knows no package docker-ce" in told
    with written(lab, "docker: {install: true, version: '27'}\n") as inventory:
        assert "and docker.version is 27" in problems(document(fab(lab, "plan", "--json", inventory=inventory), 3))
    run(lab, "node2", f"mv {DEBS} {DEBS}.away")
    with written(lab) as inventory:
        told = problems(document(fab(lab, "provision", "--json", inventory=inventory), 3))
        assert "Docker is missing, and apt knows no package docker.io: E: Failed to fetch file:" in told
        assert "node1" not in told
    run(lab, "node2", f"mv {DEBS}.away {DEBS}")
    assert_as_before(lab, before)


#: A package that needs Docker's, as a user may install one.
NEEDS_DOCKER = """
mkdir -p /root/needs/DEBIAN
printf 'Package: needs\\nVersion: 1\\nArchitecture: all\\nMaintainer: me\\nDescription: x\\nDepends: docker.io\\n' \\
    >/root/needs/DEBIAN/control
dpkg-deb --build /root/needs /root/needs.deb && dpkg -i /root/needs.deb
"""
OLD_FILE = "/var/lib/docker/volumes/old/_data/file"


def test_226_228_229_what_is_a_users_is_named_and_stays(bare_lab: Lab, fab: Fab) -> None:
    lab, before = bare_lab, state(bare_lab)
    run(lab, "node1", f"mkdir -p {OLD_FILE.rpartition('/')[0]} && echo mine >{OLD_FILE}")
    with written(lab) as inventory:
        document(fab(lab, "provision", "--json", inventory=inventory))
        run(lab, "node1", NEEDS_DOCKER)
        run(lab, "node2", "docker volume create data && docker tag busybox mine:1")
        run(lab, "node2", "docker run -d --name web -v data:/data busybox sleep 1000000")
        told = problems(document(fab(lab, "reset", "--yes", "--json", inventory=inventory), 3))
        for thing in ("container web", "image mine:1", "volume data"):
            assert f"node2: {thing} is in Docker, which goes, for provision has installed it" in told
        assert run(lab, "node2", "docker inspect -f '{{.State.Running}}' web").strip() == "true"
        done = document(fab(lab, "reset", "--yes", "--delete-user-data", "--json", inventory=inventory))
    assert "the package docker.io stays: something needs it" in str(done["warnings"])
    assert run(lab, "node1", "dpkg-query -W -f '${db:Status-Abbrev}' needs docker.io") == "ii ii "
    assert run(lab, "node1", f"cat {OLD_FILE}") == "mine\n"
    assert sorted({*state(lab)["node2"]} ^ {*before["node2"]}) == []


def test_220_a_host_that_leaves_keeps_a_docker_with_things_of_users(make_lab: MakeLab, fab: Fab) -> None:
    lab = make_lab(3, release="trixie", docker="none")
    with written(lab) as inventory:
        document(fab(lab, "provision", "--json", inventory=inventory))
        run(lab, "node3", "docker run -d --name web busybox sleep 1000000")
        text = inventory.read_text()
        address = lab.nodes[2].address
        inventory.write_text(text.replace(f"{{address: {address}}}", f"{{address: {address}, state: absent}}"))
        document(fab(lab, "provision", "--yes", "--json", inventory=inventory))
    assert run(lab, "node3", "docker ps -a --format '{{.Names}}'").split() == ["web"]
    assert run(lab, "node3", "dpkg-query -W -f '${db:Status-Abbrev}' docker.io") == "ii "
    assert run(lab, "node3", "ls -d /var/lib/overlay-provision /etc/docker/overlay 2>/dev/null || true") == ""


def test_221_a_host_with_docker_beside_one_without(bare_lab: Lab, fab: Fab) -> None:
    lab = bare_lab
    labs.upgrade(lab.name, "node1", release=lab.release, say=lambda _: None)  # the same, with Docker
    before = state(lab)
    with written(lab) as inventory:
        done = document(fab(lab, "provision", "--json", inventory=inventory))
        assert {one["where"] for one in done["changes"] if one["phase"] == "install"} == {"node2"}
        document(fab(lab, "reset", "--yes", "--json", inventory=inventory))
    assert_as_before(lab, before)
