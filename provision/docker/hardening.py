"""Safer defaults for dockerd, each unless the user has decided it.

A program on the node (node/docker_config.sh) adds each line to the configuration that it makes for dockerd, unless the
user's daemon.json has the key.
So a key that the user adds later wins too, and dockerd never refuses to start because a key is given twice.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import Any

from provision.inventory.model import Hardening

#: The soft limit: Elasticsearch's bootstrap checks require it. A program that needs more raises its own limit.
OPEN_FILES = 65536
#: The hard limit: the kernel's default maximum (fs.nr_open).
MOST_OPEN_FILES = 1048576


@dataclass(frozen=True)
class Default:
    """A key of daemon.json and its value. `decided_by`: a pattern of the keys and flags by which a user decides it."""

    decided_by: str
    key: str
    value: Any

    @property
    def line(self) -> str:
        """The line that the program reads."""
        return f"{self.decided_by} {json.dumps(self.key)}: {json.dumps(self.value)}\n"


_OPEN_FILES = {"Name": "nofile", "Soft": OPEN_FILES, "Hard": MOST_OPEN_FILES}
_DEFAULTS = {
    "no_new_privileges": Default("no-new-privileges", "no-new-privileges", True),
    # Also left out if the user chooses a log driver: dockerd would not start with options that the driver lacks.
    "rotate_logs": Default("log-[do]", "log-opts", {"max-size": "10m", "max-file": "3"}),
    # Off by default: a dockerd with a lower limit and without CAP_SYS_RESOURCE starts no container (seen on the lab).
    "limit_open_files": Default("default-ulimit", "default-ulimits", {"nofile": _OPEN_FILES}),
    "isolate_default_bridge": Default("icc", "icc", False),
    "without_userland_proxy": Default("userland-proxy", "userland-proxy", False),
}


def defaults(hardening: Hardening, flags: str) -> bytes:
    """Return the lines for that program. `flags`: dockerd's command line, whose flags the user has decided."""
    chosen = (default for name, default in _DEFAULTS.items() if getattr(hardening, name))
    return "".join(one.line for one in chosen if not re.search(f"--{one.decided_by}", flags)).encode()
