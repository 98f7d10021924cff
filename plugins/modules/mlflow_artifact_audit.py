#!/usr/bin/python
# Copyright (c) 2026 the mlops.mlflow maintainers
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Compare MLflow's database with its store of artifacts; the documentation is in the .yml file of the same name."""

from __future__ import annotations

import platform
import time
from typing import Any

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.mlops.mlflow.plugins.module_utils import _check
from ansible_collections.mlops.mlflow.plugins.module_utils._artifact_audit import (
    Audit,
    Listing,
    Wanted,
    audit,
    judge,
    table,
    to_dict,
)
from ansible_collections.mlops.mlflow.plugins.module_utils._artifact_objects import (
    OPTIONS,
    Objects,
    StoreError,
    acting_as,
    open_place,
)
from ansible_collections.mlops.mlflow.plugins.module_utils._artifact_uri import ArtifactUriError, parse
from ansible_collections.mlops.mlflow.plugins.module_utils._artifacts import refuse
from ansible_collections.mlops.mlflow.plugins.module_utils._findings import WARNING, report
from ansible_collections.mlops.mlflow.plugins.module_utils._tracking_database import (
    DatabaseError,
    Tracking,
    parameters_of,
)

ARGUMENTS: dict[str, Any] = {
    **{name: _check.OPTIONS[name] for name in ("host", "fail_on")},
    "store": {"type": "dict", "required": True, "options": dict(OPTIONS)},
    "transfer": {"type": "str", "choices": ["proxied", "presigned", "direct"], "default": "proxied"},
    "database_uri": {"type": "str", "default": "", "no_log": True},
    "server_environment": {"type": "str", "default": ""},
    "user": {"type": "str", "default": ""},
    "grace_seconds": {"type": "int", "default": 86400},
    "limit": {"type": "int", "default": 100},
}


def look(store: Objects, database: Tracking, wanted: Wanted, user: str) -> Audit:
    """List, read the rows, compare."""
    listing = Listing()
    with acting_as(user):
        for thing in store.things(""):
            listing.add(thing.key, thing.size, thing.modified)
    rows = list(database.rows())
    with acting_as(user):
        return audit(listing, rows, wanted, lambda key: next(iter(store.things(key)), None) is None)


def main() -> None:
    """Look, judge, report."""
    module = AnsibleModule(argument_spec=ARGUMENTS, supports_check_mode=True)
    given = module.params
    host = given["host"] or platform.node() or "localhost"
    found: dict[str, Any] = {}
    try:
        wanted = Wanted(
            parse(given["store"]["uri"]), given["transfer"], time.time(), given["grace_seconds"], given["limit"]
        )
        database = Tracking(parameters_of(given["database_uri"], given["server_environment"]))
        found = to_dict(look(open_place(wanted.place, given["store"]), database, wanted, given["user"]), wanted)
        findings = judge(found, host)
    except ArtifactUriError as error:
        findings = [refuse(error, host)]
    except StoreError as error:
        findings = [report("AUDIT_STORE", host=host, summary=f"{given['store']['uri']} could not be listed: {error}.")]
    except DatabaseError as error:
        findings = [report("AUDIT_DATABASE", host=host, summary=f"The locations could not be read: {error}.")]
    sentences = _check.refusals(findings, WARNING)
    _check.finish(
        module, findings, audit=found, table=[*(table(found) if found else []), *sentences], sentences=sentences
    )


if __name__ == "__main__":
    main()
