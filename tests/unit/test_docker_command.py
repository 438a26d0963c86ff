"""What systemd will start as dockerd, and what that needs: flags, drop-ins, the socket, programs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import pytest
from cluster_sample import VENDOR_UNIT, bare_situation, planned_sample
from pki_sample import sample
from preflight_sample import Change, failures, obstacle, values

from provision import layout
from provision.docker.vendor import Vendor
from provision.planes.etcd.phases.docker import vendor_command

FOLDER = layout.DOCKER_DROP_IN_FOLDER
OURS = f"# {layout.DOCKER_DROP_IN}\n[Service]\nExecStart=\nExecStart=/usr/sbin/dockerd --tlsverify --cluster-store=x\n"
VARIABLES = "# /etc/default/docker\nDOCKER_OPTS={}\n"


def drop_in(name: str, *lines: str) -> str:
    """A file of the unit, as `systemctl cat` prints it."""
    return "\n".join((f"# {FOLDER}/{name}", "[Service]", *lines, "", ""))


@pytest.mark.parametrize(
    ("change", "evidence"),
    [
        (
            {"docker_options": VARIABLES.format('"--cluster-store=etcd://192.0.2.9:2379 --debug"')},
            "/etc/default/docker gives dockerd --cluster-store, which we set ourselves",
        ),
        (
            {
                "docker_unit": VENDOR_UNIT
                + drop_in("store.conf", 'Environment="DOCKER_OPTS=--cluster-advertise=eth0:2376"')
            },
            f"{FOLDER}/store.conf gives dockerd --cluster-advertise, which we set ourselves",
        ),
        (
            {"docker_unit": VENDOR_UNIT.replace("$DOCKER_OPTS", "\\\n# all of it\n  --cluster-store-opt kv.path=x")},
            "/lib/systemd/system/docker.service gives dockerd --cluster-store-opt, which we set ourselves",
        ),
        (
            {"docker_unit": VENDOR_UNIT.replace("fd://", "fd:// -H tcp://0.0.0.0:2375")},
            "/lib/systemd/system/docker.service gives dockerd -H tcp://, which we set ourselves",
        ),
        (
            {"docker_unit": VENDOR_UNIT.replace("fd://", "fd:// --tlscacert=/etc/ca.pem")},
            "/lib/systemd/system/docker.service gives dockerd --tlscacert, which we set ourselves",
        ),
    ],
    ids=["an environment file", "a variable of the unit", "the unit, folded", "a TCP address", "a certificate"],
)
def test_95_a_flag_that_is_ours_is_told_with_its_file(tmp_path: Path, change: Mapping[str, str], evidence: str) -> None:
    outcome = obstacle(tmp_path, values(**change), "docker-flags")
    assert outcome.evidence == evidence
    assert "remove it there" in outcome.advice
    assert "write the store's networks into the inventory" in outcome.advice


@pytest.mark.parametrize(
    "change",
    [
        {"docker_unit": VENDOR_UNIT + OURS},
        {"docker_unit": VENDOR_UNIT + OURS.replace(FOLDER, "/data/drop-ins")},
        {
            "docker_unit": VENDOR_UNIT.replace("fd://", "--cluster-store=x")
            + drop_in("10.conf", "ExecStart=", "ExecStart=/d")
        },
        {"docker_unit": VENDOR_UNIT.replace("ExecStart", "# --cluster-store=x\n; --tls\nExecStart")},
        {"docker_options": VARIABLES.replace("OPTS", "OTHER").format("--cluster-store=x")},
        {"docker_options": VARIABLES.format('"--debug --no-tls --label=cluster-store"')},
    ],
    ids=[
        "ours",
        "ours in a folder behind a link",
        "a line that another replaces",
        "a comment",
        "a variable that nothing uses",
        "other flags",
    ],
)
def test_95_what_does_not_reach_dockerd_or_is_not_ours_is_no_obstacle(change: Mapping[str, str]) -> None:
    assert list(Vendor(*_texts(change)).given({"cluster-store", "tls", "hosts"})) == []


def _texts(change: Mapping[str, str]) -> tuple[str, str]:
    return change.get("docker_unit", VENDOR_UNIT), change.get("docker_options", "")


@pytest.mark.parametrize(
    ("name", "lines", "wins"),
    [
        ("override.conf", ("ExecStart=", "ExecStart=/usr/bin/dockerd -H fd:// --debug"), True),
        ("override.conf", ("ExecStart = /usr/bin/dockerd",), True),
        ("override.conf", ("ExecStartPre=",), True),
        ("override.conf", ("ExecReload=",), True),
        ("60-proxy.conf", ("Environment=HTTP_PROXY=http://192.0.2.9", "ExecStartPre=/bin/true"), False),
        ("40-override.conf", ("ExecStart=", "ExecStart=/usr/bin/dockerd --debug"), False),
    ],
)
def test_94_a_drop_in_that_systemd_reads_after_ours_and_that_undoes_it(
    tmp_path: Path, name: str, lines: tuple[str, ...], wins: bool
) -> None:
    before, after = sorted(((layout.DOCKER_DROP_IN, OURS), (f"{FOLDER}/{name}", drop_in(name, *lines))))
    for unit in (VENDOR_UNIT + drop_in(name, *lines), VENDOR_UNIT + before[1] + after[1]):
        assert Vendor(unit).overriding == ((f"{FOLDER}/{name}",) if wins else ())
    if wins:
        outcome = obstacle(tmp_path, values(docker_unit=VENDOR_UNIT + drop_in(name, *lines)), "docker-drop-ins")
        assert outcome.evidence.startswith(f"{FOLDER}/{name} replaces dockerd's command line")
        assert f"mv {FOLDER}/{name} {FOLDER}/40-{name} && systemctl daemon-reload" in outcome.advice


def test_94_one_that_comes_before_ours_is_kept_with_its_flags() -> None:
    unit = VENDOR_UNIT + drop_in("40-override.conf", "ExecStart=", "ExecStart=/usr/bin/dockerd -H fd:// --debug") + OURS
    assert vendor_command(Vendor(unit)) == "/usr/bin/dockerd -H fd:// --debug"


@pytest.mark.parametrize(
    ("command", "has_socket", "ending"),
    [
        ("/usr/bin/dockerd", True, "dockerd -H fd://"),
        ("/usr/bin/dockerd", False, "dockerd -H unix:///var/run/docker.sock"),
        ("/usr/bin/dockerd -H fd://", True, "dockerd -H fd://"),
        ("/usr/bin/dockerd -H unix:///var/run/docker.sock", True, "dockerd -H unix:///var/run/docker.sock"),
        ("/usr/bin/dockerd -H unix:///run/docker.sock", False, "dockerd -H unix:///run/docker.sock"),
        ("/usr/bin/dockerd -H unix:///srv/d.sock", False, "-H unix:///srv/d.sock -H unix:///var/run/docker.sock"),
    ],
)
def test_96_dockerd_gets_a_socket_that_is_there(command: str, has_socket: bool, ending: str) -> None:
    unit = f"# /etc/systemd/system/docker.service\n[Service]\nExecStart={command}\n"
    assert vendor_command(Vendor(unit, has_socket=has_socket)).endswith(ending)


def test_96_no_socket_of_systemd_is_a_fact() -> None:
    assert Vendor.of({}).has_socket
    assert not Vendor.of({"docker-socket": "none"}).has_socket


@pytest.mark.parametrize(
    ("change", "evidence", "advice"),
    [
        (values(apparmor="yes"), "AppArmor is on, and apparmor_parser is missing", "apt-get install apparmor"),
        (values(programs="containerd-shim-runc-v2 iptables"), "runc is missing", "install the package"),
        (values(programs="runc iptables"), "containerd-shim-runc-v2 is missing", "install the package"),
        (values(programs="runc containerd-shim-runc-v2"), "iptables is missing", "apt-get install iptables"),
        (values(cgroups=""), "no control groups for devices", "control groups"),
        (values(seccomp="", daemon_json='{"seccomp-profile": "/p.json"}'), "the kernel has no seccomp", "remove"),
    ],
)
def test_170_a_docker_that_could_start_no_container(tmp_path: Path, change: Change, evidence: str, advice: str) -> None:
    outcome = obstacle(tmp_path, change, "containers-start")
    assert evidence in outcome.evidence
    assert advice in outcome.advice


@pytest.mark.parametrize(
    "change",
    [
        values(),
        values(apparmor="yes", programs="apparmor_parser containerd-shim-runc-v2 iptables runc "),
        values(programs="iptables", daemon_json='{"default-runtime": "crun"}'),
        values(programs="runc containerd-shim-runc-v2", daemon_json='{"iptables": false}'),
        values(seccomp=""),
    ],
    ids=["all there", "AppArmor with its parser", "a runtime of the user's", "no iptables wanted", "no seccomp"],
)
def test_170_a_docker_that_has_what_it_needs(tmp_path: Path, change: Change) -> None:
    situation = bare_situation(sample(tmp_path))
    facts = change(situation.facts["node1"])
    assert failures(replace(situation, facts={**situation.facts, "node1": facts})) == []


WORDS = "unable to configure the Docker daemon: the following directives don't match any configuration option: x"


@pytest.mark.parametrize("name", ["docker_failure", "docker_last_words"])
def test_171_a_docker_that_does_not_start_is_told_in_its_own_words(tmp_path: Path, name: str) -> None:
    outcome = obstacle(tmp_path, values(**{name: f"{WORDS}\n"}), "docker-starts")
    assert outcome.evidence == f"dockerd does not start: {WORDS}"
    assert "correct /etc/docker/daemon.json" in outcome.advice


def test_171_one_that_has_failed_with_settings_of_ours_gets_those_of_this_run(tmp_path: Path) -> None:
    situation = planned_sample(tmp_path)
    for name, stops in (("docker_last_words", False), ("docker_failure", True)):
        facts = values(**{name: WORDS})(situation.facts["node1"])
        assert bool(failures(replace(situation, facts={**situation.facts, "node1": facts}))) is stops
