"""No proxy of the controller stands before a tunnel: real clients, and a proxy that counts who comes."""

from __future__ import annotations

import os
import select
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]

#: What a client of each kind does with the port of a tunnel. `sys.argv[2]` has `bypass` if the environment is mended.
START = """
import os, sys
from provision.environment import bypass_proxies
if sys.argv[2] == "bypass":
    bypass_proxies(os.environ)
port = sys.argv[1]
"""
CLIENTS = {
    "grpc": """
import grpc
channel = grpc.insecure_channel(f"127.0.0.1:{port}")
grpc.channel_ready_future(channel).result(timeout=30)
""",
    "requests": "import requests; requests.get(f'http://127.0.0.1:{port}/', timeout=30)",
    "urllib": "import urllib.request; urllib.request.urlopen(f'http://127.0.0.1:{port}/', timeout=30)",
}
VARIABLES = {
    "grpc": ("http_proxy", "https_proxy", "grpc_proxy"),
    "requests": ("http_proxy", "HTTP_PROXY", "ALL_PROXY"),
    "urllib": ("http_proxy", "HTTP_PROXY"),
}
CASES = [(client, variable) for client, variables in VARIABLES.items() for variable in variables]


@pytest.fixture
def doors() -> Iterator[tuple[socket.socket, socket.socket]]:
    """The tunnel's port, and the proxy's."""
    with socket.create_server(("127.0.0.1", 0)) as tunnel, socket.create_server(("127.0.0.1", 0)) as proxy:
        yield tunnel, proxy


def first_entered(doors: tuple[socket.socket, socket.socket], client: str, mode: str, **variables: str) -> str:
    """Start a client; return which door it comes to."""
    tunnel, proxy = doors
    proxies = {name: value.format(proxy.getsockname()[1]) for name, value in variables.items()}
    kept = {name: value for name, value in os.environ.items() if not name.lower().endswith("_proxy")}
    command = [sys.executable, "-c", START + CLIENTS[client], str(tunnel.getsockname()[1]), mode]
    process = subprocess.Popen(command, cwd=ROOT, env={**kept, **proxies}, stderr=subprocess.DEVNULL)
    try:
        (entered, *_), _, _ = select.select(doors, (), (), 60)
    finally:
        process.kill()
        process.wait()
    return "tunnel" if entered is tunnel else "proxy"


@pytest.mark.parametrize(("client", "variable"), CASES)
def test_169_a_client_goes_straight_to_its_tunnel(
    doors: tuple[socket.socket, socket.socket], client: str, variable: str
) -> None:
    proxies = {variable: "http://127.0.0.1:{}", "NO_PROXY": "example.com"}
    assert first_entered(doors, client, "bypass", **proxies) == "tunnel"


def test_169_without_that_the_proxy_would_be_asked(doors: tuple[socket.socket, socket.socket]) -> None:
    assert first_entered(doors, "grpc", "", http_proxy="http://127.0.0.1:{}") == "proxy"


def test_169_grpcs_own_list_of_exceptions_is_extended_too(doors: tuple[socket.socket, socket.socket]) -> None:
    proxies = {"http_proxy": "http://127.0.0.1:{}", "no_grpc_proxy": "example.com"}
    assert first_entered(doors, "grpc", "bypass", **proxies) == "tunnel"
