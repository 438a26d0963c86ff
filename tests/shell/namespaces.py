"""Hosts that are network namespaces on one bridge: enough to try the port matrix with its real scripts.

They share this machine's processes and files, so that a folder of a run has to be told apart by its host.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from provision.inventory.model import Cluster, Node
from provision.remote import Result, in_parallel

T = TypeVar("T")

#: An address range for documentation: nothing of it leaves the bridge.
SWITCH = Path(__file__).with_name("delaying_switch.py")
ADDRESS = "198.51.100.{}"


@dataclass(frozen=True)
class Host:
    """One host. Its scripts see its own network, and a /run of their own."""

    node: Node
    namespace: str
    folder: Path
    before: tuple[str, ...] = ()

    def command(self, script: str) -> list[str]:
        """Return the command that runs a script on the host, in a process group of its own."""
        inside = f'mount --bind {self.folder} /run && exec sh -c "$0"'
        return [*self.before, "ip", "netns", "exec", self.namespace, "sh", "-c", inside, script]

    def run(self, script: str, *, timeout: float = 120, **_: Any) -> Result:
        """Run a script, as a Remote does."""
        command = self.command(script)
        done = subprocess.run(
            command, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=timeout, check=False
        )
        return Result(done.returncode, done.stdout, done.stderr)

    @contextmanager
    def running(self, script: str, **_: Any) -> Iterator[None]:
        """Run a script beside the block, as a Remote does."""
        command = self.command(script)
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, start_new_session=True) as process:
            assert process.stdout is not None
            try:
                assert process.stdout.readline(), "the script ended without a line"
                yield
            finally:
                with suppress(ProcessLookupError):
                    os.killpg(process.pid, signal.SIGTERM)


class Hosts:
    """All hosts, as Remotes gives them."""

    def __init__(self, hosts: Sequence[Host]) -> None:
        """Take the hosts in the order of the cluster's nodes."""
        self.hosts = {host.node.name: host for host in hosts}

    def must(self, name: str, script: str) -> str:
        """Run a script on a host; it must succeed."""
        done = self.hosts[name].run(script)
        assert done.code == 0, done.stderr
        return done.stdout

    def each(self, function: Callable[[Any], T], nodes: Sequence[Node] | None = None) -> dict[str, T]:
        """Call the function with every host, or those of the nodes, in parallel."""
        chosen = [self.hosts[node.name] for node in nodes] if nodes is not None else list(self.hosts.values())
        answers = in_parallel(function, chosen)
        return {host.node.name: answer for host, answer in zip(chosen, answers, strict=True)}


@contextmanager
def slow(there: Hosts, milliseconds: int) -> Iterator[None]:
    """Let every frame between the hosts arrive later by so many milliseconds."""
    if not milliseconds:
        yield
        return
    names = [host.namespace for host in there.hosts.values()]
    switch = f"{names[0].rpartition('n')[0]}n0"
    for name in names:
        ip("-n", switch, "link", "set", name, "nomaster")
    command = ["ip", "netns", "exec", switch, sys.executable, str(SWITCH), str(milliseconds), *names]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "carrying\n"
        try:
            yield
        finally:
            process.kill()


def ip(*words: str) -> None:
    subprocess.run(["ip", *words], check=True)


@contextmanager
def hosts(cluster: Cluster, folder: Path, before: Sequence[str] = ()) -> Iterator[Hosts]:
    """Make a namespace for each node, and one for the bridge. `before`: words before each command on a host."""
    names = [f"pm{folder.stat().st_ino % 100000}n{number}" for number in range(len(cluster.nodes) + 1)]
    switch, *others = names
    for name in names:
        ip("netns", "add", name)
    try:
        ip("-n", switch, "link", "add", "bridge", "type", "bridge")
        ip("-n", switch, "link", "set", "bridge", "up")
        made = []
        for name, node in zip(others, cluster.nodes, strict=True):
            ip("-n", switch, "link", "add", name, "type", "veth", "peer", "name", "eth0", "netns", name)
            ip("-n", switch, "link", "set", name, "master", "bridge", "up")
            ip("-n", name, "address", "add", f"{node.address}/24", "dev", "eth0")
            ip("-n", name, "link", "set", "eth0", "up")
            ip("-n", name, "link", "set", "lo", "up")
            (folder / name).mkdir()
            made.append(Host(node, name, folder / name, tuple(before)))
        yield Hosts(made)
    finally:
        for name in names:
            subprocess.run(["ip", "netns", "del", name], check=False)
