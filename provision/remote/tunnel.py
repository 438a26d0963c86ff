"""A local port that is forwarded through a node."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable
from contextlib import suppress

from paramiko import Channel, SSHException

from provision.errors import ConnectionFailed
from provision.remote.connection import Link, UnansweredError, open_forwarding

CHUNK = 64 * 1024


class Tunnel:
    """Listens on 127.0.0.1, and forwards each connection through the node to host:port."""

    def __init__(self, link: Link, host: str, port: int) -> None:
        """Listen. ConnectionFailed if sshd refuses to forward; a port where nothing listens yet is no error.

        The stream opened to find this out serves the first connection, so that the daemon sees no client hang up.
        """
        self._link = link
        self._destination = (host, port)
        self._spare: Channel | None = None
        with suppress(UnansweredError):
            self._spare = open_forwarding(link, host, port, link.where)
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        threading.Thread(target=self._accept, name=f"tunnel to {host}:{port}", daemon=True).start()

    def _accept(self) -> None:
        while True:
            try:
                caller, _ = self._listener.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(caller,), daemon=True).start()

    def _serve(self, caller: socket.socket) -> None:
        caller.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        spare, self._spare = self._spare, None
        try:
            fresh = spare is not None and not (spare.closed or spare.eof_received)
            channel = spare if spare and fresh else open_forwarding(self._link, *self._destination, self._link.where)
        except (OSError, SSHException, EOFError, ConnectionFailed):
            caller.close()
            return
        back = threading.Thread(
            target=_copy,
            args=(channel.recv, caller.sendall, lambda: caller.shutdown(socket.SHUT_WR)),
            daemon=True,
        )
        back.start()
        _copy(caller.recv, channel.sendall, channel.shutdown_write)
        back.join()
        with suppress(OSError, EOFError, SSHException):
            channel.close()
        caller.close()

    def close(self) -> None:
        """Accept no more connections. Open ones end with the connection to the node."""
        # shutdown wakes the thread in accept; close alone would leave it waiting.
        with suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        if self._spare is not None:
            with suppress(OSError, EOFError, SSHException):
                self._spare.close()


def _copy(receive: Callable[[int], bytes], send: Callable[[bytes], object], end: Callable[[], object]) -> None:
    """Copy bytes in one direction until the stream ends, and pass the end on."""
    with suppress(OSError, EOFError, SSHException):
        while data := receive(CHUNK):
            send(data)
    with suppress(OSError, EOFError, SSHException):
        end()
