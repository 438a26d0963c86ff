"""The library's connection, for channels that many threads open at once, and that notices when it leads nowhere."""

from __future__ import annotations

import threading
from contextlib import suppress
from typing import Any

from paramiko import ChannelException, Message, SSHException, Transport
from paramiko.common import (
    CONNECTION_FAILED_CODE,
    cMSG_CHANNEL_CLOSE,
    cMSG_CHANNEL_FAILURE,
    cMSG_CHANNEL_WINDOW_ADJUST,
)

PULSE = 5.0
"""Seconds between two questions to the server whether it is there."""

SILENCE_LIMIT = 30.0
"""Seconds without an answer after which it is given up."""

CHANNEL_MESSAGES = range(cMSG_CHANNEL_WINDOW_ADJUST[0], cMSG_CHANNEL_FAILURE[0] + 1)
"""The messages that begin with the server's number of a channel (RFC 4254, section 9)."""


class SharedTransport(Transport):
    """What happens to one channel is no matter of the others.

    Each thread is told why its own channel was refused: the library keeps one reason for the whole connection, and of
    two refused at once one gets none, or the other's. And nothing is sent to a channel after its end: the library looks
    whether the channel is open, and sends after that, while its reader may close the channel between. OpenSSH ends the
    whole connection then ("nonexistent channel").
    """

    def __init__(self, *arguments: Any, **options: Any) -> None:
        """As the library's."""
        super().__init__(*arguments, **options)
        self._asked = threading.local()
        self._refusals: dict[int, ChannelException] = {}
        #: The server's numbers of channels that we have closed, until it gives them to others.
        self._parted: set[int] = set()
        #: What the server said when it ended the connection; empty where it did not.
        self.last_words = ""
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

    def _send_message(self, message: Message) -> None:
        """Send one message; the library calls this for one thread at a time."""
        data = message.asbytes()
        if data[0] in CHANNEL_MESSAGES:
            number = int.from_bytes(data[1:5], "big")
            if number in self._parted:
                return
            if data[0] == cMSG_CHANNEL_CLOSE[0]:
                self._parted.add(number)
        super()._send_message(message)  # type: ignore[misc]

    def _parse_channel_open_success(self, message: Message) -> None:
        message.get_int()
        self._parted.discard(message.get_int())
        message.rewind()
        super()._parse_channel_open_success(message)  # type: ignore[misc]

    def _parse_disconnect(self, message: Message) -> None:
        message.get_int()
        self.last_words = message.get_text()
        message.rewind()
        super()._parse_disconnect(message)  # type: ignore[misc]

    def _parse_channel_open_failure(self, message: Message) -> None:
        number, code = message.get_int(), message.get_int()
        message.rewind()
        self._refusals[number] = ChannelException(code, CONNECTION_FAILED_CODE.get(code, "no reason given"))
        super()._parse_channel_open_failure(message)  # type: ignore[misc]

    def get_exception(self) -> Exception | None:
        """What went wrong for the thread that asks, or for all."""
        shared = super().get_exception()
        return self._refusals.pop(getattr(self._asked, "channel", -1), None) or shared
