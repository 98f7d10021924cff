# Copyright (c) 2026 the mlops.mlflow maintainers
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What MLflow's database says about where artifacts are, and which object of which store is meant by it. Pure.

MLflow 3.17.2 keeps a location with each experiment, run, logged model, trace, registered version and workspace (`COLUMNS`). It says
either that the server serves it (`mlflow-artifacts:/KEY`, relative to the server's own destination) or where it is (`s3://...`, a path).
"""

from __future__ import annotations

from dataclasses import dataclass
from urllib.parse import quote, unquote

from ansible_collections.mlops.mlflow.plugins.module_utils._artifact_uri import ArtifactUri

SERVED = "mlflow-artifacts:"
# The collection's own object, which no row of MLflow knows (see _artifact_probe.py), and what a move writes while it is under way.
OURS = ".mlops-mlflow"
TRACE_KEYS = ("mlflow.artifactLocation", "mlflow.trace.archiveLocation")


@dataclass(frozen=True)
class Column:
    """A column that holds locations."""

    table: str
    name: str
    where: str = ""


COLUMNS = (
    Column("experiments", "artifact_location"),
    Column("runs", "artifact_uri"),
    Column("logged_models", "artifact_location"),
    Column("trace_tags", "value", "key IN ({})".format(", ".join(f"'{key}'" for key in TRACE_KEYS))),
    Column("model_versions", "source"),
    Column("model_versions", "storage_location"),
    Column("workspaces", "default_artifact_root"),
    Column("workspaces", "trace_archival_location"),
)


@dataclass(frozen=True)
class Address:
    """A place in a store, whoever spelled it how."""

    kind: str  # "directory" or "s3", as ArtifactUri says it
    bucket: str
    parts: tuple[str, ...]


def root(place: ArtifactUri) -> Address:
    """Where a place begins."""
    path = place.path if place.kind == "directory" else place.prefix
    return Address(place.kind, place.bucket, _parts(path) or ())


def _parts(path: str) -> tuple[str, ...] | None:
    """The parts of a path; None if it makes detours, which no store does the same way."""
    parts = tuple(part for part in path.split("/") if part)
    return None if {".", ".."} & set(parts) else parts


def address(location: str, served: ArtifactUri) -> Address | None:
    """Return what a location of MLflow's means; None for one that is in no store this collection can look into.

    Args:
        location: as the database has it.
        served: the server's destination, to which what it serves is relative.
    """
    if not location or set(location) & {"?", "#"}:
        return None
    # What is asked of a server or given as file: is decoded on its way, names of S3 are not.
    if location.startswith(SERVED):
        path = location.removeprefix(SERVED)
        if path.startswith("//"):  # a server by its name
            path = path[2:].partition("/")[2]
        below, start = _parts(unquote(path)), root(served)
        return None if below is None else Address(start.kind, start.bucket, (*start.parts, *below))
    if location.startswith("file:"):
        path = location.removeprefix("file:")
        parts = _parts(unquote(path)) if path.startswith("///") or not path.startswith("//") else None
        return None if parts is None else Address("directory", "", parts)
    if location.startswith("/"):
        parts = _parts(location)
        return None if parts is None else Address("directory", "", parts)
    if location.startswith("s3://"):
        bucket, _slash, path = location.removeprefix("s3://").partition("/")
        parts = _parts(path)
        return None if parts is None else Address("s3", bucket, parts)
    return None


def key_below(found: Address | None, place: ArtifactUri) -> str | None:
    """Return the key of an address relative to a place, empty for the place itself; None if it is elsewhere."""
    start = root(place)
    if found is None or (found.kind, found.bucket) != (start.kind, start.bucket):
        return None
    if found.parts[: len(start.parts)] != start.parts:
        return None
    return "/".join(found.parts[len(start.parts) :])


def key_of(location: str, place: ArtifactUri, served: ArtifactUri) -> str | None:
    """Return the key that a location has in a place; None if it is elsewhere."""
    return key_below(address(location, served), place)


def is_served(location: str) -> bool:
    """Whether clients ask the server for it."""
    return location.startswith(SERVED)


def spell(key: str, place: ArtifactUri, served: ArtifactUri, *, direct: bool) -> str:
    """Return the location of a key of a place, as MLflow would have written it.

    Args:
        key: relative to `place`.
        place: where it is.
        served: the server's destination.
        direct: clients reach the store themselves. What lies outside of `served` can only be reached so.
    """
    below = key_below(root(place), served)
    if below is not None and not direct:
        path = "/".join(part for part in (below, key) if part)
        return f"{SERVED}/{_encoded(path)}"
    if place.kind == "directory":
        return f"file://{_encoded('/'.join(part for part in (place.path, key) if part))}"
    return "/".join(part for part in (place.uri, key) if part)


def _encoded(path: str) -> str:
    """Encode what would be decoded or cut off on its way; everything else stays readable."""
    return quote(path, safe="/") if set(path) & {"%", "?", "#"} else path


def within(key: str, prefixes: frozenset[str]) -> bool:
    """Whether a key is one of the prefixes or lies below one."""
    return any(one in prefixes for one in ancestors(key))


def ancestors(key: str) -> list[str]:
    """The key and everything above it, the longest first; the last is empty, the place itself."""
    found = [key]
    while key:
        key = key.rpartition("/")[0]
        found.append(key)
    return found


def collapse(prefixes: frozenset[str]) -> tuple[str, ...]:
    """The prefixes that no other one holds, in order."""
    return tuple(sorted(one for one in prefixes if not any(above in prefixes for above in ancestors(one)[1:])))
