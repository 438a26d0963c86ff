"""The private keys to offer to a server, their order, and the explanation when the server accepts none."""

from __future__ import annotations

import os
import socket
from base64 import b64decode
from collections.abc import Iterator
from pathlib import Path

from cryptography.exceptions import UnsupportedAlgorithm
from paramiko import AuthenticationException, BadAuthenticationType, PKey, SSHException, Transport
from paramiko.agent import AgentSSH
from paramiko.pkey import UnknownKeyType

from provision.remote.target import Target

ENCRYPTED = "is encrypted, and no agent holds it"


class Identities:
    """Offers keys until the server accepts one: the named keys, then the agent's, then ~/.ssh/id_* if none is named.

    A key that no file gives (encrypted, in hardware, or only its public half) is looked for in the agent. paramiko
    calls `authenticate`.
    """

    def __init__(self, target: Target) -> None:
        """Take the target. No key is read before `authenticate`."""
        self.target = target
        self.refused: list[str] = []
        self.unusable: list[str] = []
        self.encrypted: list[Path] = []
        #: Keys that the server accepted, and the methods that it wants besides, or instead.
        self.accepted: list[str] = []
        self.wanted: list[str] = []
        self._agent: Agent | None = None

    def authenticate(self, transport: Transport) -> None:
        """Log in. AuthenticationException if the server accepts no key."""
        offered: set[bytes] = set()
        try:
            for name, key in self._candidates():
                if key.asbytes() in offered:
                    continue
                offered.add(key.asbytes())
                try:
                    # The methods that are still wanted after this key: none after a complete login.
                    self.wanted = transport.auth_publickey(self.target.user, key)
                except BadAuthenticationType as error:
                    self.wanted = error.allowed_types
                    self.refused.append(name)
                    break
                except AuthenticationException:
                    self.refused.append(name)
                except (SSHException, EOFError):
                    if not self.refused:
                        raise
                    # sshd limits the number of keys (MaxAuthTries): no more can be offered on this connection.
                    self.unusable.append(f"the server hung up after {len(self.refused)} keys")
                    break
                else:
                    if not self.wanted:
                        return
                    self.accepted.append(name)
                    if "publickey" not in self.wanted:
                        break
        finally:
            if self._agent is not None:
                self._agent.close()
        raise AuthenticationException(self.explanation())

    def explanation(self) -> str:
        """Return which keys were tried, and why each failed."""
        wanted = " or ".join(self.wanted)
        if self.accepted:
            return f"the server accepted {', '.join(self.accepted)}, and wants {wanted} as well (AuthenticationMethods)"
        if self.wanted:
            return f"the server takes no keys, only {wanted} (PubkeyAuthentication or AuthenticationMethods)"
        parts = [f"{path} {ENCRYPTED}" for path in self.encrypted]
        parts += self.unusable
        parts += [f"the server refused {', '.join(self.refused)}"] if self.refused else []
        return "; ".join(parts) or "there is no key to offer"

    def advice(self) -> str:
        """Return what to do; empty if nothing better is known than to try another key."""
        if self.wanted:
            return (
                f"let this user log in with a key alone, in its sshd_config: Match User {self.target.user}, with "
                "PubkeyAuthentication yes and AuthenticationMethods publickey; then reload sshd"
            )
        return f"ssh-add {self.encrypted[0]}" if self.encrypted else ""

    def _candidates(self) -> Iterator[tuple[str, PKey]]:
        for path in self.target.keys:
            yield from self._named(path)
        if not self.target.only_these_keys:
            for key in self._agent_keys():
                yield f"{getattr(key, 'comment', '') or key.get_name()} (agent)", key
        for path in self.target.default_keys:
            if path.is_file():
                yield from self._named(path)

    def _named(self, path: Path) -> Iterator[tuple[str, PKey]]:
        """Yield the key that a file names. If the file is a public key, the agent has to hold the private one."""
        read = self._read(path)
        if isinstance(read, PKey):
            yield str(path), read
            return
        blobs = {public_key(path), public_key(Path(f"{path}.pub"))} - {None}
        held = next((key for key in self._agent_keys() if key.asbytes() in blobs), None)
        if held:
            yield f"{path} (agent)", held
        elif read == ENCRYPTED:
            self.encrypted.append(path)
        elif public_key(path):
            self.unusable.append(f"{path} is a public key, and no agent holds its private key")
        else:
            self.unusable.append(f"{path} {read}")

    def _read(self, path: Path) -> PKey | str:
        """Return the private key in a file, or why there is none."""
        try:
            return PKey.from_path(path)
        except FileNotFoundError:
            return "does not exist"
        except TypeError:
            return ENCRYPTED  # `cryptography` raises this for a key that needs a passphrase
        except (OSError, ValueError, SSHException, UnknownKeyType, UnsupportedAlgorithm) as error:
            return f"cannot be read ({getattr(error, 'strerror', None) or 'not a private key'})"

    def _agent_keys(self) -> tuple[PKey, ...]:
        """Return the agent's keys. If the agent does not answer, that is part of the explanation."""
        if self._agent is None and self.target.agent:
            self._agent = Agent()
            try:
                self._agent.open(self.target.agent)
            except (SSHException, OSError):
                self.unusable.append(f"the agent at {self.target.agent} does not answer")
        return tuple(self._agent.get_keys()) if self._agent else ()


class Agent(AgentSSH):
    """The agent at a socket. paramiko's own class knows only the socket of SSH_AUTH_SOCK."""

    def open(self, path: Path) -> None:
        """Connect, and ask for the keys. SSHException or OSError if the agent does not answer."""
        connection = socket.socket(socket.AF_UNIX)
        try:
            connection.connect(os.fspath(path))
        except OSError:
            connection.close()
            raise
        self._connect(connection)  # type: ignore[attr-defined]

    def close(self) -> None:
        """Close the connection."""
        self._close()  # type: ignore[attr-defined]


def public_key(path: Path) -> bytes | None:
    """Return the public key in a file. None if there is no such file, or if it holds something else."""
    try:
        kind, text, *_ = path.read_text(encoding="utf-8").split()
        blob = b64decode(text, validate=True)
    except (OSError, ValueError):
        return None
    return blob if blob[4 : 4 + len(kind)] == kind.encode() else None
