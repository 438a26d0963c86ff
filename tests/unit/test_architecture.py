"""What ARCHITECTURE.md promises of who imports, knows and prints what: read from the code."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
MODULES = [*sorted((ROOT / "provision").rglob("*.py")), ROOT / "fabfile.py"]
PLANES = {"etcd", "swarm"}

#: Where a module of a client library is imported, beside the place for all the rest of it.
SSH = {"fabfile.py": {"fabric", "fabric.main"}}
CLIENTS = {
    "provision/checks/suites/app.py": {"docker.errors"},
    "provision/checks/attached_shell.py": {"docker"},
    "provision/checks/probe_pool.py": {"docker.errors"},
    "provision/checks/orphans.py": {"docker.errors"},
    "provision/checks/scratch.py": {"docker", "docker.errors"},
    "provision/checks/probes.py": {"docker.errors", "docker.models.containers", "docker.types"},
    "provision/checks/suites/networks.py": {"docker.errors"},
    "provision/checks/temporary.py": {"docker.errors", "docker.types"},
    "provision/core/plane.py": {"docker"},
    "provision/phases/networks.py": {"docker", "docker.types"},
}
#: The clients of Docker's API, and those of the store.
MAKERS = ("provision/docker/client.py", "provision/planes/etcd/coordinator.py")

#: Who speaks to people: the reports, and the question that needs a yes.
SPEAKERS = (
    "provision/report/",
    "provision/command_line.py",
    "provision/verbs/session.py",
    "provision/inventory/__main__.py",
)

#: Loaded only where they are used, so that `plan` starts fast.
HEAVY = ("cryptography", "docker", "etcd3", "grpc", "jinja2", "requests", "rich", "urllib3")


def name(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def imports(path: Path) -> Iterator[str]:
    """Every module that is imported, also inside functions."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            yield node.module


def imported_from(path: Path, *libraries: str) -> set[str]:
    return {module for module in imports(path) if module.partition(".")[0] in libraries}


@pytest.mark.parametrize("path", MODULES, ids=name)
def test_only_remote_speaks_ssh(path: Path) -> None:
    if not name(path).startswith("provision/remote/"):
        assert imported_from(path, "fabric", "paramiko") <= SSH.get(name(path), set())


@pytest.mark.parametrize("path", MODULES, ids=name)
def test_only_two_modules_make_clients(path: Path) -> None:
    if name(path) not in MAKERS:
        assert imported_from(path, "etcd3", "docker") <= CLIENTS.get(name(path), set())


def comparisons(tree: ast.AST) -> Iterator[ast.expr]:
    """Every value that something is compared or matched with."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Compare):
            yield from (node.left, *node.comparators)
        elif isinstance(node, ast.MatchValue):
            yield node.value


def plane_names(tree: ast.AST) -> list[int]:
    """The lines on which a plane's name is compared."""
    return [
        part.lineno
        for value in comparisons(tree)
        for part in ast.walk(value)
        if isinstance(part, ast.Constant) and part.value in PLANES
    ]


@pytest.mark.parametrize("path", MODULES, ids=name)
def test_only_control_planes_compare_their_names(path: Path) -> None:
    if not name(path).startswith("provision/planes/"):
        assert plane_names(ast.parse(path.read_text())) == []


@pytest.mark.parametrize(
    "code",
    ["plane.name == 'etcd'", "if plane in ('auto', 'swarm'): pass", "match plane:\n    case 'etcd': pass"],
)
def test_a_comparison_would_be_seen(code: str) -> None:
    assert plane_names(ast.parse(code))


def test_the_command_line_starts_without_heavy_libraries() -> None:
    code = f"import sys, fabfile, provision.verbs.converge; print(*(set({HEAVY}) & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True, capture_output=True, text=True)
    heavy = set(done.stdout.split()) - {"cryptography"}  # paramiko's own
    assert heavy == set()


def test_phases_know_neither_reports_nor_verbs() -> None:
    for path in (ROOT / "provision/phases").glob("*.py"):
        assert not [module for module in imports(path) if module.startswith(("provision.report", "provision.verbs"))]


@pytest.mark.parametrize("path", MODULES, ids=name)
def test_only_those_who_speak_to_people_print(path: Path) -> None:
    if not name(path).startswith(SPEAKERS):
        calls = [node.func for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.Call)]
        assert [call.lineno for call in calls if isinstance(call, ast.Name) and call.id == "print"] == []
