"""The first page of the UI as a browser loads it: how many bytes come over the wire."""

from __future__ import annotations

import http.client
import re
import socket
import ssl
from urllib.parse import urljoin, urlsplit

from .client import Target


def references(html: str) -> list[str]:
    """What a page makes a browser load at once: scripts, style sheets, icon and manifest, in their order, each once."""
    tags = re.findall(r"<(?:script|link)\b[^>]*>", html)
    wanted = [
        tag
        for tag in tags
        if tag.startswith("<script") or re.search(r'rel="(?:stylesheet|shortcut icon|icon|manifest)"', tag)
    ]
    found = [match.group(1) for tag in wanted if (match := re.search(r'(?:src|href)="([^"]+)"', tag))]
    return list(dict.fromkeys(found))


def fetch(target: Target, path: str) -> tuple[int, bytes]:
    """Body as it came over the wire, and the page as a browser sees it only if it was not compressed."""
    address, port, context = target.place()
    name = str(urlsplit(target.url).hostname)
    connection: http.client.HTTPConnection
    connection = (
        http.client.HTTPSConnection(name, port, context=context) if context else http.client.HTTPConnection(name, port)
    )
    plain = socket.create_connection((address, port), timeout=30)
    connection.sock = context.wrap_socket(plain, server_hostname=name) if isinstance(context, ssl.SSLContext) else plain
    headers = {"Accept-Encoding": "gzip, deflate", "Accept": "*/*"}
    if target.authorization:
        headers["Authorization"] = target.authorization
    connection.request("GET", path, headers=headers)
    answer = connection.getresponse()
    body = answer.read()
    connection.close()
    if answer.status != 200:
        raise RuntimeError(f"{target.url}{path} answers {answer.status}")
    return len(body), body


def weigh(target: Target) -> dict[str, int]:
    """Bytes of the page and of everything that it names, by path, and their sum."""
    import gzip

    size, body = fetch(target, "/")
    html = (gzip.decompress(body) if body.startswith(b"\x1f\x8b") else body).decode()
    sizes = {"/": size}
    for reference in references(html):
        path = urlsplit(urljoin(f"{target.url}/", reference)).path
        sizes[path] = fetch(target, path)[0]
    return {**sizes, "sum": sum(sizes.values())}
