"""The archives of images on the controller, for nodes that do not have the images."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from provision.checks.node_view import NodeView
from provision.core import outcome
from provision.core.check import PREFLIGHT, check
from provision.core.outcome import Outcome
from provision.docker.archive import complaint
from provision.inventory.model import Node


@check(PREFLIGHT)
def image_archives(view: NodeView) -> Iterator[Outcome]:
    """The archives of images that a node lacks hold these images, for its CPU: Docker would refuse any other file."""
    for image, archive, nodes in _wanted(view):
        lacking = [node for node in nodes if _lacks(view, node, image)]
        if view.node not in lacking:
            continue
        problem = complaint(archive, image)
        # What is wrong with the file itself is told once.
        if problem and view.node == lacking[0]:
            yield outcome.failed(problem.where, problem.what, problem.advice)
        if not problem and (problem := complaint(archive, image, view.value("machine"))):
            yield view.failed(problem.what, problem.advice)


def _wanted(view: NodeView) -> Iterator[tuple[str, Path, tuple[Node, ...]]]:
    """Yield each image that has an archive, with the nodes that need it."""
    cluster = view.situation.cluster
    if cluster.probe.archive:
        yield cluster.probe.image, cluster.probe.archive, cluster.nodes
    if cluster.app:
        # The suite `app` starts Redis on the first node, and the page on the second.
        for one, node in zip((cluster.app.redis, cluster.app.web), cluster.nodes, strict=False):
            if one.archive:
                yield one.image, one.archive, (node,)


def _lacks(view: NodeView, node: Node, image: str) -> bool:
    facts = view.situation.facts.get(node.name)
    return facts is not None and not facts.has_image(image)
