"""What `provision` costs, against the same job done by hand: `python -m bench.run [--rounds 3]`, as root.

Each round makes hosts from nothing and runs bench/by_hand.sh on them, with `--release trixie` bench/by_hand_swarm.sh;
makes them again and runs `provision`, then `provision` with nothing to do, then `plan`. All four run in the same place,
the lab's controller namespace, and reach the nodes directly. Exit code 1 when a bar is missed.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median

from provision import lab
from provision.lab import Lab

ROOT = Path(__file__).parents[1]
LAB = "bench"
FAB = str(Path(sys.executable).with_name("fab"))
MOST_TIMES_UNAVOIDABLE = 2.0  # or the script by hand is no honest measure


@dataclass(frozen=True)
class Bar:
    """What we may take, as a multiple of the script by hand."""

    name: str
    command: tuple[str, ...]
    most: float


def bars_of(provision: float, nothing: float, plan: float) -> tuple[Bar, ...]:
    """Return what we may take to provision bare hosts, to provision again, and to plan."""
    return (
        Bar("provision a bare cluster", ("provision",), provision),
        Bar("provision, nothing to do", ("provision",), nothing),
        Bar("plan, nothing to do", ("plan", "--exit-code"), plan),
    )


BARS: Mapping[str, tuple[Bar, ...]] = {
    "bookworm": bars_of(1.0, 0.3, 0.12),
    "trixie": bars_of(1.7, 0.5, 0.25),
}


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
    parser.add_argument("--release", choices=BARS, default="bookworm", help="the hosts' Debian; trixie: swarm mode")
    parser.add_argument("--by-hand-only", action="store_true", help="leave ours out")
    options = parser.parse_args(arguments)
    bars = () if options.by_hand_only else BARS[options.release]
    with tempfile.TemporaryDirectory(prefix="bench-") as folder:
        hosts = lab.up(LAB, options.nodes, Path(folder, "lab"), release=options.release, say=quiet)
        try:
            rounds = [one_round(hosts, bars, number) for number in range(1, options.rounds + 1)]
        finally:
            lab.down(LAB)
    return verdict(rounds, bars)


def one_round(hosts: Lab, bars: Sequence[Bar], number: int) -> Round:
    """Run both competitors, each on hosts made from nothing."""
    lab.renew(LAB, say=quiet)
    by_hand, words = timed(hosts, by_hand_command(hosts))
    parts = {name: float(seconds) for name, seconds in (line.split() for line in words.splitlines())}
    tell(number, "by hand", by_hand, ", ".join(f"{name} {seconds:.2f}" for name, seconds in parts.items()))
    if bars:
        lab.renew(LAB, say=quiet)
    inventory = direct_inventory(hosts)
    ours = []
    for bar in bars:
        seconds, _ = timed(hosts, [FAB, "-i", str(inventory), *bar.command])
        tell(number, bar.name, seconds)
        ours.append(seconds)
    return Round(by_hand, parts["unavoidable"], tuple(ours))


def direct_inventory(hosts: Lab) -> Path:
    """Write the lab's inventory without its gateway, in a folder with no identity yet; return its path."""
    folder = Path(tempfile.mkdtemp(dir=hosts.folder.parent))
    lines = hosts.inventory.read_text().splitlines(keepends=True)
    inventory = folder / "inventory.yml"
    inventory.write_text("".join(line for line in lines if not line.lstrip().startswith("gateway:")))
    return inventory


def by_hand_command(hosts: Lab) -> list[str]:
    """Return the command line of by_hand.sh for the hosts; writes the OpenSSH configuration it needs."""
    configuration = hosts.folder.parent / "ssh_config"
    everywhere = (
        f"User {hosts.user}\nIdentityFile {hosts.key}\nIdentitiesOnly yes\n"
        f"UserKnownHostsFile {hosts.known_hosts}\nStrictHostKeyChecking yes\n"
    )
    aliases = "".join(f"Host {node.name}\n  HostName {node.address}\n" for node in hosts.nodes)
    configuration.write_text(everywhere + aliases)
    return [
        *map(str, _script(configuration, hosts.base.etcd)),
        str(hosts.base.busybox),
        *("busybox", "demo", "10.99.0.0/24"),
        *(f"{node.name}={node.address}" for node in hosts.nodes),
    ]


def _script(configuration: Path, etcd: Path | None) -> tuple[Path, ...]:
    return (
        (ROOT / "bench/by_hand.sh", configuration, etcd) if etcd else (ROOT / "bench/by_hand_swarm.sh", configuration)
    )


def quiet(_: str) -> None:
    """Say nothing: what the lab does is not measured."""


def timed(hosts: Lab, command: Sequence[str]) -> tuple[float, str]:
    """Run a command in the controller namespace; return its seconds and output. SystemExit when it fails.

    Python keeps its bytecode there as it does for everybody, whatever this machine says.
    """
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    command = [*hosts.inside, *command]
    begun = time.monotonic()
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    seconds = time.monotonic() - begun
    if done.returncode:
        raise SystemExit(f"{' '.join(command)}: exit code {done.returncode}\n{done.stdout}{done.stderr}")
    return seconds, done.stdout


def tell(number: int, name: str, seconds: float, detail: str = "") -> None:
    """Print one measurement as it is made."""
    print(f"round {number}  {name:<26} {seconds:7.2f} s  {detail}".rstrip(), flush=True)


def verdict(rounds: Sequence[Round], bars: Sequence[Bar]) -> int:
    """Print the medians against the bars."""
    by_hand = median(each.by_hand for each in rounds)
    honesty = median(each.by_hand / each.unavoidable for each in rounds)
    print(f"\n{'median':<26} {'seconds':>8} {'ratio':>7} {'bar':>6}")
    print(f"{'by hand':<26} {by_hand:8.2f} {1:7.2f}")
    missed = honesty > MOST_TIMES_UNAVOIDABLE
    for position, bar in enumerate(bars):
        ours = median(each.ours[position] for each in rounds)
        ratio = ours / by_hand
        missed |= ratio > bar.most
        word = "missed" if ratio > bar.most else "held"
        print(f"{bar.name:<26} {ours:8.2f} {ratio:7.2f} {bar.most:6.2f}  {word}")
    print(f"\nby hand is {honesty:.2f} times its unavoidable parts (at most {MOST_TIMES_UNAVOIDABLE:g})")
    return int(missed)


if __name__ == "__main__":
    sys.exit(main())
