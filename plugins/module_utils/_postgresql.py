# Copyright (c) the mlops.mlflow authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""SCRAM verifiers made on the client, and what a database URI says. No connection is opened here."""

from __future__ import annotations

import base64
import hashlib
import hmac
import re
import stringprep
import unicodedata
from collections.abc import Callable
from urllib.parse import parse_qsl, unquote, urlsplit

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


def connection_parameters(uri: str) -> dict[str, str]:
    """Parameters of libpq that a SQLAlchemy URI of PostgreSQL stands for.

    Refuses other databases and other drivers than psycopg2; MLflow's own default driver is the same.
    """
    parts = urlsplit(uri)
    if parts.scheme not in ("postgresql", "postgresql+psycopg2"):
        raise ValueError(
            f"a database URI must begin with postgresql+psycopg2:// (found: {parts.scheme or 'no scheme'}://)"
        )
    found: dict[str, str] = {}
    if parts.hostname:
        found["host"] = unquote(parts.hostname)
    try:
        port = parts.port
    except ValueError as error:
        raise ValueError("the port of the database URI is no number from 0 to 65535") from error
    if port is not None:
        found["port"] = str(port)
    if parts.username:
        found["user"] = unquote(parts.username)
    if parts.password:
        found["password"] = unquote(parts.password)
    name = unquote(parts.path.lstrip("/"))
    if not name:
        raise ValueError("the database URI names no database")
    found["dbname"] = name
    found.update(parse_qsl(parts.query, keep_blank_values=True))
    return found
