# Copyright (c) the mlops.mlflow authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""SCRAM verifiers made on the client, and what a database URI says. No connection is opened here."""

from __future__ import annotations

import base64
import difflib
import hashlib
import hmac
import ipaddress
import re
import stringprep
import unicodedata
from collections.abc import Callable, Iterable
from urllib.parse import parse_qsl, quote, unquote

ITERATIONS = 4096  # PostgreSQL's default (20.3.2, scram_iterations from version 16 on)
SALT_BYTES = 16
_VERIFIER = re.compile(r"SCRAM-SHA-256\$(\d+):([A-Za-z0-9+/=]+)\$([A-Za-z0-9+/=]+):([A-Za-z0-9+/=]+)")

_PROHIBITED: tuple[Callable[[str], bool], ...] = (
    stringprep.in_table_c12,
    stringprep.in_table_c21_c22,
    stringprep.in_table_c3,
    stringprep.in_table_c4,
    stringprep.in_table_c5,
    stringprep.in_table_c6,
    stringprep.in_table_c7,
    stringprep.in_table_c8,
    stringprep.in_table_c9,
    stringprep.in_table_a1,
)


def saslprep(password: str) -> str:
    """RFC 4013 as PostgreSQL applies it: a password that the profile prohibits is used as it is.

    Not checked: the rule about mixed directions of writing.
    """
    if password.isascii():
        return password
    mapped = "".join(
        " " if stringprep.in_table_c12(char) else char for char in password if not stringprep.in_table_b1(char)
    )
    normal = unicodedata.normalize("NFKC", mapped)
    if not normal or any(prohibits(char) for char in normal for prohibits in _PROHIBITED):
        return password
    return normal


def _verifier(password: str, salt: bytes, iterations: int) -> str:
    """RFC 5803, in the form of pg_authid.rolpassword."""
    salted = hashlib.pbkdf2_hmac("sha256", saslprep(password).encode(), salt, iterations)
    stored = hashlib.sha256(hmac.digest(salted, b"Client Key", "sha256")).digest()
    server = hmac.digest(salted, b"Server Key", "sha256")
    return (
        f"SCRAM-SHA-256${iterations}:{base64.b64encode(salt).decode()}"
        f"${base64.b64encode(stored).decode()}:{base64.b64encode(server).decode()}"
    )


def scram_verifier(password: str, current: str | None, random_bytes: Callable[[int], bytes]) -> str:
    """Return `current` if it was made from `password`, otherwise a new verifier with a salt of its own.

    The password itself then never reaches the server, its log or its statistics.
    """
    if not password:
        raise ValueError("the password is empty")
    found = _VERIFIER.fullmatch(current or "")
    if current and found:
        same = _verifier(password, base64.b64decode(found[2]), int(found[1]))
        if hmac.compare_digest(same, current):
            return current
    return _verifier(password, random_bytes(SALT_BYTES), ITERATIONS)


# What libpq of PostgreSQL 18 knows (its manual, 32.1.2). Others would be an error, or mean something to the driver itself.
LIBPQ_PARAMETERS = frozenset(
    re.findall(
        r"\w+",
        """
application_name channel_binding client_encoding connect_timeout dbname fallback_application_name gssdelegation
gssencmode gsslib host hostaddr keepalives keepalives_count keepalives_idle keepalives_interval krbsrvname
load_balance_hosts max_protocol_version min_protocol_version options passfile password port replication require_auth
requirepeer requiressl scram_client_key scram_server_key service servicefile ssl_max_protocol_version
ssl_min_protocol_version sslcert sslcertmode sslcompression sslcrl sslcrldir sslkey sslkeylogfile sslmode
sslnegotiation sslpassword sslrootcert sslsni target_session_attrs tcp_user_timeout user
""",
    )
)
SCHEMES = ("postgresql", "postgresql+psycopg2")
_RESERVED = "/?#[]@"  # RFC 3986, 2.2; the colon may stand in a password
_HOST = r"(?:\[[^\]@/?#]*\])?[^@/?#\[\]]*"
_AUTHORITY = re.compile(rf"(?:(?P<userinfo>[^@/?#\[\]]*)@)?(?P<host>{_HOST})(?=[/?]|$)")
_BEYOND_AT = re.compile(rf"@(?={_HOST}/)")


def _listed(characters: Iterable[str]) -> str:
    """Name characters and what to write instead of each."""
    names = {" ": "a space", "\t": "a tab", "\n": "a line break", "\r": "a line break"}
    told = []
    for char in dict.fromkeys(characters):
        name = char if char.isprintable() and char != " " else names.get(char, f"the character U+{ord(char):04X}")
        told.append(f"{name} (write {quote(char, safe='', errors='replace')})")
    return " and ".join(told)


def _as_they_are(rest: str) -> ValueError:
    """Say which reserved characters stand unencoded in front of the path, without showing what they stand in."""
    ends = [found.start() for found in _BEYOND_AT.finditer(rest)] or [rest.rfind("@")]
    text = rest[: max(ends[-1], 0)]
    user, colon, _password = text.partition(":")
    part, wrong = "user name" if set(user) & set(_RESERVED) or not colon else "password", set(text) & set(_RESERVED)
    if not wrong:
        part, text = "host", rest[len(text) :].lstrip("@").partition("/")[0]
    told = _listed(char for char in text if char in _RESERVED) or "a bracket"
    return ValueError(f"the {part} in the database URI holds {told} as it is: reserved characters are percent-encoded")


def _decoded(text: str, part: str) -> str:
    """Decode one part of a URI; anything that would come out as something else than was meant is an error."""
    if re.search(r"%(?![0-9A-Fa-f]{2})", text):
        raise ValueError(
            f"the {part} in the database URI holds {_listed('%')} as it is: reserved characters are percent-encoded"
        )
    try:
        decoded = unquote(text, errors="strict")
    except UnicodeDecodeError:
        raise ValueError(f"the {part} in the database URI is percent-encoded, but not as UTF-8") from None
    if "\0" in decoded:
        raise ValueError(f"the {part} in the database URI holds %00, which PostgreSQL cannot take")
    return decoded


def _split(uri: str) -> tuple[str, str, str, str]:
    """Split a URI into what stands before the @, host and port, path, and query."""
    scheme, separator, rest = uri.partition("://")
    if scheme not in SCHEMES or not separator:
        found = scheme if separator and re.fullmatch(r"[A-Za-z][A-Za-z0-9+.-]{0,30}", scheme) else "no scheme"
        raise ValueError(f"a database URI must begin with postgresql+psycopg2:// (found: {found}://)")
    if blank := [char for char in rest if char.isspace() or not char.isprintable()]:
        raise ValueError(f"the database URI holds {_listed(blank)} as it is; is it the whole URI and nothing else?")
    authority = _AUTHORITY.match(rest)
    if not authority:
        raise _as_they_are(rest)
    path, _mark, query = rest[authority.end() :].partition("?")
    host = authority["host"]
    # A / or ? in a password ends the host early: then its beginning looks like a port, and the @ comes too late.
    port = host.rpartition("]")[2].partition(":")[2]
    late = authority["userinfo"] is None and "@" in query and ":" in host and not (path.strip("/") and port.isdigit())
    if "@" in path or late:
        raise _as_they_are(rest)
    if "#" in path + query:
        raise ValueError(f"the database URI holds {_listed('#')} as it is: reserved characters are percent-encoded")
    return authority["userinfo"] or "", host, path, query


def _place(text: str) -> tuple[str, str]:
    """Split host and port."""
    bracket, end, port = text.rpartition("]")
    host, _colon, port = (bracket[1:], "", port.lstrip(":")) if end else text.partition(":")
    return _decoded(host, "host"), port


def _checked_port(port: str) -> str:
    for part in port.split(","):
        if part and not (part.isascii() and part.isdigit() and len(part) <= 5 and 1 <= int(part) <= 65535):
            raise ValueError("the port of the database URI is no number from 1 to 65535")
    return port


def _query_parameters(query: str) -> dict[str, str]:
    """Parameters behind the question mark; a host that is given several times is a list, as in SQLAlchemy."""
    found: dict[str, str] = {}
    hosts: list[tuple[str, str]] = []
    for name, value in parse_qsl(query, keep_blank_values=True):
        if name not in LIBPQ_PARAMETERS:
            near = difflib.get_close_matches(name, sorted(LIBPQ_PARAMETERS), n=1, cutoff=0.75)
            meant = f" (did you mean {near[0]}?)" if near else ""
            raise ValueError(f"the database URI has a parameter that PostgreSQL's library does not know{meant}")
        if "\0" in value:
            raise ValueError(f"the parameter {name} of the database URI holds %00, which PostgreSQL cannot take")
        if name == "host" and not value.startswith(("/", "@")) and "," not in value:
            hosts.append(_place(value))
        elif name in found:
            raise ValueError(f"the database URI gives the parameter {name} twice")
        else:
            found[name] = value
    if hosts:
        found["host"] = ",".join(host for host, _port in hosts)
        if any(port for _host, port in hosts):
            found["port"] = ",".join(port or "5432" for _host, port in hosts)
    return found


def connection_parameters(uri: str) -> dict[str, str]:
    """Return the parameters of libpq that a SQLAlchemy URI of PostgreSQL stands for.

    Refuses other databases and other drivers than psycopg2 (the only one that a release has), and whatever SQLAlchemy, MLflow
    and libpq would read differently: reserved characters that are not percent-encoded, above all. The sentence of the
    ValueError never holds more of the URI than its scheme and the reserved characters themselves.
    """
    userinfo, place, path, query = _split(uri)
    user, _colon, password = userinfo.partition(":")
    host, port = _place(place)
    name = _decoded(path.lstrip("/"), "database name")
    found = {
        "host": host,
        "port": port,
        "user": _decoded(user, "user name"),
        "password": _decoded(password, "password"),
        "dbname": name,
    }
    found = {key: value for key, value in found.items() if value} | _query_parameters(query)
    if not found.get("dbname"):
        raise ValueError("the database URI names no database")
    _checked_port(found.get("port", ""))
    return found


_HBA_TYPES = ("local", "host", "hostssl", "hostnossl", "hostgssenc", "hostnogssenc")
_HBA_INCLUDES = ("include", "include_if_exists", "include_dir")
_HBA_METHODS = (
    *("trust", "reject", "scram-sha-256", "md5", "password", "gss", "sspi", "ident", "peer", "ldap", "radius"),
    *("cert", "pam", "bsd", "oauth"),
)
_HBA_WORD = re.compile(r'(?:"[^"]*"|[^\s"#])+')
_HBA_KEYWORDS = ("all", "samehost", "samenet")


def _is_network(text: str) -> bool:
    try:
        ipaddress.ip_network(text, strict=False)
    except ValueError:
        return False
    return True


def hba_problem(line: str) -> str:
    """Return why PostgreSQL (21.1) would not read a line for pg_hba.conf, or an empty string.

    Whether databases, users and included files exist is not asked.
    """
    words = _HBA_WORD.findall(line.split("#", 1)[0])
    if not words or (words[0] in _HBA_INCLUDES and len(words) == 2):
        return ""
    if words[0] not in _HBA_TYPES:
        return f"'{words[0]}' is none of {', '.join(_HBA_TYPES)}"
    place = 3
    if words[0] != "local" and len(words) > place:
        address = words[place].strip('"')
        if re.fullmatch(r"[0-9.]+", address):
            # A mask of its own follows where the address has none.
            if len(words) <= place + 1 or not _is_network(f"{address}/{words[place + 1]}"):
                return f"{address} has no mask: write {address}/32"
            place += 1
        elif address not in _HBA_KEYWORDS and ("/" in address or ":" in address) and not _is_network(address):
            return f"{address} is no network"
        place += 1
    if (words[0] != "local" and len(words) == 3) or len(words) <= place:
        return "something is missing at its end"
    if words[place] not in _HBA_METHODS:
        return f"'{words[place]}' is no method of authentication"
    wrong = [word for word in words[place + 1 :] if "=" not in word]
    return f"'{wrong[0]}' is no option (name=value)" if wrong else ""
