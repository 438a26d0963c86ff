"""What one value of the inventory may be. Each check returns the value, or raises Wrong."""

from __future__ import annotations

import re
import unicodedata
from ipaddress import AddressValueError, IPv4Address, IPv4Network, IPv6Address
from pathlib import Path
from urllib.parse import urlsplit

from provision import layout
from provision.inventory.mistakes import Wrong, describe, is_unseen, show

CLUSTER_NAME = r"[a-z0-9][a-z0-9-]*"
NODE_NAME = r"[A-Za-z0-9]([A-Za-z0-9._-]*[A-Za-z0-9])?"
NETWORK_NAME = r"[A-Za-z0-9][A-Za-z0-9_.-]*"
"""As Docker has it."""
SSH_USER = r"[A-Za-z0-9_][A-Za-z0-9_.@+-]*"
SSH_HOST = r"[A-Za-z0-9_.:][A-Za-z0-9_.:%-]*"
IMAGE = r"[A-Za-z0-9][A-Za-z0-9._/:@-]*"
SHA256 = r"[0-9a-fA-F]{64}"

NAME_LENGTH = 63
"""Of a label in DNS (RFC 1035): containers find each other by names made from these."""

CLUSTER_LENGTH = 32

DOCKERS_OWN_NETWORKS = ("bridge", "host", "none", "docker_gwbridge", "ingress")

OUR_PORTS = {
    layout.STORE_PORT: "etcd",
    layout.PEER_PORT: "etcd",
    layout.DOCKER_PORT: "the Docker API",
    layout.GOSSIP_PORT: "Docker's overlay",
    layout.VXLAN_PORT: "Docker's overlay",
}

NO_HOST = {
    IPv4Network("0.0.0.0/8"): "is no host's address",
    IPv4Network("127.0.0.0/8"): "is loopback: on every host it is that host itself",
    IPv4Network("169.254.0.0/16"): "is link-local: it changes, and is not routed",
    IPv4Network("224.0.0.0/4"): "is a multicast address",
    IPv4Network("255.255.255.255/32"): "is the broadcast address",
    IPv4Network("240.0.0.0/4"): "is reserved",
}
"""Address blocks that no host has (IANA, RFC 6890)."""

_OWN_ADDRESS = "write the address the other nodes reach it by; on the node: ip -4 -brief address"


def text(value: str) -> str:
    """Text with something in it, all of it to be seen."""
    if not value.strip():
        raise Wrong("is empty", "write a value, or delete the line")
    for character in value:
        if is_unseen(character):
            raise Wrong(f"{show(value)} holds {describe(character)}", "delete it: type the value anew")
    if value != value.strip():
        end = "start" if value[0].isspace() else "end"
        raise Wrong(f"{show(value)} has a blank at its {end}", f"write {value.strip()}")
    return value


def _plain(value: str, pattern: str, allowed: str, limit: int | None = None) -> str:
    text(value)
    for character in value:
        if not character.isascii():
            what = f"{show(value)} holds {describe(character)}, which is no plain letter or digit"
            raise Wrong(what, "type it anew with the letters a-z and digits 0-9 of the keyboard")
    if not re.fullmatch(pattern, value):
        raise Wrong(f"{show(value)} is not allowed", f"write it with {allowed}")
    if limit and len(value) > limit:
        raise Wrong(f"{show(value)} has {len(value)} characters", f"shorten it to {limit} at most")
    return value


def cluster_name(value: str) -> str:
    """A name for certificates and folders."""
    return _plain(value, CLUSTER_NAME, "a-z, 0-9 and dashes, not starting with a dash", CLUSTER_LENGTH)


def node_name(value: str) -> str:
    """A name for a host, which also becomes part of file names."""
    allowed = "letters, digits, dots, dashes and underscores, starting and ending with a letter or digit"
    if ".." in _plain(value, NODE_NAME, allowed, NAME_LENGTH):
        raise Wrong(f"{show(value)} has two dots in a row", "write one dot")
    return value


def network_name(value: str) -> str:
    """A name for an overlay network."""
    allowed = "letters, digits, dots, dashes and underscores, starting with a letter or digit"
    if _plain(value, NETWORK_NAME, allowed, NAME_LENGTH) in DOCKERS_OWN_NETWORKS:
        raise Wrong(f"{show(value)} is a network of Docker's own", "choose another name")
    return value


def read_address(value: object) -> IPv4Address | None:
    """Return the IPv4 address that is meant, however it is written; None if it is none."""
    if not isinstance(value, str):
        return None
    plain = unicodedata.normalize("NFKC", value).strip()
    try:
        if ":" in plain:
            return IPv6Address(plain).ipv4_mapped
        return IPv4Address(re.sub(r"(?<![0-9])0+(?=[0-9])", "", plain))
    except AddressValueError:
        return None


def address(value: str) -> str:
    """The IPv4 address of a host."""
    meant = read_address(value)
    if meant and value != str(meant):
        raise Wrong(
            f"{show(value)} is not how an IPv4 address is written: {_oddity(value)}", f"write {meant}"
        )
    if meant is None:
        raise Wrong(f"{show(value)} is no IPv4 address", _instead_of(value))
    for block, what in NO_HOST.items():
        if meant in block:
            raise Wrong(f"{show(value)} {what}", _OWN_ADDRESS)
    return value


def _oddity(value: str) -> str:
    if value != value.strip():
        return "it has a blank at its " + ("start" if value[0].isspace() else "end")
    foreign = next((character for character in value if not character.isascii()), None)
    if foreign:
        return f"it holds {describe(foreign)}"
    return "it is mapped to IPv6" if ":" in value else "some programs read a leading zero as octal"


def _instead_of(value: str) -> str:
    host, _, rest = re.sub(r"[/:]", " ", value).partition(" ")
    if read_address(host):
        return f"write {host}" + (f", and the SSH port as ssh: {{port: {rest}}}" if ":" in value else "")
    if re.fullmatch(SSH_HOST, value) and not re.fullmatch(r"[0-9.:]*", value):
        return (
            f"write the address that the nodes reach each other by; {value} may stand under ssh: {{host: …}}"
        )
    return _OWN_ADDRESS


def read_subnet(value: object) -> IPv4Network | None:
    """Return the network that is meant, host bits or not; None if it is none."""
    try:
        return IPv4Network(value, strict=False) if isinstance(value, str) else None
    except ValueError:
        return None


def subnet(value: str) -> str:
    """The IPv4 range of an overlay network."""
    example = "write it like 10.99.0.0/24"
    text(value)
    meant = read_subnet(value)
    if meant is None:
        raise Wrong(f"{show(value)} is no IPv4 subnet", example)
    if not re.fullmatch(r"[0-9.]+/[0-9]{1,2}", value):
        raise Wrong(f"{show(value)} lacks its prefix length", example)
    if value != str(meant):
        raise Wrong(f"{show(value)} is an address inside a subnet, not the subnet", f"write {meant}")
    if meant.prefixlen > 29:
        what = f"{show(value)} is too small: it has {meant.num_addresses} addresses, three of them not for containers"
        raise Wrong(what, "take /29 or larger; /24 has room for 253 containers")
    if meant.prefixlen < 8:
        raise Wrong(
            f"{show(value)} is too large: it takes in addresses of half the world", "take /8 or smaller"
        )
    for block, what in NO_HOST.items():
        if meant.overlaps(block):
            raise Wrong(f"{show(value)} {what}", example)
    return value


def port(value: int) -> int:
    """The port of an sshd."""
    if not 1 <= value <= 65535:
        raise Wrong(
            f"{show(value)} is no port", "write a number from 1 to 65535; 22 if you do not know better"
        )
    if value in OUR_PORTS:
        used = ", ".join(str(each) for each in sorted(OUR_PORTS))
        raise Wrong(f"{value} is taken by {OUR_PORTS[value]}", f"let sshd listen on another port than {used}")
    return value


def user(value: str) -> str:
    """A user to log in as."""
    return _plain(value, SSH_USER, "letters, digits, dots, dashes and underscores")


def host(value: str) -> str:
    """A name or an address, as ssh takes it."""
    return _plain(value, SSH_HOST, "letters, digits, dots and dashes: a host's name or address")


def gateway(value: str) -> str:
    """A jump host, several separated by commas, or a ProxyCommand."""
    text(value)
    if re.search(r"[\s%]", value):
        if "%h" not in value:
            what = f"{show(value)} looks like a ProxyCommand, and does not say where the host goes"
            raise Wrong(what, "put %h and %p in it: ssh -W %h:%p bastion")
        return value
    for jump in value.split(","):
        match = re.fullmatch(
            rf"(ssh://)?(({SSH_USER})@)?(\[[0-9a-fA-F:]+\]|[A-Za-z0-9_.-]+)(:(?P<port>[0-9]{{1,5}}))?", jump
        )
        if not match or jump.lower() == "none":
            advice = "write user@bastion:port, or an OpenSSH ProxyCommand with %h and %p; null for none"
            raise Wrong(f"{show(jump)} is no jump host", advice)
        if match["port"] and not 1 <= int(match["port"]) <= 65535:
            raise Wrong(f"{match['port']} is no port", "write a number from 1 to 65535")
    return value


def path(value: str) -> str:
    """A path on this machine; ~ is a home folder."""
    try:
        Path(text(value)).expanduser()
    except RuntimeError:
        raise Wrong(f"{show(value)}: nobody here has that home folder", "write the whole path") from None
    return value


def source(value: str) -> str:
    """A path, or an https URL."""
    text(value)
    scheme, mark, _ = value.partition("://")
    if not mark:
        return path(value)
    if scheme != "https":
        what = f"{show(value)}: what comes over {scheme} can be changed on its way"
        raise Wrong(what, "take an https:// URL, or download it and name the file")
    try:
        named = urlsplit(value).hostname
    except ValueError:
        named = None
    if not named or " " in value:
        raise Wrong(f"{show(value)} is no URL", "write https://HOST/PATH")
    return value


def sha256(value: str) -> str:
    """A SHA-256 in hexadecimal."""
    text(value)
    if not re.fullmatch(SHA256, value):
        what = f"{show(value)} is not 64 hexadecimal digits"
        raise Wrong(
            what, "write what `sha256sum FILE` prints, without prefix; the release's SHA256SUMS has it"
        )
    return value.lower()


def image(value: str) -> str:
    """The name of a container image."""
    return _plain(value, IMAGE, "letters, digits and ._/:@- as in registry.example/busybox:1.36")
