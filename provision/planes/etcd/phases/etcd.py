"""The store: configuration, unit and process of etcd, and who is a member."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from provision.core.phase import Phase, Wave, one_by_one
from provision.core.plan import CLUSTER, Change
from provision.core.situation import Situation
from provision.errors import Problem, StepFailed
from provision.facts import INPUTS
from provision.inventory.model import Node
from provision.node import library
from provision.planes.etcd import bootstrap, leaving, member_changes, membership, paths, ports
from provision.planes.etcd.coordinator import opened
from provision.planes.etcd.local import local, release_for
from provision.planes.etcd.node import program
from provision.planes.etcd.phases.pki import trusted_files
from provision.planes.etcd.resources import NoStore, RemovedData
from provision.recovery import generations
from provision.resources import File, Resource, Service, call
from provision.templates import render

if TYPE_CHECKING:
    from provision.core.plane import Coordinator
    from provision.remote import Remote

BINARY = "/usr/local/bin/etcd"


class Etcd(Phase):
    """Members bootstrap together; one that joins comes alone; a healthy one is restarted alone."""

    name = "etcd"

    def resources(self, situation: Situation, node: Node) -> tuple[Resource, ...]:
        """Return a member's environment, bootstrap file, unit and service; elsewhere that nothing of them is there."""
        if not node.member:
            given_up = (RemovedData(apart=True),) if leaving.is_given_up(situation, node) else ()
            return (*given_up, NoStore()) if leaving.is_put_away(situation, node) else ()
        cluster = situation.cluster
        environment = render(
            "etcd/etcd.env.j2",
            cluster=cluster.name,
            node=node,
            data=paths.DATA,
            pki=paths.ETCD_PKI,
            client_port=ports.STORE_PORT,
            peer_port=ports.PEER_PORT,
        )
        # Its leaves it reads at each handshake.
        read = [File(paths.ETCD_ENVIRONMENT, environment), *trusted_files(situation, node)]
        watched = (BINARY, paths.ETCD_UNIT_FILE, *(file.path for file in read))
        unit = File(paths.ETCD_UNIT_FILE, self._unit(situation, watched))
        hashes = {file.path: file.fit for file in (*read, unit)}
        hashes[BINARY] = frozenset({release_for(situation, node).hashes["etcd"]})
        removed = leaving.is_removed(situation, node)
        return (
            read[0],
            *((RemovedData(leaving.is_given_up(situation, node)),) if removed else ()),
            *(generations.known(situation) if self.lists_recoveries(situation, node) else ()),
            # Its token is drawn anew in each run: no difference to be shown.
            File(
                paths.ETCD_BOOTSTRAP,
                bootstrap.bootstrap_file(situation, node),
                opaque=True,
                public=True,
                once=not leaving.joins_anew(situation, node),
            ),
            File(paths.BEFORE_START, program("etcd_before_start"), 0o755),
            unit,
            Service(
                paths.ETCD_UNIT,
                tuple((path, hashes[path]) for path in watched),
                restart_costs=membership.cost_of_one(situation),
                stopped=removed,
            ),
        )

    @staticmethod
    def lists_recoveries(situation: Situation, node: Node) -> bool:
        """Say whether a member gets the list of recoveries here: it has no data yet, or that is put aside just before.

        Else a run that is killed would leave a member that seems to have been away.
        """
        without_data = situation.of(node).answers.get("store-log", "").strip() != "yes"
        return node.member and (without_data or leaving.is_removed(situation, node))

    def _unit(self, situation: Situation, watched: Sequence[str]) -> bytes:
        return render(
            "etcd/etcd.service.j2",
            cluster=situation.cluster.name,
            version=local(situation).release.version,
            environment=paths.ETCD_ENVIRONMENT,
            bootstrap=paths.ETCD_BOOTSTRAP,
            before_start=paths.BEFORE_START,
            peer_port=ports.PEER_PORT,
            binary=BINARY,
            data=paths.DATA,
            inputs=watched,
            inputs_folder=INPUTS,
        )

    def cluster_changes(self, situation: Situation) -> tuple[Change, ...]:
        """Return the members that join."""
        return tuple(
            Change(CLUSTER, self.name, f"member {node.name}", "add", note="as a learner first, then promoted")
            for node in membership.joining(situation)
        )

    def waves(self, situation: Situation, changes: Mapping[str, Sequence[Change]]) -> tuple[Wave, ...]:
        """Put what bootstraps or is stopped first, then what restarts one by one, then what joins one by one.

        Without a quorum there is nothing to be careful of, and where there will be none there is no way: all at once.
        """
        if not membership.stays_at_work(situation):
            return super().waves(situation, changes)
        newcomers = membership.joining(situation)
        staying = {name: todo for name, todo in changes.items() if name not in {node.name for node in newcomers}}
        return one_by_one(situation, staying, paths.ETCD_UNIT) + tuple((node,) for node in newcomers)

    def before(self, situation: Situation, coordinator: Coordinator, wave: Wave) -> None:
        """Nothing healthy stops unless the others can do without; who joins is announced first."""
        if not membership.stays_at_work(situation):
            return
        if any(_is_touched(situation, node) for node in wave):
            coordinator.await_quorum("before etcd changes on " + ", ".join(node.name for node in wave))
        for node in wave:
            if node in membership.joining(situation):
                member_changes.announce(opened(coordinator), node)

    def after(self, situation: Situation, coordinator: Coordinator, wave: Wave) -> None:
        """Quorum is back, on the nodes just changed too; who joined is promoted. phases/quorum.py awaits the first."""
        if not membership.stays_at_work(situation):
            return
        for node in wave:
            if node in membership.joining(situation):
                member_changes.promote(opened(coordinator), node)
        wait_for_members(coordinator, tuple(node for node in wave if node.member))


def _is_touched(situation: Situation, node: Node) -> bool:
    """Whether it runs, or joins those that do. One that was stopped may be what they wait for."""
    return situation.of(node).unit(paths.ETCD_UNIT).running or node in membership.joining(situation)


def wait_for_members(coordinator: Coordinator, nodes: Wave) -> None:
    """Return once each of these answers. StepFailed, with the journal's end, as soon as one does not stay up."""
    opened(coordinator).await_members(nodes, lambda: coordinator.remotes.each(_stays_up, nodes))


def _stays_up(remote: Remote) -> None:
    result = remote.run(f"{library('changes')}\n{call('stays_up', paths.ETCD_UNIT)}\n", timeout=30)
    if result.code:
        what = f"start unit {paths.ETCD_UNIT} failed: {result.stderr.strip()[-1500:]}"
        advice = "mend the cause, run provision again: it goes on here"
        raise StepFailed(Problem(what, f"{remote.node.name}, phase etcd", advice))
