"""What hosts with Debian 13 and Docker 28 start from: the base of Debian 13, with the next release's Docker.

Only Docker's packages are of the next release: its systemd does not boot on a machine with control groups of version 1.
"""

from __future__ import annotations

import hashlib
import shutil
from dataclasses import replace
from pathlib import Path

from provision.lab import recipe, trixie
from provision.lab.commands import run
from provision.lab.recipe import Say

DOCKER = "28"
"""The major version. The next release may have a later one some day: the script refuses to make a base with that."""

NEXT = "forky"

#: The archive's signature is verified. A mirror that was not updated for a week is good enough for a lab.
SCRIPT = f"""
set -eu
umask 022
export DEBIAN_FRONTEND=noninteractive LC_ALL=C
printf '#!/bin/sh\\nexit 101\\n' >/usr/sbin/policy-rc.d
chmod 755 /usr/sbin/policy-rc.d
sed 's/{trixie.SUITE}/{NEXT}/' /etc/apt/sources.list >/etc/apt/sources.list.d/{NEXT}.list
cat >/etc/apt/preferences.d/{NEXT} <<'.'
Package: *
Pin: release n={NEXT}
Pin-Priority: 100

Package: docker.io docker-cli containerd runc
Pin: release n={NEXT}
Pin-Priority: 990
.
apt-get -o Acquire::Check-Valid-Until=false update
apt-get install --yes --no-install-recommends docker.io docker-cli containerd runc
rm /etc/apt/sources.list.d/{NEXT}.list /etc/apt/preferences.d/{NEXT} /usr/sbin/policy-rc.d
dockerd --version | grep -q '^Docker version {DOCKER}[.]' || {{
    echo "{NEXT} has another Docker now: $(dockerd --version)" >&2
    exit 1
}}
"""


def build(folder: Path, say: Say) -> None:
    """Make `tree` and the images' archives in a folder. Needs Debian's archive, once. StepFailed."""
    trixie.build(folder, say)
    tree = folder / "tree"
    shutil.copyfile("/etc/resolv.conf", tree / "etc/resolv.conf")
    say(f"Docker of {NEXT}")
    run("chroot", tree, "/bin/sh", "-s", input=SCRIPT, timeout=1800)
    run("chroot", tree, "/bin/sh", "-s", input=recipe.FORGET_ARCHIVE)


DEBIAN = replace(
    trixie.DEBIAN,
    digest=f"{trixie.SUITE}-docker{DOCKER}-"
    + hashlib.sha256(trixie.DEBIAN.digest.encode() + Path(__file__).read_bytes()).hexdigest()[:16],
    build=build,
)
