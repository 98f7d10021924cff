"""What is wrong is told by mail and webhook, once for each change: to servers on loopback that take, refuse or are not there."""

from __future__ import annotations

import contextlib
import datetime
import json
import os
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.mlops.mlflow.plugins.module_utils._findings import report
from ansible_collections.mlops.mlflow.plugins.module_utils._maintenance_delivery import (
    key_of,
    keyed,
    plan,
    work,
)
from ansible_collections.mlops.mlflow.plugins.module_utils._maintenance_job import Result
from ansible_collections.mlops.mlflow.tests.unit.support.certificates import Authority
from ansible_collections.mlops.mlflow.tests.unit.support.http_peers import (
    RUDE,
    Reply,
    Request,
    http_peer,
    server_context,
)
from ansible_collections.mlops.mlflow.tests.unit.support.maintenance import Host
from ansible_collections.mlops.mlflow.tests.unit.support.peers import LOOPBACK, free_port, peer
from ansible_collections.mlops.mlflow.tests.unit.support.smtp_peers import Postbox, smtp_peer

NOW = 1_800_000_000.0
DAY = 86400.0
LOGIN = ("mlflow@example.test", "pass word/swordfish")
TOKEN = "bearer-swordfish"


def say(text: str, done: int = 0, of: int = 0) -> None:
    """Nobody listens."""
    del text, done, of


def disk(path: str = "/srv", free: str = "12.3 GB", percent: int = 9) -> dict[str, str]:
    summary = f"{path} has {free} free, {percent} %, and mlflow_maintenance_expiry.disk_percent=10."
    return report("MAINTENANCE_DISK", host="app1", summary=summary)


# ----- what is a change


def test_the_same_thing_on_another_day_is_the_same() -> None:
    assert key_of(disk()) == key_of(disk(free="850.0 MB", percent=1))
    ago = [
        report("JOB_FAILED", host="app1", summary=f"Job gc failed {ago} ago: no.") for ago in ("60 min", "2 d", "3 h")
    ]
    assert len({key_of(one) for one in ago}) == 1


@pytest.mark.parametrize(
    "other",
    [
        disk("/srv/data1"),
        report("MAINTENANCE_DISK", host="app2", summary=disk()["summary"]),
        report("MAINTENANCE_CLOCK", host="app1", summary=disk()["summary"]),
    ],
)
def test_another_thing_is_another(other: dict[str, str]) -> None:
    assert len({key_of(other), key_of(disk()), key_of(disk("/srv/data2"))}) == 3


def test_two_that_differ_in_numbers_only_are_two() -> None:
    assert len(keyed([disk(), disk(percent=3)])) == 2


def test_what_lasts_is_said_again_after_some_days() -> None:
    there = keyed([disk()])
    news, told = plan({}, there, NOW, 7 * DAY)
    assert (len(news.new), len(news.again), len(news.gone)) == (1, 0, 0)
    for later in (0.1, 6.9):
        news, told = plan(told, keyed([disk(percent=5)]), NOW + later * DAY, 7 * DAY)
        assert not news
    news, told = plan(told, there, NOW + 7.1 * DAY, 7 * DAY)
    assert (len(news.new), len(news.again), len(news.gone)) == (0, 1, 0)
    assert [one["first"] for one in told.values()] == [NOW]
    news, told = plan(told, {}, NOW + 7.2 * DAY, 7 * DAY)
    assert (len(news.new), len(news.again), len(news.gone), told) == (0, 0, 1, {})


# ----- a host


@dataclass
class Place:
    """A host with its jobs, and how it tells what is wrong."""

    folder: Path
    mail: dict[str, Any]
    webhook: dict[str, Any]

    def __post_init__(self) -> None:
        self.jobs("gc", "expiry")
        for name in ("gc", "expiry"):
            self.last(name)

    def jobs(self, *names: str) -> None:
        listed = [{"name": name, "enabled": True, "due_seconds": 200_000} for name in names]
        file = self.folder / "jobs.fact"
        file.write_text(json.dumps({"jobs": [*listed, {"name": "delivery", "enabled": True, "due_seconds": 9000}]}))
        os.utime(file, (NOW - 3600, NOW - 3600))

    def last(self, name: str, outcome: str = "done", *findings: dict[str, str], ago: float = 60, **more: Any) -> None:
        path = self.folder / "state" / name
        path.mkdir(parents=True, exist_ok=True)
        told = {"outcome": outcome, "ended": NOW - ago, "sentence": "It did.", "findings": findings, **more}
        (path / "last.json").write_text(json.dumps(told))

    def backup(self, name: str, ago: float = 60, *problems: dict[str, str]) -> None:
        path = self.folder / "backups"
        path.mkdir(exist_ok=True)
        told = {"finished": NOW - ago, "ok": not problems, "problems": problems, "sentence": "It did."}
        (path / f"{name}.json").write_text(json.dumps(told))

    def request(self) -> dict[str, Any]:
        return {
            "host": "app1",
            "environment": "dev",
            "reminder_days": 7,
            "backup_hours": 50,
            "drill_days": 35,
            "jobs_file": str(self.folder / "jobs.fact"),
            "state": str(self.folder / "state"),
            "units": str(self.folder / "units"),
            "backups": str(self.folder / "backups"),
            "memory": str(self.folder / "delivered.json"),
            "mail": self.mail,
            "webhook": self.webhook,
        }

    def tell(self, now: float = NOW) -> Result:
        return work(self.request(), say, now=now)


def to(port: int, **more: Any) -> dict[str, Any]:
    usual = {"to": ["ops@example.test", "boss@example.test"], "from": "mlflow@example.test", "host": "localhost"}
    return {**usual, "port": port, "security": "none", "user": "", "password": "", "ca_file": "", **more}


def hook(url: str, shape: str = "json", **more: Any) -> dict[str, Any]:
    return {"url": url, "format": shape, "token": "", "ca_file": "", "proxy": "", **more}


@pytest.fixture(name="place")
def _place(tmp_path: Path) -> Place:
    return Place(tmp_path, {}, {})


@pytest.fixture(name="authority")
def _authority() -> Authority:
    return Authority.make("authority of the test")


@pytest.fixture(name="received")
def _received() -> list[Request]:
    return []


@pytest.fixture(name="receiver")
def _receiver(received: list[Request]) -> Iterator[int]:
    """An HTTP server that takes everything."""

    def answer(request: Request) -> Reply:
        received.append(request)
        return Reply(200, b"ok")

    with http_peer(answer) as port:
        yield port


def subjects(box: Postbox) -> list[str]:
    return [str(one.message["Subject"]) for one in box.arrived]


# ----- mail


@pytest.mark.parametrize("security", ["starttls", "tls", "none"])
def test_a_mail_arrives(place: Place, authority: Authority, tmp_path: Path, security: str) -> None:
    context = server_context(authority, tmp_path, "localhost")
    ca_file = str(authority.write(tmp_path / "ca.pem"))
    place.last("expiry", "found", disk())
    with smtp_peer(
        context=None if security == "none" else context,
        implicit=security == "tls",
        login=None if security == "none" else LOGIN,
    ) as box:
        place.mail = to(box.port, security=security, ca_file=ca_file)
        if security != "none":
            place.mail |= {"user": LOGIN[0], "password": LOGIN[1]}
        result = place.tell()
    assert result.findings == []
    (mail,) = box.arrived
    assert (mail.sender, mail.recipients) == ("mlflow@example.test", ("ops@example.test", "boss@example.test"))
    assert (mail.encrypted, mail.user) == ((False, "") if security == "none" else (True, LOGIN[0]))
    assert not [line for line in box.heard if "AUTH" in line], "no password before anything is encrypted"
    assert mail.message["Subject"] == "[mlflow dev] app1: 1 new"
    assert mail.message["Auto-Submitted"] == "auto-generated"
    text = mail.text
    assert "New on app1:\n[MAINTENANCE_DISK] app1: /srv has 12.3 GB free, 9 %, and" in text
    assert "Free or add room." in text


def test_each_change_is_told_once(place: Place) -> None:
    with smtp_peer() as box:
        place.mail = to(box.port)
        place.tell()
        assert subjects(box) == ["[mlflow dev] app1: nothing is wrong"], "that the way works is seen at once"
        place.tell()
        place.last("gc", "failed", sentence="The store is away.", ago=7200)
        place.tell()
        place.tell()
        place.last("expiry", "found", disk())
        place.tell()
        place.last("gc")
        place.tell()
        place.tell()
        place.last("gc", ago=-8 * DAY)
        place.tell(NOW + 8 * DAY)
    assert subjects(box)[1:] == [
        "[mlflow dev] app1: 1 new",
        "[mlflow dev] app1: 1 new",
        "[mlflow dev] app1: 1 gone",
        # The job of the disk has not run for so long that this is new.
        "[mlflow dev] app1: 1 new, 1 still there",
    ]
    assert "[JOB_FAILED] app1: Job gc failed 2 h ago: The store is away." in box.arrived[1].text
    assert "No longer there on app1:\n[JOB_FAILED]" in box.arrived[3].text


@pytest.mark.parametrize("broken", ["certificate", "no TLS", "password", "recipient", "nobody"])
def test_a_mail_that_does_not_arrive_is_a_finding_and_is_tried_again(
    place: Place, authority: Authority, tmp_path: Path, broken: str
) -> None:
    place.last("expiry", "found", disk())
    context = server_context(authority, tmp_path, "other.test" if broken == "certificate" else "localhost")
    ca_file = str(authority.write(tmp_path / "ca.pem"))
    with smtp_peer(context=None if broken == "no TLS" else context, login=LOGIN) as box:
        good = to(box.port, security="starttls", ca_file=ca_file, user=LOGIN[0], password=LOGIN[1])
        place.mail = good | ({"password": "wrong"} if broken == "password" else {})
        if broken == "nobody":
            place.mail["port"] = free_port()
        if broken == "recipient":
            box.refused = frozenset({"boss@example.test"})
        result = place.tell()
        (found,) = result.findings
        assert (found["id"], found["severity"]) == ("JOB_DELIVERY", "warning")
        assert found["summary"].startswith("What is wrong on this host could not be told by mail: localhost:")
        said = {
            "certificate": "Hostname mismatch",
            "no TLS": "STARTTLS extension not supported",
            "password": "535",
            "recipient": "takes no mail for boss@example.test",
            "nobody": "Connection refused",
        }
        assert said[broken] in found["summary"]
        assert "1 new" in found["evidence"]
    if broken in ("password", "recipient"):
        with smtp_peer(context=context, login=LOGIN) as box:
            place.mail = good | {"port": box.port}
            assert place.tell().findings == []
        # Who was told is not told again because of somebody else.
        assert subjects(box) == ([] if broken == "recipient" else ["[mlflow dev] app1: 1 new"])


# ----- webhooks


def test_what_is_posted_for_programs(place: Place, receiver: int, received: list[Request]) -> None:
    place.webhook = hook(f"http://{LOOPBACK}:{receiver}/in?a=1", token=TOKEN)
    place.last("expiry", "found", disk())
    assert place.tell().findings == []
    (asked,) = received
    assert (asked.method, asked.path) == ("POST", "/in?a=1")
    assert asked.headers["Content-Type"] == "application/json"
    assert asked.headers["Authorization"] == f"Bearer {TOKEN}"
    body = json.loads(asked.body)
    assert (body["host"], body["environment"], body["title"]) == ("app1", "dev", "[mlflow dev] app1: 1 new")
    assert [one["id"] for one in body["new"]] == ["MAINTENANCE_DISK"]
    place.last("expiry")
    place.tell()
    assert [one["id"] for one in json.loads(received[1].body)["gone"]] == ["MAINTENANCE_DISK"]


def test_what_slack_and_teams_want(place: Place, receiver: int, received: list[Request]) -> None:
    place.last("expiry", "found", disk("/srv/<a&b>"))
    for shape in ("slack", "teams"):
        place.webhook = hook(f"http://{LOOPBACK}:{receiver}/{shape}", shape)
        assert place.tell().findings == []
    slack, teams = (json.loads(one.body) for one in received)
    assert slack.keys() == {"text"}
    assert slack["text"].startswith(
        "*[mlflow dev] app1: 1 new*\nNew on app1:\n[MAINTENANCE_DISK] app1: /srv/&lt;a&amp;b&gt; has"
    )
    (card,) = teams["attachments"]
    assert (teams["type"], card["contentType"]) == ("message", "application/vnd.microsoft.card.adaptive")
    assert card["content"]["body"][0]["text"] == "[mlflow dev] app1: 1 new"
    assert card["content"]["body"][2]["text"].startswith("[MAINTENANCE_DISK] app1: /srv/<a&b> has")


def test_what_alertmanager_wants(place: Place, receiver: int, received: list[Request]) -> None:
    """Each alert again and again while it lasts, and once more with its end."""
    place.webhook = hook(f"http://{LOOPBACK}:{receiver}/api/v2/alerts", "alertmanager")
    place.last("expiry", "found", disk(), disk("/var"))
    place.tell()
    place.tell(NOW + 3600)
    place.last("expiry")
    place.tell(NOW + 7200)
    place.tell(NOW + 7300)
    first, second, third = (json.loads(one.body) for one in received)
    assert [one["labels"]["alertname"] for one in first] == ["MAINTENANCE_DISK"] * 2
    assert len({json.dumps(one["labels"], sort_keys=True) for one in first}) == 2
    assert first[0]["labels"].keys() == {"alertname", "severity", "environment", "instance", "finding"}
    assert [one["labels"] for one in first] == [one["labels"] for one in second] == [one["labels"] for one in third]

    def seconds(alert: dict[str, Any], name: str) -> float:
        return datetime.datetime.fromisoformat(alert[name]).timestamp() - NOW

    assert [seconds(one[0], "startsAt") for one in (first, second, third)] == [0, 0, 0]
    assert seconds(first[0], "endsAt") > 2 * 3600, "it lasts longer than until the next run"
    assert seconds(third[0], "endsAt") == 7200


@pytest.mark.parametrize("status", [302, 400, 404, 500])
def test_a_receiver_that_refuses(place: Place, status: int) -> None:
    place.last("expiry", "found", disk())
    asked: list[Request] = []

    def answer(request: Request) -> Reply:
        asked.append(request)
        return Reply(status, b"", {"Location": "/elsewhere"})

    with http_peer(answer) as port:
        place.webhook = hook(f"http://{LOOPBACK}:{port}/secret-part")
        (found,) = place.tell().findings
        place.tell()
    assert (
        found["summary"] == f"What is wrong on this host could not be told by webhook: it was answered with {status}."
    )
    assert "secret-part" not in json.dumps(found)
    assert [one.path for one in asked] == ["/secret-part"] * 2, "it is tried again, and no redirect is followed"


@pytest.mark.parametrize("kind", ["closes", "garbage", "no status", "a TLS alert"])
def test_a_receiver_that_speaks_no_http(place: Place, kind: str) -> None:
    with peer(RUDE[kind]) as port:
        place.webhook = hook(f"http://{LOOPBACK}:{port}/")
        assert [one["id"] for one in place.tell().findings] == ["JOB_DELIVERY"]


def test_https_is_verified(place: Place, authority: Authority, tmp_path: Path) -> None:
    with http_peer(lambda _request: Reply(204), context=server_context(authority, tmp_path, "localhost")) as port:
        place.webhook = hook(f"https://localhost:{port}/")
        (found,) = place.tell().findings
        assert "CERTIFICATE_VERIFY_FAILED" in found["summary"]
        place.webhook["ca_file"] = str(authority.write(tmp_path / "ca.pem"))
        assert place.tell().findings == []


def test_one_way_that_fails_holds_up_no_other(place: Place, receiver: int, received: list[Request]) -> None:
    place.last("expiry", "found", disk())
    place.mail = to(free_port())
    place.webhook = hook(f"http://{LOOPBACK}:{receiver}/")
    result = place.tell()
    assert [one["id"] for one in result.findings] == ["JOB_DELIVERY"]
    assert result.details["channels"] == {"mail": "failed", "webhook": "1 new"}
    place.tell()
    assert len(received) == 1
    with smtp_peer() as box:
        place.mail = to(box.port)
        assert place.tell().findings == []
    assert subjects(box) == ["[mlflow dev] app1: 1 new"], "who was not reached is told everything"


def test_somebody_else_is_told_everything(place: Place, receiver: int, received: list[Request]) -> None:
    place.last("expiry", "found", disk())
    for path in ("one", "one", "two"):
        place.webhook = hook(f"http://{LOOPBACK}:{receiver}/{path}")
        place.tell()
    assert [one.path for one in received] == ["/one", "/two"]


# ----- what it looks at


def ids(place: Place, received: list[Request]) -> list[str]:
    before = len(received)
    place.tell()
    return [one["id"] for asked in received[before:] for one in json.loads(asked.body)["new"]]


def test_a_job_that_runs_is_not_one_that_was_cut_off(place: Place, receiver: int, received: list[Request]) -> None:
    place.webhook = hook(f"http://{LOOPBACK}:{receiver}/")
    (place.folder / "state/gc/running.json").write_text(json.dumps({"started": NOW - 30}))
    unit = place.folder / "units/mlflow-maintenance-gc.service"
    unit.mkdir(parents=True)
    assert ids(place, received) == []
    unit.rmdir()
    assert ids(place, received) == ["JOB_FAILED"]


def test_a_job_that_has_not_run_is_told(place: Place, receiver: int, received: list[Request]) -> None:
    place.webhook = hook(f"http://{LOOPBACK}:{receiver}/")
    place.last("gc", ago=300_000)
    os.utime(place.folder / "jobs.fact", (NOW - 400_000, NOW - 400_000))
    assert ids(place, received) == ["JOB_OVERDUE"]


def test_what_backups_say_is_told_as_well_and_as_it_is_now(
    place: Place, receiver: int, received: list[Request]
) -> None:
    place.webhook = hook(f"http://{LOOPBACK}:{receiver}/")
    failing = {
        "id": "BACKUP_ARCHIVE_FAILING",
        "summary": "The last attempt to archive WAL failed 3 minutes ago.",
        "evidence": "",
    }
    place.backup("full")
    place.backup("watch", 60, failing)
    assert ids(place, received) == ["BACKUP_ARCHIVE_FAILING"]
    # Another job found the same this morning; now it is over.
    place.last("expiry", "found", report("BACKUP_ARCHIVE_FAILING", host="app1", summary=failing["summary"]))
    assert ids(place, received) == []
    place.backup("watch")
    place.tell()
    assert [one["id"] for one in json.loads(received[-1].body)["gone"]] == ["BACKUP_ARCHIVE_FAILING"]


# ----- as a host has it


def test_the_program_as_hosts_have_it_and_its_secrets(
    tmp_path: Path, place: Place, receiver: int, received: list[Request]
) -> None:
    place.last("expiry", "found", disk(), ago=NOW - time.time() + 60)
    url = f"http://{LOOPBACK}:{receiver}/services/T0/secret-of-the-url"
    place.webhook = hook(url, "slack", token=TOKEN)
    place.mail = to(free_port(), user=LOGIN[0], password=LOGIN[1])
    host = Host(tmp_path / "host")
    given = {key: value for key, value in place.request().items() if key != "memory"}
    ran = host.run("delivery", given)
    assert (ran.code, ran.ids) == (3, ["JOB_DELIVERY"]), ran.output
    assert len(received) == 1
    kept = {path.name: path.read_text() for path in host.state.iterdir()}
    assert "delivered.json" in kept
    for secret in (TOKEN, LOGIN[1], "secret-of-the-url"):
        assert secret not in ran.output
        assert not [name for name, text in kept.items() if secret in text]
    process = host.start("run", "delivery")
    with contextlib.suppress(FileNotFoundError):
        seen = Path(f"/proc/{process.pid}/cmdline").read_bytes() + Path(f"/proc/{process.pid}/environ").read_bytes()
        assert b"swordfish" not in seen
    process.communicate(timeout=60)
    assert len(received) == 1, "and nobody is told twice"
