"""The checks of single values of the inventory. Each returns the value, or raises Wrong."""

from __future__ import annotations

import re
from collections.abc import Collection
from pathlib import Path
from typing import Literal
from urllib.parse import urlsplit

from provision.inventory.errors import Wrong, describe, is_unseen, show
from provision.inventory.reader import reading
from provision.inventory.releases import ARCHITECTURES, VERSIONS
from provision.layout import GOSSIP_PORT, VXLAN_PORT
from provision.ports import Port
from provision.versions import version_of

CLUSTER_NAME = r"[a-z0-9][a-z0-9-]*"
NAME = r"[A-Za-z0-9][A-Za-z0-9_.-]*"
"""Docker's own rule for names: names of nodes and networks become part of container names."""
SSH_USER = r"[A-Za-z0-9_][A-Za-z0-9_.@+-]*"
SSH_HOST = r"[A-Za-z0-9_.:][A-Za-z0-9_.:%-]*"
PACKAGE = r"[a-z0-9][a-z0-9+.-]+"
"""Debian's own rule for names of packages."""
IMAGE = r"[A-Za-z0-9][A-Za-z0-9._/:@-]*"
SHA256 = r"[0-9a-fA-F]{64}"
VERSION_BEGINNING = r"[1-9][0-9]{0,2}(\.(0|[1-9][0-9]{0,3})){0,2}"
VERSION = r"(0|[1-9][0-9]{0,3})(\.(0|[1-9][0-9]{0,3})){2}"

_JUMP = re.compile(rf"(ssh://)?({SSH_USER}@)?(\[[0-9a-fA-F:]+\]|[A-Za-z0-9_][A-Za-z0-9_.-]*)(:(?P<port>[0-9]{{1,5}}))?")

CLUSTER_LENGTH = 32
NAME_LENGTH = 63
"""Characters of a label in DNS (RFC 1035)."""

DOCKERS_NETWORKS = ("bridge", "host", "none", "docker_gwbridge", "ingress")

CERTIFICATE_DAYS = (1, 3650)
"""The shortest and the longest life of a certificate in swarm mode, in days. Docker allows an hour and more."""

VXLAN_PORTS = (1024, 49151)
"""Smallest and largest port that Docker takes for VXLAN."""

MTUS = (576, 9000)
"""Smallest and largest MTU in bytes: the one every host must accept (RFC 791), and that of jumbo frames."""


def text(value: str) -> str:
    """Text that is not empty and has no invisible character."""
    for character in value:
        if is_unseen(character):
            raise Wrong(f"{show(value)} holds {describe(character)}", "delete it: type the value again")
    if not value.strip():
        raise Wrong(f"{show(value)} is empty", "write a value, or delete the line")
    if value != value.strip():
        end = "start" if value[0].isspace() else "end"
        raise Wrong(f"{show(value)} has a blank at its {end}", f"write {value.strip()}")
    return value


def _plain(value: str, pattern: str, advice: str) -> str:
    match = re.match(pattern, text(value))
    fitting = len(match.group()) if match else 0
    if fitting == len(value):
        return value
    character = value[fitting]
    named = show(character) if character.isascii() else f"{describe(character)}, which is not a plain letter"
    raise Wrong(f"{show(value)} {'holds' if fitting else 'starts with'} {named}", advice)


def _short(value: str, limit: int) -> str:
    if len(value) > limit:
        raise Wrong(f"{show(value)} has {len(value)} characters", f"shorten it to {limit} at most")
    return value


def cluster_name(value: str) -> str:
    """A name for certificates and folders."""
    advice = "use a-z, 0-9 and dashes, and start with a letter or digit"
    return _short(_plain(value, CLUSTER_NAME, advice), CLUSTER_LENGTH)


def name(value: str) -> str:
    """A name for a node or a network; it becomes part of file and container names."""
    advice = "use a-z, A-Z, 0-9, dots, dashes and underscores, and start with a letter or digit"
    return _short(_plain(value, NAME, advice), NAME_LENGTH)


def network_name(value: str) -> str:
    """A name for an overlay network."""
    if name(value) in DOCKERS_NETWORKS:
        raise Wrong(f"{show(value)} is a network of Docker's own", "choose another name")
    return value


def port(value: int) -> int:
    """The port of an sshd."""
    if not 1 <= value <= 65535:
        raise Wrong(f"{show(value)} is not a port", "write a number from 1 to 65535; sshd's own default is 22")
    return value


def unused_port(value: int, ports: Collection[Port]) -> int:
    """The port of an sshd, which must not be a port that a cluster opens."""
    purposes = {port.number: port.purpose for port in ports}
    if value in purposes:
        used = ", ".join(map(str, sorted(purposes)))
        raise Wrong(f"{value} is taken by {purposes[value]}", f"let sshd listen on another port than {used}")
    return value


def vxlan_port(value: int) -> int:
    """The UDP port of VXLAN, as Docker takes it."""
    least, most = VXLAN_PORTS
    if not least <= value <= most or value == GOSSIP_PORT:
        raise Wrong(
            f"{show(value)} is no port for VXLAN",
            f"write a number from {least} to {most}, and not {GOSSIP_PORT}; {VXLAN_PORT} is the usual one",
        )
    return value


def certificate_days(value: int) -> int:
    """How many days a certificate lasts."""
    least, most = CERTIFICATE_DAYS
    if not least <= value <= most:
        raise Wrong(f"{show(value)} is no number of days", f"write a number from {least} to {most}")
    return value


def mtu(value: object) -> int | Literal["auto"]:
    """The size of the largest packet in bytes, or `auto`."""
    if value == "auto":
        return "auto"
    least, most = MTUS
    if not isinstance(value, int) or isinstance(value, bool) or not least <= value <= most:
        raise Wrong(f"{show(value)} is not a packet size", f"write a number from {least} to {most}, or auto")
    return value


def user(value: str) -> str:
    """A user to log in as."""
    return _plain(value, SSH_USER, "use a-z, A-Z, 0-9 and _ . @ + -")


def host(value: str) -> str:
    """A name or an address, as ssh takes it."""
    return _plain(value, SSH_HOST, "write a host's name or its address")


def gateway(value: str) -> str:
    """A jump host, several separated by commas, or a ProxyCommand."""
    text(value)
    if re.search(r"[\s%]", value):
        if "%h" not in value:
            what = f"{show(value)} looks like a ProxyCommand without %h for the host"
            raise Wrong(what, "put %h and %p in it: ssh -W %h:%p bastion")
        return value
    for jump in value.split(","):
        match = _JUMP.fullmatch(jump)
        if not match or jump.lower() == "none":
            advice = "write user@bastion:port, or an OpenSSH ProxyCommand with %h and %p; null for none"
            raise Wrong(f"{show(jump)} is not a jump host", advice)
        if match["port"] and not 1 <= int(match["port"]) <= 65535:
            raise Wrong(f"{match['port']} is not a port", "write a number from 1 to 65535")
    return value


def path(value: str) -> str:
    """A path on this machine; ~ is a home folder."""
    try:
        Path(text(value)).expanduser()
    except RuntimeError:
        raise Wrong(f"{show(value)}: there is no such home folder on this machine", "write the whole path") from None
    return value


def source(value: str) -> str:
    """A path, or an https URL."""
    text(value)
    scheme, mark, _ = value.partition("://")
    if not mark:
        return path(value)
    if scheme != "https":
        what = f"{show(value)}: a download over {scheme} can be changed in transit"
        raise Wrong(what, "take an https:// URL, or download it and name the file")
    return _url(value, "https://HOST/PATH")


def mirror(value: str) -> str:
    """The URL of a mirror of etcd's releases; plain http will do, because the checksum decides."""
    form = "https://HOST/PATH or http://HOST/PATH"
    if text(value).partition("://")[0] not in ("https", "http") or "?" in value or "#" in value:
        raise Wrong(f"{show(value)} is not the URL of a mirror", f"write {form}")
    return _url(value, form).rstrip("/")


def _url(value: str, form: str) -> str:
    try:
        parts = urlsplit(value)
        named, login = parts.hostname, "@" in parts.netloc
        _ = parts.port  # ValueError if it is no number
    except ValueError:
        named, login = None, False
    if not named or " " in value:
        raise Wrong(f"{show(value)} is not a URL", f"write {form}")
    if login:
        # Not shown: it is a secret.
        raise Wrong(f"the URL at {show(named)} holds a login, which messages would show", f"write {form}")
    return value


def etcd_version(value: str) -> str:
    """The version of an etcd release that works."""
    if not re.fullmatch(VERSION, text(value)):
        raise Wrong(f"{show(value)} is not the version of a release", "write its three numbers, such as 3.5.30")
    if not VERSIONS.holds(value):
        what = f"etcd {value} is outside {VERSIONS}: earlier ones can lose data, later ones have no v2 API for Docker"
        raise Wrong(what, "write a version inside, such as 3.5.30")
    return value


def docker_version(value: str) -> str:
    """A version of Docker, or its beginning."""
    if not re.fullmatch(VERSION_BEGINNING, text(value)):
        raise Wrong(f"{show(value)} is not a version of Docker", 'write it like "28.5.2", or its beginning: "28.5"')
    return value


def docker_archive(value: str) -> str:
    """The path of a static release of Docker, which has its version in the file's name."""
    if not version_of(Path(path(value)).name):
        what = f"{show(value)}: no version is in the file's name"
        raise Wrong(what, "keep the name that Docker publishes it with, docker-28.5.2.tgz")
    return value


def package(value: str) -> str:
    """The name of a package of Debian or Ubuntu."""
    return _plain(value, PACKAGE, "write it like docker.io: a-z, 0-9, dots, dashes and +")


def checksums(value: object) -> str | dict[str, str]:
    """A SHA-256; or a group of them, by the CPU as the archives' names have it."""
    if not isinstance(value, dict):
        return _checksum("sha256", value)
    choice = ", ".join(ARCHITECTURES.values())
    for cpu in value:
        if cpu not in ARCHITECTURES.values():
            raise Wrong(f"{show(cpu)} is no CPU that etcd is released for", f"the keys are {choice}")
    if not value:
        raise Wrong("nothing is written here", f"write {{amd64: 64 digits}}; the keys are {choice}")
    return {cpu: _checksum(cpu, one) for cpu, one in value.items()}


def _checksum(key: str, value: object) -> str:
    if isinstance(value, str):
        return sha256(value)
    taken = "nothing is written" if value is None else f"{show(value)} is taken for {reading(value)}"
    raise Wrong(f"{taken}, but text is expected", f'put it in quotes: {key}: "64 digits"')


def sha256(value: str) -> str:
    """A SHA-256 in hexadecimal."""
    text(value)
    if not re.fullmatch(SHA256, value):
        what = f"{show(value)} is not 64 hexadecimal digits"
        raise Wrong(what, "write what `sha256sum FILE` prints, or the release's file SHA256SUMS says")
    return value.lower()


def image(value: str) -> str:
    """The name of a container image."""
    return _plain(value, IMAGE, "write it like busybox:1.36 or registry.example/tools/busybox")
