"""Addresses and subnets: many notations are recognised, to suggest the right one; only that one is accepted."""

from __future__ import annotations

import re
import unicodedata
from ipaddress import AddressValueError, IPv4Address, IPv4Network, IPv6Address

from provision.inventory.errors import Wrong, describe, show, visible
from provision.inventory.values import SSH_HOST, text

NO_HOST = {
    IPv4Network("0.0.0.0/8"): "no host has such an address",
    IPv4Network("127.0.0.0/8"): "this is a loopback address, on every host the host itself",
    IPv4Network("169.254.0.0/16"): "this is a link-local address, which is not routed and may change",
    IPv4Network("224.0.0.0/4"): "this is a multicast address, not that of a host",
    IPv4Network("255.255.255.255/32"): "this is the broadcast address, not that of a host",
    IPv4Network("240.0.0.0/4"): "this range is reserved",
}
"""Ranges that no host of a network has an address in (IANA's special-purpose registry, RFC 6890)."""

SMALLEST = 29
"""Prefix length of the smallest subnet: six addresses, of which Docker takes one for the gateway."""

LARGEST = 8
"""Prefix length of the largest subnet: 10.0.0.0/8 is the largest private range."""

AUTO = "auto"
"""The value that leaves the choice to the program."""

_OWN = "write the IPv4 address by which the other nodes reach this one (on the node: ip -4 -brief address)"
_EXAMPLE = "write it like 10.99.0.0/24, or auto"


def read_address(value: object) -> IPv4Address | None:
    """Return the IPv4 address that the value stands for, in any notation; None if it is no address."""
    if not isinstance(value, str):
        return None
    plain = "".join(str(unicodedata.digit(c, c)) for c in unicodedata.normalize("NFKC", value)).strip()
    try:
        if ":" in plain:
            return IPv6Address(plain).ipv4_mapped
        return IPv4Address(re.sub(r"(?<![0-9])0+(?=[0-9])", "", plain))
    except AddressValueError:
        return None


def address(value: str) -> str:
    """The IPv4 address of a host."""
    meant = read_address(value)
    if meant is None:
        raise Wrong(f"{show(value)} is not an IPv4 address", _instead_of(value))
    if value != str(meant):
        raise Wrong(f"{show(value)}: {_oddity(value)}", f"write {meant}")
    for block, what in NO_HOST.items():
        if meant in block:
            raise Wrong(f"{show(value)}: {what}", _OWN)
    return value


def _oddity(value: str) -> str:
    if value != value.strip():
        return "there is a blank at its " + ("start" if value[0].isspace() else "end")
    if foreign := next((character for character in value if not character.isascii()), None):
        return f"{describe(foreign)} is not a plain digit"
    return "this is an IPv4-mapped IPv6 address" if ":" in value else "a leading zero means octal to some programs"


def _instead_of(value: str) -> str:
    first, sign, rest = re.fullmatch(r"([^:/]*)([:/]?)(.*)", value, re.DOTALL).groups()  # type: ignore[union-attr]
    if read_address(first):
        port = f", and its SSH port as ssh: {{port: {visible(rest)}}}" if sign == ":" else ""
        return f"write {read_address(first)}{port}"
    if re.fullmatch(SSH_HOST, value) and not re.fullmatch(r"[0-9.]*", value):
        return f"{_OWN}; {value} may be written under ssh: {{host: {value}}}"
    return _OWN


def read_subnet(value: object) -> IPv4Network | None:
    """Return the network that the value stands for, with or without host bits; None if it is no network."""
    try:
        return IPv4Network(value.strip(), strict=False) if isinstance(value, str) else None
    except ValueError:
        return None


def subnet(value: str) -> str:
    """The IPv4 range of an overlay network, or `auto`."""
    if value == AUTO:
        return value
    meant = read_subnet(text(value))
    if meant is None:
        raise Wrong(f"{show(value)} is not an IPv4 subnet", _EXAMPLE)
    if "/" not in value:
        raise Wrong(f"{show(value)} has no prefix length", f"write {value}/24 if that is what you mean")
    if value != str(meant):
        is_host = value.partition("/")[0] != str(meant.network_address)
        what = "is an address in a subnet, not the subnet" if is_host else "is not how a subnet is written"
        raise Wrong(f"{show(value)} {what}", f"write {meant}")
    if meant.prefixlen > SMALLEST:
        raise Wrong(f"{show(value)} is too small for an overlay", f"take a /{SMALLEST} or larger, such as a /24")
    if meant.prefixlen < LARGEST:
        raise Wrong(f"{show(value)} is larger than any private range", f"take a /{LARGEST} or smaller")
    for block, what in NO_HOST.items():
        if meant.overlaps(block):
            raise Wrong(f"{show(value)}: {what}", _EXAMPLE)
    return value
