"""One disposable host: a Debian that boots in namespaces of its own, with a real systemd, sshd and dockerd.

Its disk is a layer in memory over the shared base tree, and is gone with the host. Only /var/lib/docker is on the
machine's disk, because Docker's layers cannot lie on another layer. A host is root on this machine's kernel, so it
may not change things outside itself: the clock, modules, and all sysctls except the network's.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import time
import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from provision.errors import Problem, StepFailed
from provision.lab import groups, network
from provision.lab.base import Base
from provision.lab.commands import attempt, run
from provision.lab.recipe import OPS_USER

STATE = Path("/var/lib/overlay-lab")
"""The state of the labs, one folder for each."""

WITHHELD = ("sys_time", "sys_module")
"""Capabilities that hosts and commands executed on them do not have: setting the clock, loading modules."""

NSPAWN = Path("/run/systemd/nspawn")
JUMP = "jump"
BOOT_LIMIT = 90.0
"""Seconds a host may take to boot. Two hosts take three to five on two cores; the limit is for a busy machine."""

MEMORY = "size=2g,mode=755"
"""Options of the tmpfs: its size limits what a host writes outside Docker's folder. Only written data takes memory."""

SEARCH_PATH = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


@dataclass(frozen=True)
class Host:
    """A host of a lab: its name and address, and the paths of its parts."""

    lab: str
    name: str
    address: str

    @property
    def folder(self) -> Path:
        """The folder of its state."""
        return STATE / self.lab / self.name

    @property
    def root(self) -> Path:
        """Its root file system, as seen from here."""
        return self.folder / "root"

    @property
    def memory(self) -> Path:
        """The tmpfs with its writes, and with a stamp that the disk was completed."""
        return self.folder / "memory"

    @property
    def docker(self) -> Path:
        """Its /var/lib/docker."""
        return self.folder / "docker"

    @property
    def host_key(self) -> Path:
        """Its SSH host key; a renewed host keeps it."""
        return self.folder / "ssh_host_ed25519_key"

    @property
    def console(self) -> Path:
        """The file with the output of its boot."""
        return self.folder / "console"

    @property
    def group(self) -> str:
        """Its control group."""
        return group_name(self.lab, self.name)

    @property
    def first_process(self) -> int | None:
        """Its process 1; None while it is off."""
        return groups.first_process(self.group)


def group_name(lab: str, host: str) -> str:
    """Return the name of a host's control group."""
    return f"lab-{lab}-{host}"


def node(lab: str, number: int) -> Host:
    """Return the node with that number; the first is 1."""
    return Host(lab, f"node{number}", f"{network.PREFIX}{10 + number}")


def jump(lab: str) -> Host:
    """Return the jump host: sshd and nothing else."""
    return Host(lab, JUMP, f"{network.PREFIX}2")


def is_made(host: Host) -> bool:
    """Whether the host's disk exists and is complete. A reboot of this machine removes the disk."""
    return (host.memory / "made").exists() and host.root.is_mount()


def make(host: Host, base: Base, public_key: str) -> None:
    """Make the host's disk: the base tree, with the host's own name, machine ID and keys. The host must be off."""
    unmake(host)
    for folder in (host.memory, host.root, host.docker):
        folder.mkdir(parents=True)
    run("mount", "-t", "tmpfs", "-o", MEMORY, "tmpfs", host.memory)
    for layer in ("upper", "work"):
        (host.memory / layer).mkdir()
    _mount(host, base)
    etc = host.root / "etc"
    (etc / "hostname").write_text(f"{host.name}\n", encoding="utf-8")
    (etc / "hosts").write_text(f"127.0.0.1\tlocalhost\n{host.address}\t{host.name}\n", encoding="utf-8")
    (etc / "machine-id").write_text(f"{uuid.uuid4().hex}\n", encoding="utf-8")
    if not host.host_key.exists():
        run("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", host.name, "-f", host.host_key)
    for source in (host.host_key, host.host_key.with_suffix(".pub")):
        shutil.copy(source, etc / "ssh" / source.name)
    for home in (host.root / "root", host.root / "home" / OPS_USER):
        _authorize(home, public_key)
    (host.memory / "made").touch()


def rebase(host: Host, base: Base) -> None:
    """Put what the host wrote over another base tree, as an upgrade of its packages does. The host must be off.

    What dpkg has recorded goes, for it is of the old tree's packages.
    """
    run("umount", host.root)
    shutil.rmtree(host.memory / "upper" / "var" / "lib" / "dpkg", ignore_errors=True)
    _mount(host, base)


def unmake(host: Host) -> None:
    """Remove the host's disk; its name, address and host key stay."""
    unmount_below(host.folder)
    for folder in (host.memory, host.root, host.docker):
        if folder.exists():
            shutil.rmtree(folder)


def start(host: Host) -> None:
    """Switch the host on: it gets a new network and begins to boot. Returns at once."""
    power_off(host)
    network.plug(host.lab, host.name, host.address)
    # The process joins its groups, then gets a session and a parent of its own: the host outlives its creator.
    join = 'while [ "$1" != -- ]; do echo $$ >"$1/cgroup.procs" || exit; shift; done; shift'
    folders = (str(folder) for folder in groups.make(host.group))
    with host.console.open("wb") as console:
        subprocess.run(  # noqa: S603 (every word is the lab's)
            ("/bin/sh", "-c", f'{join}; exec setsid --fork "$@"', "sh", *folders, "--", *_nspawn(host)),
            stdin=subprocess.DEVNULL,
            stdout=console,
            stderr=subprocess.STDOUT,
            check=False,  # the console has the error, and wait_until_up reads it
            env={**os.environ, "SYSTEMD_SECCOMP": "0", "SYSTEMD_NSPAWN_API_VFS_WRITABLE": "network"},
        )


def power_off(host: Host) -> None:
    """Cut the power: every process ends at once and the network is gone; the disk stays as it was."""
    groups.remove(host.group)
    network.unplug(host.lab, host.name)
    # systemd-nspawn was killed too, and could not remove these files.
    shutil.rmtree(NSPAWN / "propagate" / _machine(host), ignore_errors=True)
    if host.root.is_mount():
        root = host.root.stat()
        (NSPAWN / "locks" / f"inode-{root.st_dev}:{root.st_ino}").unlink(missing_ok=True)


def wait_until_up(host: Host) -> None:
    """Wait until systemd has started everything and sshd answers. StepFailed, with the console's last lines, if not."""
    deadline = time.monotonic() + BOOT_LIMIT
    state = "no process"
    while time.monotonic() < deadline:
        state = system_state(host, deadline - time.monotonic())
        if state == "running" and _answers(host):
            return
        if state == "degraded" or (state == "off" and not groups.processes(host.group)):
            break
        time.sleep(0.05)
    raise StepFailed(Problem(f"did not boot: {state}\n{_last_words(host)}", host.name, "see `fab lab.status`"))


def system_state(host: Host, patience: float = 0) -> str:
    """Return systemd's state of the host: running, starting, degraded, or off.

    With `patience`, wait that many seconds for the boot to end. The jump host has no systemd: it is running or off.
    """
    if host.first_process is None:
        return "off"
    if host.name == JUMP:
        return "running"
    words = ["systemctl", "is-system-running", *(["--wait"] if patience else [])]
    try:
        return execute(host, words, timeout=patience or 10).stdout.strip() or "starting"
    except StepFailed:  # it takes too long, or the host was switched off meanwhile
        return "starting" if host.first_process else "off"


def execute(
    host: Host,
    command: Sequence[str],
    *,
    input: str | None = None,  # noqa: A002
    timeout: float = 60,
) -> subprocess.CompletedProcess[str]:
    """Run a command on the host as root, without SSH. StepFailed if the host is off or `timeout` is exceeded."""
    pid = host.first_process
    if pid is None:
        raise StepFailed(Problem("is off", host.name, "power it on first"))
    # The command would keep this process's capabilities, such as the one to set the machine's clock.
    dropped = ",".join(f"-{capability}" for capability in WITHHELD)
    limited = ("setpriv", f"--bounding-set={dropped}", f"--inh-caps={dropped}", "--")
    namespaces = ("--mount", "--uts", "--ipc", "--net", "--pid", "--cgroup", "--root", "--wd")
    environment = ("env", "-i", "HOME=/root", "LC_ALL=C.UTF-8", SEARCH_PATH)
    enter = (*limited, "nsenter", "--target", str(pid), *namespaces)
    return attempt((*enter, *environment, *command), input=input, timeout=timeout)


def unmount_below(folder: Path) -> None:
    """Unmount every file system that is mounted below a folder, the innermost first."""
    points = [line.split()[4] for line in Path("/proc/self/mountinfo").read_text(encoding="utf-8").splitlines()]
    for point in reversed([point for point in points if point.startswith(f"{folder}/")]):
        run("umount", "--lazy", point)


def _mount(host: Host, base: Base) -> None:
    layers = f"lowerdir={base.tree},upperdir={host.memory / 'upper'},workdir={host.memory / 'work'}"
    run("mount", "-t", "overlay", "-o", layers, "overlay", host.root)


def _nspawn(host: Host) -> tuple[str, ...]:
    shared = (
        *("systemd-nspawn", "--quiet", "--keep-unit", "--register=no", f"--directory={host.root}"),
        *(f"--machine={_machine(host)}", f"--hostname={host.name}"),
        f"--network-namespace-path={network.NAMESPACES / network.namespace(host.lab, host.name)}",
        *("--private-users=no", "--resolv-conf=off", "--link-journal=no", "--timezone=off"),
        *("--capability=all", f"--drop-capability={','.join(f'CAP_{right.upper()}' for right in WITHHELD)}"),
        "--system-call-filter=add_key keyctl bpf",
    )
    if host.name == JUMP:
        return (*shared, "--as-pid2", "sh", "-c", "mkdir -p /run/sshd && exec /usr/sbin/sshd -D -e")
    return (*shared, "--boot", f"--bind={host.docker}:/var/lib/docker")


def _machine(host: Host) -> str:
    return f"{host.lab}-{host.name}"


def _authorize(home: Path, public_key: str) -> None:
    owner = home.stat()
    folder = home / ".ssh"
    folder.mkdir(mode=0o700, exist_ok=True)
    keys = folder / "authorized_keys"
    keys.write_text(public_key, encoding="utf-8")
    keys.chmod(0o600)
    for path in (folder, keys):
        os.chown(path, owner.st_uid, owner.st_gid)


def _answers(host: Host) -> bool:
    """Whether the host's SSH server answers the controller."""
    banner = ("timeout", "2", "bash", "-c", f"head -c 4 </dev/tcp/{host.address}/22")
    return attempt((*network.inside(host.lab), *banner)).stdout == "SSH-"


def _last_words(host: Host) -> str:
    console = host.console.read_text(encoding="utf-8", errors="replace").splitlines() if host.console.exists() else []
    failed: list[str] = []
    if host.name != JUMP and host.first_process:
        failed = execute(host, ("systemctl", "--failed", "--plain", "--no-legend")).stdout.splitlines()
    return "\n".join((*failed, *console[-15:]))
