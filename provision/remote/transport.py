"""A paramiko transport on which many threads open channels, and which closes when the server stops answering."""

from __future__ import annotations

import threading
from contextlib import suppress
from typing import Any

from paramiko import Channel, ChannelException, Message, SSHException, Transport
from paramiko.common import (
    CONNECTION_FAILED_CODE,
    cMSG_CHANNEL_CLOSE,
    cMSG_CHANNEL_FAILURE,
    cMSG_CHANNEL_OPEN,
    cMSG_CHANNEL_WINDOW_ADJUST,
)

PULSE = 5.0
"""Seconds between two keepalive requests to the server."""

SILENCE_LIMIT = 30.0
"""Seconds without an answer to a keepalive request after which the connection is closed."""

STREAM_LOCAL = "direct-streamlocal@openssh.com"
"""The kind of a channel to a Unix socket (OpenSSH's PROTOCOL, section 2.4)."""

CHANNEL_MESSAGES = range(cMSG_CHANNEL_WINDOW_ADJUST[0], cMSG_CHANNEL_FAILURE[0] + 1)
"""The messages that begin with the server's channel number (RFC 4254, section 9)."""


class SharedTransport(Transport):
    """A transport on which a failing channel does not affect the other channels.

    Each thread gets the reason why its own channel was refused. paramiko keeps one reason for the whole connection: if
    two channels are refused at once, one thread gets no reason, or the other's.

    Nothing is sent to a channel after its end. paramiko checks that the channel is open before it sends, but its reader
    thread may close the channel in between. OpenSSH then ends the whole connection ("nonexistent channel").
    """

    def __init__(self, *arguments: Any, **options: Any) -> None:
        """Take the arguments of paramiko's Transport."""
        super().__init__(*arguments, **options)
        self._calling_thread = threading.local()
        self._refusals: dict[int, ChannelException] = {}
        #: The server's numbers of the channels closed here, until the server uses them again.
        self._closed_numbers: set[int] = set()
        #: The server's message when it ended the connection; empty otherwise.
        self.last_words = ""
        self._ended = threading.Event()
        #: Whether the connection was closed because the server stopped answering.
        self.fell_silent = False

    def open_socket(self, path: str, timeout: float) -> Channel:
        """Open a stream from the server to a Unix socket there. paramiko does not name the socket in its request."""
        self._calling_thread.socket = path
        try:
            return self.open_channel(STREAM_LOCAL, timeout=timeout)
        finally:
            self._calling_thread.socket = ""

    def watch(self) -> None:
        """Start to send keepalive requests, and close the connection when the server does not answer.

        The kernel notices a dead server only on a direct TCP connection, not behind a ProxyCommand or a jump host.
        """
        threading.Thread(target=self._watch, name="watch", daemon=True).start()

    def _watch(self) -> None:
        while not self._ended.wait(PULSE) and self.is_active():
            timer = threading.Timer(SILENCE_LIMIT, self._give_up)
            timer.daemon = True
            timer.start()
            with suppress(SSHException, EOFError, OSError):
                self.global_request("keepalive@openssh.com", wait=True)
            timer.cancel()

    def _give_up(self) -> None:
        self.fell_silent = True
        self.close()

    def close(self) -> None:
        """Close the connection, and stop the keepalive requests."""
        self._ended.set()
        super().close()

    def _next_channel(self) -> int:
        number: int = super()._next_channel()  # type: ignore[misc]
        self._calling_thread.channel = number
        return number

    def _send_user_message(self, message: Message) -> None:
        path = getattr(self._calling_thread, "socket", "")
        if path and message.asbytes()[0] == cMSG_CHANNEL_OPEN[0]:
            message.add_string(path)
            message.add_string("")  # reserved
            message.add_int(0)
        super()._send_user_message(message)  # type: ignore[misc]

    def _send_message(self, message: Message) -> None:
        """Send one message. paramiko calls this for one thread at a time."""
        data = message.asbytes()
        if data[0] in CHANNEL_MESSAGES:
            number = int.from_bytes(data[1:5], "big")
            if number in self._closed_numbers:
                return
            if data[0] == cMSG_CHANNEL_CLOSE[0]:
                self._closed_numbers.add(number)
        super()._send_message(message)  # type: ignore[misc]

    def _parse_channel_open_success(self, message: Message) -> None:
        message.get_int()
        self._closed_numbers.discard(message.get_int())
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
        """Return the exception of the calling thread's channel, or of the whole connection."""
        shared = super().get_exception()
        return self._refusals.pop(getattr(self._calling_thread, "channel", -1), None) or shared
