"""What ARCHITECTURE.md promises of who imports, knows and prints what: read from the code."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
MODULES = [*sorted((ROOT / "provision").rglob("*.py")), ROOT / "fabfile.py"]

#: Where a module of a client library is imported, beside the place for all the rest of it.
SSH = {"fabfile.py": {"fabric", "fabric.main"}, "provision/tasks/options.py": {"fabric"}}
CLIENTS = {
    "provision/checks/suites/app.py": {"docker.errors"},
    "provision/checks/attached_shell.py": {"docker"},
    "provision/checks/probe_pool.py": {"docker.errors"},
    "provision/checks/orphans.py": {"docker.errors"},
    "provision/checks/scratch.py": {"docker", "docker.errors", "docker.utils"},
    "provision/checks/probes.py": {"docker.errors", "docker.models.containers", "docker.types"},
    "provision/checks/suites/networks.py": {"docker.errors"},
    "provision/checks/temporary.py": {"docker.errors", "docker.types"},
    "provision/core/plane.py": {"docker"},
    "provision/migration/phases.py": {"docker", "docker.types"},
    "provision/phases/networks.py": {"docker", "docker.types"},
    "provision/planes/etcd/phases/recovery.py": {"docker", "docker.types"},
    "provision/planes/swarm/coordinator.py": {"docker"},
    "provision/planes/swarm/phases/recover.py": {"docker"},
    "provision/planes/swarm/phases/swarm.py": {"docker"},
    "provision/planes/swarm/suites/nodes.py": {"docker.errors"},
}
#: The clients of Docker's API, and those of the store.
MAKERS = ("provision/docker/client.py", "provision/planes/etcd/coordinator.py")

#: Who speaks to people: the reports, and the question that needs a yes.
SPEAKERS = (
    "provision/report/",
    "provision/command_line.py",
    "provision/streams.py",
    "provision/inventory/__main__.py",
)

#: Loaded only where they are used, so that `plan` starts fast.
HEAVY = ("cryptography", "docker", "etcd3", "grpc", "h2", "jinja2", "requests", "rich", "urllib3")


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


#: Whose own keys name a control plane, and the lab, whose hosts hold one.
MAY_NAME_A_PLANE = ("provision/planes/", "provision/inventory/", "provision/lab/")
NEUTRAL = [path for path in MODULES if not name(path).startswith(MAY_NAME_A_PLANE)]


def words_of(tree: ast.AST) -> Iterator[tuple[int, str]]:
    """Every identifier, string, docstring and imported module, with its line."""
    for node in ast.walk(tree):
        line = getattr(node, "lineno", 0)
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield line, node.value
        elif isinstance(node, ast.Name):
            yield line, node.id
        elif isinstance(node, ast.Attribute):
            yield line, node.attr
        elif isinstance(node, ast.arg):
            yield line, node.arg
        elif isinstance(node, ast.keyword):
            yield line, node.arg or ""
        elif isinstance(node, ast.FunctionDef | ast.ClassDef):
            yield line, node.name
        elif isinstance(node, ast.ImportFrom):
            yield from ((line, f"{node.module}.{alias.name}") for alias in node.names)
        elif isinstance(node, ast.Import):
            yield from ((line, alias.name) for alias in node.names)


def plane_words(text: str) -> list[str]:
    """What names the etcd plane or its cluster store: `LINE: WORDS`."""
    found = re.compile(r"etcd|cluster.?store", re.IGNORECASE)
    return [f"{line}: {words}" for line, words in words_of(ast.parse(text)) if found.search(words)]


@pytest.mark.parametrize("path", NEUTRAL, ids=name)
def test_no_neutral_module_names_a_control_plane(path: Path) -> None:
    assert plane_words(path.read_text()) == []


@pytest.mark.parametrize("kind", ["sh", "j2"])
def test_no_neutral_script_or_template_names_a_control_plane(kind: str) -> None:
    files = [*(ROOT / "provision").rglob(f"*.{kind}"), *(ROOT / "templates").glob(f"*.{kind}")]
    neutral = [path for path in files if not name(path).startswith(MAY_NAME_A_PLANE)]
    assert neutral
    assert [name(path) for path in neutral if re.search("etcd|cluster.store", path.read_text(), re.IGNORECASE)] == []


@pytest.mark.parametrize(
    "code",
    ["import etcd3", "from provision.planes.etcd import paths", "etcd_port = 1", "advice = 'see the cluster store'"],
)
def test_a_word_of_a_control_plane_would_be_seen(code: str) -> None:
    assert plane_words(code)


@pytest.mark.parametrize("path", NEUTRAL, ids=name)
def test_only_the_registry_imports_a_control_plane(path: Path) -> None:
    assert not [module for module in imports(path) if module.startswith("provision.planes.")]


def room(module: str) -> str:
    """The package below `provision`, or the module there: each plane is a room of its own."""
    parts = module.removeprefix("provision.").split(".")
    return ".".join(parts[:2]) if parts[0] == "planes" else parts[0]


def module_of(path: Path) -> str:
    return name(path).removesuffix(".py").removesuffix("/__init__").replace("/", ".")


def arrows() -> dict[str, set[str]]:
    """For each room the rooms that it imports from, also inside functions and for types alone."""
    known = {module_of(path) for path in MODULES}
    found: dict[str, set[str]] = {}
    for path in MODULES:
        source = room(module_of(path))
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("provision"):
                for alias in node.names:
                    whole = f"{node.module}.{alias.name}"
                    target = room(whole if whole in known else str(node.module))
                    if target != source:
                        found.setdefault(source, set()).add(target)
    return found


#: From the bottom to the top: a room imports from rooms above its own line in this list, and from no other.
RANKS = (
    ("environment", "errors", "layout", "node", "templates"),
    ("client_errors", "ports", "streams", "versions", "waiting"),
    ("inventory", "lab"),
    ("docker", "remote", "pki"),
    ("facts", "bundle"),
    ("core",),
    ("network", "report", "resources"),
    ("phases",),
    ("migration",),
    ("recovery",),
    ("backup",),
    ("checks",),
    ("planes.etcd", "planes.swarm"),
    ("planes",),
    ("engine",),
    ("gathering",),
    ("verbs",),
    ("command_line",),
    ("tasks",),
    ("fabfile",),
)


def test_every_arrow_between_rooms_runs_downwards() -> None:
    rank = {room: number for number, rooms in enumerate(RANKS) for room in rooms}
    upwards = [
        f"{source} -> {target}"
        for source, targets in arrows().items()
        for target in targets
        if source != "provision" and rank[target] >= rank[source]
    ]
    assert upwards == []


def test_the_command_line_starts_without_heavy_libraries() -> None:
    code = f"import sys, fabfile, provision.verbs.provision; print(*(set({HEAVY}) & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True, capture_output=True, text=True)
    heavy = set(done.stdout.split()) - {"cryptography"}  # paramiko's own
    assert heavy == set()


def test_phases_know_neither_reports_nor_verbs() -> None:
    for path in (ROOT / "provision/phases").glob("*.py"):
        assert not [module for module in imports(path) if module.startswith(("provision.report", "provision.verbs"))]


#: Their bytes decide whether the lab's base tree is built anew.
RECIPES = ("recipe.py", "trixie.py")


@pytest.mark.parametrize("path", MODULES, ids=name)
def test_168_the_encoding_of_a_text_file_does_not_depend_on_the_locale(path: Path) -> None:
    calls = [node for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.Call)]
    names = ("read_text", "write_text")
    texts = [call for call in calls if isinstance(call.func, ast.Attribute) and call.func.attr in names]
    lines = [call.lineno for call in texts if "encoding" not in {keyword.arg for keyword in call.keywords}]
    assert lines == [] or path.name in RECIPES


@pytest.mark.parametrize("path", MODULES, ids=name)
def test_only_those_who_speak_to_people_print(path: Path) -> None:
    if not name(path).startswith(SPEAKERS):
        calls = [node.func for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.Call)]
        assert [call.lineno for call in calls if isinstance(call, ast.Name) and call.id == "print"] == []
