"""Swarm mode's program that stays on a node: a container that asks for an address that another has gets a new one."""

from __future__ import annotations

from pathlib import Path

import pytest
from node_shell import SHELLS
from swarm_mend_program import Program


@pytest.fixture(params=SHELLS)
def mend(request: pytest.FixtureRequest, tmp_path: Path) -> Program:
    return Program(request.param, tmp_path)


#: Docker with one stopped container, `web`, whose networks and addresses are in `asked_for`. The keeper on `demo` is
#: `keeper`, and `10.99.0.2` answers to it. What Docker changes is printed.
DOCKER = """
networks='demo' tries=0
docker() {{
    case "$1 $2" in
    "inspect --format") printf '%s\\n' {asked_for} ;;
    "ps -a") case "$*" in *"=demo "*) echo {keeper} ;; esac ;;
    "exec keeper") [ "$8" = 10.99.0.2 ] ;;
    network*) echo "$*" >&3 ;;
    esac
}}
exec 3>&1
"""


GIVE_UP = "give_up_address web web"
SAID = "address: web does not ask any more for 10.99.0.2 on network demo, which another has"


def given_up(mend: Program, *asked_for: str, keeper: str = "keeper", then: str = GIVE_UP) -> list[str]:
    """Return what is done for a container that asks for these addresses."""
    lines = " ".join(f"'{line}'" for line in asked_for) or "''"
    return mend.run(DOCKER.format(asked_for=lines, keeper=keeper) + then)


def test_an_address_that_another_has_is_given_up(mend: Program) -> None:
    said = given_up(mend, "demo 10.99.0.2")
    assert said == ["network disconnect demo web", "network connect demo web", SAID]


def test_aliases_stay(mend: Program) -> None:
    said = given_up(mend, "demo 10.99.0.2 shop www")
    assert said[1] == "network connect --alias shop --alias www demo web"


def test_an_address_that_nobody_has_stays(mend: Program) -> None:
    assert given_up(mend, "demo 10.99.0.3", "") == []


def test_a_container_that_asks_for_no_address_stays(mend: Program) -> None:
    assert given_up(mend) == []


def test_an_address_on_a_network_that_is_not_the_clusters_stays(mend: Program) -> None:
    assert given_up(mend, "other 10.99.0.2") == []


def test_without_a_keeper_nobody_knows_who_has_an_address(mend: Program) -> None:
    assert given_up(mend, "demo 10.99.0.2", keeper="") == []


def test_a_keeper_that_does_not_start_gives_up_its_own(mend: Program) -> None:
    assert given_up(mend, "demo 10.99.0.2", keeper="web") == []
    then = f"tries=1; {GIVE_UP}"
    assert given_up(mend, "demo 10.99.0.9", keeper="web", then=then)[0] == "network disconnect demo web"


def test_it_is_given_up_before_the_container_is_started(mend: Program) -> None:
    start = """
failed='web web, which could not attach to network demo'
count() { :; }
timeout() { shift; "$@"; }
xargs() { echo start; }
start
"""
    said = given_up(mend, "demo 10.99.0.2", then=start)
    assert said == ["network disconnect demo web", "network connect demo web", SAID]
