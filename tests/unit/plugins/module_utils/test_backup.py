"""What belongs to one moment, and what is wrong, where no real repository says it in a test's time."""

from __future__ import annotations

from typing import Any

import pytest

from ansible_collections.mlops.mlflow.plugins.filter.backup import backup_sentences
from ansible_collections.mlops.mlflow.plugins.module_utils import _backup as backup
from ansible_collections.mlops.mlflow.plugins.module_utils._findings import FINDINGS

MEGABYTES_16 = 16 * 1024 * 1024
NOW = 1_800_000_000.0
LIMITS = {"age_hours": 26, "archive_seconds": 120, "wal_warning_mb": 1024, "wal_limit_mb": 0}


def full(stop: float, *, label: str = "20270115-080000F", error: bool = False) -> dict[str, Any]:
    return {
        "label": label,
        "type": "full",
        "start": stop - 60,
        "stop": stop,
        "wal_start": "000000010000000000000007",
        "lsn_stop": "0/7000138",
        "error": error,
        "bytes": 1000,
        "stored": 100,
    }


def info(*backups: dict[str, Any]) -> dict[str, Any]:
    return {"code": 0, "message": "ok", "backups": list(backups), "archive": "17-1", "version": "17"}


def snapshot(kind: str, host: str, started: float) -> dict[str, Any]:
    return {
        "id": f"{kind}-{host}-{started:.0f}",
        "host": host,
        "started": started,
        "kind": kind,
        "environment": "prod",
        "sha256": "ab" if kind == "configuration" else "",
        "paths": ["/x"],
    }


ASKED: dict[str, Any] = {
    "now": NOW,
    "environment": "prod",
    "host": "db1",
    "hosts": ["db1", "app1"],
    "tolerance": 30,
    "stanza": "mlflow",
    "artifacts": {"kind": "directory", "path": "/srv/mlflow/artifacts"},
}
POINT = {"name": "mlflow_now", "lsn": "0/9000000", "time": NOW, "segment": "000000010000000000000009"}
KEPT = [
    snapshot("configuration", "db1", NOW - 900),
    snapshot("configuration", "app1", NOW - 890),
    snapshot("artifacts", "app1", NOW - 600),
]


def test_clocks_of_two_hosts_make_no_hole() -> None:
    manifest, problems = backup.tie(ASKED, point=POINT, info=info(full(NOW - 3600)), snapshots=KEPT)
    assert problems == []
    assert manifest["moment"] == backup.when(NOW - 630)
    assert manifest["database"]["target"] == {"type": "time", "value": backup.precise(NOW - 630)}
    assert [one["host"] for one in manifest["configuration"]] == ["db1", "app1"]


def test_a_backup_that_ended_after_the_copy_was_begun_does_not_lead_to_it() -> None:
    young = full(NOW - 620, label="young")
    manifest, _problems = backup.tie(ASKED, point=POINT, info=info(full(NOW - 3600), young), snapshots=KEPT)
    assert manifest["database"]["label"] == "20270115-080000F"
    manifest, problems = backup.tie(ASKED, point=POINT, info=info(young), snapshots=KEPT)
    assert (manifest, [one["id"] for one in problems]) == ({}, ["BACKUP_INCOMPLETE"])


def test_a_damaged_backup_is_no_base() -> None:
    kept = info(full(NOW - 7200), full(NOW - 3600, label="damaged", error=True))
    manifest, _problems = backup.tie(ASKED, point=POINT, info=kept, snapshots=KEPT)
    assert manifest["database"]["label"] == "20270115-080000F"
    (found,) = backup.judge_database(kept, NOW, LIMITS)
    assert found["id"] == "BACKUP_DAMAGED"


def test_copies_of_another_environment_do_not_count() -> None:
    foreign = [{**one, "environment": "dev"} for one in KEPT]
    manifest, problems = backup.tie(ASKED, point=POINT, info=info(full(NOW - 3600)), snapshots=foreign)
    assert (manifest, len(problems)) == ({}, 1)


def test_a_database_of_others_and_a_bucket_are_named_by_the_time() -> None:
    bucket = {"kind": "bucket", "uri": "s3://b/mlflow", "versioned": "true"}
    manifest, problems = backup.tie({**ASKED, "artifacts": bucket}, point=None, info=None, snapshots=KEPT)
    assert problems == []
    assert manifest["database"] == {"kind": "external"}
    assert manifest["artifacts"] == {**bucket, "not_before": backup.when(NOW)}


@pytest.mark.parametrize(
    ("first", "last", "missing"),
    [
        ("0000000100000000000000FE", "000000010000000100000001", ["0000000100000000"]),
        ("0000000100000000000000FE", "0000000200000000000000FF", []),
        ("0000000100000000000000FF", "0000000100000000000000FF", []),
    ],
)
def test_gaps_of_wal_are_seen_over_files_and_timelines(first: str, last: str, missing: list[str]) -> None:
    digest = "0123456789abcdef0123456789abcdef01234567"
    names = [
        f"17-1/0000000100000000/0000000100000000000000FE-{digest}.zst",
        f"17-1/0000000200000000/0000000200000000000000FF-{digest}.zst",
        f"17-1/0000000100000001/000000010000000100000001-{digest}.zst",
        f"17-1/0000000100000001/000000010000000100000000-{digest}.zst.pgbackrest.tmp",
        "archive.info",
    ]
    assert backup.missing_segments(names, first, last, MEGABYTES_16) == missing


@pytest.mark.parametrize(
    ("first", "last", "begin", "folders"),
    [
        ("000000010000000200000005", "0000000100000002000000A0", "000000010000000200000005", ["0000000100000002"]),
        (
            "000000010000000200000005",
            "0000000100000003000000A0",
            "000000010000000200000005",
            ["0000000100000002", "0000000100000003"],
        ),
        # A backup of long ago: the newest folders only.
        (
            "000000010000000200000005",
            "0000000100000009000000A0",
            "000000010000000800000000",
            ["0000000100000008", "0000000100000009"],
        ),
        # A standby was promoted since.
        (
            "000000010000000200000005",
            "000000020000000200000009",
            "000000010000000200000005",
            ["0000000100000002", "0000000200000002"],
        ),
    ],
)
def test_only_the_newest_folders_of_the_archive_are_listed(
    first: str, last: str, begin: str, folders: list[str]
) -> None:
    assert backup.newest_folders(first, last) == (begin, folders)


def archiver(**changes: Any) -> dict[str, Any]:
    usual = {
        "mode": "on",
        "command": "c",
        "wanted": "c",
        "failed_count": 0,
        "last_failed_wal": None,
        "last_failed": None,
        "last_archived": NOW - 60,
        "segment_bytes": MEGABYTES_16,
        "wal_bytes": 0,
        "free_bytes": 0,
        "ready": 0,
        "ready_oldest": None,
    }
    return {**usual, **changes}


def test_wal_that_only_waits_is_noticed_before_anything_fails() -> None:
    """An archive that hangs fails nothing."""
    assert backup.judge_archiver(archiver(ready=1, ready_oldest=NOW - 60), NOW, LIMITS) == []
    (found,) = backup.judge_archiver(archiver(ready=1, ready_oldest=NOW - 300), NOW, LIMITS)
    assert found["id"] == "BACKUP_ARCHIVE_FAILING"
    assert "WAL of 5 minutes ago is still not archived" in found["summary"]


def test_a_limit_that_does_not_fit_on_the_disk_limits_nothing() -> None:
    limits = {**LIMITS, "wal_limit_mb": 900}
    roomy = archiver(free_bytes=800 * 1024**2, ready=10, ready_oldest=NOW - 60)
    assert backup.judge_room(roomy, limits) == []
    assert backup.judge_room({"reason": "nobody answered"}, limits) == []
    tight = {**roomy, "free_bytes": 700 * 1024**2}
    (found,) = backup.judge_room(tight, limits)
    # A limit that is too large is no reason why something was not archived.
    assert backup.judge_archiver(tight, NOW, limits) == []
    assert (found["id"], found["evidence"]) == ("BACKUP_WAL_ROOM", "160 MB wait")
    assert found["summary"].startswith(
        "Up to 900 MB of WAL may wait for the archive, and the disk of pg_wal has 700 MB free"
    )


def test_a_failure_that_was_made_good_is_none() -> None:
    assert backup.judge_archiver(archiver(last_failed=NOW - 90, failed_count=3), NOW, LIMITS) == []


@pytest.mark.parametrize(
    ("said", "identity"),
    [
        ("Fatal: wrong password or no key found", "BACKUP_PASSPHRASE"),
        ("[CryptoError] unable to flush", "BACKUP_PASSPHRASE"),
        ("ERROR: [026]: [ChecksumError] on retry after 0ms", "BACKUP_DAMAGED"),
        ("Fatal: unable to open config file: dial tcp: connection refused", "BACKUP_REPOSITORY"),
        ("[CryptoError] unable to find hostname '192.0.2.1' in certificate common name", "BACKUP_REPOSITORY"),
        ("", "BACKUP_REPOSITORY"),
    ],
)
def test_what_a_program_complains_of_has_one_name(said: str, identity: str) -> None:
    assert backup.why(said, "The copies of files")["id"] == identity


def test_a_moment_of_restic_is_read_with_its_nanoseconds_and_offset() -> None:
    assert backup.moment_of("2026-11-28T22:10:17.448005512+02:00") == backup.moment_of("2026-11-28T20:10:17.448005Z")


def test_a_problem_is_said_with_the_remedy_of_its_finding() -> None:
    problem = backup.problem("BACKUP_OLD", "It is old.", 'a "label".')
    (sentence,) = backup_sentences([problem], "db1")
    assert sentence == f"[BACKUP_OLD] db1: It is old. (a 'label') {FINDINGS['BACKUP_OLD'].remedy}"
