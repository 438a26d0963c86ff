"""What hosts without Docker start from: the base of a release, with Docker's packages removed.

They, and all that they depend on, are in a folder of the tree, which is the only source that apt has: hosts of a lab
have no route to Debian's archive.
"""

from __future__ import annotations

import hashlib
import shutil
from dataclasses import replace
from pathlib import Path

from provision.lab import base, recipe, trixie
from provision.lab.commands import run
from provision.lab.package_index import WRITE_INDEX
from provision.lab.recipe import Recipe, Say

DOCKER = "none"

DEBS = "/var/cache/overlay-debs"
"""The folder of packages on a host."""

SCRIPT = f"""
set -eu
umask 022
export DEBIAN_FRONTEND=noninteractive LC_ALL=C
printf '#!/bin/sh\\nexit 101\\n' >/usr/sbin/policy-rc.d
chmod 755 /usr/sbin/policy-rc.d
there=$(dpkg-query -W -f '${{Package}}\\n' docker.io docker-cli containerd runc tini iptables 2>/dev/null) || true
# shellcheck disable=SC2086 # a word a package
apt-get purge --yes --autoremove $there
! command -v dockerd
rm -rf /var/lib/docker /var/lib/containerd /etc/docker /etc/containerd /opt/containerd
! getent group docker >/dev/null || groupdel docker
apt-get update
# shellcheck disable=SC2086
apt-get install --yes --no-install-recommends --download-only $there apparmor
mkdir {DEBS}
mv /var/cache/apt/archives/*.deb {DEBS}
cd {DEBS}
{WRITE_INDEX}
write_index
rm /etc/apt/sources.list /usr/sbin/policy-rc.d
echo 'deb [trusted=yes] file:{DEBS} ./' >/etc/apt/sources.list.d/local.list
rm -f /etc/passwd- /etc/shadow- /etc/group- /etc/gshadow- /etc/subuid- /etc/subgid-
"""


def of(original: Recipe) -> Recipe:
    """Return the recipe of a release's base without Docker."""

    def build(folder: Path, say: Say) -> None:
        """Make `tree` and the archives in a folder. Needs Debian's archive, once. StepFailed."""
        finished = folder.parent / original.digest
        if base.is_intact(finished, original):
            say("a copy of the base with Docker")
            run("cp", "-a", "--reflink=auto", *sorted(finished.glob("[!.]*")), folder, timeout=600)
            (folder / base.STAMP).unlink()
        else:
            original.build(folder, say)
        tree = folder / "tree"
        shutil.copyfile("/etc/resolv.conf", tree / "etc/resolv.conf")
        say("Docker's packages, in a folder")
        run("chroot", tree, "/bin/sh", "-s", input=SCRIPT, timeout=1800)
        run("chroot", tree, "/bin/sh", "-s", input=recipe.FORGET_ARCHIVE)

    mine = hashlib.sha256(f"{original.digest}{SCRIPT}".encode() + Path(__file__).read_bytes()).hexdigest()[:16]
    kept = (path for path in original.essential if not path.startswith(("tree/usr/sbin/dockerd", "tree/usr/bin/")))
    return replace(
        original,
        digest=f"{original.digest.partition('-')[0] if '-' in original.digest else recipe.SUITE}-without-docker-{mine}",
        essential=(*kept, "tree/usr/bin/sudo", f"tree{DEBS}/Packages", f"tree{DEBS}/docker.io_*.deb"),
        build=build,
    )


BOOKWORM = of(recipe.DEBIAN)
TRIXIE = of(trixie.DEBIAN)
