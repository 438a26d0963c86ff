"""Make labs, show their state, break them on purpose, and remove them without a trace."""

from __future__ import annotations

import fcntl
import json
import os
import re
import shutil
import subprocess
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

from provision.errors import Problem, UsageError
from provision.lab import base, groups, host, network, releases, requirements
from provision.lab import folder as lab_folder
from provision.lab.commands import attempt, run
from provision.lab.folder import HostStatus, Lab
from provision.lab.host import STATE, Host
from provision.lab.recipe import OPS_USER, Say

MOST_NODES = 100
SETTINGS = "lab.json"


def up(
    name: str = "lab",
    nodes: int = 2,
    folder: Path = Path("lab"),
    *,
    release: str = releases.DEFAULT,
    docker: str = "",
    ops: bool = False,
    say: Say,
) -> Lab:
    """Boot a lab of that many nodes and a jump host, and write its folder.

    Existing hosts stay: a host that is on is left alone, a host that is off is switched on, a half-made host is made
    again, and missing hosts are added. `docker`: the major version of Docker, if not the release's own. With `ops` the
    inventory logs in as the user whose sudo needs a password. UsageError (of an existing lab, too, that differs),
    PreflightRefused (this machine lacks something) or StepFailed.
    """
    _check_name(name)
    if not 1 <= nodes <= MOST_NODES:
        raise UsageError(Problem(f"a lab has 1 to {MOST_NODES} nodes, not {nodes}"))
    user = OPS_USER if ops else "root"
    settings = {"folder": str(folder.absolute()), "user": user, "release": release, "docker": docker}
    recipe = releases.find(release, docker)
    requirements.check(nodes)
    _check_fits(name, nodes, settings)  # before a base is built in vain
    foundation = base.ensure(say, recipe)
    with _changing(name):
        _check_fits(name, nodes, settings)
        _write_settings(name, settings)
        network.make(name)
        _make_key(name)
        for number in range(1, nodes + 1):
            host.node(name, number).folder.mkdir(exist_ok=True)
        host.jump(name).folder.mkdir(exist_ok=True)
        lab = _load(name, foundation)
        _each(lambda each: _bring_up(each, lab, say), (*lab.nodes, lab.jump))
        lab_folder.write(lab, _key(name))
    return lab


def add_node(name: str, *, say: Say) -> Lab:
    """Add one node to a lab, boot it, and write the inventory again."""
    lab = find(name, say=say)
    options = {"release": lab.release, "docker": lab.docker}
    return up(name, len(lab.nodes) + 1, lab.folder, **options, ops=lab.user == OPS_USER, say=say)


def renew(name: str, *nodes: str, say: Say) -> Lab:
    """Make every host again, or those named: with empty disks, and the same name, address and host key."""
    lab = find(name, say=say)
    hosts = [_host(name, node) for node in nodes] or [*lab.nodes, lab.jump]
    with _changing(name):
        _each(_forget, hosts)
        _each(lambda each: _bring_up(each, lab, say), hosts)
    return lab


def upgrade(name: str, node: str, *, release: str, docker: str = "", say: Say) -> None:
    """Boot a host with another release, or another Docker. What it wrote stays, its containers included."""
    each, foundation = _host(name, node), base.ensure(say, releases.find(release, docker))
    with _changing(name):
        host.power_off(each)
        host.rebase(each, foundation)
        host.start(each)
        host.wait_until_up(each)


def down(name: str) -> None:
    """Remove a lab, even a half-made one, and every trace of it. Do nothing if there is no such lab."""
    _check_name(name)
    with _changing(name):
        if settings := _settings(name):
            lab_folder.remove(Path(settings["folder"]), name)
        _each(host.power_off, _hosts(name))
        for group in groups.names(host.group_name(name, "")):
            groups.remove(group)
        network.remove(name)
        host.unmount_below(STATE / name)
        shutil.rmtree(STATE / name)
    if not any(STATE.iterdir()):
        STATE.rmdir()


def names() -> tuple[str, ...]:
    """Return the names of this machine's labs, including half-made ones."""
    return tuple(sorted(path.name for path in STATE.iterdir())) if STATE.is_dir() else ()


def find(name: str = "lab", *, say: Say = lambda _: None) -> Lab:
    """Return an existing lab. UsageError if there is none of that name."""
    _check_name(name)
    settings = _settings(name)
    if not settings:
        raise UsageError(Problem(f"there is no lab {name}", advice="make it: fab lab.up"))
    return _load(name, base.ensure(say, releases.find(settings["release"], settings["docker"])))


def status(name: str = "lab") -> tuple[HostStatus, ...]:
    """Return the state of every host now, the nodes first. Empty if there is no lab of that name."""
    _check_name(name)
    if hosts := _hosts(name):
        requirements.check_root()
    return tuple(
        HostStatus(each.name, each.address, host.system_state(each), network.link_is_up(name, each.name))
        for each in hosts
    )


def power_cut(name: str, node: str) -> None:
    """Cut a host's power. Everything the host wrote is kept, even data that was not synced."""
    each = _host(name, node)
    with _changing(name):
        host.power_off(each)


def power_on(name: str, *nodes: str, wait: bool = True) -> None:
    """Switch hosts on, all at once, and wait until they are up. Their cables are plugged in again.

    Without `wait`, return as soon as they boot: a Docker that waits for other hosts keeps a host from being up.
    """
    hosts = [_host(name, node) for node in nodes]
    with _changing(name):
        for each in hosts:
            if each.first_process is None:
                host.start(each)
        if wait:
            _each(host.wait_until_up, hosts)


def cut_link(name: str, node: str) -> None:
    """Cut a host's cable."""
    network.set_link(name, _host(name, node).name, "down")


def heal_link(name: str, node: str) -> None:
    """Mend a host's cable."""
    network.set_link(name, _host(name, node).name, "up")


def execute(
    name: str,
    node: str,
    command: Sequence[str],
    input: str | None = None,  # noqa: A002 (as in subprocess)
    timeout: float = 60,
) -> subprocess.CompletedProcess[str]:
    """Run a command on a host as root, without SSH: to inspect the host, or to break something on it."""
    return host.execute(_host(name, node), command, input=input, timeout=timeout)


def controller(
    name: str,
    command: Sequence[str],
    input: str | None = None,  # noqa: A002
    timeout: float = 60,
) -> subprocess.CompletedProcess[str]:
    """Run one of this machine's commands in the controller's network."""
    return attempt((*network.inside(name), *command), input=input, timeout=timeout)


def _bring_up(each: Host, lab: Lab, say: Say) -> None:
    if not host.is_made(each):
        host.power_off(each)
        host.make(each, lab.base, _key(lab.name).with_suffix(".pub").read_text(encoding="utf-8"))
    if each.first_process is None:
        say(f"{each.name}: booting")
        host.start(each)
    host.wait_until_up(each)
    say(f"{each.name}: up at {each.address}")


def _forget(each: Host) -> None:
    host.power_off(each)
    host.unmake(each)


def _each(action: Callable[[Host], None], hosts: Iterable[Host]) -> None:
    """Call the function with all hosts at once. When all are done, raise the first error in the order of the hosts."""
    with ThreadPoolExecutor(max_workers=32) as pool:
        for future in [pool.submit(action, each) for each in hosts]:
            future.result()


def _load(name: str, foundation: base.Base) -> Lab:
    settings = _settings(name)
    nodes = tuple(host.node(name, number) for number in _numbers(name))
    folder, user, release = Path(settings["folder"]), settings["user"], settings["release"]
    return Lab(name, folder, user, release, nodes, host.jump(name), foundation, settings["docker"])


def _settings(name: str) -> dict[str, str]:
    """Return the folder, the user, the release and the other Docker of a lab; empty if there is none."""
    path = STATE / name / SETTINGS
    # The file of a lab from before there were releases, or other Dockers, does not name them.
    return (
        {"release": releases.DEFAULT, "docker": "", **json.loads(path.read_text(encoding="utf-8"))}
        if path.exists()
        else {}
    )


def _write_settings(name: str, settings: dict[str, str]) -> None:
    path = STATE / name / SETTINGS
    temporary = path.with_suffix(".new")
    temporary.write_text(json.dumps(settings), encoding="utf-8")
    temporary.replace(path)


def _make_key(name: str) -> None:
    if not _key(name).with_suffix(".pub").exists():
        _key(name).unlink(missing_ok=True)
        run("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", f"lab {name}", "-f", _key(name))


def _key(name: str) -> Path:
    return STATE / name / "key"


def _numbers(name: str) -> tuple[int, ...]:
    """Return the numbers of the nodes, including half-made ones."""
    return tuple(sorted(int(path.name.removeprefix("node")) for path in (STATE / name).glob("node[0-9]*")))


def _hosts(name: str) -> tuple[Host, ...]:
    """Return every host, including half-made ones."""
    nodes = tuple(host.node(name, number) for number in _numbers(name))
    return (*nodes, host.jump(name)) if host.jump(name).folder.exists() else nodes


def _host(name: str, node: str) -> Host:
    hosts = {each.name: each for each in _hosts(name)}
    if node not in hosts:
        raise UsageError(Problem(f"lab {name} has no host {node}", advice=f"it has: {', '.join(hosts) or 'none'}"))
    return hosts[node]


def _check_fits(name: str, nodes: int, settings: dict[str, str]) -> None:
    """Raise UsageError if the lab exists and has more nodes, another folder, or runs something else."""
    existing = max(_numbers(name), default=0)
    if existing > nodes:
        advice = f"ask for {existing}, or take the lab down first: fab lab.down"
        raise UsageError(Problem(f"lab {name} has {existing} nodes already", advice=advice))
    known = _settings(name) or settings
    runs, wanted = (releases.describe(each["release"], each["docker"]) for each in (known, settings))
    for there, asked, what in ((known["folder"], settings["folder"], "has its inventory in"), (runs, wanted, "runs")):
        if there != asked:
            advice = f"use {there}, or take the lab down first: fab lab.down"
            raise UsageError(Problem(f"lab {name} {what} {there} already", advice=advice))


def _check_name(name: str) -> None:
    if not re.fullmatch(r"[a-z][a-z0-9]{0,19}", name):
        raise UsageError(Problem(f"{name!r} cannot name a lab", advice="use at most 20 lower-case letters and digits"))


@contextmanager
def _changing(name: str) -> Iterator[None]:
    """Hold the lock of a lab while it changes. The lock is the lab's folder, which `down` removes last."""
    requirements.check_root()
    place = STATE / name
    while True:
        place.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(place, os.O_RDONLY | os.O_DIRECTORY)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            if place.exists() and os.path.samestat(os.fstat(descriptor), place.stat()):
                yield
                return
        finally:
            os.close(descriptor)
