"""The command line: `fab -i inventory.yml VERB`. The verbs are in provision/tasks/."""

from __future__ import annotations

import sys
from typing import Any

import fabric.main
from fabric import Config, Executor

# Invoke turns the writing of bytecode off. Python would then compile the modules below again in every run.
sys.dont_write_bytecode = bool(sys.flags.dont_write_bytecode)

from provision import streams  # noqa: E402  (see above)
from provision.command_line import refuse  # noqa: E402  (see above)
from provision.tasks import namespace  # noqa: E402  (see above)

streams.guard()

# OpenSSH itself reads its configuration (provision/remote/openssh.py). Fabric's reader does not understand all of it.
Config.load_ssh_config = lambda _: None


class OneVerb(Executor):
    """Runs one verb: each ends the process with its own exit code, so that a second one would never run."""

    def execute(self, *tasks: Any) -> Any:
        """Run the verb of the command line, or exit with 2 if there are several."""
        if len(tasks) > 1:
            verbs = [task.name for task in tasks]
            refuse(
                f"there is one verb in a run, not {len(verbs)}: {', '.join(verbs)}",
                "run them one after another, each with its own -i and flags",
                as_json=any(task.as_kwargs.get("json") for task in tasks),
            )
        return super().execute(*tasks)


fabric.main.program.executor_class = OneVerb


def main() -> None:
    """Run the same command line without a fabfile: `overlay-provision VERB`."""
    from importlib.metadata import version

    name = "overlay-provision"
    fabric.main.Fab(
        name=name,
        version=version(name),
        namespace=namespace,
        executor_class=OneVerb,
        config_class=Config,
    ).run()
