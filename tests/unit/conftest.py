"""Fixtures for all unit tests."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from ansible_collections.mlops.mlflow.tests.unit.support.postgresql import Server, running_server
from ansible_collections.mlops.mlflow.tests.unit.support.s3 import Store
from ansible_collections.mlops.mlflow.tests.unit.support.seaweedfs import running_seaweedfs


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Tests of roles run whole playbooks for minutes: they begin first, so that no worker is left alone with one at the end."""
    items.sort(key=lambda item: "roles" not in item.path.parts)


@pytest.fixture(scope="session")
def repository() -> Path:
    """The root of this checkout."""
    return Path(__file__).resolve().parents[2]


@pytest.fixture(scope="session")
def postgresql() -> Iterator[Server]:
    """A real PostgreSQL server, started once a session: .dsn(), .uri(), .connect(), .execute(), .database()."""
    with running_server() as server:
        yield server


@pytest.fixture(scope="session")
def seaweedfs() -> Iterator[Store]:
    """A real S3 and IAM server that enforces, started once a session: .url, .admin, .users, .user(), .client()."""
    with running_seaweedfs() as store:
        yield store


@pytest.fixture
def database(postgresql: Server) -> Iterator[str]:
    """The name of an empty database on that server, dropped after the test."""
    with postgresql.database("test_database") as name:
        yield name
