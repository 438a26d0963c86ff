"""The cache of the controller on a disk that is full."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import pytest

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="needs root, for a disk of its own")

RUN = """
import sys
from pathlib import Path
from provision.errors import PreflightRefused
from provision.planes.etcd.download import download
url, sha256, file = sys.argv[1:]
try:
    download(url, sha256, Path(file), lambda _: None, advice="")
except PreflightRefused as error:
    print(error)
print(*(path.name for path in Path(file).parent.iterdir()))
"""


class Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *_: object) -> None:
        pass


@pytest.mark.parametrize(("size", "told"), [("64k", True), ("1m", False)])
def test_206_a_full_disk_is_named_and_no_half_file_is_left(tmp_path: Path, size: str, *, told: bool) -> None:
    content = os.urandom(200_000)
    (tmp_path / "etcd.tar.gz").write_bytes(content)
    disk = tmp_path / "disk"
    disk.mkdir()
    inside = f'mount -t tmpfs -o size={size} small "$1" && shift && exec "$@"'
    with ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(tmp_path))) as http:
        thread = Thread(target=http.serve_forever, args=(0.01,))
        thread.start()
        url = f"http://127.0.0.1:{http.server_port}/etcd.tar.gz"
        file = disk / "cache/etcd.tar.gz"
        arguments = [sys.executable, "-c", RUN, url, hashlib.sha256(content).hexdigest(), str(file)]
        command = ["unshare", "-m", "--propagation", "private", "sh", "-c", inside, "sh", str(disk), *arguments]
        done = subprocess.run(command, check=True, capture_output=True, text=True, timeout=60)
        http.shutdown()
        thread.join()
    *words, left = done.stdout.split("\n")[:-1]
    assert left == ("" if told else "etcd.tar.gz")
    if told:
        assert words[0] == f"controller: cannot write {file}: No space left on device"
        assert "make room there" in words[1]
        assert "XDG_CACHE_HOME=" in words[1]
