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
    """The login options of the command line, for every node. The password never shows in a repr."""

    sudo_password: str | None = field(default=None, repr=False)
    identities: tuple[Path, ...] = ()
    ask: Callable[[str], bool] | None = None


@dataclass(frozen=True)
class Target:
    """One SSH server, and how to reach it and log in."""

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
        """Return user@host:port."""
        return f"{self.user}@{self.host}:{self.port}"

    @property
    def command_line(self) -> str:
        """The command by which a person logs in."""
        jump = f"-J {self.jump} " if self.jump else ""
        return f"ssh {jump}-p {self.port} {self.user}@{self.host}"


def resolve(ssh: SSH, login: Login, config: SSHConfig) -> Target:
    """Return the target: ~/.ssh/config, then OpenSSH's defaults, fill in what the inventory does not set."""
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
    options: dict[str, Any] = dict(config.lookup(name))
    host = str(options.get("hostname", name))
    port = port or int(options.get("port", SSH_PORT))
    user = user or str(options.get("user", getuser()))
    gateway = gateway or _unless_none(options.get("proxyjump")) or _unless_none(options.get("proxycommand"))
    jump = None
    if gateway and not is_command(gateway) and name not in passed:
        *before, last = gateway.split(",")
        further = ",".join(before) or None
        jump = _resolve(ssh, keys, config, parse_address(last), further, passed | {name})
        jump = None if (jump.host, jump.port) == (host, port) else jump
    own_keys = tuple(Path(key).expanduser() for key in options.get("identityfile", ()))
    return Target(
        host=host,
        port=port,
        user=user,
        keys=tuple(dict.fromkeys((*(key.expanduser() for key in keys), *own_keys))),
        only_these_keys=options.get("identitiesonly") == "yes",
        known_as=known_name(str(options.get("hostkeyalias", host)), port),
        known_hosts=ssh.known_hosts.expanduser(),
        host_keys=ssh.host_keys,
        jump=jump,
        command=fill_in(gateway, host, port, user) if gateway and is_command(gateway) else None,
    )


def _unless_none(value: str | None) -> str | None:
    return None if value is None or value.lower() == "none" else value


def is_command(gateway: str) -> bool:
    """Whether a gateway is a ProxyCommand: a jump host has neither spaces nor percent signs."""
    return bool(re.search(r"[\s%]", gateway))


def fill_in(command: str, host: str, port: int, user: str) -> str:
    """Replace %h, %p and %r by host, port and user, as OpenSSH does."""
    values = {"%h": host, "%n": host, "%p": str(port), "%r": user, "%%": "%"}
    return re.sub(r"%[hnpr%]", lambda match: values[match.group()], command)


def parse_address(text: str) -> tuple[str, int | None, str | None]:
    """Split [ssh://][user@]host[:port] into host, port and user. The host may be in brackets."""
    user, _, rest = text.strip().removeprefix("ssh://").rpartition("@")
    match = re.fullmatch(r"\[(?P<bare>[^\]]+)\](:(?P<at>\d+))?|(?P<host>[^:]+)(:(?P<port>\d+))?", rest)
    if match is None:
        return rest, None, user or None
    port = match["at"] or match["port"]
    return match["bare"] or match["host"], int(port) if port else None, user or None


def known_name(host: str, port: int) -> str:
    """Return the name of a server in a known_hosts file."""
    return host.lower() if port == SSH_PORT else f"[{host.lower()}]:{port}"


def target_of(node: Node, login: Login) -> Target:
    """Return the target of a node. ConnectionFailed if ~/.ssh/config cannot be parsed."""
    try:
        return resolve(node.ssh, login, user_config())
    except (SSHException, ValueError) as error:
        advice = "correct the file, or see how OpenSSH reads it: ssh -G HOST"
        raise ConnectionFailed(Problem(f"~/.ssh/config: {error}", node.name, advice)) from None


@cache
def user_config() -> SSHConfig:
    """Read ~/.ssh/config, then /etc/ssh/ssh_config: the first value found counts. Either file may be missing."""
    own, system = Path("~/.ssh/config").expanduser(), Path("/etc/ssh/ssh_config")
    # The `Host *` in between ends the last block of the first file.
    return SSHConfig.from_text(f"{read_config(own, own.parent)}\nHost *\n{read_config(system, system.parent)}")


def read_config(path: Path, folder: Path, depth: int = 0) -> str:
    """Return the text of a configuration with included files in place, because paramiko does not know Include.

    After an included file, the block that contains the Include goes on.
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
