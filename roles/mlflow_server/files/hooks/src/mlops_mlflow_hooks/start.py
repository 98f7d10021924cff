# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Before a server starts: its databases answer and have the schema of this release, and it knows who is who.

MLflow itself retries a wrong password ten times over 100 seconds, and its workers are then restarted for ever.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Mapping
from pathlib import Path

import sqlalchemy

from mlops_mlflow_hooks import identity
from mlops_mlflow_hooks.database import auth_uri_of, engine_for, look, sentence, where
from mlops_mlflow_hooks.schema import Schema, Schemas, State, classify, refusal

# A database that is restarting is worth waiting for; systemd tries again after that.
PATIENCE_SECONDS = 20.0
FINAL = ("password authentication failed", "does not exist", "no pg_hba.conf entry", "permission denied", "certificate")


def problem(uri: str, schema: Schema, mlflow: str, patience: float = PATIENCE_SECONDS) -> str | None:
    """Return what is wrong with a database in one sentence, or None."""
    deadline = time.monotonic() + patience
    while True:
        try:
            found = look(engine_for(uri), schema)
            break
        except sqlalchemy.exc.SQLAlchemyError as error:
            said = sentence(error, uri)
            if any(sign in said for sign in FINAL) or time.monotonic() > deadline:
                return f"The {where(uri)} cannot be used: {said}"
            time.sleep(1)
    state = classify(found, schema)
    return None if state is State.CURRENT else refusal(state, found, schema, mlflow)


def identity_problem(environment: Mapping[str, str]) -> str | None:
    """Return why a server behind a gate would not know who comes, or None. Its workers would be restarted for ever."""
    if identity.RULES not in environment:
        return None
    try:
        identity.Rules.read(environment)
    except SystemExit as ended:
        return str(ended.code).removeprefix("mlops: ")
    return None


def problems(environment: Mapping[str, str]) -> list[str]:
    """Look at every database that the environment of a server names."""
    schemas = Schemas.load()
    found = [problem(environment["MLFLOW_BACKEND_STORE_URI"], schemas.tracking, schemas.mlflow)]
    if path := environment.get("MLFLOW_AUTH_CONFIG_PATH"):
        found.append(problem(auth_uri_of(Path(path)), schemas.auth, schemas.mlflow))
    found.append(identity_problem(environment))
    return [entry for entry in found if entry]


def main() -> int:
    """Print what is wrong."""
    wrong = problems(os.environ)
    for entry in wrong:
        print(f"mlops: {entry}", file=sys.stderr)
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
