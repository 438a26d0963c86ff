"""A local port or socket whose connections are forwarded through a node."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable
from contextlib import suppress

from paramiko import Channel, SSHException

from provision.errors import ConnectionFailed
from provision.remote.connection import UnansweredError

CHUNK = 64 * 1024


class Tunnel:
    """Accepts connections, and forwards each one as a stream of its own."""

    def __init__(self, listener: socket.socket, open_stream: Callable[[], Channel]) -> None:
        """Serve a listening socket. ConnectionFailed if sshd refuses to forward; that nothing answers yet is no error.

        The stream opened to find this out serves the first connection, so that the daemon sees no client hang up.
        """
        self._open = open_stream
        self._spare: Channel | None = None
        with suppress(UnansweredError):
            self._spare = open_stream()
        self._listener = listener
        threading.Thread(target=self._accept, name=f"tunnel from {listener.getsockname()}", daemon=True).start()

    def _accept(self) -> None:
        while True:
            try:
                caller, _ = self._listener.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(caller,), daemon=True).start()

    def _serve(self, caller: socket.socket) -> None:
        if caller.family == socket.AF_INET:
            caller.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        spare, self._spare = self._spare, None
        try:
            fresh = spare is not None and not (spare.closed or spare.eof_received)
            channel = spare if spare and fresh else self._open()
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
