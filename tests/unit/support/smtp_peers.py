"""A server of mail on loopback, with STARTTLS, TLS from the first byte and logins, that keeps what it was given."""

from __future__ import annotations

import base64
import email
import email.policy
import socket
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from email.message import EmailMessage

from ansible_collections.mlops.mlflow.tests.unit.support.peers import LOOPBACK


@dataclass(frozen=True)
class Envelope:
    """A mail that arrived, and how."""

    sender: str
    recipients: tuple[str, ...]
    message: EmailMessage
    encrypted: bool
    user: str

    @property
    def text(self) -> str:
        """What it says, with lines that end as those of Python."""
        return str(self.message.get_content()).replace("\r\n", "\n")


@dataclass
class Postbox:
    """A server that runs."""

    port: int = 0
    arrived: list[Envelope] = field(default_factory=list)
    refused: frozenset[str] = frozenset()  # recipients that it knows nothing of
    # What it heard before anything was encrypted.
    heard: list[str] = field(default_factory=list)


class _Talk:
    """One conversation (RFC 5321, with RFC 3207 and RFC 4954)."""

    def __init__(
        self, connection: socket.socket, box: Postbox, context: ssl.SSLContext | None, login: tuple[str, str] | None
    ) -> None:
        self._connection, self._box, self._context, self._login = connection, box, context, login
        self._encrypted = isinstance(connection, ssl.SSLSocket)
        self._file = connection.makefile("rb")
        self._user = self._sender = ""
        self._recipients: list[str] = []

    def _say(self, text: str) -> None:
        self._connection.sendall(f"{text}\r\n".encode())

    def _hear(self) -> str:
        line = self._file.readline().decode().rstrip("\r\n")
        if not self._encrypted:
            self._box.heard.append(line)
        return line

    def hold(self) -> None:
        """Until the client leaves."""
        self._say("220 mail.test ESMTP")
        while line := self._hear():
            verb, _space, rest = line.partition(" ")
            answer = getattr(self, f"_on_{verb.lower()}", None)
            if answer is None:
                self._say("502 no")
            elif answer(rest):
                return

    def _on_ehlo(self, _rest: str) -> None:
        offers = ["mail.test", "8BITMIME"]
        if self._context and not self._encrypted:
            offers.append("STARTTLS")
        if self._login and (self._encrypted or not self._context):
            offers.append("AUTH PLAIN")
        for offer in offers[:-1]:
            self._say(f"250-{offer}")
        self._say(f"250 {offers[-1]}")

    def _on_starttls(self, _rest: str) -> None:
        assert self._context
        self._say("220 go ahead")
        self._connection = self._context.wrap_socket(self._connection, server_side=True)
        self._file, self._encrypted = self._connection.makefile("rb"), True

    def _on_auth(self, rest: str) -> None:
        _nobody, user, password = base64.b64decode(rest.split()[1]).decode().split("\0")
        if (user, password) == self._login:
            self._user = user
            self._say("235 welcome")
        else:
            self._say("535 5.7.8 these are not right")

    def _on_mail(self, rest: str) -> None:
        if self._login and not self._user:
            self._say("530 5.7.0 log in first")
            return
        self._sender = rest.partition("<")[2].partition(">")[0]
        self._say("250 ok")

    def _on_rcpt(self, rest: str) -> None:
        name = rest.partition("<")[2].partition(">")[0]
        if name in self._box.refused:
            self._say("550 5.1.1 there is nobody of that name")
            return
        self._recipients.append(name)
        self._say("250 ok")

    def _on_data(self, _rest: str) -> None:
        self._say("354 go ahead")
        content = []
        while (line := self._file.readline()) != b".\r\n":
            content.append(line.removeprefix(b"."))
        message = email.message_from_bytes(b"".join(content), policy=email.policy.default)
        assert isinstance(message, EmailMessage)
        self._box.arrived.append(Envelope(self._sender, tuple(self._recipients), message, self._encrypted, self._user))
        self._say("250 taken")

    def _on_rset(self, _rest: str) -> None:
        self._say("250 ok")

    def _on_quit(self, _rest: str) -> bool:
        self._say("221 bye")
        return True


@contextmanager
def smtp_peer(
    *, context: ssl.SSLContext | None = None, implicit: bool = False, login: tuple[str, str] | None = None
) -> Iterator[Postbox]:
    """Take mail on a port of loopback.

    Args:
        context: with it there is STARTTLS, and without STARTTLS no login.
        implicit: TLS from the first byte instead.
        login: name and password without which nothing is taken.
    """
    box = Postbox()
    listener = socket.create_server((LOOPBACK, 0))
    box.port = listener.getsockname()[1]

    def serve() -> None:
        while True:
            try:
                connection, _address = listener.accept()
            except OSError:  # the test is over
                return
            connection.settimeout(20)
            with suppress(OSError), connection:
                if implicit:
                    assert context
                    with context.wrap_socket(connection, server_side=True) as encrypted:
                        _Talk(encrypted, box, None, login).hold()
                else:
                    _Talk(connection, box, context, login).hold()

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    try:
        yield box
    finally:
        # A thread that waits in accept() is not woken by close().
        with suppress(OSError):
            listener.shutdown(socket.SHUT_RDWR)
        listener.close()
        thread.join(30)
