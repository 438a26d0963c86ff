"""Facts of a node's Docker: its command line, whether it could start, and what its containers need."""

from __future__ import annotations

import shlex
from pathlib import Path

import pytest
from node_shell import SHELLS, Shell

from provision.docker.vendor import Vendor
from provision.facts import parse

UNIT = """\
# /lib/systemd/system/docker.service
[Service]
EnvironmentFile=-{folder}/options
EnvironmentFile={folder}/absent
ExecStart=/usr/sbin/dockerd -H fd:// \\
    --data-root=/srv/old \\
    $DOCKER_OPTS ${{MORE}}
# /etc/systemd/system/docker.service.d/50-overlay.conf
[Service]
ExecStart=
ExecStart=/usr/sbin/dockerd --config-file=/run/overlay-provision/daemon.json
"""
OPTIONS = """\
# DOCKER_OPTS="--commented"
DOCKER_OPTS="--debug --data-root /srv/docker"
SECRET=not-shown
MORE='--config-file=/opt/d.json --label=*'
"""


@pytest.fixture(params=SHELLS)
def shell(request: pytest.FixtureRequest, tmp_path: Path) -> Shell:
    return Shell(request.param, tmp_path)


def systemctl(unit: str, loaded: str = "loaded") -> str:
    """A systemctl with one answer for each question."""
    answer = f"cat*) printf '%s\\n' {shlex.quote(unit)} ;;\n*docker.socket) echo {loaded} ;;"
    return f"systemctl() {{\ncase $* in\n{answer}\nesac\n}}\n"


def test_95_the_command_line_and_its_variables_are_read_from_the_files_that_systemd_reads(shell: Shell) -> None:
    (shell.folder / "options").write_text(OPTIONS)
    unit = UNIT.format(folder=shell.folder)
    flags = 'docker_flag data-root "$docker_words"; echo; docker_flag config-file "$docker_words"; echo'
    output = shell.run(f"{systemctl(unit)}fact_docker_unit\n{flags}")
    assert output.splitlines()[-2:] == ["/srv/docker", "/opt/d.json"]
    vendor = Vendor.of(parse(output).values)
    assert vendor.command == "/usr/sbin/dockerd -H fd:// --data-root=/srv/old $DOCKER_OPTS ${MORE}"
    assert [source.text for source in vendor.sources[1:]] == [
        "--debug --data-root /srv/docker",
        "--config-file=/opt/d.json --label=*",
    ]
    assert {source.file for source in vendor.sources[1:]} == {f"{shell.folder}/options"}
    assert "SECRET" not in vendor.environment


@pytest.mark.parametrize(
    ("active", "loaded", "wanted", "there"),
    [
        ("docker.socket", "loaded", "", True),
        ("", "loaded", "Requires=docker.socket\n", True),
        ("", "loaded", "", False),
        ("", "not-found", "Requires=docker.socket\n", False),
        ("", "masked", "Wants=docker.socket\n", False),
    ],
)
def test_96_a_socket_is_there_where_systemd_opens_it(
    shell: Shell, active: str, loaded: str, wanted: str, there: bool
) -> None:
    unit = f"# /lib/systemd/system/docker.service\n[Unit]\n{wanted}[Service]\nExecStart=/usr/bin/dockerd\n"
    output = shell.run(f"{systemctl(unit, loaded)}active=' {active} '\nfact_docker_unit")
    assert Vendor.of(parse(output).values).has_socket is there


@pytest.mark.parametrize(
    ("argument", "ours"), [("--config-file=/run/overlay-provision/daemon.json", True), ("--x", False)]
)
def test_94_a_dockerd_with_a_command_line_that_is_not_ours_has_no_inputs_of_ours(
    shell: Shell, argument: str, ours: bool
) -> None:
    script = f"sh -c 'kill -STOP $$; :' dockerd {argument} &\ndockerd_process=$!\n"
    script += "until grep -q '^State:.T' /proc/$dockerd_process/status; do :; done\n"
    script += "is_started_otherwise docker.service && echo otherwise\nkill -KILL $dockerd_process"
    assert shell.try_to(script).stdout == ("" if ours else "otherwise\n")


DOCKERD = """\
dockerd() {{
    case $* in
    --validate*) {validates} || {{ echo 'Status: unknown flag: --validate'; return 125; }} ;;
    esac
    echo "$*" >asked
    {answer}
}}
setpriv() {{ shift 3; "$@"; }}
timeout() {{ shift; "$@"; }}
docker_words='/usr/sbin/dockerd -H fd:// $DOCKER_OPTS --debug --label=*'
"""
REFUSED = "unable to configure the Docker daemon: x"
NOT_ROOT = 'echo "level=info msg=Starting up"; echo "dockerd needs to be started with root privileges" >&2; false'


@pytest.mark.parametrize(
    ("validates", "answer", "complaint"),
    [
        (True, "echo configuration OK", ""),
        (True, f"echo {REFUSED}; false", REFUSED),
        (False, NOT_ROOT, ""),
        (False, f"echo Flag --x has been deprecated; {NOT_ROOT}", ""),
        (False, f"echo Flag --x has been deprecated; echo {REFUSED} >&2; false", REFUSED),
    ],
)
def test_171_dockerd_is_asked_whether_it_would_start_and_is_not_started(
    shell: Shell, validates: bool, answer: str, complaint: str
) -> None:
    stub = DOCKERD.format(validates=str(validates).lower(), answer=answer)
    assert shell.run(f"{stub}dockerd_complaint").strip() == complaint
    flag = "--validate " if validates else ""
    assert (shell.folder / "asked").read_text() == f"{flag}-H fd:// --debug --label=*\n"


def test_171_where_nobody_may_not_read_the_configuration_of_an_old_dockerd_nothing_is_known(shell: Shell) -> None:
    stub = DOCKERD.format(validates="false", answer=f"echo {REFUSED} open daemon.json permission denied; false")
    assert shell.run(f"{stub}dockerd_complaint") == ""


JOURNAL = """\
journalctl() {
    case $* in *_SYSTEMD_UNIT=docker.service*) cat own ;; *) cat about ;; esac
}
"""


@pytest.mark.parametrize(
    ("own", "last"),
    [
        ("level=info msg=a\nunable to configure\n", "unable to configure\n"),
        ('level=info msg=a\nlevel=error msg="no"\nlevel=info msg=b\n', 'level=error msg="no"\n'),
        ("one\ntwo\n", "one\ntwo\n"),
        ("", "Failed to start\n"),
    ],
)
def test_171_the_last_words_are_those_of_the_process(shell: Shell, own: str, last: str) -> None:
    (shell.folder / "own").write_text(own)
    (shell.folder / "about").write_text("Starting\nFailed to start\n")
    assert shell.run(f"{JOURNAL}last_words docker.service") == last


@pytest.mark.parametrize(
    ("files", "facts"),
    [
        ({}, {}),
        ({"module/apparmor/parameters/enabled": "Y\n"}, {}),
        ({"module/apparmor/parameters/enabled": "N\n", "kernel/security/apparmor/profiles": ""}, {}),
        (
            {"module/apparmor/parameters/enabled": "Y\n", "kernel/security/apparmor/profiles": ""},
            {"apparmor": "yes"},
        ),
        ({"fs/cgroup/cgroup.controllers": "cpu memory\n"}, {"cgroups": "yes"}),
        ({"fs/cgroup/devices/tasks": ""}, {"cgroups": "yes"}),
        ({"fs/cgroup/unified/cgroup.controllers": ""}, {}),
    ],
    ids=["nothing", "AppArmor without its file system", "AppArmor off", "AppArmor", "version 2", "version 1", "none"],
)
def test_170_what_the_kernel_demands_is_a_fact(shell: Shell, files: dict[str, str], facts: dict[str, str]) -> None:
    for name, text in files.items():
        (shell.folder / "sys" / name).parent.mkdir(parents=True)
        (shell.folder / "sys" / name).write_text(text)
    values = parse(shell.run("OVERLAY_SYS=sys\nfact_containers")).values
    assert {name: values[name] for name in ("apparmor", "cgroups") if name in values} == facts
    assert values["seccomp"] == "yes"


def test_170_the_programs_of_docker_that_are_found_are_a_fact(shell: Shell) -> None:
    (shell.folder / "bin").mkdir()
    for name in ("runc", "iptables"):
        (shell.folder / "bin" / name).touch(0o755)
    output = shell.run('PATH="$PWD/bin:/bin"\nOVERLAY_SYS=sys\nfact_containers')
    assert {"runc", "iptables"} <= set(parse(output).values["programs"].split())
