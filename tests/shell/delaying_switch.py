"""A switch that carries every frame some milliseconds later: `python delaying_switch.py MILLISECONDS INTERFACE…`.

It prints a line once it carries frames. Where the kernel has no netem, this is what makes a link slow.
"""

from __future__ import annotations

import select
import socket
import sys
import time
from collections import deque

ETH_P_ALL, SOL_PACKET, PACKET_VNET_HDR, PACKET_IGNORE_OUTGOING = 3, 263, 15, 23


def opened(interface: str) -> socket.socket:
    link = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(ETH_P_ALL))
    # The header says which checksums are still to be computed.
    link.setsockopt(SOL_PACKET, PACKET_VNET_HDR, 1)
    link.setsockopt(SOL_PACKET, PACKET_IGNORE_OUTGOING, 1)
    link.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 24)
    link.bind((interface, 0))
    return link


def main(milliseconds: str, *interfaces: str) -> None:
    links = [opened(interface) for interface in interfaces]
    late: deque[tuple[float, socket.socket, bytes]] = deque()
    print("carrying", flush=True)
    while True:
        wait = max(0.0, late[0][0] - time.monotonic()) if late else None
        ready, _, _ = select.select(links, [], [], wait)
        for link in ready:
            late.append((time.monotonic() + int(milliseconds) / 1000, link, link.recv(1 << 17)))
        while late and late[0][0] <= time.monotonic():
            _, source, frame = late.popleft()
            for link in links:
                if link is not source:
                    link.send(frame)


if __name__ == "__main__":
    main(*sys.argv[1:])
