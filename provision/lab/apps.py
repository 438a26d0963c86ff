"""The images of the counter in examples/flask-redis, from Debian's packages instead of a registry."""

from __future__ import annotations

import shutil
from pathlib import Path

from provision.lab import image
from provision.lab.commands import run
from provision.lab.image import Image

_PACKAGE = Path(__file__).parents[1]
#: The counter itself: inside the package in a wheel, beside it in a checkout.
COUNTER = next(
    path
    for path in (folder / "examples/flask-redis/app.py" for folder in (_PACKAGE, *_PACKAGE.parents))
    if path.exists()
)

REDIS = Image("redis:latest", ("redis-server", "--bind", "0.0.0.0", "--protected-mode", "no", "--save", ""))
WEB = Image("flask-redis:latest", ("python3", "-m", "flask", "run", "--host", "0.0.0.0"), folder="/app")
PACKAGES = {REDIS: ("redis-server",), WEB: ("python3-flask", "python3-redis")}

#: What packages want for being installed, and their programs do not.
_PACKAGES_UNUSED = "adduser_* debconf_* dpkg_* libperl* passwd_* perl* tar_* usrmerge_*"
_FOLDERS_UNUSED = "share/doc share/info share/lintian share/locale share/man share/perl* lib/*/gconv"

#: Unpacks packages and all they depend on into a new folder, $1, as if nothing else were installed.
_UNPACK = f"""
set -eu
tree=$1 && shift
mkdir -p "$tree" "$tree.packages/partial"
apt-get -o APT::Sandbox::User=root -o Dir::State::status=/dev/null -o "Dir::Cache::archives=$tree.packages" \\
    --yes --quiet --no-install-recommends --download-only install "$@"
cd "$tree.packages"
rm -f {_PACKAGES_UNUSED}
for package in *.deb; do dpkg-deb --extract "$package" "$tree"; done
cd "$tree/usr"
rm -rf {_FOLDERS_UNUSED}
"""


def write(archives: Path, root: Path, architecture: str) -> None:
    """Write redis.tar and flask-redis.tar, from a Debian in `root` that still knows its archive. StepFailed."""
    work = root / "apps"
    for each, packages in PACKAGES.items():
        tree = work / each.short_name
        run("chroot", root, "/bin/sh", "-s", f"/apps/{each.short_name}", *packages, input=_UNPACK, timeout=600)
        (tree / "tmp").mkdir()
        (tree / "tmp").chmod(0o1777)
        if each is WEB:
            (tree / "app").mkdir()
            shutil.copyfile(COUNTER, tree / "app/app.py")
        image.write_tree(archives / f"{each.short_name}.tar", each, tree, architecture)
    shutil.rmtree(work)
