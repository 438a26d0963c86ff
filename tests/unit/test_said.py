"""What status and verify say: not provisioned, no certificate to ask with, packet rules gone, certificates that end."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, cast
from unittest.mock import MagicMock

import grpc
import pytest
import swarm_sample as swarm
from cluster_sample import bare_situation, changed, lines, planned_sample, with_values
from pki_sample import sample

from provision.core.situation import Situation
from provision.core.validity import Certificate, ending
from provision.engine import make_plan
from provision.facts import Container, Facts
from provision.planes.etcd import pki
from provision.planes.etcd.coordinator import EtcdCoordinator
from provision.planes.etcd.local import with_identity
from provision.planes.etcd.pki import Identity
from provision.planes.etcd.plane import PLANE
from provision.planes.etcd.store import StoreError
from provision.resources import Service, packet_rules
from provision.verbs.steps import is_provisioned

NOW = datetime(2026, 6, 1, tzinfo=UTC)
WHOLE = " forward nat masquerade"


# 217: rules for packets


def rules(words: str, **values: str) -> Any:
    return with_values(docker_rules=words, **values)


def test_193_flushed_rules_restart_that_dockerd_alone_and_the_plan_says_why_and_what_stops(tmp_path: Path) -> None:
    situation = changed(planned_sample(tmp_path), "node2", rules(""))
    mortal = Container("m" * 64, "mortal", ("bridge",))
    situation = changed(situation, "node2", lambda facts: replace(facts, containers=(*facts.containers, mortal)))
    plan = make_plan(PLANE, situation)
    assert lines(plan) == ["node2: restart unit docker.service"]
    (change,) = plan
    assert "for Docker's rules for packets, which are gone" in change.note
    assert change.stops == ("mortal",)
    (problem,) = packet_rules.problems(situation)
    assert problem.where == "node2"
    assert "filter FORWARD -j DOCKER-USER" in problem.what
    assert "fab provision restarts Docker there" in problem.advice


def test_193_in_swarm_mode_too(tmp_path: Path) -> None:
    situation = changed(swarm.at_work(tmp_path), "node2", rules(" nat"))
    services = [
        resource
        for phase in swarm.PLANE.phases
        for node in situation.cluster.nodes
        for resource in phase.resources(situation, node)
        if isinstance(resource, Service) and resource.unit == "docker.service"
    ]
    assert [bool(service.gone) for service in services] == [False, True, False]


@pytest.mark.parametrize(
    ("words", "values", "lost"),
    [
        (WHOLE, {}, 0),
        (" forward nat", {}, 1),
        (" nat masquerade", {}, 1),
        ("", {}, 3),
        ("", {"daemon_json": '{"iptables": false}'}, 0),
        ("", {"docker_unit": "ExecStart=/usr/bin/dockerd --iptables=false"}, 0),
        ("", {"docker_options": "--iptables false"}, 0),
        ("", {"daemon_json": '{"firewall-backend": "nftables"}'}, 0),
    ],
)
def test_193_only_rules_that_dockerd_makes_are_missed(
    tmp_path: Path, words: str, values: dict[str, str], lost: int
) -> None:
    facts = planned_sample(tmp_path).facts["node1"]
    assert len(packet_rules.lost(rules(words, **values)(facts))) == lost


def test_193_nothing_is_concluded_from_no_answer_or_without_the_bridge(tmp_path: Path) -> None:
    facts = planned_sample(tmp_path).facts["node1"]
    assert packet_rules.lost(facts) == ()
    assert packet_rules.lost(replace(rules("")(facts), docker_answers=False)) == ()
    assert packet_rules.lost(replace(rules(" forward nat")(facts), networks=())) == ()


# 216: no certificate to ask with


def asked_with(situation: Situation, identity: Identity) -> tuple[str, ...]:
    return tuple(str(problem) for problem in PLANE.unasked(with_identity(situation, identity)))


def test_192_the_controllers_certificates_are_enough(tmp_path: Path) -> None:
    assert PLANE.unasked(planned_sample(tmp_path)) == ()


def test_192_a_certificate_that_is_missing_or_damaged_is_named_and_provision_makes_it(tmp_path: Path) -> None:
    situation, cluster = planned_sample(tmp_path), sample(tmp_path)
    certificate, key = Identity.read(cluster).paths(pki.CONTROLLER_STORE)
    key.write_text("nonsense")
    (told,) = asked_with(situation, Identity.read(cluster))
    assert f"{certificate} or controller.key is damaged" in told
    certificate.unlink()
    (told,) = asked_with(situation, Identity.read(cluster))
    assert f"no certificate to ask with: {certificate} is missing" in told
    assert "fab provision makes it anew" in told


def test_192_a_certificate_that_has_ended_is_named_and_one_to_be_renewed_still_asks(tmp_path: Path) -> None:
    situation, cluster = planned_sample(tmp_path), sample(tmp_path)
    end = next(kept.end for kept in Identity.read(cluster).kept if kept.what == f"leaf {pki.CONTROLLER_STORE}")
    assert asked_with(situation, Identity.read(cluster, now=end - timedelta(days=5))) == ()
    told = asked_with(situation, Identity.read(cluster, now=end + timedelta(days=5)))
    assert len(told) == 2
    assert f"ended on {end:%Y-%m-%d} (ended 5 days ago)" in told[0]


def test_192_a_folder_that_is_lost_or_another_ones_is_named_and_how_to_get_it_back(tmp_path: Path) -> None:
    situation = planned_sample(tmp_path)
    other = tmp_path / "other"
    other.mkdir()
    for identity in (Identity.read(sample(other)), pki.make(sample(other))):
        (told,) = asked_with(situation, identity)
        assert "does not hold the authorities that made the nodes' certificates" in told
        assert "fab certs --adopt" in told


# 221: certificates' ends


def ends_in(days: float, life: float | None = None) -> Certificate:
    end = NOW + timedelta(days=days)
    return Certificate("leaf", "node1:/x", end, None if life is None else end - timedelta(days=life))


@pytest.mark.parametrize(
    ("certificate", "counts"),
    [
        (ends_in(13.9), True),
        (ends_in(14.1), False),
        (ends_in(-1), True),
        (ends_in(16, life=90), False),
        (ends_in(13, life=90), True),
        # Docker renews one of a month after 15 to 24 days: with six days left, all is well.
        (ends_in(6, life=30), False),
        (ends_in(4, life=30), True),
    ],
)
def test_197_a_certificate_counts_in_its_last_days(certificate: Certificate, counts: bool) -> None:
    assert bool(ending([certificate], NOW)) is counts


# 215: never provisioned


def test_191_bare_hosts_are_not_provisioned_on_either_control_plane(tmp_path: Path) -> None:
    bare = bare_situation(sample(tmp_path))
    assert not is_provisioned(PLANE, bare)
    assert not is_provisioned(PLANE, replace(bare, recorded=True))
    assert not is_provisioned(swarm.PLANE, swarm.bare(tmp_path))
    assert is_provisioned(PLANE, planned_sample(tmp_path))


def test_191_a_host_with_a_record_of_ours_or_one_that_was_not_reached_may_be_provisioned(tmp_path: Path) -> None:
    bare = bare_situation(sample(tmp_path))
    assert is_provisioned(swarm.PLANE, changed(bare, "node3", with_values(record="yes")))
    reached = {name: facts for name, facts in bare.facts.items() if name != "node2"}
    assert is_provisioned(PLANE, replace(bare, facts=reached, recorded=True))
    assert not is_provisioned(PLANE, replace(bare, facts=reached))


# 222: the v3 API


class NoAnswer(grpc.RpcError):  # type: ignore[misc]
    def details(self) -> str:
        return "failed to connect"


def v3_error(name: str, cause: Exception | None = None) -> Exception:
    from etcd3 import exceptions

    error: Exception = getattr(exceptions, name)()
    error.__cause__ = cause
    return error


NO_FILE = FileNotFoundError(2, "No such file or directory", "/x/controller.crt")


@pytest.mark.filterwarnings("ignore:Call to deprecated create function")
@pytest.mark.parametrize(
    ("made", "words"),
    [
        (lambda: v3_error("ConnectionFailedError"), "etcd on node1 does not answer: the connection failed"),
        (lambda: v3_error("ConnectionTimeoutError"), "node1 does not answer: it did not answer in time"),
        (lambda: v3_error("InternalServerError"), "node1 does not answer: it gives no reason"),
        (lambda: v3_error("PreconditionFailedError"), "node1 does not answer: it refuses the request"),
        (NoAnswer, "node1 does not answer: failed to connect"),
        (lambda: v3_error("ConnectionFailedError", NoAnswer()), "node1 does not answer: failed to connect"),
        (lambda: NO_FILE, "/x/controller.crt: No such file"),
    ],
)
def test_198_an_error_of_the_v3_client_is_told_with_its_member(
    tmp_path: Path, made: Callable[[], Exception], words: str
) -> None:
    cluster = sample(tmp_path)
    coordinator = EtcdCoordinator(cluster, cast("Any", None), Identity.read(cluster))  # no connection
    coordinator._made["etcd", "node1"] = None

    def ask(_: Any) -> None:
        raise made()

    with pytest.raises(StoreError, match=words):
        coordinator.v3(cluster.nodes[0], ask)


def test_a_list_of_all_keys_may_be_of_any_size(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cluster, made = sample(tmp_path), MagicMock()
    monkeypatch.setattr("etcd3.client", made)
    EtcdCoordinator(cluster, MagicMock(), Identity.read(cluster))._etcd(cluster.nodes[0])
    assert dict(made.call_args.kwargs["grpc_options"])["grpc.max_receive_message_length"] == -1


def test_facts_of_a_host_without_iptables_say_nothing() -> None:
    assert packet_rules.lost(Facts()) == ()
