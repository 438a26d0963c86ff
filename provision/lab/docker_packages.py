"""Packages of Docker in three versions, each a folder that apt takes for a source: for hosts that are upgraded.

A lab reaches no archive. A host of Debian 13 can have any of the three: those of Debian 12, 13 and the next release.
"""

from __future__ import annotations

import hashlib
import shutil
from pathlib import Path

from provision.lab import base, recipe, trixie, trixie_docker28
from provision.lab.commands import run
from provision.lab.host import STATE
from provision.lab.package_index import WRITE_INDEX
from provision.lab.recipe import Recipe, Say

SUITES = {"20.10": recipe.SUITE, "26": trixie.SUITE, "28": trixie_docker28.NEXT}
"""The release that has a version, by the version's beginning."""

#: `download BEGINNING SUITE PACKAGE…`: a folder with these packages, and the index that apt reads.
SCRIPT = f"""
set -eu
umask 022
export DEBIAN_FRONTEND=noninteractive LC_ALL=C
{WRITE_INDEX}
for suite in {" ".join(SUITES.values())}; do
    echo "deb $(cut -d' ' -f2 /etc/apt/sources.list) $suite main" >"/etc/apt/sources.list.d/$suite.list"
done
apt-get -o Acquire::Check-Valid-Until=false update
download() {{
    mkdir -p "/packages/$1" && cd "/packages/$1"
    suite=$2
    shift 2
    for package; do apt-get -o APT::Sandbox::User=root download "$package/$suite"; done
    write_index
}}
download 20.10 {SUITES["20.10"]} docker.io containerd runc tini
download 26 {SUITES["26"]} docker.io docker-cli containerd runc tini
download 28 {SUITES["28"]} docker.io docker-cli containerd runc tini-static
download 20.10 {SUITES["26"]} libdevmapper1.02.1 dmsetup
"""


def build(folder: Path, say: Say) -> None:
    """Make a folder for each version. Needs Debian's archive, once. StepFailed."""
    tree = folder / "tree"
    run("cp", "--archive", "--reflink=auto", base.ensure(say, trixie.DEBIAN).tree, tree)
    shutil.copyfile("/etc/resolv.conf", tree / "etc/resolv.conf")
    say("packages of Docker")
    run("chroot", tree, "/bin/sh", "-s", input=SCRIPT, timeout=1800)
    for packages in (tree / "packages").iterdir():
        packages.rename(folder / packages.name)
    shutil.rmtree(tree)


PACKAGES = Recipe(
    digest=f"docker-packages-{hashlib.sha256(SCRIPT.encode()).hexdigest()[:16]}",
    essential=tuple(f"{version}/{name}" for version in SUITES for name in ("docker.io_*.deb", "Packages")),
    build=build,
)


def offer(lab: str, node: str, *versions: str, say: Say) -> None:
    """Make packages of Docker, by the beginnings of their versions, the only source of a host's apt."""
    packages = base.ensure(say, PACKAGES).folder
    root = STATE / lab / node / "root"
    sources = root / "etc/apt/sources.list.d/docker.list"
    for version in versions:
        shutil.copytree(packages / version, root / f"srv/docker-{version}", dirs_exist_ok=True)
    (root / "etc/apt/sources.list").unlink(missing_ok=True)
    sources.write_text(
        "".join(f"deb [trusted=yes] file:/srv/docker-{version} ./\n" for version in versions), encoding="utf-8"
    )
