"""Docker on each node: a container's isolation, its networks, and its data."""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from functools import cached_property
from ipaddress import ip_address, ip_network
from typing import cast

from provision.checks.proof import Proof
from provision.checks.scratch import Inside, Scratch, on_each_node
from provision.core.check import check
from provision.core.outcome import Outcome, failed, passed

#: Ports that a container serves: one is published, the other is not.
PORT, PRIVATE_PORT = 8080, 8081
#: The label of the volumes that a check prunes.
PRUNE_LABEL = "overlay-provision.prune"
#: The check without which no probe starts.
PROBE_IMAGE = "docker/probe-image"
#: The check without which a bridge may drop packets. Whether it does depends on which rules Docker has made since then.
PACKET_RULES = "docker/packet-rules"

_JOURNAL = "on the node: journalctl -u docker.service -u containerd.service"
_NAMESPACES = 'for kind in mnt uts ipc pid net; do echo "$kind $(readlink "/proc/$1/ns/$kind")"; done'
_NETWORK = "readlink /proc/self/ns/net"
_ADDRESSES = "ip -o address; tail -n +2 /proc/net/route"
_READ = 'cat "$1"'
_WRITE = 'printf %s "$2" >"$1"'


class Subject:
    """A container on the bridge that several checks use."""

    def __init__(self, made: Scratch) -> None:
        """Prepare the container; it is not started yet."""
        self._made = made
        self.text = secrets.token_hex(8)

    @cached_property
    def folder(self) -> str:
        """The node's folder that is mounted in the container as /shared."""
        return self._made.folder()

    @cached_property
    def container(self) -> Inside:
        """The container itself. It serves its text by HTTP, and has the text in its environment."""
        container = self._made.container(
            environment={"PROBE": self.text},
            ports=[PORT],
            binds=[f"{self.folder}:/shared:z"],  # z: readable under SELinux
        )
        container.serve(self.text, PORT, PRIVATE_PORT)
        return container

    def close(self) -> None:
        """Remove the container and the folder."""
        self._made.close()


def _subject(made: Scratch) -> Subject:
    """Return the node's container, which the checks of the suite share."""
    name = f"subject on {made.node.name}"
    return cast(Subject, made.proof.shared.setdefault(name, Subject(Scratch(made.proof, made.node))))


@check("docker", quick=True)
@on_each_node
def probe_image(made: Scratch) -> Outcome:
    """Docker has the image of the probes on every node: without the image, nothing else can be tried there."""
    image = made.proof.cluster.probe.image
    found = made.api.inspect_image(image)  # an error says that there is none, and what to do: client_errors.py
    return passed(made.node.name, f"has the image {image}, {found['Id'][7:19]}")


@check("docker")
def packet_rules(proof: Proof) -> Iterator[Outcome]:
    """Docker's rules for packets are in the kernel: without them, containers reach nothing outside their networks."""
    for node in proof.cluster.nodes:
        if gone := proof.gone.get(node.name):
            advice = "fab provision restarts Docker there, which makes them anew. What has flushed them?"
            yield failed(node.name, f"gone: {'; '.join(gone)}", advice)
        else:
            yield passed(node.name, "no rule that Docker made at its start is missing")


@check("docker", needs=[PROBE_IMAGE])
@on_each_node
def namespaces_of_its_own(made: Scratch) -> Outcome:
    """A container is isolated from its host: it has its own mount, UTS, IPC, PID and network namespaces."""
    outside = _namespaces(made.remote().run(f"set -- 1\n{_NAMESPACES}", what="reading namespaces").stdout)
    inside = _namespaces(_subject(made).container.run(_NAMESPACES, "self"))
    shared = [kind for kind, its_own in inside.items() if its_own == outside[kind]]
    if shared or inside.keys() != outside.keys():
        return failed(made.node.name, f"a container shares with the node: {', '.join(shared) or inside}", _JOURNAL)
    return passed(made.node.name, f"a container has its own {', '.join(inside)}")


def _namespaces(text: str) -> dict[str, str]:
    return {words[0]: words[1] for line in text.splitlines() if len(words := line.split()) == 2}


@check("docker", needs=[PROBE_IMAGE, PACKET_RULES])
@on_each_node
def bridge_network(made: Scratch) -> Outcome:
    """The bridge network works: a container has an address of its subnet, and the node reaches the container there."""
    subject = _subject(made)
    subnet = made.api.inspect_network("bridge")["IPAM"]["Config"][0]["Subnet"]
    address = subject.container.address
    if not address or ip_address(address) not in ip_network(subnet):
        return failed(made.node.name, f"the address is {address or 'missing'}, the bridge's subnet {subnet}", _JOURNAL)
    seen = made.fetch(address, PORT)
    told = f"{address} of {subnet} answers the node"
    return _same(made, told, subject.text, seen, "does a firewall on the node drop the packets?")


@check("docker", needs=[PROBE_IMAGE])
@on_each_node
def host_network(made: Scratch) -> Outcome:
    """The host network works: a container on it is in the node's own network namespace.

    Docker refuses it to a container whose users are remapped (userns-remap), so this one's are not.
    """
    outside = made.remote().run("readlink /proc/1/ns/net", what="reading namespaces").stdout.strip()
    inside = made.container(network="host", userns_mode="host").run(_NETWORK)
    return _same(made, "the container is in the node's own network namespace", outside, inside, _JOURNAL)


@check("docker", needs=[PROBE_IMAGE])
@on_each_node
def no_network(made: Scratch) -> Outcome:
    """A container with `--network none` is cut off: it has no address but loopback's, and no route."""
    lines = made.container(network="none").run(_ADDRESSES).splitlines()
    more = [line for line in lines if line.split()[1:2] != ["lo"]]
    if more or not lines:
        return failed(made.node.name, f"the container has more than loopback: {more or 'unknown'}", _JOURNAL)
    return passed(made.node.name, "the container has loopback and nothing else")


@check("docker", needs=[PROBE_IMAGE])
@on_each_node
def network_of_another_container(made: Scratch) -> Outcome:
    """Containers can share one network: a container in another's network reaches the other's server at 127.0.0.1."""
    server = _subject(made)
    seen = made.container(network=f"container:{server.container.name}").fetch("127.0.0.1", PORT)
    return _same(made, "two containers share 127.0.0.1", server.text, seen, _JOURNAL)


@check("docker", needs=[PROBE_IMAGE, PACKET_RULES])
@on_each_node
def link_by_name(made: Scratch) -> Outcome:
    """Links work: a container that is linked to another reaches the other by the link's name."""
    server = _subject(made)
    seen = made.container(links={server.container.name: "server"}).fetch("server", PORT)
    return _same(made, "a linked container answers by the link's name", server.text, seen, _JOURNAL)


@check("docker", needs=[PROBE_IMAGE, PACKET_RULES])
@on_each_node
def port_published(made: Scratch) -> Outcome:
    """Another node reaches a container's published port, and no port that is not published."""
    subject = _subject(made)
    port = subject.container.published(PORT)
    if made.fetch(made.node.address, PRIVATE_PORT, source=made.peer) == subject.text:
        return failed(made.node.name, f"{made.peer.name} reaches port {PRIVATE_PORT}, which is not published", _JOURNAL)
    seen = made.fetch(made.node.address, port, source=made.peer)
    told = f"{made.peer.name} reaches {made.node.address}:{port}, and no port that is not published"
    return _same(made, told, subject.text, seen, "does a firewall between the nodes drop the packets?")


@check("docker", needs=[PROBE_IMAGE])
@on_each_node
def volume_outlives_its_container(made: Scratch) -> Outcome:
    """A named volume keeps its data: a second container reads what a first one wrote before it was removed."""
    binds = [f"{made.volume()}:/kept"]
    first = made.container(binds=binds)
    first.run(_WRITE, "/kept/text", text := secrets.token_hex(8))
    made.remove(first)
    seen = made.container(binds=binds).run(_READ, "/kept/text")
    return _same(made, "a second container read what the first had written to a volume", text, seen, _JOURNAL)


@check("docker", needs=[PROBE_IMAGE])
@on_each_node
def prune_leaves_volumes_in_use(made: Scratch) -> Outcome:
    """Pruning volumes loses no data in use: it removes an unused volume, and leaves one that a container uses."""
    label = {PRUNE_LABEL: secrets.token_hex(8)}
    used, unused = made.volume(label), made.volume(label)
    made.container(binds=[f"{used}:/kept"])
    made.prune_volumes(label)
    left = {volume["Name"] for volume in made.api.volumes()["Volumes"]} & {used, unused}
    if left != {used}:
        wrong = "removed the volume in use" if used not in left else "left the unused volume"
        return failed(made.node.name, f"the prune {wrong}", _JOURNAL)
    return passed(made.node.name, "the prune left the volume in use and removed the unused one")


@check("docker", needs=[PROBE_IMAGE])
@on_each_node
def environment_given_at_run(made: Scratch) -> Outcome:
    """Settings reach a program: a variable given to `docker run` is in the environment of its first process."""
    subject = _subject(made)
    seen = subject.container.run("tr '\\0' '\\n' </proc/1/environ | sed -n s/^PROBE=//p")
    return _same(made, "the container has the variable given at its start", subject.text, seen, _JOURNAL)


@check("docker", needs=[PROBE_IMAGE])
@on_each_node
def bind_mount_changed_from_both_sides(made: Scratch) -> Outcome:
    """Bind mounts work: node and container each read what the other wrote to a shared folder."""
    subject = _subject(made)
    text, answer = secrets.token_hex(8), secrets.token_hex(8)
    made.remote().run(f"echo {text} >{subject.folder}/outside", what="writing a file")
    subject.container.run(_WRITE, "/shared/inside", answer)
    inside = subject.container.run(_READ, "/shared/outside")
    outside = made.remote().run(f"cat {subject.folder}/inside", what="reading a file").stdout
    told = "node and container each read what the other wrote"
    return _same(made, told, f"{text} {answer}", f"{inside} {outside}", _JOURNAL)


@check("docker", needs=[PROBE_IMAGE])
@on_each_node
def image_tagged_anew(made: Scratch) -> Outcome:
    """Tags work: an image with a second tag is the same image, and stays when that tag is removed."""
    image = made.proof.cluster.probe.image
    tag = made.tag()
    first, second = (made.api.inspect_image(name) for name in (image, tag))
    made.untag(tag)
    kept = made.api.inspect_image(image)
    if second["Id"] == first["Id"] == kept["Id"] and tag not in kept["RepoTags"]:
        return passed(made.node.name, f"{image} had the tag {tag} as well, {first['Id'][7:19]}")
    found = f"{image} is {first['Id']}; under its second tag {second['Id']}; tags afterwards {kept['RepoTags']}"
    return failed(made.node.name, found, _JOURNAL)


def _same(made: Scratch, told: str, expected: str, seen: str, advice: str) -> Outcome:
    if seen == expected:
        return passed(made.node.name, told)
    return failed(made.node.name, f"not observed: {told}. Expected {expected!r}, found {seen[:200]!r}", advice)
