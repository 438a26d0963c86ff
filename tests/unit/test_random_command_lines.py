"""No command line ends in a traceback: random verbs, flags, values and streams."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).parent
ROOT = HERE.parents[1]

#: The environments of the command lines, and how many each: four sets run at once.
SEED = 169
PLAIN = {"PYTHONUTF8": "0", "LC_ALL": "C", "LANG": "C"}
SETS = ({}, {}, {}, PLAIN)
EACH = 125


def test_162_163_166_167_168_none_of_500_random_command_lines_ends_in_a_traceback(tmp_path: Path) -> None:
    running = []
    for number, more in enumerate(SETS):
        folder = tmp_path / str(number)
        folder.mkdir()
        command = [sys.executable, str(HERE / "random_command_lines.py"), str(SEED + number), str(EACH), str(folder)]
        environment = {name: value for name, value in os.environ.items() if name not in PLAIN} | more
        environment |= {"PYTHONPATH": str(ROOT), "HOME": str(tmp_path)}
        running.append(subprocess.Popen(command, cwd=ROOT, env=environment, stdout=subprocess.PIPE))
    reports = [json.loads(process.communicate(timeout=300)[0]) for process in running]
    assert sum(report["ran"] for report in reports) == 500
    assert [fault for report in reports for fault in report["faults"]] == []
