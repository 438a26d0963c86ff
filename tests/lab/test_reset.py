"""reset always ends, and takes away nothing of a user's that nobody has agreed to: in both control planes.

What is wrong is caused on node2 of a provisioned cluster. Without --delete-user-data, reset names what it cannot look
at, and changes nothing; with it, the hosts are as they were.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

import pytest
from conftest import Fab, MakeLab
from observe import document, manifest, run

from provision.lab import Lab

pytestmark = pytest.mark.whole

NODES = ("node1", "node2")
UNSEEN = "containers on the networks cannot be looked at: Docker does not answer"
#: Makes every start of dockerd fail.
NO_START = "mkdir -p /run/systemd/system/docker.service.d && cd /run/systemd/system/docker.service.d && "
NO_START += r"printf '[Service]\nExecStart=\nExecStart=/bin/false\n' >zz.conf && systemctl daemon-reload"
START = (
    "rm -rf /run/systemd/system/docker.service.d && systemctl daemon-reload && systemctl reset-failed docker.service"
)
KEEPERS = "docker ps -aq -f label=overlay-keeper | xargs -r docker rm -f"


class Hindrance(NamedTuple):
    """How a reset is hindered; the cure, after it; whether Docker is there then, and answers."""

    fault: str
    cure: str
    docker: bool = True


HINDRANCES = {
    "200_frozen": Hindrance("kill -STOP $(pidof dockerd)", "true"),
    "201_no_start": Hindrance(
        f"{NO_START} && systemctl stop docker.socket docker.service && ! systemctl start docker.service 2>/dev/null",
        # As reset advises.
        f"{START} && systemctl start docker.service && {KEEPERS} && docker network rm docker_gwbridge",
    ),
    "201_stopped": Hindrance("systemctl stop docker.socket docker.service", "true"),
    "202_removed": Hindrance(
        "systemctl stop docker.socket docker.service; dpkg --purge --force-all docker.io docker-cli >/dev/null 2>&1",
        "true",
        docker=False,
    ),
}


@pytest.fixture(scope="module", params=["bookworm", "trixie"])
def lab(request: pytest.FixtureRequest, make_lab: MakeLab) -> Lab:
    return make_lab(release=request.param)


def problems(fab: Fab, lab: Lab, *words: str, code: int = 3, **options: Any) -> list[str]:
    """Return what a verb refuses for."""
    return [one["what"] for one in document(fab(lab, *words, "--json", **options), code)["problems"]]


@contextmanager
def restored(lab: Lab) -> Iterator[None]:
    """Assert that the hosts are afterwards as they are now."""
    before = {node: manifest(lab, node) for node in NODES}
    yield
    assert {node: manifest(lab, node) for node in NODES} == before


@pytest.mark.parametrize("name", HINDRANCES)
def test_176_177_178_a_docker_that_does_not_answer_hinders_no_reset(bare_lab: Lab, fab: Fab, name: str) -> None:
    lab, hindrance = bare_lab, HINDRANCES[name]
    before = {node: manifest(lab, node) for node in NODES}
    document(fab(lab, "provision", "--json"))
    run(lab, "node2", hindrance.fault)
    if hindrance.docker:
        assert UNSEEN in "".join(problems(fab, lab, "reset", "--yes"))
        document(fab(lab, "reset", "--yes", "--delete-user-data", "--json"))
    else:
        document(fab(lab, "reset", "--yes", "--json"))
    run(lab, "node2", hindrance.cure)
    assert manifest(lab, "node1") == before["node1"]
    if hindrance.docker:
        assert manifest(lab, "node2") == before["node2"]
        document(fab(lab, "provision", "--json"))
    else:
        run(lab, "node2", "! ls -d /var/lib/overlay-provision /etc/etcd /var/lib/etcd /usr/local/lib/overlay-provision")
    shutil.rmtree(lab.folder / ".overlay")


def test_180_a_first_run_that_has_failed_half_way_is_undone(bare_lab: Lab, fab: Fab) -> None:
    lab = bare_lab
    with restored(lab):
        run(lab, "node2", NO_START)
        document(fab(lab, "provision", "--json"), 4)
        report = document(fab(lab, "reset", "--yes", "--json"))
        assert "Docker, configured as before us, does not answer" in report["warnings"][0]["what"]
        run(lab, "node2", f"{START} && systemctl start docker.service")
    assert document(fab(lab, "reset", "--yes", "--json"))["changes"] == []


def test_189_a_release_or_image_that_is_gone_from_the_controller_hinders_no_reset(bare_lab: Lab, fab: Fab) -> None:
    lab = bare_lab
    with restored(lab):
        document(fab(lab, "provision", "--json"))
        path = lab.folder / "moved.yml"
        path.write_text(lab.inventory.read_text().replace("/var/cache/", "/var/nowhere/"))
        document(fab(lab, "reset", "--yes", "--json", inventory=path))


def test_187_a_cluster_of_another_name_is_left_alone_by_every_verb(bare_lab: Lab, fab: Fab) -> None:
    lab = bare_lab
    document(fab(lab, "provision", "--json"))
    path = lab.folder / "renamed.yml"
    path.write_text(lab.inventory.read_text().replace(f"cluster: {lab.name}", "cluster: other"))
    before = {node: manifest(lab, node) for node in NODES}
    for verb in (["preflight"], ["plan"], ["provision"], ["verify"], ["status"], ["reset", "--yes"]):
        told = document(fab(lab, *verb, "--json", inventory=path), 3)["problems"]
        assert [one["where"] for one in told] == list(NODES)
        assert f"belongs to the cluster {lab.name}, and the inventory calls it other" in told[0]["what"]
        assert f"write `cluster: {lab.name}` again" in told[0]["advice"]
    assert {node: manifest(lab, node) for node in NODES} == before
    # As the advice says.
    document(fab(lab, "reset", "--yes", "--json"))
    document(fab(lab, "provision", "--json", inventory=path))
    document(fab(lab, "reset", "--yes", "--json", inventory=path))


def test_188_a_network_of_a_user_is_named_before_it_goes_with_the_cluster(bare_lab: Lab, fab: Fab) -> None:
    lab = bare_lab
    document(fab(lab, "provision", "--json"))
    run(lab, "node1", "docker network create -d overlay --attachable --subnet 10.96.0.0/24 theirs")
    run(lab, "node1", "docker run -d --name mine --network theirs busybox sleep 9999")
    assert set(problems(fab, lab, "reset", "--yes")) == {
        "container mine is on network theirs",
        "network theirs is not ours, and goes with the cluster",
    }
    run(lab, "node1", "docker rm -f mine && sleep 3 && docker network rm theirs")
    document(fab(lab, "reset", "--yes", "--json"))


def test_184_a_subnet_is_not_changed_under_a_stopped_container(bare_lab: Lab, fab: Fab) -> None:
    lab = bare_lab
    document(fab(lab, "provision", "--json"))
    run(lab, "node2", "docker create --name waits --network demo --ip 10.99.0.77 busybox sleep 9999")
    path = lab.folder / "subnet.yml"
    path.write_text(lab.inventory.read_text().replace("10.99.0.0/24", "10.97.0.0/24"))
    keepers = run(lab, "node2", "docker ps -q --no-trunc")
    what = "network demo has to be recreated, but is in use by waits (stopped)"
    for verb in ("plan", "provision"):
        assert problems(fab, lab, verb, inventory=path) == [what]
    assert run(lab, "node2", "docker ps -q --no-trunc") == keepers
    run(lab, "node2", "docker start waits && docker rm -f waits")
    document(fab(lab, "provision", "--json", inventory=path))
    assert document(fab(lab, "provision", "--json", inventory=path))["changes"] == []


def test_185_the_keeper_of_a_renamed_node_goes(bare_lab: Lab, fab: Fab) -> None:
    lab = bare_lab
    document(fab(lab, "provision", "--json"))
    path = lab.folder / "renamed.yml"
    path.write_text(lab.inventory.read_text().replace("  node2: {", "  web2: {"))
    plan = document(fab(lab, "plan", "--json", inventory=path))["changes"]
    assert ("remove", "container overlay-keeper-demo-node2") in [(one["action"], one["resource"]) for one in plan]
    assert document(fab(lab, "provision", "--yes", "--json", inventory=path))["changes"] == plan
    assert document(fab(lab, "provision", "--json", inventory=path))["changes"] == []
    assert run(lab, "node2", "docker ps -a --format '{{.Names}}'").split() == ["overlay-keeper-demo-web2"]
