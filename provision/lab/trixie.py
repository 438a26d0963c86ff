"""What hosts with Debian 13 start from: a Debian with Docker 26 and no Python; images. Docker 26 has no use for etcd.

It is beside recipe.py, not in it, because the bytes of recipe.py decide whether the tree of Debian 12 is built anew.
"""

from __future__ import annotations

import hashlib
import shutil
from pathlib import Path

from provision.lab import apps, image, recipe
from provision.lab.commands import run
from provision.lab.recipe import Recipe, Say

SUITE = "trixie"

#: Docker's command is a package of its own here.
SCRIPT = recipe.SCRIPT.replace(" docker.io\n", " docker.io docker-cli\n").replace(" etcd-server etcd-client ", " ")

LINKS = ("bin", "lib", "lib64", "sbin")
"""Links to the folders of the same names in /usr. In Debian 13 only base-files contains them, and no package depends on
base-files: an image that is unpacked from packages lacks them."""


def build(folder: Path, say: Say) -> None:
    """Make `tree` and the images' archives in a folder. Needs Debian's archive, once. StepFailed."""
    tree = folder / "tree"
    say(f"debootstrap {SUITE}: a minute or two, once")
    run(
        *("debootstrap", "--variant=minbase", f"--include={','.join(recipe.PACKAGES)}", SUITE, tree),
        timeout=1800,
    )
    (tree / "etc/systemd/system/cgroups-writable.service").write_text(recipe.CGROUPS_WRITABLE)
    resolver = tree / "etc/resolv.conf"
    resolver.unlink(missing_ok=True)
    shutil.copyfile("/etc/resolv.conf", resolver)
    say("Docker and busybox")
    run("chroot", tree, "/bin/sh", "-s", input=SCRIPT, timeout=1800)
    say("the images")
    _write_images(folder, tree)
    run("chroot", tree, "/bin/sh", "-s", input=recipe.FORGET_ARCHIVE)


def _write_images(folder: Path, tree: Path) -> None:
    architecture = run("chroot", tree, "dpkg", "--print-architecture").strip()
    binaries = tree / "artifacts"
    busybox = binaries / "usr/bin/busybox"
    applets = [name for name in run(busybox, "--list").split() if name != busybox.name]
    image.write(folder / "busybox.tar", busybox, applets, architecture)
    shutil.rmtree(binaries)
    for each in apps.PACKAGES:
        content = tree / "apps" / each.short_name
        content.mkdir(parents=True)
        for name in LINKS:
            (content / name).symlink_to(f"usr/{name}")
    apps.write(folder, tree, architecture)


DEBIAN = Recipe(
    digest=f"{SUITE}-{hashlib.sha256(recipe.DEBIAN.digest.encode() + Path(__file__).read_bytes()).hexdigest()[:16]}",
    essential=(*(path for path in recipe.DEBIAN.essential if not path.startswith("etcd-")), "tree/usr/bin/docker"),
    build=build,
)
