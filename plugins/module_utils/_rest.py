# Copyright (c) 2026 the mlops.mlflow maintainers
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""One small client of HTTP and of MLflow's REST API, with nothing but Python's standard library.

It tells at which step a request failed and why, ends each request within its time whatever the peer does, follows no redirect, uses
no proxy, and keeps logins out of everything it says. Probes carry it along (see _probe.py); modules import it.
"""

from __future__ import annotations

import base64
import http.client
import json
import re
import socket
import ssl
import threading
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, Self
from urllib.parse import quote, urlencode, urlsplit

# The options of modules that make a Client of them; documented in plugins/doc_fragments/connection.py.
OPTIONS: Mapping[str, Mapping[str, Any]] = {
    "url": {"type": "str", "required": True},
    "username": {"type": "str", "default": ""},
    "password": {"type": "str", "default": "", "no_log": True},
    "token": {"type": "str", "default": "", "no_log": True},
    "ca_file": {"type": "str", "default": ""},
    "client_certificate": {"type": "str", "default": ""},
    "client_key": {"type": "str", "default": "", "no_log": False},
    "address": {"type": "str", "default": ""},
}
# More of an answer is not read, unless a client is told otherwise.
BODY_BYTES = 4 * 1024**2
# OpenSSL's codes of what is wrong with a certificate (X509_V_ERR_*).
_EXPIRED, _NOT_YET, _NAME, _ADDRESS = 10, 9, 62, 64


class RestError(Exception):
    """A request failed before there was a whole answer, or the answer is not what the API promises.

    Attributes:
        step: "url", "file", "dns", "tcp", "tls", "http" or "api": how far it came.
        reason: one word for it: of url and file "unusable"; of dns "unresolved"; of tcp "refused", "timeout" or "unreachable"; of tls
            "untrusted", "name", "expired", "early", "protocol", "plain" (the peer speaks HTTP), "certificate" (it demands one of
            the client), "timeout" or "closed"; of http "timeout", "closed", "garbage", "tls" (the peer speaks TLS) or
            "certificate"; of api "status", "json" or "shape".
        status: of an answer with an error, 0 otherwise.
        code: MLflow's own `error_code`, if there is one.
    """

    def __init__(self, step: str, reason: str, text: object, *, status: int = 0, code: str = "") -> None:
        super().__init__(" ".join(str(text).split())[:300].rstrip("."))
        self.step = step
        self.reason = reason
        self.status = status
        self.code = code


@dataclass(frozen=True)
class Target:
    """A URL taken apart."""

    scheme: str
    host: str
    port: int
    path: str  # with the query, quoted

    @property
    def origin(self) -> str:
        """Without the path."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{self.scheme}://{host}:{self.port}"


@dataclass
class Route:
    """How a request went, also when it failed."""

    addresses: list[str] = field(default_factory=list)  # what the name resolves to, or the address that was given
    address: str = ""  # the one that took the connection
    step: str = "url"  # the last step that was begun


@dataclass(frozen=True)
class Response:
    """An answer as it came."""

    status: int
    headers: tuple[tuple[str, str], ...]
    body: bytes  # at most as much as the client reads
    cut: bool  # whether there was more, or less than announced
    seconds: float  # from the request to the first byte of the answer
    tls: Mapping[str, Any]  # `version`, `expires` (seconds since 1970) and `names`; empty without TLS

    def header(self, name: str) -> str:
        """The value of a header, several joined by commas; empty if there is none."""
        return ", ".join(value for key, value in self.headers if key.lower() == name.lower())


def parse_url(url: str) -> Target:
    """Take a URL apart.

    Raises:
        RestError: step "url". A login within the URL is refused: it would end up in logs.
    """

    def refuse(why: str) -> RestError:
        return RestError("url", "unusable", why)

    try:
        parts = urlsplit(url)
        port = parts.port
        host = (parts.hostname or "").encode("idna").decode() if ":" not in (parts.hostname or "") else parts.hostname
    except ValueError:
        raise refuse("it cannot be read as a URL") from None
    if parts.scheme not in ("http", "https"):
        raise refuse("it does not begin with https:// or http://")
    if parts.username is not None or parts.password is not None:
        raise refuse("it holds a login, which belongs into username and password")
    if not host or not re.fullmatch(r"[A-Za-z0-9_.:%-]+", host):
        raise refuse("it names no host")
    path = quote(parts.path or "/", safe="/%:@!$&'()*+,;=~-._")
    query = f"?{quote(parts.query, safe='/%:@!$&()*+,;=~-._?')}" if parts.query else ""
    return Target(parts.scheme, host, port or (443 if parts.scheme == "https" else 80), path + query)


class _Watch:
    """Ends a connection at the deadline: a timeout of sockets begins anew with each byte that drips in."""

    def __init__(self, connection: socket.socket, deadline: float) -> None:
        self.connection = connection  # TLS makes another object of it, which takes its place here
        self._timer = threading.Timer(max(0.0, deadline - time.monotonic()), self._end)
        self._timer.daemon = True

    def __enter__(self) -> Self:
        self._timer.start()
        return self

    def __exit__(self, *_error: object) -> None:
        self._timer.cancel()
        self.connection.close()

    def _end(self) -> None:
        with suppress(OSError):
            # Of TLS the method would wait for the peer: the plain one does not.
            socket.socket.shutdown(self.connection, socket.SHUT_RDWR)


@dataclass
class Client:
    """A client of one base URL.

    Args:
        url: the base, for example https://mlflow.example.com; a path in it is kept in front of each request's own.
        username: login of Basic authentication, with `password`; no login if it is empty.
        ca_file: authorities to trust in place of the system's.
        client_certificate: certificate for the peer, with `client_key`; PEM.
        address: connect to this address, and verify the name of the URL nevertheless.
        seconds: for each request, from the connection to the last byte. Resolving a name has the system's own limits.
        token: sent as a bearer's, in place of the login.
        body_bytes: more of an answer is not read.
    """

    url: str
    username: str = ""
    password: str = field(default="", repr=False)
    ca_file: str = ""
    client_certificate: str = ""
    client_key: str = ""
    address: str = ""
    seconds: float = 10.0
    token: str = field(default="", repr=False)
    body_bytes: int = BODY_BYTES
    route: Route = field(default_factory=Route)

    def __post_init__(self) -> None:
        """Take the URL apart and read the files, so that what cannot work fails first."""
        self.target = parse_url(self.url)
        self._context = self._make_context() if self.target.scheme == "https" else None

    def request(
        self,
        method: str,
        path: str = "",
        *,
        query: Mapping[str, Any] | None = None,
        payload: Any = None,
        headers: Mapping[str, str] | None = None,
        anonymous: bool = False,
    ) -> Response:
        """Send one request over a connection of its own.

        Args:
            method: GET, HEAD, POST, ...
            path: behind the base URL, for example /api/2.0/mlflow/experiments/get; empty asks for the base URL itself.
            query: added to the path.
            payload: sent as JSON.
            headers: sent as well.
            anonymous: without the login.

        Raises:
            RestError: no whole answer; any status is an answer.
        """
        deadline = time.monotonic() + self.seconds
        with _Watch(self._connect(deadline), deadline) as watch:
            tls: dict[str, Any] = {}
            if self._context:
                wrapped = self._wrap(self._context, watch, deadline)
                tls = _describe(wrapped)
            self.route.step = "http"
            whole = path + (f"?{urlencode(query)}" if query else "")
            sent = self._headers(headers, anonymous=anonymous)
            body = None if payload is None else json.dumps(payload).encode()
            if body is not None:
                sent["Content-Type"] = "application/json"
            return self._exchange(watch.connection, deadline, tls, (method, self._path(whole), body, sent))

    def call(
        self,
        method: str,
        path: str,
        *,
        query: Mapping[str, Any] | None = None,
        payload: Any = None,
        headers: Mapping[str, str] | None = None,
    ) -> dict[str, Any]:
        """Call MLflow's REST API and return the object it answers with.

        Raises:
            RestError: no answer (see `request`), a status of error (`status` and `code` say which), or no JSON object.
        """
        response = self.request(method, path, query=query, payload=payload, headers=headers)
        return answered(response)

    # ----- the steps of a request

    def _make_context(self) -> ssl.SSLContext:
        context = ssl.create_default_context()
        try:
            if self.ca_file:
                context = ssl.create_default_context(cafile=self.ca_file)
            if self.client_certificate:
                context.load_cert_chain(self.client_certificate, self.client_key or None, password=lambda: "")
        except (OSError, ValueError) as error:
            files = ", ".join(name for name in (self.ca_file, self.client_certificate, self.client_key) if name)
            raise RestError("file", "unusable", f"{files}: {_words(error)}") from None
        return context

    def _resolve(self) -> list[tuple[Any, ...]]:
        self.route.step = "dns"
        try:
            found = socket.getaddrinfo(self.address or self.target.host, self.target.port, type=socket.SOCK_STREAM)
        except (OSError, ValueError) as error:
            raise RestError("dns", "unresolved", _words(error)) from None
        self.route.addresses = list(dict.fromkeys(str(place[0]) for *_kind, place in found))
        return found

    def _connect(self, deadline: float) -> socket.socket:
        """Try each address until one takes the connection."""
        failure = RestError("tcp", "timeout", "no time was left")
        found = self._resolve()
        self.route.step = "tcp"
        for number, (family, kind, protocol, _name, place) in enumerate(found):
            # Each of the addresses that are left has an equal part of the time that is left.
            share = (deadline - time.monotonic()) / (len(found) - number)
            if share <= 0:
                break
            connection = socket.socket(family, kind, protocol)
            connection.settimeout(share)
            try:
                connection.connect(place)
            except OSError as error:
                connection.close()
                reason = "timeout" if isinstance(error, TimeoutError) else "refused"
                reason = reason if isinstance(error, TimeoutError | ConnectionRefusedError) else "unreachable"
                failure = RestError("tcp", reason, f"{place[0]} port {place[1]}: {_words(error)}")
                continue
            self.route.address = str(place[0])
            return connection
        raise failure

    def _wrap(self, context: ssl.SSLContext, watch: _Watch, deadline: float) -> ssl.SSLSocket:
        self.route.step = "tls"
        watch.connection.settimeout(max(0.01, deadline - time.monotonic()))
        try:
            # The handshake comes after the change of objects, so that the watch can end it.
            wrapped = context.wrap_socket(
                watch.connection, server_hostname=self.target.host, do_handshake_on_connect=False
            )
            watch.connection = wrapped
            wrapped.do_handshake()
            return wrapped
        except (OSError, ValueError) as error:
            if time.monotonic() >= deadline or isinstance(error, TimeoutError):
                raise RestError("tls", "timeout", "the handshake did not end in time") from None
            raise RestError("tls", _tls_reason(error), _words(error)) from None

    def _path(self, path: str) -> str:
        base = self.target.path
        return base if not path else base.partition("?")[0].rstrip("/") + path

    def _headers(self, headers: Mapping[str, str] | None, *, anonymous: bool) -> dict[str, str]:
        sent = {"Connection": "close", "User-Agent": "mlops-mlflow", "Accept": "*/*", **(headers or {})}
        if self.token and not anonymous:
            sent["Authorization"] = f"Bearer {self.token}"
        elif self.username and not anonymous:
            login = base64.b64encode(f"{self.username}:{self.password}".encode()).decode()
            sent["Authorization"] = f"Basic {login}"
        return sent

    def _exchange(
        self,
        connection: socket.socket,
        deadline: float,
        tls: Mapping[str, Any],
        asked: tuple[str, str, bytes | None, dict[str, str]],
    ) -> Response:
        target = self.target
        speaker: http.client.HTTPConnection
        if self._context:
            speaker = http.client.HTTPSConnection(target.host, target.port, context=self._context)
        else:
            speaker = http.client.HTTPConnection(target.host, target.port)
        speaker.sock = connection
        connection.settimeout(max(0.01, deadline - time.monotonic()))
        begun = time.monotonic()
        try:
            speaker.request(*asked)
            with speaker.getresponse() as answer:
                seconds = time.monotonic() - begun
                body, cut = _read(answer, self.body_bytes)
                headers = tuple((str(name), str(value)) for name, value in answer.getheaders())
        except (OSError, ValueError, http.client.HTTPException) as error:
            if time.monotonic() >= deadline or isinstance(error, TimeoutError):
                raise RestError("http", "timeout", "the answer did not end in time") from None
            reason = self._http_reason(error)
            if reason in ("closed", "garbage"):
                self._refuse_tls(deadline)
            raise RestError("http", reason, _words(error)) from None
        if time.monotonic() >= deadline:
            raise RestError("http", "timeout", "the answer did not end in time")
        if answer.status == 400:
            self._refuse_tls(deadline)
        return Response(answer.status, headers, body, cut, seconds, tls)

    def _refuse_tls(self, deadline: float) -> None:
        """Of a server of HTTPS that is asked by HTTP: it hangs up, sends an alert, or says so in a status 400."""
        left = min(3.0, deadline - time.monotonic())
        if not self._context and left > 0 and speaks_tls(self.route.address, self.target.port, left):
            raise RestError("http", "tls", "a handshake of TLS succeeds") from None

    def _http_reason(self, error: Exception) -> str:
        said = str(error)
        if "CERTIFICATE_REQUIRED" in said.upper().replace(" ", "_"):
            return "certificate"
        if (isinstance(error, http.client.BadStatusLine) and said[:1] == "\x15") or "\\x15\\x03" in repr(said):
            return "tls"  # an alert of TLS in the place of a status
        closed = isinstance(error, http.client.RemoteDisconnected | ConnectionError | ssl.SSLEOFError)
        return "closed" if closed else "garbage"


def _read(answer: http.client.HTTPResponse, most: int) -> tuple[bytes, bool]:
    """Return the body as far as it is wanted, and whether it is not the whole."""
    try:
        body = answer.read(most + 1)
    except http.client.IncompleteRead as error:
        return error.partial[:most], True
    # With a length, read(n) returns what came before the end without complaint.
    return body[:most], len(body) > most or bool(answer.length)


def answered(response: Response) -> dict[str, Any]:
    """Return the object in an answer of MLflow's REST API, or raise what it says of an error; with status 204 there is nothing to say."""
    if response.status == 204:
        return {}
    try:
        said = json.loads(response.body)
    except (ValueError, RecursionError):
        said = None
    if response.status >= 400:
        known = said if isinstance(said, dict) else {}
        text = str(known.get("message") or f"HTTP {response.status}")
        raise RestError("api", "status", text, status=response.status, code=str(known.get("error_code") or ""))
    if said is None:
        raise RestError("api", "json", f"HTTP {response.status} without JSON", status=response.status)
    if not isinstance(said, dict):
        raise RestError("api", "shape", f"HTTP {response.status} with JSON that is no object", status=response.status)
    return said


def speaks_tls(address: str, port: int, seconds: float) -> bool:
    """Tell whether a port speaks TLS. Nothing is sent over it, and nobody has to be trusted."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    deadline = time.monotonic() + seconds
    try:
        connection = socket.create_connection((address, port), timeout=seconds)
        with _Watch(connection, deadline) as watch:
            wrapped = context.wrap_socket(connection, do_handshake_on_connect=False)
            watch.connection = wrapped
            wrapped.do_handshake()
            return True
    except (OSError, ValueError):
        return False


def _tls_reason(error: Exception) -> str:
    code = getattr(error, "verify_code", None)
    if isinstance(error, ssl.SSLCertVerificationError):
        named = {_EXPIRED: "expired", _NOT_YET: "early", _NAME: "name", _ADDRESS: "name"}
        return named.get(code or 0, "untrusted")
    said = str(getattr(error, "reason", "") or error).upper().replace(" ", "_")
    if "WRONG_VERSION_NUMBER" in said or "HTTP_REQUEST" in said or "PACKET_LENGTH" in said or "RECORD_LAYER" in said:
        return "plain"
    if "PROTOCOL" in said and "EOF" not in said:
        return "protocol"
    if "CERTIFICATE_REQUIRED" in said or "HANDSHAKE_FAILURE" in said:
        return "certificate" if "CERTIFICATE_REQUIRED" in said else "protocol"
    return "closed"


def _describe(connection: ssl.SSLSocket) -> dict[str, Any]:
    certificate: Any = connection.getpeercert() or {}
    names = [str(value) for kind, value in certificate.get("subjectAltName", ()) if kind in ("DNS", "IP Address")]
    expires = ssl.cert_time_to_seconds(certificate["notAfter"]) if "notAfter" in certificate else 0
    return {"version": connection.version() or "", "expires": expires, "names": names}


def _words(error: BaseException) -> str:
    """Say an error without what Python adds to it."""
    if isinstance(error, ssl.SSLCertVerificationError):
        return str(error.verify_message or error.reason)
    if isinstance(error, ssl.SSLError):
        return str(error.reason or error)
    if isinstance(error, OSError) and error.strerror:
        return str(error.strerror)
    return str(error) or type(error).__name__
