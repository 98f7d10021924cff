"""Which step of a rotation is next: a small world is killed after each of its changes, and the next run brings it to its end."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from jinja2 import Environment, FileSystemLoader

from ansible_collections.mlops.mlflow.plugins.module_utils import _rotation
from ansible_collections.mlops.mlflow.tests.unit.support.playbook import ROOT

NEVER = 1000


class Killed(Exception):
    """The run ended in the middle."""


@dataclass
class World:
    """What a rotation changes, and what must be true after every change."""

    left: int = NEVER
    changes: list[str] = field(default_factory=list)
    journal: dict[str, Any] = field(default_factory=dict)

    def change(self, what: str) -> None:
        """Count one change that just happened."""
        self.changes.append(what)
        self.check()
        self.left -= 1
        if self.left == 0:
            raise Killed

    def check(self) -> None:
        """Fail if a server could not work any more."""

    def run(self) -> None:
        """Do what the playbook does."""
        raise NotImplementedError


@dataclass
class Storage(World):
    """A store with its user's keys, the file of secrets and two servers."""

    overlap: int = 0
    keys: dict[str, bool] = field(default_factory=lambda: {"first": True})
    file: str = "first"
    servers: list[str] = field(default_factory=lambda: ["first", "first"])
    job: str = "first"
    clock: float = 1_000_000
    made: Iterator[int] = field(default_factory=lambda: itertools.count(2))

    def check(self) -> None:
        asked = [*self.servers, self.job]
        assert all(self.keys.get(key) for key in asked), (self.changes, self.keys, asked)

    def step(self, in_use: list[str] | None) -> _rotation.Step:
        return _rotation.storage(
            journal=self.journal,
            key_id=self.file,
            keys=[{"id": name, "active": active} for name, active in self.keys.items()],
            in_use=in_use,
            jobs=[{"name": "gc", "key_id": self.job}],
            now=self.clock,
            overlap=self.overlap,
            wait=300,
        )

    def run(self) -> None:
        self._until("switch", lambda: None)
        for number in range(len(self.servers)):
            self.servers[number] = self.file
            self.change("switch")
        self.job = self.file
        self.change("tell")
        self._until("done", lambda: self.servers)

    def _until(self, last: str, in_use: Callable[[], list[str] | None]) -> None:
        while (step := self.step(in_use())).name != last:
            assert step.name != "refuse", step
            getattr(self, step.name)(step)

    def begin(self, step: _rotation.Step) -> None:
        self.journal = {"old": step.key_id}
        self.change("begin")

    def discard(self, step: _rotation.Step) -> None:
        del self.keys[step.key_id]
        self.change("discard")

    def create(self, _step: _rotation.Step) -> None:
        made = f"key {next(self.made)}"
        self.keys[made] = True
        self.change("create")
        self.file = made
        self.change("write")

    def note(self, _step: _rotation.Step) -> None:
        self.journal["switched"] = self.clock
        self.change("note")

    def wait(self, step: _rotation.Step) -> None:
        assert 0 < step.seconds <= max(300, self.overlap)
        self.clock += step.seconds

    def deactivate(self, step: _rotation.Step) -> None:
        assert "switched" not in self.journal or self.clock >= self.journal["switched"] + self.overlap
        self.keys[step.key_id] = False
        self.change("deactivate")
        self.journal["deactivated"] = self.clock
        self.change("note")

    def delete(self, step: _rotation.Step) -> None:
        assert self.clock >= self.journal["deactivated"] + 300
        del self.keys[step.key_id]
        self.change("delete")

    def end(self, _step: _rotation.Step) -> None:
        self.journal = {}
        self.change("end")


@dataclass
class Database(World):
    """PostgreSQL with two logins, the file of secrets and two servers; a password is a number."""

    slot: str = "a"
    file: dict[str, int] = field(default_factory=lambda: {"a": 0, "b": 0})
    known: dict[str, int] = field(default_factory=lambda: {"a": 0, "b": 0})
    servers: list[tuple[str, int]] = field(default_factory=lambda: [("a", 0), ("a", 0)])
    made: Iterator[int] = field(default_factory=lambda: itertools.count(1))

    def check(self) -> None:
        assert all(self.known[slot] == password for slot, password in self.servers), self.changes

    def step(self, *, running: bool, applied: bool = False) -> _rotation.Step:
        in_use = [slot for slot, _password in self.servers] if running else None
        return _rotation.database(journal=self.journal, slot=self.slot, in_use=in_use, login=self.slot, applied=applied)

    def apply(self) -> None:
        self.known = dict(self.file)
        self.change("apply")

    def run(self) -> None:
        if (step := self.step(running=False)).name == "begin":
            self.file[step.key_id], self.slot, self.journal = next(self.made), step.key_id, {"to": step.key_id}
            self.change("begin")
        assert self.step(running=False).name == "switch"
        self.apply()
        for number in range(2):
            self.servers[number] = (self.slot, self.file[self.slot])
            self.change("switch")
        if (step := self.step(running=True)).name == "revoke":
            self.file[step.key_id], self.journal = next(self.made), {**self.journal, "revoked": True}
            self.change("revoke")
        assert self.step(running=True).name == "apply"
        self.apply()
        assert self.step(running=True, applied=True).name == "end"
        self.journal = {}
        self.change("end")


@dataclass
class Session(World):
    """A key of sessions in the file and in two servers."""

    file: str = "first"
    servers: list[str] = field(default_factory=lambda: ["first", "first"])

    def run(self) -> None:
        if _rotation.session(journal=self.journal, key=self.file, in_use=None).name == "begin":
            self.file, self.journal = "second", {"begun": True}
            self.change("begin")
        assert _rotation.session(journal=self.journal, key=self.file, in_use=None).name == "switch"
        for number in range(2):
            self.servers[number] = self.file
            self.change("switch")
        assert _rotation.session(journal=self.journal, key=self.file, in_use=self.servers).name == "end"
        self.journal = {}
        self.change("end")


def ended_well(world: World) -> None:
    assert world.journal == {}, world.changes
    if isinstance(world, Storage):
        assert world.file != "first"
        assert world.keys == {world.file: True}, world.changes
        assert set(world.servers) <= {world.file}
        assert world.job == world.file
    elif isinstance(world, Database):
        assert world.known == world.file
        assert 0 not in world.known.values(), "a password from before still opens the database"
        assert world.servers == [(world.slot, world.file[world.slot])] * 2
    elif isinstance(world, Session):
        assert world.servers == ["second"] * 2


def by_jobs_only() -> Storage:
    """The key of maintenance: no server has it."""
    return Storage(servers=[])


WORLDS: list[Callable[[], World]] = [Storage, lambda: Storage(overlap=600), by_jobs_only, Database, Session]


@pytest.mark.parametrize("make", WORLDS)
def test_a_rotation_that_nobody_ends_comes_to_its_end(make: Callable[[], World]) -> None:
    world = make()
    world.run()
    ended_well(world)


@pytest.mark.parametrize("make", WORLDS)
def test_a_rotation_that_was_ended_after_any_change_is_brought_to_its_end(make: Callable[[], World]) -> None:
    whole = make()
    whole.run()
    for first in range(1, len(whole.changes)):
        for second in range(1, len(whole.changes) + 2):
            world = make()
            for left in (first, second, NEVER):
                world.left = left
                try:
                    world.run()
                except Killed:
                    continue
                break
            ended_well(world)


def storage(**changes: Any) -> _rotation.Step:
    seen: dict[str, Any] = {
        "journal": {},
        "key_id": "one",
        "keys": [{"id": "one", "active": True}],
        "in_use": None,
        "now": 100,
        "overlap": 0,
        "wait": 60,
    }
    return _rotation.storage(**{**seen, **changes})


def test_nothing_begins_after_the_restart() -> None:
    assert storage(in_use=["one"]).name == "done"
    assert _rotation.session(journal={}, key="x", in_use=["x"]).name == "done"
    assert _rotation.database(journal={}, slot="a", in_use=["a"], login="a", applied=False).name == "done"


def test_a_clock_that_was_set_back_never_makes_one_wait_longer() -> None:
    keys = [{"id": "one", "active": False}, {"id": "two", "active": True}]
    journal = {"old": "one", "deactivated": 1_000_000}
    step = storage(journal=journal, key_id="two", keys=keys, in_use=["two"])
    assert (step.name, step.seconds) == ("wait", 60)


@pytest.mark.parametrize(
    ("seen", "sentence"),
    [
        ({"keys": []}, "[CREDENTIAL_KEY] app1: the user has no active access key one."),
        ({"keys": [{"id": "one", "active": False}]}, "[CREDENTIAL_KEY] app1: the user has no active access key one."),
        (
            {"keys": [{"id": "one", "active": True}, {"id": "x", "active": False}]},
            "[CREDENTIAL_SECOND_KEY] app1: beside one the user has x.",
        ),
        (
            {"journal": {"old": "zero"}, "in_use": ["one", "zero"]},
            "[CREDENTIAL_IN_USE] app1: servers run with zero, and the new key is one.",
        ),
    ],
)
def test_what_cannot_go_on_is_said(seen: dict[str, Any], sentence: str) -> None:
    whole: dict[str, Any] = {
        "journal": {},
        "key_id": "one",
        "keys": [{"id": "one", "active": True}],
        "in_use": None,
        "now": 1,
        "overlap": 0,
        "wait": 0,
    }
    step = _rotation.rotation_step("storage", {**whole, **seen}, "app1")
    assert step["name"] == "refuse"
    assert step["refusal"].startswith(sentence)
    assert "Nothing was changed" not in step["refusal"]


def test_a_job_with_the_old_key_ends_nothing_and_one_with_another_identity_is_nobodys_business() -> None:
    seen = {
        "journal": {"old": "zero"},
        "key_id": "one",
        "keys": [{"id": "one", "active": True}, {"id": "zero", "active": True}],
        "in_use": [],
        "now": 1,
        "overlap": 0,
        "wait": 0,
    }
    jobs = [{"name": name, "key_id": key} for name, key in (("orphans", "zero"), ("gc", "other"), ("gc", "zero"))]
    said = _rotation.rotation_step("maintenance", {**seen, "jobs": jobs}, "app1")["refusal"]
    assert said.startswith(
        "[CREDENTIAL_IN_USE] app1: gc, orphans still uses zero, and the new key is one. Run the playbook again"
    )
    assert said.endswith("The credential from before stays valid until then.")
    assert _rotation.rotation_step("maintenance", {**seen, "jobs": jobs[1:2]}, "app1")["name"] == "deactivate"


def test_a_server_that_logs_in_as_before_ends_nothing() -> None:
    seen = {
        "journal": {"to": "b"},
        "slot": "b",
        "in_use": ["mlflow_server_a"],
        "login": "mlflow_server_b",
        "applied": False,
    }
    said = _rotation.rotation_step("database", seen, "app1")["refusal"]
    assert said.startswith(
        "[CREDENTIAL_IN_USE] app1: servers log in as mlflow_server_a, and the new login is mlflow_server_b."
    )


def test_servers_that_disagree_about_the_key_of_sessions_are_told() -> None:
    said = _rotation.rotation_step("session", {"journal": {"begun": 1}, "key": "new", "in_use": ["new", "old"]}, "app1")
    assert said["refusal"].startswith("[CREDENTIAL_IN_USE] app1: servers run with another mlflow_flask_secret_key")
    assert "old" not in said["refusal"].split("The credential")[0].removeprefix("[CREDENTIAL_IN_USE] app1: ")


# ----- what servers run with


@given(
    st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0")),
    st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), min_size=1),
)
def test_what_a_server_was_started_with_is_read_back(key: str, secret: str) -> None:
    templates = Environment(loader=FileSystemLoader(ROOT / "roles/mlflow_server/templates"), autoescape=False)
    lines = """{% from '_quote.j2' import quote %}# comment
MLFLOW_BACKEND_STORE_URI={{ quote('postgresql+psycopg2://tracking%5Fblue:p%40%2F@/mlflow?host=%2Frun') }}
AWS_ACCESS_KEY_ID={{ quote(key) }}
MLFLOW_FLASK_SERVER_SECRET_KEY={{ quote(secret) }}
"""
    text = templates.from_string(lines).render(key=key, secret=secret)
    found = _rotation.credentials_in_use(text)
    assert found == {"storage": key, "database": "tracking_blue", "session": _rotation.digest(secret)}


def test_a_server_without_keys_of_a_store_uses_none() -> None:
    assert _rotation.credentials_in_use("")["storage"] == ""


# ----- where they are kept, how old they are


def test_credentials_that_come_from_elsewhere_are_refused_by_their_names() -> None:
    class Broken(dict[str, Any]):
        def __getitem__(self, name: str) -> Any:
            if name == "lookup":
                raise RuntimeError("the vault is sealed")
            return super().__getitem__(name)

    held = {"same": "s3cret", "other": "s3cret", "lookup": "s3cret"}
    hostvars = {
        "app1": Broken(same="s3cret", other="el5e", lookup="x", by_hand="b", role_slot="b"),
        "app2": Broken(same="s3cret", other="s3cret", lookup="x"),
    }
    names = ["same", "other", "lookup", "by_hand", "nowhere"]
    said = _rotation.credential_places(
        hostvars, ["app1", "app2"], held, names, optional=["by_hand"], unset=["role_slot"], file="vault.yml"
    )
    wins = "would win over what the rotation writes. Remove role_slot from the inventory. Nothing was changed."
    elsewhere = "Write it into vault.yml (ansible-vault edit) and remove it everywhere else, or leave this kind out of"
    rest = f"{elsewhere} mlflow_rotation_credentials and replace it where it is kept. Nothing was changed."
    assert said == [
        f"[CREDENTIAL_PLACE] app1: other has another value than the file of secrets. {rest}",
        f"[CREDENTIAL_PLACE] app1, app2: lookup has another value than the file of secrets. {rest}",
        f"[CREDENTIAL_PLACE] app1: by_hand is set by the inventory and is not in the file of secrets. {rest}",
        "[CREDENTIAL_PLACE] app1, app2: nowhere is set nowhere. Run the playbook mlops.mlflow.secrets. Nothing was changed.",
        f"[CREDENTIAL_PLACE] app1: role_slot is set, and {wins}",
    ]


DAYS = {"old": "2026-01-01", "limit": "2026-08-30", "new": "2026-11-27", "odd": "yesterday"}


def test_only_what_is_too_old_or_of_unknown_age_is_a_finding() -> None:
    findings = _rotation.credential_ages(DAYS, [*DAYS, "never"], 90, "prod", "2026-11-28")
    assert [(finding["id"], finding["severity"], finding["summary"]) for finding in findings] == [
        ("CREDENTIAL_AGE", "warning", "old is 331 days old, and mlflow_rotation_age_limit_days=90."),
        ("CREDENTIAL_AGE_UNKNOWN", "info", "odd has an unknown age."),
        ("CREDENTIAL_AGE_UNKNOWN", "info", "never has an unknown age."),
    ]


def test_a_kind_is_due_when_one_of_it_is() -> None:
    kinds = {"a": ["new", "limit"], "b": ["new"], "c": ["never"]}
    assert _rotation.due(DAYS, kinds, 90, "2026-11-28") == ["a", "c"]
    assert _rotation.due(DAYS, kinds, 0, "2026-11-28") == ["a", "b", "c"]
