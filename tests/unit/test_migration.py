"""A migration as values: its record, the stages of a node, networks and addresses, phases, and what other verbs say."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, cast
from unittest.mock import Mock

import pytest
import swarm_sample
from pki_sample import sample

from provision import engine, planes
from provision.core.plane import Plane
from provision.core.situation import LABEL, Situation
from provision.docker.containers import Attachment, Container
from provision.errors import PreflightRefused, Unanswered
from provision.facts import Facts, Listener, PathFact, Unit
from provision.inventory.model import Cluster, Network, Node
from provision.migration import networks, nodes, phases, proof, record, tables
from provision.migration.nodes import Stage
from provision.migration.record import Migration, Pool, SharedNetwork
from provision.network.subnets import assigned
from provision.planes.etcd import networks as store
from provision.planes.etcd.plane import PLANE as ETCD
from provision.planes.etcd.store import StoreError
from provision.planes.swarm.plane import PLANE as SWARM
from provision.verbs import half_done

STORE_FILE = ETCD.traces[0]


def container(name: str, *places: Attachment, node: str = "node1", runs: bool = True) -> Container:
    return Container(node, f"id-{name}", name, "busybox", runs, "no", places)


WEB = container("web", Attachment("demo", "10.99.0.4", aliases=("www",)))
FIXED = container("fixed", Attachment("demo", "10.99.0.50", fixed=True), node="node2")
ASLEEP = container("asleep", Attachment("mine", "10.0.0.9"), runs=False)
DEMO = SharedNetwork("demo", (Pool("10.99.0.0/24"),), {networks.MTU: "1400"}, {LABEL: "demo"})
MINE = SharedNetwork("mine", (Pool("10.0.0.0/24", "10.0.0.1"),), internal=True)
MIGRATION = Migration("etcd", "swarm", (DEMO, MINE), (WEB, FIXED, ASLEEP))


def told(name: str, subnet: str, **changed: Any) -> dict[str, Any]:
    """A network of the store, as Docker's API tells it."""
    pools = {"Config": [{"Subnet": subnet}]}
    return {
        "Name": name,
        "Id": name * 9,
        "Scope": "global",
        "Driver": "overlay",
        "IPAM": pools,
        "Options": {},
    } | changed


def file(text: str | None = None) -> PathFact:
    return PathFact("file", 0o600, "root:root", text=text)


def at(*paths: str, stage: str | None = None, **changed: Any) -> Facts:
    """Facts of a node that has these files."""
    found = {path: file() for path in paths} | ({nodes.STAGE: file(f"{stage}\n")} if stage else {})
    return Facts(paths=found, **changed)


# The record


def test_247_the_record_is_read_as_it_was_written(tmp_path: Path) -> None:
    cluster = sample(tmp_path)
    assert record.under_way(cluster) is None
    record.begin(cluster, MIGRATION)
    assert record.under_way(cluster) == MIGRATION
    assert (cluster.folder / record.FILE).stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize("text", ["", "{", "[]", '{"before": "etcd"}', '{"before": 1, "after": 2, "networks": [1]}'])
def test_247_a_damaged_record_is_one_problem_that_says_where_copies_are(tmp_path: Path, text: str) -> None:
    cluster = sample(tmp_path)
    record.begin(cluster, MIGRATION)
    (cluster.folder / record.FILE).write_text(text)
    with pytest.raises(PreflightRefused, match=r"each node has a copy: /var/lib/overlay-provision/migration\.json"):
        record.under_way(cluster)


def test_257_what_the_former_control_plane_kept_is_put_aside_and_the_record_last(tmp_path: Path) -> None:
    cluster = sample(tmp_path)
    planes.record(cluster, ETCD)
    record.begin(cluster, MIGRATION)
    for _ in range(2):  # once more after a reset and another migration
        (cluster.folder / "docker").mkdir()
        (cluster.folder / "docker" / "ca.key").write_text("a key")
        record.begin(cluster, MIGRATION)
        record.end(cluster, planes.RECORD)
    assert {one.name for one in cluster.folder.iterdir()} == {planes.RECORD, record.ASIDE}
    aside = cluster.folder / record.ASIDE
    assert {one.name for one in aside.iterdir()} == {"docker", record.FILE}
    assert (aside / "docker" / "ca.key").read_text() == "a key"
    assert record.under_way(cluster) is None


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ('"before": "etcd"', '"before": 1'),
        ('"runs": true', '"runs": "yes"'),
        ('"name": "web"', '"name": ["web"]'),
        ('"10.99.0.0/24"', '"ten"'),
        ('"www"', "7"),
        ('"1400"', "1400"),
        ('"etcd"', '"\xff"'),
    ],
)
def test_247_a_record_with_values_of_other_types_is_one_problem(tmp_path: Path, before: str, after: str) -> None:
    cluster = sample(tmp_path)
    record.begin(cluster, MIGRATION)
    path = cluster.folder / record.FILE
    assert before in path.read_text()
    path.write_bytes(path.read_text().replace(before, after).encode("latin-1"))
    with pytest.raises(PreflightRefused, match="is no record of a migration"):
        record.under_way(cluster)


# Meanwhile


def test_249_while_a_migration_is_under_way_others_refuse_and_say_what_ends_it(tmp_path: Path) -> None:
    cluster = sample(tmp_path)
    half_done.refuse(cluster)
    record.begin(cluster, MIGRATION)
    with pytest.raises(
        PreflightRefused, match=r"a migration from etcd to swarm is under way(.|\n)*fab migrate ends it"
    ):
        half_done.refuse(cluster)


def test_249_a_node_says_it_too_if_the_controller_does_not(tmp_path: Path) -> None:
    found = {"node1": Facts(values={"migration": "yes"}), "node2": Facts()}
    (problem,) = record.warnings(sample(tmp_path), found)
    assert problem.where == "node1"
    assert "fab migrate" in problem.advice


def test_249_the_record_of_the_control_plane_changes_during_a_migration_only(tmp_path: Path) -> None:
    cluster = sample(tmp_path)
    planes.record(cluster, ETCD)
    planes.record(cluster, SWARM)
    assert planes.recorded(cluster) is ETCD
    record.begin(cluster, MIGRATION)
    planes.record(cluster, SWARM)
    assert planes.recorded(cluster) is SWARM


def test_249_whatever_the_inventory_says_the_recorded_control_plane_is_shown_meanwhile(tmp_path: Path) -> None:
    cluster = replace(sample(tmp_path), control_plane="swarm")
    planes.record(cluster, ETCD)
    with pytest.raises(PreflightRefused, match="fab migrate"):
        planes.candidates(cluster)
    record.begin(cluster, MIGRATION)
    assert planes.candidates(cluster) == (ETCD,)


def test_the_control_planes_have_an_order() -> None:
    assert (planes.successor(ETCD), planes.successor(SWARM)) == (SWARM, None)


# Nodes


@pytest.mark.parametrize(
    ("facts", "stage", "stopped"),
    [
        (at(STORE_FILE), Stage.BEFORE, False),
        (at(STORE_FILE, nodes.RECORD), Stage.RECORDED, False),
        (at(STORE_FILE, nodes.RECORD, nodes.STOPPED), Stage.RECORDED, True),
        (at(nodes.RECORD, nodes.STOPPED), Stage.RECORDED, True),
        (at(nodes.RECORD, nodes.STOPPED, stage="stopped"), Stage.STOPPED, True),
        (at(nodes.RECORD, nodes.STOPPED, stage="left"), Stage.LEFT, True),
        (at(nodes.STOPPED, stage="left"), Stage.OUT, True),
        (at(), Stage.OUT, False),
    ],
    ids=["before", "recorded", "stopping", "half put back", "stopped", "left", "half cleaned", "out"],
)
def test_248_how_far_a_node_is(facts: Facts, stage: Stage, stopped: bool) -> None:
    assert (nodes.stage(ETCD, facts), nodes.is_stopped(facts)) == (stage, stopped)


def steps(plane: Plane, situation: Situation) -> list[tuple[str, str]]:
    return [(change.where, change.phase) for change in engine.make_plan(plane, situation)]


def test_248_each_node_takes_the_steps_that_it_has_not_taken(tmp_path: Path) -> None:
    cluster = replace(sample(tmp_path), nodes=swarm_sample.NODES)
    found = {
        "node1": at(STORE_FILE, nodes.RECORD),
        "node2": at(nodes.RECORD, stage="stopped"),
        "node3": at(nodes.RECORD, stage="left"),
    }
    planned = steps(phases.leaving(ETCD), Situation(cluster, facts=found))
    assert planned == [("node1", "stop"), ("node1", "retire"), ("node2", "retire")]
    assert ETCD.phases != phases.leaving(ETCD).phases


def test_244_networks_come_first_and_containers_before_all_that_takes_an_address() -> None:
    names = [phase.name for phase in phases.entering(SWARM, MIGRATION).phases]
    order = ["docker", "swarm", "same-networks", "overlay", "containers", "start", "mend", "keeper"]
    assert [name for name in names if name in order] == order


def bare(tmp_path: Path, *networks_there: dict[str, Any]) -> Situation:
    """Hosts on the former control plane, of which the first one's Docker lists these networks."""
    situation = swarm_sample.bare(tmp_path)
    first, *others = situation.facts.values()
    found = (replace(first, networks=networks_there), *others)
    facts = {name: replace(one, paths={STORE_FILE: file()}) for name, one in zip(situation.facts, found, strict=True)}
    cluster = replace(situation.cluster, networks=(Network("demo", None),))
    return replace(situation, cluster=cluster, facts=facts)


def test_244_the_plan_names_networks_containers_and_who_starts(tmp_path: Path) -> None:
    before = bare(tmp_path, told("demo", "10.99.0.0/24"), told("mine", "10.0.0.0/24"))
    foreseen = nodes.with_recorded(nodes.left(ETCD, before), MIGRATION.networks)
    plan = engine.make_plan(phases.entering(SWARM, MIGRATION), foreseen)
    assert [(one.resource, one.note) for one in plan if one.phase == "same-networks"] == [
        ("network demo", "as before, 10.99.0.0/24, mtu 1400"),
        ("network mine", "as before, 10.0.0.0/24"),
    ]
    assert [one for one in plan if one.phase == "overlay"] == []
    assert [(one.where, one.note) for one in plan if one.phase == "containers"] == [
        ("node1", "web, asleep"),
        ("node2", "fixed"),
    ]
    assert [(one.where, one.note) for one in plan if one.phase == "start"] == [("node1", "web")]


def test_245_a_container_that_docker_removes_when_it_ends_does_not_come_back(tmp_path: Path) -> None:
    ends = replace(WEB, temporary=True)
    migration = replace(MIGRATION, containers=(ends, FIXED))
    foreseen = nodes.with_recorded(nodes.left(ETCD, bare(tmp_path)), migration.networks)
    plan = engine.make_plan(phases.entering(SWARM, migration), foreseen)
    assert [one.note for one in plan if one.phase in ("containers", "start")] == ["fixed"]
    (_, table) = tables.plan(migration)
    assert table.rows[0][3] == "ends for good (--rm)"


def test_244_an_automatic_subnet_stays_and_the_swarms_own_networks_get_another(tmp_path: Path) -> None:
    before = bare(tmp_path, told("demo", "10.123.4.0/24"))
    demo = replace(DEMO, pools=(Pool("10.123.4.0/24"),))
    foreseen = nodes.with_recorded(nodes.left(ETCD, before), (demo,))
    assert {name: str(subnet) for name, subnet in assigned(foreseen).items()} == {"demo": "10.123.4.0/24"}


def test_250_what_the_former_control_plane_holds_is_no_obstacle_and_all_else_is(tmp_path: Path) -> None:
    before = bare(tmp_path)
    dockerd, other = 'users:(("dockerd",pid=7,fd=1))', 'users:(("nc",pid=8,fd=1))'
    listeners = (
        Listener("tcp", "*", 7946, dockerd),
        Listener("udp", "*", 4789, "unknown"),
        Listener("tcp", "*", 2377, other),
    )
    facts = replace(before.facts["node1"], listeners=listeners, units={"docker.service": Unit("active", process=7)})
    left = nodes.left(ETCD, replace(before, facts={**before.facts, "node1": facts}))
    assert [one.port for one in left.facts["node1"].listeners] == [2377]


# Networks


def known(situation: Situation, *containers: Container, kept: tuple[SharedNetwork, ...] = ()) -> dict[str, Any]:
    return {one.name: one for one in networks.known(situation, containers, kept)}


def test_251_networks_are_as_docker_tells_them(tmp_path: Path) -> None:
    options = {networks.MTU: "1400", "com.docker.network.driver.overlay.vxlanid_list": "256"}
    there = told("theirs", "10.77.0.0/24", Options=options, Labels={"a": "b"}, Internal=True)
    ingress, local = told("ingress", "10.1.0.0/24", Ingress=True), told("own", "10.2.0.0/24", Scope="local")
    found = known(bare(tmp_path, there, ingress, local), WEB)
    pools = (Pool("10.77.0.0/24"),)
    assert found["theirs"] == SharedNetwork("theirs", pools, {networks.MTU: "1400"}, {"a": "b"}, internal=True)
    assert set(found) == {"theirs", "demo"}


def test_251_a_network_that_nothing_knows_has_the_subnet_of_its_containers(tmp_path: Path) -> None:
    found = known(bare(tmp_path), WEB, ASLEEP, container("none", Attachment("empty")))
    assert (found["mine"].pools, found["mine"].guessed) == ((Pool("10.0.0.0/24"),), True)
    assert (found["demo"].pools, found["demo"].labels) == ((Pool("10.99.0.0/24"),), {LABEL: "demo"})
    assert "empty" not in found


def test_251_the_inventorys_subnet_counts_where_docker_knows_none(tmp_path: Path) -> None:
    situation = bare(tmp_path)
    subnet = sample(tmp_path).networks[0].subnet
    named = replace(situation, cluster=replace(situation.cluster, networks=(Network("demo", subnet),), mtu=1400))
    found = known(named, WEB)["demo"]
    assert (found.pools, found.options, found.guessed) == ((Pool(str(subnet)),), {networks.MTU: "1400"}, False)


def test_251_a_users_network_of_one_host_is_not_shared(tmp_path: Path) -> None:
    own = told("own", "172.30.0.0/16", Scope="local", Driver="bridge")
    assert "own" not in known(bare(tmp_path, own), container("c", Attachment("own", "172.30.0.2")))


def test_251_the_record_counts_before_all_else(tmp_path: Path) -> None:
    there = told("demo", "10.1.2.0/24")
    assert known(bare(tmp_path, there), WEB, kept=(DEMO,))["demo"] == DEMO


def test_251_the_store_tells_a_network_as_docker_does() -> None:
    chosen = '[{"IPAMData": "{\\"Gateway\\": \\"10.0.0.1/24\\", \\"Pool\\": \\"10.0.0.0/24\\"}"}]'
    asked = '[{"PreferredPool": "", "SubPool": "", "Gateway": ""}]'
    value = {
        "id": "1",
        "name": "mine",
        "generic": {store.OPTIONS: {networks.MTU: "1400"}},
        "labels": {"a": "b"},
        "ipamV4Config": asked,
        "ipamV4Info": chosen,
    }
    found = networks.of_docker(store.as_docker_tells(value))
    assert found == SharedNetwork("mine", (Pool("10.0.0.0/24"),), {networks.MTU: "1400"}, {"a": "b"})
    value["ipamV4Config"] = '[{"PreferredPool": "10.5.0.0/24", "SubPool": "10.5.0.128/25", "Gateway": "10.5.0.9"}]'
    assert networks.of_docker(store.as_docker_tells(value)).pools == (Pool("10.5.0.0/24", "10.5.0.9", "10.5.0.128/25"),)


@pytest.mark.parametrize(
    ("addresses", "pool"),
    [
        ([], Pool("10.99.0.0/24")),
        (["10.99.0.50"], Pool("10.99.0.0/24")),
        (["10.99.0.3"], Pool("10.99.0.0/24", "10.99.0.1", "10.99.0.128/25")),
        (["10.99.0.3", "10.99.0.200"], Pool("10.99.0.0/24", "10.99.0.1", "10.99.0.64/26")),
    ],
)
def test_246_nobody_else_is_given_an_address_that_a_user_chose(addresses: list[str], pool: Pool) -> None:
    network = SharedNetwork("demo", (Pool("10.99.0.0/24"),))
    users = [container(str(n), Attachment("demo", one, fixed=True)) for n, one in enumerate(addresses)]
    others = [WEB, container("x", Attachment("mine", "10.0.0.2", fixed=True))]
    assert networks.kept_free(network, [*users, *others], 10).pools == (pool,)


def test_246_a_network_of_several_pools_or_with_a_range_stays_as_it_is() -> None:
    user = container("u", Attachment("demo", "10.99.0.3", fixed=True))
    for pools in ((Pool("10.99.0.0/24"), Pool("10.98.0.0/24")), (Pool("10.99.0.0/24", range="10.99.0.0/25"),)):
        network = SharedNetwork("demo", pools)
        assert networks.kept_free(network, [user], 10) == network


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"Name": "a.b"}, "its name is none that swarm takes"),
        ({"Name": "a" * 64}, "its name is none that swarm takes"),
        ({"Name": "a-"}, "its name is none that swarm takes"),
        ({"IPAM": {"Config": [{"Subnet": "fd00::/64"}]}}, "--ipv6"),
        ({"IPAM": {"Config": [{"Subnet": "10.1.0.0/24", "AuxiliaryAddresses": {"a": "10.1.0.9"}}]}}, "--aux-address"),
        ({"IPAM": {"Driver": "theirs", "Config": [{"Subnet": "10.1.0.0/24"}]}}, "the driver theirs"),
    ],
)
def test_254_a_network_that_swarm_mode_does_not_take_is_an_obstacle(changed: dict[str, Any], said: str) -> None:
    network = networks.of_docker(told("demo", "10.1.0.0/24") | changed)
    (problem,) = networks.obstacles(SWARM, [network])
    assert said in problem.what
    assert f"docker network rm {network.name}" in problem.advice
    users = [container("u", Attachment(network.name, "10.1.0.2", fixed=True))]
    assert networks.kept_free(network, users, 10).name == network.name


@pytest.mark.parametrize("name", ["a", "a_b", "A--9", "a" * 63])
def test_254_a_network_that_swarm_mode_takes_is_none(name: str) -> None:
    assert list(networks.obstacles(SWARM, [networks.of_docker(told(name, "10.1.0.0/24"))])) == []


def test_251_a_network_that_is_neither_found_nor_the_hosts_own_is_an_obstacle(tmp_path: Path) -> None:
    situation = bare(tmp_path, told("own", "172.30.0.0/16", Scope="local"))
    there = [WEB, container("c", Attachment("own"), Attachment("bridge"), Attachment("lost"))]
    problems = list(networks.forgotten(situation, there, {"demo"}))
    assert [(one.where, "container c is on the network lost" in one.what) for one in problems] == [("node1", True)]


class Members:
    """Members of a store, of which some answer."""

    def __init__(self, situation: Situation, *answering: str) -> None:
        self.cluster, self.answering = situation.cluster, answering

    def store(self, member: Node) -> Members:
        if member.name not in self.answering:
            raise StoreError(f"etcd on {member.name} does not answer")
        return self

    def get(self, key: str, *, quorum: bool) -> dict[str, Any]:
        return {}


def test_251_a_store_that_does_not_answer_has_not_no_networks(tmp_path: Path) -> None:
    situation = bare(tmp_path)
    assert store.kept(cast("Any", Members(situation, "node2"))) == ()
    with pytest.raises(Unanswered, match="etcd on node2 does not answer"):
        store.kept(cast("Any", Members(situation)))


def test_244_a_network_that_left_the_inventory_stays_until_its_containers_are_back(tmp_path: Path) -> None:
    old = SharedNetwork("old", (Pool("10.98.0.0/24"),), labels={LABEL: "demo"})
    there = told("old", "10.98.0.0/24", Labels={LABEL: "demo"}, Scope="swarm")
    situation = bare(tmp_path, there)
    assert situation.dropped == ("old",)
    assert nodes.with_recorded(situation, (DEMO, old)).dropped == ()


# The proof


SEEN = proof.Seen(runs=True, started=100.0, addresses={"demo": "10.99.0.50"})
HEARD = proof.Heard({("demo", "fixed"): "10.99.0.50"})


@pytest.mark.parametrize(
    ("seen", "heard", "said"),
    [
        (SEEN, HEARD, ""),
        (SEEN, proof.Heard(), "fixed is not found on demo from another node"),
        (replace(SEEN, addresses={"demo": "10.99.0.7"}), HEARD, "has 10.99.0.7 on demo, and had 10.99.0.50"),
        (replace(SEEN, addresses={"demo": ""}), HEARD, "has no address on the network demo"),
        (replace(SEEN, addresses={}), HEARD, "is not connected to the network demo"),
        (replace(SEEN, runs=False, started=80.0, error="no image"), HEARD, "does not run: no image"),
        (replace(SEEN, runs=False, error="no shim"), HEARD, "does not run: no shim"),
    ],
    ids=["back", "not found", "another address", "no address", "not connected", "down", "not started"],
)
def test_245_each_container_is_proven(seen: proof.Seen | None, heard: proof.Heard, said: str) -> None:
    outcome = proof.outcome(FIXED, seen, {"node2": 90.0}, heard, proof.MIGRATION)
    assert (outcome.status, said in outcome.evidence) == ("failed" if said else "passed", True)
    assert outcome.advice.endswith("run fab migrate again" if said else "")


def test_245_one_that_was_removed_or_has_ended_by_itself_is_not_said_to_run() -> None:
    removed = proof.outcome(FIXED, None, {"node2": 90.0}, proof.Heard(), proof.MIGRATION)
    ended = proof.outcome(FIXED, replace(SEEN, runs=False), {"node2": 90.0}, proof.Heard(), proof.MIGRATION)
    assert (removed.status, removed.evidence) == ("passed", "removed since")
    assert (ended.status, ended.evidence) == ("warning", "was started again, and has ended by itself")


NO_NETWORK = "docker: Error response from daemon: attaching to network failed: context deadline exceeded."


class Probes:
    """Nodes whose containers run; the probe on a node ends with one code after another, and then finds nothing."""

    def __init__(self, cluster: Cluster, *codes: int) -> None:
        self.nodes, self.codes, self.asked = cluster.nodes, list(codes), 0

    def each(self, step: Callable[[Any], Any], only: Sequence[Node] | None = None) -> dict[str, Any]:
        return {node.name: step(Mock(node=node, run=self.run)) for node in self.nodes if only is None or node in only}

    def run(self, script: str, **_: object) -> Mock:
        if "show_again" in script.splitlines()[-1]:
            rows = (f"container\t{one.identity}\ttrue\t2026-01-01T00:00:00Z\tdemo=10.99.0.9 \t" for one in (WEB, FIXED))
            return Mock(code=0, stdout="\n".join(rows), stderr="")
        self.asked += 1
        code = self.codes.pop(0) if self.codes else 0
        return Mock(code=code, stdout="", stderr=f"{NO_NETWORK}\nSee 'docker run --help'.\n" if code else "")


def test_267_a_probe_that_cannot_start_is_told_at_once_with_dockers_words(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(proof, "attempts", lambda *_: range(9))
    cluster = sample(tmp_path)
    migration = replace(MIGRATION, containers=(WEB,))

    def told(probes: Probes) -> str:
        (outcome,) = proof.proven(cluster, migration, cast("Any", probes), "run", proof.MIGRATION).outcomes
        return outcome.evidence

    never = Probes(cluster, 125, 125, 125)
    assert told(never) == f"the probe that looks for names on demo cannot start on node2: {NO_NETWORK}"
    assert never.asked == 2
    later = Probes(cluster, 125, 0, 125)  # networks come to a node one after another
    assert told(later).endswith("www is not found on demo from another node")
    assert later.asked == 9


def test_245_one_that_was_stopped_stays_stopped() -> None:
    seen = proof.Seen(runs=False, started=1.0, addresses={"mine": ""})
    assert proof.outcome(ASLEEP, seen, {}, proof.Heard(), proof.MIGRATION).evidence == "stopped, as before"
    assert proof.outcome(ASLEEP, replace(seen, addresses={}), {}, proof.Heard(), proof.MIGRATION).status == "failed"


def test_244_the_downtime_is_from_the_first_stop_to_the_last_start() -> None:
    assert proof.away(FIXED, SEEN, {"node2": 90.0}) == 10.0
    assert proof.away(ASLEEP, SEEN, {"node1": 90.0}) is None
    assert proof.away(FIXED, replace(SEEN, started=80.0), {"node2": 90.0}) is None
