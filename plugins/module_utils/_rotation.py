# Copyright (c) 2026 the mlops.mlflow maintainers
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Replacing credentials one step after the other: which step is next, from what is found. Pure.

Nothing is remembered but in the file of secrets: a journal per kind of credential stands there while that kind is being replaced, written
in the same step as the secrets themselves. Whatever ended a run, the next one looks again and goes on.

A rotation has a part before the servers were restarted and one after; between both they get what the file says.
"""

from __future__ import annotations

import datetime
import hashlib
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any
from urllib.parse import unquote, urlsplit

from ansible_collections.mlops.mlflow.plugins.module_utils._findings import render, report

STORAGE, MAINTENANCE, DATABASE, SESSION = "storage", "maintenance", "database", "session"
# Of the steps these two are nobody's work here: the servers are to be restarted, and nothing is left to do.
SWITCH, DONE = "switch", "done"


@dataclass(frozen=True)
class Step:
    """What is to be done next; a refusal in its place is a finding's id with what is wrong."""

    name: str
    key_id: str = ""
    seconds: int = 0
    finding: str = ""
    problem: str = ""
    fix: str = ""


def _refuse(finding: str, problem: str, fix: str = "") -> Step:
    return Step("refuse", finding=finding, problem=problem, fix=fix)


_LATE = (
    "Run the playbook again when the run has ended. If it says so again, mlflow_maintenance_access_key_id names that key: remove it from "
    "the inventory. The credential from before stays valid until then"
)


def storage(
    *,
    journal: Mapping[str, Any],
    key_id: str,
    keys: Iterable[Mapping[str, Any]],
    in_use: Iterable[str] | None,
    jobs: Iterable[Mapping[str, Any]] = (),
    now: float,
    overlap: int,
    wait: int,
) -> Step:
    """Return the next step with the access keys of one of the store's users, be it the servers' or maintenance's.

    Args:
        journal: `old`, the key that is to go; `switched` and `deactivated`, when that was; empty when nothing has begun.
        key_id: the key that the file of secrets holds.
        keys: the user's keys in the store, each with `id` and `active`.
        in_use: the keys with which servers run, as far as they are this user's; none given before they were restarted.
        jobs: jobs of maintenance, each with `name` and the `key_id` that it has. They may be another user's: what counts is the old key.
        now: the time, in seconds.
        overlap: how long the old key stays valid after the switch, for URLs that were signed with it.
        wait: how long it stays deactivated before it is deleted, so that it can be brought back.
    """
    active = {str(key["id"]): bool(key["active"]) for key in keys}
    if not active.get(key_id, False) and (journal or in_use is None):
        return _refuse("CREDENTIAL_KEY", f"the user has no active access key {key_id}")
    if not journal:
        if in_use is not None:
            return Step(DONE)
        others = sorted(set(active) - {key_id})
        if others:
            return _refuse("CREDENTIAL_SECOND_KEY", f"beside {key_id} the user has {', '.join(others)}")
        return Step("begin", key_id)
    old = str(journal["old"])
    if key_id == old:
        # Made by a run that ended before it had written the secret: nobody knows that any more.
        lost = sorted(set(active) - {old})
        return Step("discard", lost[0]) if lost else Step("create")
    if in_use is None:
        return Step(SWITCH)
    if strangers := sorted(set(in_use) - {key_id}):
        return _refuse("CREDENTIAL_IN_USE", f"servers run with {', '.join(strangers)}, and the new key is {key_id}")
    if late := sorted({str(job["name"]) for job in jobs if job["key_id"] == old}):
        return _refuse("CREDENTIAL_IN_USE", f"{', '.join(late)} still uses {old}, and the new key is {key_id}", _LATE)
    if old not in active:
        return Step("end")
    if active[old]:
        if overlap and "switched" not in journal:
            return Step("note")
        left = _left(journal.get("switched", 0), overlap, now)
        return Step("wait", seconds=left) if left else Step("deactivate", old)
    if "deactivated" not in journal:
        return Step("deactivate", old)
    left = _left(journal["deactivated"], wait, now)
    return Step("wait", seconds=left) if left else Step("delete", old)


def _left(since: Any, seconds: int, now: float) -> int:
    """Return how many seconds are left, never more than the whole: a clock may have been set back."""
    return min(max(0, int(since) + seconds - int(now)), seconds)


def database(*, journal: Mapping[str, Any], slot: str, in_use: Iterable[str] | None, login: str, applied: bool) -> Step:
    """Return the next step with the passwords of the database's logins.

    Args:
        journal: `to`, the slot that is to serve; `revoked` once the file holds another password for the login from before.
        slot: the slot that the file of secrets or the default says.
        in_use: the logins with which servers run; none given before they were restarted.
        login: the login of that slot.
        applied: whether PostgreSQL got what the file holds after that was written.
    """
    if not journal:
        return Step("begin", "b" if slot == "a" else "a") if in_use is None else Step(DONE)
    if in_use is None:
        return Step(SWITCH)
    if strangers := sorted(set(in_use) - {login}):
        return _refuse("CREDENTIAL_IN_USE", f"servers log in as {', '.join(strangers)}, and the new login is {login}")
    if not journal.get("revoked"):
        return Step("revoke", "b" if journal["to"] == "a" else "a")
    return Step("end" if applied else "apply")


def session(*, journal: Mapping[str, Any], key: str, in_use: Iterable[str] | None) -> Step:
    """Return the next step with the key of sessions and forms.

    Args:
        journal: not empty while the key is being replaced.
        key: digest of the key that the file of secrets holds.
        in_use: digests of the keys with which servers run; none given before they were restarted.
    """
    if not journal:
        return Step("begin") if in_use is None else Step(DONE)
    if in_use is None:
        return Step(SWITCH)
    if set(in_use) - {key}:
        return _refuse("CREDENTIAL_IN_USE", "servers run with another mlflow_flask_secret_key than the new one")
    return Step("end")


_STEPS: Mapping[str, Callable[..., Step]] = {
    STORAGE: storage,
    MAINTENANCE: storage,
    DATABASE: database,
    SESSION: session,
}


def rotation_step(kind: str, seen: Mapping[str, Any], host: str) -> dict[str, Any]:
    """Return the next step of one kind as a dictionary; `refusal` is the sentence if nothing can be done."""
    step = _STEPS[kind](**seen)
    refusal = (
        render(step.finding, host=host, variable=step.problem, fix=step.fix, promise=False) if step.finding else ""
    )
    return {**asdict(step), "refusal": refusal}


# ----- what servers run with

_VALUE = re.compile(r'^(\w+)="((?:[^"\\]|\\.)*)"$', re.M | re.S)


def digest(secret: str) -> str:
    """Return what tells whether two secrets are the same."""
    return hashlib.sha256(secret.encode()).hexdigest()


def credentials_in_use(environment: str) -> dict[str, str]:
    """Return which credentials an environment file of a server holds: key, login, and the digest of the session's key.

    Args:
        environment: the file's text, with every value in double quotes as systemd reads them.
    """
    values = {name: re.sub(r'\\(["\\`$])', r"\1", value) for name, value in _VALUE.findall(environment)}
    uri = urlsplit(values.get("MLFLOW_BACKEND_STORE_URI", ""))
    return {
        STORAGE: values.get("AWS_ACCESS_KEY_ID", ""),
        DATABASE: unquote(uri.netloc.rpartition("@")[0].partition(":")[0]),
        SESSION: digest(values.get("MLFLOW_FLASK_SERVER_SECRET_KEY", "")),
    }


# ----- where they are kept


def credential_places(
    hostvars: Mapping[str, Mapping[str, Any]],
    hosts: Iterable[str],
    held: Mapping[str, Any],
    names: Iterable[str],
    *,
    optional: Sequence[str] = (),
    unset: Sequence[str] = (),
    file: str,
) -> list[str]:
    """Return a sentence for each variable that the rotation could not replace.

    Args:
        hostvars: the variables of all hosts.
        hosts: those whose variables count.
        held: what the file of secrets holds.
        names: what will be replaced; each has to come from the file.
        optional: those of them that nobody has to set yet.
        unset: what would win over them and must not be set at all.
        file: the file of secrets.
    """
    hosts = list(hosts)
    problems: dict[tuple[str, str], list[str]] = {}
    for host in hosts:
        variables = hostvars[host]
        for name in names:
            if name not in held:
                if name in variables:
                    problems.setdefault(("is set by the inventory and is not in the file of secrets", name), []).append(
                        host
                    )
                elif name not in optional:
                    problems.setdefault(("is set nowhere", name), []).append(host)
            elif not _same(variables, name, held[name]):
                problems.setdefault(("has another value than the file of secrets", name), []).append(host)
        for name in unset:
            if name in variables:
                problems.setdefault(("is set, and would win over what the rotation writes", name), []).append(host)
    return [
        render("CREDENTIAL_PLACE", host=", ".join(of), variable=f"{name} {said}", fix=_fix(said, name, file))
        for (said, name), of in problems.items()
    ]


def _same(variables: Mapping[str, Any], name: str, value: Any) -> bool:
    try:
        return bool(str(variables[name]) == str(value))
    except Exception:  # whatever a template of the user's raises: it is not what the file says
        return False


def _fix(said: str, name: str, file: str) -> str:
    if said.startswith("is set nowhere"):
        return "Run the playbook mlops.mlflow.secrets"
    if said.startswith("is set, and"):
        return f"Remove {name} from the inventory"
    return (
        f"Write it into {file} (ansible-vault edit) and remove it everywhere else, or leave this kind out of "
        "mlflow_rotation_credentials and replace it where it is kept"
    )


# ----- how old they are


def days_old(day: Any, today: datetime.date) -> int | None:
    """Return the days since a day or time in ISO 8601; nothing if it is none."""
    try:
        return (today - datetime.date.fromisoformat(str(day)[:10])).days
    except ValueError:
        return None


def credential_ages(
    days: Mapping[str, Any],
    names: Iterable[str],
    limit: int,
    host: str,
    today: str,
    variable: str = "mlflow_rotation_age_limit_days",
) -> list[dict[str, str]]:
    """Return a finding for each credential that is older than the limit, or whose age nobody knows.

    Args:
        days: by name, the day on which it was written.
        names: the credentials that count.
        limit: days.
        host: how findings call the environment.
        today: the day, in ISO 8601.
        variable: what sets the limit.
    """
    findings = []
    for name in names:
        age = days_old(days.get(name), datetime.date.fromisoformat(today))
        if age is None:
            findings.append(report("CREDENTIAL_AGE_UNKNOWN", host=host, summary=f"{name} has an unknown age."))
        elif age > limit:
            summary = f"{name} is {age} days old, and {variable}={limit}."
            findings.append(report("CREDENTIAL_AGE", host=host, summary=summary))
    return findings


def due(days: Mapping[str, Any], kinds: Mapping[str, Iterable[str]], minimum: int, today: str) -> list[str]:
    """Return the kinds of which a credential is at least `minimum` days old, or of unknown age."""
    day = datetime.date.fromisoformat(today)
    ages = {kind: [days_old(days.get(name), day) for name in names] for kind, names in kinds.items()}
    return [kind for kind, known in ages.items() if any(age is None or age >= minimum for age in known)]
