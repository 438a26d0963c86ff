"""Endpoints without a container are freed, wrong numbers of endpoints corrected, and others left alone."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest
from mend_program import ID, NETWORK, OWN, SECOND, Program, endpoint
from node_shell import SHELLS

from provision.planes.etcd.phases.strangers import freeing
from provision.planes.etcd.strangers import Endpoint


@pytest.fixture(params=SHELLS)
def mend(request: pytest.FixtureRequest, tmp_path: Path) -> Program:
    return Program(request.param, tmp_path)


def test_without_a_quorum_what_was_known_holds(mend: Program) -> None:
    script = f"own={OWN} known='{endpoint(SECOND)}' right=rows unclaimed=''\nlisted() {{ return 1; }}\nread_store"
    assert mend.run(f'{script}\necho "$known" "$right"') == [f"{endpoint(SECOND)} rows"]


#: A Docker with one container, whose endpoint is `claimed`, and which may have the name. It prints its commands.
DOCKER = """
docker() {{
    case "$*" in
    ps*name=*) echo {owner} ;;
    ps*) echo 1d ;;
    inspect*) printf '%s\\n' {claimed} ;;
    container*) {found} ;;
    rename*) echo "$*"; {renames} ;;
    *) echo "$*" ;;
    esac
}}
store() {{ {stored}; }}
"""
FREED = f"freed: an endpoint of web on network {'a' * 12}, which no container here has"
DISCONNECTED = f"network disconnect --force {NETWORK} web"
ASIDE, BACK = "rename 1d web.overlay-mend", "rename 1d web"


@pytest.mark.parametrize(
    ("docker", "done"),
    [
        ({}, [DISCONNECTED, FREED]),
        ({"owner": "1d"}, [ASIDE, DISCONNECTED, FREED, BACK]),
        ({"claimed": ID}, []),
        ({"stored": "false"}, []),
        ({"owner": "1d", "renames": "false"}, [ASIDE]),
        ({"found": "true"}, []),  # a container's ID begins with the name
        ({"owner": "1d", "found": "true"}, [ASIDE, BACK]),
    ],
    ids=["nobody's", "a name's", "a container's", "gone meanwhile", "not renamed", "an ID", "an ID and a name"],
)
def test_an_endpoint_is_freed_where_no_container_of_this_host_has_it(
    mend: Program, docker: dict[str, str], done: list[str]
) -> None:
    (mend.folder / "docker.joined").touch()
    usual = {"owner": "", "claimed": "other", "found": "false", "renames": "true", "stored": "true"}
    assert mend.run(f"{DOCKER.format(**usual | docker)}\nfree {NETWORK} web {ID} || :") == done


def test_an_endpoint_is_freed_where_there_is_no_container_at_all(mend: Program) -> None:
    (mend.folder / "docker.joined").touch()
    docker = 'docker() { case $1 in ps) ;; inspect | container) return 1 ;; *) echo "$*" ;; esac; }'
    assert mend.run(f"{docker}\nstore() {{ :; }}\nfree {NETWORK} web {ID} || :") == [DISCONNECTED, FREED]


@pytest.mark.parametrize("shell", SHELLS)
def test_the_script_that_frees_a_lost_hosts_endpoint_is_whole(shell: tuple[str, ...], tmp_path: Path) -> None:
    """It asks Docker for the containers: nothing of it is undefined."""
    (tmp_path / "docker.joined").touch()
    script = freeing(Endpoint("198.51.100.12", "web", NETWORK, ID))
    script = script.replace('timeout 20 docker "$@"', f'echo "$*" >>{tmp_path}/asked; return 1')
    subprocess.run([*shell, "-c", script], env={"OVERLAY_RUN": str(tmp_path)}, check=True)
    assert (tmp_path / "asked").read_text() == "ps -a --no-trunc --format {{if .Names}}{{.ID}}{{end}}\n"


def test_before_dockerd_is_on_the_store_nothing_is_freed(mend: Program) -> None:
    usual = {"owner": "", "claimed": "other", "found": "false", "renames": "true", "stored": "true"}
    assert mend.run(f"{DOCKER.format(**usual)}\nfree {NETWORK} web {ID} || :") == []


@pytest.mark.parametrize("silent", ["ps", "inspect"])
def test_a_docker_that_does_not_answer_frees_nothing(mend: Program, silent: str) -> None:
    (mend.folder / "docker.joined").touch()
    docker = f'docker() {{ case $1 in {silent}) return 1 ;; ps) echo 1d ;; inspect) ;; *) echo "$*" ;; esac; }}'
    assert mend.run(f"{docker}\nstore() {{ :; }}\nfree {NETWORK} web {ID} || :") == []


def test_a_name_that_was_set_aside_is_put_back(mend: Program) -> None:
    docker = (
        'docker() { case $1 in ps) printf "web.overlay-mend\\nother\\n" ;; *) echo "$*" >"$OVERLAY_RUN/did" ;; esac; }'
    )
    assert mend.run(f"{docker}\nput_names_back\ncat $OVERLAY_RUN/did") == ["rename web.overlay-mend web"]


def test_endpoints_with_an_empty_sandbox_are_this_hosts_own_and_no_others(mend: Program) -> None:
    (mend.folder / "cccccccccccc").symlink_to("/proc/self/ns/net")  # a namespace with a process
    known = "\n".join(
        (
            endpoint(OWN, name="left", sandbox="d" * 64),
            endpoint(OWN, name="starts", sandbox=""),
            endpoint(OWN, name="lives"),
            endpoint(SECOND, name="elsewhere", sandbox="d" * 64),
        )
    )
    found = mend.run(f"spaces=$OVERLAY_RUN known='{known}'\nempty {OWN}")
    assert found == [f"{NETWORK} left {ID}", f"{NETWORK} starts {ID}"]


def test_what_is_unclaimed_at_two_readings_is_freed(mend: Program) -> None:
    script = f"""own={OWN} known='' right='' unclaimed=''
listed() {{ echo '{endpoint(OWN)}'; }}
empty() {{ echo "{NETWORK} web {ID}"; }}
free() {{ echo "free $2"; }}
read_store; echo read; read_store"""
    assert mend.run(script) == ["read", "free web"]


def counted(number: int, index: int = 7) -> str:
    """Return etcd's answer with the number of a network's endpoints."""
    key = f"/docker/network/v1.0/endpoint_count/{NETWORK}"
    node = {"key": key, "value": json.dumps({"Count": number}, separators=(",", ":")), "createdIndex": 5}
    tree = {"action": "get", "node": {"key": "folder", "dir": True, "nodes": [{**node, "modifiedIndex": index}]}}
    return json.dumps(tree, separators=(",", ":"))


#: A store with one endpoint, and a number of endpoints that differs from recount to recount.
COUNTS = """own={own} miscounted=''
listed() {{ echo '{endpoint}'; }}
store() {{
    case $* in
    *ls*) cat "$OVERLAY_RUN/counts" ;;
    *) echo "$*" >>"$OVERLAY_RUN/did" ;;
    esac
}}
"""


def recounts(mend: Program, *answers: str) -> tuple[list[str], list[str]]:
    """Recount with each of these answers. Return what is printed, and what is written to the store."""
    lines = [COUNTS.format(own=OWN, endpoint=endpoint(SECOND)), 'rm -f "$OVERLAY_RUN/did"']
    for number, text in enumerate(answers):
        (mend.folder / f"counts{number}").write_text(text)
        lines.append(f'cp "$OVERLAY_RUN/counts{number}" "$OVERLAY_RUN/counts"; recount')
    said = mend.run("\n".join(lines))
    did = mend.folder / "did"
    return said, did.read_text().splitlines() if did.exists() else []


def test_a_number_of_endpoints_that_stays_wrong_is_put_right(mend: Program) -> None:
    said, did = recounts(mend, counted(3), counted(3))
    assert said == [f"recounted: network {'a' * 12} has 1 endpoints, not 3"]
    key = f"/docker/network/v1.0/endpoint_count/{NETWORK}"
    assert did == [f'set --swap-with-value {{"Count":3}} {key} {{"Count":1}}']


@pytest.mark.parametrize(
    "answers",
    [
        [counted(1), counted(1)],
        [counted(3)],
        [counted(3), counted(1), counted(3)],
        [counted(3, index=7), counted(3, index=9)],  # a container came and left meanwhile, and another may be coming
    ],
)
def test_a_number_of_endpoints_that_is_right_or_changes_is_left(mend: Program, answers: list[str]) -> None:
    assert recounts(mend, *answers) == ([], [])
