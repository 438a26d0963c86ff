"""The library's connection, for channels that many threads open at once."""

from __future__ import annotations

import threading
from typing import Any

from paramiko import ChannelException, Message, Transport
from paramiko.common import CONNECTION_FAILED_CODE


class SharedTransport(Transport):
    """Tells each thread why its own channel was refused.

    The library keeps one reason for the whole connection: of two refused at once one gets none, or the other's.
    """

    def __init__(self, *arguments: Any, **options: Any) -> None:
        """As the library's."""
        super().__init__(*arguments, **options)
        self._asked = threading.local()
        self._refusals: dict[int, ChannelException] = {}

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
