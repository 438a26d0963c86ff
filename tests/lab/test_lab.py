"""The lab itself: its hosts are as the other tests expect them, and nothing of a lab stays."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tarfile
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from provision import lab as labs
from provision.errors import StepFailed, UsageError
from provision.lab import Lab, groups, network
from provision.lab.host import NSPAWN, STATE, WITHHELD

MakeLab = Callable[..., Lab]

CAPABILITY_BITS = {"sys_module": 16, "sys_time": 25}  # linux/capability.h


def on(lab: Lab, node: str, script: str) -> str:
    done = labs.execute(lab.name, node, ["sh", "-c", script])
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def ssh(lab: Lab, user: str, script: str, gateway: str = "") -> subprocess.CompletedProcess[str]:
    trust = ("-o", f"UserKnownHostsFile={lab.known_hosts}", "-o", "StrictHostKeyChecking=yes")
    reach = ("-F", "none", "-i", str(lab.key), *trust, "-o", f"ProxyCommand={gateway or lab.gateway}")
    command = ("ssh", *reach, f"{user}@{lab.nodes[0].address}", script)
    return subprocess.run(command, capture_output=True, text=True, stdin=subprocess.DEVNULL, timeout=60)


def wait_for(condition: Callable[[], bool], seconds: float = 30) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not come about"
        time.sleep(0.05)


def reachable(lab: Lab, address: str) -> bool:
    banner = ["timeout", "10", "bash", "-c", f"head -c 4 </dev/tcp/{address}/22"]
    return labs.controller(lab.name, banner).stdout == "SSH-"


# What hosts are


def test_nodes_have_no_python(lab: Lab) -> None:
    for node in lab.nodes:
        assert on(lab, node.name, "command -v python python2 python3 || true") == ""
        assert on(lab, node.name, "find / -xdev -name 'python*' -type f -perm /111") == ""


def test_hosts_can_be_told_apart(lab: Lab) -> None:
    for question in ("cat /etc/machine-id", "hostname", "cat /etc/ssh/ssh_host_*_key.pub"):
        assert on(lab, "node1", question) != on(lab, "node2", question)
    assert on(lab, "node1", "wc -c </etc/machine-id; hostname").split() == ["33", "node1"]


def test_everything_runs_once_a_lab_is_up(lab: Lab) -> None:
    for node in lab.nodes:
        assert on(lab, node.name, "systemctl is-active docker ssh").split() == ["active", "active"]
        assert on(lab, node.name, "systemctl list-units --state=failed --no-legend") == ""
    assert {(host.state, host.linked) for host in labs.status(lab.name)} == {("running", True)}


def test_the_image_and_etcd_are_what_they_seem(lab: Lab) -> None:
    image = lab.base.busybox.read_bytes()
    (lab.nodes[0].root / "root/busybox.tar").write_bytes(image)
    assert on(lab, "node1", "docker load -qi /root/busybox.tar") == "Loaded image: busybox:latest"
    applets = ("sh", "ping", "nslookup", "wget", "nc", "httpd", "sleep", "ip", "hostname", "cat")
    script = f"which {' '.join(applets)} && touch /tmp/x && ping -c1 127.0.0.1"
    assert "1 packets received" in on(lab, "node1", f"docker run --rm busybox:latest sh -c '{script}'")
    with tarfile.open(lab.base.etcd) as archive:
        name = lab.base.etcd.name.removesuffix(".tar.gz")
        assert set(archive.getnames()) == {f"{name}/etcd", f"{name}/etcdctl"}


def test_root_and_the_user_with_a_sudo_password_log_in(lab: Lab) -> None:
    assert ssh(lab, "root", "hostname; id -u").stdout.split() == ["node1", "0"]
    assert ssh(lab, labs.OPS_USER, "sudo -n true").returncode == 1
    assert ssh(lab, labs.OPS_USER, f"echo {labs.OPS_PASSWORD} | sudo -S id -u").stdout.strip() == "0"


def test_the_jump_host_leads_on_and_its_key_is_known(lab: Lab, tmp_path: Path) -> None:
    def through(known: Path) -> str:
        trust = f"-o UserKnownHostsFile={known} -o StrictHostKeyChecking=yes"
        return f"{' '.join(lab.inside)} ssh -F none -i {lab.key} {trust} -W %h:%p root@{lab.jump.address}"

    assert ssh(lab, "root", "hostname", gateway=through(lab.known_hosts)).stdout.strip() == "node1"
    assert "verification failed" in ssh(lab, "root", "hostname", gateway=through(tmp_path / "none")).stderr


def test_hosts_lack_the_rights_over_this_machine(lab: Lab) -> None:
    # The capability is read, not tried: an attempt that succeeds would set this machine's clock.
    questions = ("grep CapBnd /proc/1/status", "grep CapBnd /proc/self/status")
    answers = [on(lab, "node1", question) for question in questions]
    answers.append(ssh(lab, "root", "grep CapBnd /proc/self/status").stdout)
    for answer in answers:
        rights = int(answer.split()[1], 16)
        assert [right for right in WITHHELD if rights >> CAPABILITY_BITS[right] & 1] == []
    assert on(lab, "node1", "for place in kernel vm fs; do test -w /proc/sys/$place/ && echo $place; done; true") == ""
    assert on(lab, "node1", "test -w /proc/sys/net/ipv4/ip_forward && echo yes") == "yes"


# Its network


def test_no_namespace_has_a_way_out(lab: Lab) -> None:
    for path in network.NAMESPACES.glob(f"{lab.name}-*"):
        for family in ("-4", "-6"):
            command = ("ip", "-n", path.name, family, "route", "show", "default")
            assert subprocess.run(command, capture_output=True, check=True).stdout == b""


def test_a_cut_link_is_cut_until_it_is_mended(lab: Lab) -> None:
    address = lab.nodes[1].address
    assert reachable(lab, address)
    labs.cut_link(lab.name, "node2")
    assert not reachable(lab, address)
    assert [host.linked for host in labs.status(lab.name)] == [True, False, True]
    labs.heal_link(lab.name, "node2")
    wait_for(lambda: reachable(lab, address))


# Its power


def test_a_power_cut_takes_all_but_the_disk(lab: Lab) -> None:
    on(lab, "node2", "echo kept >/etc/kept; echo said | systemd-cat -t test; ip link add test type bridge")
    on(lab, "node2", "journalctl --sync")
    identity = on(lab, "node2", "cat /etc/machine-id")
    labs.power_cut(lab.name, "node2")
    assert groups.processes(lab.nodes[1].group) == frozenset()
    assert not reachable(lab, lab.nodes[1].address)
    assert [host.state for host in labs.status(lab.name)] == ["running", "off", "running"]
    with pytest.raises(StepFailed, match="node2: is off"):
        labs.execute(lab.name, "node2", ["true"])
    labs.power_on(lab.name, "node2")
    assert on(lab, "node2", "cat /etc/kept /etc/machine-id").split() == ["kept", identity]
    assert "said" in on(lab, "node2", "journalctl -t test --output cat")
    assert on(lab, "node2", "ip -o link show test 2>/dev/null | wc -l; systemctl is-active docker") == "0\nactive"


def test_a_host_that_does_not_boot_says_why(lab: Lab) -> None:
    labs.power_cut(lab.name, "node1")
    unit = lab.nodes[0].root / "etc/systemd/system/broken.service"
    unit.write_text("[Service]\nType=oneshot\nExecStart=/bin/false\n[Install]\nWantedBy=multi-user.target\n")
    wanted = unit.parent / "multi-user.target.wants" / unit.name
    wanted.symlink_to(unit.name)
    with pytest.raises(StepFailed) as error:
        labs.power_on(lab.name, "node1")
    assert "node1: did not boot: degraded" in str(error.value)
    assert "broken.service" in str(error.value)
    labs.power_cut(lab.name, "node1")
    wanted.unlink()
    labs.power_on(lab.name, "node1")


def test_renewed_hosts_are_bare_and_still_known(lab: Lab) -> None:
    (lab.nodes[0].root / "root/busybox.tar").write_bytes(lab.base.busybox.read_bytes())
    on(lab, "node1", "docker load -qi /root/busybox.tar && touch /etc/something")
    labs.renew(lab.name, say=lambda _: None)
    assert on(lab, "node1", "ls /etc/something /root/busybox.tar 2>/dev/null; docker images -q; docker ps -aq") == ""
    assert ssh(lab, "root", "hostname").stdout.strip() == "node1"


# Making and removing


def test_up_leaves_what_is_up(lab: Lab) -> None:
    before = [host.first_process for host in (*lab.nodes, lab.jump)]
    again = labs.up(lab.name, 2, lab.folder, say=lambda _: None)
    assert [host.first_process for host in (*again.nodes, again.jump)] == before


def test_a_lab_is_not_bent_into_another(lab: Lab) -> None:
    with pytest.raises(UsageError, match="has 2 nodes already"):
        labs.up(lab.name, 1, lab.folder, say=lambda _: None)
    with pytest.raises(UsageError, match="has its inventory in"):
        labs.up(lab.name, 2, lab.folder / "elsewhere", say=lambda _: None)


def test_a_node_is_added_to_running_ones(make_lab: MakeLab) -> None:
    lab = make_lab(1)
    before = lab.nodes[0].first_process
    grown = labs.add_node(lab.name, say=lambda _: None)
    assert [node.name for node in grown.nodes] == ["node1", "node2"]
    assert grown.nodes[0].first_process == before
    assert f"node2: {{address: {grown.nodes[1].address}}}" in grown.inventory.read_text()
    assert reachable(grown, grown.nodes[1].address)


@pytest.mark.whole
@pytest.mark.parametrize("docker", ["", "28"], ids=["its own Docker", "Docker 28"])
def test_a_lab_of_debian_13_has_its_docker_or_another_and_stays_one(make_lab: MakeLab, docker: str) -> None:
    lab = make_lab(1, release="trixie", docker=docker)
    version = on(lab, "node1", "docker version --format '{{.Server.Version}}'")
    assert version.startswith(docker or "26.")
    assert on(lab, "node1", "find / -xdev -name 'python*' -type f -perm /111") == ""
    labs.renew(lab.name, say=lambda _: None)
    assert on(lab, "node1", "cat /etc/debian_version").startswith("13.")
    assert on(lab, "node1", "docker version --format '{{.Server.Version}}'") == version
    with pytest.raises(UsageError, match="runs trixie"):
        labs.up(lab.name, 1, lab.folder, say=lambda _: None)


def test_two_labs_share_nothing(lab: Lab, make_lab: MakeLab) -> None:
    other = make_lab()
    assert other.nodes[0].address == lab.nodes[0].address
    on(other, "node1", "touch /etc/mine; docker network create mine")
    assert on(lab, "node1", "ls /etc/mine 2>/dev/null; docker network ls -qf name=mine") == ""
    labs.down(other.name)
    assert reachable(lab, lab.nodes[0].address)
    assert labs.status(other.name) == ()


def test_nothing_of_a_lab_stays(make_lab: MakeLab) -> None:
    ours = own_network()
    lab = make_lab()
    assert own_network() == ours
    on(lab, "node1", "docker network create some; sleep 1000 >/dev/null 2>&1 & true")
    left = subprocess.Popen((*lab.inside, "sleep", "1000"))
    locks = [NSPAWN / "locks" / f"inode-{host.root.stat().st_dev}:{host.root.stat().st_ino}" for host in lab.nodes]
    assert all(lock.exists() for lock in locks)
    assert traces(lab.name)
    labs.down(lab.name)
    assert left.wait(timeout=10) == -signal.SIGKILL
    assert_no_traces(lab.name)
    assert not any(lock.exists() for lock in locks)
    assert not lab.folder.exists()
    assert own_network() == ours
    labs.down(lab.name)
    assert_no_traces(lab.name)


@pytest.mark.parametrize("moment", ["key", "node1/memory", "node1/memory/made", "node1/console"])
def test_a_half_made_lab_is_completed_or_removed(moment: str, make_lab: MakeLab, tmp_path: Path) -> None:
    """The process that makes a lab is killed at several moments; then `up` succeeds, and after another kill `down`."""
    probe = make_lab(1)  # the lab has a name of our own, and is removed in any case
    labs.down(probe.name)
    kill_up(probe.name, tmp_path, moment)
    lab = labs.up(probe.name, 2, tmp_path / "lab", say=lambda _: None)
    assert on(lab, "node2", "systemctl is-active docker") == "active"
    labs.down(probe.name)
    kill_up(probe.name, tmp_path, moment)
    labs.down(probe.name)
    assert_no_traces(probe.name)


def kill_up(name: str, folder: Path, moment: str) -> None:
    """Kill a process that makes a lab as soon as a file of the lab's state appears."""
    program = f"from pathlib import Path; from provision import lab; lab.up({name!r}, 2, Path('lab'), say=print)"
    environment = {**os.environ, "PYTHONPATH": str(Path(labs.__file__).parents[2])}
    with subprocess.Popen(
        (sys.executable, "-c", program), cwd=folder, env=environment, stdout=subprocess.DEVNULL
    ) as process:
        wait_for(lambda: (STATE / name / moment).exists() or process.poll() is not None)
        process.kill()


def assert_no_traces(name: str) -> None:
    """Assert that nothing of a lab is left, except killed processes that their parent has not yet waited for."""
    wait_for(lambda: "" not in traces(name))
    assert traces(name) == []


def traces(name: str) -> list[str]:
    """Return everything on this machine that bears the lab's name."""
    found = [str(path) for path in network.NAMESPACES.glob(f"{name}-*")]
    found += [str(path) for path in (NSPAWN / "propagate").glob(f"{name}-*")]
    found += [str(path) for path in STATE.glob(f"{name}*")]
    found += sorted(groups.names(f"lab-{name}-"))
    found += [line for line in Path("/proc/self/mountinfo").read_text().splitlines() if f"/{name}/" in line]
    for process in Path("/proc").glob("[0-9]*"):
        try:
            words = (process / "cmdline").read_bytes().decode(errors="replace")
            belongs = f"lab-{name}-" in (process / "cgroup").read_text()
        except OSError:
            continue
        if belongs or f"{name}-" in words:
            found.append(words.replace("\0", " "))
    return found


def own_network() -> object:
    """Return this machine's own interfaces, addresses and routes."""
    answers = [
        json.loads(subprocess.run(("ip", "-json", *what), capture_output=True, check=True).stdout or "[]")
        for what in (("address",), ("-4", "route"), ("-6", "route"), ("rule",))
    ]
    for interface in answers[0]:
        for address in interface.get("addr_info", ()):
            for changing in ("valid_life_time", "preferred_life_time"):
                address.pop(changing, None)
    return answers
