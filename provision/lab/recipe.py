"""What every host starts from: a Debian with Docker and no Python; etcd as a release packs it; images."""

from __future__ import annotations

import gzip
import hashlib
import shutil
import tarfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from provision.lab import apps, image
from provision.lab.commands import run

Say = Callable[[str], None]

SUITE = "bookworm"
"""Debian 12: the last with a Docker that has an external store (20.10) and an etcd that has its API (3.4)."""

PACKAGES = (
    "systemd",
    "systemd-sysv",
    "dbus",
    "openssh-server",
    "iproute2",
    "iptables",
    "nftables",
    "sudo",
    "procps",
    "iputils-ping",
    "kmod",
    "ca-certificates",
)

#: When all is downloaded.
FORGET_ARCHIVE = """
set -eu
apt-get clean
rm -rf /var/lib/apt/lists/* /etc/resolv.conf
"""

OPS_USER = "ops"
OPS_PASSWORD = "ops-password"
"""For sudo, which asks this user for it. No secret: the lab can be reached from nowhere."""

SCRIPT = f"""
set -eu
umask 022
export DEBIAN_FRONTEND=noninteractive LC_ALL=C
printf '#!/bin/sh\\nexit 101\\n' >/usr/sbin/policy-rc.d
chmod 755 /usr/sbin/policy-rc.d
apt-get update
apt-get install --yes --no-install-recommends docker.io
mkdir /artifacts
cd /artifacts
apt-get -o APT::Sandbox::User=root download etcd-server etcd-client busybox-static
for package in *.deb; do dpkg-deb --extract "$package" .; done
useradd --create-home --shell /bin/bash --groups sudo {OPS_USER}
echo {OPS_USER}:{OPS_PASSWORD} | chpasswd
# A host is root on this machine's kernel: it must not set the kernel's switches at boot.
systemctl mask systemd-sysctl.service systemd-modules-load.service systemd-pstore.service
# Nothing that works by the clock, no console to log in at.
systemctl mask apt-daily.timer apt-daily-upgrade.timer dpkg-db-backup.timer e2scrub_all.timer fstrim.timer
systemctl mask e2scrub_reap.service getty.target console-getty.service systemd-tmpfiles-clean.timer
systemctl mask systemd-networkd-wait-online.service
systemctl mask sys-kernel-debug.mount sys-kernel-tracing.mount dev-hugepages.mount
mkdir -p /var/log/journal /etc/systemd/journald.conf.d
printf '[Journal]\\nStorage=persistent\\nSystemMaxUse=64M\\n' >/etc/systemd/journald.conf.d/lab.conf
systemctl enable cgroups-writable.service
rm -rf /etc/ssh/ssh_host_* /usr/sbin/policy-rc.d /etc/hostname
: >/etc/machine-id
: >/etc/fstab
"""

CGROUPS_WRITABLE = """[Unit]
Description=Let the daemons of this host use its control groups
# With version 2 they are writable from the start.
ConditionPathExists=!/sys/fs/cgroup/cgroup.controllers
DefaultDependencies=no
Before=sysinit.target

[Service]
Type=oneshot
RemainAfterExit=yes
# `bind` keeps this to the mount: without it the file system itself is changed, for the whole machine.
ExecStart=/bin/sh -c 'for tree in /sys/fs/cgroup/*/; do mount -o remount,rw,bind "$tree"; done'

[Install]
WantedBy=sysinit.target
"""


@dataclass(frozen=True)
class Recipe:
    """How to fill a folder, which files must be in it afterwards (patterns), and a digest of all that."""

    digest: str
    essential: tuple[str, ...]
    build: Callable[[Path, Say], None]


def build(folder: Path, say: Say) -> None:
    """Make `tree`, etcd's archive and the images' in a folder. Needs Debian's archive, once. StepFailed."""
    tree = folder / "tree"
    say(f"debootstrap {SUITE}: a minute or two, once")
    run(
        *("debootstrap", "--variant=minbase", f"--include={','.join(PACKAGES)}", SUITE, tree),
        timeout=1800,
    )
    unit = tree / "etc/systemd/system/cgroups-writable.service"
    unit.write_text(CGROUPS_WRITABLE)
    resolver = tree / "etc/resolv.conf"
    resolver.unlink(missing_ok=True)
    shutil.copyfile("/etc/resolv.conf", resolver)
    say("Docker, etcd and busybox")
    run("chroot", tree, "/bin/sh", "-s", input=SCRIPT, timeout=1800)
    say("archives")
    architecture = run("chroot", tree, "dpkg", "--print-architecture").strip()
    binaries = tree / "artifacts"
    _pack_etcd(folder, binaries / "usr/bin", architecture)
    busybox = binaries / "bin/busybox"
    image.write(folder / "busybox.tar", busybox, _applets(busybox), architecture)
    shutil.rmtree(binaries)
    say("the counter and its Redis")
    apps.write(folder, tree, architecture)
    run("chroot", tree, "/bin/sh", "-s", input=FORGET_ARCHIVE)


def _applets(busybox: Path) -> list[str]:
    return [name for name in run(busybox, "--list").split() if name != busybox.name]


def _pack_etcd(folder: Path, binaries: Path, architecture: str) -> None:
    """Pack the two binaries as a release of etcd is packed; the same content gives the same archive."""
    version = run(binaries / "etcd", "--version").split()[2]
    name = f"etcd-v{version}-linux-{architecture}"
    path = folder / f"{name}.tar.gz"
    with (
        path.open("wb") as raw,
        gzip.GzipFile("", "wb", 6, raw, mtime=0) as packed,
        tarfile.open(fileobj=packed, mode="w") as tar,
    ):
        for binary in ("etcd", "etcdctl"):
            entry = tar.gettarinfo(binaries / binary, f"{name}/{binary}")
            entry.uid = entry.gid = entry.mtime = 0
            entry.uname = entry.gname = "root"
            with (binaries / binary).open("rb") as content:
                tar.addfile(entry, content)


DEBIAN = Recipe(
    # Of all that could change the outcome but Debian's own updates.
    digest=hashlib.sha256(
        b"".join(Path(path).read_bytes() for path in (__file__, image.__file__, apps.__file__, apps.COUNTER))
    ).hexdigest()[:16],
    essential=(
        "tree/usr/lib/systemd/systemd",
        "tree/usr/sbin/sshd",
        "tree/usr/sbin/dockerd",
        "tree/usr/bin/containerd",
        "tree/usr/bin/sudo",
        "tree/etc/passwd",
        "tree/etc/systemd/system/cgroups-writable.service",
        "etcd-*.tar.gz",
        "busybox.tar",
        "redis.tar",
        "flask-redis.tar",
    ),
    build=build,
)
