"""Rows that contradict the store: which rows the program takes for wrong, and how it mends them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from mend_program import (
    ADDRESS,
    HAD,
    ID,
    INODE,
    LIVES,
    MAC,
    NETWORK,
    OTHER_MAC,
    OWN,
    SANDBOX,
    SECOND,
    SPACE,
    THIRD,
    Program,
    endpoint,
    forwarding,
    known_as,
    learned,
    neighbour,
    space,
    told,
)
from node_shell import SHELLS


@pytest.fixture(params=SHELLS)
def mend(request: pytest.FixtureRequest, tmp_path: Path) -> Program:
    return Program(request.param, tmp_path)


def store(*values: dict[str, object]) -> str:
    """Return etcd's answer: a network's folder, with an endpoint for each value."""
    folder = f"/docker/network/v1.0/endpoint/{NETWORK}"
    nodes = [{"key": f"{folder}/{value['id']}", "value": json.dumps(value, separators=(",", ":"))} for value in values]
    tree = {"action": "get", "node": {"key": "/docker/network/v1.0/endpoint", "dir": True, "nodes": [
        {"key": folder, "dir": True, "value": "", "nodes": nodes}]}}  # fmt: skip
    return json.dumps(tree, separators=(",", ":"))


def record(host: str, sandbox: str = SANDBOX) -> dict[str, object]:
    """Return an endpoint as Docker 20.10 writes it, with its fields in alphabetical order."""
    return {
        "anonymous": False,
        "disableResolution": False,
        "ep_iface": {"addr": f"{ADDRESS}/24", "dstPrefix": "eth", "mac": MAC, "v4PoolID": "GlobalDefault/10.99.0.0/24"},
        "exposed_ports": [{"Proto": 6, "Port": 80}],
        "generic": {"com.docker.network.portmap": [{"IP": "", "Port": 80, "HostPort": 18000}]},
        "id": ID,
        "locator": host,
        "myAliases": ["0123456789ab", "name-of-another"],
        "name": "web",
        "sandbox": sandbox,
        "svcName": "",
        "virtualIP": "<nil>",
    }


@pytest.mark.parametrize("sandbox", [SANDBOX, ""])
def test_endpoints_are_read_from_the_store(mend: Program, sandbox: str) -> None:
    found = mend.run("entries", store(record(SECOND, sandbox)))
    assert [line.strip() for line in found] == [endpoint(SECOND, sandbox=sandbox).strip(), known_as("web")]


def test_a_container_without_a_name_is_found_by_its_id_and_one_without_resolution_by_nothing(mend: Program) -> None:
    unnamed = {**record(SECOND), "anonymous": True}
    assert mend.run("entries | grep ^name", store(unnamed)) == [known_as("0123456789ab")]
    assert mend.run("entries | grep -c ^name || :", store({**record(SECOND), "disableResolution": True})) == ["0"]


def test_a_store_without_endpoints_has_none(mend: Program) -> None:
    assert mend.run("entries", store()) == []


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ([endpoint(SECOND), space(forwarding(SECOND), neighbour())], []),
        ([endpoint(SECOND), space(forwarding(OWN), neighbour())], [told(SECOND, OWN)]),
        ([endpoint(SECOND), space(forwarding(THIRD), neighbour())], [told(SECOND, THIRD)]),
        # A container of this host must have no row: packets would come back out of the tunnel.
        ([endpoint(OWN), space(forwarding(OWN), neighbour())], [told(OWN, OWN)]),
        ([endpoint(OWN), space(forwarding(THIRD))], [told(OWN, THIRD)]),
        ([endpoint(OWN), space()], []),
        ([endpoint(OWN), HAD, space(neighbour())], []),
        # The bridge has learned that the container is behind the tunnel, which is true only for another host's.
        ([endpoint(OWN), space(learned("vxlan0"))], [told(OWN, "tunnel")]),
        ([endpoint(OWN), space(learned("vxlan0"), forwarding(OWN))], [told(OWN, OWN)]),
        ([endpoint(OWN), space(learned("veth1"))], []),
        ([endpoint(SECOND), space(learned("vxlan0"), forwarding(SECOND))], []),
        ([endpoint(SECOND), space(learned("vxlan0"))], []),
        # With several subnets no row is removed: its place would be unknown when the container moves.
        ([endpoint(OWN), space(forwarding(OWN), forwarding(THIRD, OTHER_MAC, "vxlan1"))], []),
        ([endpoint(SECOND), space(forwarding(OWN), forwarding(THIRD, OTHER_MAC, "vxlan1"))], [told(SECOND, OWN)]),
        # The neighbour table has the container: Docker believes that the missing row exists.
        ([endpoint(SECOND), space(neighbour())], [told(SECOND, "nothing")]),
        # Docker asks for a missing row, but not if the row existed before: Docker may believe that it still does.
        ([endpoint(SECOND), space()], []),
        ([endpoint(SECOND), HAD, space()], [told(SECOND, "nothing")]),
        ([endpoint(SECOND), HAD, space(neighbour())], [told(SECOND, "nothing")]),
        ([endpoint(SECOND), HAD.replace(INODE, "4026532111"), space()], []),
        # Only the row in the neighbour table is missing: Docker asks for it with the first packet.
        ([endpoint(SECOND), space(forwarding(SECOND))], []),
        # The container is being started, and not yet announced.
        ([endpoint(SECOND, sandbox=""), HAD, space()], []),
        ([endpoint(SECOND), space(forwarding(SECOND), neighbour(OTHER_MAC))], [told(SECOND, OTHER_MAC)]),
        # Two hosts claim one address: it is unknown which is right.
        ([endpoint(SECOND), endpoint(THIRD, name="twin"), space(forwarding(OWN))], []),
        ([endpoint(SECOND), endpoint(SECOND, mac=OTHER_MAC, name="twin"), space(forwarding(OWN), neighbour())], []),
        # A row without an endpoint does no harm.
        ([space(forwarding(SECOND), neighbour())], []),
        # No container of the network is here; or a dead namespace has left a file, beside a living one.
        ([endpoint(SECOND)], []),
        ([endpoint(SECOND), f"network aaaaaaaaaa {SPACE}"], []),
        ([endpoint(SECOND), f"{space(forwarding(OWN))}\nnetwork aaaaaaaaaa /dead"], [told(SECOND, OWN)]),
        # With several subnets the place of a missing row is unknown.
        ([endpoint(SECOND), HAD, space(forwarding(THIRD, OTHER_MAC, "vxlan1"))], []),
    ],
)  # fmt: skip
def test_what_is_wrong_with_a_hosts_rows(mend: Program, given: list[str], expected: list[str]) -> None:
    assert mend.run(f"wrong {OWN}", "\n".join([LIVES, *given])) == expected


def test_each_network_is_told_with_its_own_namespace(mend: Program) -> None:
    """The input has the rows of all networks first, then the neighbours of all networks."""
    second = space(forwarding(OWN, OTHER_MAC)).replace("aaaaaaaaaa", "dddddddddd").replace(SPACE, "/second")
    neighbours = [f"network aaaaaaaaaa\n{neighbour()}", f"network dddddddddd\n{neighbour(OTHER_MAC)}"]
    given = [endpoint(SECOND), space(forwarding(OWN)), second, *neighbours]
    assert mend.run(f"wrong {OWN}", "\n".join(given)) == [told(SECOND, OWN)]
    assert mend.run(f"wrong {OWN}", "\n".join([given[0], second, given[1], *reversed(neighbours)])) == [
        told(SECOND, OWN)
    ]


def test_a_network_that_shares_no_beginning_is_another(mend: Program) -> None:
    other = space(forwarding(OWN)).replace("aaaaaaaaaa", "dddddddddd")
    assert mend.run(f"wrong {OWN}", f"{endpoint(SECOND)}\n{other}") == []


#: The setup for looks: the rows are in a file, and `mend` prints what it would mend.
LOOKS = """
own={own} known='{known}' right='' had='' found=''
inode={inode}
rows() {{ cat "$OVERLAY_RUN/rows"; }}
living() {{ echo "space {space} $inode"; }}
neighbours() {{ :; }}
mend() {{ echo "mend $3 to $5, was $9"; }}
"""


def looks(mend: Program, *rows: str) -> list[str]:
    """Look at each of these rows, one after another; return what is printed."""
    lines = [LOOKS.format(own=OWN, known=endpoint(SECOND), inode=INODE, space=SPACE)]
    for number, text in enumerate(rows):
        (mend.folder / f"rows{number}").write_text(text)
        lines.append(f'cp "$OVERLAY_RUN/rows{number}" "$OVERLAY_RUN/rows"; echo look; look')
    return mend.run("\n".join(lines))


def test_only_what_is_wrong_twice_is_mended(mend: Program) -> None:
    mended = f"mend {MAC} to {SECOND}, was {OWN}"
    wrong, right = space(forwarding(OWN)), space(forwarding(SECOND))
    assert looks(mend, wrong, wrong) == ["look", "look", mended]
    assert looks(mend, wrong, right, wrong) == ["look", "look", "look"]
    assert looks(mend, wrong, space(forwarding(THIRD))) == ["look", "look"]
    assert looks(mend, wrong, wrong, right, wrong, wrong) == ["look", "look", mended, "look", "look", "look", mended]


def test_what_the_store_says_at_the_second_look_counts(mend: Program) -> None:
    """The program may learn of a move later than Docker, whose row is right then."""
    script = LOOKS.format(own=OWN, known=endpoint(SECOND), inode=INODE, space=SPACE)
    (mend.folder / "rows").write_text(space(forwarding(THIRD)))
    assert mend.run(f"{script}\nlook; known='{endpoint(THIRD)}'; look; echo looked") == ["looked"]


def test_a_row_that_was_there_and_is_gone_is_mended(mend: Program) -> None:
    gone = space()
    assert looks(mend, space(forwarding(SECOND)), gone, gone) == [
        *["look"] * 3,
        f"mend {MAC} to {SECOND}, was nothing",
    ]
    assert looks(mend, gone, gone) == ["look", "look"]


def test_of_a_networks_next_namespace_docker_knows_nothing(mend: Program) -> None:
    script = LOOKS.format(own=OWN, known=endpoint(SECOND), inode=INODE, space=SPACE)
    (mend.folder / "there").write_text(space(forwarding(SECOND)))
    (mend.folder / "gone").write_text(space())
    steps = ['cp "$OVERLAY_RUN/there" "$OVERLAY_RUN/rows"; look', "inode=4026532111"]
    steps += ['cp "$OVERLAY_RUN/gone" "$OVERLAY_RUN/rows"; look; look; echo "$had"']
    assert mend.run("\n".join([script, *steps])) == [""]


def test_mended_rows_are_counted(mend: Program) -> None:
    line = told(SECOND, OWN)
    said = mend.run(f"own={OWN}\nnsenter() {{ :; }}\nmend {line}\nmend {line}")
    assert (
        said
        == [f"mended: web ({ADDRESS}, {MAC}) on network {'a' * 12} is on host {SECOND}; the row here said {OWN}"] * 2
    )
    assert (mend.folder / "mend.rows").read_text() == "2\n"


def test_a_row_is_written_anew_where_the_container_is_elsewhere_and_taken_away_where_it_is_here(mend: Program) -> None:
    bridge = 'bridge() { echo "bridge $*"; }; ip() { echo "ip $*"; }'
    inner = 'nsenter() { shift 3; script=$1; shift 2; eval "$script"; }'
    lines = told(SECOND, THIRD), told(OWN, THIRD), told(OWN, "tunnel")
    elsewhere, here, learned = (mend.run(f"own={OWN}\n{bridge}\n{inner}\nmend {line}") for line in lines)
    assert elsewhere[:2] == [
        f"bridge fdb replace {MAC} dev vxlan0 dst {SECOND} self permanent",
        f"ip neigh replace {ADDRESS} lladdr {MAC} dev vxlan0 nud permanent",
    ]
    assert here[:2] == [f"bridge fdb del {MAC} dev vxlan0 self", f"bridge fdb del {MAC} dev vxlan0 master"]
    assert learned[:1] == [f"bridge fdb del {MAC} dev vxlan0 master"]
    assert not [line for line in here + learned if line.startswith("ip ")]


def test_rows_that_cannot_be_written_are_not_counted(mend: Program) -> None:
    assert mend.run(f"own={OWN}\nnsenter() {{ return 1; }}\nmend {told(SECOND, OWN)}") == []
    assert not (mend.folder / "mend.rows").exists()
