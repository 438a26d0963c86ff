"""What `provision` costs, against the same job done by hand: `python -m bench.run [--rounds 3]`, as root.

Each round makes hosts from nothing and runs bench/by_hand.sh on them; makes them again and runs `provision`,
then `provision` with nothing to do, then `plan`. All four run in the same place, the lab's controller
namespace, and reach the nodes directly. Exit code 1 when a bar is missed.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

from ruamel.yaml import YAML

from provision import lab

ROOT = Path(__file__).parents[1]
LAB = "bench"
NAMESPACE = f"{LAB}-ctl"
MOST_TIMES_UNAVOIDABLE = 2.0  # or the script by hand is no honest measure


@dataclass(frozen=True)
class Bar:
    """What we may take, as a multiple of the script by hand."""

    name: str
    command: tuple[str, ...]
    most: float


BARS = (
    Bar("provision a bare cluster", ("provision",), 1.0),
    Bar("provision, nothing to do", ("provision",), 0.3),
    Bar("plan, nothing to do", ("plan", "--exit-code"), 0.12),
)


@dataclass(frozen=True)
class Round:
    """Seconds: the script by hand, the parts of it that nobody can avoid, and ours in the order of BARS."""

    by_hand: float
    unavoidable: float
    ours: tuple[float, ...]


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the rounds, print what each took and the ratios, and return 1 when a bar is missed."""
    parser = argparse.ArgumentParser(prog="python -m bench.run", description=__doc__)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--nodes", type=int, default=2)
    options = parser.parse_args(arguments)
    folder = Path(tempfile.mkdtemp(prefix="bench-"))
    try:
        rounds = [one_round(folder, options.nodes, number) for number in range(1, options.rounds + 1)]
    finally:
        lab.down(LAB)
        shutil.rmtree(folder)
    return verdict(rounds)


def one_round(folder: Path, nodes: int, number: int) -> Round:
    """Run both competitors, each on hosts made from nothing."""
    inventory = fresh_hosts(folder, nodes)
    by_hand, words = timed(by_hand_command(inventory))
    parts = {name: float(seconds) for name, seconds in (line.split() for line in words.splitlines())}
    tell(number, "by hand", by_hand, ", ".join(f"{name} {seconds:.2f}" for name, seconds in parts.items()))
    inventory = fresh_hosts(folder, nodes)
    ours = []
    for bar in BARS:
        seconds, _ = timed([str(Path(sys.executable).with_name("fab")), "-i", str(inventory), *bar.command])
        tell(number, bar.name, seconds)
        ours.append(seconds)
    return Round(by_hand, parts["unavoidable"], tuple(ours))


def fresh_hosts(folder: Path, nodes: int) -> Path:
    """Make the hosts anew; return an inventory that reaches them directly, without the lab's gateway."""
    lab.down(LAB)
    shutil.rmtree(folder)
    folder.mkdir(mode=0o700)
    lab.up(LAB, nodes, folder, say=lambda _: None)
    yaml = YAML()
    content = yaml.load(folder / "inventory.yml")
    content["ssh"].pop("gateway", None)
    inventory = folder / "direct.yml"
    yaml.dump(content, inventory)
    return inventory


def by_hand_command(inventory: Path) -> list[str]:
    """Return the command line of by_hand.sh for an inventory; writes the OpenSSH configuration it needs."""
    content: dict[str, Any] = YAML(typ="safe").load(inventory)
    ssh, nodes = content["ssh"], content["nodes"]
    configuration = inventory.with_name("ssh_config")
    configuration.write_text(
        "".join(_host(name, ssh | node.get("ssh", {}), node) for name, node in nodes.items())
    )
    [(network, shape), *_] = content["overlay"]["networks"].items()
    return [
        str(ROOT / "bench/by_hand.sh"),
        str(configuration),
        str(inventory.parent / content["etcd"]["source"]),
        str(inventory.parent / content["probe"]["archive"]),
        *(content["probe"]["image"], network, shape["subnet"]),
        *(f"{name}={node['address']}" for name, node in nodes.items()),
    ]


def _host(name: str, ssh: dict[str, Any], node: dict[str, Any]) -> str:
    return (
        f"Host {name}\n  HostName {ssh.get('host', node['address'])}\n  User {ssh['user']}\n"
        f"  Port {ssh.get('port', 22)}\n  IdentityFile {ssh['key']}\n  IdentitiesOnly yes\n"
        f"  UserKnownHostsFile {ssh['known_hosts']}\n  StrictHostKeyChecking yes\n"
    )


def timed(command: Sequence[str]) -> tuple[float, str]:
    """Run a command in the controller namespace; return its seconds and output. SystemExit when it fails."""
    begun = time.monotonic()
    done = subprocess.run(
        ["ip", "netns", "exec", NAMESPACE, *command],
        cwd=ROOT,
        env={**os.environ, "TMPDIR": tempfile.gettempdir()},
        capture_output=True,
        text=True,
        check=False,
    )
    seconds = time.monotonic() - begun
    if done.returncode:
        raise SystemExit(f"{' '.join(command)}: exit code {done.returncode}\n{done.stdout}{done.stderr}")
    return seconds, done.stdout


def tell(number: int, name: str, seconds: float, detail: str = "") -> None:
    """Print one measurement as it is made."""
    print(f"round {number}  {name:<26} {seconds:7.2f} s  {detail}".rstrip(), flush=True)


def verdict(rounds: Sequence[Round]) -> int:
    """Print the medians against the bars."""
    by_hand = median(each.by_hand for each in rounds)
    honesty = median(each.by_hand / each.unavoidable for each in rounds)
    print(f"\n{'median':<26} {'seconds':>8} {'ratio':>7} {'bar':>6}")
    print(f"{'by hand':<26} {by_hand:8.2f} {1:7.2f}")
    missed = honesty > MOST_TIMES_UNAVOIDABLE
    for position, bar in enumerate(BARS):
        ours = median(each.ours[position] for each in rounds)
        ratio = ours / by_hand
        missed |= ratio > bar.most
        word = "missed" if ratio > bar.most else "held"
        print(f"{bar.name:<26} {ours:8.2f} {ratio:7.2f} {bar.most:6.2f}  {word}")
    print(f"\nby hand is {honesty:.2f} times its unavoidable parts (at most {MOST_TIMES_UNAVOIDABLE:g})")
    return int(missed)


if __name__ == "__main__":
    sys.exit(main())
