"""Swarm mode on a host that was given up, or whose swarm is made anew: what leaves, what is kept, what comes back."""

from __future__ import annotations

import base64
import os
from pathlib import Path

import pytest
from node_shell import SHELLS
from swarm_mend_program import OWN, SECOND, THIRD, Program

from provision import layout
from provision.planes.swarm.node import functions
from provision.recovery.generations import CLEAN

MINE, ANOTHER = "psf4twr4zuepw20x0wvmq4sp9", "16j1xir0qqyi714yviere9yv0"
#: It is in a certificate, but not its name.
IN_THE_KEY = "keykeykeykeykeykeykeykeyk"
TOLD = (
    'level=error msg="error receiving response" error="rpc error: code = PermissionDenied desc = Permission denied: '
    "unauthorized peer role: rpc error: code = PermissionDenied desc = Permission denied: node {} was removed from "
    "swarm"
)


@pytest.fixture(params=SHELLS)
def mend(request: pytest.FixtureRequest, tmp_path: Path) -> Program:
    """A node in a swarm."""
    program = Program(request.param, tmp_path)
    (tmp_path / "state").mkdir()
    (tmp_path / "state" / "containers").write_text(f"root\t{tmp_path}/data\n")
    swarm = tmp_path / "data" / "swarm"
    (swarm / "certificates").mkdir(parents=True)
    body = base64.b64encode(b"\x06\x03\x55\x04\x03\x13\x19" + MINE.encode() + b"0Y0\x00" + IN_THE_KEY.encode()).decode()
    certificate = f"-----BEGIN CERTIFICATE-----\n{body}\n-----END CERTIFICATE-----\n"
    (swarm / "certificates" / "swarm-node.crt").write_text(certificate * 2)
    (swarm / "docker-state.json").write_text("{}")
    return program


def looks(mend: Program, journal: str, of_containers: str = "") -> list[str]:
    """Look once, with this in Docker's journal, of itself and of its containers. A swarm that is left is gone."""
    (mend.folder / "journal").write_text(journal)
    (mend.folder / "of_containers").write_text(of_containers)
    asked = 'case "$*" in *_TRANSPORT=stdout*) ;; *) cat "$here/of_containers" ;; esac; cat "$here/journal"'
    restarts = f"*restart*) touch {mend.folder}/restarted ;;"
    timeout = f'timeout() {{ shift; case "$*" in *leave*) ;; {restarts} *) command "$@" ;; esac; }}'
    journalctl = f"journalctl() {{ here={mend.folder}; {asked}; }}"
    said = mend.run(f"{timeout}\n{journalctl}\nss() {{ echo udp; }}\nleave_if_struck_off")
    assert not (mend.folder / "restarted").exists()
    return said


def test_295_a_host_leaves_the_swarm_that_says_it_was_removed_and_keeps_its_data(mend: Program) -> None:
    (said,) = looks(mend, f"{TOLD.format(MINE)}\n{TOLD.format(ANOTHER)}")
    kept = mend.folder / "state" / "former-swarms" / MINE
    assert str(kept) in said
    assert (kept / "docker-state.json").exists()
    assert kept.parent.stat().st_mode & 0o77 == 0
    assert (mend.folder / "state" / "containers.held").exists()


@pytest.mark.parametrize(
    "journal",
    [
        "",
        TOLD.format(ANOTHER),
        f"node {MINE} was removed from swarm",
        TOLD.format("y"),  # a part of another word in the certificate
        TOLD.format(MINE[:-1]),
        TOLD.format(IN_THE_KEY),
    ],
)
def test_295_a_host_stays_in_a_swarm_that_says_so_of_another_one_or_says_nothing(mend: Program, journal: str) -> None:
    assert looks(mend, journal) == []
    assert not (mend.folder / "state" / "former-swarms").exists()


def test_295_a_host_stays_though_a_container_says_so_in_dockers_journal(mend: Program) -> None:
    """With the log driver journald."""
    assert looks(mend, "", TOLD.format(MINE)) == []
    assert not (mend.folder / "state" / "former-swarms").exists()


#: Docker leaves a swarm, as it does since 20.10: what is in the swarm's folder goes, and without a folder Docker fails.
LEAVING = """
root={root}
struck_off() {{ echo {mine}; }}
timeout() {{
    shift
    case "$*" in
    *leave*) echo left >>$root/did; {leaves} && rm -rf $root/swarm/* && [ -d $root/swarm ] ;;
    *LocalNodeState*) cat $root/local ;;
    *restart*) echo restarted >>$root/did ;;
    *) command "$@" ;;
    esac
}}
cp() {{ return 1; }}
"""


@pytest.mark.parametrize("broken", ["", "mkdir() { return 1; }", "hold_containers() { return 1; }"])
def test_350_a_host_leaves_the_swarm_though_there_is_no_room_for_a_copy(mend: Program, broken: str) -> None:
    """Not even for an empty folder, or for a record. What it had is not removed, and is copied at a later start."""
    root = mend.folder / "data"
    script = LEAVING.format(root=root, mine=MINE, leaves="echo inactive >$root/local")
    (said,) = mend.run(f"{script}\n{broken}\nleave_if_struck_off")
    assert said.startswith("left: ")
    assert f"stays in {root}/swarm.left.{MINE}" in said
    assert (root / "did").read_text() == "left\n"
    assert (root / f"swarm.left.{MINE}" / "certificates" / "swarm-node.crt").exists()
    assert (mend.folder / "state" / "containers.held").read_text() == ""
    (told,) = mend.run("openssl() { return 1; }\nleave_before_start")
    assert f"{mend.folder}/state/former-swarms/{MINE};" in told
    assert (mend.folder / "state" / "former-swarms" / MINE / "docker-state.json").exists()


def test_350_a_copy_of_another_day_is_no_copy(mend: Program) -> None:
    """A leave was interrupted then, and Docker went on."""
    root, kept = mend.folder / "data", mend.folder / "state" / "former-swarms"
    (kept / f"{MINE}.leaving").mkdir(parents=True)
    (mend.folder / "data" / "local").write_text("inactive\n")
    script = LEAVING.format(root=root, mine=MINE, leaves=":")
    (said,) = mend.run(f"{script}\nleave_if_struck_off")
    assert f"stays in {root}/swarm.left.{MINE}" in said


def test_350_a_docker_that_does_not_let_a_host_leave_that_has_a_copy_is_asked_again(mend: Program) -> None:
    root = mend.folder / "data"
    script = LEAVING.format(root=root, mine=MINE, leaves="false").replace("cp() { return 1; }", "")
    (said,) = mend.run(f"{script}\nleave_if_struck_off; leave_if_struck_off")
    assert said.startswith("not left: ")
    assert (root / "did").read_text().splitlines() == ["left", "left"]
    assert (root / "swarm" / "docker-state.json").exists()


def test_350_docker_is_restarted_where_it_does_not_let_a_host_leave_whose_data_cannot_be_copied(mend: Program) -> None:
    root = mend.folder / "data"
    (root / "local").write_text("active\n")
    script = LEAVING.format(root=root, mine=MINE, leaves="false")
    (said,) = mend.run(f"{script}\nleave_if_struck_off")
    assert said.startswith("left: ")
    assert (root / "did").read_text().splitlines() == ["left", "left", "left", "restarted"]


def test_350_a_host_that_cannot_leave_says_so_once(mend: Program) -> None:
    script = LEAVING.format(root=mend.folder / "data", mine=MINE, leaves="false")
    (said,) = mend.run(f"{script}\nmv() {{ return 1; }}\nleave_if_struck_off; leave_if_struck_off")
    assert said.startswith("not left: ")
    then = '(struck_off() { :; }; leave_if_struck_off; echo "${complained:-calm}")'
    looks = f"leave_if_struck_off; {then}; leave_if_struck_off"
    assert mend.run(f"{script}\nmv() {{ return 1; }}\n{looks}") == [said, "calm"]


def test_287_the_containers_of_all_hosts_are_recorded_while_all_are_there(mend: Program) -> None:
    record = mend.folder / "state" / "others"
    script = f"""
        networks=demo own={OWN} suspected='' alone=''
        docker() {{ case $* in *-v*) cat {mend.folder}/tasks ;; *) cat {mend.folder}/peers ;; esac; }}
        listens() {{ :; }}
        look_at_peers
    """
    (mend.folder / "peers").write_text(f"demo {OWN} {SECOND} {THIRD}\n")
    (mend.folder / "tasks").write_text(f"web {SECOND}\n\nkeeper {OWN}\n")
    mend.run(f"now=100\n{script}")
    assert record.read_text().splitlines() == [f"keeper {OWN}", f"web {SECOND}"]
    (mend.folder / "peers").write_text(f"demo {OWN} {THIRD}\n")
    (mend.folder / "tasks").write_text(f"keeper {OWN}\n")
    mend.run(f"now=130\n{script}")
    assert record.read_text().splitlines() == [f"keeper {OWN}", f"web {SECOND}"]


#: A host leaves its swarm, as its dockerd does on a command, or does not answer and has its files removed.
LEAVES = """
state={state}
timeout() {{ shift; case "$*" in *leave*) {docker} ;; *restart*) ;; *) "$@" ;; esac; }}
docker() {{ :; }}
systemctl() {{ [ "$1" = start ]; }}
ss() {{ :; }}
sleep() {{ :; }}
die() {{ echo "$*"; exit; }}
forget_swarm() {{ rm -r "$root/swarm"; }}
"""


@pytest.mark.parametrize("docker", ["rm -r $root/swarm", "false"], ids=["docker leaves", "docker is silent"])
def test_337_the_data_of_each_life_in_a_swarm_is_kept(mend: Program, docker: str) -> None:
    """Also if a run is killed before the host has left, or before the copy has its name."""
    state, swarm = mend.folder / "state", mend.folder / "data" / "swarm"
    script = functions("recover") + LEAVES.format(state=state, docker=docker)
    kept = f"{state}/former-swarms/x"
    for life in ("1", "2", "3"):
        (swarm / "raft").mkdir(parents=True, exist_ok=True)
        for seen in ("earlier", life):  # one leave was interrupted, and Docker went on
            (swarm / "docker-state.json").write_text(seen)
            mend.run(f'{script}\nkeep_swarm "$(docker_root)/swarm" {kept}.leaving')
        (swarm / "raft").rmdir()
        (swarm / "docker-state.json").write_text("half removed")
        for _ in range(2):
            assert mend.run(f"{script}\nleave_former_swarm {kept}") == []
    there = {path.name: (path / "docker-state.json").read_text() for path in (state / "former-swarms").iterdir()}
    assert there == {"x": "1", "x.1": "2", "x.2": "3"}


def test_336_what_is_held_is_recorded_anew_as_long_as_containers_are_on_their_networks(mend: Program) -> None:
    """A recovery was interrupted, and goes on days later; or another one begins."""
    state = mend.folder / "state"
    docker = (
        'docker() { case "$2 ${silent-}" in "ls ") echo id ;; "inspect ") echo "[demo]" ;; *yes) return 1 ;; esac; }'
    )
    record = f'record_all() {{ echo recorded; }}\n{docker}\ntimeout() {{ shift; "$@"; }}\n'
    assert mend.run(f"{record}hold_containers") == ["recorded"]
    assert mend.run(f"{record}silent=yes hold_containers") == ["recorded"]
    assert (state / "containers.networks").read_text() == "[demo]\n"
    assert mend.run(f"{record}leave_swarm {state}/former-swarms/x") == ["recorded"]
    assert mend.run(f"{record}hold_containers") == []  # they are off their networks, and Docker may say so
    assert mend.run(f"{record}leave_swarm {state}/former-swarms/x") == []


#: Docker has two networks: one is removed when they have been listed. It does not answer if `silent` is set.
NETWORKS = """
record_all() { :; }
timeout() { shift; "$@"; }
docker() {
    case "$2 ${silent-}" in
    'ls ') if [ -e "$here/gone" ]; then echo demo; else echo demo; echo late; fi ;;
    'inspect ') case "$*" in *late*) : >"$here/gone"; echo '[demo]'; return 1 ;; *) echo '[demo]' ;; esac ;;
    *) return 1 ;;
    esac
}
"""


def test_349_a_network_that_vanishes_while_networks_are_recorded_takes_no_other_with_it(mend: Program) -> None:
    assert mend.run(f"{functions('recover')}\nhere={mend.folder}\n{NETWORKS}\nhold_networks && echo held") == ["held"]
    assert (mend.folder / "state" / "containers.networks").read_text() == "[demo]\n"


@pytest.mark.parametrize("before", ["", "[demo]\n"])
@pytest.mark.parametrize("why", ["silent=yes", ": >$here/stopping"])
def test_349_a_docker_that_does_not_list_its_networks_has_not_said_that_it_has_none(
    mend: Program, before: str, why: str
) -> None:
    """Where the record is needed, nothing is done. A manager without a quorum keeps its networks, and answers late."""
    state = mend.folder / "state"
    (state / "containers.networks").write_text(before)
    script = f"{functions('recover')}\nhere={mend.folder}\n{NETWORKS}\n{why}"
    assert mend.run(f"{script}\nhold_networks || echo failed") == ["failed"]
    assert not (state / "containers.held").exists()
    assert mend.run(f"{script}\nhold_containers && echo held") == ["held"]
    assert (state / "containers.networks").read_text().strip() == before.strip()


#: Docker was started without its managers, where `rebooted` is set: it lists no network then.
REBOOTED = """
record_all() { :; }
timeout() { shift; "$@"; }
docker() {
    case "$2 ${rebooted-}" in
    'ls ') echo demo ;;
    'ls yes') ;;
    'inspect '*) echo '[demo]' ;;
    '--format yes') echo pending ;;
    *) echo active ;;
    esac
}
"""


def test_356_a_docker_that_was_started_without_its_managers_lists_no_networks_and_has_those_that_were_recorded(
    mend: Program,
) -> None:
    state = mend.folder / "state"
    script = f"{functions('recover')}\n{REBOOTED}"
    (state / "containers").write_text("recorded\n")
    assert mend.run(f"{script}\nrebooted=yes\nrecord_networks") == []
    assert not (state / "containers.networks").exists()
    assert mend.run(f"{script}\nrecord_networks") == []
    assert (state / "containers.networks").read_text() == "[demo]\n"
    for hold in ("hold_networks", "hold_containers"):
        assert mend.run(f"{script}\nrebooted=yes\n{hold} && echo held") == ["held"]
        assert (state / "containers.networks").read_text() == "[demo]\n"
        (state / "containers.held").unlink()
    (state / "containers.networks").unlink()
    assert mend.run(f"{script}\nrebooted=yes\nhold_networks && echo held") == ["held"], (
        "an earlier version recorded none"
    )


def test_356_networks_are_recorded_anew_when_containers_are_and_not_while_the_record_is_held(mend: Program) -> None:
    state = mend.folder / "state"
    containers, networks = state / "containers", state / "containers.networks"
    for path, moment in ((networks, 1), (containers, 2)):
        path.write_text("before\n")
        os.utime(path, (moment, moment))
    (state / "containers.held").touch()
    assert mend.run(f"{REBOOTED}\nrecord_networks") == []
    assert networks.read_text() == "before\n"
    (state / "containers.held").unlink()
    assert mend.run(f"{REBOOTED}\nrecord_networks") == []
    assert networks.read_text() == "[demo]\n"
    assert mend.run("docker() { echo asked; }\nrecord_networks") == [], "nothing has changed"


@pytest.mark.parametrize("content", ["", "attached\n"])
def test_336_a_recovery_that_is_given_up_holds_a_record_only_where_containers_are_off_their_networks(
    mend: Program, content: str
) -> None:
    state = mend.folder / "state"
    (state / "containers.held").write_text(content)
    (state / "recovery.json").touch()
    mend.run(f"set -e; {CLEAN.replace(layout.STATE, str(state))}")
    assert (state / "containers.held").exists() == (not content)
    assert not (state / "recovery.json").exists()


#: Docker: containers run but `stopped`; each network is known; commands that connect are printed. It does not list
#: containers with both `-q` and a format.
DOCKER = """
docker() {
    case "$*" in
    "network ls -f scope=local"*) echo bridge; echo own ;;
    "network ls --format"*) echo bridge; echo own; echo demo ;;
    "ps -"*q*--format*) return 1 ;;
    ps*--format*) echo keeper1 demo; echo 'keeper2 ' ;;
    "inspect -f {{slice"*) echo "$4" ;;
    inspect*) case "$4" in *stopped*) echo 'false ' ;; *) echo "true endpoint-$4" ;; esac ;;
    "network inspect -v"*) echo "endpoint-known " ;;
    "network connect"*) case "$*" in *10.99.0.66*) return 1 ;; esac; echo "$*" >>"$state/said" ;;
    "network disconnect"*) ;;
    *) echo "docker $*" ;;
    esac
}
timeout() { shift; "$@"; }
start_again() { [ $# = 0 ] || echo "start $*" >>"$state/said"; }
is_gone() { return 1; }
sync_path() { :; }
"""


def reattaching(state: Path) -> str:
    """The functions of a node, with this Docker."""
    die = 'die() { echo "$*"; exit 0; }'
    return f"state={state}\ntab=$(printf '\\t')\n{functions('recover')}\n{DOCKER}\n{die}"


@pytest.mark.parametrize("how", ["keep", "let"])
def test_288_containers_come_back_one_by_one_with_aliases_and_addresses(mend: Program, how: str) -> None:
    state = mend.folder / "state"
    lines = [
        "container\taa\taa\tbusybox\tyes\talways",
        "attachment\taa\tdemo\tn\t10.99.0.5\tno\tweb\ta\\u0026b",
        "attachment\taa\town\tn\t172.20.0.2\tno",
        "container\tbb\tbb\tbusybox\tyes\talways",
        "attachment\tbb\tdemo\t\t10.99.0.200\tyes",
        "container\tknown\tknown\tbusybox\tyes\talways",
        "attachment\tknown\tdemo\tn\t10.99.0.9\tno",
        "container\tstopped\tstopped\tbusybox\tno\tno",
        "attachment\tstopped\tdemo\tn\t10.99.0.7\tno",
        "container\tcc\tcc\tbusybox\tyes\talways",
        "attachment\tcc\tdemo\tn\t10.99.0.66\tno",
    ]
    (state / "containers").write_text("\n".join(lines) + "\n")
    (state / "containers.held").touch()
    script = f"{reattaching(state)}\nreattach {how}"
    assert mend.run(script) == []
    said = (state / "said").read_text().splitlines()
    keeps = how == "keep"
    assert said == [
        f"network connect {'--ip 10.99.0.5 ' if keeps else ''}--alias web --alias a&b demo aa",
        "network connect --ip 10.99.0.200 demo bb",
        "network connect demo stopped",
        "network connect demo cc",
        "network connect demo keeper1",
        "start bb",
        "start aa bb known cc",
    ]
    assert not (state / "containers.held").exists()
    kept = state / "containers.kept"
    assert kept.exists() == keeps
    if keeps:
        assert kept.read_text() == "aa\tdemo\t10.99.0.5\ncc\tdemo\t10.99.0.66\n"
    assert mend.run(script) == []  # once more, by a run that was killed
    assert (state / "said").read_text().splitlines() == said


def test_336_a_container_that_its_user_has_stopped_since_is_connected_and_not_started(mend: Program) -> None:
    state, docker = mend.folder / "state", mend.folder / "docker-root"
    lines = [f"root\t{docker}"]
    for name, stopped in (("aa", "false"), ("stopped", "true")):
        lines.append(f"container\t{name}\t{name}\tbusybox\tyes\talways")
        lines.append(f"attachment\t{name}\tdemo\tn\t10.99.0.5\tno")
        (docker / "containers" / name).mkdir(parents=True)
        config = '{"ID":"x","HasBeenStartedBefore":true,"HasBeenManuallyStopped":%s,"HasBeenManuallyRestarted":false}'
        (docker / "containers" / name / "config.v2.json").write_text(config % stopped)
    (state / "containers").write_text("\n".join(lines) + "\n")
    (state / "containers.held").write_text("attached\n")
    (state / "containers.networks").write_text("[]\n")
    (mend.folder / "docker.pid").touch()
    os.utime(mend.folder / "docker.pid", (0, 0))
    # While it is at work, a power cut leaves the record as it is.
    at_work = "put_on() { [ ! -s $containers_record.held ] || echo not begun; echo $1 >>$state/said; }"
    assert mend.run(f"{reattaching(state)}\n{at_work}\nreattach let") == []
    assert (state / "said").read_text().splitlines() == ["aa", "stopped", "keeper1", "start aa"]
    # A dockerd that was started since then may have lost both.
    (state / "containers.held").touch()
    (state / "containers.networks").write_text("[]\n")
    (mend.folder / "docker.pid").touch()
    os.utime(state / "containers.networks", (0, 0))
    mend.run(f"{reattaching(state)}\n{at_work}\nreattach let")
    assert (state / "said").read_text().splitlines()[-1] == "start aa stopped"


@pytest.mark.parametrize("late", [2, 9])
def test_288_340_a_network_is_lost_only_if_docker_does_not_find_it_in_four_attempts(mend: Program, late: int) -> None:
    state = mend.folder / "state"
    lines = ["container\taa\taa\tbusybox\tyes\talways", "attachment\taa\tdemo\tn\t10.99.0.5\tyes"]
    (state / "containers").write_text("\n".join(lines) + "\n")
    (state / "containers.held").touch()
    finds = f"""sleep() {{ :; }}
    timeout() {{
        shift
        case "$*" in *"network connect"*demo*aa) ;; *) "$@"; return ;; esac
        echo >>$state/tries
        [ $(wc -l <$state/tries) -lt {late} ] || {{ "$@"; return; }}
        echo 'Error response from daemon: network demo not found'; return 1
    }}"""
    lost = mend.run(f"{reattaching(state)}\n{finds}\nreattach keep 2>&1")
    told = (
        "note: container aa is not on the network demo any more: there is none of this name; "
        f"make it anew ({state}/containers.networks.former may tell its subnet), then docker network connect demo aa"
    )
    assert lost == ([told] if late == 9 else [])
    assert ("network connect --ip 10.99.0.5 demo aa" in (state / "said").read_text().splitlines()) == (late == 2)


def test_299_a_container_that_cannot_be_connected_is_named_and_the_record_stays_held(mend: Program) -> None:
    state = mend.folder / "state"
    lines = ["container\tbb\tbb\tbusybox\tyes\talways", "attachment\tbb\tdemo\tn\t10.99.0.66\tyes"]
    (state / "containers").write_text("\n".join(lines) + "\n")
    (state / "containers.held").touch()
    fails = 'die() { echo "$*"; exit 0; }'
    script = (
        f"state={state}\ntab=$(printf '\\t')\n{functions('recover')}\n{DOCKER}\n{fails}\n(reattach keep) 2>/dev/null"
    )
    assert mend.run(script)[-1] == "Docker does not connect these containers to their networks: bb"
    assert (state / "containers.held").exists()


def test_349_the_record_of_networks_is_kept_unless_docker_has_all_of_them_again(mend: Program) -> None:
    state = mend.folder / "state"
    recorded = state / "containers.networks"
    peers = '        "Peers": [\n            {\n                "Name": "no network",\n'
    for name, goes in (("late", False), ("demo", True)):
        (state / "containers.held").touch()
        recorded.write_text(f'[\n    {{\n        "Name": "own",\n{peers}        "Name": "{name}",\n    }}\n]\n')
        assert mend.run(f"{reattaching(state)}\nreattach let") == []
        former = state / "containers.networks.former"
        assert (recorded.exists(), former.exists()) == (False, not goes)
        assert not (state / "containers.held").exists()
        former.unlink(missing_ok=True)


def test_351_a_record_that_cannot_be_read_is_not_an_empty_one(mend: Program) -> None:
    """Nothing comes back by it, and nothing replaces it. Root can read every file: a read that fails is played."""
    state = mend.folder / "state"
    (state / "containers.held").touch()
    fails = 'cat() { case $* in */containers) return 1 ;; *) command cat "$@" ;; esac; }'
    told = [f"cannot read {state}/containers"]
    assert mend.run(f"{reattaching(state)}\n{fails}\nreattach let") == told
    assert (state / "containers.held").exists()
    before = (state / "containers").read_text()
    assert mend.run(f"{fails}\nrecord_all || echo failed") == ["failed"]
    assert (state / "containers").read_text() == before
