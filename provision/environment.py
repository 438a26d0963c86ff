"""The controller's environment where it would mislead the clients of a run."""

from __future__ import annotations

from collections.abc import MutableMapping

LOOPBACK = ("127.0.0.1", "localhost")
"""Where every tunnel begins."""


def bypass_proxies(environment: MutableMapping[str, str]) -> None:
    """Let no proxy stand before a tunnel, for gRPC, requests and urllib alike. Other addresses keep their proxy.

    gRPC reads no_grpc_proxy instead of no_proxy if it is set. A lower-case name has precedence over an upper-case one.
    """
    given = environment.get("no_proxy") or environment.get("NO_PROXY") or ""
    lists = {"no_proxy": given}
    if "no_grpc_proxy" in environment:
        lists["no_grpc_proxy"] = environment["no_grpc_proxy"]
    for name, value in lists.items():
        if value != "*":
            environment[name] = ",".join((*filter(None, [value]), *LOOPBACK))
