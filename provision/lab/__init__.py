"""Disposable hosts on this machine, to try the program on and to test it with.

A lab is a few Debian hosts and a network namespace for the controller, on a network of their own: no virtual
machine, no registry, nothing added to the machine's own network. `up` writes an ordinary inventory.

    from provision import lab
    lab.up("lab", nodes=2, folder=Path("lab"), say=print)     # then: fab -i lab/inventory.yml provision
    lab.power_cut("lab", "node1")
    lab.down("lab")
"""

from provision.lab.folder import HostStatus, Lab
from provision.lab.lab import (
    add_node,
    controller,
    cut_link,
    down,
    execute,
    find,
    heal_link,
    names,
    power_cut,
    power_on,
    renew,
    status,
    up,
    upgrade,
)
from provision.lab.recipe import OPS_PASSWORD, OPS_USER

__all__ = [
    "OPS_PASSWORD",
    "OPS_USER",
    "HostStatus",
    "Lab",
    "add_node",
    "controller",
    "cut_link",
    "down",
    "execute",
    "find",
    "heal_link",
    "names",
    "power_cut",
    "power_on",
    "renew",
    "status",
    "up",
    "upgrade",
]
