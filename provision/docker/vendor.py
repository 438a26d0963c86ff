"""dockerd's command line and configuration as its package and its user have them, without what we add."""

from __future__ import annotations

import re
import shlex
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import PurePosixPath

from provision import layout

#: The socket at which everything here asks Docker, under both names of its folder.
SOCKETS = ("unix:///var/run/docker.sock", "unix:///run/docker.sock")
#: Settings of our drop-in that a later one would take away if it gave them, or if it gave them an empty value.
_REPLACED, _EMPTIED = ("ExecStart",), ("ExecStartPre", "ExecReload")
_DROP_IN = PurePosixPath(layout.DOCKER_DROP_IN).name


@dataclass(frozen=True)
class Source:
    """A part of dockerd's command line, and the file that it is written in."""

    file: str
    text: str


@dataclass(frozen=True)
class Vendor:
    """dockerd without us.

    `unit`: what `systemctl cat docker.service` prints. `environment`: lines `# FILE` and `NAME=VALUE`, the variables in
    the unit's environment files that the command line uses. `has_socket`: whether systemd has a socket for dockerd.
    """

    unit: str = ""
    environment: str = ""
    has_socket: bool = True

    @classmethod
    def of(cls, values: Mapping[str, str]) -> Vendor:
        """Return it from the values among a node's facts."""
        socket = values.get("docker-socket", "") != "none"
        return cls(values.get("docker-unit", ""), values.get("docker-options", ""), socket)

    @property
    def command(self) -> str:
        """The last command line of the unit that is not ours. systemd fills its variables in."""
        return self.sources[0].text

    @cached_property
    def sources(self) -> tuple[Source, ...]:
        """The last command line that is not ours, then each variable in it."""
        commands: list[Source] = []
        variables: list[tuple[str, Source]] = []
        for file, key, value in _settings(self.unit):
            if key == "ExecStart":
                commands = [*commands, Source(file, re.sub(r"\s+", " ", value))] if value else []
            elif key == "Environment":
                variables += [(name, Source(file, text)) for name, text in _assignments(value)]
        for file, name, value in _settings(self.environment):
            variables.append((name, Source(file, value.strip("\"'"))))
        command = commands[-1] if commands else Source(layout.DOCKER_UNIT, "/usr/bin/dockerd")
        used = re.findall(r"\$\{?(\w+)", command.text)
        return (command, *dict(variable for variable in variables if variable[0] in used).values())

    @property
    def flags(self) -> str:
        """All that is on the command line, with its variables."""
        return " ".join(source.text for source in self.sources)

    @property
    def config(self) -> str:
        """The path of the user's configuration file: the one that the command line names, or the usual one."""
        named = re.findall(r"--config-file[= ]([^\s\"']+)", self.flags)
        return named[-1] if named else layout.DOCKER_CONFIG

    def given(self, keys: Collection[str]) -> Iterator[tuple[str, str]]:
        """Yield each flag that sets one of these keys of daemon.json, and its file. Of `hosts`, only a TCP address."""
        for source in self.sources:
            for key in sorted(keys):
                name = "(?:-H|--host)[= ]?tcp://" if key == "hosts" else rf"--{key.removesuffix('s')}s?(?![\w-])"
                if found := re.search(rf"(?<![\w-]){name}", source.text):
                    yield found[0], source.file

    @property
    def overriding(self) -> tuple[str, ...]:
        """The drop-ins that systemd reads after ours, and that replace dockerd's command line or empty our settings."""
        return tuple(
            dict.fromkeys(
                file
                for file, key, value in _settings(self.unit)
                if PurePosixPath(file).suffix == ".conf" and PurePosixPath(file).name > _DROP_IN
                if key in _REPLACED or (key in _EMPTIED and not value)
            )
        )


def _settings(text: str) -> Iterator[tuple[str, str, str]]:
    """Yield the file, name and value of each setting in such a text, but not those of our drop-in."""
    parts = re.split(r"(?m)^# (/\S+)$", text)
    for file, section in zip(["", *parts[1::2]], parts[::2], strict=True):
        # By its name: systemd shows the folder that a link leads to.
        if PurePosixPath(file).name == _DROP_IN:
            continue
        # systemd passes over comments, also between the lines of one setting.
        lines = (line for line in section.splitlines() if not line.lstrip().startswith(("#", ";")))
        for name, value in re.findall(r"(?m)^\s*(\w+)[ \t]*=[ \t]*(.*?)\s*$", "\n".join(lines).replace("\\\n", " ")):
            yield file or layout.DOCKER_UNIT, name, value


def _assignments(value: str) -> Iterator[tuple[str, str]]:
    """Yield the name and value of each variable in the value of `Environment=`."""
    try:
        words = shlex.split(value)
    except ValueError:  # systemd ignores it too
        return
    for word in words:
        name, _, text = word.partition("=")
        yield name, text
