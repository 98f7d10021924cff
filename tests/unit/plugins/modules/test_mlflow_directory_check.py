"""mlflow_directory_check on real directories: each finding is induced, and its sentence asserted.

What takes a server of NFS is read from a table of mounts as such a host shows it.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.mlops.mlflow.plugins.module_utils import _directory, _directory_probe, _host, _probe
from ansible_collections.mlops.mlflow.tests.unit.support.module import ids, run_module

as_root = pytest.mark.skipif(os.geteuid() != 0, reason="needs root: for another user, or to mount a file system")
pytestmark = pytest.mark.usefixtures("in_this_process")
NOTES = ".mlops-mlflow/servers"


@pytest.fixture(name="place")
def _place(tmp_path: Path) -> Path:
    """A directory that others find, and only its owner may look into."""
    for folder in (tmp_path, *tmp_path.parents[:-2]):
        folder.chmod(0o755)
    place = tmp_path / "artifacts"
    place.mkdir(mode=0o750)
    return place


@pytest.fixture(name="as_user")
def _as_user(monkeypatch: pytest.MonkeyPatch) -> None:
    """The system's Python, which everybody may run; the tests' own may lie in somebody's home."""
    monkeypatch.setattr(sys, "executable", "/usr/bin/python3")


def check(place: Path, **options: Any) -> dict[str, Any]:
    """Run the module as host app2, without failing."""
    return run_module("mlflow_directory_check", **{"path": str(place), "host": "app2", "fail_on": "never", **options})


def one(answer: dict[str, Any], finding_id: str, summary: str, evidence: str = "") -> dict[str, str]:
    """Assert that this is all that was found, and return it."""
    assert ids(answer) == [finding_id], answer
    finding: dict[str, str] = answer["findings"][0]
    assert summary in finding["summary"]
    assert evidence in finding["evidence"]
    assert (finding["host"], answer["changed"]) == ("app2", False)
    return finding


# ----- the directory itself


@pytest.mark.usefixtures("apart")
def test_a_directory_as_it_should_be(place: Path) -> None:
    answer = check(place)
    assert answer["findings"] == [], answer
    assert answer["directory"]["mode"] == "0750"
    assert answer["directory"]["uid"] == os.getuid()
    assert str(place).startswith(answer["mount"]["point"])
    assert answer["mount"]["type"] == _host.mount_of(str(place.resolve()), Path("/proc/mounts").read_text())
    assert list(place.iterdir()) == []


def test_a_directory_that_is_not_there(place: Path) -> None:
    one(check(place / "none"), "ARTIFACT_DIRECTORY_MISSING", f"{place}/none: the directory does not exist (user ")
    (place / "file").touch()
    one(check(place / "file"), "ARTIFACT_DIRECTORY_MISSING", "looking for it failed.", "Not a directory")


@pytest.mark.usefixtures("apart")
def test_a_user_who_does_not_exist(place: Path) -> None:
    one(check(place, user="no-such-user"), "ARTIFACT_NO_ANSWER", "there is no user no-such-user on this host")


def test_a_directory_that_is_open_to_all(place: Path) -> None:
    place.chmod(0o755)
    finding = one(check(place), "DIRECTORY_OPEN", f"{place}: its mode 0755 lets every user of the host in.")
    assert finding["severity"] == "warning"


@as_root
@pytest.mark.usefixtures("apart", "as_user")
def test_a_directory_of_somebody_else(place: Path) -> None:
    one(
        check(place, user="nobody"),
        "DIRECTORY_OWNER",
        f"{place}: it belongs to root (0), not to nobody (65534) on this host.",
    )


@as_root
@pytest.mark.usefixtures("apart", "as_user")
def test_a_directory_into_which_the_user_cannot_write_a_note(place: Path) -> None:
    answer = check(place, user="nobody", server="app2", servers={"app1": "", "app2": ""})
    assert ids(answer) == ["ARTIFACT_DIRECTORY_NOT_WRITABLE", "DIRECTORY_OWNER"], answer
    assert (
        "the user may not write into the directory (user nobody); leaving a note failed."
        in answer["findings"][0]["summary"]
    )


# ----- its mount


def mounted(place: Path, options: str) -> dict[str, Any]:
    """Look in a namespace of its own, where a file system in memory is mounted on the place."""
    python = place.parent / "python-in-namespace"
    script = f'mount -t tmpfs -o size=64k,mode=750,{options} none {place} && exec {sys.executable} "$@"'
    python.write_text(f"#!/bin/sh\nexec unshare --mount -- sh -c '{script}' sh \"$@\"\n")
    python.chmod(0o755)
    request = {"path": str(place), "server": "", "servers": {}, "token": "", "write": True, "seconds": 10}
    outcome = _probe.run(_directory_probe, request, seconds=20, python=str(python), libraries=[_host])
    assert outcome.answer, outcome
    return {"findings": _directory.judge(outcome.answer, _directory.Asked("app2", str(place))), "changed": False}


@as_root
@pytest.mark.usefixtures("apart")
def test_a_directory_in_memory(place: Path) -> None:
    answer = mounted(place, "rw")
    one(
        answer,
        "DIRECTORY_VOLATILE",
        f"{place} is a tmpfs: a restart of the host empties it.",
        f"none on {place} type tmpfs (rw",
    )


@as_root
@pytest.mark.usefixtures("apart")
def test_a_mount_that_takes_no_writes(place: Path) -> None:
    answer = mounted(place, "ro")
    assert ids(answer) == ["ARTIFACT_DIRECTORY_READ_ONLY", "DIRECTORY_VOLATILE"], answer
    assert answer["findings"][0]["summary"] == f"{place}: {place} is mounted read-only."


@pytest.mark.parametrize(
    ("option", "finding_id", "severity", "said"),
    [
        ("soft", "DIRECTORY_MOUNT_SOFT", "warning", "the mount gives up while its server is slow (option soft)."),
        ("softerr", "DIRECTORY_MOUNT_SOFT", "warning", "the mount gives up while its server is slow (option softerr)."),
        ("nocto", "DIRECTORY_MOUNT_STALE", "warning", "the mount may show old content of a file (option nocto)."),
        ("noac", "DIRECTORY_MOUNT_SLOW", "info", "the mount asks its server about every file each time (option noac)."),
    ],
)
def test_options_of_nfs(
    place: Path, monkeypatch: pytest.MonkeyPatch, option: str, finding_id: str, severity: str, said: str
) -> None:
    table = place.parent / "mounts"
    line = (
        f"nas:/export {place} nfs4 rw,relatime,vers=4.2,{{}}proto=tcp,timeo=600,retrans=2,sec=sys,addr=192.0.2.9 0 0\n"
    )
    monkeypatch.setattr(_directory_probe, "_MOUNTS", table)
    table.write_text("/dev/vda1 / ext4 rw,relatime 0 0\n" + line.format("hard,"))
    assert check(place)["findings"] == []
    table.write_text("/dev/vda1 / ext4 rw,relatime 0 0\n" + line.format(f"{option},"))
    answer = check(place)
    finding = one(answer, finding_id, f"{place}: {said}", f"nas:/export on {place} type nfs4 (rw,")
    assert (finding["severity"], answer["refusals"]) == (severity, [])


# ----- those who share it


@pytest.mark.usefixtures("apart")
def test_servers_find_what_the_others_left(place: Path) -> None:
    for server, servers in {"app1": {"app1": "", "app2": ""}, "app2": {"app1": "of app1", "app2": ""}}.items():
        answer = check(place, server=server, token=f"of {server}", servers=servers)
        assert answer["findings"] == [], answer
    assert {name: note["token"] for name, note in answer["notes"].items()} == {"app1": "of app1", "app2": "of app2"}
    assert sorted(path.name for path in (place / NOTES).iterdir()) == ["app1", "app2"]


def test_a_name_that_is_no_name_of_a_file(place: Path) -> None:
    assert check(place, server="../app/2", token="t", servers={})["findings"] == []
    assert [path.name for path in (place / NOTES).iterdir()] == ["..%2Fapp%2F2"]


@pytest.mark.parametrize(("older", "words"), [(False, "finds none."), (True, "finds an older one.")])
def test_servers_that_do_not_share_the_directory(
    place: Path, monkeypatch: pytest.MonkeyPatch, older: bool, words: str
) -> None:
    monkeypatch.setattr(_directory_probe, "_PATIENCE_SECONDS", 0.3)
    if older:  # once it was the same
        check(place, server="app1", token="before", servers={})
    elsewhere = place.parent / "elsewhere"
    elsewhere.mkdir(mode=0o750)
    check(elsewhere, server="app1", token="now", servers={})
    answer = check(place, server="app2", token="now as well", servers={"app1": "now"})
    finding = one(
        answer,
        "DIRECTORY_NOT_SHARED",
        f"{place}: app1 has just left a note there, and this host {words}",
        " on / type ",
    )
    assert answer["refusals"] == [f"[DIRECTORY_NOT_SHARED] app2: {finding['summary']} {finding['remedy']}"]


@as_root
@pytest.mark.usefixtures("apart", "as_user")
def test_a_user_with_another_number(place: Path) -> None:
    """A directory into which both may write, so that only the numbers differ."""
    place.chmod(0o777)
    (place / NOTES).mkdir(parents=True)
    for folder in (place / NOTES, (place / NOTES).parent):
        folder.chmod(0o777)
    check(place, user="daemon", server="app1", token="t1", servers={})
    answer = check(place, user="nobody", server="app2", token="t2", servers={"app1": "t1"})
    found = {finding["id"]: finding["summary"] for finding in answer["findings"]}
    assert set(found) == {"DIRECTORY_OWNER", "DIRECTORY_OPEN", "DIRECTORY_UID"}, found
    assert (
        found["DIRECTORY_UID"] == f"{place}: what app1 writes belongs to 1:1, and what this host writes to 65534:65534."
    )


@as_root
@pytest.mark.usefixtures("apart", "as_user")
def test_a_directory_that_another_server_has_taken(place: Path) -> None:
    """As app2 finds it before it gives the directory to its own user, which takes it from app1."""
    os.chown(place, 1, 1)
    answer = run_module(
        "mlflow_directory_check",
        check_mode=True,
        path=str(place),
        host="app2",
        user="nobody",
        server="app2",
        servers={"app1": "", "app2": ""},
    )
    assert answer["failed"] is True
    finding = one(
        answer, "DIRECTORY_UID", f"{place}: it belongs to daemon (1), and MLflow runs as nobody (65534) on this host."
    )
    assert "mlflow_uid and mlflow_gid" in finding["remedy"]
    assert list(place.iterdir()) == []


@pytest.mark.parametrize("timeout", [0, 601])
def test_a_timeout_that_is_none(place: Path, timeout: int) -> None:
    assert check(place, timeout=timeout)["msg"] == f"timeout={timeout}: from 1 to 600 seconds."
