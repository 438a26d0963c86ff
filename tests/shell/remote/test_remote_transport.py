"""One connection, many channels: what happens to one channel is no matter of the others."""

from __future__ import annotations

import socket
import threading
from contextlib import closing

import pytest
from paramiko import Message
from paramiko.common import cMSG_CHANNEL_CLOSE, cMSG_CHANNEL_DATA
from remote_sshd import Sshd, await_true

from provision.errors import StepFailed
from provision.remote import Login, connect

DATA, CLOSE = cMSG_CHANNEL_DATA[0], cMSG_CHANNEL_CLOSE[0]


def data(number: int) -> Message:
    """Some data for the server's channel of that number."""
    message = Message()
    message.add_byte(cMSG_CHANNEL_DATA)
    message.add_int(number)
    message.add_string(b"?")
    return message


def test_what_is_sent_to_a_channel_that_was_closed_meanwhile_does_not_end_the_connection(
    server: Sshd, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The library looks whether the channel is open, and sends after that: its reader may close the channel between."""
    with closing(connect(server.node(), Login())) as remote, socket.create_server(("127.0.0.1", 0)) as listener:
        transport = remote._link.transport
        channel = transport.open_channel("direct-tcpip", listener.getsockname(), ("127.0.0.1", 0))
        peer, _ = listener.accept()
        send, parted = transport._send_user_message, threading.Event()

        def send_late(message: Message) -> None:
            kind = message.asbytes()[0]
            if kind == DATA:
                peer.close()
                # sshd closes the channel when it cannot write.
                await_true(lambda: parted.wait(0.1) or send(data(channel.remote_chanid)))
            send(message)
            if kind == CLOSE:
                parted.set()

        monkeypatch.setattr(transport, "_send_user_message", send_late)
        channel.send(b"late")
        assert parted.is_set()
        assert remote.run("echo there").stdout == "there\n"
        assert remote.run("echo again").stdout == "again\n"  # a channel of the number that was closed


def test_a_connection_that_the_server_ends_tells_its_last_words(server: Sshd) -> None:
    with closing(connect(server.node(), Login())) as remote:
        remote._link.transport._send_user_message(data(77))
        with pytest.raises(StepFailed) as failed:
            remote.run("sleep 10")
    assert "nonexistent channel" in str(failed.value)
