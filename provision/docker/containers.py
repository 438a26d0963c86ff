"""What containers should have: networks, aliases, addresses; as a node tells it, or as it recorded it. Pure."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass, replace

from provision.node import library

#: The line between what Docker's files say and what was recorded.
RECORDED = "recorded"

#: Ask a node for its containers; `read` reads the answer. It does not need dockerd, and prints no secret.
SCRIPT = f"{library('containers')}\nprint_containers && print_temporary && echo {RECORDED} && print_recorded\n"


@dataclass(frozen=True)
class Attachment:
    """A container's place on a network."""

    network: str
    """The network's name."""
    address: str = ""
    """The IPv4 address that it has, or had last."""
    fixed: bool = False
    """Whether its user chose the address (`--ip`)."""
    aliases: tuple[str, ...] = ()
    """Those that its user chose; not the container's own short ID."""


@dataclass(frozen=True)
class Container:
    """A container of a node, and what it should have."""

    node: str
    identity: str
    """The full ID."""
    name: str
    image: str
    runs: bool
    """Whether it runs, or should: Docker could not start it, and its user has not stopped it."""
    restart: str
    """The restart policy: `no`, `always`, `unless-stopped` or `on-failure`."""
    attachments: tuple[Attachment, ...]
    temporary: bool = False
    """Whether Docker removes it when it ends (`--rm`), as when dockerd stops."""


def parse(node: str, text: str) -> tuple[Container, ...]:
    """Read the lines of `containers.sh`, which says what they are. Other lines are ignored."""
    containers: dict[str, Container] = {}
    for line in text.splitlines():
        match line.split("\t"):
            case ["container", identity, name, image, runs, restart]:
                containers[identity] = Container(
                    node, identity, _text(name), _text(image), runs == "yes", _text(restart), ()
                )
            case ["attachment", identity, network, _, address, fixed, *aliases] if identity in containers:
                attachment = Attachment(_text(network), address, fixed == "yes", tuple(map(_text, aliases)))
                container = containers[identity]
                containers[identity] = replace(container, attachments=(*container.attachments, attachment))
    return tuple(container for container in containers.values() if container.attachments)


def merge(now: Iterable[Container], recorded: Iterable[Container]) -> tuple[Container, ...]:
    """Return what Docker says now, and of what it does not know any more, what was recorded."""
    before = {container.identity: container for container in recorded}
    merged = tuple(_merged(container, before.pop(container.identity, container)) for container in now)
    return (*merged, *before.values())


def read(node: str, answer: str) -> tuple[Container, ...]:
    """Read a node's answer to `SCRIPT`."""
    now, _, recorded = answer.partition(f"\n{RECORDED}\n")
    ends = temporary(answer)
    there = merge(parse(node, now), parse(node, recorded))
    return tuple(replace(one, temporary=one.runs and one.identity in ends) for one in there)


def temporary(answer: str) -> frozenset[str]:
    """Return the IDs of the containers that Docker removes when they end, from a node's answer to `SCRIPT`."""
    lines = (line.split("\t") for line in answer.splitlines())
    return frozenset(words[1] for words in lines if words[0] == "temporary" and len(words) == 2)


def _merged(now: Container, before: Container) -> Container:
    had = {attachment.network: attachment for attachment in before.attachments}
    attachments = []
    for attachment in now.attachments:
        last = had.pop(attachment.network, attachment)
        attachments.append(replace(attachment, address=attachment.address or last.address))
    return replace(now, attachments=(*attachments, *had.values()))


def _text(escaped: str) -> str:
    text: str = json.loads(f'"{escaped}"')
    return text
