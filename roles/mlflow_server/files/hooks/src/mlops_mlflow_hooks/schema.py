# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The schemas that this release of MLflow works with, and what a database found there means.

`python -m mlops_mlflow_hooks.schema` asks MLflow (slow: it imports it) and prints what the release keeps as schema.json.
"""

from __future__ import annotations

import json
import sys
from dataclasses import asdict, dataclass
from enum import Enum
from pathlib import Path
from typing import Any

from mlops_mlflow_hooks._reliance import relied_on

FILE = Path(sys.prefix) / "schema.json"


@dataclass(frozen=True)
class Schema:
    """One of the two databases as this release knows it."""

    title: str
    version_table: str
    head: str
    revisions: frozenset[str]
    tables: frozenset[str]  # must exist at head
    first_tables: frozenset[str]  # made by the first step of a creation, before any revision is recorded

    def to_json(self) -> dict[str, Any]:
        """As written to schema.json."""
        return {key: sorted(value) if isinstance(value, frozenset) else value for key, value in asdict(self).items()}

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> Schema:
        """As read from schema.json."""
        fields: dict[str, Any] = {
            key: frozenset(value) if isinstance(value, list) else value for key, value in data.items()
        }
        return cls(**fields)


@dataclass(frozen=True)
class Found:
    """What a database holds."""

    tables: frozenset[str]
    revision: str | None
    has_rows: bool = True  # of the tables that a creation begins with; asked only when no revision is recorded


class State(Enum):
    """What that means."""

    EMPTY = "empty"
    UNFINISHED = "unfinished"
    CURRENT = "current"
    OLDER = "older"
    NEWER = "newer"
    FOREIGN = "foreign"
    DAMAGED = "damaged"

    @property
    def creatable(self) -> bool:
        """Nothing of anybody's would be altered by creating the schema."""
        return self in (State.EMPTY, State.UNFINISHED)


def classify(found: Found, schema: Schema) -> State:
    """Decide what a database is to this release."""
    tables = found.tables - {schema.version_table}
    if found.revision is None:
        if not tables:
            return State.EMPTY
        if tables <= schema.first_tables and not found.has_rows:
            return State.UNFINISHED
        # Before MLflow 3.6 the auth database recorded no revision; MLflow tells it by this table as well.
        return State.OLDER if schema.title == "auth" and "users" in tables else State.FOREIGN
    if found.revision == schema.head:
        return State.CURRENT if schema.tables <= tables else State.DAMAGED
    return State.OLDER if found.revision in schema.revisions else State.NEWER


def refusal(state: State, found: Found, schema: Schema, mlflow_version: str) -> str:
    """Say in one sentence why this release does not touch, or does not start with, that database."""
    what = f"The {schema.title} database"
    this = f"MLflow {mlflow_version} (revision {schema.head})"
    if state is State.OLDER:
        return (
            f"{what} has the schema of an older MLflow (revision {found.revision or 'unrecorded'}) than {this}: "
            "back it up and migrate it with the playbook mlops.mlflow.upgrade, or, if another installation made it, take it over with "
            "mlflow_database_adopt=true."
        )
    if state is State.NEWER:
        return (
            f"{what} has a schema that {this} does not know (revision {found.revision}): set mlflow_version to the version "
            "that made it, or go back with the playbook mlops.mlflow.rollback."
        )
    if state is State.DAMAGED:
        missing = ", ".join(sorted(schema.tables - found.tables)[:5])
        return f"{what} claims the revision of {this} but lacks tables ({missing}): restore it from a backup."
    if state.creatable:
        return f"{what} is {state.value}: the migration step of the role mlflow_server has not run yet."
    return (
        f"{what} holds tables that are not MLflow's ({', '.join(sorted(found.tables)[:5])}): "
        "give MLflow an empty database of its own."
    )


@dataclass(frozen=True)
class Schemas:
    """Both databases, and the version of MLflow that says so."""

    mlflow: str
    tracking: Schema
    auth: Schema

    @classmethod
    def load(cls, path: Path = FILE) -> Schemas:
        """Read what was written when the release was built."""
        data = json.loads(path.read_text())
        return cls(data["mlflow"], Schema.from_json(data["tracking"]), Schema.from_json(data["auth"]))

    def to_json(self) -> dict[str, Any]:
        """As written to schema.json."""
        return {"mlflow": self.mlflow, "tracking": self.tracking.to_json(), "auth": self.auth.to_json()}


def ask_mlflow() -> Schemas:
    """Ask the installed MLflow."""
    script = relied_on("alembic.script", "ScriptDirectory").ScriptDirectory
    tracking = relied_on("mlflow.store.db.utils", "_get_alembic_config", "_initialize_tables", "Base", "InitialBase")
    auth = relied_on("mlflow.server.auth.db.utils", "_get_alembic_config", "migrate")
    auth_models = relied_on("mlflow.server.auth.db.models", "Base")

    def schema(title: str, config: Any, version_table: str, tables: Any, first: Any) -> Schema:
        directory = script.from_config(config)
        return Schema(
            title=title,
            version_table=version_table,
            head=directory.get_current_head(),
            revisions=frozenset(entry.revision for entry in directory.walk_revisions()),
            tables=frozenset(tables),
            first_tables=frozenset(first),
        )

    return Schemas(
        mlflow=relied_on("mlflow.version", "VERSION").VERSION,
        tracking=schema(
            "tracking",
            tracking._get_alembic_config(""),
            "alembic_version",
            tracking.Base.metadata.tables,
            tracking.InitialBase.metadata.tables,
        ),
        auth=schema("auth", auth._get_alembic_config(""), "alembic_version_auth", auth_models.Base.metadata.tables, ()),
    )


if __name__ == "__main__":
    json.dump(ask_mlflow().to_json(), sys.stdout, indent=1, sort_keys=True)
