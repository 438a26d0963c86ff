"""What dockerd is told for safety's sake, where the user does not say it.

docker-store puts each line into the configuration that it makes for dockerd, unless the user's own speaks of that key:
so a key that is written there later wins as well, and never keeps dockerd from starting by being said twice.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import Any

from provision.inventory.model import Hardening

#: Elasticsearch asks for as many (its bootstrap checks); what opens more raises its own limit.
OPEN_FILES = 65536
#: The kernel's own bound (fs.nr_open).
MOST_OPEN_FILES = 1048576


@dataclass(frozen=True)
class Default:
    """A key of daemon.json, its value, and the pattern of the keys, and flags, by which a user decides it."""

    decided_by: str
    key: str
    value: Any

    @property
    def line(self) -> str:
        """As docker-store reads it."""
        return f"{self.decided_by} {json.dumps(self.key)}: {json.dumps(self.value)}\n"


_OPEN_FILES = {"Name": "nofile", "Soft": OPEN_FILES, "Hard": MOST_OPEN_FILES}
_DEFAULTS = {
    "no_new_privileges": Default("no-new-privileges", "no-new-privileges", True),
    # Another driver may not know these options: dockerd would not start.
    "rotate_logs": Default("log-[do]", "log-opts", {"max-size": "10m", "max-file": "3"}),
    # One that has less itself, and no CAP_SYS_RESOURCE, starts no container with it (seen on the lab): not by default.
    "limit_open_files": Default("default-ulimit", "default-ulimits", {"nofile": _OPEN_FILES}),
    "isolate_default_bridge": Default("icc", "icc", False),
    "without_userland_proxy": Default("userland-proxy", "userland-proxy", False),
}


def defaults(hardening: Hardening, flags: str) -> bytes:
    """Return the lines for docker-store. `flags`: all that is said on dockerd's command line, and so decided."""
    chosen = (default for name, default in _DEFAULTS.items() if getattr(hardening, name))
    return "".join(one.line for one in chosen if not re.search(f"--{one.decided_by}", flags)).encode()
