"""Random command lines: `python random_command_lines.py SEED NUMBER FOLDER` prints each that ends badly.

Every command line has a process of its own, with streams of its own: a copy of this one, which has imported everything.
"""

from __future__ import annotations

import atexit
import json
import os
import random
import signal
import sys
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any, NoReturn

from fabric.main import program

import fabfile
from provision import streams

ROOT = Path(__file__).parents[2]
NAMES = ("stdin", "stdout", "stderr")
KINDS = ("usual", "usual", "usual", "closed", "full", "unread")
SECONDS = 50
#: Exit codes of the README, beside 1.
CODES = (0, 2, 3, 4, 5, 6, 7)

INVENTORY = """
version: 1
cluster: chance
ssh: {host_keys: strict, known_hosts: known_hosts, user: root, gateway: null}
nodes:
  node1: {address: 192.0.2.1, ssh: {host: 127.0.0.1, port: 1}}
  node2: {address: 192.0.2.2, ssh: {host: 127.0.0.1, port: 3}}
etcd: {source: nowhere.tar.gz}
probe: {image: busybox}  # büsybox
overlay: {networks: {demo: {subnet: 10.99.0.0/24}}}
"""
FILES = {
    "inventory.yml": INVENTORY,
    "strange.yml": INVENTORY.replace("busybox", "büsybox"),
    "bad.yaml": "nodes: [ünsinn\n",
    "hosts.ini": "[hosts]\nnode1\n",
    "id": "-----BEGIN OPENSSH PRIVATE KEY-----\nbroken\n-----END OPENSSH PRIVATE KEY-----\n",
    "id.pub": "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIA me\n",
    "script.sh": "echo ü\n",
    "ssh_config": "Match final all\n  User root\nMatch wibble\n",
}
VALUES = [
    *FILES,
    "",
    "x",
    "0",
    "-5",
    "7",
    "1e3",
    "9" * 400,
    "é",
    "\udcff",
    "a b",
    "x" * 5000,
    "nosuch",
    ".",
    "/dev/null",
]
VALUES += ["[", "(?P<", "node1", "out.html", "out.xml", "out.tar.gz", "no/out.html", "release", "--json", "192.0.2.9"]
#: Flags of Fabric. Those of the second row are read before the fabfile, in which `fab` finds us.
CORE = ("-i", "-i", "-i", "-H", "-S", "--ssh-config", "-e", "-p", "--hide", "--dry")
EARLY = ("--help", "--list", "--version", "-t", "-T", "-D", "-F", "-f", "-c")
BARE = ("-e", "--list", "-p", "--dry", "--help", "--version")


@dataclass(frozen=True)
class Line:
    """A command line, whether it is plain Fabric's, and the kind of each stream."""

    words: tuple[str, ...]
    plain: bool
    kinds: tuple[str, ...]


def drawn(chance: random.Random) -> Line:
    """Draw a command line. No lab is made or removed."""
    plain = chance.random() < 0.5
    verbs = {name: fabfile.namespace[name] for name in fabfile.namespace.task_names}
    words: list[str] = []
    for _ in range(chance.choice((0, 0, 1, 1, 2))):
        flag = chance.choice(CORE if plain else CORE + EARLY)
        words += [flag] if flag in BARE else [flag, chance.choice(VALUES)]
    name = chance.choice(sorted(verbs))
    words.append(chance.choice((name,) * 12 + ("wibble", "")))
    for argument in chance.sample(verbs[name].get_arguments(), k=len(verbs[name].get_arguments())):
        if chance.random() < 0.4:
            flag = chance.choice(argument.names)
            words.append(f"-{flag}" if len(flag) == 1 else f"--{flag.replace('_', '-')}")
            if argument.takes_value and chance.random() < 0.95:
                words.append(chance.choice(VALUES))
    if name == "run" and chance.random() < 0.8:
        words.append(chance.choice(("script.sh", *VALUES)))
    if name in ("lab.up", "lab.down"):
        words += ["--name", "../no-name-of-a-lab"]
    if chance.random() < 0.05:
        words.append(chance.choice(("--help", "--list")))  # as the last one: --list may take the word after it
    return Line(tuple(words), plain, tuple(chance.choice(KINDS) for _ in NAMES))


def become(line: Line, folder: Path) -> NoReturn:
    """Run the command line as Python would, in this process, and end it."""
    os.chdir(folder)
    signal.alarm(SECONDS)
    for descriptor, (name, kind) in enumerate(zip(NAMES, line.kinds, strict=True)):
        encoding = getattr(sys, name).encoding
        if kind == "closed":
            os.close(descriptor)
            setattr(sys, name, None)
            continue
        if kind == "unread":
            read, opened = os.pipe()
            os.close(read)
        else:
            path = "/dev/full" if kind == "full" else "/dev/null" if name == "stdin" else f"{os.getpid()}.{name}"
            opened = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
        os.dup2(opened, descriptor)
        os.close(opened)
        setattr(sys, name, os.fdopen(descriptor, "r" if name == "stdin" else "w", encoding=encoding, closefd=False))
    sys.excepthook = sys.__excepthook__
    sys.argv = ["fab", *(("-r", str(ROOT)) if line.plain else ()), *line.words]
    code = 0
    try:
        if line.plain:
            program.run()
        else:
            streams.guard()  # as at the import of the fabfile
            fabfile.main()
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else 0
    except BaseException as error:
        sys.excepthook(type(error), error, error.__traceback__)
        code = 1
    atexit._run_exitfuncs()
    os._exit(code)


def ended(line: Line, folder: Path) -> tuple[int, str]:
    """Run a command line in a process of its own. Return its exit code, negative for a signal, and what it printed."""
    pid = os.fork()
    if not pid:
        become(line, folder)
    _, status = os.waitpid(pid, 0)
    printed = ""
    for name in NAMES[1:]:
        if (path := folder / f"{pid}.{name}").exists():
            printed += path.read_text(errors="replace")
            path.unlink()
    return os.waitstatus_to_exitcode(status), printed


def fault(line: Line, folder: Path) -> str:
    """Return what is wrong about the end of a command line; empty if nothing is."""
    code, printed = ended(line, folder)
    if code == 1:  # Fabric's own: unknown verbs and flags. Its message may have gone nowhere.
        code, printed = ended(Line(line.words, line.plain, ("usual",) * 3), folder)
        if code == 1 and "Traceback" not in printed:
            return ""
    if any(words in printed for words in ("Traceback", "Exception ignored", "Exception in thread")):
        return printed[-1500:]
    if code in CODES or (code == -signal.SIGPIPE and "unread" in line.kinds):
        return ""
    return f"exit code {code}: {printed[-1500:]}"


def main(seed: str, number: str, place: str) -> None:
    """Run the command lines."""
    for module in ("provision.verbs.provision", "provision.verbs.reset", "provision.report.document", "provision.lab"):
        import_module(module)
    chance = random.Random(int(seed))
    folder = Path(place)
    for name, text in FILES.items():
        (folder / name).write_text(text, encoding="utf-8")
    codes: list[Any] = []
    for _ in range(int(number)):
        line = drawn(chance)
        if words := fault(line, folder):
            codes.append({"words": line.words, "plain": line.plain, "kinds": line.kinds, "fault": words})
    print(json.dumps({"ran": int(number), "faults": codes}))


if __name__ == "__main__":
    main(*sys.argv[1:])
