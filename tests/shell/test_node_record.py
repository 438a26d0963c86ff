"""What was on a node before us. A question that nobody answers is no answer; what cannot be recorded is not changed."""

from __future__ import annotations

import pytest
from node_shell import SHELLS, Shell

ABSENT, PRESENT = "404 Not Found", "200 OK"

#: Docker's API and systemd. $api: the status of every answer, empty if Docker is silent. $systemd: what it answers.
STANDS_IN = """
timeout() { shift; "$@"; }
tail() { :; }
docker() {
    [ "$*" = 'system dial-stdio' ] || { echo "$*" >>did; return; }
    cat >asked
    [ -z "$api" ] || printf 'HTTP/1.1 %s\\r\\n\\r\\n' "$api"
}
systemctl() {
    [ "$systemd" ] || return 1
    case $1 in cat) echo "ExecStart=/usr/sbin/dockerd $flags" ;; *) printf "%s\\n" $systemd ;; esac
}
"""
RUNS, STOPPED = "UnitFileState=enabled ActiveState=active", "ActiveState=inactive UnitFileState=disabled"


@pytest.fixture(params=SHELLS)
def shell(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Shell:
    return Shell(request.param, tmp_path_factory.mktemp("shell"))


def recorded(shell: Shell, call: str, *, api: str = "", unit: str = "") -> tuple[list[str], str]:
    """Return the lines of the record after the call, and what is wrong: then the script has ended."""
    done = shell.try_to(f"api='{api}' systemd='{unit}'\n{STANDS_IN}\n{call}\necho went on")
    assert (done.returncode, done.stdout) == ((1, "") if done.stderr else (0, "went on\n"))
    record = shell.folder / "state" / "record"
    return record.read_text().splitlines() if record.exists() else [], done.stderr


@pytest.mark.parametrize(("kind", "path"), [("image", "/images/busybox/json"), ("network", "/networks/busybox")])
def test_211_a_docker_that_does_not_answer_has_not_said_that_it_has_none(shell: Shell, kind: str, path: str) -> None:
    call = f"remember_{kind} busybox"
    for status, words in (("", "no answer"), ("500 Internal Server Error", "500")):
        complaint = (
            f"Docker does not say whether it has the {kind} busybox ({words}); nothing was changed: "
            "what was there before must be known first\n"
        )
        assert recorded(shell, call, api=status) == ([], complaint)
    assert recorded(shell, call, api=PRESENT) == ([], "")
    assert recorded(shell, call, api=ABSENT) == ([f"{kind}\tbusybox\t-"], "")
    assert (shell.folder / "asked").read_text().startswith(f"GET {path} HTTP/1.1\n")
    assert recorded(shell, call) == ([f"{kind}\tbusybox\t-"], ""), "what is recorded is not asked again"


def test_212_a_systemd_that_does_not_answer_has_not_said_that_docker_was_off(shell: Shell) -> None:
    call = "remember_unit docker.service"
    complaint = (
        "systemd does not answer for docker.service; nothing was changed: what was there before must be known first\n"
    )
    assert recorded(shell, call, api=ABSENT) == ([], complaint)
    assert recorded(shell, call, unit=RUNS)[0] == [], "Docker runs and does not answer for its bridge"
    there = ["network\tdocker_gwbridge\t-", "unit\tdocker.service\tenabled active"]
    assert recorded(shell, call, unit=RUNS, api=ABSENT) == (there, "")
    assert recorded(shell, call) == (there, "")


@pytest.mark.parametrize("networks", [b"\0docker_gwbridge\0", b"\0bridge\0", None])
@pytest.mark.parametrize("told", ["on its command line", "in its file"])
def test_211_a_docker_that_is_stopped_is_not_asked_but_its_files_are_read(
    shell: Shell, networks: bytes | None, told: str
) -> None:
    root, file = shell.folder / "root", shell.folder / "daemon.json"
    if networks is not None:
        (root / "network" / "files").mkdir(parents=True)
        (root / "network" / "files" / "local-kv.db").write_bytes(networks)
    flags = f"--config-file={file}"
    if told == "in its file":
        file.write_text(f'{{"data-root": "{root}"}}')
    else:
        flags += f" --data-root {root}"
    bridge = [] if networks and b"gwbridge" in networks else ["network\tdocker_gwbridge\t-"]
    call = f"flags='{flags}'\nremember_unit docker.service"
    assert recorded(shell, call, unit=STOPPED) == ([*bridge, "unit\tdocker.service\tdisabled inactive"], "")
    assert not (shell.folder / "asked").exists()


def test_211_what_a_stopped_docker_has_and_nobody_can_read_is_not_absent(shell: Shell) -> None:
    root, file = shell.folder / "root", shell.folder / "daemon.json"
    (root / "network" / "files" / "local-kv.db").mkdir(parents=True)
    call = f"flags='--config-file={file} --data-root={root}'\nremember_unit docker.service"
    # Root can read every file: a read that fails is played.
    words = "cannot read {}; nothing was changed: what was there before must be known first\n"
    fails = f'grep() {{ case $* in *gwbridge*) return 2 ;; *) command grep "$@" ;; esac; }}\n{call}'
    networks = root / "network" / "files" / "local-kv.db"
    assert recorded(shell, fails, unit=STOPPED) == ([], words.format(networks))
    file.touch()
    fails = f'sed() {{ case $* in *data-root*) return 2 ;; *) command sed "$@" ;; esac; }}\n{call}'
    assert recorded(shell, fails, unit=STOPPED) == ([], words.format("Docker's configuration"))


@pytest.mark.parametrize(
    "fault",
    [
        "chattr +i state",
        "mount -t tmpfs -o size=4k,mode=700 tmpfs state; mkdir state/kept",
    ],
)
def test_213_what_cannot_be_recorded_is_not_changed(shell: Shell, fault: str) -> None:
    (shell.folder / "theirs").write_bytes(b"x" * 5000)
    (shell.folder / "state").mkdir()
    script = f"{fault}\nremember_path $PWD/theirs\necho went on"
    try:
        done = shell.try_to(script, "unshare", "--mount", "--")
    finally:
        shell.try_to("chattr -i state")
    assert (done.returncode, done.stdout) == (1, "")
    assert "nothing was changed" in done.stderr


def test_351_a_record_that_cannot_be_read_puts_nothing_back_and_stays(shell: Shell) -> None:
    (shell.folder / "ours").touch()
    fails = 'sed() { case $* in */record) echo "sed: input error" >&2; return 4 ;; *) command sed "$@" ;; esac; }'
    done = shell.try_to(f"remember absent $PWD/ours -; {fails}\nput_back '.*'\necho went on")
    record = shell.folder / "state" / "record"
    assert (done.returncode, done.stdout) == (1, "")
    assert f"cannot read {record}; nothing is put back" in done.stderr
    assert record.exists()
    assert (shell.folder / "ours").exists()
    assert shell.run("put_back '.*'") == ""
    assert not (shell.folder / "ours").exists()


def test_211_reset_says_what_it_could_not_ask_for(shell: Shell) -> None:
    did = shell.folder / "did"
    there = "remember image busybox -; remember network docker_gwbridge -; drop_keepers() { :; }; put_back_things"
    for api, told, done in (
        (ABSENT, "", ""),
        (PRESENT, "", "image rm busybox\nnetwork rm docker_gwbridge\n"),
        (
            "",
            "the image busybox may be left: Docker does not answer\n"
            "the network docker_gwbridge may be left: Docker does not answer\n",
            "",
        ),
    ):
        did.write_text("")
        result = shell.try_to(f"api='{api}' systemd=''\n{STANDS_IN}\n{there}")
        assert (result.returncode, result.stdout, did.read_text()) == (0, told, done)
