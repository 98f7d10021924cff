"""Restoring as it is really done: what MLflow wrote, backed up, restored beside and in place, drilled, and all that goes wrong.

The tests of the installation follow each other; it is the one of test_mlflow_backup.py with MLflow's own databases and artifacts in it.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.mlops.mlflow.plugins.module_utils import _backup as rules
from ansible_collections.mlops.mlflow.plugins.module_utils import _restore as decisions
from ansible_collections.mlops.mlflow.tests.unit.roles.test_mlflow_backup import (
    PASSPHRASE,
    Site,
    as_database,
    biggest,
    damage,
    problems,
    set_up,
)
from ansible_collections.mlops.mlflow.tests.unit.support.mlflow_release import ask, python
from ansible_collections.mlops.mlflow.tests.unit.support.playbook import ROOT, Played, play
from ansible_collections.mlops.mlflow.tests.unit.support.postgresql import end_with_parent, programs, unprivileged
from ansible_collections.mlops.mlflow.tests.unit.support.seaweedfs import running_seaweedfs

LOG = """
import mlflow
mlflow.set_tracking_uri(given["uri"])
mlflow.set_registry_uri(given["uri"])
found = mlflow.get_experiment_by_name("one")
experiment = found.experiment_id if found else mlflow.create_experiment("one", artifact_location=given["artifacts"] + "/1")
answer = []
for number in range(given["runs"]):
    with mlflow.start_run(experiment_id=experiment) as run:
        mlflow.log_metric("loss", number)
        mlflow.log_text("weights of " + given["name"], "weights.txt")
        mlflow.log_dict({"columns": ["x"], "data": [[number]]}, "deep/er/numbers.json")
    answer.append(run.info.run_id)
if not found:
    mlflow.MlflowClient().create_registered_model("churn")
"""


@dataclass
class Lived:
    """An installation with a past: what each moment held."""

    site: Site
    first: list[str]  # runs that the newest manifest knows
    second: list[str]  # runs that came later
    manifest: dict[str, Any]
    moment: str  # when both were there
    kept: str = ""

    @property
    def uri(self) -> str:
        return self.site.server.uri("mlflow").replace("postgresql:", "postgresql+psycopg2:")

    def log(self, name: str, runs: int) -> list[str]:
        found: list[str] = ask(
            LOG, self.site.folder, uri=self.uri, artifacts=f"file://{self.site.artifacts}", name=name, runs=runs
        )
        return found

    def step(self, step: str, config: Path | None = None, **request: Any) -> tuple[int, dict[str, Any]]:
        """Run a step, `begin STEP` or `wait`; returns the exit code and the answer."""
        command: list[str | Path] = [sys.executable, self.site.folder / "lib/mlflow_restore.py"]
        done = subprocess.run(
            [*command, "--config", config or self.site.config, *step.split()],
            input=json.dumps(request),
            capture_output=True,
            text=True,
            check=False,
            timeout=300,
        )
        assert done.stdout, done.stderr
        return done.returncode, json.loads(done.stdout)

    def plan(self, **request: Any) -> dict[str, Any]:
        """What would be restored beside."""
        code, told = self.step("look", **{"kind": "beside", "into": "/nowhere/scratch", **request})
        assert code == 0, told
        plan: dict[str, Any] = told["plan"]
        return plan

    def runs(self) -> set[str]:
        return {row[0] for row in self.site.server.execute("SELECT run_uuid FROM runs", database="mlflow")}


@pytest.fixture(scope="module")
def lived(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lived]:
    with set_up(tmp_path_factory.mktemp("lived")) as site:
        shutil.rmtree(site.artifacts)
        site.artifacts.mkdir()
        site.server.execute("CREATE DATABASE mlflow")
        site.server.execute("CREATE DATABASE mlflow_auth")
        site.server.execute("CREATE TABLE users AS SELECT generate_series(1, 3) AS id", database="mlflow_auth")
        made = Lived(site, [], [], {}, "")
        made.first = made.log("first", 3)
        assert site.run("prepare")[0] == 0
        for job in ("full", "artifacts", "configuration"):
            site.do(job)
        made.manifest = site.do("manifest")["manifest"]
        made.second = made.log("second", 2)
        # Each committed at another time than the moment, so that recovery finds a commit on either side of it.
        ((made.moment,),) = site.server.execute(
            "SELECT to_char(clock_timestamp() AT TIME ZONE 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS.US\"Z\"')"
        )
        third = made.log("third", 1)
        assert third[0] not in made.second
        site.server.execute("DROP TABLE metrics", database="mlflow")
        site.do("artifacts")
        site.switch()
        site.until_archived()
        yield made


def names(problems_: Sequence[Mapping[str, str]]) -> list[str]:
    return [one["id"] for one in problems_]


# ----- what is said before anything is written


@pytest.mark.parametrize(
    ("request_", "words"),
    [
        ({"manifest": "20200101T000000Z"}, "The repository holds no manifest 20200101T000000Z."),
        ({"to": "2020-01-01T00:00:00Z"}, "No backup of the database had ended at 2020-01-01T00:00:00Z."),
        ({"to": "2999-01-01 00:00"}, "2999-01-01T00:00:00Z has not come yet"),
        ({"to": "yesterday"}, "yesterday is no moment such as 2026-11-28T02:30:00Z."),
        ({"into": "/tmp"}, "/tmp is no empty folder with an absolute path; nothing was written."),
    ],
)
def test_what_cannot_be_restored_is_said(lived: Lived, request_: dict[str, str], words: str) -> None:
    code, told = lived.step("look", None, **{"kind": "beside", "into": "/nowhere/scratch", **request_})
    assert (code, problems(told)) == (1, ["BACKUP_RESTORE"])
    assert words in told["problems"][0]["summary"]


def test_the_newest_manifest_is_found_in_the_repository(lived: Lived) -> None:
    shutil.move(lived.site.folder / "state/manifests", lived.site.folder / "away")
    try:
        plan = lived.plan()
    finally:
        shutil.move(lived.site.folder / "away", lived.site.folder / "state/manifests")
    assert plan["manifest"] == lived.manifest["database"]["restore_point"].removeprefix("mlflow_")
    assert plan["artifacts"] == lived.manifest["artifacts"]
    assert plan["database"] == {**lived.manifest["database"], "timeline": 1}


def test_a_wrong_passphrase_is_said_before_anything_is_done(lived: Lived) -> None:
    site = lived.site
    other = site.folder / "etc/backup/wrong.conf"
    other.write_text(site.pgbackrest.read_text().replace(PASSPHRASE, "another-passphrase-of-20"))
    other.chmod(0o644)
    password = site.folder / "etc/backup/wrong"
    password.write_text("another-passphrase-of-20\n")
    cases: list[dict[str, Any]] = [{"database": {"config": str(other)}}, {"files": {"password_file": str(password)}}]
    for changes in cases:
        code, told = lived.step("look", site.other("wrong", **changes), kind="in_place", over="dev")
        assert (code, problems(told)) == (1, ["BACKUP_PASSPHRASE"])


def test_another_environment_s_backups_are_not_taken(lived: Lived) -> None:
    code, told = lived.step("look", lived.site.other("prod", environment="prod"), kind="in_place", over="prod")
    assert (code, problems(told)) == (1, ["BACKUP_RESTORE"])
    assert told["problems"][0]["evidence"] == "it holds those of dev"


def test_a_living_installation_is_not_overwritten(lived: Lived) -> None:
    code, told = lived.step("look", kind="in_place", servers=["app1"])
    assert (code, problems(told)) == (1, ["RESTORE_LIVING"])
    said = told["problems"][0]
    assert f"{lived.site.server.data} holds mlflow, mlflow_auth, postgres and MLflow runs on app1." in said["summary"]
    assert said["evidence"] == "mlflow_restore_over is not set, the environment is dev"
    assert problems(lived.step("look", kind="in_place", over="prod")[1]) == ["RESTORE_LIVING"]
    silent = lived.site.other("silent", database={"port": 1})
    code, told = lived.step("look", silent, kind="in_place")
    assert problems(told) == ["RESTORE_LIVING"]
    assert "a cluster that does not answer" in told["problems"][0]["summary"]
    assert lived.step("look", kind="in_place", over="dev")[0] == 0


def test_what_does_not_fit_is_not_begun(lived: Lived, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(lived.site.folder / "lib")
    import mlflow_restore  # type: ignore[import-not-found]

    with pytest.raises(mlflow_restore.core.JobError) as refused:
        mlflow_restore.refuse_full(Path("/nowhere/scratch"), 10**18, "the cluster")
    assert names(refused.value.problems) == ["BACKUP_RESTORE"]
    assert "the cluster takes 1000000.0 TB; nothing was written." in str(refused.value)


@pytest.mark.long
def test_a_damaged_backup_is_said_while_everything_serves(lived: Lived) -> None:
    plan = lived.plan()
    file = biggest(lived.site.repository / "database/backup")
    before = file.read_bytes()
    damage(file)
    try:
        code, told = lived.step("stage", plan=plan)
    finally:
        file.write_bytes(before)
    assert (code, problems(told)) == (1, ["BACKUP_DAMAGED"])
    assert not Path(f"{lived.site.server.data}.restoring").exists()
    assert set(lived.first) <= lived.runs()


# ----- beside


def test_the_moment_of_the_manifest_is_restored_beside(lived: Lived) -> None:
    into = lived.site.folder / "scratch"
    code, told = lived.step("beside", plan=lived.plan(), into=str(into))
    assert code == 0, told
    assert told["counts"] == {"experiments": 2, "runs": 3, "models": 1, "users": 3}
    assert told["moment"] == lived.manifest["moment"]
    assert told["inconsistent"] == []
    name = f"1/{lived.first[0]}/artifacts/weights.txt"
    assert Path(f"{into}/files{lived.site.artifacts}/{name}").read_text() == "weights of first"
    assert not (into / "data/postmaster.pid").exists()
    if os.geteuid() == 0:
        run_the_page(lived, into)
    shutil.rmtree(into)


def test_a_step_goes_on_by_itself_and_alone(lived: Lived) -> None:
    """Whoever began it may be gone; a second one is refused; one that was killed is said to have no answer."""
    into = lived.site.folder / "by itself"
    request: dict[str, Any] = {"into": str(into), "plan": lived.plan()}
    code, begun = lived.step("begin beside", **request)
    assert code == 0, begun
    code, refused = lived.step("begin beside", **request)
    assert (code, names(refused["problems"])) == (1, ["BACKUP_RESTORE"])
    assert refused["problems"][0]["summary"] == "A step of another restore goes on on this host."
    code, told = lived.step("wait")
    assert (code, told["over"]) == (0, True)
    assert told["answer"]["counts"]["runs"] == 3
    # What it answered is not the next one's answer.
    code, begun = lived.step("begin beside", **request)
    assert code == 0
    code, told = lived.step("wait")
    assert "is no empty folder" in told["answer"]["problems"][0]["summary"]
    shutil.rmtree(into)
    code, begun = lived.step("begin beside", **request)
    os.kill(begun["process"], signal.SIGKILL)
    code, told = lived.step("wait")
    assert code == 1
    assert told["problems"][0]["summary"] == "The step was ended before it had an answer."
    shutil.rmtree(into, ignore_errors=True)


def run_the_page(lived: Lived, into: Path) -> None:
    """The commands of docs/how-to/restore.md that look into what was restored, with the paths of this test."""
    page = (ROOT / "docs/how-to/restore.md").read_text()
    (block,) = (one for one in re.findall(r"^```bash\n(.*?)^```", page, re.M | re.S) if "runuser" in one)
    names_ = {"/var/lib/mlflow-restore": str(into), "postgresql/17": f"postgresql/{programs().parent.name}"}
    names_["/var/lib/mlflow-backup"] = f"{lived.site.folder}/state"
    names_["configuration/app1/"] = f"configuration/{lived.manifest['configuration'][0]['host']}/"
    for name, here in names_.items():
        assert name in block
        block = block.replace(name, here)
    opening, asking, unpacking = block.splitlines()
    where: dict[str, Any] = {"cwd": lived.site.folder, "shell": True, "text": True, "executable": "/bin/bash"}
    with subprocess.Popen(
        f"exec {opening.removesuffix(' &')}", stderr=subprocess.DEVNULL, preexec_fn=end_with_parent, **where
    ) as process:
        try:
            end = time.monotonic() + 60
            query = "SELECT count(*) FROM runs"
            while True:
                done = subprocess.run(f"{asking} -Atc '{query}'", capture_output=True, check=False, **where)
                if done.returncode == 0 or time.monotonic() > end:
                    break
                time.sleep(0.3)
            assert done.stdout.strip() == "3", done.stderr
        finally:
            process.terminate()
            process.wait(60)
    done = subprocess.run(unpacking, capture_output=True, check=False, **where)
    assert "backup/passphrase" in done.stdout, done.stderr


ROLE = """
- hosts: db1
  connection: local
  gather_facts: false
  tasks:
    - ansible.builtin.include_role: {name: mlops.mlflow.mlflow_restore}
"""


def apply_role(lived: Lived, home: Path, *arguments: str, **variables: Any) -> Played:
    """Apply the role to this machine, which stands for the database's host."""
    given = {
        "mlflow_environment": "dev",
        "mlflow_domain": "mlflow.example.com",
        "mlflow_config_dir": f"{lived.site.folder}/etc",
        "__mlflow_restore_library": f"{lived.site.folder}/lib",
        **variables,
    }
    (home / "play.yml").write_text(ROLE)
    return play(home, home / "play.yml", "-i", "db1,", "-e", json.dumps(given), *arguments, timeout=400)


@pytest.mark.long
def test_the_role_restores_beside_and_tells_what(lived: Lived, tmp_path: Path) -> None:
    into = lived.site.folder / "scratch"
    rehearsed = apply_role(lived, tmp_path, "--check", mlflow_restore_directory=str(into))
    assert rehearsed.code == 0, rehearsed.output
    assert (
        f"Everything of {lived.manifest['moment']}: the database from {lived.manifest['database']['label']}"
        in rehearsed.output
    )
    assert not into.exists()
    done = apply_role(lived, tmp_path, mlflow_restore_directory=str(into), mlflow_restore_to=lived.moment)
    assert done.code == 0, done.output
    assert f"is in {into} on db1: 2 experiments, 5 runs, 1 models, 3 users. It took " in done.output
    assert "[RESTORE_INCONSISTENT] db1: 1 runs, models or traces have artifacts" in done.output
    assert (into / "data/PG_VERSION").exists()
    (sentence,) = set(apply_role(lived, tmp_path, mlflow_restore_directory=str(into)).sentences)
    assert sentence.startswith(
        f"[BACKUP_RESTORE] db1: {into} is no empty folder with an absolute path; nothing was written."
    )
    shutil.rmtree(into)


@pytest.mark.long
def test_the_role_does_not_overwrite_what_lives(lived: Lived, tmp_path: Path) -> None:
    done = apply_role(lived, tmp_path, mlflow_restore_kind="in_place", mlflow_restore_servers=["app1"])
    (sentence,) = set(done.sentences)
    assert sentence.startswith("[RESTORE_LIVING] db1: An installation lives here: ")
    assert "MLflow runs on app1" in sentence
    assert done.changed == 0


@pytest.mark.long
def test_check_mode_says_what_it_cannot_say_of_a_new_host(lived: Lived, tmp_path: Path) -> None:
    done = apply_role(lived, tmp_path, "--check", mlflow_restore_kind="in_place", __mlflow_restore_library="/nowhere")
    assert (done.code, done.changed) == (0, 0), done.output
    assert "No backups were set up on db1, so check mode cannot read the repository from here." in done.output
    done = apply_role(lived, tmp_path, __mlflow_restore_library="/nowhere")
    assert done.code != 0
    assert "[BACKUP_RESTORE] db1: The program that restores gave no answer." in done.output


@pytest.mark.long
def test_artifacts_that_are_younger_than_the_moment_are_named(lived: Lived) -> None:
    into = lived.site.folder / "scratch"
    plan = lived.plan(to=lived.moment)
    # The first copy that was begun after the moment.
    assert plan["artifacts"]["started"] > lived.manifest["artifacts"]["started"]
    code, told = lived.step("beside", plan=plan, into=str(into))
    assert code == 0, told
    assert told["counts"]["runs"] == 5
    assert told["younger"]["count"] == 1
    assert told["missing"] == {"count": 0, "names": []}
    (said,) = told["inconsistent"]
    assert said["id"] == "RESTORE_INCONSISTENT"
    assert said["summary"].startswith(
        "1 runs, models or traces have artifacts and are unknown to the database of the moment"
    )
    assert said["evidence"] not in lived.first + lived.second
    shutil.rmtree(into)


def test_a_moment_that_the_archive_does_not_reach_is_said_with_the_last_one(lived: Lived) -> None:
    into = lived.site.folder / "scratch"
    plan = lived.plan(to=time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()))
    assert plan["artifacts"]["older"]
    code, told = lived.step("beside", plan=plan, into=str(into))
    assert (code, problems(told)) == (1, ["BACKUP_RESTORE"])
    assert "last completed transaction was at log time" in told["problems"][0]["evidence"]
    shutil.rmtree(into)


# ----- artifacts in place


def test_files_that_are_gone_come_back_and_nothing_else_changes(lived: Lived) -> None:
    site = lived.site
    root = site.artifacts / "1" / lived.first[0] / "artifacts"
    (root / "weights.txt").unlink()
    shutil.rmtree(root / "deep")
    other = site.artifacts / "1" / lived.first[1] / "artifacts/weights.txt"
    other.write_text("written anew")
    request = {"path": str(site.artifacts), "snapshot": lived.plan()["artifacts"]["snapshot"], "owner": "root:root"}
    code, told = lived.step("copy", **request)
    assert code == 0, told
    assert (told["files"], told["restored"], told["other"]) == (6, 2, 1)
    assert (root / "weights.txt").read_text() == "weights of first"
    assert json.loads((root / "deep/er/numbers.json").read_text())["data"] == [[0]]
    assert other.read_text() == "written anew"
    assert not (site.artifacts / ".mlops-mlflow").exists()
    assert lived.step("copy", **request)[1]["restored"] == 0


@pytest.mark.long
def test_only_what_is_gone_is_asked_for_whatever_its_name(lived: Lived) -> None:
    folder = lived.site.artifacts / "1" / lived.first[0] / "artifacts/odd"
    folder.mkdir()
    names = ["[a]*?.txt", "a\\b.txt", "d e.txt", "-.txt"]
    try:
        for name in names:
            (folder / name).write_text(name)
        snapshot = lived.site.do("artifacts")["snapshot"]
        for name in names:
            (folder / name).unlink()
        request = {"path": str(lived.site.artifacts), "snapshot": snapshot}
        code, told = lived.step("copy", seconds=0.001, **request)
        assert (code, problems(told)) == (1, ["BACKUP_REPOSITORY"]), "it had no time"
        code, told = lived.step("copy", **request)
        assert (code, told["restored"]) == (0, len(names)), told
        assert {path.name: path.read_text() for path in folder.iterdir()} == {name: name for name in names}
    finally:
        shutil.rmtree(folder)


@pytest.mark.long
def test_a_directory_that_is_gone_comes_back_whole(lived: Lived) -> None:
    site = lived.site
    before = {
        path.relative_to(site.artifacts): path.read_bytes() for path in site.artifacts.rglob("*") if path.is_file()
    }
    away = site.folder / "away"
    site.artifacts.rename(away)
    try:
        plan = lived.plan(to=lived.moment)
        owner = "nobody:nogroup" if os.geteuid() == 0 else ""
        code, told = lived.step("copy", path=str(site.artifacts), snapshot=plan["artifacts"]["snapshot"], owner=owner)
        assert code == 0, told
        assert told["restored"] == told["files"] == len(before)
        names_ = {path.relative_to(site.artifacts) for path in site.artifacts.rglob("*") if path.is_file()}
        assert names_ == set(before)
        assert {path.owner() for path in site.artifacts.rglob("*")} == {site.artifacts.owner()}
    finally:
        shutil.rmtree(site.artifacts, ignore_errors=True)
        away.rename(site.artifacts)


@pytest.mark.long
def test_a_damaged_copy_of_files_brings_nothing(lived: Lived) -> None:
    site = lived.site
    plan = lived.plan()
    packs = [path for path in (site.repository / "files/data").rglob("*") if path.is_file()]
    before = {path: path.read_bytes() for path in packs}
    name = site.artifacts / "1" / lived.first[0] / "artifacts/weights.txt"
    name.unlink()
    try:
        for path in packs:
            damage(path)
        shutil.rmtree(site.folder / "state/cache", ignore_errors=True)
        code, told = lived.step("copy", path=str(site.artifacts), snapshot=plan["artifacts"]["snapshot"])
    finally:
        for path, content in before.items():
            path.write_bytes(content)
        # It holds what was damaged now.
        shutil.rmtree(site.folder / "state/cache", ignore_errors=True)
    assert (code, problems(told)) == (1, ["BACKUP_DAMAGED"])
    assert not name.exists()
    assert lived.step("copy", path=str(site.artifacts), snapshot=plan["artifacts"]["snapshot"])[1]["restored"] == 1


# ----- drills


def drill_config(lived: Lived, name: str = "drill", **changes: Any) -> Path:
    """The configuration of a drill with the MLflow of this machine, which root runs: PostgreSQL's user cannot reach it."""
    environment = lived.site.folder / "etc/server.env"
    environment.write_text(f'MLFLOW_BACKEND_STORE_URI="{lived.uri}"\n')
    return lived.site.other(name, drill={"python": python(), "user": "", **changes})


@pytest.mark.long
def test_a_drill_restores_opens_compares_and_leaves_nothing(lived: Lived) -> None:
    site = lived.site
    (site.artifacts / "1" / lived.first[1] / "artifacts/weights.txt").write_text("written anew")
    # Twice: the second one finds nothing of the first.
    for _time in range(2):
        code, result = site.run("drill", drill_config(lived))
        assert (code, result["problems"]) == (0, []), result
        assert result["counts"] == {"experiments": 2, "runs": 3, "models": 1, "users": 3}
        assert result["release"] == {
            "version": result["release"]["version"],
            "experiments": 2,
            "rows": 2,
            "runs_read": 3,
            "models": 1,
        }
        assert result["live"] == {"asked": result["live"]["asked"], "lost": []}
        assert result["sample"]["read"] == 6
        assert (result["sample"]["compared"], result["sample"]["gone"]) == (5, 1)
        assert result["bytes"] > 10_000_000
        assert 0 < result["restore_seconds"] < result["seconds"]
        assert f"opened by MLflow {result['release']['version']}" in result["sentence"]
        assert list((site.folder / "drills").iterdir()) == []
    fact = json.loads((site.folder / "facts/mlflow_backup.fact").read_text())
    assert fact["last"]["drill"] == result["time"]
    assert "drill" not in fact["last"]["wrong"]


@pytest.mark.long
def test_an_artifact_that_rotted_in_silence_is_found_by_a_drill(lived: Lived) -> None:
    site = lived.site
    file = site.artifacts / "1" / lived.first[2] / "artifacts/weights.txt"
    found = file.stat()
    file.write_text("weights of worst")
    os.utime(file, ns=(found.st_atime_ns, found.st_mtime_ns))
    code, result = site.run("drill", drill_config(lived))
    file.write_text("weights of first")
    os.utime(file, ns=(found.st_atime_ns, found.st_mtime_ns))
    assert (code, problems(result)) == (1, ["BACKUP_DRILL_FAILED"])
    assert result["problems"][0]["evidence"] == f"1/{lived.first[2]}/artifacts/weights.txt"
    assert list((site.folder / "drills").iterdir()) == []
    answer = site.check(drill_config(lived))
    assert "BACKUP_DRILL_FAILED" in [one["id"] for one in answer["findings"]]


@pytest.mark.long
def test_what_lives_and_is_not_in_the_backup_is_found_by_a_drill(lived: Lived) -> None:
    long_ago = 1_600_000_000_000
    lived.site.server.execute(
        "INSERT INTO registered_models (name, creation_time, last_updated_time) VALUES ('lost', %s, %s)",
        long_ago,
        long_ago,
        database="mlflow",
    )
    try:
        code, result = lived.site.run("drill", drill_config(lived, sample=0))
    finally:
        lived.site.server.execute("DELETE FROM registered_models WHERE name = 'lost'", database="mlflow")
    assert (code, problems(result)) == (1, ["BACKUP_DRILL_FAILED"])
    assert result["problems"][0]["evidence"] == "model lost"


@pytest.mark.long
def test_a_release_that_cannot_open_it_fails_the_drill(lived: Lived) -> None:
    code, result = lived.site.run("drill", drill_config(lived, python="/usr/bin/python3", sample=0))
    assert (code, problems(result)) == (1, ["BACKUP_DRILL_FAILED"])
    assert "could not do its part (tracking)" in result["problems"][0]["summary"]
    assert list((lived.site.folder / "drills").iterdir()) == []


@pytest.mark.long
def test_a_drill_that_was_killed_leaves_nothing_to_the_next_one(lived: Lived) -> None:
    site = lived.site
    into = site.folder / "drills/mlflow-drill"
    command: list[str | Path] = [
        sys.executable,
        site.folder / "lib/mlflow_backup.py",
        "--config",
        drill_config(lived),
        "drill",
    ]
    with subprocess.Popen(
        command, start_new_session=True, stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL
    ) as process:
        end = time.monotonic() + 120
        while not (into / "data/postmaster.pid").exists():
            assert process.poll() is None
            assert time.monotonic() < end
            time.sleep(0.05)
        # As systemd does it: everything that the unit started.
        os.killpg(process.pid, signal.SIGKILL)
        process.wait(30)
    assert into.exists()
    assert site.run("drill", drill_config(lived, sample=1))[0] == 0
    assert list((site.folder / "drills").iterdir()) == []


@pytest.mark.long
def test_a_drill_that_has_not_run_for_long_is_a_finding_of_its_own(lived: Lived) -> None:
    config = lived.site.other("old-drill", jobs={"drill": 0.0001, "artifacts": 0.0001})
    time.sleep(0.5)
    found = [one["id"] for one in lived.site.check(config)["findings"]]
    assert found == ["BACKUP_DRILL_OLD", "BACKUP_JOB_LATE"]


def bucket_sample(moment: str, environment: Mapping[str, str], program: str = "") -> dict[str, Any]:
    """What the drill reads of a bucket."""
    look = ROOT / "roles/mlflow_backup/files/mlflow_drill_look.py"
    command: list[str | Path] = [python(), "-B", *(["-c", program] if program else [look])]
    done = subprocess.run(
        [*command, "bucket", "s3://bucket/mlflow", "20", moment],
        env={"PATH": os.environ["PATH"], "PYTHONPATH": str(look.parent), **environment},
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


# The store says that another object was put than the one it gives.
LYING = """
import json, sys, types
import boto3, mlflow_drill_look
made = boto3.client
def client(*arguments, **named):
    real = made(*arguments, **named)
    def get_object(**key):
        answer = real.get_object(**key)
        return {**answer, "ETag": '"' + "0" * 32 + '"'} if key["Key"].endswith("b.txt") else answer
    return types.SimpleNamespace(get_paginator=real.get_paginator, get_object=get_object)
boto3.client = client
print(json.dumps(mlflow_drill_look.bucket(*sys.argv[2:])))
"""


@pytest.mark.long
def test_a_sample_of_a_bucket_is_compared_with_its_checksums() -> None:
    with running_seaweedfs() as store:
        environment = {
            "AWS_ACCESS_KEY_ID": store.admin.id,
            "AWS_SECRET_ACCESS_KEY": store.admin.secret,
            "AWS_DEFAULT_REGION": "us-east-1",
            "MLFLOW_S3_ENDPOINT_URL": store.url,
        }
        for name in ("a.txt", "b.txt", "deep/c.txt"):
            store.put(f"mlflow/1/{name}", name.encode(), bucket="bucket")
        store.put("other/d.txt", b"not ours", bucket="bucket")
        now = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(time.time() + 60))
        assert bucket_sample(now, environment) == {
            "read": 3,
            "bytes": 20,
            "compared": 3,
            "gone": 0,
            "wrong": [],
            "unknown": [],
        }
        assert bucket_sample("2020-01-01T00:00:00Z", environment)["read"] == 0
        assert bucket_sample(now, environment, LYING)["wrong"] == ["mlflow/1/b.txt"]


# ----- in place


@contextlib.contextmanager
def started(lived: Lived) -> Iterator[None]:
    """The cluster after it was stopped, as its unit would start it."""
    server = lived.site.server
    command: list[str | Path] = [
        programs() / "postgres",
        "-D",
        server.data,
        "-k",
        server.socket,
        "-p",
        str(server.port),
    ]
    with (
        (lived.site.folder / "again.log").open("wb") as log,
        subprocess.Popen(
            command,
            stdout=log,
            stderr=log,
            cwd="/",
            env={"PATH": os.environ["PATH"], "LC_ALL": "C.UTF-8"},
            preexec_fn=end_with_parent,
            **unprivileged(),
        ) as process,
    ):
        try:
            yield
        finally:
            process.send_signal(signal.SIGQUIT)
            process.wait(30)


def cut_off(site: Site) -> str:
    """What the backups' own look says about a restore that did not end."""
    _code, seen = site.run("look")
    found = [one for one in seen["problems"] if one["id"] == "RESTORE_CUT_OFF"]
    return found[0]["summary"] if found else ""


def test_the_moment_before_a_table_was_dropped_takes_the_place_of_what_lives(lived: Lived) -> None:
    site = lived.site
    code, told = lived.step("look", kind="in_place", over="dev", to=lived.moment)
    assert code == 0, told
    assert told["cluster"]["state"] == "data"
    code, staged = lived.step("stage", plan=told["plan"])
    assert code == 0, staged
    assert staged["counts"]["runs"] == 5
    # Everything serves on until the end.
    assert len(lived.runs()) == 6
    code, refused = lived.step("swap")
    assert (code, problems(refused)) == (1, ["BACKUP_RESTORE"])
    assert "PostgreSQL still runs" in refused["problems"][0]["summary"]
    # Nobody comes back to it.
    waits = Path(f"{site.server.data}.restoring")
    assert cut_off(site) == ""
    os.utime(waits, (0, 0))
    assert cut_off(site) == "A restore in place was begun and has not ended."
    done = as_database(programs() / "pg_ctl", "stop", "-D", site.server.data, "-m", "fast", "-w")
    assert done.returncode == 0, done.stdout + done.stderr
    # The power goes between the two new names.
    aside = site.server.data.rename(f"{site.server.data}.before-20261129T101502Z")
    assert (
        cut_off(site)
        == f"A restore was cut off when it had put the data directory aside: {site.server.data} is not there."
    )
    code, told = lived.step("look", kind="in_place", to=lived.moment)
    assert code == 0, told
    assert told["cluster"]["state"] == "absent"
    code, staged = lived.step("stage", plan=told["plan"])
    assert code == 0, staged
    code, swapped = lived.step("swap")
    assert code == 0, swapped
    assert swapped["kept"] == str(aside)
    assert (aside / "PG_VERSION").exists()
    assert cut_off(site) == ""
    assert not Path(f"{site.server.data}.restoring").exists()
    code, again = lived.step("swap")
    assert (code, problems(again)) == (1, ["BACKUP_RESTORE"])
    with started(lived):
        code, settled = lived.step("settle")
        assert code == 0, settled
        assert settled["counts"] == {"experiments": 2, "runs": 5, "models": 1, "users": 3}
        assert lived.runs() == {*lived.first, *lived.second}
        assert site.server.execute("SELECT count(*) FROM metrics", database="mlflow") == [(5,)]
        settings = "SELECT name, setting FROM pg_settings WHERE name IN ('archive_mode', 'restore_command', 'recovery_target_time') ORDER BY name"
        assert site.server.execute(settings) == [
            ("archive_mode", "on"),
            ("recovery_target_time", ""),
            ("restore_command", ""),
        ]
        # It archives on a way of its own, and a manifest needs a backup of that way.
        site.switch()
        site.until_archived()
        assert lived.step("look", kind="beside", into="/nowhere/scratch")[0] == 0
        site.do("artifacts")
        code, result = site.run("manifest")
        assert (code, problems(result)) == (1, ["BACKUP_INCOMPLETE"])
        fourth = lived.log("fourth", 1)
        ((now,),) = site.server.execute(
            "SELECT to_char(clock_timestamp() AT TIME ZONE 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS.US\"Z\"')"
        )
        site.switch()
        site.until_archived()
        # From the backup before the restore, through the moment of it, to now.
        into = site.folder / "scratch"
        code, beside = lived.step("beside", plan=lived.plan(to=now), into=str(into))
        assert code == 0, beside
        assert beside["counts"]["runs"] == 6
        shutil.rmtree(into)
        for job in ("differential", "artifacts", "manifest"):
            site.do(job)
        plan = lived.plan()
        assert plan["database"]["timeline"] == 2
        code, beside = lived.step("beside", plan=plan, into=str(into))
        assert code == 0, beside
        assert beside["counts"]["runs"] == len({*lived.first, *lived.second, *fourth})
        shutil.rmtree(into)
        # The manifest of before keeps to its own way.
        older = lived.plan(manifest=lived.manifest["database"]["restore_point"].removeprefix("mlflow_"))
        code, beside = lived.step("beside", plan=older, into=str(into))
        assert code == 0, beside
        assert beside["counts"]["runs"] == 3
        shutil.rmtree(into)


# ----- decisions


def test_what_owns_a_file_is_read_from_its_path() -> None:
    run, model = "0" * 32, "m-" + "1" * 32
    assert decisions.owner(f"1/{run}/artifacts/a/b") == run
    assert decisions.owner(f"workspaces/red/1/{run}/artifacts/a") == run
    assert decisions.owner(f"1/models/{model}/artifacts/MLmodel") == model
    assert decisions.owner("1/traces/tr-ab12/artifacts/t.json") == "tr-ab12"
    assert decisions.owner("somebody/else.txt") == ""


def test_what_a_plan_needs_is_looked_for_in_the_repository() -> None:
    manifest = {
        "environment": "dev",
        "moment": "2026-11-28T02:30:11Z",
        "database": {"kind": "pgbackrest", "label": "gone", "wal_to": "0000000A" + "0" * 16},
        "artifacts": {"kind": "directory", "path": "/a", "snapshot": "s1"},
        "configuration": [{"host": "db1", "snapshot": "s2"}],
    }
    asked = {"environment": "dev", "now": 1e12, "manifest": "", "to": None}
    info = {"backups": [{"label": "there"}]}
    plan, found = decisions.choose(asked, manifests={"m": manifest}, info=info, snapshots=[{"id": "s2"}])
    assert plan["database"]["timeline"] == 10
    assert [one["summary"] for one in found] == [
        "The repository no longer holds the backup gone.",
        "The repository no longer holds the copy of the artifacts that belongs to the moment.",
    ]


def test_a_manifest_after_a_restore_needs_a_backup_of_its_own_way() -> None:
    backups = [{"label": "old", "type": "full", "stop": 1.0, "error": False, "wal_start": "0" * 24, "lsn_stop": "0/1"}]
    info = {"backups": backups, "version": "17"}
    point = {"time": 5.0, "name": "p", "segment": "00000002" + "0" * 16, "lsn": "0/2"}
    asked = {
        "environment": "dev",
        "now": 5.0,
        "artifacts": {"kind": "bucket"},
        "hosts": [],
        "host": "db1",
        "stanza": "mlflow",
    }
    manifest, found = rules.tie(asked, point=point, info=info, snapshots=[])
    assert manifest == {}
    assert names(found) == ["BACKUP_INCOMPLETE"]


def test_a_drill_that_read_no_artifact_has_shown_nothing() -> None:
    seen: dict[str, Any] = {
        "counts": {"experiments": 1, "runs": 2},
        "release": {},
        "live": None,
        "expected": 2,
        "wanted": 20,
        "sample": {"read": 2, "wrong": [], "unknown": []},
    }
    assert decisions.judge_drill(seen) == []
    seen["sample"]["read"] = 0
    (found,) = decisions.judge_drill(seen)
    assert found["id"] == "BACKUP_DRILL_FAILED"
    assert found["summary"] == "2 runs and models of the restored database have artifacts, and none could be read."
    assert decisions.judge_drill({**seen, "wanted": 0}) == []
    assert decisions.judge_drill({**seen, "expected": 0}) == []
