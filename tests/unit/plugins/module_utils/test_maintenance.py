"""The jobs: when they run, what is refused, and what their last results mean."""

from __future__ import annotations

import re
import subprocess
from typing import Any

import pytest
import yaml

from ansible_collections.mlops.mlflow.plugins.module_utils import _maintenance
from ansible_collections.mlops.mlflow.plugins.module_utils._maintenance import Place, Schedule, jobs_of, problems, told
from ansible_collections.mlops.mlflow.tests.unit.support.maintenance import ROLE

S3 = "s3://bucket/prefix"
DIRECTORY = "/srv/mlflow/artifacts"
NOW = 1_800_000_000.0


def place(uri: str = DIRECTORY, *, may_delete: bool = False, **more: Any) -> Place:
    known: dict[str, Any] = {"host": "app1", "concerns": ("database", "server"), "database_is_external": False, **more}
    return Place(artifact_uri=uri, may_delete=may_delete, **known)


# ----- schedules


@pytest.mark.parametrize(
    ("text", "on_calendar", "cron", "period"),
    [
        ("hourly 05", "*-*-* *:05:00", "5 * * * *", 3600),
        ("daily 03:10", "*-*-* 03:10:00", "10 3 * * *", 86400),
        ("weekly Sun 00:00", "Sun *-*-* 00:00:00", "0 0 * * 0", 7 * 86400),
        ("weekly Sat 23:59", "Sat *-*-* 23:59:00", "59 23 * * 6", 7 * 86400),
        ("monthly 1 04:05", "*-*-01 04:05:00", "5 4 1 * *", 31 * 86400),
    ],
)
def test_both_schedulers_are_told_the_same(text: str, on_calendar: str, cron: str, period: int) -> None:
    assert Schedule.read(text) == Schedule(on_calendar, cron, period)


@pytest.mark.parametrize("name", _maintenance.JOBS)
def test_systemd_understands_the_defaults(name: str) -> None:
    schedule = Schedule.read(_maintenance.DEFAULTS[name]["schedule"])
    done = subprocess.run(["systemd-analyze", "calendar", schedule.on_calendar], capture_output=True, check=False)
    assert done.returncode == 0, done.stderr.decode()


@pytest.mark.parametrize(
    "text",
    [
        "",
        "daily",
        "daily 24:00",
        "daily 3:10",
        "weekly 03:10",
        "monthly 31 03:10",
        "hourly 60",
        "*-*-* 03:10",
        "daily 03:10\n",
    ],
)
def test_what_one_of_them_could_not_be_told_is_refused(text: str) -> None:
    sentence = f"[MAINTENANCE_SCHEDULE] app1: mlflow_maintenance_gc.schedule={text}"
    (found,) = problems(place(), {"gc": {"schedule": text}})
    assert found.startswith(sentence.rstrip())
    assert "It is hourly MM, daily HH:MM" in found
    assert found.endswith("Nothing was changed.")


def test_hosts_do_not_begin_together_with_cron_either() -> None:
    waits = [
        job.cron_sleep for host in ("app1", "app2", "app3") for job in jobs_of(place(host=host), {}) if job.name == "gc"
    ]
    assert len(set(waits)) == 3
    assert all(0 <= wait < 40 * 60 for wait in waits)
    assert waits[0] == next(job.cron_sleep for job in jobs_of(place(), {}) if job.name == "gc"), "the same each time"
    assert next(job.cron_sleep for job in jobs_of(place(), {"gc": {"delay_minutes": 0}}) if job.name == "gc") == 0


# ----- which jobs a host has

ALL = {
    "database": True,
    "gc": True,
    "traces": False,
    "orphans": True,
    "leftovers": True,
    "capacity": True,
    "expiry": True,
    "delivery": False,
}
MAIL = {
    "to": ["ops@example.test"],
    "from": "mlflow@example.test",
    "host": "mail.test",
    "port": 587,
    "security": "starttls",
    "user": "",
    "password": "",
}
WEBHOOK = {"url": "https://chat.test/services/x", "token": ""}


def names(known: Place, wanted: dict[str, dict[str, Any]] | None = None) -> dict[str, bool]:
    return {job.name: job.enabled for job in jobs_of(known, wanted or {})}


def test_each_host_has_the_jobs_of_what_it_is() -> None:
    assert names(place()) == ALL
    assert names(place(concerns=("database",))) == {
        name: ALL[name] for name in ("database", "capacity", "expiry", "delivery")
    }
    assert names(place(concerns=())) == {name: ALL[name] for name in ("expiry", "delivery")}
    assert names(place(concerns=("server",))) == {name: on for name, on in ALL.items() if name != "database"}
    # Nobody else could look after a PostgreSQL that has no host of ours.
    assert names(place(concerns=("server",), database_is_external=True))["database"]


def test_nothing_is_deleted_from_a_bucket_without_an_identity_that_may() -> None:
    assert names(place(S3)) == ALL | {"gc": False}
    assert names(place(S3, may_delete=True))["gc"]
    (found,) = problems(place(S3), {"gc": {"enabled": True}})
    assert found.startswith(
        "[MAINTENANCE_IDENTITY] app1: mlflow_maintenance_gc.enabled=True. mlflow_artifact_store_maintenance_access_key_id is empty."
    )
    assert problems(place(S3), {"gc": {"enabled": True, "dry_run": True}}) == []
    assert problems(place(S3, concerns=("database",)), {"gc": {"enabled": True}}) == [], "no job of that host"


def test_stores_that_no_job_looks_into() -> None:
    assert names(place("gs://bucket/prefix", may_delete=True)) == ALL | {"gc": False, "orphans": False}
    (found,) = problems(place("gs://bucket/prefix"), {"orphans": {"enabled": True}})
    assert found.startswith(
        "[MAINTENANCE_STORE] app1: mlflow_maintenance_orphans.enabled=True. gs://bucket/prefix is neither"
    )


def test_somebody_is_told_where_a_way_was_named() -> None:
    assert names(place(mail=MAIL))["delivery"]
    assert names(place(webhook=WEBHOOK, concerns=()))["delivery"]
    assert not names(place(mail=MAIL), {"delivery": {"enabled": False}})["delivery"]
    (found,) = problems(place(), {"delivery": {"enabled": True}})
    assert found.startswith(
        "[MAINTENANCE_DELIVERY] app1: mlflow_maintenance_delivery.enabled=True. mlflow_maintenance_mail_to and"
    )


@pytest.mark.parametrize(
    ("mail", "webhook", "sentence"),
    [
        ({"host": ""}, {}, "mlflow_maintenance_mail_host=(empty). mlflow_maintenance_mail_to says that mail is sent."),
        ({"from": ""}, {}, "mlflow_maintenance_mail_from=(empty). mlflow_maintenance_mail_to says that mail is sent."),
        (
            {"user": "u", "password": "p", "security": "none"},
            {},
            "mlflow_maintenance_mail_security=none. The password of mlflow_maintenance_mail_user would be readable on the way.",
        ),
        ({"user": "u"}, {}, "mlflow_maintenance_mail_password=(empty). mlflow_maintenance_mail_user says that"),
        ({"to": ["ops"]}, {}, "mlflow_maintenance_mail_to and _from=ops. It is no address of mail."),
        (
            {"to": ["a@b.test\nBcc: c@d.test"]},
            {},
            "mlflow_maintenance_mail_to and _from=a@b.test\nBcc: c@d.test. It is",
        ),
        (
            {},
            {"url": "file:///etc/passwd"},
            "mlflow_maintenance_webhook_url=(not shown). It is no http:// or https:// with",
        ),
        ({}, {"url": "https://"}, "mlflow_maintenance_webhook_url=(not shown). It is no http:// or https:// with"),
        (
            {},
            {"url": "http://chat.test/x", "token": "t"},
            "mlflow_maintenance_webhook_url=http://... mlflow_maintenance_webhook_token would be readable on the way.",
        ),
    ],
)
def test_ways_to_tell_that_lead_nowhere_or_give_secrets_away(
    mail: dict[str, Any], webhook: dict[str, Any], sentence: str
) -> None:
    known = place(mail=MAIL | mail if mail else {}, webhook=WEBHOOK | webhook if webhook else {})
    (found,) = problems(known, {})
    assert found.startswith(f"[MAINTENANCE_DELIVERY] app1: {sentence}")


@pytest.mark.parametrize("url", ["https://chat.test/x", "http://127.0.0.1:9093/api/v2/alerts"])
def test_ways_to_tell_that_are_right(url: str) -> None:
    mail = MAIL | {"user": "u", "password": "p", "security": "tls"}
    assert problems(place(mail=mail, webhook={"url": url, "token": "t"}), {}) == []
    assert (
        problems(place(mail=MAIL | {"security": "none"}, webhook={"url": "http://chat.test/x", "token": ""}), {}) == []
    )


@pytest.mark.parametrize(("key", "least"), [("grace_days", 1), ("timeout_minutes", 1), ("memory_mb", 64)])
def test_limits_that_would_delete_at_once_or_do_nothing(key: str, least: int) -> None:
    (found,) = problems(place(), {"gc": {key: least - 1}})
    assert found.startswith(
        f"[MAINTENANCE_LIMIT] app1: mlflow_maintenance_gc.{key}={least - 1}. It is {least} or more."
    )
    assert problems(place(), {"gc": {key: least}}) == []


def test_what_is_set_wins_and_the_rest_is_as_documented() -> None:
    (job,) = [
        one for one in jobs_of(place(), {"gc": {"grace_days": 60, "schedule": "weekly Mon 01:00"}}) if one.name == "gc"
    ]
    assert job.settings == {"grace_days": 60, "jobs_grace_days": 30}
    assert (job.delay_seconds, job.timeout_seconds) == (2400, 21600)
    assert job.due_seconds == 2 * 7 * 86400 + 2400 + 21600


def test_the_specification_says_the_same_defaults() -> None:
    options = yaml.safe_load((ROLE / "meta/argument_specs.yml").read_text())["argument_specs"]["main"]["options"]
    for name, given in _maintenance.DEFAULTS.items():
        said = options[f"mlflow_maintenance_{name}"]["options"]
        assert {key: option["default"] for key, option in said.items()} == given
    numbers = {
        key
        for given in _maintenance.DEFAULTS.values()
        for key, value in given.items()
        if isinstance(value, int) and not isinstance(value, bool)
    }
    assert numbers == set(_maintenance._LEAST), "each number has a least"
    assert set(options["mlflow_maintenance_run"]["choices"]) == set(_maintenance.JOBS)


# ----- what last results mean


def job(**more: Any) -> dict[str, Any]:
    return {
        "name": "gc",
        "enabled": True,
        "due_seconds": 100_000,
        "since": NOW - 10,
        "last": {},
        "started": 0,
        "active": False,
    } | more


def last(outcome: str = "done", ago: float = 3600, **more: Any) -> dict[str, Any]:
    return {"outcome": outcome, "ended": NOW - ago, "sentence": "It did.", "findings": [], **more}


def test_all_is_well() -> None:
    found = [job(), job(last=last()), job(last=last("elsewhere")), job(enabled=False), job(last=last("found"))]
    assert told("app1", found, NOW) == []


def test_a_job_that_failed() -> None:
    (found,) = told("app1", [job(last=last("failed", sentence="The store is away."))], NOW)
    assert (found["id"], found["severity"]) == ("JOB_FAILED", "warning")
    assert found["summary"] == "Job gc failed 60 min ago: The store is away."
    assert "journalctl -u mlflow-maintenance-gc" in found["remedy"]
    # Also one that nobody scheduled and somebody ran by hand.
    by_hand = job(enabled=False, since=NOW - 7200, last=last("failed"))
    assert [one["id"] for one in told("app1", [by_hand], NOW)] == ["JOB_FAILED"]
    # What was switched off because it failed is told no more.
    assert told("app1", [{**by_hand, "since": NOW - 10}], NOW) == []


def test_a_job_that_a_power_cut_ended() -> None:
    (found,) = told("app1", [job(last=last(), started=NOW - 1800)], NOW)
    assert (found["id"], found["summary"]) == (
        "JOB_FAILED",
        "Job gc began 30 min ago and was cut off, with its host or by somebody.",
    )
    assert told("app1", [job(last=last(), started=NOW - 1800, active=True)], NOW) == []


def test_a_job_that_has_not_run_in_its_time() -> None:
    (found,) = told("app1", [job(since=NOW - 200_000)], NOW)
    assert (found["id"], found["summary"]) == ("JOB_OVERDUE", "Job gc has not run in its time: it has never run.")
    (found,) = told("app1", [job(since=NOW - 900_000, last=last(ago=172_800))], NOW)
    assert found["summary"] == "Job gc has not run in its time: the last run ended 2 d ago."
    assert told("app1", [job(since=NOW - 200_000, active=True)], NOW) == []
    assert told("app1", [job(since=NOW - 200_000, enabled=False)], NOW) == []


def test_what_a_job_found_is_told_until_its_next_run() -> None:
    one = {"id": "MAINTENANCE_DISK", "host": "app1", "severity": "warning", "summary": "Full.", "remedy": "Free room."}
    assert told("app1", [job(last=last("found", findings=[one, {"id": "half"}, "nothing"]))], NOW) == [one]


def test_every_outcome_has_a_code_that_the_unit_knows() -> None:
    unit = (ROLE / "templates/mlflow-maintenance.service.j2").read_text()
    (codes,) = re.findall(r"^SuccessExitStatus=(.*)$", unit, re.M)
    assert {int(code) for code in codes.split()} | {0} == {
        _maintenance.OUTCOMES[name] for name in ("done", "found", "elsewhere")
    }
