"""A reset while a migration is under way: whose containers it asks for, and that it ends the migration."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import pytest
import swarm_sample

from provision.core.situation import Situation
from provision.docker.containers import Attachment, Container
from provision.facts import Container as Found
from provision.facts import Facts
from provision.migration import record
from provision.phases.network_users import NetworkUser
from provision.verbs import reset
from provision.verbs.session import Session

WEB = Container("node1", "a" * 64, "web", "busybox", True, "no", (Attachment("demo", "10.99.0.4"),))
PLAIN = Container("node1", "b" * 64, "plain", "busybox", True, "no", ())
MIGRATION = record.Migration("etcd", "swarm", (), (WEB, PLAIN))
USER = NetworkUser("web", "demo", running=True)


def at(folder: Path, facts: Facts) -> Situation:
    situation = swarm_sample.bare(folder)
    return replace(situation, facts={**situation.facts, "node1": facts})


@pytest.mark.parametrize("networks", [(), ("demo",)], ids=["not connected again", "connected again"])
def test_249_a_reset_asks_for_a_container_that_is_to_come_back(tmp_path: Path, networks: tuple[str, ...]) -> None:
    there = Found(WEB.identity, "web", networks)
    situation = at(tmp_path, Facts(docker_answers=True, containers=(there,)))
    node = situation.cluster.nodes[0]
    assert reset._users(situation, node, {"demo"}, MIGRATION) == (USER,)
    assert reset._stopped(situation, node, MIGRATION) == ()


def test_249_a_reset_asks_for_the_containers_of_a_docker_that_is_stopped(tmp_path: Path) -> None:
    situation = at(tmp_path, Facts())
    node = situation.cluster.nodes[0]
    assert reset._stopped(situation, node, MIGRATION) == (USER,)
    assert reset._users(situation, node, {"demo"}, MIGRATION) == ()
    assert reset._stopped(situation, node, None) == ()


def test_249_a_reset_that_was_killed_after_the_last_node_ends_the_migration(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    situation = swarm_sample.bare(tmp_path)
    record.begin(situation.cluster, MIGRATION)

    @contextmanager
    def survey(*_: object, **__: object) -> Iterator[tuple[Any, Situation]]:
        yield None, situation

    monkeypatch.setattr(Session, "survey", survey)
    session = Session(situation.cluster.path, cast("Any", None), cast("Any", None))
    session.__dict__["cluster"] = situation.cluster
    reset.run_reset(session, only=["node1"], yes=True, delete_user_data=False)
    assert record.under_way(situation.cluster)
    reset.run_reset(session, only=(), yes=True, delete_user_data=False)
    assert record.under_way(situation.cluster) is None
