"""Swarm mode's program that stays on a node: containers that Docker has given up are started, and no others."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from node_shell import SHELLS
from swarm_mend_program import AFTER, BEFORE, BEGAN, BRIDGE, DEMO, NOT_ATTACHED, Program, state


@pytest.fixture(params=SHELLS)
def mend(request: pytest.FixtureRequest, tmp_path: Path) -> Program:
    return Program(request.param, tmp_path)


ROUND = "folder= began= networks= tries=0\nlook\nstart"


@pytest.mark.parametrize(
    "error",
    [
        NOT_ATTACHED,
        "attaching to network failed, make sure your network options are correct and check manager logs: "
        "context deadline exceeded",
        "network icq4cv4xitbyoz7bevmfa7iq9 not found",
        "could not find network demo after successful attachment",
        "invalid cluster node while attaching to network",
        "web is already attached to network demo",
        "failed to set up container networking: no available IPv4 addresses on this network's address pools",
        "failed to create endpoint web on network demo: exchange full",
        "endpoint with name web already exists in network demo",
        "network sandbox join failed: error creating vxlan interface: file exists",
    ],
)
def test_a_container_that_could_not_attach_is_started_and_counted(mend: Program, error: str) -> None:
    mend.has(web=state(error), job=state(error, policy="on-failure"), database=state(error, policy="unless-stopped"))
    assert mend.run(ROUND) == [
        f"started: {name}, which could not attach to network demo" for name in ("web", "job", "database")
    ]
    assert (mend.folder / "mend.started").read_text() == "3\n"


@pytest.mark.parametrize(
    "container",
    [
        state(""),
        state("", policy="unless-stopped"),
        state(policy="no"),
        state(on=BRIDGE, error="network own not found"),
        state(
            "driver failed programming external connectivity on endpoint web: port is already allocated, network demo"
        ),
        state("Could not attach to network demo: network demo not manually attachable"),
        state('OCI runtime create failed: exec: \\"network\\": executable file not found in $PATH'),
        state("error while mounting volume: network is unreachable"),
    ],
    ids=["stopped", "stopped for good", "no policy", "own bridge", "port", "not attachable", "no program", "volume"],
)
def test_a_container_is_left_alone_that_a_user_stopped_or_that_failed_otherwise(mend: Program, container: str) -> None:
    mend.has(web=container)
    assert mend.run(f"{ROUND}\necho $tries") == ["0"]
    assert mend.asked("start") == 0


def test_a_container_that_never_started_is_known_by_the_name_of_a_network_with_a_keeper(mend: Program) -> None:
    mend.has(web=state(on="demo="), other=state(on="bridge="))
    with (mend.folder / "ps").open("a") as ps:
        ps.write(f"{'f' * 64} running demo\n")
    assert mend.run(ROUND) == ["started: web, which could not attach to network demo"]


def test_a_container_on_a_bridge_too_is_one_of_the_networks(mend: Program) -> None:
    mend.has(web=state(on=f"{BRIDGE} {DEMO} zone={'b' * 64}"))
    assert mend.run(ROUND) == ["started: web, which could not attach to network demo"]


@pytest.mark.parametrize(
    ("policy", "started", "finished", "is_started"),
    [
        ("unless-stopped", BEFORE, AFTER, True),
        ("unless-stopped", BEFORE, BEFORE, False),
        ("unless-stopped", AFTER, AFTER, False),
        ("always", BEFORE, AFTER, False),
    ],
    ids=["by dockerd", "by a user before", "by a user after", "of another policy"],
)
def test_a_container_that_dockerd_stopped_at_its_start_is_started(
    mend: Program, policy: str, started: str, finished: str, is_started: bool
) -> None:
    mend.has(web=state("", policy=policy, started=started, finished=finished))
    lines = mend.run(ROUND.replace("began=", f"began={BEGAN}"))
    assert lines == (["started: web, which Docker stopped when it started"] if is_started else [])


def test_what_dockerd_stopped_at_a_start_that_nobody_saw_stays_stopped(mend: Program) -> None:
    mend.has(web=state("", policy="unless-stopped", started=BEFORE, finished=AFTER))
    assert mend.run(ROUND) == []


def test_one_container_that_cannot_start_yet_does_not_keep_another_from_it(mend: Program) -> None:
    mend.has(web=state(), database=state())
    (mend.folder / "startable").write_text(f"{1:064x}\n")
    assert mend.run(ROUND) == ["started: database, which could not attach to network demo"]
    assert (mend.folder / "mend.started").read_text() == "1\n"


def test_many_attempts_in_vain_are_said_once(mend: Program) -> None:
    mend.has(web=state())
    (mend.folder / "startable").write_text("")
    assert mend.run(f"{ROUND}\n{'look; start; ' * 12}") == [
        "not started: web, which could not attach to network demo, after 10 attempts; the next ones follow every 20 s"
    ]


def test_a_docker_that_does_not_answer_is_not_asked_to_start(mend: Program) -> None:
    mend.has(web=state())
    (mend.folder / "ps").unlink()
    assert mend.run("began= networks= tries=0\nlook || echo no") == ["no"]


@pytest.mark.parametrize(
    ("error", "age", "is_seen"),
    [("", 0, False), ("network demo not found", 9, False), ("network demo not found", 0, True)],
    ids=["no error", "an old error", "a new error"],
)
def test_docker_is_asked_when_it_has_written_an_error_down(mend: Program, error: str, age: int, is_seen: bool) -> None:
    config = mend.folder / "data" / "containers" / "1d" / "config.v2.json"
    config.parent.mkdir()
    config.write_text(f'{{"State":{{"Running":false,"Error":"{error}"}}}}')
    looked = mend.folder / "mend.looked"
    looked.touch()
    os.utime(looked, (1000, 1000))
    os.utime(config, (1005 - age, 1005 - age))
    says = mend.run(f"folder={mend.folder}/data/containers\nhas_failed && echo yes || echo no")
    assert says == ["yes" if is_seen else "no"]


def test_docker_is_asked_when_its_folder_is_unknown(mend: Program) -> None:
    assert mend.run("folder=/containers\nhas_failed && echo yes") == ["yes"]
