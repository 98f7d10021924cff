"""mlflow_artifact_move against a real PostgreSQL, directories and an S3 that checks rights.

What is asserted each time: the source is as it was, no row points to nothing, and running it again comes to the right end.
"""

from __future__ import annotations

import fcntl
import json
import os
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.mlops.mlflow.plugins.module_utils import (
    _artifact_mover,
    _artifact_uri,
    _tracking_database,
)
from ansible_collections.mlops.mlflow.plugins.module_utils._artifact_objects import Directory, Reader
from ansible_collections.mlops.mlflow.plugins.module_utils._tracking_database import Change, Tracking
from ansible_collections.mlops.mlflow.tests.unit.support.module import run_module
from ansible_collections.mlops.mlflow.tests.unit.support.postgresql import Server
from ansible_collections.mlops.mlflow.tests.unit.support.s3 import Store, running_store
from ansible_collections.mlops.mlflow.tests.unit.support.tracking import Mlflow, tracking

BIG = os.urandom(40 * 1024**2)  # more than one part of an upload


@pytest.fixture(name="store", scope="module")
def _store() -> Iterator[Store]:
    with running_store() as store:
        yield store


def connection(uri: str) -> Tracking:
    """As the module has one."""
    return Tracking(_tracking_database.parameters_of(uri, ""))


@dataclass(frozen=True)
class Site:
    """A tracking database, a directory that the servers serve, and room for more."""

    mlflow: Mlflow
    folder: Path
    store: Store

    @property
    def served(self) -> Path:
        """Where the servers keep artifacts."""
        return self.folder / "served"

    @property
    def other(self) -> Path:
        """Another directory."""
        return self.folder / "other"

    @property
    def journal(self) -> Path:
        """The move's."""
        return self.folder / "moves/journal.jsonl"

    def put(self, key: str, body: bytes, place: Path | None = None) -> None:
        """A file."""
        path = (place or self.served) / key
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(body)

    def files(self, place: Path) -> dict[str, bytes]:
        """What a directory holds, without what is the collection's own."""
        found = {str(path.relative_to(place)): path.read_bytes() for path in place.rglob("*") if path.is_file()}
        return {key: body for key, body in found.items() if not key.startswith(".mlops-mlflow/")}

    def place(self, uri: str | Path) -> dict[str, str]:
        """As the module takes it."""
        keys = self.store.users["full"]
        access = {
            "access_key_id": keys.id,
            "secret_access_key": keys.secret,
            "endpoint_url": self.store.url,
            "region": "us-east-1",
        }
        return {"uri": str(uri), **(access if str(uri).startswith("s3:") else {})}

    def move(
        self, source: str | Path, target: str | Path, access: dict[str, str] | None = None, **options: Any
    ) -> dict[str, Any]:
        """Run the module as host app1, with other keys for the target if they are given."""
        arguments = {
            "host": "app1",
            "source": self.place(source),
            "target": {**self.place(target), **(access or {})},
            "served": str(self.served),
            "environment": "dev",
            "database_uri": self.mlflow.uri,
            "journal": str(self.journal),
            "backup_directory": str(self.folder / "moves"),
        }
        return run_module("mlflow_artifact_move", **{**arguments, **options})

    def locations(self) -> set[str]:
        """All that rows say."""
        return {location.value for location in connection(self.mlflow.uri).locations()}


@pytest.fixture(name="site")
def _site(postgresql: Server, database: str, tmp_path: Path, store: Store, monkeypatch: pytest.MonkeyPatch) -> Site:
    """Experiments 4 and 5 with runs, models, traces and a registered version in the served directory."""
    monkeypatch.setattr(_artifact_uri, "_FLEETING", ())
    site = Site(tracking(postgresql, database), tmp_path, store)
    mlflow = site.mlflow
    for number in (4, 5):
        root = f"mlflow-artifacts:/{number}"
        mlflow.experiment(number, root)
        mlflow.run(f"r{number}", number, f"{root}/r{number}/artifacts")
        mlflow.model(f"m-{number}", number, f"{root}/models/m-{number}/artifacts")
        mlflow.trace(f"tr-{number}", number, f"{root}/traces/tr-{number}/artifacts", archive="s3://cold/elsewhere")
        mlflow.version(f"v{number}", 1, f"models:/m-{number}", f"{root}/models/m-{number}/artifacts")
        site.put(f"{number}/r{number}/artifacts/a b+ü%41.txt", f"text of {number}".encode())
        site.put(f"{number}/r{number}/artifacts/deep/er/empty", b"")
        site.put(f"{number}/models/m-{number}/artifacts/MLmodel", f"model {number}".encode())
        site.put(f"{number}/traces/tr-{number}/artifacts/traces.json", b"{}")
    site.put(".mlops-mlflow/environment", b"dev")
    return site


def failed(answer: dict[str, Any], finding: str, words: str) -> dict[str, str]:
    """Assert that it was refused with this sentence, and return the finding."""
    assert answer.get("failed"), answer
    assert [one["id"] for one in answer["findings"]] == [finding], answer
    assert answer["msg"].startswith(f"[{finding}] app1: "), answer["msg"]
    assert words in answer["msg"]
    found: dict[str, str] = answer["findings"][0]
    return found


# ----- everything to another store


@pytest.mark.parametrize("kind", ["bucket", "directory"])
def test_all_that_is_served_goes_to_another_store(site: Site, kind: str, request: pytest.FixtureRequest) -> None:
    """Served locations stay as they are: no row changes, no backup is needed, and the destination has to be set."""
    prefix = f"all-{abs(hash(request.node.name))}"
    target = f"s3://bucket/{prefix}" if kind == "bucket" else site.other
    site.put("4/r4/artifacts/big.bin", BIG)
    source, rows = site.files(site.served), site.mlflow.everything()
    answer = site.move(site.served, target)
    assert not answer.get("failed"), answer
    assert (answer["changed"], answer["switch"], answer["copied"], answer["rewritten"], answer["backup"]) == (
        True,
        True,
        9,
        {},
        "",
    )
    assert answer["bytes"] == sum(map(len, source.values()))
    there = (
        {key.removeprefix(f"{prefix}/"): body for key, body in site.store.objects(prefix).items()}
        if kind == "bucket"
        else site.files(site.other)
    )
    assert there == source
    assert site.files(site.served) == source, "nothing is deleted where it came from"
    assert site.mlflow.everything() == rows
    # Again, and with one more: only that one.
    assert site.move(site.served, target)["changed"] is False
    site.put("4/r4/artifacts/later.txt", b"later")
    again = site.move(site.served, target)
    assert (again["copied"], again["bytes"]) == (1, 5)
    # The same after the servers were switched.
    site.put("4/r4/artifacts/straggler.txt", b"straggler")
    last = site.move(site.served, target, served=str(target))
    assert (last["copied"], last["rewritten"]) == (1, {})
    assert site.mlflow.everything() == rows


def test_check_mode_says_what_would_be_done_and_does_nothing(site: Site) -> None:
    rows = site.mlflow.everything()
    arguments: dict[str, Any] = {
        "source": site.place(site.served),
        "target": site.place(site.other),
        "served": str(site.served),
        "experiments": ["4"],
        "environment": "dev",
        "database_uri": site.mlflow.uri,
        "journal": str(site.journal),
        "backup_directory": str(site.folder / "moves"),
    }
    answer = run_module("mlflow_artifact_move", check_mode=True, **arguments)
    assert (answer["changed"], answer["copied"]) == (True, 4)
    assert answer["rewritten"] == {
        "experiments.artifact_location": 1,
        "runs.artifact_uri": 1,
        "logged_models.artifact_location": 1,
        "trace_tags.value": 1,
        "model_versions.storage_location": 1,
    }
    assert not site.other.exists()
    assert not site.journal.parent.exists()
    assert site.mlflow.everything() == rows
    done = run_module("mlflow_artifact_move", **arguments)
    assert (done["copied"], done["rewritten"]) == (answer["copied"], answer["rewritten"]), "it foretells the truth"
    assert run_module("mlflow_artifact_move", check_mode=True, **arguments)["changed"] is False


# ----- an experiment, there and back


@pytest.mark.parametrize("kind", ["bucket", "directory"])
def test_one_experiment_goes_and_comes_back(site: Site, kind: str, request: pytest.FixtureRequest) -> None:
    target = f"s3://bucket/one-{abs(hash(request.node.name))}" if kind == "bucket" else site.other
    spelled = str(target) if kind == "bucket" else f"file://{target}"
    source, rows = site.files(site.served), site.mlflow.everything()
    answer = site.move(site.served, target, experiments=["4"])
    assert not answer.get("failed"), answer
    assert (answer["copied"], sum(answer["rewritten"].values()), answer["switch"]) == (4, 5, False)
    # The other experiment, and what is elsewhere, stay.
    assert {location for location in site.locations() if "4" in location} == {
        f"{spelled}/4",
        f"{spelled}/4/r4/artifacts",
        f"{spelled}/4/models/m-4/artifacts",
        f"{spelled}/4/traces/tr-4/artifacts",
        "models:/m-4",
    }
    assert {location for location in site.locations() if location.startswith("mlflow-artifacts:/5")}
    assert "s3://cold/elsewhere" in site.locations()
    assert site.files(site.served) == source
    # The backup of before is readable and holds the tables.
    assert "TABLE DATA public experiments" in _tracking_database.read_dump(Path(answer["backup"]))
    assert Path(answer["backup"]).stat().st_mode & 0o777 == 0o600
    assert site.move(site.served, target, experiments=["4"])["changed"] is False
    # Something is written to the new place before it is undone: it comes along.
    if kind == "bucket":
        site.store.put(f"{str(target).removeprefix('s3://bucket/')}/4/r4/artifacts/new.txt", b"new")
    else:
        site.put("4/r4/artifacts/new.txt", b"new", site.other)
    undone = site.move(site.served, target, experiments=["4"], state="undone")
    assert not undone.get("failed"), undone
    assert (undone["copied"], sum(undone["rewritten"].values())) == (1, 5)
    assert site.mlflow.everything() == rows
    assert site.files(site.served) == {**source, "4/r4/artifacts/new.txt": b"new"}
    assert site.move(site.served, target, experiments=["4"], state="undone")["changed"] is False
    # And once more there.
    assert sum(site.move(site.served, target, experiments=["4"])["rewritten"].values()) == 5


def test_a_foreign_bucket_becomes_served(site: Site) -> None:
    """Experiments of before, with locations of their own in a bucket, go below the served directory."""
    mlflow = site.mlflow
    mlflow.experiment(9, "s3://bucket/foreign/9")
    mlflow.run("r9", 9, "s3://bucket/foreign/9/r9/artifacts")
    mlflow.version("direct", 1, "s3://bucket/foreign/9/r9/artifacts/model", "s3://bucket/foreign/9/r9/artifacts/model")
    mlflow.execute("INSERT INTO workspaces VALUES ('team', 's3://bucket/foreign/team', NULL)")
    site.store.put("foreign/9/r9/artifacts/model/MLmodel", b"m")
    site.store.put("foreign2/9/neighbour", b"n")
    answer = site.move("s3://bucket/foreign", site.served / "old")
    assert not answer.get("failed"), answer
    assert (answer["copied"], answer["switch"]) == (1, False)
    assert {location for location in site.locations() if "/old" in location} == {
        "mlflow-artifacts:/old/9",
        "mlflow-artifacts:/old/9/r9/artifacts",
        "mlflow-artifacts:/old/9/r9/artifacts/model",
        "mlflow-artifacts:/old/team",
    }
    assert answer["rewritten"]["model_versions.source"] == 1
    assert site.files(site.served)["old/9/r9/artifacts/model/MLmodel"] == b"m"


def test_the_same_place_twice_rewrites_the_way_only(site: Site) -> None:
    rows, source = site.mlflow.everything(), site.files(site.served)
    answer = site.move(site.served, site.served, transfer="direct")
    assert not answer.get("failed"), answer
    assert (answer["copied"], sum(answer["rewritten"].values()), answer["switch"]) == (0, 10, False)
    assert f"file://{site.served}/4/r4/artifacts" in site.locations()
    assert not any(location.startswith("mlflow-artifacts:") for location in site.locations())
    undone = site.move(site.served, site.served, transfer="direct", state="undone")
    assert sum(undone["rewritten"].values()) == 10
    assert (site.mlflow.everything(), site.files(site.served)) == (rows, source)


def test_what_was_made_since_stays_where_it_is_when_it_is_undone(site: Site) -> None:
    site.move(site.served, site.other, experiments=["4"])
    site.mlflow.run("new", 4, f"file://{site.other}/4/new/artifacts")
    site.put("4/new/artifacts/x", b"x", site.other)
    undone = site.move(site.served, site.other, experiments=["4"], state="undone")
    assert sum(undone["rewritten"].values()) == 5
    assert f"file://{site.other}/4/new/artifacts" in site.locations()
    assert "mlflow-artifacts:/4" in site.locations()


# ----- interrupted


class Killed(BaseException):
    """Ends the module wherever it is, as a signal would."""


def kill_at(monkeypatch: pytest.MonkeyPatch, owner: object, name: str, call: int, *, after: bool = False) -> None:
    """End the process at the n-th call of something, before it does anything or when it has done it."""
    original: Callable[..., Any] = getattr(owner, name)
    calls = [0]

    def instead(*given: Any, **named: Any) -> Any:
        calls[0] += 1
        if calls[0] == call and not after:
            raise Killed
        got = original(*given, **named)
        if calls[0] == call:
            raise Killed
        return got

    monkeypatch.setattr(owner, name, instead)


@pytest.mark.parametrize(
    ("owner", "name", "call", "after"),
    [
        (Directory, "put", 1, False),
        (Directory, "put", 1, True),
        (Directory, "put", 3, True),
        (_artifact_mover, "_checksum", 2, False),
        (Tracking, "dump", 1, False),
        (Tracking, "dump", 1, True),
        (Tracking, "rewrite", 1, False),
        (_tracking_database, "_update", 3, True),
        (Tracking, "rewrite", 1, True),
    ],
)
def test_ended_at_any_step_it_comes_to_the_same_end(
    site: Site, monkeypatch: pytest.MonkeyPatch, owner: object, name: str, call: int, after: bool
) -> None:
    source, rows = site.files(site.served), site.mlflow.everything()
    with monkeypatch.context() as patch:
        kill_at(patch, owner, name, call, after=after)
        with pytest.raises(Killed):
            site.move(site.served, site.other, experiments=["4"], workers=1)
    committed = name == "rewrite" and after
    assert (site.mlflow.everything() == rows) != committed, "all locations or none"
    assert site.files(site.served) == source
    answer = site.move(site.served, site.other, experiments=["4"])
    assert not answer.get("failed"), answer
    assert site.files(site.other) == {key: body for key, body in source.items() if key.startswith("4/")}
    assert f"file://{site.other}/4/r4/artifacts" in site.locations()
    assert not (site.other / ".mlops-mlflow/moving").exists() or not any(
        (site.other / ".mlops-mlflow/moving").iterdir()
    )
    # Also from there it goes back to exactly what was.
    assert not site.move(site.served, site.other, experiments=["4"], state="undone").get("failed")
    assert site.mlflow.everything() == rows


@pytest.mark.parametrize(
    ("owner", "name", "after"), [(Directory, "put", True), (Tracking, "rewrite", False), (Tracking, "rewrite", True)]
)
def test_undoing_that_was_ended_comes_to_its_end(
    site: Site, monkeypatch: pytest.MonkeyPatch, owner: object, name: str, after: bool
) -> None:
    rows = site.mlflow.everything()
    site.move(site.served, site.other, experiments=["4"])
    site.put("4/r4/artifacts/new.txt", b"new", site.other)
    with monkeypatch.context() as patch:
        kill_at(patch, owner, name, 1, after=after)
        with pytest.raises(Killed):
            site.move(site.served, site.other, experiments=["4"], state="undone")
    assert not site.move(site.served, site.other, experiments=["4"], state="undone").get("failed")
    assert site.mlflow.everything() == rows
    assert site.files(site.served)["4/r4/artifacts/new.txt"] == b"new"


def test_a_line_of_the_journal_that_was_cut_off_does_not_count(site: Site) -> None:
    site.move(site.served, site.other)
    with site.journal.open("a") as file:
        file.write('{"what": "copied", "key": "4/r4/arti')
    site.put("4/r4/artifacts/later.txt", b"later")
    assert site.move(site.served, site.other)["copied"] == 1
    assert all(json.loads(line) for line in site.journal.read_text().splitlines())


# ----- refused


@pytest.mark.parametrize(
    ("source", "target", "words"),
    [
        ("{served}", "{served}/below", "lies within"),
        ("{served}/4", "{served}", "lies within"),
        ("s3://bucket/a/b", "s3://bucket/a", "s3://bucket/a/b lies within s3://bucket/a."),
        ("{served}", "gs://bucket/a", "gs://bucket/a is neither a directory nor S3."),
    ],
)
def test_places_that_do_not_go_together(site: Site, source: str, target: str, words: str) -> None:
    failed(site.move(source.format(served=site.served), target.format(served=site.served)), "MOVE_PLACES", words)


def test_a_place_of_another_environment(site: Site) -> None:
    site.put(".mlops-mlflow/environment", b"prod", site.other)
    failed(
        site.move(site.served, site.other),
        "MOVE_PLACES",
        f"{site.other} belongs to the environment 'prod', not to 'dev'. Name two places",
    )
    assert site.files(site.other) == {}


def test_a_place_that_cannot_be_understood(site: Site) -> None:
    failed(site.move(site.served, "S3://bucket/x"), "ARTIFACT_URI", "must be in lower case")


def test_an_experiment_that_is_not_there(site: Site) -> None:
    site.mlflow.experiment(8, "s3://cold/8")
    failed(
        site.move(site.served, site.other, experiments=["4", "8", "77"]),
        "MOVE_EXPERIMENT",
        f"{site.served} holds nothing of 77, 8.",
    )
    assert not site.other.exists()


def test_another_content_under_the_same_name(site: Site) -> None:
    """Of another size it is seen at once, of the same size by its checksum; what is the same is taken over."""
    site.put("4/r4/artifacts/deep/er/empty", b"not empty", site.other)
    failed(
        site.move(site.served, site.other),
        "MOVE_CONFLICT",
        "1 objects stand in the other place with another content: 4/r4/artifacts/deep",
    )
    site.put("4/r4/artifacts/deep/er/empty", b"", site.other)
    site.put("4/models/m-4/artifacts/MLmodel", b"model X", site.other)
    failed(
        site.move(site.served, site.other), "MOVE_CONFLICT", "4/models/m-4/artifacts/MLmodel stands in the other place"
    )
    assert site.files(site.other)["4/models/m-4/artifacts/MLmodel"] == b"model X", "nothing is overwritten"
    site.put("4/models/m-4/artifacts/MLmodel", b"model 4", site.other)
    answer = site.move(site.served, site.other)
    assert answer["copied"] == 6
    assert site.files(site.other) == site.files(site.served)


def test_what_changed_since_it_was_copied_is_copied_again(site: Site) -> None:
    site.move(site.served, site.other)
    site.put("4/models/m-4/artifacts/MLmodel", b"model four")
    assert site.move(site.served, site.other)["copied"] == 1
    assert site.files(site.other)["4/models/m-4/artifacts/MLmodel"] == b"model four"
    # Changed in both places: nobody can know.
    site.put("4/models/m-4/artifacts/MLmodel", b"here")
    site.put("4/models/m-4/artifacts/MLmodel", b"and there", site.other)
    failed(site.move(site.served, site.other), "MOVE_CONFLICT", "4/models/m-4/artifacts/MLmodel")


def test_originals_are_not_overwritten_unasked_when_it_is_undone(site: Site) -> None:
    site.move(site.served, site.other, experiments=["4"])
    moved = site.mlflow.everything()
    site.put("4/models/m-4/artifacts/MLmodel", b"damaged?", site.other)
    refused = site.move(site.served, site.other, experiments=["4"], state="undone")
    failed(
        refused,
        "MOVE_CONFLICT",
        "1 objects were changed since they were copied. Set mlflow_artifact_move_changed to keep or take",
    )
    assert site.mlflow.everything() == moved
    kept = site.move(site.served, site.other, experiments=["4"], state="undone", changed_since="keep")
    assert (kept["kept"], kept["copied"]) == (1, 0)
    assert site.files(site.served)["4/models/m-4/artifacts/MLmodel"] == b"model 4"


def test_changed_copies_are_taken_if_that_is_asked_for(site: Site) -> None:
    site.move(site.served, site.other, experiments=["4"])
    site.put("4/models/m-4/artifacts/MLmodel", b"appended", site.other)
    taken = site.move(site.served, site.other, experiments=["4"], state="undone", changed_since="take")
    assert taken["copied"] == 1
    assert site.files(site.served)["4/models/m-4/artifacts/MLmodel"] == b"appended"


def test_names_that_the_other_store_cannot_hold(site: Site) -> None:
    (site.served / "4/link").symlink_to("/etc/passwd")
    os.mkfifo(site.served / "4/pipe")
    words = failed(site.move(site.served, site.other), "MOVE_NAMES", "2 objects cannot be moved by their names")[
        "evidence"
    ]
    assert sorted(words.split("; ")) == ["4/link is a link", "4/pipe is a special file"]
    assert not site.other.exists(), "before anything was copied"
    for name in ("link", "pipe"):
        (site.served / "4" / name).unlink()
    (site.served / os.fsdecode(b"4/\xff")).write_bytes(b"x")
    site.journal.unlink()
    failed(site.move(site.served, "s3://bucket/names-1"), "MOVE_NAMES", "is not UTF-8")


def test_keys_that_no_directory_can_hold(site: Site) -> None:
    for key in ("9/a", "9/a/b", "9//c", "9/../d", f"9/{'x' * 256}"):
        site.store.put(f"names-2/{key}", b"x")
    evidence = failed(site.move("s3://bucket/names-2", site.served / "n"), "MOVE_NAMES", "4 objects cannot")["evidence"]
    for word in (
        "9//c has empty",
        "9/../d has empty or dotted",
        "a part of more than 255 bytes",
        "9/a has objects below it",
    ):
        assert word in evidence
    assert not (site.served / "n").exists()


def test_no_room(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Directory, "free", lambda _self: 20)
    failed(site.move(site.served, site.other), "MOVE_ROOM", "36 B are to be copied, and 20 B are free.")


def test_a_store_that_damages_what_it_gets(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    put = Directory.put

    def damaging(self: Directory, key: str, body: Reader, size: int) -> None:
        put(self, key, body, size)
        path = Path(self._path(key))
        if path.stat().st_size:
            path.write_bytes(path.read_bytes()[:-1] + b"?")

    with monkeypatch.context() as patch:
        patch.setattr(Directory, "put", damaging)
        failed(site.move(site.served, site.other, experiments=["4"]), "MOVE_CHECKSUM", "the copy is not what was read.")
    assert "mlflow-artifacts:/4/r4/artifacts" in site.locations()
    # The damaged copy is ours, and is made again.
    assert not site.move(site.served, site.other, experiments=["4"]).get("failed")
    assert site.files(site.other)["4/models/m-4/artifacts/MLmodel"] == b"model 4"


def test_an_object_that_never_stays_the_same(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    put = Directory.put

    def changing(self: Directory, key: str, body: Reader, size: int) -> None:
        put(self, key, body, size)
        source = site.served / key
        os.utime(source, ns=(0, time.time_ns()))

    monkeypatch.setattr(Directory, "put", changing)
    failed(site.move(site.served, site.other), "MOVE_CHECKSUM", "changed each time it was read.")


def test_an_object_that_changes_while_it_is_read_is_read_again(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    put, changed = Directory.put, [False]

    def changing(self: Directory, key: str, body: Reader, size: int) -> None:
        put(self, key, body, size)
        if not changed[0] and key.endswith("MLmodel"):
            changed[0] = True
            (site.served / key).write_bytes(b"other model")

    monkeypatch.setattr(Directory, "put", changing)
    assert not site.move(site.served, site.other, workers=1).get("failed")
    assert site.files(site.other) == site.files(site.served)


def test_what_arrives_while_it_is_copied_is_copied_as_well(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    put = Directory.put

    def arriving(self: Directory, key: str, body: Reader, size: int) -> None:
        put(self, key, body, size)
        if key.endswith("MLmodel"):
            site.put("4/r4/artifacts/arrived.txt", b"arrived")

    monkeypatch.setattr(Directory, "put", arriving)
    assert site.move(site.served, site.other, experiments=["4"])["copied"] == 5
    assert site.files(site.other)["4/r4/artifacts/arrived.txt"] == b"arrived"


def test_a_location_that_would_be_too_long(site: Site) -> None:
    deep = site.folder / ("d" * 190)
    evidence = failed(site.move(site.served, deep, experiments=["4"]), "MOVE_LENGTH", "locations would be too long")[
        "evidence"
    ]
    assert "runs.artifact_uri takes 200 characters" in evidence
    assert not deep.exists()


def test_a_store_that_refuses(site: Site) -> None:
    keys = site.store.users["no-s3:PutObject"]
    limited = {"access_key_id": keys.id, "secret_access_key": keys.secret}
    answer = site.move(site.served, "s3://bucket/denied", access=limited, experiments=["4"])
    failed(answer, "MOVE_STORE", "AccessDenied")
    assert "mlflow-artifacts:/4/r4/artifacts" in site.locations()
    # With the right keys the same journal goes on.
    assert site.move(site.served, "s3://bucket/denied", experiments=["4"])["copied"] == 4


def test_a_database_that_does_not_answer(site: Site) -> None:
    uri = site.mlflow.uri.replace("postgres@", "postgres:a-secret-word@").replace("port=5432", "port=5439")
    answer = site.move(site.served, site.other, database_uri=uri)
    failed(answer, "MOVE_DATABASE", "No such file or directory")
    assert "a-secret-word" not in json.dumps(answer)


def test_rows_that_changed_meanwhile_are_not_rewritten(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    rewrite = Tracking.rewrite

    def late(self: Tracking, changes: list[Change], before_commit: Callable[[], None]) -> None:
        site.mlflow.execute("UPDATE runs SET artifact_uri = 's3://by/hand' WHERE run_uuid = 'r4'")
        rewrite(self, changes, before_commit)

    monkeypatch.setattr(Tracking, "rewrite", late)
    failed(
        site.move(site.served, site.other, experiments=["4"]),
        "MOVE_ROWS",
        "1 of 1 rows of runs.artifact_uri were no longer as",
    )
    assert "mlflow-artifacts:/4" in site.locations(), "none was rewritten"


# ----- the backup


def test_a_dump_that_exists_is_proved(site: Site) -> None:
    backup = site.folder / "by-hand.dump"
    connection(site.mlflow.uri).dump(backup)
    answer = site.move(site.served, site.other, experiments=["4"], backup=str(backup))
    assert answer["backup"] == str(backup)
    assert list((site.folder / "moves").iterdir()) == [site.journal], "none was made"


def spoil_by_cutting(_site: Site, backup: Path) -> None:
    """Half of a dump."""
    backup.write_bytes(backup.read_bytes()[: backup.stat().st_size // 2])


def spoil_by_removing(_site: Site, backup: Path) -> None:
    """None."""
    backup.unlink()


def spoil_by_a_run(site: Site, _backup: Path) -> None:
    """A run that ends after it."""
    site.mlflow.execute("UPDATE runs SET end_time = %s WHERE run_uuid = 'r5'", int((time.time() + 60) * 1000))


def spoil_by_another_database(site: Site, backup: Path) -> None:
    """A dump of another one."""
    connection(site.mlflow.server.uri()).dump(backup)


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (spoil_by_cutting, "is no proved backup: pg_restore: "),
        (spoil_by_removing, "is no file on this host"),
        (spoil_by_a_run, "is no proved backup: a run has ended since it was begun."),
        (spoil_by_another_database, "it is of the database postgres, not of test_database."),
    ],
)
def test_without_a_proved_backup_nothing_is_rewritten(
    site: Site, spoil: Callable[[Site, Path], None], words: str
) -> None:
    backup = site.folder / "by-hand.dump"
    connection(site.mlflow.uri).dump(backup)
    spoil(site, backup)
    rows = site.mlflow.everything()
    failed(site.move(site.served, site.other, experiments=["4"], backup=str(backup)), "MOVE_BACKUP", words)
    assert site.mlflow.everything() == rows


def test_a_host_without_pg_dump(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Path, "glob", lambda _self, _pattern: iter(()))
    monkeypatch.setenv("PATH", "/nowhere")
    failed(
        site.move(site.served, site.other, experiments=["4"]), "MOVE_BACKUP", "pg_dump is not installed on this host"
    )


# ----- the journal


def test_undoing_without_a_journal(site: Site) -> None:
    failed(site.move(site.served, site.other, state="undone"), "MOVE_JOURNAL", f"There is no journal {site.journal}")


def test_the_journal_of_another_move(site: Site) -> None:
    site.move(site.served, site.other)
    failed(site.move(site.served, site.folder / "third"), "MOVE_JOURNAL", f"it is of the move with to {site.other}.")


def test_a_damaged_journal(site: Site) -> None:
    site.move(site.served, site.other)
    text = site.journal.read_text().splitlines()
    site.journal.write_text("\n".join([text[0], "{", *text[2:], ""]))
    failed(site.move(site.served, site.other), "MOVE_JOURNAL", "line 2 cannot be read")


def test_two_runs_at_once(site: Site) -> None:
    site.move(site.served, site.other)
    with site.journal.open() as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        failed(site.move(site.served, site.other), "MOVE_JOURNAL", f"Another run writes into {site.journal}.")


# ----- whose files


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root to act as another user")
def test_files_belong_to_the_user_who_serves_them(site: Site) -> None:
    for folder in (site.folder, *site.folder.parents):
        if folder != Path("/") and not folder.stat().st_mode & 0o001:
            folder.chmod(folder.stat().st_mode | 0o011)
    site.other.mkdir()
    os.chown(site.other, 65534, 65534)
    assert site.move(site.served, site.other, user="nobody")["copied"] == 8
    owners = {path.stat().st_uid for path in site.other.rglob("*")}
    assert owners == {65534}
    assert (os.geteuid(), site.journal.stat().st_uid) == (0, 0)
    failed(
        site.move(site.served, site.folder / "x", user="nobody-of-that-name", journal=str(site.folder / "j")),
        "MOVE_STORE",
        "there is no user",
    )


def test_nothing_of_a_secret_stands_in_the_journal(site: Site) -> None:
    site.move(site.served, "s3://bucket/secretive", experiments=["4"])
    text = site.journal.read_text()
    assert site.store.users["full"].secret not in text
    assert site.journal.stat().st_mode & 0o077 == 0
