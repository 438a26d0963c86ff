"""Whether a host that is no node lives, and which endpoints in the store are its: really run, on etcd's answers."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from node_shell import SHELLS, Shell

from provision.facts import parse
from provision.planes.etcd.node import functions

NETWORK, ID = "a" * 64, "b" * 64
NODE, OTHER = "192.0.2.1", "192.0.2.9"
LIVES, SILENT = "timeout() { :; }", "timeout() { return 124; }"


@pytest.fixture(params=SHELLS)
def shell(request: pytest.FixtureRequest, tmp_path: Path) -> Shell:
    return Shell(request.param, tmp_path)


def told(shell: Shell, script: str) -> list[str]:
    """What a script says that has the functions of both files."""
    return shell.run(f"{functions('strangers')}\n{script}").splitlines()


def endpoint(host: str, identity: str = ID, name: str = "web") -> dict[str, object]:
    value = {
        "anonymous": False,
        "ep_iface": {"addr": "10.99.0.5/24", "mac": "02:42:0a:63:00:05"},
        "id": identity,
        "locator": host,
        "myAliases": ["0123456789ab", "locator"],
        "name": name,
        "sandbox": "c" * 64,
        "svcName": "",
    }
    key = f"/docker/network/v1.0/endpoint/{NETWORK}/{identity}"
    return {"key": key, "value": json.dumps(value, separators=(",", ":")), "createdIndex": 7}


def tree(*nodes: dict[str, object]) -> str:
    """What etcd answers."""
    folder = {"key": f"/docker/network/v1.0/endpoint/{NETWORK}", "dir": True, "value": "", "nodes": nodes}
    return json.dumps({"action": "get", "node": {"dir": True, "nodes": [folder]}}, separators=(",", ":"))


def test_endpoints_of_hosts_that_are_no_nodes_are_told(shell: Shell) -> None:
    rows = endpoint(NODE), endpoint(OTHER, "d" * 64, "db.1"), endpoint("192.0.2.11", "e" * 64), endpoint("", "f" * 64)
    (shell.folder / "answer").write_text(tree(*rows))
    found = shell.run(f"endpoints_elsewhere {NODE} 192.0.2.2 <answer").splitlines()
    assert found == [f"{NETWORK} {'d' * 64} {OTHER} db.1", f"{NETWORK} {'e' * 64} 192.0.2.11 web"]


@pytest.mark.parametrize("answer", ["", tree()])
def test_where_there_are_none_nothing_is_told(shell: Shell, answer: str) -> None:
    (shell.folder / "answer").write_text(answer)
    assert shell.run(f"endpoints_elsewhere {NODE} <answer") == ""


#: What etcdctl says of a key that is not there, and of a member that does not answer in time.
NO_KEY = "Error:  100: Key not found (/docker) [3]"
SILENT_MEMBER = "Error:  client: etcd cluster is unavailable or misconfigured; exceeded header timeout"
LISTS = ("fact_store_endpoints", "fact_store_networks", f"fact_endpoints {NODE}")


@pytest.mark.parametrize("fact", LISTS)
def test_346_348_a_member_that_does_not_list_what_it_has_is_not_taken_for_one_that_has_nothing(
    shell: Shell, fact: str
) -> None:
    """A key that is not there has nothing below. Without an answer in time, nothing is said."""
    lists = functions("facts").replace("/etc/etcd/etcd.env", "$PWD/etcd.env")
    (shell.folder / "etcd.env").touch()
    (shell.folder / "answer").write_text(tree(endpoint(OTHER)))
    names = []
    for told in ("cat answer", f"echo '{NO_KEY}' >&2; return 4", f"echo '{SILENT_MEMBER}' >&2; return 4", "return 124"):
        said = shell.run(f"{lists}\nis_active() {{ :; }}\nown_keys() {{ {told}; }}\n{fact}")
        names.append(parse(said).answers)
    (name,) = names[0]
    assert name in fact.replace("_", "-")
    assert "web" in names[0][name]
    assert names[1:] == [{name: ""}, {}, {}]
    assert shell.run(f"{functions('facts')}\nis_active() {{ :; }}\n{fact}") == ""


def announcements(**seconds: int) -> str:
    keys = {"own": f"{NODE}:2376", "near": f"{OTHER}1:2376", "its": f"{OTHER}:2376"}
    nodes = [
        {"key": f"/docker/nodes/{keys[name]}", "value": keys[name], "expiration": "2026-01-01T00:00:00Z", "ttl": ttl}
        for name, ttl in seconds.items()
    ]
    tree = {"action": "get", "node": {"key": "/docker/nodes", "dir": True, "nodes": nodes}}
    return json.dumps(tree, separators=(",", ":"))


@pytest.mark.parametrize(
    ("seconds", "left"), [({"own": 50, "its": 41, "near": 12}, "41"), ({"own": 50, "near": 12}, "0"), ({}, "0")]
)
def test_how_long_an_announcement_holds(shell: Shell, seconds: dict[str, int], left: str) -> None:
    (shell.folder / "answer").write_text(announcements(**seconds))
    assert told(shell, f"store() {{ cat answer; }}\nannounced {OTHER}") == [left]


@pytest.mark.parametrize(
    ("port", "left", "state"),
    [
        (LIVES, "echo 0", f"alive {OTHER}"),
        (SILENT, "echo 0", f"gone {OTHER}"),
        (SILENT, "echo 35", f"gone {OTHER}"),
        # It may have gone just now: its next announcement would have come by now.
        (SILENT, "if [ -e slept ]; then echo 33; else echo 59; fi", f"gone {OTHER}"),
        (SILENT, "if [ -e slept ]; then echo 58; else echo 59; fi", f"alive {OTHER}"),
        (SILENT, "false", ""),
        (SILENT, "if [ -e slept ]; then false; else echo 59; fi", ""),
    ],
)
def test_a_dockerd_lives_where_its_port_answers_or_its_announcement_is_renewed(
    shell: Shell, port: str, left: str, state: str
) -> None:
    script = f"{port}\nsleep() {{ [ $1 = 25 ] && : >slept; }}\nannounced() {{ {left}; }}\nstranger {OTHER} || :"
    assert "".join(told(shell, script)) == state


def test_of_each_stranger_it_is_told_by_itself(shell: Shell) -> None:
    script = f"stranger() {{ echo gone $1; }}\nfact_encoded() {{ cat; }}\nfact_strangers {NODE} {OTHER}"
    assert sorted(told(shell, script)) == [f"gone {NODE}", f"gone {OTHER}"]
