"""Where a connection goes: the inventory and ~/.ssh/config merged into one frozen value."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cache
from getpass import getuser
from pathlib import Path
from typing import Any

from paramiko import SSHException
from paramiko.config import SSHConfig

from provision.errors import ConnectionFailed, Problem
from provision.inventory.model import SSH, HostKeyPolicy, Node

SSH_PORT = 22

INCLUDE_DEPTH = 16
"""How deep files may include each other, as in OpenSSH."""


@dataclass(frozen=True)
class Login:
    """What the command line says about every node. The password never shows in a repr."""

    sudo_password: str | None = field(default=None, repr=False)
    identities: tuple[Path, ...] = ()
    ask: Callable[[str], bool] | None = None


@dataclass(frozen=True)
class Target:
    """One SSH server, and how to reach and enter it."""

    host: str
    port: int
    user: str
    keys: tuple[Path, ...]
    only_these_keys: bool
    known_as: str
    known_hosts: Path
    host_keys: HostKeyPolicy
    jump: Target | None = None
    command: str | None = None

    def __str__(self) -> str:
        """As a person would write it."""
        return f"{self.user}@{self.host}:{self.port}"


def resolve(ssh: SSH, login: Login, config: SSHConfig) -> Target:
    """What the inventory leaves open, ~/.ssh/config decides, and after it the defaults of OpenSSH."""
    keys = (*login.identities, *([ssh.key] if ssh.key else []))
    return _resolve(ssh, keys, config, (ssh.host, ssh.port, ssh.user), ssh.gateway, frozenset())


def _resolve(
    ssh: SSH,
    keys: tuple[Path, ...],
    config: SSHConfig,
    address: tuple[str, int | None, str | None],
    gateway: str | None,
    passed: frozenset[str],
) -> Target:
    name, port, user = address
    found: dict[str, Any] = dict(config.lookup(name))
    host = str(found.get("hostname", name))
    port = port or int(found.get("port", SSH_PORT))
    user = user or str(found.get("user", getuser()))
    gateway = gateway or _unless_none(found.get("proxyjump")) or _unless_none(found.get("proxycommand"))
    jump = None
    if gateway and not is_command(gateway) and name not in passed:
        *before, last = gateway.split(",")
        further = ",".join(before) or None
        jump = _resolve(ssh, keys, config, parse_address(last), further, passed | {name})
        jump = None if (jump.host, jump.port) == (host, port) else jump
    own_keys = tuple(Path(key).expanduser() for key in found.get("identityfile", ()))
    return Target(
        host=host,
        port=port,
        user=user,
        keys=tuple(dict.fromkeys((*(key.expanduser() for key in keys), *own_keys))),
        only_these_keys=found.get("identitiesonly") == "yes",
        known_as=known_name(str(found.get("hostkeyalias", host)), port),
        known_hosts=ssh.known_hosts.expanduser(),
        host_keys=ssh.host_keys,
        jump=jump,
        command=fill_in(gateway, host, port, user) if gateway and is_command(gateway) else None,
    )


def _unless_none(value: str | None) -> str | None:
    return None if value is None or value.lower() == "none" else value


def is_command(gateway: str) -> bool:
    """Whether a gateway is a ProxyCommand; a jump host has neither blanks nor percent signs."""
    return bool(re.search(r"[\s%]", gateway))


def fill_in(command: str, host: str, port: int, user: str) -> str:
    """Put host, port and user in the place of %h, %p and %r, as OpenSSH does."""
    values = {"%h": host, "%n": host, "%p": str(port), "%r": user, "%%": "%"}
    return re.sub(r"%[hnpr%]", lambda match: values[match.group()], command)


def parse_address(text: str) -> tuple[str, int | None, str | None]:
    """Split [ssh://][user@]host[:port], the host perhaps in brackets."""
    user, _, rest = text.strip().removeprefix("ssh://").rpartition("@")
    match = re.fullmatch(r"\[(?P<bare>[^\]]+)\](:(?P<at>\d+))?|(?P<host>[^:]+)(:(?P<port>\d+))?", rest)
    if match is None:
        return rest, None, user or None
    port = match["at"] or match["port"]
    return match["bare"] or match["host"], int(port) if port else None, user or None


def known_name(host: str, port: int) -> str:
    """The name of a server in a known_hosts file."""
    return host.lower() if port == SSH_PORT else f"[{host.lower()}]:{port}"


def target_of(node: Node, login: Login) -> Target:
    """Where a node's connection goes. ConnectionFailed if ~/.ssh/config cannot be understood."""
    try:
        return resolve(node.ssh, login, user_config())
    except (SSHException, ValueError) as error:
        advice = "correct it, or see what OpenSSH makes of it: ssh -G HOST"
        raise ConnectionFailed(Problem(f"~/.ssh/config: {error}", node.name, advice)) from None


@cache
def user_config() -> SSHConfig:
    """~/.ssh/config before /etc/ssh/ssh_config: the first value found counts. Either may be missing."""
    own, system = Path("~/.ssh/config").expanduser(), Path("/etc/ssh/ssh_config")
    # A `Host *` between the two ends the last block of the first.
    return SSHConfig.from_text(f"{read_config(own, own.parent)}\nHost *\n{read_config(system, system.parent)}")


def read_config(path: Path, folder: Path, depth: int = 0) -> str:
    """The text of a configuration, what it includes in place (the library knows no Include).

    After an included file the block goes on that the Include stands in.
    """
    if not path.is_file() or depth > INCLUDE_DEPTH:
        return ""
    lines: list[str] = []
    block = "Host *"
    for line in path.read_text(errors="replace").splitlines():
        word, _, rest = line.strip().replace("=", " ", 1).partition(" ")
        if word.lower() == "include":
            for pattern in rest.replace('"', " ").split():
                for included in sorted(Path("/").glob(str(folder / Path(pattern).expanduser()).lstrip("/"))):
                    lines += [block, read_config(Path(included), folder, depth + 1)]
            lines.append(block)
            continue
        if word.lower() in ("host", "match"):
            block = line
        lines.append(line)
    return "\n".join(lines)
