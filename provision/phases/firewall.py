"""The host firewall, if the inventory asks for it: a node lets only the other nodes reach the ports that we open."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from provision import layout
from provision.core.phase import Phase, Wave
from provision.core.situation import Situation
from provision.errors import Problem, StepFailed
from provision.facts import INPUTS
from provision.inventory.model import Cluster, Node
from provision.network import port_matrix
from provision.node import library
from provision.ports import Port
from provision.resources import File, Folder, NoRuleset, Resource, Ruleset, call
from provision.templates import render

if TYPE_CHECKING:
    from provision.core.plane import Coordinator
    from provision.remote import Remote


class Firewall(Phase):
    """The firewall comes before the daemons: their ports are never open to others, and new nodes are let in early."""

    name = "firewall"

    def __init__(
        self,
        ports: Callable[[Cluster], Sequence[Port]],
        before: Sequence[str],
        guests: Callable[[Situation], Sequence[str]] = lambda _: (),
        removed: Callable[[Situation], Sequence[str]] = lambda _: (),
    ) -> None:
        """Guard a cluster's `ports`. The table is loaded before the units in `before` start.

        `guests`: more addresses to let in. `removed`: addresses of hosts that reach only the port at which a member is
        told that it was removed. Several lost members that come back, and are not told, may be a majority.
        """
        self._ports, self._before, self._guests, self._removed = ports, before, guests, removed

    def resources(self, situation: Situation, node: Node) -> tuple[Resource, ...]:
        """Return the rules, the unit that loads them at every boot, and the table in the kernel."""
        if not situation.cluster.firewall:
            return (NoRuleset(layout.FIREWALL_TABLE, layout.FIREWALL_UNIT_FILE),)
        rules = File(layout.FIREWALL_RULES, self._rules(situation))
        unit = File(layout.FIREWALL_UNIT_FILE, self._unit(situation))
        inputs = tuple((file.path, file.fit) for file in (rules, unit))
        return (
            Folder(layout.CONFIGURATION),
            rules,
            unit,
            Ruleset(layout.FIREWALL_UNIT, layout.FIREWALL_TABLE, inputs),
        )

    def _rules(self, situation: Situation) -> bytes:
        ports = self._ports(situation.cluster)
        return render(
            "firewall.nft.j2",
            cluster=situation.cluster.name,
            table=layout.FIREWALL_TABLE,
            addresses=[*(node.address for node in situation.cluster.nodes), *self._guests(situation)],
            removed=self._removed(situation),
            telling=sorted(port.number for port in ports if port.tells_removed),
            tcp=sorted(port.number for port in ports if port.protocol == "tcp"),
            udp=sorted(port.number for port in ports if port.protocol == "udp"),
            esp=any(port.protocol == "esp" for port in ports),
        )

    def _unit(self, situation: Situation) -> bytes:
        return render(
            "overlay-firewall.service.j2",
            before=" ".join(self._before),
            cluster=situation.cluster.name,
            unit=layout.FIREWALL_UNIT,
            table=layout.FIREWALL_TABLE,
            rules=layout.FIREWALL_RULES,
            inputs=(layout.FIREWALL_RULES, layout.FIREWALL_UNIT_FILE),
            inputs_folder=INPUTS,
        )

    def after(self, situation: Situation, coordinator: Coordinator, wave: Wave) -> None:
        """Test that all ports between the nodes are still open. If not, remove the tables. StepFailed names them."""
        if not situation.cluster.firewall:
            return
        shut = port_matrix.shut(
            situation.cluster,
            self._ports(situation.cluster),
            situation.facts,
            coordinator.remotes,
            coordinator.remotes.run,
        )
        if shut:
            coordinator.remotes.each(_drop, wave)
            advice = (
                "a node's packets have to come from its address in the inventory (ip route get ADDRESS shows the src)"
            )
            raise StepFailed(
                *(Problem(f"the firewall blocks {cell}, and was removed again", cell.target, advice) for cell in shut)
            )


def _drop(remote: Remote) -> None:
    remote.run(
        f"{library('record', 'changes')}\n{call('drop_firewall')}\n",
        timeout=60,
        changes=True,
        what="removing the firewall",
    )
