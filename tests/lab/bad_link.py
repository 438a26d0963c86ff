"""A ProxyCommand with a bad link: `python bad_link.py HOST PORT cut|freeze BYTES FILE`, or `… slow MILLISECONDS`.

cut, freeze: when FILE exists and BYTES more bytes were sent, the process ends, or stops to carry anything.
slow: everything arrives later by MILLISECONDS, in both directions.
"""

from __future__ import annotations

import os
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from queue import SimpleQueue

SIZE = 4096


class Fuse:
    """Called with the size of each piece that is sent. Ends or stops the process when enough was sent."""

    def __init__(self, kind: str, after: int, file: Path) -> None:
        self.kind, self.left, self.file = kind, after, file

    def __call__(self, size: int) -> None:
        if self.file.exists():
            self.left -= size
        if self.left <= 0 and self.kind == "cut":
            os._exit(1)
        if self.left <= 0:
            os.kill(os.getpid(), signal.SIGSTOP)


def carry(receive: Callable[[], bytes], send: Callable[[bytes], object], seconds: float) -> None:
    """Carry everything, some seconds later, until the input ends; then end the process."""
    late: SimpleQueue[tuple[float, bytes]] = SimpleQueue()

    def deliver() -> None:
        while True:
            due, data = late.get()
            time.sleep(max(0.0, due - time.monotonic()))
            if not data:
                os._exit(0)
            send(data)

    threading.Thread(target=deliver).start()
    data = b"more"
    while data:
        data = receive()
        late.put((time.monotonic() + seconds, data))


def main(host: str, port: str, kind: str, *how: str) -> None:
    link = socket.create_connection((host, int(port)))
    link.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    fuse = Fuse(kind, int(how[0]), Path(how[1])) if kind in ("cut", "freeze") else None
    seconds = 0.0 if fuse else float(how[0]) / 1000

    def send(data: bytes) -> None:
        if fuse:
            fuse(len(data))
        link.sendall(data)

    threading.Thread(target=carry, args=(lambda: link.recv(SIZE), lambda data: os.write(1, data), seconds)).start()
    carry(lambda: os.read(0, SIZE), send, seconds)


if __name__ == "__main__":
    main(*sys.argv[1:])
