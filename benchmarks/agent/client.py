"""HTTP/1.1 with keep-alive over asyncio streams, and nothing more: a client that costs little beside what it measures."""

from __future__ import annotations

import asyncio
import json
import ssl
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit


@dataclass(frozen=True)
class Target:
    """Where a server is. `address` replaces what the name of the URL would resolve to; `authorization` is a whole header value."""

    url: str
    address: str = ""
    ca_file: str = ""
    authorization: str = ""

    @property
    def host(self) -> str:
        """What the Host header says."""
        return urlsplit(self.url).netloc

    def place(self) -> tuple[str, int, ssl.SSLContext | None]:
        """Address, port and TLS."""
        parts = urlsplit(self.url)
        secure = parts.scheme == "https"
        context = ssl.create_default_context(cafile=self.ca_file or None) if secure else None
        return self.address or str(parts.hostname), parts.port or (443 if secure else 80), context


class Connection:
    """One connection that answers one request after the other; opened again when the server has closed it."""

    def __init__(self, target: Target) -> None:
        self.target = target
        self.streams: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None
        self.opened = 0
        self.place = target.place()
        self.name = urlsplit(target.url).hostname

    async def open(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """The streams, new if there are none."""
        if self.streams is None:
            address, port, context = self.place
            self.streams = await asyncio.open_connection(
                address, port, ssl=context, server_hostname=self.name if context else None
            )
            self.opened += 1
        return self.streams

    async def close(self) -> None:
        """Hang up."""
        if self.streams:
            self.streams[1].close()
            self.streams = None

    async def ask(self, method: str, path: str, body: dict[str, Any] | None = None) -> tuple[int, bytes]:
        """Status and body of the answer."""
        reader, writer = await self.open()
        writer.write(render(self.target, method, path, body))
        await writer.drain()
        status, headers = parse_head(await reader.readuntil(b"\r\n\r\n"))
        if headers.get("transfer-encoding") == "chunked":
            content = await read_chunks(reader)
        else:
            content = await reader.readexactly(int(headers.get("content-length", "0")))
        if headers.get("connection", "").lower() == "close":
            await self.close()
        return status, content


def render(target: Target, method: str, path: str, body: dict[str, Any] | None) -> bytes:
    """A request as it goes over the wire."""
    lines = [f"{method} {path} HTTP/1.1", f"Host: {target.host}"]
    if target.authorization:
        lines.append(f"Authorization: {target.authorization}")
    content = b""
    if body is not None:
        content = json.dumps(body).encode()
        lines += ["Content-Type: application/json", f"Content-Length: {len(content)}"]
    return "\r\n".join([*lines, "", ""]).encode() + content


def parse_head(head: bytes) -> tuple[int, dict[str, str]]:
    """Status and headers, names in lower case."""
    first, *lines = head.decode("latin-1").rstrip("\r\n").split("\r\n")
    headers = {}
    for line in lines:
        name, _colon, value = line.partition(":")
        headers[name.strip().lower()] = value.strip()
    return int(first.split(" ", 2)[1]), headers


async def read_chunks(reader: asyncio.StreamReader) -> bytes:
    """The body of an answer in chunks."""
    parts = []
    while size := int((await reader.readline()).split(b";")[0], 16):
        parts.append(await reader.readexactly(size))
        await reader.readexactly(2)
    await reader.readuntil(b"\r\n")
    return b"".join(parts)
