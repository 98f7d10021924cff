"""Peers that do not behave: small servers on loopback for tests of clients. Each serves until its test ends."""

from __future__ import annotations

import contextlib
import socket
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

Conversation = Callable[[socket.socket], None]
LOOPBACK = "127.0.0.1"


def free_port() -> int:
    """A TCP port on which nothing listens at the moment."""
    with socket.socket() as probe:
        probe.bind((LOOPBACK, 0))
        port: int = probe.getsockname()[1]
        return port


@contextlib.contextmanager
def peer(conversation: Conversation) -> Iterator[int]:
    """A server that has the same conversation with everyone who connects; yields its port."""
    held: list[socket.socket] = []
    ended = threading.Event()

    def one(connection: socket.socket) -> None:
        with contextlib.suppress(OSError):
            conversation(connection)

    def serve(listening: socket.socket) -> None:
        while not ended.is_set():
            try:
                connection, _address = listening.accept()
            except OSError:
                return
            held.append(connection)
            threading.Thread(target=one, args=(connection,), daemon=True).start()

    with socket.create_server((LOOPBACK, 0)) as listening:
        thread = threading.Thread(target=serve, args=(listening,), daemon=True)
        thread.start()
        try:
            yield listening.getsockname()[1]
        finally:
            ended.set()
            listening.shutdown(socket.SHUT_RDWR)
            for connection in held:
                connection.close()
            thread.join(10)


@contextlib.contextmanager
def deaf_port() -> Iterator[int]:
    """A port whose queue is full: the kernel drops what else would connect, as a firewall does."""
    with socket.socket() as listening, contextlib.ExitStack() as queue:
        listening.bind((LOOPBACK, 0))
        listening.listen(0)
        place = listening.getsockname()
        for _turn in range(16):
            waiting = queue.enter_context(socket.socket())
            waiting.settimeout(0.3)
            try:
                waiting.connect(place)
            except TimeoutError:
                break
        yield place[1]


def silent(connection: socket.socket) -> None:
    """Listen to everything, say nothing."""
    while connection.recv(4096):
        pass


def closing(connection: socket.socket) -> None:
    """Hang up at once."""
    connection.close()


def saying(*words: bytes, then: Conversation = silent) -> Conversation:
    """Answer each thing that is said with the next of `words`."""

    def converse(connection: socket.socket) -> None:
        for word in words:
            if not connection.recv(4096):
                return
            connection.sendall(word)
        then(connection)

    return converse


def dripping(word: bytes, seconds: float = 0.2) -> Conversation:
    """Answer one byte at a time, over and over."""

    def converse(connection: socket.socket) -> None:
        connection.recv(4096)
        while True:
            for byte in word:
                connection.sendall(bytes([byte]))
                time.sleep(seconds)

    return converse


def relaying(target: Path | tuple[str, int], alter: Callable[[bytes], bytes]) -> Conversation:
    """Hand everything to a real server, and alter what it answers."""

    def pump(source: socket.socket, drain: socket.socket, change: Callable[[bytes], bytes]) -> None:
        with contextlib.suppress(OSError):
            while data := source.recv(65536):
                drain.sendall(change(data))
            drain.shutdown(socket.SHUT_WR)

    def converse(connection: socket.socket) -> None:
        if isinstance(target, Path):
            server = socket.socket(socket.AF_UNIX)
            server.connect(str(target))
        else:
            server = socket.create_connection(target)
        with server:
            back = threading.Thread(target=pump, args=(server, connection, alter), daemon=True)
            back.start()
            pump(connection, server, bytes)
            back.join(10)

    return converse
