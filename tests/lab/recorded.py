"""What containers should have, in any control plane: recorded on their host while they come, change and go."""

from __future__ import annotations

from invariants import BACK
from observe import run

from provision.docker.containers import RECORDED, SCRIPT, Attachment, parse, read
from provision.lab import Lab
from provision.waiting import wait_for

RECORD = "/var/lib/overlay-provision/containers"
START = "docker run -d --stop-signal KILL -e PASSWORD=hunter2"

Shape = tuple[bool, str, tuple[Attachment, ...]]


def recorded(lab: Lab, node: str) -> dict[str, Shape]:
    """Return what a node has recorded of the containers whose names begin with `rec`."""
    answer = run(lab, node, SCRIPT)
    containers = parse(node, answer.partition(f"\n{RECORDED}\n")[2])
    return {one.name: (one.runs, one.restart, on_demo(one.attachments)) for one in containers if one.name[:3] == "rec"}


def on_demo(attachments: tuple[Attachment, ...]) -> tuple[Attachment, ...]:
    return tuple(one for one in attachments if one.network == "demo")


def await_recorded(lab: Lab, node: str, shapes: dict[str, Shape]) -> None:
    """Wait until a node has recorded these containers."""
    if not wait_for(lambda: recorded(lab, node) == shapes, BACK, 0.3):
        assert recorded(lab, node) == shapes


def make_containers(lab: Lab, node: str) -> dict[str, Shape]:
    """Start a container for each way to come onto a network; return what should be recorded of each."""
    run(
        lab,
        node,
        f"""set -e
        {START} --name recdyn --restart unless-stopped --network demo --network-alias www busybox sleep 1000000
        {START} --name recfix --restart unless-stopped --network demo --ip 10.99.0.70 busybox sleep 1000000
        docker stop recfix
        {START} --name recboth busybox sleep 1000000
        docker network connect --alias late --ip 10.99.0.71 demo recboth
        docker create --name recnew --network demo --network-alias new busybox sleep 1000000""",
    )
    address = run(lab, node, "docker inspect -f '{{.NetworkSettings.Networks.demo.IPAddress}}' recdyn").strip()
    return {
        "recdyn": (True, "unless-stopped", (Attachment("demo", address, aliases=("www",)),)),
        "recfix": (False, "unless-stopped", (Attachment("demo", "10.99.0.70", fixed=True),)),
        "recboth": (True, "no", (Attachment("demo", "10.99.0.71", fixed=True, aliases=("late",)),)),
        "recnew": (False, "no", (Attachment("demo", aliases=("new",)),)),
    }


def assert_recorded(lab: Lab, node: str) -> dict[str, Shape]:
    """Containers come, change and go, also while the unit that records them is killed. Return what is recorded then."""
    shapes = make_containers(lab, node)
    await_recorded(lab, node, shapes)
    assert run(lab, node, f"stat -c %a {RECORD}; ! grep -q hunter2 {RECORD}") == "600\n"
    run(lab, node, "systemctl kill -s KILL overlay-mend; docker rm -f recnew; docker network disconnect demo recboth")
    del shapes["recnew"], shapes["recboth"]
    run(lab, node, "docker stop recdyn")
    shapes["recdyn"] = (False, *shapes["recdyn"][1:])  # with the address that it had
    await_recorded(lab, node, shapes)
    told = {one.name: on_demo(one.attachments) for one in read(node, run(lab, node, SCRIPT)) if one.name in shapes}
    assert told == {name: attachments for name, (_, _, attachments) in shapes.items()}
    return shapes


def remove_containers(lab: Lab, node: str) -> None:
    """Remove them all; the record forgets them."""
    run(lab, node, "docker ps -aq -f name=^rec | xargs docker rm -f")
    await_recorded(lab, node, {})
