"""Where a connection goes: the inventory and OpenSSH's options merged into one frozen value."""

from __future__ import annotations

import re
import threading
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path

from provision.errors import ConnectionFailed
from provision.inventory.model import SSH, HostKeyPolicy, Node
from provision.remote import openssh
from provision.remote.openssh import SSH_PORT, Options, Question

DEFAULT_KEYS = tuple(Path("~/.ssh") / name for name in ("id_ed25519", "id_ecdsa", "id_rsa"))

_jump_hosts = threading.Lock()


@dataclass(frozen=True)
class Login:
    """The login options of the command line, for every node. The password never shows in a repr.

    `configuration`: an OpenSSH configuration to read instead of the user's and the system's, as with `ssh -F`.
    `hurried`: the names of nodes that are expected to be silent; who does not answer within seconds is.
    """

    sudo_password: str | None = field(default=None, repr=False)
    identities: tuple[Path, ...] = ()
    ask: Callable[[str], bool] | None = None
    configuration: Path | None = None
    hurried: frozenset[str] = frozenset()


@dataclass(frozen=True)
class Target:
    """One SSH server, and how to reach it and log in.

    `keys` are offered before the agent's keys, and `default_keys` after them. `agent` is the agent's socket. With
    `passes_descriptor` the ProxyCommand opens the connection and passes it on.
    """

    host: str
    port: int
    user: str
    keys: tuple[Path, ...]
    default_keys: tuple[Path, ...]
    only_these_keys: bool
    agent: Path | None
    known_as: str
    known_hosts: Path
    host_keys: HostKeyPolicy
    jump: Target | None = None
    command: str | None = None
    passes_descriptor: bool = False

    def __str__(self) -> str:
        """Return user@host:port."""
        return f"{self.user}@{self.host}:{self.port}"

    @property
    def command_line(self) -> str:
        """The command by which a person logs in."""
        jump = f"-J {self.jump} " if self.jump else ""
        return f"ssh {jump}-p {self.port} {self.user}@{self.host}"


def resolve(ssh: SSH, login: Login) -> Target:
    """Return the target: OpenSSH's options fill in what the inventory does not set.

    UsageError or ConnectionFailed if OpenSSH has no answer.
    """
    keys = (*login.identities, *([ssh.key] if ssh.key else []))
    question = Question(ssh.host, ssh.user, ssh.port, login.configuration)
    return _resolve(ssh, keys, question, openssh.options(question), ssh.gateway, frozenset())


def _resolve(
    ssh: SSH,
    keys: tuple[Path, ...],
    question: Question,
    options: Options,
    gateway: str | None,
    passed: frozenset[str],
) -> Target:
    values = openssh.tokens(options, question.host)
    jumps, command = options.proxy_jump, options.proxy_command
    if gateway:
        jumps, command = (None, gateway) if is_command(gateway) else (gateway, None)
    jump = None
    if jumps and question.host not in passed:
        jump = _jump(ssh, keys, question, openssh.fill_in(jumps, values), passed)
        jump = None if (jump.host, jump.port) == (options.host, options.port) else jump
    own_keys = (openssh.path(name, values) for name in options.identity_files if name != "none")
    every_key = tuple(dict.fromkeys((*(key.expanduser() for key in keys), *own_keys)))
    return Target(
        host=options.host,
        port=options.port,
        user=options.user,
        keys=every_key,
        default_keys=() if every_key or options.identity_files else tuple(key.expanduser() for key in DEFAULT_KEYS),
        only_these_keys=options.identities_only,
        agent=openssh.agent(options, values),
        known_as=known_name(options.host_key_alias or options.host, options.port),
        known_hosts=ssh.known_hosts.expanduser(),
        host_keys=ssh.host_keys,
        jump=jump,
        command=openssh.fill_in(command, values) if command else None,
        passes_descriptor=options.passes_descriptor and not gateway,
    )


def _jump(ssh: SSH, keys: tuple[Path, ...], question: Question, route: str, passed: frozenset[str]) -> Target:
    """Return the last jump host of a route. All nodes behind it ask the same question: OpenSSH is asked once."""
    *before, last = route.split(",")
    host, port, user = parse_address(last)
    asked = Question(host, user, port, question.file)
    with _jump_hosts:
        options = openssh.options(asked)
    return _resolve(ssh, keys, asked, options, ",".join(before) or None, passed | {question.host})


def is_command(gateway: str) -> bool:
    """Whether a gateway is a ProxyCommand: a jump host has neither spaces nor percent signs."""
    return bool(re.search(r"[\s%]", gateway))


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
    """Return the target of a node. UsageError or ConnectionFailed if OpenSSH has no answer about it."""
    try:
        return resolve(node.ssh, login)
    except ConnectionFailed as error:
        raise ConnectionFailed(*(replace(problem, where=node.name) for problem in error.problems)) from None
