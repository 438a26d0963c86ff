"""Docker on each node: what a container has of its own, what it shares, and what outlives it."""

from __future__ import annotations

import secrets
from functools import cached_property
from ipaddress import ip_address, ip_network
from typing import cast

from provision.checks.scratch import Inside, Scratch, on_each_node
from provision.core.check import check
from provision.core.outcome import Outcome, failed, passed

#: Ports that a container serves: one that is published, and one that is not.
PORT, PRIVATE_PORT = 8080, 8081
#: Marks the volumes of one prune.
PRUNE_LABEL = "overlay-provision.prune"

_JOURNAL = "on the node: journalctl -u docker.service -u containerd.service"
_NAMESPACES = 'for kind in mnt uts ipc pid net; do echo "$kind $(readlink "/proc/$1/ns/$kind")"; done'
_NETWORK = "readlink /proc/self/ns/net"
_ADDRESSES = "ip -o address; tail -n +2 /proc/net/route"
_READ = 'cat "$1"'
_WRITE = 'printf %s "$2" >"$1"'


class Subject:
    """A container on the bridge that several checks look at: it has all that they look for."""

    def __init__(self, made: Scratch) -> None:
        """Start none yet."""
        self._made = made
        self.text = secrets.token_hex(8)

    @cached_property
    def folder(self) -> str:
        """The node's folder that the container has as /shared."""
        return self._made.folder()

    @cached_property
    def container(self) -> Inside:
        """The container itself. It serves its text, which is also in its environment."""
        container = self._made.container(
            environment={"PROBE": self.text},
            ports=[PORT],
            binds=[f"{self.folder}:/shared:z"],  # z: readable where SELinux watches
        )
        container.serve(self.text, PORT, PRIVATE_PORT)
        return container

    def close(self) -> None:
        """Take it away."""
        self._made.close()


def _subject(made: Scratch) -> Subject:
    """Return the node's, which the checks of the suite share."""
    name = f"subject on {made.node.name}"
    return cast(Subject, made.proof.shared.setdefault(name, Subject(Scratch(made.proof, made.node))))


@check("docker")
@on_each_node
def namespaces_of_its_own(made: Scratch) -> Outcome:
    """A container's mount, UTS, IPC, PID and network namespaces are not the node's."""
    outside = _namespaces(made.remote().run(f"set -- 1\n{_NAMESPACES}", what="a look at namespaces").stdout)
    inside = _namespaces(_subject(made).container.run(_NAMESPACES, "self"))
    shared = [kind for kind, its_own in inside.items() if its_own == outside[kind]]
    if shared or inside.keys() != outside.keys():
        return failed(made.node.name, f"a container shares with the node: {', '.join(shared) or inside}", _JOURNAL)
    return passed(made.node.name, f"a container has its own {', '.join(inside)}")


def _namespaces(text: str) -> dict[str, str]:
    return {words[0]: words[1] for line in text.splitlines() if len(words := line.split()) == 2}


@check("docker")
@on_each_node
def bridge_network(made: Scratch) -> Outcome:
    """A container on the bridge has an address of its subnet, at which the node reaches it."""
    subject = _subject(made)
    subnet = made.api.inspect_network("bridge")["IPAM"]["Config"][0]["Subnet"]
    address = subject.container.address
    if not address or ip_address(address) not in ip_network(subnet):
        return failed(made.node.name, f"its address is {address or 'none'}, the bridge has {subnet}", _JOURNAL)
    seen = made.fetch(address, PORT)
    told = f"{address} of {subnet} answers the node"
    return _same(made, told, subject.text, seen, "does a firewall of the node drop it?")


@check("docker")
@on_each_node
def host_network(made: Scratch) -> Outcome:
    """A container on the host's network is in the node's own network namespace."""
    outside = made.remote().run("readlink /proc/1/ns/net", what="a look at namespaces").stdout.strip()
    inside = made.container(network="host").run(_NETWORK)
    return _same(made, "it is in the node's own network namespace", outside, inside, _JOURNAL)


@check("docker")
@on_each_node
def no_network(made: Scratch) -> Outcome:
    """A container without a network has no address but loopback's, and no route."""
    lines = made.container(network="none").run(_ADDRESSES).splitlines()
    more = [line for line in lines if line.split()[1:2] != ["lo"]]
    if more or not lines:
        return failed(made.node.name, f"it has more than loopback: {more or 'unknown'}", _JOURNAL)
    return passed(made.node.name, "it has loopback and nothing else")


@check("docker")
@on_each_node
def network_of_another_container(made: Scratch) -> Outcome:
    """A container on the network of another reaches at 127.0.0.1 what the other serves."""
    server = _subject(made)
    seen = made.container(network=f"container:{server.container.name}").fetch("127.0.0.1", PORT)
    return _same(made, "two share 127.0.0.1", server.text, seen, _JOURNAL)


@check("docker")
@on_each_node
def link_by_name(made: Scratch) -> Outcome:
    """A container that is linked to another reaches it by the name it was given."""
    server = _subject(made)
    seen = made.container(links={server.container.name: "server"}).fetch("server", PORT)
    return _same(made, "a linked container answers by the name that it was given", server.text, seen, _JOURNAL)


@check("docker")
@on_each_node
def port_published(made: Scratch) -> Outcome:
    """Of two ports that a container serves, another node reaches the one that is published, and that alone."""
    subject = _subject(made)
    port = subject.container.published(PORT)
    if made.fetch(made.node.address, PRIVATE_PORT, source=made.peer) == subject.text:
        return failed(made.node.name, f"{made.peer.name} reaches port {PRIVATE_PORT}, which is not published", _JOURNAL)
    seen = made.fetch(made.node.address, port, source=made.peer)
    told = f"{made.peer.name} reaches {made.node.address}:{port}, and no port that is not published"
    return _same(made, told, subject.text, seen, "does a firewall between the nodes drop it?")


@check("docker")
@on_each_node
def volume_outlives_its_container(made: Scratch) -> Outcome:
    """What one container wrote to a named volume is read by another when the first is gone."""
    binds = [f"{made.volume()}:/kept"]
    first = made.container(binds=binds)
    first.run(_WRITE, "/kept/text", text := secrets.token_hex(8))
    made.remove(first)
    seen = made.container(binds=binds).run(_READ, "/kept/text")
    return _same(made, "a second container read from a volume what the first had written", text, seen, _JOURNAL)


@check("docker")
@on_each_node
def prune_leaves_volumes_in_use(made: Scratch) -> Outcome:
    """A prune of volumes with a label of ours takes one that nobody uses, and leaves one that a container uses."""
    label = {PRUNE_LABEL: secrets.token_hex(8)}
    used, unused = made.volume(label), made.volume(label)
    made.container(binds=[f"{used}:/kept"])
    made.api.prune_volumes(filters={"label": [f"{name}={value}" for name, value in label.items()]})
    left = {volume["Name"] for volume in made.api.volumes()["Volumes"]} & {used, unused}
    if left != {used}:
        wrong = "the one in use is gone" if used not in left else "the one that nobody uses is left"
        return failed(made.node.name, f"of two volumes {wrong}", _JOURNAL)
    return passed(made.node.name, "of two volumes the one in use was left")


@check("docker")
@on_each_node
def environment_given_at_run(made: Scratch) -> Outcome:
    """A variable given at run is in the environment of the container's first process."""
    subject = _subject(made)
    seen = subject.container.run("tr '\\0' '\\n' </proc/1/environ | sed -n s/^PROBE=//p")
    return _same(made, "a variable given at run was seen inside", subject.text, seen, _JOURNAL)


@check("docker")
@on_each_node
def bind_mount_changed_from_both_sides(made: Scratch) -> Outcome:
    """In a folder of the node that a container has too, each reads what the other wrote."""
    subject = _subject(made)
    text, answer = secrets.token_hex(8), secrets.token_hex(8)
    made.remote().run(f"echo {text} >{subject.folder}/outside", what="writing a file")
    subject.container.run(_WRITE, "/shared/inside", answer)
    inside = subject.container.run(_READ, "/shared/outside")
    outside = made.remote().run(f"cat {subject.folder}/inside", what="reading a file").stdout
    told = "node and container each read what the other wrote"
    return _same(made, told, f"{text} {answer}", f"{inside} {outside}", _JOURNAL)


@check("docker")
@on_each_node
def image_tagged_anew(made: Scratch) -> Outcome:
    """An image under a second name is the same image; without the name it is still there under its first."""
    image = made.proof.cluster.probe.image
    tag = made.tag()
    first, second = (made.api.inspect_image(name) for name in (image, tag))
    made.untag(tag)
    kept = made.api.inspect_image(image)
    if second["Id"] == first["Id"] == kept["Id"] and tag not in kept["RepoTags"]:
        return passed(made.node.name, f"{image} was {tag} as well, {first['Id'][7:19]}")
    return failed(made.node.name, f"{image} is {first['Id']}, tagged {second['Id']}, then {kept['RepoTags']}", _JOURNAL)


def _same(made: Scratch, told: str, expected: str, seen: str, advice: str) -> Outcome:
    if seen == expected:
        return passed(made.node.name, told)
    return failed(made.node.name, f"not so: {told}. Wanted {expected!r}, seen {seen[:200]!r}", advice)
