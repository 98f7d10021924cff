"""Verifiers are the ones PostgreSQL makes; a URI survives being taken apart."""

from __future__ import annotations

from urllib.parse import quote

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ansible_collections.mlops.mlflow.plugins.module_utils import _postgresql

text = st.text(st.characters(exclude_categories=["Cs", "Cc"]), min_size=1, max_size=40)


def zeros(size: int) -> bytes:
    return bytes(size)


def ones(size: int) -> bytes:
    return b"\1" * size


# Made by PostgreSQL 15: CREATE ROLE x PASSWORD '...'; SELECT rolpassword FROM pg_authid
@pytest.mark.parametrize(
    ("password", "made_there"),
    [
        (
            "pencil",
            (
                "SCRAM-SHA-256$4096:b9hrEsnkru84Tdn/LlncMQ=="
                "$QbE43PFqAVtJgFUNA0saUarRw3UiwWuSGxCse1gJV4Q=:v9dv/g/iJFnkC5bgOA0zKFR/6hYd+080qM2hs0ed9io="
            ),
        ),
        (
            "gr\u00fcn",
            (
                "SCRAM-SHA-256$4096:5RroMKNnsx2Wy3QCW1EEVw=="
                "$oZfM+YwwrMiSYzcogzbebRZ0P8YZpUAEoEEBL2YvHxI=:nUoWDriDSutV2YJhrjgY6Jzv8vDnRIGmnyHByn1Q/zc="
            ),
        ),
        (
            "I\u00adX",
            (
                "SCRAM-SHA-256$4096:2sckN96tkASswr3lcSyUTA=="
                "$uM3TvnemaCqU9Lv+UMaDIHNu6PehB142NRTsiFzFLYk=:6stjOGGNbR05SlvGvK73CuRH3ZddT/l1YrzAvjjI3DA="
            ),
        ),
    ],
)
def test_the_verifier_is_the_one_of_postgresql(password: str, made_there: str) -> None:
    assert _postgresql.scram_verifier(password, made_there, zeros) == made_there


@given(text, text)
@settings(max_examples=25, deadline=None)
def test_the_same_password_changes_nothing_and_another_one_everything(one: str, other: str) -> None:
    first = _postgresql.scram_verifier(one, None, zeros)
    assert _postgresql.scram_verifier(one, first, ones) == first
    if _postgresql.saslprep(other) != _postgresql.saslprep(one):
        assert _postgresql.scram_verifier(other, first, ones) != first


@pytest.mark.parametrize("current", ["", None, "md5" + "0" * 32, "SCRAM-SHA-256$oops"])
def test_a_verifier_of_another_kind_is_replaced(current: str | None) -> None:
    assert _postgresql.scram_verifier("pencil", current, zeros).startswith("SCRAM-SHA-256$4096:AAAA")


def test_equal_passwords_have_different_verifiers() -> None:
    assert _postgresql.scram_verifier("pencil", None, zeros) != _postgresql.scram_verifier("pencil", None, ones)


def test_an_empty_password_is_refused() -> None:
    with pytest.raises(ValueError, match="empty"):
        _postgresql.scram_verifier("", None, zeros)


@pytest.mark.parametrize(
    ("password", "prepared"),
    [
        ("plain", "plain"),
        ("I\u00adX", "IX"),  # RFC 4013, section 3: a soft hyphen is mapped to nothing
        ("\u00aa", "a"),
        ("\u2168", "IX"),
        ("a\u00a0b", "a b"),
        ("\u00e4\u0007", "\u00e4\u0007"),  # prohibited: taken as it is
    ],
)
def test_saslprep(password: str, prepared: str) -> None:
    assert _postgresql.saslprep(password) == prepared


@given(text, text, text)
def test_every_character_survives_in_a_uri(user: str, password: str, name: str) -> None:
    uri = f"postgresql+psycopg2://{quote(user, '')}:{quote(password, '')}@db.example.com:5433/{quote(name, '')}"
    found = _postgresql.connection_parameters(uri + "?sslmode=verify-full")
    assert found == {
        "host": "db.example.com",
        "port": "5433",
        "user": user,
        "password": password,
        "dbname": name.lstrip("/"),
        "sslmode": "verify-full",
    } or name.startswith("/")


def test_a_socket_and_no_user() -> None:
    assert _postgresql.connection_parameters("postgresql:///mlflow?host=/run/postgresql") == {
        "dbname": "mlflow",
        "host": "/run/postgresql",
    }


@pytest.mark.parametrize(
    ("uri", "sentence"),
    [
        ("mysql://u:p@h/d", "found: mysql"),
        ("postgresql+psycopg://u:p@h/d", r"postgresql\+psycopg2"),
        ("sqlite:///mlflow.db", "found: sqlite"),
        ("", "no scheme"),
        ("postgresql://h", "names no database"),
        ("postgresql://u:p@h:99999/d", "no number"),
    ],
)
def test_other_databases_are_refused(uri: str, sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence):
        _postgresql.connection_parameters(uri)
