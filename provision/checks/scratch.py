"""What one check creates on one node: labelled with the run's ID, and removed when the check ends."""

from __future__ import annotations

import functools
import secrets
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from docker.errors import APIError
from docker.utils import version_lt

from provision.checks import probes
from provision.checks.attached_shell import executed
from provision.checks.proof import Proof
from provision.client_errors import explained
from provision.core.check import Observe
from provision.core.outcome import Outcome, failed
from provision.errors import Problem, StepFailed
from provision.facts import RUN_FOLDER, RUN_IMAGE, RUN_LABEL, RUN_VOLUME
from provision.inventory.model import Cluster, Node
from provision.remote import Remote
from provision.remote.remotes import in_parallel

if TYPE_CHECKING:
    from docker import APIClient

#: The command of a container: it ends by itself, so that a killed run leaves none running.
SLEEP = ("sleep", str(probes.PROBE_SECONDS))

_SERVE = """
mkdir -p /tmp/served && cd /tmp/served && printf %s "$1" >index.html && shift
for port; do httpd -p "$port" -h /tmp/served; done
"""
#: With nc: the wget of a statically linked busybox may crash in an image without the libraries that resolve names.
_FETCH_INSIDE = r'''printf 'GET / HTTP/1.0\r\n\r\n' | nc -w 5 "$1" "$2"'''
#: With bash, because a node may have neither nc nor wget. `timeout` ends a connection that nobody answers.
_FETCH = """
timeout 3 bash -c 'exec 3<>"/dev/tcp/$0/$1" && printf "GET / HTTP/1.0\\r\\n\\r\\n" >&3 && cat <&3' {address} {port}
"""


@dataclass(frozen=True)
class Inside:
    """A container of a check, in which scripts are run."""

    api: APIClient
    identity: str
    name: str

    @property
    def facts(self) -> dict[str, Any]:
        """Docker's current answer to `inspect`."""
        return dict(self.api.inspect_container(self.identity))

    @property
    def address(self) -> str:
        """The container's address on the default bridge; empty if it has none."""
        return str(self.facts["NetworkSettings"]["IPAddress"])

    def published(self, port: int) -> int:
        """Return the node's port, chosen by Docker, at which a port of the container is published."""
        return int(self.facts["NetworkSettings"]["Ports"][f"{port}/tcp"][0]["HostPort"])

    def run(self, script: str, *arguments: str) -> str:
        """Run a script in the container; return its stdout and stderr."""
        return executed(self.api, self.identity, script, *arguments).strip()

    def serve(self, text: str, *ports: int) -> None:
        """Serve a text by HTTP on these ports, from now on."""
        self.run(_SERVE, text, *map(str, ports))

    def fetch(self, host: str, port: int) -> str:
        """Return the text that a web server answers to the container; an error message if nobody answers."""
        return _content(self.run(_FETCH_INSIDE, host, str(port)))


def _content(answer: str) -> str:
    """Return the body of an HTTP answer."""
    return answer.rpartition("\r\n\r\n")[2].strip()


class Scratch:
    """A context manager that creates things on a node and removes them at the end, the last one first."""

    def __init__(self, proof: Proof, node: Node) -> None:
        """Prepare to create things on `node`; nothing is created yet."""
        self.proof, self.node = proof, node
        self.api: APIClient = proof.coordinator.docker(node).api
        self._removals = ExitStack()

    @property
    def label(self) -> dict[str, str]:
        """The label of everything that is created."""
        return {RUN_LABEL: self.proof.run}

    @property
    def peer(self) -> Node:
        """The next node of the inventory."""
        nodes = self.proof.cluster.nodes
        return nodes[(nodes.index(self.node) + 1) % len(nodes)]

    def remote(self, node: Node | None = None) -> Remote:
        """Return the connection to this node, or to another one."""
        return self.proof.coordinator.remotes[(node or self.node).name]

    def fetch(self, address: str, port: int, *, source: Node | None = None) -> str:
        """Return the text that a web server answers to this node, or to `source`; empty if nobody answers."""
        script = _FETCH.format(address=address, port=port)
        return _content(self.remote(source).run(script, what="fetching a page").stdout)

    def name(self) -> str:
        """Return a new name, unique in the cluster."""
        return probes.new_name(self.proof, self.node)

    def container(
        self,
        *,
        image: str = "",
        command: Sequence[str] | None = SLEEP,
        environment: Mapping[str, str] | None = None,
        ports: Sequence[int] = (),
        network: str = "bridge",
        address: str | None = None,
        **options: Any,
    ) -> Inside:
        """Start a container, by default from the probe's image, on the bridge, running `sleep`.

        Docker chooses the node's ports at which `ports` are published. A command of None is the image's own.
        `options` are options of Docker's host configuration.
        """
        published = dict.fromkeys(ports)
        endpoint = {network: self.api.create_endpoint_config(ipv4_address=address)} if address else {}
        wanted = {
            "image": image or self.proof.cluster.probe.image,
            "command": command,
            "labels": self.label,
            "environment": dict(environment or {}),
            "ports": list(published),
            "use_config_proxy": False,
            "host_config": self.api.create_host_config(
                auto_remove=True, network_mode=network, port_bindings=published, **options
            ),
            "networking_config": self.api.create_networking_config(endpoint) if endpoint else None,
        }
        try:
            return self._begun(wanted)
        except APIError as error:
            if not probes.is_forestalled(error):
                raise
            return self._begun(wanted)

    def _begun(self, wanted: Mapping[str, Any]) -> Inside:
        name = self.name()
        made = self.api.create_container(name=name, **wanted)
        self._removals.callback(probes.remove, self.proof, self.node, made["Id"])
        self.api.start(made["Id"])
        return Inside(self.api, made["Id"], name)

    def remove(self, container: Inside) -> None:
        """Remove a container before the end."""
        probes.remove(self.proof, self.node, container.identity)

    def volume(self, labels: Mapping[str, str] | None = None) -> str:
        """Create a named volume with the run's label and `labels`; return its name."""
        new = f"{RUN_VOLUME}{self.proof.run}-{secrets.token_hex(3)}"
        name = str(self.api.create_volume(new, labels={**self.label, **(labels or {})})["Name"])
        self._removals.callback(probes.gone, lambda: self.api.remove_volume(name), f"volume {name}", self.node.name)
        return name

    def prune_volumes(self, labels: Mapping[str, str]) -> None:
        """Prune the volumes with these labels. Docker 23 and later prune those with a name only where that is said."""
        chosen: dict[str, Any] = {"label": [f"{name}={value}" for name, value in labels.items()]}
        self.api.prune_volumes(filters=chosen | ({} if version_lt(self.api.api_version, "1.42") else {"all": True}))

    def tag(self) -> str:
        """Tag the probe's image with the run's ID; return the new tag."""
        name = f"{RUN_IMAGE}:{self.proof.run}"
        self._removals.callback(self.untag, name)
        self.api.tag(self.proof.cluster.probe.image, RUN_IMAGE, self.proof.run)
        return name

    def image(self, name: str, archive: Path | None) -> str:
        """Return a name for an image that the node has: its own, or a tag of this run if it is loaded from its archive.

        StepFailed if the node does not have the image and there is no archive of it.
        """
        if any(name in (tag, tag.removesuffix(":latest")) for tag in self._tags()):
            return name
        if archive is None:
            advice = "pull or build it there, or name its archive in the inventory"
            raise StepFailed(Problem(f"there is no image {name} on the node", self.node.name, advice))
        tag = f"{self.proof.run}-{secrets.token_hex(3)}"
        self._removals.callback(self.untag, f"{RUN_IMAGE}:{tag}")
        with archive.open("rb") as content:
            list(self.api.load_image(content))
        self.api.tag(name, RUN_IMAGE, tag)
        self.untag(name)
        return f"{RUN_IMAGE}:{tag}"

    def _tags(self) -> list[str]:
        return [tag for image in self.api.images() for tag in image["RepoTags"] or ()]

    def untag(self, name: str) -> None:
        """Remove a tag of an image. An image without a tag is gone."""
        probes.gone(lambda: self.api.remove_image(name, noprune=True), f"image {name}", self.node.name)

    def folder(self) -> str:
        """Create a folder on the node; return its path."""
        path = f"{RUN_FOLDER}{self.proof.run}"
        self._removals.callback(self.remote().run, f"rm -rf {path}", what="removing a folder")
        self.remote().run(f"mkdir -m 700 {path} && chown {self._root} {path}", what="making a folder")
        return path

    @property
    def _root(self) -> str:
        """The user and group, as numbers, that a container's root is on the node: others where dockerd remaps users."""
        info = self.api.info()
        remapped = any(option.startswith("name=userns") for option in info.get("SecurityOptions") or ())
        return Path(info["DockerRootDir"]).name.replace(".", ":") if remapped else "0:0"

    def __enter__(self) -> Self:
        """Return the object itself."""
        return self

    def __exit__(self, *error: object) -> None:
        """Remove everything that was created."""
        self.close()

    def close(self) -> None:
        """Remove everything that was created. StepFailed or Docker's APIError if something cannot be removed."""
        self._removals.close()


def on_each_node(observe: Callable[[Scratch], Outcome]) -> Observe:
    """Turn a function that observes one node into a check of all nodes at once, with an outcome for each node."""
    return _on_each(observe, lambda cluster: cluster.nodes)


def on_each_member(observe: Callable[[Scratch], Outcome]) -> Observe:
    """Turn a function that observes one member into a check of all members at once."""
    return _on_each(observe, lambda cluster: cluster.members)


def _on_each(observe: Callable[[Scratch], Outcome], nodes: Callable[[Cluster], Sequence[Node]]) -> Observe:
    def on(proof: Proof, node: Node) -> Outcome:
        try:
            with Scratch(proof, node) as made:
                return observe(made)
        except Exception as error:  # whatever Docker or its client raises, only this check fails
            problem = explained(error, node.name, "on the node: journalctl -u docker.service")
            return failed(node.name, problem.what, problem.advice)

    @functools.wraps(observe)
    def on_all(proof: Proof) -> Iterator[Outcome]:
        yield from in_parallel(lambda node: on(proof, node), nodes(proof.cluster))

    return on_all
