"""The loop of swarm mode's program that stays on a node: when it asks Docker, and what it learns of a new dockerd."""

from __future__ import annotations

import os
import subprocess
import time
from pathlib import Path

import pytest
from node_shell import SHELLS
from swarm_mend_program import OWN, SECOND, THIRD, Program, state


@pytest.fixture(params=SHELLS)
def mend(request: pytest.FixtureRequest, tmp_path: Path) -> Program:
    return Program(request.param, tmp_path)


#: The loop without a wait, for some turns. Time goes on by the pauses; each turn's time and pause are printed.
LOOP = """
seconds=1000 turns={turns}
listens() {{ :; }}
tell_time() {{ now=$seconds; }}
sleep() {{
    seconds=$((seconds + $1)) turns=$((turns - 1))
    {each}
    [ "$turns" -gt 0 ] || exit 0
}}
watch
"""


def turns(mend: Program, number: int, each: str = ":") -> list[str]:
    return mend.run(LOOP.format(turns=number, each=each))


def keep(mend: Program) -> None:
    """Give Docker a keeper, and peers that are whole."""
    (mend.folder / "ps").write_text(f"{'f' * 64} running demo\n")
    (mend.folder / "peers").write_text(f"demo {OWN} {SECOND} {THIRD}\n")


def test_little_is_asked_while_nothing_is_wrong(mend: Program) -> None:
    keep(mend)
    turns(mend, 60)  # two minutes, quickly
    (mend.folder / "asked").write_text("")
    turns(mend, 60 + 60, 'case $turns in 60) : >"$OVERLAY_RUN/asked" ;; esac')  # then ten minutes
    assert (mend.asked("ps"), mend.asked("network"), mend.asked("info")) == (10, 40, 0)


def test_the_journal_is_looked_at_once_a_minute_while_no_peer_is_missing(mend: Program) -> None:
    keep(mend)
    looks, peers = mend.folder / "looks", mend.folder / "peers"
    looking = f"leave_if_struck_off() {{ echo >>{looks}; }}"
    lose = f"[ $turns != 60 ] || {{ wc -l <{looks}; : >{looks}; echo $seconds; echo demo {OWN} {THIRD} >{peers}; }}"
    end = "[ $turns != 0 ] || echo $seconds"
    said = mend.run(f"{looking}\n{LOOP.format(turns=180, each=f'{lose}; {end}')}")
    calm, lost, ended = (int(line) for line in said if line.isdigit())
    assert 60 + 10 <= calm <= 60 + 12  # two minutes quickly, then ten minutes
    assert len(looks.read_text().splitlines()) >= (ended - lost - 60) // 10


def test_a_container_is_started_in_the_turn_after_its_failure_was_written_down(mend: Program) -> None:
    mend.has(web=state())
    (mend.folder / "ps").rename(mend.folder / "failing")
    keep(mend)
    config = mend.folder / "data" / "containers" / "1d" / "config.v2.json"
    config.parent.mkdir()
    fail = f"""[ $turns != 1 ] || {{
        cp "$OVERLAY_RUN/failing" "$OVERLAY_RUN/ps"
        echo '"Error":"network demo not found"' >{config} && touch -d 2038-01-01 {config} && echo failed
    }}"""
    assert turns(mend, 11, fail) == ["failed", "started: web, which could not attach to network demo"]


def test_attempts_follow_quickly_at_first_and_slowly_later(mend: Program) -> None:
    mend.has(web=state())
    (mend.folder / "startable").write_text("")
    turns(mend, 10)
    assert mend.asked("start") == 10
    turns(mend, 10 + 100, 'case $turns in 100) hurrying=0; : >"$OVERLAY_RUN/asked"; echo $seconds ;; esac')
    assert 48 <= mend.asked("start") <= 51  # a thousand seconds


def test_docker_is_asked_seldom_after_many_attempts_although_each_writes_an_error_down(mend: Program) -> None:
    mend.has(web=state())
    (mend.folder / "startable").write_text("")
    config = mend.folder / "data" / "containers" / "1d" / "config.v2.json"
    config.parent.mkdir()
    config.write_text('"Error":"network demo not found"')
    os.utime(config, (2145916800, 2145916800))
    turns(mend, 60)
    assert mend.asked("start") == 10 + 5  # ten in 20 s, then one each 20 s of 100 s


def test_missing_peers_are_looked_for_quickly(mend: Program) -> None:
    keep(mend)
    seen, asked = mend.folder / "peers", mend.folder / "asked"
    lose = f"[ $turns != 90 ] || {{ echo demo {OWN} {THIRD} >{seen}; : >{asked}; }}"
    heal = f"[ $turns != 60 ] || {{ echo demo {SECOND} {THIRD} >{seen}; grep -c network {asked}; }}"
    alone, looks, found = turns(mend, 100, f"hurrying=0\n{lose}\n{heal}")
    assert (alone.split()[0], found.split()[0]) == ("alone:", "found:")
    assert int(looks) >= 26  # one a turn, after the first


def test_a_new_dockerd_has_its_files_looked_at_quickly(mend: Program) -> None:
    keep(mend)
    assert turns(mend, 70, "echo $1")[:60] == ["2"] * 60
    assert turns(mend, 70, "echo $1")[60:] == ["10"] * 10


def test_docker_is_not_asked_while_it_is_stopped(mend: Program) -> None:
    """Else systemd would start it for that."""
    keep(mend)
    (mend.folder / "docker.pid").write_text(str(ended()))
    turns(mend, 60)
    (mend.folder / "docker.pid").unlink()
    turns(mend, 60)
    assert (mend.folder / "asked").read_text() == ""


def test_docker_is_not_asked_while_it_stops(mend: Program) -> None:
    keep(mend)
    stop = 'case $turns in 50) : >"$OVERLAY_RUN/stopping"; : >"$OVERLAY_RUN/asked" ;; esac'
    turns(mend, 100, stop)
    assert (mend.folder / "asked").read_text() == ""


def ended() -> int:
    """Return the ID of a process that has ended."""
    with subprocess.Popen(["true"]) as process:
        return process.pid


#: The first dockerd since the boot is seen; then another.
GREET = """
known='' began='' now=1 pid={first}
greet; echo "first: $began"
pid={second} known={known}
greet; echo "second: $began"
"""


def greeted(mend: Program, first: int, second: int, known: str) -> list[str]:
    os.utime(mend.folder / "docker.pid", (1795737600, 1795737600.5))
    return mend.run(GREET.format(first=first, second=second, known=known))


@pytest.mark.parametrize("known", ["100", "''"], ids=["the program ran on", "the program was started anew"])
def test_a_second_dockerd_since_the_boot_may_have_stopped_containers(mend: Program, known: str) -> None:
    first, second = greeted(mend, 100, 200, known)
    assert first == "first: "  # nobody knows what was before it
    assert second.startswith("second: 2026-11-27T00:00:00")
    assert not second.endswith(("Z", "."))
    (again, *_) = mend.run("known='' began='' now=1 pid=200\ngreet; echo \"$began\"")
    assert again == second.removeprefix("second: ")  # the program was started anew


def test_a_start_of_the_program_alone_is_no_start_of_dockerd(mend: Program) -> None:
    assert greeted(mend, 100, 100, "''") == ["first: ", "second: "]


def test_a_dockerd_that_does_not_answer_yet_is_greeted_again(mend: Program) -> None:
    mend.docker.rename(mend.folder / "docker.ready")
    (mend.folder / "docker").write_text("#!/bin/sh\nexit 1\n")
    (mend.folder / "docker").chmod(0o755)
    back = f"[ $turns != 2 ] || cp {mend.folder}/docker.ready {mend.folder}/docker"
    keep(mend)
    turns(mend, 3, back)
    assert mend.asked("ps") == 1


def test_the_loop_runs_as_a_program(mend: Program) -> None:
    keep(mend)
    mend.has(web=state())
    program = mend.write("watch")
    with subprocess.Popen(
        [*mend.command, str(program)], env=mend.environment, stdout=subprocess.PIPE, text=True, start_new_session=True
    ) as process:
        assert process.stdout is not None
        deadline = time.monotonic() + 20
        assert process.stdout.readline() == "started: web, which could not attach to network demo\n"
        assert time.monotonic() < deadline
        os.killpg(process.pid, 9)
