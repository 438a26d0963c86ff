"""The private keys to offer to a server, their order, and the explanation when the server accepts none."""

from __future__ import annotations

from base64 import b64decode
from collections.abc import Iterator
from pathlib import Path

from paramiko import Agent, AuthenticationException, BadAuthenticationType, PKey, SSHException, Transport
from paramiko.pkey import UnknownKeyType

from provision.remote.target import Target

DEFAULT_KEYS = tuple(Path("~/.ssh") / name for name in ("id_ed25519", "id_ecdsa", "id_rsa"))


class Identities:
    """Offers keys until the server accepts one: the named keys, then the agent's, then ~/.ssh/id_* if none is named.

    An encrypted key is looked for in the agent. paramiko calls `authenticate`.
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
        parts = [f"{path} is encrypted, and no agent holds it" for path in self.encrypted]
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
            yield from self._from_file(path)
        if not self.target.only_these_keys:
            for key in self._agent_keys():
                yield f"{getattr(key, 'comment', '') or key.get_name()} (agent)", key
        if not self.target.keys:
            for path in DEFAULT_KEYS:
                if path.expanduser().is_file():
                    yield from self._from_file(path.expanduser())

    def _from_file(self, path: Path) -> Iterator[tuple[str, PKey]]:
        try:
            yield str(path), PKey.from_path(path)
        except FileNotFoundError:
            self.unusable.append(f"{path} does not exist")
        except TypeError:
            # `cryptography` raises this for a key that needs a passphrase.
            yield from self._from_agent(path)
        except (OSError, ValueError, SSHException, UnknownKeyType) as error:
            reason = getattr(error, "strerror", None) or "not a private key"
            self.unusable.append(f"{path} cannot be read ({reason})")

    def _from_agent(self, path: Path) -> Iterator[tuple[str, PKey]]:
        public = Path(f"{path}.pub")
        blob = b64decode(public.read_text().split()[1]) if public.is_file() else None
        for key in self._agent_keys():
            if key.asbytes() == blob:
                yield f"{path} (agent)", key
                return
        self.encrypted.append(path)

    def _agent_keys(self) -> tuple[PKey, ...]:
        try:
            self._agent = self._agent or Agent()
            return tuple(self._agent.get_keys())
        except (SSHException, OSError):
            return ()
