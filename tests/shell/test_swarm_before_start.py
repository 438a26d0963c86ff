"""Swarm mode's question before dockerd starts, asked by shells as nodes have them: was this host removed?"""

from __future__ import annotations

import json
import socket
from collections.abc import Callable
from pathlib import Path

import pytest
from node_shell import SHELLS
from swarm_manager import Authority, answering
from swarm_mend_program import Program

MINE, ANOTHER = "psf4twr4zuepw20x0wvmq4sp9", "16j1xir0qqyi714yviere9yv0"
TOLD = (
    "Permission denied: unauthorized peer role: rpc error: code = PermissionDenied desc = Permission denied: node {} "
    "was removed from swarm"
)
MANAGER, WORKER = "swarm-manager", "swarm-worker"


@pytest.fixture(params=SHELLS)
def mend(request: pytest.FixtureRequest, tmp_path: Path) -> Program:
    """A host whose dockerd is about to start."""
    program = Program(request.param, tmp_path)
    (tmp_path / "stopping").touch()
    (tmp_path / "state").mkdir()
    (tmp_path / "state" / "containers").write_text(f"root\t{tmp_path}/data\n")
    return program


Joined = Callable[..., None]


@pytest.fixture(scope="module")
def authority() -> Authority:
    return Authority()


@pytest.fixture
def joined(mend: Program, authority: Authority) -> Joined:
    """Return a function that puts the host into a swarm with other managers, at these addresses."""

    def call(*addresses: str, role: str = MANAGER, days: int = 90) -> None:
        swarm = mend.folder / "data" / "swarm"
        authority.issue(swarm / "certificates", MINE, role, days)
        remembered = {MINE: "127.0.0.1:1", **{f"{number:025}": address for number, address in enumerate(addresses)}}
        state = [{"node_id": identity, "addr": address} for identity, address in remembered.items()]
        (swarm / "state.json").write_text(json.dumps(state, separators=(",", ":")))
        (swarm / "docker-state.json").write_text("{}")

    return call


def manager(mend: Program, authority: Authority, role: str = MANAGER) -> Path:
    folder = mend.folder / "another"
    authority.issue(folder, ANOTHER, role)
    return folder


def stays(mend: Program) -> bool:
    """Look before a start; return whether the host stays in its swarm. Nothing secret is left."""
    said = mend.run("leave_before_start || :")
    swarm, kept = mend.folder / "data" / "swarm", mend.folder / "state" / "former-swarms"
    assert swarm.exists() == (not kept.exists()) == (said == [])
    assert list(mend.folder.glob("asking*")) == []
    return swarm.exists()


def test_295_a_host_leaves_before_the_start_when_a_manager_answers_that_it_was_removed(
    mend: Program, authority: Authority, joined: Joined
) -> None:
    """Another manager does not answer; what the host had is kept, and its containers' record is held."""
    with answering(manager(mend, authority), TOLD.format(MINE), lets_in=authority) as (address, called):
        joined("127.0.0.1:1", address)
        (mend.folder / "asking.killed").mkdir()
        assert not stays(mend)
    assert called == ["/docker.swarmkit.v1.Raft/ResolveAddress"]
    kept = mend.folder / "state" / "former-swarms" / MINE
    assert (kept / "certificates" / "swarm-node.key").exists()
    assert kept.parent.stat().st_mode & 0o77 == 0
    assert (mend.folder / "state" / "containers.held").exists()
    assert list((mend.folder / "data").glob("swarm.*")) == []


@pytest.mark.parametrize(
    ("words", "status"),
    [
        (TOLD.format(ANOTHER), "7"),
        (TOLD.format(MINE[:-1]), "7"),
        ("Permission denied: unauthorized peer role", "7"),
        ("not found", "5"),
        ("", "0"),
    ],
)
def test_328_a_host_stays_when_a_manager_answers_anything_else(
    mend: Program, authority: Authority, joined: Joined, words: str, status: str
) -> None:
    with answering(manager(mend, authority), words, status, lets_in=authority) as (address, called):
        joined(address)
        assert stays(mend)
    assert called


@pytest.mark.parametrize("who", ["another authority's manager", "a worker"])
def test_329_only_a_manager_of_the_swarm_lets_a_host_leave(
    mend: Program, authority: Authority, joined: Joined, who: str
) -> None:
    files = manager(mend, authority, WORKER) if who == "a worker" else manager(mend, Authority())
    with answering(files, TOLD.format(MINE), lets_in=authority) as (address, _):
        joined(address)
        assert stays(mend)


@pytest.mark.parametrize("role", [MANAGER, WORKER])
def test_328_a_host_stays_when_nobody_answers(mend: Program, joined: Joined, role: str) -> None:
    """One is off, one takes connections and says nothing. A worker asks nobody, and rules nothing."""
    with socket.create_server(("127.0.0.1", 0)) as silent:
        joined("127.0.0.1:1", f"127.0.0.1:{silent.getsockname()[1]}", role=role)
        assert stays(mend)


@pytest.mark.parametrize(
    "broken", ["no swarm", "no state.json", "no certificate", "its certificate has expired", "the swarm is locked"]
)
def test_328_a_host_stays_when_it_cannot_ask(mend: Program, authority: Authority, joined: Joined, broken: str) -> None:
    swarm = mend.folder / "data" / "swarm"
    with answering(manager(mend, authority), TOLD.format(MINE), lets_in=authority) as (address, called):
        if broken != "no swarm":
            joined(address, days=-1 if "expired" in broken else 90)
        if broken == "no state.json":
            (swarm / "state.json").unlink()
        elif broken == "no certificate":
            (swarm / "certificates" / "swarm-node.crt").unlink()
        elif broken == "the swarm is locked":
            key = swarm / "certificates" / "swarm-node.key"
            key.write_text(key.read_text().replace("PRIVATE KEY", "ENCRYPTED PRIVATE KEY"))
        assert mend.run("leave_before_start || :") == []
        assert swarm.exists() == (broken != "no swarm")
    assert called == []


def test_328_a_host_stays_when_it_cannot_read_the_answer(mend: Program, joined: Joined) -> None:
    joined("127.0.0.1:1")
    assert mend.run("awk() { return 127; }\nleave_before_start || :") == []
    assert (mend.folder / "data" / "swarm" / "docker-state.json").exists()


def test_328_a_question_ends_where_nothing_can_be_written(mend: Program) -> None:
    asked = f"patience=1 asking={mend.folder} certificates=/nonexistent; ask 127.0.0.1:1 /nonexistent/answer"
    assert mend.run(f"sleep() {{ :; }}\n{asked} 2>/dev/null; echo ended") == ["ended"]


#: A disk of the host, with Docker's folder and the record on it, and a file that fills it.
FULL_DISK = """
cd {folder}
mkdir disk && mount -t tmpfs -o size=256k tmpfs disk && cp -a data state disk
for one in data state; do mount --bind disk/$one $one; done
cat /dev/zero >disk/fill 2>/dev/null
look() {{
    ls -d data/swarm* state/former-swarms/*/certificates 2>/dev/null
    [ ! -e state/containers.held ] || [ -s state/containers.held ] || echo held
}}
"""


def test_350_a_host_leaves_before_the_start_though_a_full_disk_has_no_room_for_a_copy(
    mend: Program, authority: Authority, joined: Joined
) -> None:
    """Its data is kept when there is room, at a later start: once, and without the record being held again."""
    mend.command = ("unshare", "--mount", "--", *mend.command)
    with answering(manager(mend, authority), TOLD.format(MINE), lets_in=authority) as (address, _):
        joined(address)
        said = mend.run(f"""{FULL_DISK.format(folder=mend.folder)}
            leave_before_start
            look; leave_before_start
            look; rm disk/fill; leave_before_start
            look; leave_before_start""")
    left = f"data/swarm.left.{MINE}"
    stays = [
        one
        for one in said
        if one.startswith("left: ") and f"stays in {mend.folder}/{left}" in one and "(No space" in one
    ]
    (kept,) = [one for one in said if f"Its data is in {mend.folder}/state/former-swarms/{MINE};" in one]
    assert len(stays) == 2
    assert said == [
        stays[0],
        left,
        "held",
        stays[1],
        left,
        "held",
        kept,
        f"state/former-swarms/{MINE}/certificates",
        "held",
    ]


def test_350_a_host_leaves_before_the_start_though_it_has_no_record_of_containers(
    mend: Program, authority: Authority, joined: Joined
) -> None:
    (mend.folder / "state" / "containers").unlink()
    with answering(manager(mend, authority), TOLD.format(MINE), lets_in=authority) as (address, _):
        joined(address)
        (said,) = mend.run(f"configured_docker_root() {{ echo {mend.folder}/data; }}\nleave_before_start")
    assert said.startswith("left: ")
    assert not (mend.folder / "data" / "swarm").exists()


def test_350_a_host_that_cannot_leave_says_so(mend: Program, authority: Authority, joined: Joined) -> None:
    with answering(manager(mend, authority), TOLD.format(MINE), lets_in=authority) as (address, _):
        joined(address)
        (said,) = mend.run("mv() { return 1; }\nleave_before_start || :")
    assert said.startswith("not left: ")
    assert (mend.folder / "data" / "swarm" / "docker-state.json").exists()


def test_350_a_host_that_has_joined_since_it_left_keeps_its_record_up_to_date(
    mend: Program, authority: Authority, joined: Joined
) -> None:
    """There is room for what it had of the former swarm only now. It may have been in that one twice."""
    joined()
    root, kept = mend.folder / "data", mend.folder / "state" / "former-swarms"
    for name in (MINE, f"{MINE}.1"):
        authority.issue(root / f"swarm.left.{name}" / "certificates", MINE, MANAGER, 90)
    assert len(mend.run("leave_before_start")) == 2
    assert sorted(path.name for path in kept.iterdir()) == [MINE, f"{MINE}.1"]
    assert (root / "swarm").exists()
    assert not (mend.folder / "state" / "containers.held").exists()


def test_328_a_host_that_loses_its_power_while_it_leaves_has_left_at_the_next_start(
    mend: Program, authority: Authority, joined: Joined
) -> None:
    """In each of these, its data is kept, and nothing else is left."""
    root, kept = mend.folder / "data", mend.folder / "state" / "former-swarms"
    deaths = (
        'mv() { case $2 in *.left.*) exit 0 ;; esac; command mv "$@"; }',
        "hold_after_leaving() { exit 0; }",
        'rm() { case $* in *.copied*) [ ! -e "${3-$2}" ] || exit 0 ;; esac; command rm "$@"; }',
    )
    (kept / f"{MINE}.1.new" / "half").mkdir(parents=True)  # a copy that was cut short
    with answering(manager(mend, authority), TOLD.format(MINE), lets_in=authority) as (address, _):
        for life, dies in enumerate(deaths):
            joined(address)
            (root / "swarm" / "docker-state.json").write_text(str(life))
            assert mend.run(f"{dies}\nleave_before_start") == []
            mend.run("leave_before_start")
            assert list(root.glob("swarm*")) == []
    there = {path.name: (path / "docker-state.json").read_text() for path in kept.iterdir()}
    assert there == {MINE: "0", f"{MINE}.1": "1", f"{MINE}.2": "2"}
