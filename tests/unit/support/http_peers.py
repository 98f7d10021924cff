"""Servers of HTTP on loopback: well-behaved ones with answers of a test, and ones that hang or send garbage."""

from __future__ import annotations

import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from ansible_collections.mlops.mlflow.tests.unit.support.certificates import Authority
from ansible_collections.mlops.mlflow.tests.unit.support.peers import LOOPBACK, Conversation, closing, saying, silent


@dataclass(frozen=True)
class Request:
    """What a peer was asked."""

    method: str
    path: str
    headers: Mapping[str, str]
    body: bytes = b""


@dataclass(frozen=True)
class Reply:
    """What it answers; Content-Length is added."""

    status: int = 200
    body: bytes = b""
    headers: Mapping[str, str] = field(default_factory=dict)


def server_context(authority: Authority, folder: Path, *names: str, days: float = 90) -> ssl.SSLContext:
    """The context of a server with a certificate for these names."""
    place = folder / "server.pem"
    place.write_bytes(b"".join(authority.issue(*names, days=days)))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(place)
    return context


@contextmanager
def http_peer(
    answer: Callable[[Request], Reply], *, context: ssl.SSLContext | None = None, address: str = LOOPBACK
) -> Iterator[int]:
    """Serve HTTP, or HTTPS with a context, on a port of loopback, or of the address by which hosts reach this machine."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def _answer(self) -> None:
            body = self._chunks() if self.headers.get("Transfer-Encoding") else self._whole()
            reply = answer(Request(self.command, self.path, dict(self.headers), body))
            self.send_response(reply.status)
            for name, value in {"Content-Length": str(len(reply.body)), **reply.headers}.items():
                self.send_header(name, value)
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(reply.body)

        do_GET = do_HEAD = do_PUT = do_POST = do_PATCH = do_DELETE = _answer

        def _whole(self) -> bytes:
            return self.rfile.read(int(self.headers.get("Content-Length") or 0))

        def _chunks(self) -> bytes:
            body = b""
            while size := int(self.rfile.readline().split(b";")[0] or b"0", 16):
                body += self.rfile.read(size)
                self.rfile.readline()
            self.rfile.readline()
            return body

        def log_message(self, *_arguments: object) -> None:
            """Say nothing."""

    class Server(ThreadingHTTPServer):
        daemon_threads = True

        def finish_request(self, request: object, client_address: object) -> None:
            connection = request
            assert isinstance(connection, socket.socket)
            with suppress(OSError):  # a client that does not like our certificate, or has none
                if context:
                    connection = context.wrap_socket(connection, server_side=True, do_handshake_on_connect=False)
                    try:
                        connection.do_handshake()
                    except OSError:
                        # What the client sent meanwhile is taken from it: else the kernel tears down what we told it.
                        connection.settimeout(2)
                        socket.socket.recv(connection, 65536)
                        raise
                Handler(connection, client_address, self)

        def handle_error(self, *_arguments: object) -> None:
            """Say nothing."""

    server = Server((address, 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
    thread.start()
    try:
        yield server.server_address[1]
    finally:
        server.shutdown()
        server.server_close()


def says(answer: bytes) -> Conversation:
    """Read something, say exactly this, and close."""
    return saying(answer, then=closing)


def _again(first: bytes, part: bytes, pause: float = 0) -> Conversation:
    """Begin an answer that never ends; with a pause, slowly."""

    def converse(connection: socket.socket) -> None:
        connection.recv(65536)
        connection.sendall(first)
        while True:
            connection.sendall(part)
            time.sleep(pause)

    return converse


_OK = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"
# Peers that never let a client finish, each in its way: only the client's own bound ends it.
ENDLESS: Mapping[str, Conversation] = {
    "silence": silent,
    "half a status line": saying(b"HTTP/1.1 2"),
    "half an answer": saying(_OK + b"Content-Length: 100\r\n\r\n{"),
    "endless headers": _again(_OK, b"X-Again: and again\r\n"),
    "an endless header": _again(_OK + b"X-Long: ", b"x" * 65536),
    "an endless body": _again(_OK + b"\r\n", b"x" * 65536),
    "endless chunks": _again(_OK + b"Transfer-Encoding: chunked\r\n\r\n", b"1\r\nx\r\n"),
    "a slow drip": _again(_OK + b"Content-Length: 100000\r\n\r\n", b"x", 0.05),
    "slow headers": _again(_OK, b"X-Again: and again\r\n", 0.05),
    "continue, and again": _again(b"", b"HTTP/1.1 100 Continue\r\n\r\n"),
}
# Peers that end, and are no servers of HTTP.
RUDE: Mapping[str, Conversation] = {
    "closes": closing,
    "garbage": says(b"\x00\xff\xfe garbage \x80\r\n\r\n"),
    "SSH": says(b"SSH-2.0-OpenSSH_9.2p1 Debian-2\r\n"),
    "a TLS alert": says(b"\x15\x03\x03\x00\x02\x02\x46"),
    "TLS garbage": says(b"\x16\x03\x03\xff\xff" + b"\xaa" * 512),
    "no status": says(b"HTTP/1.1 abc\r\n\r\n"),
    "a large status": says(b"HTTP/1.1 99999 Much\r\n\r\n"),
    "no headers": says(b"HTTP/1.1 200 OK\r\n"),
    "a header without a name": says(_OK + b": x\r\n\r\n{}"),
    "binary headers": says(_OK + b"X-\xff: \xfe\x80\r\n\r\n{}"),
    "less than announced": says(_OK + b"Content-Length: 100\r\n\r\n{}"),
    "more than announced": says(_OK + b"Content-Length: 1\r\n\r\n{}{}{}"),
    "a length that is none": says(_OK + b"Content-Length: many\r\n\r\n{}"),
    "a negative length": says(_OK + b"Content-Length: -5\r\n\r\n{}"),
    "chunks that are none": says(_OK + b"Transfer-Encoding: chunked\r\n\r\nzz\r\nnonsense\r\n"),
    "an encoding that is none": says(_OK + b"Content-Encoding: gzip\r\n\r\nnot gzip"),
    "text that is no UTF-8": says(_OK + b"Content-Length: 4\r\n\r\n\xff\xfe\xfd\xfc"),
    "a redirect to nowhere": says(b"HTTP/1.1 302 Found\r\nLocation: \x01://[\r\nContent-Length: 0\r\n\r\n"),
    "deep JSON": says(_OK + b"\r\n" + b"[" * 100_000),
}
