# Copyright (c) 2026 the mlops.mlflow maintainers
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Objects that belong to nothing MLflow knows: told, and deleted where that was chosen.

The listing comes before the rows, as in an audit (_artifact_audit.py). To delete, the store is listed once more and each object is judged by
itself: a folder that belongs to nothing may hold something that is only just being written.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from ansible_collections.mlops.mlflow.plugins.module_utils._artifact_audit import (
    Listing,
    Row,
    Wanted,
    audit,
    judge,
    size,
    to_dict,
)
from ansible_collections.mlops.mlflow.plugins.module_utils._artifact_locations import (
    OURS,
    address,
    ancestors,
    key_below,
)
from ansible_collections.mlops.mlflow.plugins.module_utils._artifact_objects import Erasable, StoreError, open_place
from ansible_collections.mlops.mlflow.plugins.module_utils._artifact_uri import ArtifactUri, parse
from ansible_collections.mlops.mlflow.plugins.module_utils._findings import report
from ansible_collections.mlops.mlflow.plugins.module_utils._maintenance_capacity import note_store
from ansible_collections.mlops.mlflow.plugins.module_utils._maintenance_job import JobError, Result, Say
from ansible_collections.mlops.mlflow.plugins.module_utils._tracking_database import (
    DatabaseError,
    Tracking,
    parameters_of,
)

_SHOWN = 20
_PATIENCE = 20
# So few are believed whatever their share.
_FEW = 100


def owners_of(rows: Iterable[Row], place: ArtifactUri) -> frozenset[str]:
    """The folders that belong to something. An experiment's own location owns nothing, or nothing would ever be left over."""
    keys = (key_below(address(row.location, place), place) for row in rows if row.kind != "experiment")
    return frozenset(key for key in keys if key is not None)


def is_orphan(key: str, modified: float, owners: frozenset[str], before: float) -> bool:
    """Whether an object belongs to nothing and has been there for long enough. The collection's own are nobody's to delete."""
    if key.split("/", 1)[0] == OURS or modified > before:
        return False
    return not any(above in owners for above in ancestors(key))


def implausible(objects: int, orphans: int, rows: int, most_percent: int) -> str:
    """Why so many orphans are not believed; empty if they are."""
    if not rows:
        return "the database knows of no run, model or trace"
    if orphans > _FEW and 100 * orphans > most_percent * objects:
        limit = f"mlflow_maintenance_orphans.most_percent={most_percent}"
        return f"{orphans} of {objects} objects would belong to nothing, and {limit}"
    return ""


def work(request: Mapping[str, Any], say: Say, *, now: float) -> Result:
    """Do the job.

    Args:
        request: `host`, `dry_run`, `grace_days`, `most_percent`, `store` (_artifact_objects.OPTIONS), `transfer`, and `database_uri` or `server_environment`.
        say: how it tells what it does.
        now: the time.
    """
    host, dry = str(request["host"]), bool(request["dry_run"])
    place = parse(request["store"]["uri"])
    grace = int(request["grace_days"]) * 86400
    wanted = Wanted(place, str(request["transfer"]), now, grace, _SHOWN)
    try:
        store = open_place(place, request["store"])
        parameters = parameters_of(str(request.get("database_uri") or ""), str(request.get("server_environment") or ""))
        database = Tracking(parameters)
        say("Listing the store")
        listing = Listing()
        for thing in store.things(""):
            listing.add(thing.key, thing.size, thing.modified)
        say("Reading the locations")
        rows = list(database.rows())
        found = to_dict(audit(listing, rows, wanted, lambda key: next(iter(store.things(key)), None) is None), wanted)
        details = {
            "objects": found["objects"],
            "bytes": found["bytes"],
            "orphans": found["orphans"],
            "young": found["young"],
            # Nobody else lists all of it, so the history of capacity has it from here.
            "noted": note_store(parameters, place.uri, found["objects"], found["bytes"], now),
        }
        orphans = found["orphans"]
        findings = judge(found, host)
        if dry or not orphans["objects"]:
            said = f"{orphans['objects']} of {found['objects']} objects ({size(orphans['bytes'])}) belong to nothing"
            return Result(f"{said}{'; nothing was deleted' if orphans['objects'] else ''}.", details, findings)
        known = sum(found["rows"].values()) - found["rows"]["experiment"]
        if why := implausible(found["objects"], orphans["objects"], known, int(request["most_percent"])):
            raise JobError(
                f"Nothing was deleted: {why}. More likely the wrong database or the wrong place was looked into."
            )
        owners = owners_of(rows, place), lambda: owners_of(database.rows(), place)
        deleted, refused = _delete(store, owners, now - grace, say, orphans["objects"])
    except (DatabaseError, StoreError) as error:
        raise JobError(f"{error}.") from None
    findings = [one for one in findings if one["id"] != "AUDIT_ORPHANS"]
    if refused:
        findings.append(
            report(
                "MAINTENANCE_ORPHANS_LEFT",
                host=host,
                summary=f"{len(refused)} objects that belong to nothing could not be deleted.",
                evidence="; ".join(f"{key}: {why}" for key, why in list(refused.items())[:3]),
            )
        )
    return Result(
        f"{deleted} objects that belonged to nothing were deleted.", {**details, "deleted": deleted}, findings
    )


def _delete(
    store: Erasable, owners: tuple[frozenset[str], Callable[[], frozenset[str]]], before: float, say: Say, of: int
) -> tuple[int, dict[str, str]]:
    """Delete what belongs to nothing, and list again what was deleted.

    Args:
        store: where it is.
        owners: what has something there: as it was read first, and how it is read again.
        before: what is younger stays.
        say: how it tells what it does.
        of: how many are expected.
    """
    first, again = owners
    chosen = [thing for thing in store.things("") if is_orphan(thing.key, thing.modified, first, before)]
    # Here as well the rows are read after the listing: whoever has come since keeps what is his.
    now = again()
    keys = [thing.key for thing in chosen if is_orphan(thing.key, thing.modified, now, before)]
    refused: dict[str, str] = {}
    for number, key in enumerate(keys, 1):
        try:
            store.remove(key)
        except StoreError as error:
            refused[key] = str(error)
            if len(refused) >= _PATIENCE:
                raise JobError(f"The store refused to delete {_PATIENCE} objects, the last time so: {error}.") from None
        say("Deleted", number, max(of, len(keys)))
    tried = set(keys) - set(refused)
    say("Listing the store again")
    for thing in store.things(""):
        if thing.key in tried and thing.modified <= before:
            refused[thing.key] = "it is still listed"
    return len(keys) - len(refused), refused
