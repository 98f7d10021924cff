"""Runs on a host: prints, as JSON, which TCP ports of other hosts take a connection from here.

Standard input: {"addresses": [...], "ports": [...]}; without ports, all 65,535. A port is open if the connection is established, whatever
is said on it afterwards.
"""

from __future__ import annotations

import errno
import json
import select
import socket
import sys
import time

AT_ONCE = 400
PATIENCE = 5.0


def scan(address: str, ports: list[int]) -> list[int]:
    """The open ports of one address."""
    found = []
    waiting: dict[int, tuple[socket.socket, int, float]] = {}
    poller = select.epoll()
    left = iter(ports)
    more = True
    while more or waiting:
        while more and len(waiting) < AT_ONCE:
            port = next(left, 0)
            if not port:
                more = False
                break
            one = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
            one.setblocking(False)
            code = one.connect_ex((address, port))
            if code == errno.EINPROGRESS:
                waiting[one.fileno()] = (one, port, time.monotonic())
                poller.register(one.fileno(), select.EPOLLOUT)
                continue
            if code == 0:
                found.append(port)
            one.close()
        ready = {number for number, _event in poller.poll(0.2 if waiting else 0)}
        now = time.monotonic()
        for number in [key for key, (_one, _port, since) in waiting.items() if key in ready or now - since > PATIENCE]:
            one, port, _since = waiting.pop(number)
            if number in ready and one.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR) == 0:
                found.append(port)
            poller.unregister(number)
            one.close()
    return sorted(found)


request = json.loads(sys.stdin.read())
print(
    json.dumps(
        {address: scan(address, request.get("ports") or list(range(1, 65536))) for address in request["addresses"]}
    )
)
