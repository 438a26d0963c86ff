"""The library's connection, for channels that many threads open at once, and that notices when it leads nowhere."""

from __future__ import annotations

import threading
from contextlib import suppress
from typing import Any

from paramiko import ChannelException, Message, SSHException, Transport
from paramiko.common import CONNECTION_FAILED_CODE

PULSE = 5.0
"""Seconds between two questions to the server whether it is there."""

SILENCE_LIMIT = 30.0
"""Seconds without an answer after which it is given up."""


class SharedTransport(Transport):
    """Tells each thread why its own channel was refused.

    The library keeps one reason for the whole connection: of two refused at once one gets none, or the other's.
    """

    def __init__(self, *arguments: Any, **options: Any) -> None:
        """As the library's."""
        super().__init__(*arguments, **options)
        self._asked = threading.local()
        self._refusals: dict[int, ChannelException] = {}
        self._ended = threading.Event()
        #: Whether it was closed because nothing came back any more.
        self.fell_silent = False

    def watch(self) -> None:
        """Ask the server from now on whether it is there, and close when it is not.

        TCP notices by itself only where it is ours: behind a ProxyCommand or a jump host it is somebody else's.
        """
        threading.Thread(target=self._watch, name="watch", daemon=True).start()

    def _watch(self) -> None:
        while not self._ended.wait(PULSE) and self.is_active():
            patience = threading.Timer(SILENCE_LIMIT, self._give_up)
            patience.daemon = True
            patience.start()
            with suppress(SSHException, EOFError, OSError):
                self.global_request("keepalive@openssh.com", wait=True)
            patience.cancel()

    def _give_up(self) -> None:
        self.fell_silent = True
        self.close()

    def close(self) -> None:
        """Close it, and end the watch."""
        self._ended.set()
        super().close()

    def _next_channel(self) -> int:
        number: int = super()._next_channel()  # type: ignore[misc]
        self._asked.channel = number
        return number

    def _parse_channel_open_failure(self, message: Message) -> None:
        number, code = message.get_int(), message.get_int()
        message.rewind()
        self._refusals[number] = ChannelException(code, CONNECTION_FAILED_CODE.get(code, "no reason given"))
        super()._parse_channel_open_failure(message)  # type: ignore[misc]

    def get_exception(self) -> Exception | None:
        """What went wrong for the thread that asks, or for all."""
        shared = super().get_exception()
        return self._refusals.pop(getattr(self._asked, "channel", -1), None) or shared
