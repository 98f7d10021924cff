# Copyright (c) 2026 the mlops.mlflow maintainers
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Read what nginx says about its configuration (`nginx -T`), and find the sites that ours could not live beside.

Private to the collection. Pure: text goes in, sentences come out.
"""

from __future__ import annotations

import fnmatch
import posixpath
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

_MARKER = re.compile(r"^# configuration file (.+):$", re.MULTILINE)
_TOKEN = re.compile(
    r"""(?P<blank>\s+|\#[^\n]*) | (?P<mark>[{};]) | "(?P<double>(?:\\.|[^"\\])*)" | '(?P<single>(?:\\.|[^'\\])*)'
    | (?P<word>(?:\$\{[^}]*\}|\\.|[^\s{};"'])(?:\$\{[^}]*\}|\\.|[^\s{};])*)""",
    re.VERBOSE | re.DOTALL,
)


@dataclass
class Directive:
    """One statement of nginx; `block` holds what is between its braces."""

    words: list[str]
    file: str
    block: list[Directive] = field(default_factory=list)

    @property
    def name(self) -> str:
        """The first word."""
        return self.words[0]


@dataclass(frozen=True)
class Listen:
    """One `listen`: the address ("*" and "::" for all of a family), the port, the words behind."""

    address: str
    port: int
    words: frozenset[str]

    @property
    def is_any(self) -> bool:
        """Tell whether all addresses of a family are meant."""
        return self.address in ("*", "::")

    @property
    def family(self) -> int:
        """4 or 6."""
        return 6 if ":" in self.address else 4

    def __str__(self) -> str:
        return f"[{self.address}]:{self.port}" if self.family == 6 else f"{self.address}:{self.port}"


def parse(text: str, file: str = "") -> list[Directive]:
    """Parse one file. What is not understood is skipped: nginx has accepted the text before it comes here."""
    root: list[Directive] = []
    open_blocks, words, position = [root], [], 0
    while position < len(text):
        found = _TOKEN.match(text, position)
        if not found:
            position += 1
            continue
        position = found.end()
        mark = found["mark"]
        if found["blank"] is not None:
            continue
        if mark is None:
            words.append(next(part for part in (found["double"], found["single"], found["word"]) if part is not None))
        elif mark == "}":
            words = []
            if len(open_blocks) > 1:
                open_blocks.pop()
        elif words:
            directive = Directive(words, file)
            open_blocks[-1].append(directive)
            if mark == "{":
                if directive.name.endswith("_by_lua_block"):
                    position = _end_of_braces(text, position)
                else:
                    open_blocks.append(directive.block)
            words = []
    return root


def _end_of_braces(text: str, position: int) -> int:
    """Find where a block of another language ends: its braces are balanced, its words are not nginx's."""
    depth = 1
    while position < len(text) and depth:
        depth += {"{": 1, "}": -1}.get(text[position], 0)
        position += 1
    return position


def read(dump: str) -> list[Directive]:
    """Parse the output of `nginx -T`, with every `include` replaced by what it includes."""
    parts = _MARKER.split(dump)
    files: dict[str, list[Directive]] = {}
    for path, text in zip(parts[1::2], parts[2::2], strict=True):
        files.setdefault(path, parse(text, path))
    if not files:
        return []
    root = next(iter(files))

    def expand(directives: Sequence[Directive], depth: int) -> Iterator[Directive]:
        for directive in directives:
            if directive.name == "include" and len(directive.words) == 2 and depth < 20:
                pattern = posixpath.join(posixpath.dirname(root), directive.words[1])
                for path in sorted(path for path in files if fnmatch.fnmatch(path, pattern)):
                    yield from expand(files[path], depth + 1)
            else:
                yield Directive(directive.words, directive.file, list(expand(directive.block, depth)))

    return list(expand(files[root], 0))


def servers(directives: Sequence[Directive], context: str = "") -> Iterator[tuple[str, Directive]]:
    """List all `server` blocks with the context (http, stream, mail) they are in."""
    for directive in directives:
        if directive.name == "server" and directive.block:
            yield context, directive
        elif directive.block and directive.name in ("http", "stream", "mail"):
            yield from servers(directive.block, directive.name)


def listens(server: Directive) -> list[Listen]:
    """Read the `listen` directives of a server; without one nginx takes port 80."""
    found = []
    for directive in server.block:
        if directive.name != "listen" or len(directive.words) < 2 or directive.words[1].startswith("unix:"):
            continue
        where, words = directive.words[1], frozenset(directive.words[2:])
        match = re.fullmatch(r"(?:\[(?P<six>[^\]]+)\]|(?P<four>[^:\[\]]*?))(?::?(?P<port>\d+))?", where)
        if not match:
            continue
        address, port = match["six"] or match["four"] or "*", int(match["port"] or 80)
        found.append(Listen({"0.0.0.0": "*", "::0": "::"}.get(address, address), port, words))
    if not any(directive.name == "listen" for directive in server.block):
        found.append(Listen("*", 80, frozenset()))
    return found


def names(server: Directive) -> list[str]:
    """Read the names of a server."""
    return [
        name.lower() for directive in server.block if directive.name == "server_name" for name in directive.words[1:]
    ]


def conflicts(
    dump: str,
    own_files: Sequence[str],
    names_wanted: Sequence[str],
    https_port: int,
    http_port: int = 0,
    addresses: Sequence[str] = (),
) -> list[str]:
    """Say which other sites ours could not live beside, one sentence each.

    `own_files` are ours and never a conflict; an `http_port` of 0 is not used; no `addresses` means all.
    """
    ours = [
        Listen(address, port, frozenset())
        for port in (https_port, http_port)
        if port
        for address in (addresses or ("*", "::"))
    ]
    foreign = [
        (context, server, listen)
        for context, server in servers(read(dump))
        if server.file not in own_files
        for listen in listens(server)
    ]
    with_tls = {(listen.address, listen.port) for _context, _server, listen in foreign if "ssl" in listen.words}
    wanted = {name.lower() for name in names_wanted}

    found: dict[str, None] = {}
    for context, server, listen in foreign:
        title = f"{server.file}: the server '{' '.join(names(server)) or 'without a name'}' on {listen}"
        for own in ours:
            if own.port != listen.port or own.family != listen.family:
                continue
            if own.address != listen.address and not (own.is_any or listen.is_any):
                continue
            if context != "http":
                found[f"{title} takes every connection to port {own.port} ({context})"] = None
            elif own.is_any and not listen.is_any:
                found[f"{title} would take what is sent to that address"] = None
            elif listen.is_any and not own.is_any:
                found[f"{title} listens on every address, and would lose {own.address} to MLflow"] = None
            elif claimed := sorted(wanted & set(names(server))):
                found[f"{title} claims {', '.join(claimed)}"] = None
            elif "proxy_protocol" in listen.words:
                found[f"{title} expects the PROXY protocol on every connection to that port"] = None
            elif own.port == https_port and (listen.address, listen.port) not in with_tls:
                found[f"{title} serves without TLS on the port of https"] = None
            elif own.port == http_port and "ssl" in listen.words:
                found[f"{title} serves TLS on the port of http"] = None
    return list(found)
