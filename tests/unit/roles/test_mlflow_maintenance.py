"""The role: what it writes for each kind of host, that systemd accepts it, and what it refuses. Jobs themselves are tested elsewhere."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.mlops.mlflow.tests.unit.support.playbook import ROOT, Played, play

ROLE = ROOT / "roles/mlflow_maintenance"
RIGHT = {"mlflow_environment": "test", "mlflow_domain": "mlflow.test", "ansible_connection": "local"}
# Everything that the role would write, into a folder: with its own variables, templates and expressions.
WRITE = """
- hosts: all
  gather_facts: false
  vars_files: [%(vars)s, %(defaults)s]
  vars:
    ansible_managed: managed
    out: %(out)s
    role_path: %(role)s
  tasks:
    - ansible.builtin.import_role: {name: mlops.mlflow.mlflow_preflight, tasks_from: choices}
    - ansible.builtin.copy:
        content: "{{ lookup('ansible.builtin.template', role_path ~ '/templates/mlflow-maintenance.' ~ item.1 ~ '.j2') }}"
        dest: "{{ out }}/mlflow-maintenance-{{ item.0.name }}.{{ item.1 }}"
        mode: "0644"
      vars: {__mlflow_maintenance_job: "{{ item.0 }}"}
      loop: "{{ __mlflow_maintenance_jobs | product(['service', 'timer']) | list }}"
    - ansible.builtin.copy:
        content: "{{ lookup('ansible.builtin.template', role_path ~ '/templates/cron.j2') }}"
        dest: "{{ out }}/cron"
        mode: "0644"
    - ansible.builtin.copy:
        content: "{{ __mlflow_maintenance_requests[item.name] | to_json }}"
        dest: "{{ out }}/{{ item.name }}.json"
        mode: "0600"
      loop: "{{ __mlflow_maintenance_jobs }}"
"""
REFUSE = """
- hosts: all
  gather_facts: false
  tasks:
    - ansible.builtin.include_role: {name: mlops.mlflow.mlflow_maintenance}
"""


def played(folder: Path, text: str, variables: dict[str, Any], *arguments: str) -> Played:
    (folder / "out").mkdir(exist_ok=True)
    (folder / "hosts.yml").write_text(
        json.dumps({"all": {"hosts": {"app1": {**RIGHT, "ansible_python_interpreter": sys.executable, **variables}}}})
    )
    playbook = folder / "play.yml"
    playbook.write_text(text)
    return play(folder, playbook, "-i", folder / "hosts.yml", *arguments, timeout=300)


def written(folder: Path, **variables: Any) -> dict[str, str]:
    """What the role writes, by name of the file."""
    places = {
        "vars": f"{ROLE}/vars/main.yml",
        "defaults": f"{ROLE}/defaults/main.yml",
        "out": f"{folder}/out",
        "role": str(ROLE),
    }
    # On the command line: the file of defaults, read as it is here, would win over an inventory.
    (folder / "wanted.json").write_text(json.dumps(variables))
    done = played(folder, WRITE % places, {}, "-e", f"@{folder}/wanted.json")
    assert done.code == 0, done.output
    return {path.name: path.read_text() for path in (folder / "out").iterdir()}


def lines(unit: str, name: str) -> list[str]:
    return [line.partition("=")[2] for line in unit.splitlines() if line.startswith(f"{name}=")]


def test_a_host_that_is_everything_with_a_directory(tmp_path: Path) -> None:
    files = written(tmp_path, mlflow_artifact_uri="/srv/mlflow/artifacts", mlflow_maintenance_gc={"grace_days": 60})
    users = {
        name: lines(files[f"mlflow-maintenance-{name}.service"], "User")
        for name in ("database", "gc", "traces", "orphans", "leftovers", "capacity", "expiry", "delivery")
    }
    assert users == {
        "database": ["postgres"],
        "gc": ["mlflow"],
        "traces": ["mlflow"],
        "orphans": ["mlflow"],
        "leftovers": ["root"],
        "capacity": ["postgres"],
        "expiry": ["mlflow-maintenance"],
        "delivery": ["mlflow-maintenance"],
    }
    # Who tells what is wrong reads all results, and nobody loses a right of its own.
    groups = {
        name: lines(files[f"mlflow-maintenance-{name}.service"], "Group")
        + lines(files[f"mlflow-maintenance-{name}.service"], "SupplementaryGroups")
        for name in ("database", "gc", "expiry")
    }
    assert groups == {
        "database": ["mlflow-maintenance", "postgres"],
        "gc": ["mlflow-maintenance", "mlflow"],
        "expiry": ["mlflow-maintenance"],
    }
    # PostgreSQL and the servers keep the shared memory of their users.
    assert {value for name in users for value in lines(files[f"mlflow-maintenance-{name}.service"], "RemoveIPC")} == {
        "no"
    }
    assert json.loads(files["leftovers.json"])["folders"] == [
        "/var/lib/mlflow/tmp",
        "/srv/mlflow/artifacts/.mlops-mlflow/moving",
        "/srv/mlflow/artifacts/.mlops-mlflow/restoring",
    ]
    gc = files["mlflow-maintenance-gc.service"]
    assert lines(gc, "LoadCredential") == [
        "job.json:/etc/mlflow/maintenance/gc.json",
        "server.env:/etc/mlflow/server.env",
    ]
    assert lines(gc, "ReadWritePaths") == ["/srv/mlflow/artifacts"]
    assert lines(gc, "StateDirectory") == ["mlflow-maintenance/gc"]
    assert lines(gc, "TimeoutStartSec") == ["21600"]
    assert lines(gc, "ExecStart")[0].startswith("/opt/mlflow/current/bin/python -IB /usr/local/lib/mlflow-maintenance/")
    database = json.loads(files["database.json"])
    assert database["databases"] == [
        {"dbname": "mlflow", "host": "/run/postgresql", "port": "5432", "user": "postgres"},
        {"dbname": "mlflow_auth", "host": "/run/postgresql", "port": "5432", "user": "postgres"},
    ]
    assert lines(files["mlflow-maintenance-database.service"], "LoadCredential") == [
        "job.json:/etc/mlflow/maintenance/database.json"
    ]
    assert lines(files["mlflow-maintenance-gc.timer"], "OnCalendar") == ["*-*-* 03:10:00"]
    assert lines(files["mlflow-maintenance-gc.timer"], "RandomizedDelaySec") == ["2400"]
    jobs = [line for line in files["cron"].splitlines() if " root " in line]
    assert len(jobs) == 6, "nobody is told, and traces are kept"
    assert not any("OnFailure" in text for text in files.values())
    assert jobs[1].startswith("10 3 * * * root sleep ")
    assert jobs[1].endswith("; systemctl start --no-block mlflow-maintenance-gc.service")


def test_a_bucket_is_deleted_from_by_a_user_that_serves_nobody(tmp_path: Path) -> None:
    files = written(
        tmp_path,
        mlflow_artifact_uri="s3://bucket/prefix",
        mlflow_artifact_store_access_key_id="RUNTIME",
        mlflow_artifact_store_secret_access_key="runtime-secret",
        mlflow_artifact_store_maintenance_access_key_id="MAINTAINS",
        mlflow_artifact_store_maintenance_secret_access_key="maintenance-secret",
    )
    unit = files["mlflow-maintenance-gc.service"]
    assert lines(unit, "User") == ["mlflow-maintenance"]
    assert lines(unit, "ReadWritePaths") == []
    store = json.loads(files["gc.json"])["store"]
    assert (store["access_key_id"], store["secret_access_key"]) == ("MAINTAINS", "maintenance-secret")
    assert not [name for name, text in files.items() if "secret" in text and not name.endswith(".json")]


def test_without_that_identity_orphans_are_looked_for_with_the_servers_own(tmp_path: Path) -> None:
    files = written(
        tmp_path,
        mlflow_artifact_uri="s3://bucket/prefix",
        mlflow_artifact_store_access_key_id="RUNTIME",
        mlflow_artifact_store_secret_access_key="runtime-secret",
    )
    assert json.loads(files["orphans.json"])["store"]["access_key_id"] == "RUNTIME"
    assert "mlflow-maintenance-gc.service" not in files["cron"], "nothing could be deleted"
    assert "mlflow-maintenance-orphans.service" in files["cron"]


def test_a_database_that_somebody_else_runs(tmp_path: Path) -> None:
    uri = "postgresql+psycopg2://u:secret@db/mlflow?sslmode=verify-full"
    files = written(
        tmp_path,
        mlflow_artifact_uri="/srv/mlflow/artifacts",
        mlflow_database_uri=uri,
        mlflow_database_auth_uri=uri.replace("/mlflow", "/auth"),
        mlflow_maintenance_concerns=["server"],
    )
    assert lines(files["mlflow-maintenance-database.service"], "User") == ["mlflow-maintenance"]
    assert lines(files["mlflow-maintenance-database.service"], "ExecStart")[0].startswith(
        "/opt/mlflow/current/bin/python "
    )
    assert json.loads(files["database.json"]) == {"uris": [uri, uri.replace("/mlflow", "/auth")]}
    capacity = json.loads(files["capacity.json"])
    assert (capacity["uris"], capacity["measures"], capacity["makes"]) == (
        [uri, uri.replace("/mlflow", "/auth")],
        True,
        True,
    )


def test_a_server_whose_database_has_a_host_of_its_own(tmp_path: Path) -> None:
    files = written(tmp_path, mlflow_artifact_uri="/srv/mlflow/artifacts", mlflow_maintenance_concerns=["server"])
    unit = files["mlflow-maintenance-capacity.service"]
    assert lines(unit, "User") == ["mlflow-maintenance"]
    assert lines(unit, "ExecStart")[0].startswith("/opt/mlflow/current/bin/python ")
    assert lines(unit, "LoadCredential")[1] == "server.env:/etc/mlflow/server.env"
    capacity = json.loads(files["capacity.json"])
    assert (capacity["measures"], capacity["makes"], capacity.keys() & {"uris", "databases"}) == (False, False, set())


def test_who_is_told_and_with_which_secrets(tmp_path: Path) -> None:
    secrets = {
        "mlflow_maintenance_mail_password": "swordfish-mail",
        "mlflow_maintenance_webhook_token": "swordfish-token",
    }
    files = written(
        tmp_path,
        mlflow_artifact_uri="/srv/mlflow/artifacts",
        mlflow_maintenance_mail_to=["ops@example.test"],
        mlflow_maintenance_mail_from="mlflow@example.test",
        mlflow_maintenance_mail_host="mail.test",
        mlflow_maintenance_mail_user="mlflow",
        mlflow_maintenance_webhook_url="https://chat.test/swordfish-url",
        mlflow_maintenance_webhook_format="slack",
        mlflow_maintenance_expiry={"backup_hours": 26},
        **secrets,
    )
    assert {name for name, text in files.items() if "swordfish" in text} == {"delivery.json"}
    told = json.loads(files["delivery.json"])
    assert (told["mail"]["port"], told["mail"]["to"], told["mail"]["password"]) == (
        587,
        ["ops@example.test"],
        "swordfish-mail",
    )
    assert (told["webhook"]["format"], told["backup_hours"], told["jobs_file"]) == (
        "slack",
        26,
        "/etc/ansible/facts.d/mlflow_maintenance.fact",
    )
    unit = files["mlflow-maintenance-delivery.service"]
    assert lines(unit, "LoadCredential") == ["job.json:/etc/mlflow/maintenance/delivery.json"]
    assert lines(unit, "OnFailure") == [], "it is not told about itself"
    for name in ("OnFailure", "OnSuccess"):
        assert lines(files["mlflow-maintenance-gc.service"], name) == ["mlflow-maintenance-delivery.service"]
    assert "mlflow-maintenance-delivery.service" in files["cron"]


def test_systemd_accepts_the_units_and_finds_little_exposed(tmp_path: Path) -> None:
    files = written(tmp_path, mlflow_artifact_uri="/srv/mlflow/artifacts")
    for name, text in files.items():
        if name.endswith((".service", ".timer")):
            # The interpreter of a release is not on this machine.
            (tmp_path / "out" / name).write_text(text.replace("/opt/mlflow/current/bin/python", "/usr/bin/python3"))
    units = sorted((tmp_path / "out").glob("*.service"))
    assert len(units) == 8
    verified = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", *units, *(tmp_path / "out").glob("*.timer")],
        capture_output=True,
        text=True,
        check=False,
    )
    complaints = [line for line in verified.stderr.splitlines() if "mlflow-maintenance" in line]
    assert complaints == []
    for unit in units:
        done = subprocess.run(
            ["systemd-analyze", "security", "--offline=true", "--threshold=20", unit],
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stdout[-300:] + done.stderr


@pytest.mark.parametrize(
    ("variables", "sentence"),
    [
        (
            {"mlflow_maintenance_gc": {"schedule": "nightly"}},
            "[MAINTENANCE_SCHEDULE] app1: mlflow_maintenance_gc.schedule=nightly.",
        ),
        (
            {"mlflow_maintenance_orphans": {"grace_days": 0}},
            "[MAINTENANCE_LIMIT] app1: mlflow_maintenance_orphans.grace_days=0.",
        ),
        (
            {"mlflow_artifact_uri": "s3://bucket/prefix", "mlflow_maintenance_gc": {"enabled": True}},
            "[MAINTENANCE_IDENTITY] app1: mlflow_maintenance_gc.enabled=True.",
        ),
        (
            {"mlflow_maintenance_mail_to": ["ops@example.test"], "mlflow_maintenance_mail_from": "mlflow@example.test"},
            "[MAINTENANCE_DELIVERY] app1: mlflow_maintenance_mail_host=(empty).",
        ),
        (
            {"mlflow_artifact_uri": "gs://bucket/prefix", "mlflow_maintenance_gc": {"enabled": True}},
            "[MAINTENANCE_STORE] app1: mlflow_maintenance_gc.enabled=True.",
        ),
    ],
)
def test_what_is_refused_before_anything_is_touched(tmp_path: Path, variables: dict[str, Any], sentence: str) -> None:
    done = played(tmp_path, REFUSE, {"mlflow_artifact_uri": "/srv/mlflow/artifacts", **variables})
    assert done.code == 2, done.output
    (said,) = done.sentences
    assert said.startswith(sentence)
    assert said.endswith("Nothing was changed.")
    assert done.changed == 0


def test_an_option_that_no_job_has_is_refused(tmp_path: Path) -> None:
    done = played(
        tmp_path, REFUSE, {"mlflow_artifact_uri": "/srv/mlflow/artifacts", "mlflow_maintenance_gc": {"grace": 3}}
    )
    assert done.code == 2
    assert "grace. Supported parameters include" in done.output
    assert done.changed == 0


def test_check_mode_on_a_bare_host_announces_and_makes_nothing(tmp_path: Path) -> None:
    variables = {"mlflow_artifact_uri": "/srv/mlflow/artifacts", "mlflow_config_dir": f"{tmp_path}/etc"}
    done = played(tmp_path, REFUSE, variables, "--check", "--diff")
    assert done.code == 0, done.output
    for task in (
        "The user that maintains exists",
        "The programs of the jobs are in place",
        "Each job is told what it needs",
        "The units of the jobs are in place",
        "Timers start the jobs that are on, where timers were chosen",
        "The host says which jobs it has",
    ):
        said = done.output.partition(f"mlflow_maintenance : {task}]")[2].partition("\nTASK [")[0]
        assert "changed: [app1]" in said, f"{task}: {said}"
    assert not (tmp_path / "etc").exists()
