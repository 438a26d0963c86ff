"""Check that this machine can make hosts, and report everything that is missing at once."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

from provision.errors import PreflightRefused, Problem
from provision.lab.commands import HERE, PATH
from provision.lab.groups import ROOT as GROUPS

PACKAGES = {
    "bash": "bash",
    "debootstrap": "debootstrap",
    "ip": "iproute2",
    "nc": "netcat-openbsd",
    "nsenter": "util-linux",
    "setpriv": "util-linux",
    "ssh-keygen": "openssh-client",
    "systemd-nspawn": "systemd-container",
}
"""The tools that the lab calls, and the Debian packages that contain them."""

WATCHERS = Path("/proc/sys/fs/inotify/max_user_instances")
WATCHERS_PER_NODE = 9
"""inotify instances: a Debian 12 that has booted with Docker has eight. All nodes share root's limit (often 128)."""

NOT_ROOT = Problem("labs need root", HERE, "run the same command with sudo")
KEYRING = Path("/usr/share/keyrings/debian-archive-keyring.gpg")


def check(nodes: int) -> None:
    """Raise PreflightRefused, with every obstacle, if this machine cannot make the nodes. Changes nothing."""
    problems = tuple(_obstacles(nodes))
    if problems:
        raise PreflightRefused(*problems)


def check_root() -> None:
    """Raise PreflightRefused unless this process runs as root."""
    if os.geteuid() != 0:
        raise PreflightRefused(NOT_ROOT)


def missing_packages() -> tuple[str, ...]:
    """Return the Debian packages that must be installed first."""
    missing = {package for tool, package in PACKAGES.items() if shutil.which(tool, path=PATH) is None}
    if not KEYRING.exists():
        missing.add("debian-archive-keyring")
    return tuple(sorted(missing))


def _obstacles(nodes: int) -> Iterator[Problem]:
    if sys.platform != "linux":
        yield Problem("hosts can be made on Linux only", HERE, "use Vagrant: vagrant up")
        return
    if os.geteuid() != 0:
        yield NOT_ROOT
    if not GROUPS.is_dir() or not any(GROUPS.iterdir()):
        yield Problem(f"no control groups at {GROUPS}", HERE, "use Vagrant: vagrant up")
    if (allowed := int(WATCHERS.read_text(encoding="utf-8"))) < nodes * WATCHERS_PER_NODE:
        enough = (nodes + 20) * WATCHERS_PER_NODE
        what = f"{nodes} nodes need {nodes * WATCHERS_PER_NODE} inotify instances, root may have {allowed}"
        yield Problem(what, HERE, f"sysctl fs.inotify.max_user_instances={enough}")
    if packages := missing_packages():
        words = " ".join(packages)
        yield Problem(f"missing packages: {words}", HERE, f"apt-get install --no-install-recommends {words}")
