"""The proof at the end of a recovery: what nobody has seen proves nothing."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest.mock import MagicMock, patch

from pki_sample import node, sample

from provision.core.outcome import Outcome
from provision.core.recovery import Standing
from provision.core.situation import Situation
from provision.facts import Facts
from provision.recovery import proof
from provision.remote import Result

NODES = tuple(node(f"node{number}", f"192.0.2.{number}") for number in range(1, 4))
ENDED = Result(0, ".\n", "")


def answered(outcomes: Iterable[Outcome]) -> list[tuple[str, str]]:
    return [(one.status, one.evidence) for one in outcomes]


def remotes_that_say(*results: Result) -> Any:
    """Remotes of node1, node2…, each of which gives one result."""
    said = zip(NODES, results, strict=False)
    there = [SimpleNamespace(node=one, run=MagicMock(return_value=result)) for one, result in said]
    return SimpleNamespace(each=lambda ask, _=(): {one.node.name: ask(one) for one in there})


def test_346_a_docker_that_does_not_list_its_containers_is_not_one_without_containers() -> None:
    """A pipe that has failed says nothing. Neither does a script that was ended before its last line."""
    for failed in (Result(1, "", "no docker"), Result(0, "1 /web then\n", ""), Result(1, ".\n", "")):
        found = proof.running(remotes_that_say(failed, ENDED, Result(0, "1 /web then\n.\n", "")))
        assert found == {"node1": None, "node2": {}, "node3": {"1": "/web then"}}
        for before, now in ((found, {}), ({"node1": {}}, found)):
            status, told = answered(proof.containers(before, now))[0]
            assert (status, "not known" in told) == ("warning", True)


def test_346_networks_and_packets_that_nobody_has_seen_are_no_proof(tmp_path: Path) -> None:
    cluster = replace(sample(tmp_path), nodes=NODES[:2])
    ready = {one.name: Facts(containers_known=True) for one in cluster.nodes}
    situation = Situation(cluster, facts=ready)

    def seen(*results: Result, networks: frozenset[str] | None = frozenset({"demo"})) -> list[tuple[str, str]]:
        coordinator: Any = MagicMock(remotes=remotes_that_say(*results), makers=cluster.nodes)
        with patch.object(proof, "running"):
            outcomes = proof.proven(situation, coordinator, {}, networks)
        return [(one.status, one.evidence) for one in outcomes if one.check in ("recover/networks", "recover/packets")]

    assert [status for status, _ in seen(ENDED, ENDED, networks=frozenset())] == ["passed"] * 2
    ((status, told),) = seen(ENDED, ENDED, networks=None)
    assert (status, "were not listed" in told) == ("failed", True)
    failed = seen(Result(1, "", "Cannot connect"), Result(0, "", ""))
    assert failed == [
        ("failed", "Docker lists no networks: Cannot connect"),
        ("failed", "Docker lists no networks"),
        ("failed", "no packet was tried from node1 on demo: Cannot connect"),
        ("failed", "no packet was tried from node2 on demo"),
    ]
    silent = Result(0, "overlay-keeper-demo-node2\n.\n", "")
    there = [told for told in seen(silent, Result(0, "untried\n.\n", "")) if "packet" in told[1]]
    assert there == [("failed", "no packet from node1 to node2 on demo")]


def test_346_the_networks_that_a_node_has_listed_before_or_after_are_proven() -> None:
    def look(*names: str, listed: bool = True) -> list[Standing]:
        return [Standing(NODES[0], networks=frozenset(names), lists_networks=listed), Standing(NODES[1])]

    assert proof.known(NODES[0], look("a"), look("b")) == {"a", "b"}
    assert proof.known(NODES[0], look(listed=False), look("b")) == {"b"}
    assert proof.known(NODES[0], look(listed=False), look(listed=False)) is None


def test_276_a_container_that_restarts_by_itself_keeps_no_recovery_from_ending() -> None:
    before = {"node1": {"1": "/web then", "2": "/db then"}}
    now = {"node1": {"1": "/web then", "2": "/db now"}}
    (seen,) = proof.containers(before, now)
    assert (seen.status, "db" in seen.evidence, "web" in seen.evidence) == ("warning", True, False)
    assert [one.status for one in proof.containers(before, before)] == ["passed"]
