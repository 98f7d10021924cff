# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The one step that creates schemas and the administrator. It alters a schema that holds anything only if that is backed up.

    python -m mlops_mlflow_hooks.migrate [--dry-run] < request.json

The request names the databases with a login that may create: {"tracking_uri": ..., "auth_uri": ... or null,
"admin": {"username": ..., "password": ...} or null, "backed_up": {"tracking": REVISION, "auth": REVISION} or left out}. An older schema is
migrated only if it is at the revision that the backup holds. One JSON object is printed. Exit 0: done or nothing to do;
2: refused, nothing was changed; 1: something failed.
"""

from __future__ import annotations

import contextlib
import json
import sys
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import sqlalchemy

from mlops_mlflow_hooks._reliance import relied_on
from mlops_mlflow_hooks.database import DatabaseError, engine_for, look, only_one, sentence, where, with_options
from mlops_mlflow_hooks.schema import Found, Schema, Schemas, State, classify, refusal

LOCK_SECONDS = 120
# How long one statement of a migration may wait for a lock that somebody else holds on a table.
TABLE_LOCK_MS = 10000
# A database that holds users but records no revision is one of before MLflow 3.6.
UNRECORDED = "unrecorded"


class Refused(Exception):
    """What was found must not be touched; the message is one sentence."""


@dataclass(frozen=True)
class Admin:
    """The administrator as the secrets want it."""

    username: str
    password: str


def create_tracking(uri: str) -> None:
    """Let MLflow create its tables, as a starting server would."""
    utils = relied_on("mlflow.store.db.utils", "_initialize_tables")
    engine = engine_for(uri)
    utils._initialize_tables(engine)
    engine.dispose()


def upgrade_tracking(uri: str) -> None:
    """Let MLflow migrate its tables, as `mlflow db upgrade` would."""
    utils = relied_on("mlflow.store.db.utils", "_upgrade_db")
    engine = engine_for(uri)
    utils._upgrade_db(engine)
    engine.dispose()


def create_auth(uri: str) -> None:
    """Let MLflow create its tables of users and permissions, or migrate them."""
    utils = relied_on("mlflow.server.auth.db.utils", "migrate")
    engine = engine_for(uri)
    utils.migrate(engine, "head")
    engine.dispose()


@dataclass(frozen=True)
class Steps:
    """How one database gets the schema of this release."""

    create: Callable[[str], None]
    upgrade: Callable[[str], None]
    backed_up: str = ""  # the revision of which there is a backup: the only one that may be migrated


def settle(uri: str, schema: Schema, mlflow: str, steps: Steps, *, dry_run: bool) -> dict[str, Any]:
    """Bring one database to the schema of this release, or refuse."""
    engine = engine_for(uri)
    bounded = with_options(uri, lock_timeout=str(TABLE_LOCK_MS))

    def examine() -> tuple[Found, State]:
        found = look(engine, schema)
        state = classify(found, schema)
        may_upgrade = state is State.OLDER and (found.revision or UNRECORDED) == steps.backed_up
        if state is not State.CURRENT and not state.creatable and not may_upgrade:
            raise Refused(refusal(state, found, schema, mlflow) + " Nothing was changed.")
        return found, state

    try:
        before, state = examine()
        changed = state is not State.CURRENT
        if changed and not dry_run:
            with only_one(engine, LOCK_SECONDS):
                # Somebody else may have done it while this one waited.
                before, state = examine()
                changed = state is not State.CURRENT
                if changed:
                    (steps.create if state.creatable else steps.upgrade)(bounded)
                    after, state_after = examine()
                    if state_after is not State.CURRENT:
                        raise DatabaseError(
                            f"The {where(uri)} is {state_after.value} after its creation or migration: {after.revision}."
                        )
        return {"changed": changed, "found": state.value, "before": before.revision, "after": schema.head}
    except sqlalchemy.exc.SQLAlchemyError as error:
        raise DatabaseError(f"The {where(uri)} cannot be used: {sentence(error, uri)}") from error


def admin_differences(engine: sqlalchemy.Engine, admin: Admin) -> list[str]:
    """Name what differs between the administrator in the database and the one in the secrets."""
    check = relied_on("werkzeug.security", "check_password_hash").check_password_hash
    with engine.connect() as connection:
        row = connection.execute(
            sqlalchemy.text("SELECT password_hash, is_admin FROM users WHERE username = :name"),
            {"name": admin.username},
        ).first()
    if row is None:
        return ["user"]
    differences = [] if check(row.password_hash, admin.password) else ["password"]
    return differences if row.is_admin else [*differences, "is_admin"]


def settle_admin(uri: str, admin: Admin, *, dry_run: bool) -> dict[str, Any]:
    """Create the administrator, or give it the password and the flag it should have."""
    engine = engine_for(uri)
    try:
        differences = admin_differences(engine, admin)
        if differences and not dry_run:
            with only_one(engine, LOCK_SECONDS):
                differences = admin_differences(engine, admin)
                if differences:
                    _write_admin(uri, admin, differences)
                if left := admin_differences(engine, admin):
                    raise DatabaseError(f"MLflow did not take the {', '.join(left)} of the administrator.")
        return {"changed": bool(differences), "differences": differences}
    except sqlalchemy.exc.SQLAlchemyError as error:
        raise DatabaseError(f"The {where(uri)} cannot be used: {sentence(error, uri)}") from error


def _write_admin(uri: str, admin: Admin, differences: list[str]) -> None:
    # MLflow's own store writes, so that its rules for names and passwords hold.
    store = relied_on("mlflow.server.auth.sqlalchemy_store", "SqlAlchemyStore").SqlAlchemyStore()
    exception = relied_on("mlflow.exceptions", "MlflowException").MlflowException
    store.init_db(uri)
    try:
        if "user" in differences:
            store.create_user(admin.username, admin.password, is_admin=True)
        else:
            store.update_user(
                admin.username,
                password=admin.password if "password" in differences else None,
                is_admin=True if "is_admin" in differences else None,
            )
    except exception as error:
        raise Refused(f"MLflow refuses the administrator: {error.message} Nothing was changed.") from error
    finally:
        store.engine.dispose()


def run(request: dict[str, Any], schemas: Schemas, *, dry_run: bool) -> dict[str, Any]:
    """Do what the request asks for."""
    result: dict[str, Any] = {"mlflow": schemas.mlflow, "dry_run": dry_run, "auth": None, "admin": None}
    backed_up: dict[str, str] = request.get("backed_up") or {}
    tracking = Steps(create_tracking, upgrade_tracking, backed_up.get("tracking", ""))
    wanted = [("tracking", request["tracking_uri"], schemas.tracking, tracking)]
    if request.get("auth_uri"):
        wanted.append(
            ("auth", request["auth_uri"], schemas.auth, Steps(create_auth, create_auth, backed_up.get("auth", "")))
        )
    # Both are looked at before the first is changed, so that a refusal really has changed nothing.
    for only_look in [True] if dry_run else [True, False]:
        for name, uri, schema, steps in wanted:
            result[name] = settle(uri, schema, schemas.mlflow, steps, dry_run=only_look)
    if request.get("auth_uri") and request.get("admin"):
        admin = Admin(**request["admin"])
        if dry_run and result["auth"]["changed"]:
            result["admin"] = {"changed": True, "differences": ["user"]}
        else:
            result["admin"] = settle_admin(request["auth_uri"], admin, dry_run=dry_run)
    result["changed"] = any(part["changed"] for part in (result["tracking"], result["auth"], result["admin"]) if part)
    return result


def main(arguments: list[str]) -> int:
    """Read the request, do it, print what happened."""
    request, code = json.load(sys.stdin), 0
    result: dict[str, Any]
    with contextlib.redirect_stdout(sys.stderr):  # MLflow and alembic may print; stdout carries the result only
        try:
            result = run(request, Schemas.load(), dry_run="--dry-run" in arguments)
        except Refused as error:
            code, result = 2, {"changed": False, "refused": True, "msg": str(error)}
        except DatabaseError as error:
            code, result = 1, {"changed": False, "msg": str(error)}
    print(json.dumps(result))
    return code


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
