"""The program that mends what Docker gets wrong while it runs: what it takes for wrong, and what it does about it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from node_shell import SHELLS

from provision.planes.etcd.node import MEND, program

FUNCTIONS, _, _ = program(*MEND).decode().rpartition("case ${1-} in")
OWN, SECOND, THIRD = "192.0.2.1", "192.0.2.2", "192.0.2.3"
OTHER_MAC = "02:00:00:00:00:09"
NETWORK, ID, SANDBOX = "a" * 64, "b" * 64, "c" * 64
SPACE, INODE = "/run/docker/netns/1-aaaaaaaaaa", "4026532646"
LIVES, HAD = f"space {SPACE} {INODE}", f"had {INODE} 02:42:0a:63:00:05"
MAC, ADDRESS = "02:42:0a:63:00:05", "10.99.0.5"


def await_true(condition: Callable[[], bool], limit: float = 30) -> None:
    deadline = time.monotonic() + limit
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


class Program:
    """The program in a shell, with a folder of the test's own."""

    def __init__(self, command: tuple[str, ...], folder: Path) -> None:
        self.command, self.folder = command, folder
        # Each shell with the awk that a host of its kind has.
        self.awk = 'awk() { busybox awk "$@"; }\n' if command[0] == "busybox" else ""
        (folder / "store.env").write_text(f"OVERLAY_STORE=etcd://{OWN}:2379\nOVERLAY_ADVERTISE={OWN}:2376\n")

    def run(self, script: str, given: str = "") -> list[str]:
        """Run a script after the functions; return its lines. It must have nothing to complain of."""
        environment = {"OVERLAY_PKI": str(self.folder), "OVERLAY_RUN": str(self.folder), "PATH": "/usr/bin:/bin"}
        (self.folder / "program").write_text(f"{FUNCTIONS}\n{self.awk}{script}\n")
        command = [*self.command, str(self.folder / "program")]
        done = subprocess.run(command, input=given, capture_output=True, text=True, env=environment, check=False)
        assert (done.returncode, done.stderr) == (0, "")
        return done.stdout.splitlines()


@pytest.fixture(params=SHELLS)
def mend(request: pytest.FixtureRequest, tmp_path: Path) -> Program:
    return Program(request.param, tmp_path)


def endpoint(host: str, *, address: str = ADDRESS, mac: str = MAC, sandbox: str = SANDBOX, name: str = "web") -> str:
    return f"endpoint {NETWORK} {mac} {address} {host} {name} {ID} {sandbox}"


def space(*rows: str) -> str:
    """A network's namespace, with the row that each has."""
    return "\n".join(
        (f"network aaaaaaaaaa {SPACE} {INODE}", "aa:aa:aa:aa:aa:aa dev vxlan0 master br0 permanent", *rows)
    )


def forwarding(host: str, mac: str = MAC, device: str = "vxlan0") -> str:
    return f"{mac} dev {device} dst {host} link-netnsid 0 self permanent"


def learned(device: str) -> str:
    """What the bridge has taken from a packet: behind which of its ports the container is."""
    return f"{MAC} dev {device} master br0 "


def neighbour(mac: str = MAC, address: str = ADDRESS) -> str:
    return f"{address} dev vxlan0 lladdr {mac} PERMANENT"


def told(host: str, was: str) -> str:
    return f"{SPACE} vxlan0 {MAC} {ADDRESS} {host} web {NETWORK} {ID} {was}"


def store(*values: dict[str, object]) -> str:
    """etcd's answer: a network's folder, and an endpoint a value."""
    folder = f"/docker/network/v1.0/endpoint/{NETWORK}"
    nodes = [{"key": f"{folder}/{value['id']}", "value": json.dumps(value, separators=(",", ":"))} for value in values]
    tree = {"action": "get", "node": {"key": "/docker/network/v1.0/endpoint", "dir": True, "nodes": [
        {"key": folder, "dir": True, "value": "", "nodes": nodes}]}}  # fmt: skip
    return json.dumps(tree, separators=(",", ":"))


def record(host: str, sandbox: str = SANDBOX) -> dict[str, object]:
    """An endpoint as Docker 20.10 writes it, its fields in the order of the alphabet."""
    return {
        "anonymous": False,
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
    assert [line.strip() for line in found] == [endpoint(SECOND, sandbox=sandbox).strip()]


def test_a_store_without_endpoints_has_none(mend: Program) -> None:
    assert mend.run("entries", store()) == []


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ([endpoint(SECOND), space(forwarding(SECOND), neighbour())], []),
        ([endpoint(SECOND), space(forwarding(OWN), neighbour())], [told(SECOND, OWN)]),
        ([endpoint(SECOND), space(forwarding(THIRD), neighbour())], [told(SECOND, THIRD)]),
        # A container of this host has none: Docker writes its own address, and packets come back out of the tunnel.
        ([endpoint(OWN), space(forwarding(OWN), neighbour())], [told(OWN, OWN)]),
        ([endpoint(OWN), space(forwarding(THIRD))], [told(OWN, THIRD)]),
        ([endpoint(OWN), space()], []),
        ([endpoint(OWN), HAD, space(neighbour())], []),
        # Its bridge has learned that it is behind the tunnel, where that of another host is.
        ([endpoint(OWN), space(learned("vxlan0"))], [told(OWN, "tunnel")]),
        ([endpoint(OWN), space(learned("vxlan0"), forwarding(OWN))], [told(OWN, OWN)]),
        ([endpoint(OWN), space(learned("veth1"))], []),
        ([endpoint(SECOND), space(learned("vxlan0"), forwarding(SECOND))], []),
        ([endpoint(SECOND), space(learned("vxlan0"))], []),
        # Of a network with several subnets none is taken away: its place would not be known when the container moves.
        ([endpoint(OWN), space(forwarding(OWN), forwarding(THIRD, OTHER_MAC, "vxlan1"))], []),
        ([endpoint(SECOND), space(forwarding(OWN), forwarding(THIRD, OTHER_MAC, "vxlan1"))], [told(SECOND, OWN)]),
        # Its neighbour's row is there: Docker takes this one for written.
        ([endpoint(SECOND), space(neighbour())], [told(SECOND, "nothing")]),
        # Docker asks for a missing row; but not where there was one, which it may take for written.
        ([endpoint(SECOND), space()], []),
        ([endpoint(SECOND), HAD, space()], [told(SECOND, "nothing")]),
        ([endpoint(SECOND), HAD, space(neighbour())], [told(SECOND, "nothing")]),
        ([endpoint(SECOND), HAD.replace(INODE, "4026532111"), space()], []),
        # Only its neighbour's row is missing: Docker asks for it with the first packet.
        ([endpoint(SECOND), space(forwarding(SECOND))], []),
        # It is being started, and not yet announced.
        ([endpoint(SECOND, sandbox=""), HAD, space()], []),
        ([endpoint(SECOND), space(forwarding(SECOND), neighbour(OTHER_MAC))], [told(SECOND, OTHER_MAC)]),
        # Two hosts claim one address: who is right is not known here.
        ([endpoint(SECOND), endpoint(THIRD, name="twin"), space(forwarding(OWN))], []),
        ([endpoint(SECOND), endpoint(SECOND, mac=OTHER_MAC, name="twin"), space(forwarding(OWN), neighbour())], []),
        # A row of nobody's does no harm.
        ([space(forwarding(SECOND), neighbour())], []),
        # No container of the network is here; or a file is left of its namespace, before the one that lives.
        ([endpoint(SECOND)], []),
        ([endpoint(SECOND), f"network aaaaaaaaaa {SPACE}"], []),
        ([endpoint(SECOND), f"{space(forwarding(OWN))}\nnetwork aaaaaaaaaa /dead"], [told(SECOND, OWN)]),
        # Of a network with several subnets a missing row has no place that is known.
        ([endpoint(SECOND), HAD, space(forwarding(THIRD, OTHER_MAC, "vxlan1"))], []),
    ],
)  # fmt: skip
def test_what_is_wrong_with_a_hosts_rows(mend: Program, given: list[str], expected: list[str]) -> None:
    assert mend.run(f"wrong {OWN}", "\n".join([LIVES, *given])) == expected


def test_each_network_is_told_with_its_own_namespace(mend: Program) -> None:
    """The rows of all of them come first, then the neighbours of all of them."""
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


#: Looks at rows that stay wrong: what is mended, look by look.
LOOKS = """
own={own} known='{known}' right='' had='' found=''
inode={inode}
rows() {{ cat "$OVERLAY_RUN/rows"; }}
living() {{ echo "space {space} $inode"; }}
neighbours() {{ :; }}
mend() {{ echo "mend $3 to $5, was $9"; }}
"""


def looks(mend: Program, *rows: str) -> list[str]:
    """What comes of a look at each of the rows, one after another."""
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
    """Word of a move may come later to us than to Docker, whose row is right then."""
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


def test_without_a_quorum_what_was_known_holds(mend: Program) -> None:
    script = f"own={OWN} known='{endpoint(SECOND)}' right=rows unclaimed=''\nlisted() {{ return 1; }}\nread_store"
    assert mend.run(f'{script}\necho "$known" "$right"') == [f"{endpoint(SECOND)} rows"]


#: Docker with a container that has the endpoint named, and perhaps the name; what is asked of it is written down.
DOCKER = """
docker() {{
    case "$*" in
    'ps -aq --no-trunc') echo 1d ;;
    ps*) echo {owner} ;;
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
        ({"found": "true"}, []),  # somebody's ID begins so
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


def test_before_dockerd_is_on_the_store_nothing_is_freed(mend: Program) -> None:
    usual = {"owner": "", "claimed": "other", "found": "false", "renames": "true", "stored": "true"}
    assert mend.run(f"{DOCKER.format(**usual)}\nfree {NETWORK} web {ID} || :") == []


@pytest.mark.parametrize("silent", ["ps", "inspect"])
def test_a_docker_that_does_not_answer_frees_nothing(mend: Program, silent: str) -> None:
    (mend.folder / "docker.joined").touch()
    docker = f'docker() {{ case $1 in {silent}) return 1 ;; ps) echo 1d ;; inspect) ;; *) echo "$*" ;; esac; }}'
    assert mend.run(f"{docker}\nstore() {{ :; }}\nfree {NETWORK} web {ID} || :") == []


def test_a_name_that_was_set_aside_is_put_back(mend: Program) -> None:
    docker = 'docker() { case $1 in ps) printf "web.overlay-mend\\nother\\n" ;; *) echo "$*" ;; esac; }'
    assert mend.run(f"{docker}\nput_names_back") == ["rename web.overlay-mend web"]


def test_endpoints_with_an_empty_sandbox_are_this_hosts_own_and_no_others(mend: Program) -> None:
    (mend.folder / "cccccccccccc").symlink_to("/proc/self/ns/net")  # a process is there
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


#: The loop itself, with a store whose watch tells what is in a file; what it does is written down.
WATCH = """
store() {{ case $* in *watch*) cat "$OVERLAY_RUN/events"; exec sleep 60 ;; esac; }}
did() {{ echo "$*" >>"$OVERLAY_RUN/did"; }}
listed() {{ did read; echo '{endpoint}'; }}
rows() {{ echo "{rows}"; }}
living() {{ :; }}
neighbours() {{ :; }}
empty() {{ :; }}
recount() {{ :; }}
put_names_back() {{ :; }}
bring_home() {{ did home; }}
mend() {{ did mend; }}
again=0.01 busy=0.01 hurry=3
{more}
watch
"""


@contextmanager
def watching(
    mend: Program, rows: str, *, events: str = "", more: str = "", joined: bool = True
) -> Iterator[Callable[[], list[str]]]:
    """The loop at work; what it has done by now."""
    if joined:
        (mend.folder / "docker.joined").touch()
    (mend.folder / "events").write_text(events)
    did = mend.folder / "did"
    script = f"{FUNCTIONS}\n{mend.awk}{WATCH.format(endpoint=endpoint(SECOND), rows=rows, more=more)}"
    (mend.folder / "program").write_text(script)
    environment = {"OVERLAY_PKI": str(mend.folder), "OVERLAY_RUN": str(mend.folder), "PATH": "/usr/bin:/bin"}
    command = [*mend.command, str(mend.folder / "program")]
    with subprocess.Popen(command, env=environment, stdin=subprocess.DEVNULL, start_new_session=True) as process:
        try:
            yield lambda: did.read_text().splitlines() if did.exists() else []
        finally:
            os.killpg(process.pid, signal.SIGKILL)


def test_a_row_that_stays_wrong_whatever_is_done_is_hurried_after_for_some_looks_only(mend: Program) -> None:
    naps = "nap() { did nap; sleep 0.01; }"
    with watching(mend, space(forwarding(OWN)), more=f"{naps}\nfollow() {{ sleep 60; }}") as did:
        await_true(lambda: did().count("nap") > 60)
        done = did()
    first = done.index("read")
    hurried = done[first : done.index("nap", first)]
    assert hurried.count("read") == 3  # at the beginning, and twice in a hurry
    assert done.count("read") <= 3 * (1 + done.count("nap") // 24)


def test_the_first_look_waits_until_dockerd_is_on_the_store(mend: Program) -> None:
    slept = "sleep() { did sleep; command sleep 0.01; }"
    with watching(mend, space(), more=slept, joined=False) as did:
        await_true(lambda: did().count("sleep") > 3)
        assert "read" not in did()
        (mend.folder / "docker.joined").touch()
        await_true(lambda: "read" in did())


def test_a_change_of_the_store_ends_a_nap_and_an_endpoints_end_brings_threads_home(mend: Program) -> None:
    with watching(mend, space(), events="[delete] /docker/x\n\n", more="quiet=600") as did:
        await_true(lambda: did().count("read") >= 1)  # told when the watch is there
        await_true(lambda: did().count("home") == 3)  # at the beginning, now, and when all is quiet


def counted(number: int, index: int = 7) -> str:
    """etcd's answer: the number of endpoints that a network is said to have."""
    key = f"/docker/network/v1.0/endpoint_count/{NETWORK}"
    node = {"key": key, "value": json.dumps({"Count": number}, separators=(",", ":")), "createdIndex": 5}
    tree = {"action": "get", "node": {"key": "folder", "dir": True, "nodes": [{**node, "modifiedIndex": index}]}}
    return json.dumps(tree, separators=(",", ":"))


#: A store with one endpoint, and a number for it, recount by recount.
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
    """What is said, and what is written to the store, when these are the answers, one after another."""
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
        [counted(3, index=7), counted(3, index=9)],  # a container came and went: the next may be coming now
    ],
)
def test_a_number_of_endpoints_that_is_right_or_changes_is_left(mend: Program, answers: list[str]) -> None:
    assert recounts(mend, *answers) == ([], [])
