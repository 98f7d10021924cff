"""What comes to its end on a host: real certificates, a disk, a clock that nobody sets, and credentials that grew old."""

from __future__ import annotations

import datetime
import json
import subprocess
import time
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.mlops.mlflow.plugins.module_utils import _maintenance_job
from ansible_collections.mlops.mlflow.plugins.module_utils._maintenance_expiry import ask, work
from ansible_collections.mlops.mlflow.plugins.module_utils._maintenance_job import JobError

NOW = time.time()
DAY = 86400


def say(text: str, done: int = 0, of: int = 0) -> None:
    """Nobody listens."""
    del text, done, of


@pytest.fixture(name="clock", autouse=True)
def _clock(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A timedatectl that says what a test wants: that of this machine asks a bus that may not be there."""
    folder = tmp_path / "bin"
    folder.mkdir()
    program = folder / "timedatectl"
    program.write_text("#!/bin/sh\necho yes\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}:/usr/bin:/bin")
    return program


def certificate(path: Path, days: int) -> None:
    """Make a certificate of so many days, and its key beside it."""
    key = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-keyout", str(path.with_suffix(".key"))]
    command = ["openssl", "req", "-x509", *key, "-days", str(days), "-subj", f"/CN={path.stem}", "-out", str(path)]
    subprocess.run(command, check=True, capture_output=True)


@pytest.fixture(name="folder")
def _folder(tmp_path: Path) -> Path:
    """A certificate of thirty days and its key, as an installation has them."""
    folder = tmp_path / "tls"
    folder.mkdir()
    certificate(folder / "edge.pem", 30)
    return folder


def request(folder: Path, **more: Any) -> dict[str, Any]:
    given = {
        "host": "edge1",
        "certificate_folder": str(folder),
        "certificate_files": [],
        "certificate_days": 21,
        "credential_dates": {},
        "credential_days": 90,
        "disks": ["/", "/nonexistent"],
        "disk_percent": 0,
        "environment": "prod",
        "backups": str(folder / "results"),
        "backup_hours": 50,
        "drill_days": 35,
    }
    return {**given, **more}


def test_all_is_well(folder: Path) -> None:
    result = work(request(folder), say, now=NOW)
    assert result.findings == []
    assert result.details["certificate_days_left"] in ({"edge": 29}, {"edge": 30})
    assert list(result.details["free_percent"]) == ["/"]
    said = "1 certificates, 0 credentials, 1 disks, 0 jobs of backups and the clock were looked at; 0 of them need somebody."
    assert result.sentence == said


@pytest.mark.parametrize(
    ("later", "said"),
    [(10 * DAY, "The certificate edge ends in "), (33 * DAY + DAY // 2, "The certificate edge ended 3 days ago.")],
)
def test_a_certificate_that_ends(folder: Path, later: int, said: str) -> None:
    (found,) = work(request(folder), say, now=NOW + later).findings
    assert (found["id"], found["host"]) == ("MAINTENANCE_CERTIFICATE", "edge1")
    assert found["summary"].startswith(said)


def test_a_certificate_that_is_none(folder: Path) -> None:
    (folder / "server.pem").write_text("nothing of the kind")
    (found,) = work(request(folder), say, now=NOW).findings
    assert (found["id"], found["summary"]) == (
        "MAINTENANCE_CERTIFICATE",
        "The file of the certificate server cannot be read as one.",
    )


def test_of_several_certificates_in_a_file_the_first_end_counts(folder: Path) -> None:
    """A chain, or an authority and the one that follows it."""
    short = folder.parent / "short.pem"
    certificate(short, 5)
    long_one = (folder / "edge.pem").read_text()
    (folder / "ca.pem").write_text(long_one + short.read_text())
    result = work(request(folder), say, now=NOW)
    (found,) = result.findings
    assert found["summary"].startswith("The certificate ca ends in ")
    (folder / "ca.pem").unlink()
    # Those that a site keeps elsewhere; what is in the folder counts once.
    result = work(request(folder, certificate_files=[str(short), str(folder / "edge.pem")]), say, now=NOW)
    (found,) = result.findings
    assert found["summary"].startswith(f"The certificate {short} ends in ")
    assert set(result.details["certificate_days_left"]) == {"edge", str(short)}


def test_a_disk_below_a_closed_folder_is_looked_at_from_above(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As whoever may not enter it; a disk of its own in there cannot be seen from above, and that is said."""
    stat = Path.stat

    def closed(self: Path, **more: Any) -> Any:
        if str(self).startswith(f"{folder}/closed/"):
            raise PermissionError(13, "Permission denied", str(self))
        return stat(self, **more)

    monkeypatch.setattr(Path, "stat", closed)
    result = work(request(folder, disks=[f"{folder}/closed/artifacts"]), say, now=NOW)
    assert (result.findings, list(result.details["free_percent"])) == ([], [])
    (folder / "closed").mkdir()
    result = work(request(folder, disks=[f"{folder}/closed/artifacts"]), say, now=NOW)
    assert (result.findings, list(result.details["free_percent"])) == ([], [f"{folder}/closed/artifacts"])
    monkeypatch.setattr(_maintenance_job, "mounts", lambda: [Path("/"), folder / "closed/artifacts"])
    (found,) = work(request(folder, disks=[f"{folder}/closed/artifacts"]), say, now=NOW).findings
    assert found["id"] == "MAINTENANCE_DISK"
    assert found["summary"].startswith(f"The disk of {folder}/closed/artifacts cannot be looked at: ")


def test_a_disk_that_is_nearly_full(folder: Path) -> None:
    (found,) = work(request(folder, disk_percent=101), say, now=NOW).findings
    assert found["id"] == "MAINTENANCE_DISK"
    assert found["summary"].endswith("and mlflow_maintenance_expiry.disk_percent=101.")


def test_a_clock_that_nobody_sets(folder: Path, clock: Path) -> None:
    clock.write_text("#!/bin/sh\necho no\n")
    (found,) = work(request(folder), say, now=NOW).findings
    assert found["id"] == "MAINTENANCE_CLOCK"
    # A host that does not say is left alone.
    clock.write_text("#!/bin/sh\nexit 1\n")
    result = work(request(folder), say, now=NOW)
    assert (result.findings, result.details["clock_synchronised"]) == ([], "unknown")


def test_credentials_that_grew_old(folder: Path) -> None:
    today = datetime.datetime.fromtimestamp(NOW, datetime.UTC).date()
    dates = {
        "mlflow_admin_password": str(today - datetime.timedelta(days=91)),
        "mlflow_flask_secret_key": str(today - datetime.timedelta(days=90)),
    }
    (found,) = work(request(folder, credential_dates=dates), say, now=NOW).findings
    assert (found["id"], found["host"]) == ("CREDENTIAL_AGE", "prod")
    said = "mlflow_admin_password is 91 days old, and mlflow_maintenance_expiry.credential_days=90."
    assert found["summary"] == said


def backup(folder: Path, name: str, hours: float, *problems: dict[str, str], ok: bool | None = None) -> None:
    """What a job of the backups leaves, so many hours ago."""
    (folder / "results").mkdir(exist_ok=True)
    good = not problems if ok is None else ok
    told = {"job": name, "finished": NOW - hours * 3600, "ok": good, "sentence": "It said so.", "problems": problems}
    (folder / "results" / f"{name}.json").write_text(json.dumps(told))


def found_in(folder: Path) -> list[tuple[str, str]]:
    return [(one["id"], one["summary"]) for one in work(request(folder), say, now=NOW).findings]


FAILING = {"id": "BACKUP_ARCHIVE_FAILING", "summary": "WAL of 2 hours ago is still not archived.", "evidence": "x"}


def test_backups_that_are_in_order(folder: Path) -> None:
    backup(folder, "full", 160)
    backup(folder, "differential", 20)
    backup(folder, "watch", 0.05)
    backup(folder, "drill", 24 * 30)
    (folder / "results/half.json").write_text("{")
    assert found_in(folder) == []
    assert work(request(folder), say, now=NOW).details["backup_hours_ago"]["differential"] == 20


def test_what_watches_the_backups_is_believed(folder: Path) -> None:
    """It has judged the other jobs, one that failed in the night and was repaired since among them."""
    backup(folder, "watch", 0.05, FAILING)
    backup(folder, "full", 1)
    backup(folder, "artifacts", 5, {"id": "BACKUP_REPOSITORY", "summary": "It was away.", "evidence": ""})
    assert found_in(folder) == [("BACKUP_ARCHIVE_FAILING", FAILING["summary"])]


def test_a_backup_that_failed_and_a_watch_that_sleeps(folder: Path) -> None:
    backup(folder, "watch", 30)
    backup(folder, "full", 3, {"id": "BACKUP_REPOSITORY", "summary": "It was away.", "evidence": ""})
    backup(folder, "artifacts", 3, ok=False)
    backup(folder, "manifest", 3, {"id": "OF_A_NEWER_RELEASE", "summary": "Unknown here.", "evidence": ""})
    assert found_in(folder) == [
        ("BACKUP_JOB_LATE", "What watches the backups last looked 30 hours ago; it looks every few minutes."),
        ("BACKUP_JOB_FAILED", "The job artifacts of the backups failed: It said so."),
        ("BACKUP_REPOSITORY", "It was away."),
        ("BACKUP_JOB_FAILED", "The job manifest of the backups failed: It said so."),
    ]


def test_a_backup_that_grew_old(folder: Path) -> None:
    backup(folder, "full", 160)
    backup(folder, "watch", 0.05)
    assert found_in(folder) == [
        ("BACKUP_OLD", "The last backup of the database ended 7 days ago; 50 hours are allowed.")
    ]
    backup(folder, "watch", 0.05, {"id": "BACKUP_OLD", "summary": "The watch says it.", "evidence": ""})
    assert found_in(folder) == [("BACKUP_OLD", "The watch says it.")], "once"


def test_a_drill_that_failed_or_was_long_ago(folder: Path) -> None:
    backup(folder, "watch", 0.05)
    backup(folder, "full", 1)
    backup(folder, "drill", 24 * 40)
    assert found_in(folder) == [
        ("MAINTENANCE_DRILL", "The last drill of a restore was 40 days ago; 35 days are allowed.")
    ]
    backup(folder, "drill", 24, {"id": "BACKUP_RESTORE", "summary": "It could not be restored.", "evidence": ""})
    assert found_in(folder) == [("BACKUP_RESTORE", "It could not be restored.")]
    said = "Job drill, 24 hours ago: It could not be restored."
    backup(folder, "watch", 0.05, {"id": "BACKUP_RESTORE", "summary": said, "evidence": ""})
    assert found_in(folder) == [("BACKUP_RESTORE", said)], "once"


def test_without_openssl_nothing_is_said_to_be_well(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nonexistent")
    with pytest.raises(JobError, match=r"^openssl is not installed"):
        work(request(folder), say, now=NOW)


def test_a_program_that_is_not_there_or_fails() -> None:
    assert ask(["/nonexistent/program"]) is None
    assert ask(["false"]) is None
    assert ask(["cat"], "told") == "told"
