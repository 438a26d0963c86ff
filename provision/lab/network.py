"""The lab's network: a switch, a cable to every host, and a network namespace for the controller.

It consists of the network namespaces `LAB-switch`, `LAB-ctl` and `LAB-HOST`. Nothing is added to the machine's own
namespace, and no namespace has a default route, so no packet of a host can leave the lab, and all labs may use the
same addresses.
"""

from __future__ import annotations

import json
import os
import signal
from pathlib import Path

from provision.lab.commands import attempt, run

PREFIX = "198.51.100."
"""The start of the lab's addresses: a range reserved for documentation, which no real machine has (RFC 5737)."""

CONTROLLER = "ctl"
CONTROLLER_ADDRESS = f"{PREFIX}1"
SWITCH = "switch"
NAMESPACES = Path("/run/netns")


def namespace(lab: str, place: str) -> str:
    """Return the name of the network namespace of a host, the controller or the switch."""
    return f"{lab}-{place}"


def inside(lab: str, place: str = CONTROLLER) -> tuple[str, ...]:
    """Return the command prefix that runs a command in that namespace, with this machine's files."""
    return ("ip", "netns", "exec", namespace(lab, place))


def make(lab: str) -> None:
    """Make the switch and the controller's namespace, where they are missing."""
    if not _exists(namespace(lab, SWITCH)):
        run("ip", "netns", "add", namespace(lab, SWITCH))
    if not _cable(lab, SWITCH):
        _in_switch(lab, "link", "add", SWITCH, "type", "bridge")
    _in_switch(lab, "link", "set", SWITCH, "up")
    if not _cable(lab, CONTROLLER):
        plug(lab, CONTROLLER, CONTROLLER_ADDRESS)


def plug(lab: str, host: str, address: str) -> None:
    """Give a host a new, empty network namespace and a cable to the switch. The host's end of it is `eth0`."""
    unplug(lab, host)
    place = namespace(lab, host)
    run("ip", "netns", "add", place)
    peer = ("peer", "name", "eth0", "address", _hardware_address(address), "netns", place)
    _in_switch(lab, "link", "add", host, "type", "veth", *peer)
    _in_switch(lab, "link", "set", host, "master", SWITCH, "up")
    run("ip", "-n", place, "address", "add", f"{address}/24", "dev", "eth0")
    run("ip", "-n", place, "link", "set", "eth0", "up")
    run("ip", "-n", place, "link", "set", "lo", "up")


def unplug(lab: str, host: str) -> None:
    """Remove a host's network with everything in it, as a loss of power would."""
    if _cable(lab, host):
        # The kernel removes the namespace later, in the background; the cable's name must be free now.
        _in_switch(lab, "link", "delete", host)
    if _exists(namespace(lab, host)):
        run("ip", "netns", "delete", namespace(lab, host))


def set_link(lab: str, host: str, state: str) -> None:
    """Cut (`down`) or mend (`up`) a host's cable at the switch. The host sees its own link go down."""
    _in_switch(lab, "link", "set", host, state)


def link_is_up(lab: str, host: str) -> bool:
    """Whether the host's cable is plugged and not cut."""
    return "UP" in _cable(lab, host)


def remove(lab: str) -> None:
    """Remove every namespace of the lab, and kill the processes in them."""
    for path in sorted(NAMESPACES.glob(f"{lab}-*")):
        _end_processes(path.name)
        run("ip", "netns", "delete", path.name)


def _end_processes(place: str) -> None:
    """Kill processes that were left behind, such as a gateway that would wait for ever for its other end."""
    pids = {int(pid) for pid in attempt(("ip", "netns", "pids", place)).stdout.split()}
    if os.getpid() in pids:  # this process itself was started there
        return
    for pid in pids:
        try:
            os.kill(pid, signal.SIGKILL)
        except ProcessLookupError:
            continue


def _exists(place: str) -> bool:
    return (NAMESPACES / place).exists()


def _cable(lab: str, name: str) -> list[str]:
    """Return the flags of an interface of the switch; empty if there is no such interface."""
    result = attempt(("ip", "-n", namespace(lab, SWITCH), "-json", "link", "show", "dev", name))
    return list(json.loads(result.stdout)[0]["flags"]) if result.returncode == 0 else []


def _hardware_address(address: str) -> str:
    """Return the host's fixed hardware address. After a change, neighbours would send to the old one for a while."""
    return ":".join(("02:00", *(f"{int(part):02x}" for part in address.split("."))))


def _in_switch(lab: str, *words: str) -> None:
    run("ip", "-n", namespace(lab, SWITCH), *words)
