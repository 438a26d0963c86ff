"""Resources: what a node can hold. Each kind knows its question, how to compare itself with facts, and how to change.

`compare` is pure: facts in, at most one difference out. `apply` returns POSIX sh that calls node/changes.sh.
A content or hash of None does not exist yet: it differs from everything.
"""

from provision.core.resource import UPLOADS, Difference, Resource, Upload, call
from provision.resources.containers import GATEWAY_BRIDGE, KEEPER, GatewayBridge, Image, Keeper, OldKeeper, keeper_name
from provision.resources.firewall import NoRuleset, Ruleset
from provision.resources.held_packages import HeldPackage, docker_packages
from provision.resources.paths import File, Folder, Link
from provision.resources.system import Service, User
from provision.resources.upgrade import Upgrade

__all__ = [
    "GATEWAY_BRIDGE",
    "KEEPER",
    "UPLOADS",
    "Difference",
    "File",
    "Folder",
    "GatewayBridge",
    "HeldPackage",
    "Image",
    "Keeper",
    "Link",
    "NoRuleset",
    "OldKeeper",
    "Resource",
    "Ruleset",
    "Service",
    "Upgrade",
    "Upload",
    "User",
    "call",
    "docker_packages",
    "keeper_name",
]
