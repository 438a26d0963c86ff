"""Docker installed on a node and removed again: what is asked of apt, what is recorded, and what is a user's."""

from __future__ import annotations

import subprocess

import pytest
from node_shell import SHELLS, Shell

from provision.facts.answer import decoded
from provision.node import functions

#: apt and dpkg. `lists`: yes if apt has lists of packages, and `reached`: yes if it can get them.
STANDS_IN = """
calls=$PWD/calls; : >"$calls"
timeout() { shift; "$@"; }
command() { case $2 in dockerd) return 1 ;; esac; }
sync_path() { :; }
systemctl() { :; }
getent() { return 2; }
mktemp() { mkdir -p "$PWD/lists" && echo "$PWD/lists"; }
has_lists() { [ "$lists" = yes ] || { [ -n "${APT_CONFIG-}" ] && [ "$reached" = yes ]; }; }
apt_cache() {
    has_lists || { echo "N: Unable to locate package $2" >&2; return 0; }
    case $* in
    'policy docker.io') printf 'docker.io:\\n  Installed: (none)\\n  Candidate: 26.1.5+dfsg1-9\\n' ;;
    'policy docker-cli') printf 'docker-cli:\\n  Installed: (none)\\n  Candidate: (none)\\n' ;;
    'madison docker.io')
        echo 'docker.io | 26.1.5+dfsg1-9 | file:/x ./ Packages'
        echo 'docker.io | 20.10.24 | file:/x ./ Packages'
        ;;
    esac
}
apt_get_program() {
    echo "$*" >>"$calls"
    case "$*" in
    *' update') [ "$reached" = yes ] || { echo 'E: no route to host'; return 100; } ;;
    *--simulate*) printf 'Inst containerd (1)\\nInst libc6 [1] (2)\\nInst docker.io (26)\\nConf docker.io (26)\\n' ;;
    esac
}
dpkg() { echo "dpkg $*" >>"$calls"; }
dpkg_query() { case $* in *libc6) echo 'ii ' ;; *) return 1 ;; esac; }
"""
#: Names with a dash are no names of functions in POSIX sh.
NAMES = {"apt-cache": "apt_cache", "apt-get": "apt_get_program", "dpkg-query": "dpkg_query"}
PACKAGES = functions("packages").replace("command -v apt-get", "command -v apt")
for program, stand_in in NAMES.items():
    PACKAGES = PACKAGES.replace(f"{program} ", f"{stand_in} ")


@pytest.fixture(params=SHELLS)
def shell(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Shell:
    return Shell(request.param, tmp_path_factory.mktemp("shell"))


def tried(shell: Shell, script: str, lists: str = "yes", reached: str = "yes") -> subprocess.CompletedProcess[str]:
    return shell.try_to(f"{PACKAGES}\n{STANDS_IN}\nlists={lists} reached={reached}\n{script}")


def answered(shell: Shell, *, lists: str = "yes", reached: str = "yes") -> list[str]:
    done = tried(shell, "fact_packages docker.io docker-cli", lists, reached)
    assert (done.returncode, done.stderr) == (0, "")
    kind, name, text = done.stdout.strip().split("\t")
    assert (kind, name) == ("answer", "packages")
    return decoded(text).splitlines()


KNOWN = [
    "apt yes -",
    "docker.io candidate 26.1.5+dfsg1-9",
    "docker.io version 26.1.5+dfsg1-9",
    "docker.io version 20.10.24",
]


@pytest.mark.parametrize("lists", ["yes", "no"])
def test_224_apt_is_asked_and_nothing_of_it_is_left(shell: Shell, lists: str) -> None:
    assert answered(shell, lists=lists) == KNOWN
    assert not (shell.folder / "lists").exists()


def test_224_apts_complaint_is_told_where_it_reaches_nothing(shell: Shell) -> None:
    assert answered(shell, lists="no", reached="no") == ["apt yes -", "apt complaint E: no route to host "]


def test_218_each_package_is_recorded_before_it_is_added(shell: Shell) -> None:
    done = tried(shell, "begin_installing package\ninstall_packages docker.io\ncat state/docker/record")
    assert (done.returncode, done.stderr) == (0, "")
    lines = done.stdout.splitlines()
    assert lines[0] == "docker\tDocker\tpackage"
    assert [line for line in lines if line.startswith("package")] == [
        "package\tpackage containerd\tun",
        "package\tpackage docker.io\tun",
    ]
    calls = (shell.folder / "calls").read_text().splitlines()
    assert [call.split()[-1] for call in calls] == ["--audit", "update", "docker.io", "docker.io"]
    assert all("--no-remove" in call for call in calls[2:])


def test_222_apt_is_tried_again_while_its_lock_is_held(shell: Shell) -> None:
    held = """
    apt_get_program() {
        echo try >>"$calls"
        [ "$(wc -l <"$calls")" -gt 2 ] || { echo 'E: Could not get lock /var/lib/apt/lists/lock.'; return 100; }
    }
    sleep() { :; }
    apt_get update && wc -l <"$calls"
    """
    assert tried(shell, held).stdout.strip() == "3"


def test_224_what_apt_refuses_is_told_in_its_own_words(shell: Shell) -> None:
    script = """
    apt_get_program() { echo 'Reading package lists...'; echo 'E: Unable to locate package docker.io'; return 100; }
    begin_installing package
    install_packages docker.io
    """
    done = tried(shell, script)
    assert done.returncode == 1
    assert done.stderr.splitlines()[0] == "apt cannot install it: E: Unable to locate package docker.io"


THINGS = {
    "": False,
    "image\\tbusybox:latest": False,
    "container\\tkeeper\\tdemo": False,
    "image\\tmine:1": True,
    "container\\tweb\\t": True,
    "volume\\tdata": True,
}


@pytest.mark.parametrize(("things", "stays"), THINGS.items())
def test_220_a_docker_stays_where_something_of_a_user_is_in_it(shell: Shell, things: str, stays: bool) -> None:
    script = f"""
    mkdir -p state/docker
    printf 'image\\tbusybox\\t-\\n' >state/record
    list_things() {{ printf '{things}\\n' | grep . || true; }}
    keep_used_docker
    [ -e state/docker ] || echo stays
    """
    done = tried(shell, script)
    assert (done.stdout, done.stderr) == ("stays\n" if stays else "", "")


def things(shell: Shell, script: str) -> str:
    """What is listed of a Docker of ours, whose folder is in the test's own."""
    text = f"mkdir -p state/docker; : >>state/docker/record\n{script}\nlist_things"
    done = shell.try_to(f"{PACKAGES.replace('/var/lib/docker', '$PWD/lib')}\n{STANDS_IN}\n{text}")
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout


@pytest.mark.parametrize("failing", ["ps", "image", "volume"])
def test_220_what_docker_does_not_list_is_not_nothing(shell: Shell, failing: str) -> None:
    answers = "docker_answers() { :; }\n"
    assert things(shell, f"{answers}docker() {{ [ $1 != {failing} ] || return 1; }}") == "unseen\n"
    assert things(shell, f"{answers}docker() {{ echo $1; }}") == "ps\nimage\nvolume\n"


def test_220_a_silent_docker_is_looked_into(shell: Shell) -> None:
    silent = "docker_answers() { return 1; }\n"
    empty = f"{silent}mkdir -p lib/volumes lib/containers; : >lib/volumes/backingFsBlockDev; : >lib/volumes/metadata.db"
    assert things(shell, empty) == ""
    assert things(shell, f"{silent}mkdir lib/volumes/web") == "unseen\n"
    assert things(shell, f"{silent}rmdir lib/volumes/web; mkdir -p lib/containers/1f") == "unseen\n"
    image = "lib/image/overlay2/imagedb/content/sha256"
    assert things(shell, f"{silent}rmdir lib/containers/1f; mkdir -p {image}; : >{image}/1f") == "unseen\n"


def test_220_a_removal_that_was_interrupted_is_ended_without_a_question(shell: Shell) -> None:
    tried(
        shell,
        """
        docker_answers() { return 1; }
        stop_dockerd() { exit 1; } # here the run is killed
        mkdir -p state/docker && : >state/docker/record
        remove_docker
        """,
    )
    assert things(shell, "docker_answers() { return 1; }; mkdir -p lib/volumes/web") == ""
    # A Docker that is at work again is asked, and so is one that was installed again.
    assert things(shell, "docker_answers() { :; }; docker() { echo $1; }") == "ps\nimage\nvolume\n"
    again = "(begin_installing package); docker_answers() { return 1; }"
    assert things(shell, again) == "unseen\n"


def test_220_what_is_mounted_on_a_volume_is_not_deleted(shell: Shell) -> None:
    text = f"""{PACKAGES}
    mkdir -p state "lib/volumes/a b/c" theirs/c inner && : >theirs/data && : >inner/data
    remember absent "$PWD/lib" - && remember folder "$PWD/theirs" '755 0:0'
    mount --bind theirs "lib/volumes/a b" && mount --bind inner "lib/volumes/a b/c" && mount --bind inner theirs/c
    unmount_gone
    put_back '.*'
    [ ! -e lib ] || echo left
    ls theirs inner theirs/c
    """
    done = shell.try_to(text, "unshare", "--mount")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.split() == ["inner:", "data", "theirs:", "c", "data", "theirs/c:", "data"]


def test_220_a_mount_that_stays_ends_the_removal(shell: Shell) -> None:
    text = f"""{PACKAGES}
    mkdir -p lib/x theirs && : >theirs/data
    remember absent "$PWD/lib" -
    mount --bind theirs lib/x
    umount() {{ :; }}
    unmount_gone
    """
    done = shell.try_to(text, "unshare", "--mount")
    assert done.returncode == 1
    assert done.stderr.startswith(f"{shell.folder}/lib/x is still mounted")


@pytest.mark.parametrize(
    ("iptables", "recorded"),
    [
        ("", ["kernel\tpolicy\t-P FORWARD ACCEPT"]),  # no iptables, no rule of it
        ("iptables() { echo '-P FORWARD DROP'; echo '-A FORWARD -j mine'; }", ["kernel\tpolicy\t-P FORWARD DROP"]),
        ("iptables() { return 4; }", []),
    ],
)
def test_218_the_policy_of_forwarding_is_recorded_where_it_is_known(
    shell: Shell, iptables: str, recorded: list[str]
) -> None:
    there = f"command() {{ [ '{iptables and 'yes'}' = yes ]; }}"
    done = tried(shell, f"{iptables}\n{there}\nbegin_installing package\ngrep policy state/docker/record || true")
    assert (done.stdout.splitlines(), done.stderr) == (recorded, "")


@pytest.mark.parametrize(
    ("recorded", "policies"),
    [
        ("-P FORWARD ACCEPT", ["iptables :FORWARD ACCEPT [0:0]", "ip6tables :FORWARD DROP [0:0]"]),
        ("-P FORWARD DROP", ["iptables :FORWARD DROP [0:0]", "ip6tables :FORWARD DROP [0:0]"]),
        ("", ["iptables :FORWARD DROP [0:0]", "ip6tables :FORWARD DROP [0:0]"]),
    ],
)
def test_218_only_a_policy_that_docker_has_set_is_put_back(shell: Shell, recorded: str, policies: list[str]) -> None:
    folder = shell.folder / "bin"
    folder.mkdir()
    for tool in ("iptables", "ip6tables"):
        (folder / f"{tool}-save").write_text("#!/bin/sh\nprintf ':FORWARD DROP [0:0]\\n:DOCKER - [0:0]\\n'\n")
        (folder / f"{tool}-restore").write_text(f"#!/bin/sh\nsed 's/^/{tool} /' >>restored\n")
        for program in (f"{tool}-save", f"{tool}-restore"):
            (folder / program).chmod(0o755)
    remembered = f"remember kernel policy '{recorded}'" if recorded else ":"
    parts = PACKAGES.replace("/sys/class/net", "$PWD/net")
    shell.try_to(f"{parts}\nPATH=$PWD/bin:$PATH\n{remembered}\nforget_rules")
    assert (shell.folder / "restored").read_text().splitlines() == policies
