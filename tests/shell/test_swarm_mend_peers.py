"""Swarm mode's program that stays on a node: it sees when gossip has lost peers, and says so."""

from __future__ import annotations

from pathlib import Path

import pytest
from node_shell import SHELLS
from swarm_mend_program import OWN, SECOND, THIRD, Program


@pytest.fixture(params=SHELLS)
def mend(request: pytest.FixtureRequest, tmp_path: Path) -> Program:
    return Program(request.param, tmp_path)


#: Looks at a network's peers, at given seconds. Every node listens but those in `off`.
LOOKS = f"""
networks=demo own={OWN} suspected='' alone='' off=''
listens() {{ case " $off " in *" $1 "*) return 1 ;; esac; }}
date() {{ echo 12:00:00; }}
sees() {{ printf '%s\\n' "$*" >{{peers}}; }}
at() {{ now=$1; look_at_peers; }}
"""


def looks(mend: Program, script: str) -> list[str]:
    return mend.run(LOOKS.replace("{peers}", str(mend.folder / "peers")) + script)


ALONE = f"alone: {SECOND} is missing from the peers of network demo, since 12:00:00 or earlier"
FOUND = f"found: {SECOND} again among the peers of demo, after 12 s"


def test_a_peer_that_is_missing_twice_is_said_once_and_again_when_it_is_back(mend: Program) -> None:
    first = looks(
        mend, f"sees demo {OWN} {THIRD}; at 100; echo first; at 102; at 104; sees demo {OWN} {SECOND} {THIRD}; at 112"
    )
    assert first == ["first", ALONE, FOUND]


def test_a_peer_that_is_missing_in_one_look_only_is_not_said(mend: Program) -> None:
    whole, less = f"sees demo {SECOND} {THIRD}", f"sees demo {THIRD}"
    assert looks(mend, f"{less}; at 100; {whole}; at 102; {less}; at 132; {whole}; at 134") == []


def test_a_node_that_is_off_is_not_missing(mend: Program) -> None:
    assert looks(mend, f"off={SECOND}; sees demo {THIRD}; at 100; at 102; is_soon_over || echo calm") == ["calm"]


def test_a_missing_peer_that_goes_off_is_given_up(mend: Program) -> None:
    script = f"sees demo {THIRD}; at 100; at 102; off={SECOND}; at 110; at 112"
    gone = f"gone: {SECOND}, which was missing from the peers of network demo for 10 s, does not answer any more"
    assert looks(mend, script) == [ALONE, gone]


def test_this_node_is_not_missing(mend: Program) -> None:
    said = looks(mend, "own=; sees demo; at 100; at 102")
    assert said == [ALONE, ALONE.replace(SECOND, THIRD)]


def test_a_network_whose_name_is_the_end_of_anothers_has_peers_of_its_own(mend: Program) -> None:
    lost, whole, path = f"{OWN} {THIRD}", f"{SECOND} {THIRD}", mend.folder / "peers"
    both = 'sees() { printf \'my-demo %s\\ndemo %s\\n\' "$1" "$2" >' + f"{path}; }}\n"
    script = f"sees '{lost}' '{whole}'; at 100; at 102; sees '{lost}' '{lost}'; at 104; echo then; at 106"
    assert looks(mend, both + script) == [ALONE.replace("demo", "my-demo"), "then", ALONE]
    script = f"sees '{lost}' '{whole}'; at 100; sees '{whole}' '{lost}'; at 102"
    assert looks(mend, both + script) == []  # each is missing in one look only


def test_peers_that_are_missing_for_long_are_a_persons_task_said_once(mend: Program) -> None:
    looked = "at 100; at 102; at 189; is_soon_over && echo soon; at 190; at 192; is_soon_over || echo calm"
    assert looks(mend, f"sees demo {THIRD}; {looked}") == [
        ALONE,
        "soon",
        f"still alone: {SECOND} has been missing from the peers of network demo for 90 s, though it answers; "
        "restart Docker on this node: systemctl restart docker",
        "calm",
    ]


def test_a_docker_that_does_not_answer_says_nothing_about_peers(mend: Program) -> None:
    assert looks(
        mend, f"sees demo {THIRD}; at 100; at 102; : >{mend.folder}/peers; at 104; sees demo {THIRD}; at 106"
    ) == [ALONE]


def test_without_a_list_of_nodes_docker_is_not_asked(mend: Program) -> None:
    (mend.folder / "expected").unlink()
    assert looks(mend, "sees demo; at 100; at 102") == []
    assert mend.asked("network") == 0


def test_a_node_listens_if_its_gossip_port_answers(mend: Program) -> None:
    says = mend.run('bash() { echo "$*"; }\ntimeout() { shift; "$@"; }\nlistens 192.0.2.9')
    assert says == ["""-c : 3<>"/dev/tcp/$0/$1" 192.0.2.9 7946"""]
