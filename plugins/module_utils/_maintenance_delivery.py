# Copyright (c) 2026 the mlops.mlflow maintainers
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What is wrong on a host is brought to people, by mail and by webhook: when it begins, when it is over, and now and then while it lasts.

It is a job of its own that looks at what the others left, so whatever becomes of a delivery, no other job fails with it.
"""

from __future__ import annotations

import contextlib
import email.message
import email.utils
import hashlib
import json
import os
import re
import smtplib
import ssl
import urllib.error
import urllib.request
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ansible_collections.mlops.mlflow.plugins.module_utils import _maintenance_backups as backups
from ansible_collections.mlops.mlflow.plugins.module_utils._artifact_objects import words
from ansible_collections.mlops.mlflow.plugins.module_utils._findings import report
from ansible_collections.mlops.mlflow.plugins.module_utils._maintenance import DELIVERY, stamp, told
from ansible_collections.mlops.mlflow.plugins.module_utils._maintenance_job import LAST, RUNNING, Notes, Result, Say

ALERTMANAGER = "alertmanager"
_SECONDS = 30
_DAY = 86400.0
# An alert that is not sent again counts as over after this: three runs of the job.
_ALERT_SECONDS = 3 * 3600 + 1800
# What changes from day to day without anything having changed: "ends in 20 days", "12.3 GB free". Not the figure in "/srv/data2".
_CHANGING = re.compile(
    r"(?<![\w/.:-])\d[\d.,]*(?: ?(?:%|[kMGTP]?i?B|s|min|h|d|seconds?|minutes?|hours?|days?))?(?![\w/-])"
)

Finding = Mapping[str, str]


# ----- what is to be told


def key_of(finding: Finding) -> str:
    """What makes it the same finding as yesterday's."""
    return f"{finding['id']} {finding['host']} {_CHANGING.sub('#', finding['summary'])}"


def keyed(findings: Iterable[Finding]) -> dict[str, Finding]:
    """By key; two that only differ in numbers are still two."""
    found: dict[str, Finding] = {}
    for one in findings:
        key, number = key_of(one), 1
        while f"{key} {number}" in found:
            number += 1
        found[f"{key} {number}"] = one
    return found


@dataclass
class News:
    """What somebody has not been told, or not for long."""

    new: list[Finding] = field(default_factory=list)
    again: list[Finding] = field(default_factory=list)
    gone: list[Finding] = field(default_factory=list)

    def __bool__(self) -> bool:
        """Whether there is anything to say."""
        return bool(self.new or self.again or self.gone)

    def counts(self) -> str:
        """In words."""
        parts = [(self.new, "new"), (self.again, "still there"), (self.gone, "gone")]
        return ", ".join(f"{len(some)} {what}" for some, what in parts if some) or "nothing is wrong"


def plan(
    before: Mapping[str, Mapping[str, Any]], now_there: Mapping[str, Finding], now: float, reminder: float
) -> tuple[News, dict[str, dict[str, Any]]]:
    """Return what is to be said, and what is known to have been said once it was.

    Args:
        before: what was said, by key: `finding`, `first` (since when it is known) and `told` (when it was said last).
        now_there: what is wrong now, by key.
        now: the time.
        reminder: after how many seconds it is said again.
    """
    news, after = News(), {}
    for key, finding in now_there.items():
        known = before.get(key)
        if known is None:
            news.new.append(finding)
            after[key] = {"finding": dict(finding), "first": now, "told": now}
        elif now - known["told"] >= reminder:
            news.again.append(finding)
            after[key] = {"finding": dict(finding), "first": known["first"], "told": now}
        else:
            after[key] = dict(known)
    news.gone = [known["finding"] for key, known in before.items() if key not in now_there]
    return news, after


def lines(news: News, host: str) -> list[str]:
    """For people."""
    said = []
    for some, heading in (
        (news.new, f"New on {host}:"),
        (news.again, f"Still there on {host}:"),
        (news.gone, f"No longer there on {host}:"),
    ):
        if some:
            said += [
                heading,
                *(
                    f"[{one['id']}] {one['host']}: {one['summary']}"
                    + ("" if some is news.gone else f" {one.get('remedy', '')}")
                    for one in some
                ),
                "",
            ]
    return said or [f"What is wrong on {host} is told here from now on. Nothing is wrong.", ""]


# ----- the shapes that receivers want


def _plain(news: News, title: str, text: str, request: Mapping[str, Any]) -> Any:
    known = {"new": news.new, "again": news.again, "gone": news.gone}
    shown = {name: [dict(one) for one in some] for name, some in known.items()}
    return {"title": title, "text": text, "host": request["host"], "environment": request["environment"], **shown}


def _slack(_news: News, title: str, text: str, _request: Mapping[str, Any]) -> Any:
    # The three characters that Slack asks to be escaped.
    whole = f"*{title}*\n{text}".replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    return {"text": whole}


def _teams(_news: News, title: str, text: str, _request: Mapping[str, Any]) -> Any:
    heading = {"type": "TextBlock", "text": title, "weight": "Bolder", "wrap": True}
    body = [{"type": "TextBlock", "text": line, "wrap": True} for line in text.splitlines() if line]
    card = {
        "$schema": "http://adaptivecards.io/schemas/adaptive-card.json",
        "type": "AdaptiveCard",
        "version": "1.2",
        "body": [heading, *body],
    }
    attached = {"contentType": "application/vnd.microsoft.card.adaptive", "contentUrl": None, "content": card}
    return {"type": "message", "attachments": [attached]}


def alerts(
    active: Mapping[str, Mapping[str, Any]], gone: Mapping[str, Mapping[str, Any]], environment: str, now: float
) -> list[dict[str, Any]]:
    """For Alertmanager, which wants each alert again and again while it lasts, and decides itself whom it reminds when."""
    return [
        {
            "labels": {
                "alertname": known["finding"]["id"],
                "severity": known["finding"]["severity"],
                "environment": environment,
                "instance": known["finding"]["host"],
                # Two of one kind on a host are two alerts.
                "finding": hashlib.sha256(key.encode()).hexdigest()[:12],
            },
            "annotations": {
                "summary": known["finding"]["summary"],
                "description": known["finding"].get("remedy", ""),
            },
            "startsAt": stamp(known["first"]),
            "endsAt": stamp(end),
        }
        for some, end in ((active, now + _ALERT_SECONDS), (gone, now))
        for key, known in some.items()
    ]


SHAPES: Mapping[str, Callable[[News, str, str, Mapping[str, Any]], Any]] = {
    "json": _plain,
    "slack": _slack,
    "teams": _teams,
}


# ----- how it gets there


class DeliveryError(Exception):
    """It did not arrive; the message says why, without secrets."""


class PartlyDelivered(DeliveryError):
    """It arrived, but not at everybody."""


def _context(ca_file: str) -> ssl.SSLContext:
    try:
        return ssl.create_default_context(cafile=ca_file or None)
    except OSError as error:
        raise DeliveryError(f"{ca_file}: {words(error)}") from None


def send_mail(mail: Mapping[str, Any], subject: str, text: str) -> None:
    """Hand a mail to a server.

    Args:
        mail: `to`, `from`, `host`, `port`, `security` (starttls, tls or none), `user`, `password`, `ca_file`.
        subject: its subject.
        text: what it says.
    """
    message = email.message.EmailMessage()
    message["From"], message["To"], message["Subject"] = mail["from"], ", ".join(mail["to"]), subject
    message["Date"] = email.utils.localtime()
    message["Message-ID"] = email.utils.make_msgid(domain=str(mail["from"]).rpartition("@")[2] or None)
    # No machine answers, and nobody's holiday is told to us (RFC 3834).
    message["Auto-Submitted"] = "auto-generated"
    message.set_content(text)
    place = (str(mail["host"]), int(mail["port"]))
    try:
        with contextlib.ExitStack() as stack:
            if mail["security"] == "tls":
                server: smtplib.SMTP = smtplib.SMTP_SSL(*place, timeout=_SECONDS, context=_context(mail["ca_file"]))
            else:
                server = smtplib.SMTP(*place, timeout=_SECONDS)
            stack.enter_context(server)
            if mail["security"] == "starttls":
                server.starttls(context=_context(mail["ca_file"]))
            if mail["user"]:
                server.login(mail["user"], mail["password"])
            refused = server.send_message(message)
    except (OSError, smtplib.SMTPException) as error:
        raise DeliveryError(f"{place[0]}:{place[1]}: {type(error).__name__}: {words(error)}") from None
    if refused:
        raise PartlyDelivered(f"{place[0]}:{place[1]} takes no mail for {', '.join(sorted(refused))}")


class _Stay(urllib.request.HTTPRedirectHandler):
    """A redirect would turn what is posted into a question for something else."""

    def redirect_request(self, *_arguments: Any, **_more: Any) -> None:
        """Follow none."""


def post(webhook: Mapping[str, Any], content: Any) -> None:
    """Post JSON.

    Args:
        webhook: `url`, `token` (sent as a bearer's, if there is one), `ca_file`, `proxy`.
        content: what is posted.
    """
    headers = {"Content-Type": "application/json", "User-Agent": "mlops-mlflow"}
    if webhook["token"]:
        headers["Authorization"] = f"Bearer {webhook['token']}"
    proxy = {"http": webhook["proxy"], "https": webhook["proxy"]} if webhook["proxy"] else {}
    opener = urllib.request.build_opener(
        urllib.request.ProxyHandler(proxy),
        urllib.request.HTTPSHandler(context=_context(webhook["ca_file"])),
        _Stay(),
    )
    asked = urllib.request.Request(webhook["url"], json.dumps(content).encode(), headers, method="POST")
    try:
        # The role lets no other scheme through than http and https.
        with opener.open(asked, timeout=_SECONDS) as answer:
            answer.read(1)
    except urllib.error.HTTPError as error:
        with error:
            raise DeliveryError(f"it was answered with {error.code}") from None
    # Whatever a server says that is none of HTTP.
    except Exception as error:
        raise DeliveryError(f"{type(error).__name__}: {words(error)}") from None


# ----- the job


def wrong_now(request: Mapping[str, Any], now: float) -> list[Finding]:
    """What is wrong on this host, as the playbook status would tell it, and what its backups say."""
    host = str(request["host"])
    fact = Path(request["jobs_file"])
    try:
        listed = json.loads(fact.read_text(encoding="utf-8"))["jobs"]
        since = fact.stat().st_mtime
    except (OSError, ValueError, KeyError, TypeError):
        listed, since = [], now
    jobs = []
    for one in listed:
        if one["name"] == DELIVERY:
            continue
        notes = Notes(Path(request["state"]) / one["name"])
        # A unit has its group for as long as one of its processes lives.
        active = Path(request["units"], f"mlflow-maintenance-{one['name']}.service").exists()
        running = notes.read(RUNNING)
        jobs.append(
            {
                **one,
                "since": since,
                "active": active,
                "started": float(running.get("started") or 0),
                "last": notes.read(LAST),
            }
        )
    known = backups.results(Path(request["backups"]))
    # Those that another job passed on may be a day old.
    found: list[Finding] = [one for one in told(host, jobs, now) if not known or not backups.is_ours(one["id"])]
    return found + list(backups.judge(host, known, int(request["backup_hours"]), int(request["drill_days"]), now))


class Memory:
    """What was told to whom."""

    def __init__(self, path: Path) -> None:
        """Take the file."""
        self._path = path
        try:
            found = json.loads(path.read_text(encoding="utf-8"))
        except (OSError, ValueError):
            found = {}
        self._known: dict[str, Any] = found if isinstance(found, dict) else {}

    def of(self, channel: str, target: str) -> dict[str, dict[str, Any]] | None:
        """What was told there; nothing if it is new, or another one than before."""
        known = self._known.get(channel) or {}
        return known["told"] if known.get("target") == _digest(target) else None

    def keep(self, channel: str, target: str, told_: Mapping[str, Any]) -> None:
        """Remember, on the disk."""
        self._known[channel] = {"target": _digest(target), "told": told_}
        fresh = self._path.with_name(f".{self._path.name}.new")
        with fresh.open("w", encoding="utf-8") as file:
            json.dump(self._known, file, sort_keys=True)
            file.flush()
            os.fsync(file.fileno())
        fresh.replace(self._path)


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def work(request: Mapping[str, Any], say: Say, *, now: float) -> Result:
    """Do the job.

    Args:
        request: `host`, `environment`, `reminder_days`; `jobs_file`, `state`, `units` and `backups`, where this host says how its jobs are;
            `backup_hours`, `drill_days`; `memory`, the file of what was told; `mail` and `webhook`, empty where there is none.
        say: how it tells what it does.
        now: the time.
    """
    host, reminder = str(request["host"]), int(request["reminder_days"]) * _DAY
    there = keyed(wrong_now(request, now))
    memory = Memory(Path(request["memory"]))
    done: dict[str, str] = {}
    findings = []
    for channel, target, send in _channels(request, now):
        before = memory.of(channel, target)
        news, after = plan(before or {}, there, now, reminder)
        ended = {key: known for key, known in (before or {}).items() if key not in there}
        say(f"Telling by {channel}: {news.counts()}")
        try:
            done[channel] = send(news, after, ended, before is None)
            memory.keep(channel, target, after)
        except DeliveryError as error:
            done[channel], what_now = "failed", "the next run tries again"
            if isinstance(error, PartlyDelivered):
                # Whoever was told is not told the same in each run.
                memory.keep(channel, target, after)
                done[channel], what_now = "not to everybody", "the others were told"
            findings.append(
                report(
                    "JOB_DELIVERY",
                    host=host,
                    summary=f"What is wrong on this host could not be told by {channel}: {error}.",
                    evidence=f"{news.counts()}; {what_now}",
                )
            )
    said = ", ".join(f"{channel}: {what}" for channel, what in done.items())
    return Result(
        f"{len(there)} things are wrong on this host; {said or 'nobody is told'}.", {"channels": done}, findings
    )


Send = Callable[[News, Mapping[str, Any], Mapping[str, Any], bool], str]


def _channels(request: Mapping[str, Any], now: float) -> Sequence[tuple[str, str, Send]]:
    """Each way to tell somebody: its name, whom it reaches, and what it does with news."""
    host, environment = str(request["host"]), str(request["environment"])
    mail, webhook = request["mail"], request["webhook"]

    def words_of(news: News) -> tuple[str, str]:
        text = "\n".join([*lines(news, host), "The playbook mlops.mlflow.status tells the rest."])
        return f"[mlflow {environment}] {host}: {news.counts()}", text

    def by_mail(news: News, _after: Mapping[str, Any], _ended: Mapping[str, Any], first: bool) -> str:
        if not news and not first:
            return "nothing new"
        subject, text = words_of(news)
        send_mail(mail, subject, text)
        return news.counts()

    def by_webhook(news: News, after: Mapping[str, Any], ended: Mapping[str, Any], first: bool) -> str:
        if webhook["format"] == ALERTMANAGER:
            if after or ended or first:
                post(webhook, alerts(after, ended, environment, now))
            return f"{len(after)} alerts"
        if not news and not first:
            return "nothing new"
        post(webhook, SHAPES[webhook["format"]](news, *words_of(news), request))
        return news.counts()

    found: list[tuple[str, str, Send]] = []
    if mail:
        found.append(("mail", " ".join([str(mail["host"]), *mail["to"]]), by_mail))
    if webhook:
        found.append(("webhook", f"{webhook['format']} {webhook['url']}", by_webhook))
    return found
