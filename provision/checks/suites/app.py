"""The counter of examples/flask-redis: a web page on one node that counts its visits in Redis on another node."""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import cached_property
from ipaddress import IPv4Network
from typing import Any, cast

from docker.errors import APIError

from provision.checks.probe_pool import own_addresses
from provision.checks.proof import Proof
from provision.checks.scratch import Inside, Scratch
from provision.checks.suites.docker import PACKET_RULES
from provision.checks.suites.overlay import REACH
from provision.core.check import check
from provision.core.outcome import Outcome, failed, not_tried, passed
from provision.core.reach import Flow
from provision.inventory.model import App
from provision.remote.remotes import in_parallel
from provision.waiting import wait_for

#: The page's port in its container.
PORT = 5000
#: Seconds to wait for the page: Python and Redis start, and the other node learns a new name. On a machine with twenty
#: processes for each core, 30 s were once too few.
PATIENCE = 90

_COUNT = re.compile(r"seen (\d+) times")
_ADVICE = "fab verify --only overlay: do containers reach each other? On the nodes: journalctl -u docker.service"


class Counter:
    """Redis on the first node and the page on the second, on the first network."""

    def __init__(self, proof: Proof, app: App) -> None:
        """Prepare the counter; nothing is started yet."""
        back, front = proof.cluster.nodes[:2]
        self._network = proof.cluster.networks[0].name
        self._app = app
        self._back, self._front = Scratch(proof, back), Scratch(proof, front)
        self._seen = ""
        self.where = Flow(front.name, back.name, "the counter")

    @cached_property
    def _images(self) -> tuple[str, str]:
        wanted = ((self._back, self._app.redis), (self._front, self._app.web))
        redis, web = in_parallel(lambda one: one[0].image(one[1].image, one[1].archive), wanted)
        return redis, web

    @cached_property
    def _redis(self) -> Inside:
        return self._start(self._back, self._images[0])

    @cached_property
    def _page(self) -> Inside:
        return self._start(self._front, self._images[1], environment={"REDIS_HOST": self._redis.name}, ports=[PORT])

    @property
    def address(self) -> str:
        """The page's published address and port."""
        return f"{self._front.node.address}:{self._page.published(PORT)}"

    def visit(self) -> int | None:
        """Fetch the page from the other node and return its count; None if it shows none in time."""
        host, port = self._front.node.address, self._page.published(PORT)

        def seen() -> bool:
            self._seen = self._front.fetch(host, port, source=self._back.node)
            return bool(_COUNT.search(self._seen))

        wait_for(seen, PATIENCE)
        found = _COUNT.search(self._seen)
        return int(found[1]) if found else None

    def renew_page(self) -> None:
        """Replace the page's container with a new one."""
        self._front.remove(self._page)
        del self._page

    def counted(self, first: int | None, second: int | None, told: str) -> Outcome:
        """Return whether the second visit's count is one more than the first's. `told`: what that shows."""
        if first and second == first + 1:
            return passed(self.where, f"{told}: {first}, then {second}")
        evidence = f"not observed: {told}: {first}, then {second}. Last answer: {self._seen[-200:]!r}"
        return failed(self.where, evidence, _ADVICE)

    def close(self) -> None:
        """Remove both containers and everything else that was created."""
        try:
            self._front.close()
        finally:
            self._back.close()

    def _start(self, made: Scratch, image: str, **options: Any) -> Inside:
        """Start the image's own command, at an address that never moves to another host: see `own_addresses`."""
        subnet = IPv4Network(made.api.inspect_network(self._network)["IPAM"]["Config"][0]["Subnet"])
        # In reverse order, because the probes of the suite overlay take the first ones.
        for address in (*reversed(own_addresses(made.proof.cluster, subnet, made.node)), None):
            try:
                return made.container(image=image, command=None, network=self._network, address=address, **options)
            except APIError as error:
                if address is None or "already in use" not in str(error.explanation).lower():
                    raise
        raise AssertionError("the last address is none")


def _counter(proof: Proof) -> Counter | None:
    """Return the counter, which the checks share; None if the inventory names no images for it."""
    if proof.cluster.app is None:
        return None
    return cast(Counter, proof.shared.setdefault("counter", Counter(proof, proof.cluster.app)))


def _no_images() -> Outcome:
    return not_tried("cluster", "the inventory names no images of the counter", "app: in the inventory")


@check("app", needs=[REACH, PACKET_RULES])
def page_counts_up(proof: Proof) -> Iterator[Outcome]:
    """An application works across nodes: a page that finds Redis on another node by name counts each visit."""
    if counter := _counter(proof):
        first = counter.visit()
        second = counter.visit() if first else None
        yield counter.counted(first, second, f"{counter.address} counts, in a Redis found by name")
    else:
        yield _no_images()


@check("app", needs=[REACH, PACKET_RULES])
def count_outlives_the_page(proof: Proof) -> Iterator[Outcome]:
    """An application's data outlives its containers: a new container of the page continues the count."""
    if counter := _counter(proof):
        first = counter.visit()
        counter.renew_page()
        yield counter.counted(first, counter.visit(), "a new container of the page goes on counting")
    else:
        yield _no_images()
