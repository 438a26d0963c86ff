"""dockerd's command line and configuration as its package and its user have them, without what we add."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

from provision import layout


@dataclass(frozen=True)
class Vendor:
    """dockerd without us. `unit`: what `systemctl cat docker.service` prints; `options`: DOCKER_OPTS, if it is set."""

    unit: str = ""
    options: str = ""

    @classmethod
    def of(cls, values: Mapping[str, str]) -> Vendor:
        """Return it from the values among a node's facts."""
        return cls(values.get("docker-unit", ""), values.get("docker-options", ""))

    @property
    def command(self) -> str:
        """The last command line of the unit that is not ours."""
        commands: list[str] = []
        for section in re.split(r"(?m)^# (?=/)", self.unit):
            if section.startswith(layout.DOCKER_DROP_IN):
                continue
            for command in re.findall(r"(?m)^ExecStart=(.*)$", section.replace("\\\n", " ")):
                commands = [*commands, command.strip()] if command.strip() else []
        return re.sub(r"\s+", " ", commands[-1]) if commands else "/usr/bin/dockerd"

    @property
    def config(self) -> str:
        """The path of the user's configuration file: the one that the command line names, or the usual one."""
        command = self.command.replace("$DOCKER_OPTS", self.options)
        named = re.findall(r"--config-file[= ]([^\s\"']+)", command)
        return named[-1] if named else layout.DOCKER_CONFIG

    @property
    def flags(self) -> str:
        """All that may be on the command line and is not ours: we set no key of daemon.json there."""
        return f"{self.unit}\n{self.options}"
