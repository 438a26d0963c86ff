"""Real obstacles, one after another: each is reported at its node, with a remedy, and nothing is written."""

from __future__ import annotations

import shlex
import shutil
import tarfile
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import pytest
from advice import IN_A_SWARM, ON_A_HOST
from conftest import Fab
from invariants import await_so
from observe import document, manifest, run, seeded

from provision.lab import Lab

NODES = ("node1", "node2")
TAKEN = {"tcp": (2376, 2379, 2380, 7946), "udp": (7946, 4789)}


def looked(lab: Lab, fab: Fab, code: int, *words: str, **options: Any) -> dict[str, Any]:
    """Return the report of a verb, by default preflight. Assert that it has left every node as it was."""
    before = {node: manifest(lab, node) for node in NODES}
    report = document(fab(lab, *(words or ("preflight",)), "--json", **options), code)
    assert {node: manifest(lab, node) for node in NODES} == before
    return report


def refused(lab: Lab, fab: Fab, *words: str, **options: Any) -> dict[tuple[str, str], str]:
    """Return the obstacles, by check and node."""
    report = looked(lab, fab, 3, *words, **options)
    assert "nothing was touched" in report["summary"]
    failed = [outcome for outcome in report["outcomes"] if outcome["status"] == "failed"]
    assert all(outcome["advice"] for outcome in failed)
    return {(one["check"], one["where"]): one["evidence"] for one in failed}


def problem(lab: Lab, fab: Fab, node: str, **options: Any) -> str:
    """Return why no connection to a node was possible, while one to the other was."""
    report = looked(lab, fab, 3, **options)
    (found,) = (outcome for outcome in report["outcomes"] if outcome["status"] == "failed")
    assert (found["check"], found["where"]) == ("reachable", node)
    assert found["advice"]
    return str(found["evidence"])


def inventory(lab: Lab, name: str, old: str, new: str) -> Path:
    """Return the lab's inventory with one thing replaced."""
    text = lab.inventory.read_text()
    assert old in text
    path = lab.folder / f"{name}.yml"
    path.write_text(text.replace(old, new))
    return path


def test_93_nodes_without_python_are_looked_at_all_the_same(lab: Lab, fab: Fab) -> None:
    for node in NODES:
        look = "find / -xdev -type f -perm /111 -name 'python*' 2>/dev/null; command -v python3 python || true"
        assert run(lab, node, look) == ""
    report = looked(lab, fab, 0)
    assert {(one["where"], one["status"]) for one in report["outcomes"]} == {
        (where, "passed") for where in ("controller", *NODES)
    }
    assert not (lab.folder / ".overlay" / lab.name).exists()


def test_36_a_changed_host_key_is_refused(lab: Lab, fab: Fab) -> None:
    looked(lab, fab, 0)
    keys = "/etc/ssh/ssh_host_ed25519_key"
    anew = f"mkdir /run/kept && mv {keys} {keys}.pub /run/kept && ssh-keygen -q -t ed25519 -N '' -f {keys}"
    back = "mv -f /run/kept/* /etc/ssh && rmdir /run/kept && systemctl restart ssh"
    with seeded(lab, "node2", f"{anew} && systemctl restart ssh", back):
        assert f"the host key of {lab.nodes[1].address} has changed" in problem(lab, fab, "node2")


def test_37_two_entries_of_one_machine_are_told(lab: Lab, fab: Fab) -> None:
    address = "198.51.100.77"
    path = inventory(lab, "twice", f"address: {lab.nodes[1].address}", f"address: {address}")
    change = f"address {{}} {address}/24 dev eth0"
    with seeded(lab, "node1", f"ip {change.format('add')}", f"ip {change.format('del')}"):
        found = refused(lab, fab, inventory=path)
    assert "one host listed twice, or a clone" in found["one-machine-one-entry", "node2"]


def test_38_one_hostname_on_two_machines_is_told(lab: Lab, fab: Fab) -> None:
    with seeded(lab, "node2", "hostname node1", "hostname node2"):
        assert refused(lab, fab) == {("hostname", "node2"): "the hostname node1 is that of node1 too"}


def test_38_what_is_ignored_is_a_warning_and_said(lab: Lab, fab: Fab) -> None:
    with seeded(lab, "node2", "hostname node1", "hostname node2"):
        report = looked(lab, fab, 0, "preflight", "--ignore", "hostname", "--ignore", "disk")
        planned = looked(lab, fab, 0, "plan", "--ignore", "hostname")
    (warned,) = (one for one in report["outcomes"] if one["status"] != "passed")
    assert (warned["check"], warned["where"], warned["status"]) == ("hostname", "node2", "warning")
    assert "ignored" in warned["evidence"]
    assert "1 ignored" in report["summary"]
    assert [one["where"] for one in planned["warnings"] if "ignored" in one["what"]] == ["node2 [hostname]"]


def test_a_check_that_does_not_exist_cannot_be_ignored(lab: Lab, fab: Fab) -> None:
    for verb in ("preflight", "plan", "provision"):
        (found,) = document(fab(lab, verb, "--ignore", "hostnam", "--json"), 2)["problems"]
        assert "did you mean hostname?" in found["advice"]
        assert "ports" in found["advice"]


def test_40_every_port_that_is_taken_is_told_with_who_has_it(lab: Lab, fab: Fab) -> None:
    kinds = {"tcp": "ListenStream", "udp": "ListenDatagram"}
    sockets = " ".join(f"--socket-property={kinds[protocol]}={port}" for protocol in TAKEN for port in TAKEN[protocol])
    with seeded(
        lab, "node1", f"systemd-run -q --unit squatter {sockets} sleep infinity", "systemctl stop squatter.socket"
    ):
        report = looked(lab, fab, 3)
    found = {one["evidence"] for one in report["outcomes"] if one["status"] == "failed"}
    assert found == {
        f"port {port}/{protocol} is taken by systemd (process 1)" for protocol in TAKEN for port in TAKEN[protocol]
    }


def test_47_a_docker_in_swarm_mode_is_refused(lab: Lab, fab: Fab) -> None:
    begin = f"docker swarm init --advertise-addr {lab.nodes[1].address}"
    # Docker creates the networks of a swarm later.
    whole = "until docker network inspect ingress docker_gwbridge; do sleep 0.1; done"
    end = "docker swarm leave --force || true; docker network rm docker_gwbridge"
    with seeded(lab, "node2", f"{begin} && timeout 60 sh -c {shlex.quote(whole)}", end):
        found = refused(lab, fab)
        for one in IN_A_SWARM.values():
            run(lab, "node2", one.command)
    assert "in swarm mode" in found["swarm", "node2"]
    assert ("swarm", "node1") not in found


def test_49_a_disk_that_is_too_small_is_told(lab: Lab, fab: Fab) -> None:
    small = "mkdir /var/lib/etcd && mount -t tmpfs -o size=100m tmpfs /var/lib/etcd"
    with seeded(lab, "node1", small, "umount /var/lib/etcd && rmdir /var/lib/etcd"):
        found = refused(lab, fab)
    assert list(found) == [("disk", "node1")]
    assert found["disk", "node1"].startswith("/var/lib/etcd has 105 MB free, ")


@pytest.mark.parametrize(
    ("folder", "option", "check", "evidence"),
    [
        ("/etc", "ro", "writable", "/etc is mounted read-only; we write to /etc"),
        ("/usr/local", "noexec", "programs-run", "/usr/local is mounted noexec; etcd runs from /usr/local/lib/etcd"),
    ],
)
def test_50_a_file_system_that_does_not_let_us_is_told(
    lab: Lab, fab: Fab, folder: str, option: str, check: str, evidence: str
) -> None:
    # `bind` limits the option to this mount: the file system below is not the host's own.
    sealed = f"mount --bind {folder} {folder} && mount -o remount,bind,{option} {folder}"
    with seeded(lab, "node2", sealed, f"umount {folder}"):
        assert refused(lab, fab) == {(check, "node2"): evidence}


DROP_INS = "/etc/systemd/system/docker.service.d"
COMMAND = "[Service]\\nExecStart=\\nExecStart=/usr/sbin/dockerd -H fd:// --debug\\n"
FLAGS = "DOCKER_OPTS=--cluster-store=etcd://192.0.2.1:2379"


def test_94_95_171_what_systemd_would_start_as_dockerd_is_looked_at(lab: Lab, fab: Fab) -> None:
    later = f"mkdir {DROP_INS} && printf '{COMMAND}' >{DROP_INS}/override.conf && systemctl daemon-reload"
    flags = f"cp -p /etc/default/docker /run/kept && echo '{FLAGS}' >>/etc/default/docker"
    bad = "mkdir -p /etc/docker && echo '{\"no-such-key\": 1}' >/etc/docker/daemon.json"
    with (
        seeded(lab, "node1", later, f"rm -r {DROP_INS} && systemctl daemon-reload"),
        seeded(lab, "node2", flags, "cp -p /run/kept /etc/default/docker && rm /run/kept"),
        seeded(lab, "node2", bad, "rm /etc/docker/daemon.json"),
    ):
        report = looked(lab, fab, 3)
        (advice,) = (one["advice"] for one in report["outcomes"] if one["check"] == "docker-drop-ins" and one["advice"])
        run(lab, "node1", advice.partition(";")[0])
        found = refused(lab, fab, "preflight")
        assert set(found) == {("docker-flags", "node2"), ("docker-starts", "node2")}
        assert found["docker-flags", "node2"].startswith("/etc/default/docker gives dockerd --cluster-store")
        assert "the following directives don't match any configuration option: no-such-key" in str(found)
        run(lab, "node2", "echo '{}' >/etc/docker/daemon.json && cp -p /run/kept /etc/default/docker")
        report = looked(lab, fab, 0, "plan")
    (drop_in,) = (
        one["diff"]
        for one in report["changes"]
        if one["where"] == "node1" and one["resource"].endswith("50-overlay.conf")
    )
    assert "/usr/sbin/dockerd -H fd:// --debug" in drop_in


def test_100_102_103_links_inodes_and_archives_are_looked_at(lab: Lab, fab: Fab, tmp_path: Path) -> None:
    archive = next(line.split('"')[1] for line in lab.inventory.read_text().splitlines() if "busybox.tar" in line)
    with tarfile.open(archive) as saved:
        layer = next(one for one in saved if one.name.endswith("layer.tar"))
        (tmp_path / "export.tar").write_bytes(saved.extractfile(layer).read())  # type: ignore[union-attr]
    path = inventory(lab, "export", archive, str(tmp_path / "export.tar"))
    dangling = "mv /etc/docker /etc/docker.kept; ln -s /data/docker /etc/docker"
    few = "mkdir /var/lib/etcd && mount -t tmpfs -o size=600m,nr_inodes=20 tmpfs /var/lib/etcd"
    with (
        seeded(lab, "node1", dangling, "rm /etc/docker; mv /etc/docker.kept /etc/docker || true"),
        seeded(lab, "node2", f"{few} && mkdir /var/lib/etcd/lost+found", "umount /var/lib/etcd && rmdir /var/lib/etcd"),
    ):
        found = refused(lab, fab, inventory=path)
    assert set(found) == {("paths", "node1"), ("inodes", "node2"), ("image-archives", "controller")}
    assert found["paths", "node1"] == "/etc/docker is a link to /data/docker, which is not there"
    assert found["inodes", "node2"].startswith("/var/lib/etcd has 18 inodes left")
    assert "(docker export)" in found["image-archives", "controller"]


def no_forwarding(lab: Lab, node: str, setting: str) -> AbstractContextManager[None]:
    path = "/etc/ssh/sshd_config.d/forwarding.conf"
    restart = "systemctl reset-failed ssh; systemctl restart ssh"
    return seeded(lab, node, f"echo '{setting}' >{path} && {restart}", f"rm {path} && {restart}")


@pytest.mark.parametrize("setting", ["AllowTcpForwarding no", "PermitOpen 198.51.100.12:22"])
def test_92_an_sshd_that_refuses_to_forward_is_found_before_anything_is_changed(
    lab: Lab, fab: Fab, setting: str
) -> None:
    with no_forwarding(lab, "node2", setting):
        for verb in ("plan", "provision"):
            report = looked(lab, fab, 3, verb)
            assert {one["where"] for one in report["problems"]} == {"node2 [forwarding]"}
            assert all("refuses to forward to 198.51.100.12:2" in one["what"] for one in report["problems"])


def test_92_a_jump_host_that_refuses_to_forward_is_told_for_every_node(lab: Lab, fab: Fab) -> None:
    gateway = next(line for line in lab.inventory.read_text().splitlines() if "gateway:" in line)
    path = inventory(lab, "jump", gateway, f"  gateway: root@{lab.jump.address}")
    assert looked(lab, fab, 0, inventory=path, inside=True)["exit_code"] == 0
    keys = "/root/.ssh/authorized_keys"
    with seeded(lab, "jump", f"sed -i 's/^/no-port-forwarding /' {keys}", f"sed -i 's/^no-port-forwarding //' {keys}"):
        report = looked(lab, fab, 3, inventory=path, inside=True)
    failed = [outcome for outcome in report["outcomes"] if outcome["status"] == "failed"]
    assert [one["where"] for one in failed] == list(NODES)
    for one, node in zip(failed, lab.nodes, strict=True):
        assert one["evidence"] == f"sshd on {lab.jump.address} refuses to forward to {node.address}:22"


def advised(lab: Lab, fab: Fab, check: str, before: str, after: str) -> str:
    """Return the command that preflight advises, between these words."""
    report = looked(lab, fab, 3)
    (found,) = (one["advice"] for one in report["outcomes"] if one["status"] == "failed" and one["check"] == check)
    return str(found).partition(before)[2].partition(after)[0]


def test_101_packets_that_leave_by_another_address_are_told_and_the_advice_cures(lab: Lab, fab: Fab) -> None:
    other, target = "198.51.100.77", lab.nodes[1].address
    fault = f"ip address add {other}/24 dev eth0; ip route replace {target} dev eth0 src {other}"
    with seeded(lab, "node1", fault, f"ip route del {target}; ip address del {other}/24 dev eth0"):
        run(lab, "node1", advised(lab, fab, "source", "boot: ", "; or write"))
        looked(lab, fab, 0)


def test_172_a_clone_is_told_and_the_advice_gives_it_an_id_of_its_own(lab: Lab, fab: Fab) -> None:
    shared = run(lab, "node1", "cat /etc/machine-id").strip()
    clone = f"echo {shared} >/etc/machine-id; mkdir -p /var/lib/dbus; echo {shared} >/var/lib/dbus/machine-id"
    keep = "cd /run && tar -cf kept.tar /etc/machine-id $(ls -d /var/lib/dbus) && rm -rf /var/lib/dbus"
    back = "rm -rf /var/lib/dbus && tar -xf /run/kept.tar -C /"
    with seeded(lab, "node2", f"{keep}; {clone}", back):
        run(lab, "node2", advised(lab, fab, "one-machine-one-entry", "on a clone: ", "; then"))
        looked(lab, fab, 0)


def test_174_the_listeners_of_a_killed_run_do_not_stop_the_next(lab: Lab, fab: Fab) -> None:
    assert fab(lab, "preflight", at=("node1: sending to the ports", "before", "die")).returncode == -9
    looked(lab, fab, 0)


#: A user's own unit without docker.socket, as an installation from an archive has it.
NO_SOCKET = """
sed '/docker.socket/d; s/ -H fd:..//' /lib/systemd/system/docker.service >/etc/systemd/system/docker.service
systemctl daemon-reload && systemctl mask -q --now docker.socket && systemctl restart docker
"""
LINKS = f"""
mkdir -p /data/docker /data/etcd/lost+found /data/drop-ins && rm -rf /etc/docker {DROP_INS}
ln -s /data/docker /etc/docker && ln -s /data/etcd /var/lib/etcd && ln -s /data/drop-ins {DROP_INS}
"""


@pytest.fixture(scope="module")
def cluster(lab: Lab, fab: Fab) -> Lab:
    """The same nodes, provisioned: one has links to folders elsewhere, one has a unit without docker.socket.

    Tests that need bare nodes come before.
    """
    run(lab, "node1", LINKS)
    run(lab, "node2", NO_SOCKET)
    document(fab(lab, "provision", "--json"))
    return lab


def test_91_the_nodes_of_another_controller_are_left_alone(cluster: Lab, fab: Fab, tmp_path: Path) -> None:
    for name in (cluster.inventory.name, "key", "known_hosts"):
        shutil.copy(cluster.folder / name, tmp_path)
    path = tmp_path / cluster.inventory.name
    assert list(refused(cluster, fab, inventory=path)) == [("same-authority", node) for node in NODES]
    told = looked(cluster, fab, 3, "provision", inventory=path)["problems"]
    assert [one["where"] for one in told] == [f"{node} [same-authority]" for node in NODES]
    assert not (tmp_path / ".overlay").exists()


def test_92_a_node_at_work_whose_sshd_refuses_to_forward_is_found_too(cluster: Lab, fab: Fab) -> None:
    assert looked(cluster, fab, 0)["exit_code"] == 0
    with no_forwarding(cluster, "node1", "AllowTcpForwarding no"):
        report = looked(cluster, fab, 3, "plan")
    assert {one["where"] for one in report["problems"]} == {"node1 [forwarding]"}


#: Lines of /etc/environment that once made facts lie.
ALIEN = (
    "DOCKER_HOST=tcp://192.0.2.1:1 DOCKER_TLS_VERIFY=1 DOCKER_CONTEXT=x GREP_OPTIONS=-v POSIXLY_CORRECT=1 PATH=/none"
)


def test_97_104_a_host_with_one_session_a_connection_and_an_alien_environment_is_as_it_is(
    cluster: Lab, fab: Fab
) -> None:
    restart = "systemctl reset-failed ssh; systemctl restart ssh"
    path = "/etc/ssh/sshd_config.d/few.conf"
    fill = f"cp -a /etc/environment /run/kept; printf '%s\\n' {ALIEN} >/etc/environment"
    fault = f"echo MaxSessions 1 >{path}; {restart}; {fill}"
    with seeded(cluster, "node1", fault, f"rm {path}; {restart}; mv /run/kept /etc/environment"):
        looked(cluster, fab, 0, "plan", "--exit-code")
        assert document(fab(cluster, "status", "--json"), 0)["exit_code"] == 0


def test_173_the_commands_that_are_advised_for_a_host_run_there(cluster: Lab) -> None:
    for one in ON_A_HOST.values():
        run(cluster, "node1", f"{one.before}\n{one.command} || exit\n{one.after}")
    # etcd and Docker were restarted.
    await_so(cluster, "node1", "docker ps --format '{{.Names}}' | grep -qx overlay-keeper-demo-node1")


def test_100_with_links_nothing_is_pending_and_the_keys_behind_them_are_found(cluster: Lab, fab: Fab) -> None:
    document(fab(cluster, "verify", "--only", "no-key-of-an-authority", "--json"))


def test_94_a_dockerd_that_its_user_has_started_otherwise_is_restarted(cluster: Lab, fab: Fab) -> None:
    """The drop-in is gone again, and dockerd still runs without our command line."""
    later = f"printf '{COMMAND}' >{DROP_INS}/override.conf && systemctl daemon-reload && systemctl restart docker"
    run(cluster, "node1", f"{later} && rm {DROP_INS}/override.conf && systemctl daemon-reload")
    changes = document(fab(cluster, "plan", "--json"))["changes"]
    assert ("node1", "restart", "unit docker.service") in {
        (one["where"], one["action"], one["resource"]) for one in changes
    }


def test_96_100_hosts_with_links_and_without_a_socket_are_put_back(cluster: Lab, fab: Fab) -> None:
    written = "ls /data/drop-ins; ls -d /data/etcd/data /data/docker/overlay"
    assert run(cluster, "node1", written).split() == ["50-overlay.conf", "/data/docker/overlay", "/data/etcd/data"]
    document(fab(cluster, "reset", "--yes", "--json"))
    left = "ls /data/drop-ins /data/etcd; readlink /etc/docker /var/lib/etcd " + DROP_INS
    assert run(cluster, "node1", left).split() == [
        *("/data/drop-ins:", "/data/etcd:", "lost+found", "/data/docker", "/data/etcd", "/data/drop-ins")
    ]
    run(cluster, "node2", "docker ps && test -S /run/docker.sock")


@pytest.mark.whole
def test_217_a_host_that_large_packets_do_not_reach_is_refused_with_a_likely_cause(bare_lab: Lab, fab: Fab) -> None:
    rule = "INPUT -i eth0 -p tcp --dport 22 -m length --length 1421:65535 -j DROP"
    with seeded(bare_lab, "node2", f"iptables -I {rule}", f"iptables -D {rule}"):
        report = looked(bare_lab, fab, 3)
    (found,) = (
        outcome for outcome in report["outcomes"] if outcome["check"] == "reachable" and outcome["where"] == "node2"
    )
    assert found["status"] == "failed"
    assert "stopped responding" in found["evidence"]
    assert "ping -M do -s 1400" in found["advice"]
