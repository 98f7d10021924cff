"""What comes to its end on a host: real certificates, a disk, a clock that nobody sets, and credentials that grew old."""

from __future__ import annotations

import datetime
import subprocess
import time
from pathlib import Path
from typing import Any

import pytest

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


@pytest.fixture(name="folder")
def _folder(tmp_path: Path) -> Path:
    """A certificate of thirty days and its key, as an installation has them."""
    folder = tmp_path / "tls"
    folder.mkdir()
    command = [
        "openssl",
        "req",
        "-x509",
        "-newkey",
        "ec",
        "-pkeyopt",
        "ec_paramgen_curve:P-256",
        "-nodes",
        "-days",
        "30",
    ]
    files = ["-subj", "/CN=edge", "-keyout", str(folder / "edge.key"), "-out", str(folder / "edge.pem")]
    subprocess.run([*command, *files], check=True, capture_output=True)
    return folder


def request(folder: Path, **more: Any) -> dict[str, Any]:
    given = {
        "host": "edge1",
        "certificate_folder": str(folder),
        "certificate_days": 21,
        "credential_dates": {},
        "credential_days": 90,
        "disks": ["/", "/nonexistent"],
        "disk_percent": 0,
        "environment": "prod",
    }
    return {**given, **more}


def test_all_is_well(folder: Path) -> None:
    result = work(request(folder), say, now=NOW)
    assert result.findings == []
    assert result.details["certificate_days_left"] in ({"edge": 29}, {"edge": 30})
    assert list(result.details["free_percent"]) == ["/"]
    assert (
        result.sentence
        == "1 certificates, 0 credentials, 1 disks and the clock were looked at; 0 of them need somebody."
    )


@pytest.mark.parametrize(
    ("later", "said"),
    [(10 * DAY, "The certificate edge ends in "), (34 * DAY, "The certificate edge ended 3 days ago.")],
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
    assert "mlflow_admin_password is 91 days old" in found["summary"]


def test_without_openssl_nothing_is_said_to_be_well(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nonexistent")
    with pytest.raises(JobError, match=r"^openssl is not installed"):
        work(request(folder), say, now=NOW)


def test_a_program_that_is_not_there_or_fails() -> None:
    assert ask(["/nonexistent/program"]) is None
    assert ask(["false"]) is None
    assert ask(["cat"], "told") == "told"
