"""Whatever the file holds, the answer is a cluster, or mistakes that can be read; nothing is connected to."""

from __future__ import annotations

import json
import socket
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from inventory_sample import RIGHT

from provision import inventory
from provision.errors import Exit, ProvisionError
from provision.inventory.model import Cluster

KEYS = ["version", "cluster", "ssh", "nodes", "etcd", "docker", "overlay", "networks", "probe", "underlay"]
KEYS += [
    "address",
    "member",
    "host",
    "user",
    "port",
    "key",
    "gateway",
    "source",
    "sha256",
    "subnet",
    "demo",
    "[key]",
]
WORDS = [
    "192.0.2.1",
    "10.99.0.0/24",
    "no",
    "022",
    "22:22",
    "1e9",
    "~",
    "https://[x",
    "~x/y",
    "\0",
    "-x",
    "\u0661",
    "'",
    "",
]
MARKS = [
    "&a ",
    "*a",
    "!!x ",
    "!<",
    "%YAML 3.0\n",
    "---\n",
    "...\n",
    "- ",
    "? ",
    ": ",
    "{",
    "}",
    "[",
    "]",
    ", ",
    "|\n",
    ">+9\n",
]
MARKS += [
    "#",
    "\t",
    "\n",
    "\n  ",
    '"',
    "'",
    '"\\x',
    '"\\ud800"',
    "\\U00110000",
    "<<: ",
    "\ufeff",
    "\u202e",
    "\r",
    "\x85",
]

leaves = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20) | st.sampled_from(WORDS)
structures = st.recursive(
    leaves,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.sampled_from(KEYS) | st.text(), inner, max_size=6),
    max_leaves=30,
)
documents = st.dictionaries(st.sampled_from(KEYS), structures, max_size=10)
soup = st.lists(st.sampled_from([*KEYS, *WORDS, *MARKS, *RIGHT.splitlines(keepends=True)])).map("".join)


@st.composite
def mutilated(draw: st.DrawFn) -> str:
    """The right inventory, with something else in place of some of it."""
    text = RIGHT
    for _ in range(draw(st.integers(1, 4))):
        start = draw(st.integers(0, len(text)))
        other = draw(st.sampled_from([*WORDS, *MARKS, *KEYS]) | st.text(max_size=3))
        text = text[:start] + other + text[start + draw(st.integers(0, 12)) :]
    return text


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("anything") / "inventory.yml"


@pytest.fixture(scope="module", autouse=True)
def no_socket() -> Any:
    def explode(*_: object, **__: object) -> None:
        raise AssertionError("a socket was opened")

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(socket, "socket", explode)
        yield


def judge(path: Path, content: bytes) -> None:
    path.write_bytes(content)
    try:
        answer: Cluster | ProvisionError = inventory.load(path)
    except ProvisionError as error:
        answer = error
    if isinstance(answer, ProvisionError):
        assert answer.exit_code is Exit.USAGE
        assert answer.problems
        for problem in answer.problems:
            assert problem.where.startswith(str(path))
            assert problem.what
            assert problem.advice
            assert (problem.what + problem.advice).isprintable()


@given(content=st.binary())
@settings(deadline=None)
def test_any_bytes(path: Path, content: bytes) -> None:
    judge(path, content)


@given(text=st.text() | soup | mutilated())
@settings(deadline=None, max_examples=400)
def test_any_text(path: Path, text: str) -> None:
    judge(path, text.encode(errors="surrogatepass"))


@given(document=documents)
@settings(deadline=None, max_examples=200)
def test_any_structure(path: Path, document: dict[str, Any]) -> None:
    judge(path, json.dumps(document).encode())
