"""The control plane as a restore uses it: a new store gets the saved keys before any dockerd joins."""

from __future__ import annotations

import json
from base64 import b64decode
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Any

from provision import layout
from provision.backup.record import MARK
from provision.core.phase import Phase, Wave
from provision.core.plan import CLUSTER, Change
from provision.core.plane import Goal, Stage, after_preparation, as_it_is
from provision.core.recovery import Standing
from provision.core.resource import Difference, Resource, call
from provision.core.saved import Saved
from provision.core.situation import Situation
from provision.errors import Problem
from provision.facts import Facts, Question, join
from provision.inventory.model import Cluster, Node
from provision.phases.installation import Installation
from provision.phases.keepers import Keepers
from provision.phases.networks import Networks
from provision.planes.etcd import paths, tree
from provision.planes.etcd.coordinator import OUR_KEYS, opened
from provision.planes.etcd.local import Local
from provision.planes.etcd.node import functions
from provision.planes.etcd.phases.docker import Docker
from provision.planes.etcd.phases.etcd import Etcd, wait_for_members
from provision.planes.etcd.plane import EtcdPlane
from provision.resources.system import stopped_a_while

if TYPE_CHECKING:
    from provision.core.plane import Coordinator

#: What the mark on a node says beside the restore, when the keys are in the store.
DONE = "keys"
#: How many keys of users are named.
SHOWN = 5


class Restoring(EtcdPlane):
    """The cluster store, made anew under a new token, with the keys of a backup."""

    def __init__(self, saved: Saved) -> None:
        """Take what was saved."""
        self._saved = saved
        self.phases = tuple(_phases(saved))

    def local(self, cluster: Cluster) -> tuple[Local, tuple[Problem, ...]]:
        """Return what the controller keeps, with a token that is new with every restore.

        Under the former token the members would have the former IDs, and an old member that comes back with old data
        would be let in, in silence.
        """
        kept, problems = super().local(cluster)
        return replace(kept, token=f"overlay-{self._saved.restore}"), problems

    def question(self, situation: Situation, node: Node) -> Question:
        """Ask, beside all else, how far this restore is, and which networks and keys a store has that is at work."""
        own = Question(paths=(MARK,), shown=(MARK,), slow_calls=("fact_store_networks", "fact_store_keys"))
        return join([super().question(situation, node), own])

    def standings(self, situation: Situation) -> tuple[Standing, ...]:
        """Return what each node is to the former store: nothing, where this restore has put that aside."""
        return tuple(
            Standing(one.node)
            if self._saved.restore in _mark(situation.of(one.node))
            else replace(one, contents=_of_users(situation.of(one.node), listed=one.has_quorum))
            for one in super().standings(situation)
        )

    def stages(self, situation: Situation, goal: Goal) -> tuple[Stage, ...]:
        """Return a stage that puts the former store aside, where there is one, and the one that makes it anew."""
        following = (Stage(as_it_is),)
        if not any(_is_former(facts, self._saved) for facts in situation.facts.values()):
            return following
        title = "the store is made anew, with the keys of the backup"
        return after_preparation(following, title, lambda now: without_former(now, self._saved))

    def blockers(self, situation: Situation) -> tuple[Problem, ...]:
        """Say what stands in the way of the new store: not while the former one is put aside."""
        return () if situation.preparing else super().blockers(situation)


def _phases(saved: Saved) -> Iterator[Phase]:
    """Yield the plane's phases, and those of a restore. Nothing waits for networks: the saved ones are known."""
    for phase in EtcdPlane.phases:
        kind = type(phase)
        yield kind(lambda _: False) if kind in (Networks, Keepers) else Together() if kind is Docker else phase
        if kind is Installation:
            yield Aside(saved)
        if kind is Etcd:
            yield Keys(saved)


def _is_former(facts: Facts, saved: Saved) -> bool:
    """Say whether a node has a store of before this restore, or a dockerd that was started on one."""
    if saved.restore in _mark(facts):
        return False
    return paths.ETCD_BOOTSTRAP in facts.paths or bool(facts.unit(layout.DOCKER_UNIT).inputs)


def _of_users(facts: Facts, *, listed: bool) -> tuple[str, ...]:
    """Return users' keys in a node's own member, in words. `listed`: its store is at work, and lists them."""
    if listed and not (facts.answers.get("store-keys") and facts.answers.get("store-keys-v3")):
        return ("keys that it does not list",)
    v2, v3 = (json.loads(facts.answers.get(name) or "{}") for name in ("store-keys", "store-keys-v3"))
    at_top = [one["key"] for one in (v2.get("node") or {}).get("nodes") or ()]
    others = [b64decode(one["key"]).decode(errors="replace") for one in v3.get("kvs") or ()]
    keys = sorted(key for key in at_top if key not in OUR_KEYS)
    keys += sorted(key for key in others if not key.startswith(OUR_KEYS))
    more = f" and {len(keys) - SHOWN} more" if keys[SHOWN:] else ""
    return (f"keys {', '.join(keys[:SHOWN])}{more}",) if keys else ()


def _mark(facts: Facts) -> list[str]:
    """Return the words of the mark on a node: of which restore, and whether that has put the keys back."""
    there = facts.paths.get(MARK)
    return ((there and there.text) or "").split()


def without_former(situation: Situation, saved: Saved) -> Situation:
    """Return the situation as it will be found when the former store is put aside. Pure."""

    def cleared(facts: Facts) -> Facts:
        gone = ("members", "member-status", "store-data", "healthy", "endpoints", "strangers")
        answers = {name: answer for name, answer in facts.answers.items() if name not in gone}
        units = {name: unit for name, unit in facts.units.items() if name != paths.ETCD_UNIT}
        docker = facts.unit(layout.DOCKER_UNIT)
        return replace(
            facts,
            listeners=tuple(one for one in facts.listeners if one.unit != paths.ETCD_UNIT),
            paths={path: there for path, there in facts.paths.items() if path != paths.ETCD_BOOTSTRAP},
            answers=answers | {"store-log": "no"},
            units=units | {layout.DOCKER_UNIT: replace(docker, inputs=_without_store(docker.inputs))},
        )

    found = {name: cleared(facts) if _is_former(facts, saved) else facts for name, facts in situation.facts.items()}
    return replace(situation, facts=found)


def _without_store(inputs: Mapping[str, str]) -> Mapping[str, str]:
    """Return what a dockerd was started with, as if it had read another list of members: so that it is restarted."""
    return {path: digest for path, digest in inputs.items() if path != paths.DOCKER_STORE}


@dataclass(frozen=True)
class FormerStore(Resource):
    """What a node has of the store before the restore: its data is moved aside, and its dockerd restarts later."""

    saved: Saved

    @property
    def name(self) -> str:
        """`former store`."""
        return "former store"

    def compare(self, facts: Facts) -> Difference | None:
        """Return a difference as long as it is there."""
        if not _is_former(facts, self.saved):
            return None
        kept = bool(facts.answers.get("store-data"))
        moved = f"its data is moved aside, to {paths.DATA}/removed-…" if kept else "its data is gone"
        stops = stopped_a_while(facts) if facts.unit(layout.DOCKER_UNIT).inputs else ""
        note = "; ".join(filter(None, [moved, stops and f"Docker restarts with the new one: {stops}"]))
        return Difference("remove", note=note, consent="put the former store aside" if kept else "")

    def apply(self, difference: Difference) -> str:
        """Put it aside, and mark that."""
        return f"{functions('changes')}\n{call('set_store_aside', MARK, self.saved.restore)}"


class Aside(Phase):
    """The former store leaves the nodes; dockerds run on, and are restarted when the new one has the keys."""

    name = "aside"
    prepares = True

    def __init__(self, saved: Saved) -> None:
        """Take what was saved."""
        self._saved = saved

    def resources(self, situation: Situation, node: Node) -> tuple[Resource, ...]:
        """Return the former store."""
        return (FormerStore(self._saved),)


class Together(Docker):
    """All dockerds restart at once: one that runs on tells the others of containers that have other addresses now."""

    def waves(self, situation: Situation, changes: Mapping[str, Sequence[Change]]) -> tuple[Wave, ...]:
        """Return all nodes, together."""
        return Phase.waves(self, situation, changes)


class Keys(Phase):
    """The saved keys are in the store, before any dockerd joins."""

    name = "keys"

    def __init__(self, saved: Saved) -> None:
        """Take what was saved."""
        self._saved = saved

    def cluster_changes(self, situation: Situation) -> tuple[Change, ...]:
        """Return the keys, unless every node says that this restore has put them there.

        A host that joins the restore later begins without that word. What is in the store then is not written over.
        """
        if all(_mark(facts) == [self._saved.restore, DONE] for facts in situation.facts.values()):
            return ()
        return (Change(CLUSTER, self.name, "keys of the backup", "create", note=tree.told(self._keys)),)

    @property
    def _keys(self) -> tree.Keys:
        return tree.of(self._saved.files)

    def change_cluster(self, situation: Situation, coordinator: Coordinator, change: Change) -> None:
        """Write them, and then on every node that they are there."""
        door = opened(coordinator)
        wait_for_members(door, situation.cluster.members)
        store = door.store()
        again = any(_mark(facts) == [self._saved.restore, DONE] for facts in situation.facts.values())
        for key, value in tree.to_write(self._keys):
            (store.put_new if again or tree.changes_with_use(key) else store.put)(key, value)
        for name, content in () if again else self._keys.v3.items():
            door.v3(store.node, partial(_put, name, content))
        mark = f"{self._saved.restore} {DONE}\n".encode()
        door.remotes.each(lambda remote: remote.push(mark, MARK))


def _put(name: bytes, content: bytes, client: Any) -> None:
    client.put(name, content)
