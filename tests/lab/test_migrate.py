"""From the cluster store to swarm mode: the same networks and containers, also if Docker was upgraded first."""

from __future__ import annotations

import shutil
import signal

import pytest
from conftest import Fab, MakeLab
from kills import kills
from observe import document, manifest, run

from provision import lab as labs
from provision.lab import Lab

#: Six containers and a plain one, by node: what they should have after a migration, as `docker run` gave it to them.
CONTAINERS = {
    "node1": """
        docker network create -d overlay --subnet 10.77.0.0/24 --label a=b mine
        $run --name web --network demo --network-alias www --restart always busybox sleep 1000000
        $run --name fixed --network demo --ip 10.99.0.50 busybox sleep 1000000
        $run --name both --restart unless-stopped busybox sleep 1000000
        docker network connect --alias second demo both
    """,
    "node2": """
        $run --name low --network mine --ip 10.77.0.3 --network-alias of-mine --restart always busybox sleep 1000000
        $run --name stopped --network demo --ip 10.99.0.60 --restart unless-stopped busybox sleep 1000000
        docker stop stopped
        $run --name two --network demo --restart on-failure busybox sleep 1000000
        docker network connect mine two
        $run --name plain busybox sleep 1000000
    """,
}
#: What of a container has to be the same afterwards.
SAME = "{{.Id}} {{.Name}} {{.State.Running}} {{.HostConfig.RestartPolicy.Name}} {{.Config.Hostname}} {{.Created}}"
#: The names that are found from node1 and from node2, and what some of them lead to.
NAMES = {"node1": ("low", "of-mine", "two"), "node2": ("web", "www", "fixed", "both", "second")}

#: The steps at which a migration is killed.
STEPS = (
    *(f"{node}: sending /var/lib/overlay-provision/migration.json" for node in ("node1", "node2")),
    *(f"{node}: phase {phase}" for phase in ("stop", "retire") for node in ("node1", "node2")),
    "node1: phase docker",
    *(f"cluster: phase {phase}" for phase in ("swarm", "same-networks")),
    *(f"node2: phase {phase}" for phase in ("containers", "start", "mend", "keeper")),
    "node1: ending the migration",
)


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "kill" in metafunc.fixturenames:
        chosen = kills(STEPS)
        metafunc.parametrize("kill", chosen, ids=[f"{when} {step}" for step, when in chosen])


@pytest.fixture(scope="module")
def lab(make_lab: MakeLab) -> Lab:
    return make_lab()


@pytest.fixture
def old(lab: Lab, fab: Fab) -> Lab:
    """The lab as new, provisioned with the cluster store, with containers."""
    shutil.rmtree(lab.folder / ".overlay", ignore_errors=True)
    labs.renew(lab.name, say=lambda _: None)
    return in_use(lab, fab)


def in_use(lab: Lab, fab: Fab) -> Lab:
    document(fab(lab, "provision", "--json"))
    for node, script in CONTAINERS.items():
        run(lab, node, f"set -e\nrun='docker run -d --stop-signal KILL'\n{script}")
    return lab


def containers(lab: Lab) -> dict[str, list[str]]:
    """What of each container has to be the same afterwards."""
    look = f"docker inspect -f '{SAME}' $(docker ps -aq --no-trunc)"
    there = {node.name: run(lab, node.name, look).splitlines() for node in lab.nodes}
    return {node: sorted(line for line in lines if "overlay-keeper" not in line) for node, lines in there.items()}


def assert_back(lab: Lab, fab: Fab, before: dict[str, list[str]]) -> None:
    """The same containers run, on the same networks, and are found from the other node; nothing is left to do."""
    assert containers(lab) == before
    for node, names in NAMES.items():
        for name in names:
            network = "mine" if name in ("low", "of-mine") else "demo"
            run(lab, node, f"docker run --rm --network {network} busybox ping -c 1 -W 5 {name}")
    assert "10.99.0.50" in run(lab, "node2", "docker exec two ping -c 1 fixed")
    assert "10.77.0.3" in run(lab, "node1", "docker run --rm --network mine busybox ping -c 1 of-mine")
    mine = run(lab, "node1", "docker network inspect -f '{{range .IPAM.Config}}{{.Subnet}}{{end}} {{.Labels}}' mine")
    assert mine.split("\n")[0] == "10.77.0.0/24 map[a:b]"
    assert {state for node in lab.nodes for state in swarm(lab, node.name)} == {"active"}
    assert document(fab(lab, "plan", "--json"))["changes"] == []
    left = "ls /var/lib/overlay-provision /etc/etcd /var/lib/etcd /usr/local/bin 2>/dev/null || true"
    for node in lab.nodes:
        found = run(lab, node.name, left)
        assert not {"migration.json", "migration.stage", "containers.held", "etcd"} & set(found.split())


def swarm(lab: Lab, node: str) -> list[str]:
    return run(lab, node, "docker info -f '{{.Swarm.LocalNodeState}}'").split()


def test_244_245_246_six_containers_come_back_and_a_reset_leaves_no_trace(lab: Lab, fab: Fab) -> None:
    """Names, aliases, addresses, IDs: as before, on the same networks. The time that each was away is in the report."""
    start = {node.name: manifest(lab, node.name) for node in lab.nodes}
    before = containers(in_use(lab, fab))
    planned = document(fab(lab, "migrate", "--plan", "--json"))
    assert {row["container"]: row["now"] for row in planned["containers"]}["stopped"] == "stopped"
    assert fab(lab, "migrate").returncode == 3  # nobody says yes
    done = document(fab(lab, "migrate", "--yes", "--json"))
    away = {row["container"]: row["seconds away"] for row in done["downtime"]}
    assert away.pop("stopped") == "did not run"
    assert all(float(seconds) > 0 for seconds in away.values())
    assert len(away) == 6
    assert_back(lab, fab, before)
    assert "nothing to migrate" in document(fab(lab, "migrate", "--yes", "--json"))["summary"]
    assert (lab.folder / ".overlay" / lab.name / "before-migration" / "etcd-peer" / "ca.key").exists()
    document(fab(lab, "reset", "--yes", "--delete-user-data", "--json"))
    for node in lab.nodes:
        run(lab, node.name, "docker ps -aq | xargs -r docker rm -f")
    assert {node.name: manifest(lab, node.name) for node in lab.nodes} == start


@pytest.mark.whole
def test_247_248_killed_at_any_step_the_next_run_ends_it(old: Lab, fab: Fab, kill: tuple[str, str]) -> None:
    """What is half-way is named by status and plan, and refused by provision; the next migrate ends it."""
    before = containers(old)
    assert fab(old, "migrate", "--yes", at=(*kill, "die")).returncode == -signal.SIGKILL
    if not (old.folder / ".overlay" / old.name / "migration.json").exists():
        assert kill == (STEPS[0], "before")
    for verb in ("provision", "verify"):
        refused = fab(old, verb)
        assert refused.returncode == 3
        assert "fab migrate" in refused.stdout + refused.stderr
    assert "fab migrate" in str(document(fab(old, "status", "--json"), 5)["problems"])
    assert "fab migrate" in str(document(fab(old, "plan", "--json"))["warnings"])
    document(fab(old, "migrate", "--yes", "--json"))
    assert_back(old, fab, before)


@pytest.mark.whole
def test_252_hosts_that_lose_their_power_half_way(old: Lab, fab: Fab) -> None:
    """Docker starts with what it finds, and without the networks; the migration goes on from there."""
    before = containers(old)
    assert fab(old, "migrate", "--yes", at=("node2: phase stop", "after", "die")).returncode == -signal.SIGKILL
    for node in old.nodes:
        labs.power_cut(old.name, node.name)
    labs.power_on(old.name, *(node.name for node in old.nodes))
    document(fab(old, "migrate", "--yes", "--json"))
    assert_back(old, fab, before)


@pytest.mark.whole
@pytest.mark.parametrize("docker", ["", "28"], ids=["26", "28"])
@pytest.mark.parametrize("nodes", [("node1",), ("node1", "node2")], ids=["one", "both"])
def test_253_a_docker_that_was_upgraded_before_the_migration(
    old: Lab, fab: Fab, nodes: tuple[str, ...], docker: str
) -> None:
    """The networks come from the other node, or from the store; the containers with a restart policy come back."""
    before = containers(old)
    for node in nodes:
        run(old, node, "docker update --restart always fixed 2>/dev/null || docker update --restart always plain")
        labs.upgrade(old.name, node, release="trixie", docker=docker, say=lambda _: None)
    before = {node: [line.replace(" no ", " always ") for line in lines] for node, lines in before.items()} | {
        node: lines for node, lines in before.items() if node not in nodes
    }
    document(fab(old, "migrate", "--yes", "--json"))
    assert_back(old, fab, before)


@pytest.mark.whole
def test_254_256_nothing_is_touched_where_the_next_control_plane_is_not_possible(old: Lab, fab: Fab) -> None:
    """A port that is taken, an inventory of the former control plane, a key of a user in the store: refused at once."""
    before = containers(old)
    pki = "/etc/docker/overlay/store"
    flags = f"--cacert {pki}-ca.crt --cert {pki}.crt --key {pki}.key --endpoints https://{old.nodes[0].address}:2379"
    run(old, "node1", f"ETCDCTL_API=3 etcdctl {flags} put mine 1")
    refused = fab(old, "migrate", "--yes")
    assert refused.returncode == 3
    assert "key mine is in the store" in refused.stdout + refused.stderr
    run(old, "node1", f"ETCDCTL_API=3 etcdctl {flags} del mine")
    listen = "systemd-run --unit taken systemd-socket-activate -l 2377 cat"
    run(old, "node2", listen)
    refused = fab(old, "migrate", "--yes")
    assert refused.returncode == 3
    assert "2377" in refused.stdout + refused.stderr
    run(old, "node2", "systemctl stop taken")
    text = old.inventory.read_text()
    old.inventory.write_text(text + "docker: {control_plane: etcd}\n")
    refused = fab(old, "migrate", "--yes")
    old.inventory.write_text(text)
    assert refused.returncode == 3
    assert "control_plane: auto" in refused.stdout + refused.stderr
    assert containers(old) == before
    document(fab(old, "provision", "--json"))
