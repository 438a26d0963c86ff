"""What reaches the disk, and in which order: a power cut keeps only what was synced."""

from __future__ import annotations

import re
import shutil
import subprocess
from hashlib import sha256
from pathlib import Path

import pytest

from provision.remote.scripts import push_line


@pytest.mark.skipif(not shutil.which("strace"), reason="needs strace")
@pytest.mark.parametrize("shell", [["dash"], ["busybox", "sh"]])
def test_a_file_is_synced_before_it_gets_its_name_and_its_folder_after(tmp_path: Path, shell: list[str]) -> None:
    data = b"content"
    target = tmp_path / "file"
    line = push_line("mark", str(target), sha256(data).hexdigest(), 0o640)
    trace = tmp_path.parent / f"{tmp_path.name}.trace"
    calls = "trace=fsync,rename,renameat,renameat2,chmod,fchmodat"
    command: list[str | Path] = [
        "strace",
        "-f",
        "-y",
        "-o",
        trace,
        "-e",
        calls,
        *shell,
        "-c",
        'IFS= read -r line && eval "$line"',
    ]
    subprocess.run(command, input=line.encode() + data, check=True, capture_output=True)
    assert target.read_bytes() == data
    seen = re.findall(r"(fsync|rename|chmod)\w*\((.*)\) += 0", trace.read_text())
    assert [name for name, _ in seen] == ["chmod", "fsync", "rename", "fsync"]
    assert f"{tmp_path}/.file.pushed." in seen[1][1]
    assert seen[3][1].endswith(f"<{tmp_path}>")
