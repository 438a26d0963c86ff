"""The question to a node, and the one script that asks it."""

from __future__ import annotations

import shlex
from collections.abc import Iterable
from dataclasses import dataclass, fields
from typing import Any
from urllib.parse import quote

from provision.facts import run_labels
from provision.node import library


@dataclass(frozen=True)
class Question:
    """What to ask a node in addition to `SURVEY`.

    `paths`: kind, mode and owner. `hashed`: the sha256. `shown`: the text; never that of a secret. `large`: the sha256
    of large files, which the node remembers while the files are unchanged.
    """

    paths: tuple[str, ...] = ()
    hashed: tuple[str, ...] = ()
    shown: tuple[str, ...] = ()
    units: tuple[str, ...] = ()
    users: tuple[str, ...] = ()
    ports: tuple[int, ...] = ()
    images: tuple[str, ...] = ()
    large: tuple[str, ...] = ()
    tables: tuple[str, ...] = ()
    neighbours: tuple[str, ...] = ()
    #: Folders whose file systems are asked for.
    spaces: tuple[str, ...] = ()
    #: Further paths of Docker's API.
    docker: tuple[str, ...] = ()
    #: Shell functions of a control plane, as text; calls of them; and slow calls, which run in parallel with the rest.
    #: Each call prints its answer with `fact_encoded answer NAME`.
    functions: tuple[str, ...] = ()
    calls: tuple[str, ...] = ()
    slow_calls: tuple[str, ...] = ()


def join(questions: Iterable[Question]) -> Question:
    """Return one question that asks everything in all of them once."""
    asked = tuple(questions)

    def all_of(name: str) -> Any:
        return tuple(dict.fromkeys(thing for question in asked for thing in getattr(question, name)))

    return Question(**{field.name: all_of(field.name) for field in fields(Question)})


#: What comes before every question: an upgrade of Docker that a killed run has left to itself is waited for.
AWAIT = """await_upgrade 45; [ -z "$waited" ] || fact value awaited-upgrade yes"""

#: The questions that every script asks: what preflight checks and templates need to know about a host.
SURVEY = """
fact value uname "$(uname -n -r -m)"
fact value machine-id "$(line_of /etc/machine-id)"
fact value init "$(line_of /proc/1/comm)"
fact value root "$(id -u)"
fact_addresses
routes=$(ip -4 route show table all 2>/dev/null)
fact value routes "$(printf %s "$routes" | while read -r one || [ "$one" ]; do
    case $one in 'local '* | 'broadcast '*) ;; *) printf '%s;' "$one" ;; esac # fact_addresses tells the addresses
done)"
fact_resolvers /etc/resolv.conf /run/systemd/resolve/resolv.conf
# One that is not completely installed is none (packages.sh).
[ -e "$state/docker/installing" ] || ! dockerd=$(command -v dockerd) || stamped dockerd "$dockerd" || {
    fact dockerd "$dockerd" "$(dockerd --version)"
    fact value dockerd-before "$(sed -n "s|$tab$dockerd$tab.*||p" "$state/stamps" 2>/dev/null)"
}
! command -v docker >/dev/null || fact value docker-cli yes
[ ! -f "$state/record" ] && [ ! -f "$state/docker/record" ] || fact value record yes
[ ! -f "$state/migration.json" ] || fact value migration yes
[ ! -f "$state/restore" ] || fact value restore "$(line_of "$state/restore") "
# Where a Docker of ours comes from: the first line of its record.
! IFS=$tab read -r _ _ origin <"$state/docker/record" 2>/dev/null || fact value docker-ours "$origin"
if [ -d /sys/module/vxlan ] || modprobe -n -q vxlan 2>/dev/null ||
    unshare -n ip link add try type vxlan id 1 dstport 0 2>/dev/null; then fact value vxlan yes; fi
fact_docker_unit
docker=$(docker_root_of "$docker_words" 2>/dev/null) || docker=/var/lib/docker
config=$(docker_flag config-file "$docker_words") config=${config:-/etc/docker/daemon.json}
[ ! -f "$config" ] || fact_encoded value daemon-json <"$config"
fact value docker-root "$docker"
fact_docker_failure "$config"
fact_containers
# Keepers are the last that provision creates. A dockerd that does not answer still has them on its disk.
! grep -qs '"overlay-keeper":' "$docker"/containers/*/config.v2.json || fact value keepers yes
# The file that dockerd reads at its start to know whether it is in swarm mode.
[ ! -f "$docker/swarm/docker-state.json" ] || fact value swarm yes
fact_spaces /etc /etc/systemd/system/docker.service.d /run /usr/local/lib/overlay-provision /var/lib/overlay-provision \
    "$docker"
fact_rules
"""


def script(question: Question) -> str:
    """Return the script that asks a question. It changes nothing.

    Slow questions to daemons run in parallel with the rest, in pipes: the left side runs at once, and `cat` on the
    right side prints its answer after the other answers.
    """
    calls = [
        ("fact_paths", question.paths),
        ("fact_hashes", question.hashed),
        ("fact_large", question.large),
        ("fact_texts", question.shown),
        ("fact_tables", question.tables),
        ("fact_sources", question.neighbours),
        ("fact_spaces", question.spaces),
        ("fact_ports", [str(port) for port in question.ports]),
    ]
    here = [SURVEY, run_labels.LOOK, *(f"{name} {_words(arguments)}" for name, arguments in calls if arguments)]
    here += [f"! id {shlex.quote(user)} >/dev/null 2>&1 || fact user {shlex.quote(user)}" for user in question.users]
    asked = "\n".join([*here, *question.calls])
    of_docker = [
        run_labels.EVERY_CONTAINER,
        *(f"/images/{quote(image, safe='/:@')}/json" for image in question.images),
        *run_labels.ASKED,
        *question.docker,
    ]
    for beside in (*question.slow_calls, f"fact_docker {_words(of_docker)}"):
        asked = f"{beside} | {{\n{asked}\ncat\n}}"
    units = f"fact_units {_words((*question.units, 'docker.socket'))}" if question.units else ""
    began, ended = (f'fact value clock-{name} "$(date +%s.%N)"' for name in ("began", "ended"))
    functions = "\n".join((library("facts"), *question.functions))
    return f"{functions}\n{AWAIT}\n{began}\n{units}\n{asked}\n{ended}\n"


def docker_script(paths: Iterable[str]) -> str:
    """Return a script that asks Docker's API for these paths, and nothing else."""
    return f"{library('facts')}\nfact_units docker.service\nfact_docker {_words(paths)}\n"


def marked_script() -> str:
    """Return a script that asks Docker for what runs left behind, and nothing else."""
    return docker_script(run_labels.ASKED)


def _words(arguments: Iterable[str]) -> str:
    return " ".join(shlex.quote(argument) for argument in arguments)
