"""What a port answered to the right client and to wrong ones, and the outcome."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

from provision.checks.tls_probe import Answer, Client
from provision.core.outcome import Outcome, failed, not_tried, passed
from provision.inventory.model import Node


@dataclass(frozen=True)
class Tried:
    """The answers of one port to all clients. The right client connects before the wrong ones and after them."""

    port: int
    right: tuple[Answer, Answer]
    wrong: Mapping[str, Answer]

    def named(self, *kinds: str) -> list[str]:
        """Return the names of the wrong clients that got one of these kinds of answer."""
        return [name for name, answer in self.wrong.items() if answer.kind in kinds]


def tried(port: int, ask: Callable[[Client], Answer], right: Client, wrong: Iterable[Client]) -> Tried:
    """Let all clients connect to a port, one after another."""
    before = ask(right)
    answers = {client.name: ask(client) for client in wrong}
    return Tried(port, (before, ask(right)), answers)


def judged(node: Node, tried: Sequence[Tried], advice: str, whom: str = "") -> Outcome:
    """Return an outcome: the ports that admitted a wrong client, or how many tries each port refused.

    `whom` describes the wrong clients; by default they are named.
    """
    unproven = [
        f"{one.port}: nothing is proven, because the right client is refused: "
        f"{answer.words or 'the daemon closed the connection'}"
        for one in tried
        for answer in one.right
        if answer.kind != "admitted"
    ]
    let_in = [f"{one.port} admits: {', '.join(names)}" for one in tried if (names := one.named("admitted", "silent"))]
    if let_in or unproven:
        return failed(node.name, "; ".join(let_in + unproven), advice)
    counts = {one.port: len(one.named("refused")) for one in tried}
    ports = ", ".join(f"{port}: {count}" for port, count in counts.items())
    told = f"{sum(counts.values())} tries refused ({ports}): {whom or ', '.join(tried[0].named('refused'))}"
    unable = {name: one.wrong[name].words for one in tried for name in one.named("unable")}
    if unable:
        why = "; ".join(f"{name}: {words}" for name, words in unable.items())
        return not_tried(node.name, f"{why}; {told}", "run verify on a machine whose OpenSSL supports this")
    return passed(node.name, told)
