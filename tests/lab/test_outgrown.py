"""Hosts of the cluster store are upgraded to a Docker without one before anybody migrated: said, and left alone."""

from __future__ import annotations

import shlex
import time
from typing import NamedTuple

import pytest
from conftest import Fab, MakeLab
from observe import document, manifest, run

from provision import lab as labs
from provision.lab import Lab

pytestmark = pytest.mark.whole

NODES = ("node1", "node2")
#: Gives a host its own copies of the users' databases: an upgrade keeps those of the tree that it was made from.
COPY_USERS = "touch -c /etc/passwd* /etc/group* /etc/shadow* /etc/gshadow* /etc/subuid* /etc/subgid*"


class Upgrade(NamedTuple):
    """Which Docker Debian 13 brings, as the lab calls it; its version; and which hosts get it."""

    docker: str
    version: str
    nodes: tuple[str, ...]


def quiet(_: str) -> None:
    """Say nothing."""


def upgrade(lab: Lab, node: str, docker: str) -> None:
    labs.upgrade(lab.name, node, release="trixie", docker=docker, say=quiet)


def await_plain(lab: Lab, node: str) -> None:
    """The container on no network of ours runs again, as its restart policy says."""
    name = f"plain-{node}"
    deadline = time.monotonic() + 60
    while run(lab, node, f"docker ps --filter name=^{name}$ --format '{{{{.Names}}}}'").strip() != name:
        assert time.monotonic() < deadline
        time.sleep(0.5)


#: Shell: returns once overlay-join has ended, which would reload dockerd, and overlay-mend naps; or so many naps later.
#: A nap is a process of its own.
NAPS = """
nap() {
    process=$(systemctl show -p MainPID --value overlay-mend.service)
    cat /proc/$process/task/$process/children 2>/dev/null
}
until [ "$(systemctl show -p SubState --value overlay-join.service)" = exited ] && before=$(nap) && [ "$before" ]; do
    sleep 0.2
done
while [ "$naps" -gt 0 ]; do
    until now=$(nap) && [ "$now" ] && [ "$now" != "$before" ]; do sleep 0.2; done
    before=$now naps=$((naps - 1))
done
"""


def await_naps(lab: Lab, node: str, naps: int) -> None:
    run(lab, node, f"export naps={naps}; timeout 90 sh -c {shlex.quote(NAPS)}")


def assert_calm(lab: Lab, node: str, version: str) -> None:
    """Each unit of ours has said what has happened, and says it no more; nobody reloads dockerd, nothing restarts."""
    await_naps(lab, node, 0)
    units = "overlay-join.service overlay-mend.service docker.service etcd.service"
    shown = run(lab, node, f"systemctl show -p NRestarts --value {units}").split()
    cursor = run(lab, node, "journalctl -q -n 0 --show-cursor | sed -n 's/^-- cursor: //p'").strip()
    await_naps(lab, node, 2)
    journals = "-u docker -u overlay-join -u overlay-mend"
    journal = run(lab, node, f"journalctl {journals} --after-cursor '{cursor}' -o cat --no-pager -q")
    for sign in ("SIGHUP", "Got signal to reload configuration", "has no cluster store"):
        assert sign not in journal
    assert run(lab, node, f"systemctl show -p NRestarts --value {units}").split() == shown
    for unit in ("overlay-join", "overlay-mend"):
        said = run(lab, node, f"journalctl -b -u {unit} -o cat --no-pager -q")
        assert f"Docker {version} has no cluster store" in said


UPGRADES = {
    "237_26_one_of_two": Upgrade("", "26.1.5", ("node2",)),
    "237_28_one_of_two": Upgrade("28", "28.5.2", ("node1",)),
    "238_26_both": Upgrade("", "26.1.5", NODES),
    "238_28_both": Upgrade("28", "28.5.2", NODES),
}


@pytest.mark.parametrize("name", UPGRADES)
def test_237_238_243_hosts_whose_docker_was_upgraded(make_lab: MakeLab, fab: Fab, name: str) -> None:
    docker, version, nodes = UPGRADES[name]
    lab = make_lab()
    for node in nodes:
        run(lab, node, COPY_USERS)
        upgrade(lab, node, docker)
    before = {node: manifest(lab, node) for node in NODES}  # as they are without us
    for node in nodes:
        labs.upgrade(lab.name, node, release="bookworm", say=quiet)
    document(fab(lab, "provision", "--json"))
    for node in NODES:
        start = "docker run -d --restart always --stop-signal KILL"
        run(lab, node, f"{start} --name plain-{node} busybox sleep 1000000")
        run(lab, node, f"{start} --name user-{node} --network demo busybox sleep 1000000")
    for node in nodes:
        upgrade(lab, node, docker)

    for node in nodes:
        await_plain(lab, node)
        assert_calm(lab, node, version)
        run(lab, node, "systemctl restart docker")
        await_plain(lab, node)
        run(lab, node, "systemctl reload docker")
        run(lab, node, "dockerd --validate --config-file /run/overlay-provision/daemon.json")
        labs.power_cut(lab.name, node)
        labs.power_on(lab.name, node)
        await_plain(lab, node)
        assert_calm(lab, node, version)

    sentence = f"Docker {version} is too new for the cluster's control plane, etcd"
    for verb, code in (("status", 5), ("plan", 3), ("preflight", 3), ("provision", 3), ("verify", 3)):
        text = fab(lab, verb, *(("--yes",) if verb == "provision" else ()))
        assert text.returncode == code, text.stdout + text.stderr
        said = text.stdout + text.stderr
        for node in nodes:
            assert any(sentence in line and node in line for line in said.splitlines()) or verb == "preflight"
        assert said.count(sentence) == len(nodes)
        assert "fab migrate --plan" in said
        assert "takes dockerd in now" not in said
        assert "install Docker 20.10" not in said
    for node in {*NODES} - {*nodes}:
        # It goes on: the store has its quorum, and its container is on the network.
        run(lab, node, f"docker run --rm --network demo busybox ping -c 1 user-{node}")

    refused = fab(lab, "reset", "--yes")
    assert refused.returncode == 3
    assert all(f"user-{node}" in refused.stdout + refused.stderr for node in NODES)
    document(fab(lab, "reset", "--yes", "--delete-user-data", "--json"))
    for node in NODES:
        assert not {*manifest(lab, node)} ^ {*before[node]}
        await_plain(lab, node)
        running = run(lab, node, "docker version --format '{{.Server.Version}}'")
        assert running.startswith(version if node in nodes else "20.10")


def test_239_240_an_upgrade_without_a_reboot_under_live_restore_and_back(make_lab: MakeLab, fab: Fab) -> None:
    """dockerd starts, although the one before it was on the store; with the older Docker all goes on by itself."""
    lab = make_lab()
    for node in NODES:
        run(lab, node, """mkdir -p /etc/docker && echo '{"live-restore": true}' >/etc/docker/daemon.json""")
        run(lab, node, "systemctl restart docker")
    document(fab(lab, "provision", "--json"))
    upgrade(lab, "node2", "")
    # What a dockerd that was on the store since the boot leaves.
    run(lab, "node2", ": >/run/overlay-provision/docker.cleaned; : >/run/overlay-provision/docker.whole")
    run(lab, "node2", "systemctl restart docker && systemctl reload docker")
    assert run(lab, "node2", "systemctl is-active docker").strip() == "active"
    assert_calm(lab, "node2", "26.1.5")
    labs.upgrade(lab.name, "node2", release="bookworm", say=quiet)
    changes = document(fab(lab, "provision", "--json"))["changes"]
    assert [change["action"] for change in changes] == ["hold"]  # the tree's records of packages are new
    document(fab(lab, "verify", "--json"))
    assert not run(lab, "node2", "journalctl -b -u overlay-mend -o cat -q | grep 'no cluster store' || true")


def test_241_242_docker_is_held_until_the_reset_unless_its_user_holds_it(make_lab: MakeLab, fab: Fab) -> None:
    lab = make_lab()
    run(lab, "node2", "apt-mark hold docker.io")
    before = {node: manifest(lab, node) for node in NODES}
    plan = document(fab(lab, "plan", "--json"))["changes"]
    held = [change for change in plan if change["action"] == "hold"]
    assert [(change["where"], change["resource"]) for change in held] == [("node1", "package docker.io")]
    assert held[0]["note"] == "Docker 23 has no cluster store"
    document(fab(lab, "provision", "--json"))
    assert [run(lab, node, "apt-mark showhold").split() for node in NODES] == [["docker.io"], ["docker.io"]]
    document(fab(lab, "reset", "--yes", "--json"))
    assert [run(lab, node, "apt-mark showhold").split() for node in NODES] == [[], ["docker.io"]]
    assert {node: manifest(lab, node) for node in NODES} == before
