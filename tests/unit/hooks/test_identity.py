"""Who somebody is, and what follows from the groups; what MLflow makes of it is in test_identity_with_mlflow.py."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
import sqlalchemy
from mlops_mlflow_hooks import identity, start
from mlops_mlflow_hooks.identity import Denied, Known, Person, Remembered, Rules

KEY, ACCOUNTS_KEY = "k" * 32, "a" * 32
CHOSEN = {
    "accounts": ["admin"],
    "reserved": ["admin"],
    "admin_groups": ["admins"],
    "group_roles": {},
    "separator": "\t",
    "seconds": 30,
}
RULES = Rules(key=KEY, reserved=frozenset({"admin"}), admin_groups=frozenset({"admins"}), separator="\t")


def environment(**changes: Any) -> dict[str, str]:
    return {
        "MLOPS_IDENTITY_KEY": KEY,
        "MLOPS_IDENTITY_ACCOUNTS_KEY": ACCOUNTS_KEY,
        "MLOPS_IDENTITY": json.dumps({**CHOSEN, **changes}),
    }


def test_the_rules_are_read() -> None:
    rules = Rules.read(environment(group_roles={"0-1-2": ["readers"]}))
    assert (rules.key, rules.accounts_key, rules.seconds) == (KEY, ACCOUNTS_KEY, 30.0)
    assert rules.accounts == rules.reserved == {"admin"}
    assert rules.roles_of(frozenset({"0-1-2", "others"})) == {"readers"}


def test_without_a_list_each_group_is_the_role_of_its_name() -> None:
    assert RULES.roles_of(frozenset({"readers", "others"})) == {"readers", "others"}


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"MLOPS_IDENTITY_KEY": "short"}, "MLOPS_IDENTITY_KEY must hold the key"),
        ({"MLOPS_IDENTITY_KEY": ""}, "MLOPS_IDENTITY_KEY must hold the key"),
        ({"MLOPS_IDENTITY": "{"}, "does not say who is who"),
        ({"MLOPS_IDENTITY": "{}"}, "does not say who is who"),
        ({"MLOPS_IDENTITY": "[]"}, "does not say who is who"),
        ({"MLOPS_IDENTITY": json.dumps({**CHOSEN, "separator": ""})}, "separator of groups"),
        ({"MLOPS_IDENTITY_ACCOUNTS_KEY": KEY}, "must be another key"),
        ({"MLOPS_IDENTITY_ACCOUNTS_KEY": "short"}, "must be another key"),
    ],
)
def test_rules_that_say_nothing_end_the_start_with_a_sentence(changes: dict[str, str], words: str) -> None:
    with pytest.raises(SystemExit, match=words) as ended:
        Rules.read({**environment(), **changes})
    assert str(ended.value).startswith("mlops: ")
    assert KEY not in str(ended.value)


def test_a_start_without_rules_fails_before_workers_are_made() -> None:
    assert start.identity_problem({}) is None
    assert start.identity_problem(environment()) is None
    said = start.identity_problem({**environment(), "MLOPS_IDENTITY_KEY": "short"})
    assert said == "MLOPS_IDENTITY_KEY must hold the key that servers and edges share, 32 characters or more."


def test_names_and_groups_are_read_as_utf_8() -> None:
    user, groups = ("jörg@example.test".encode().decode("latin-1"), "größe\t a \t\t".encode().decode("latin-1"))
    assert identity.person_of(user, groups, RULES) == Person("jörg@example.test", frozenset({"größe", "a"}))


def test_a_group_with_a_comma_is_one_group() -> None:
    assert identity.person_of("bob", "x,admins\ty", RULES).groups == {"x,admins", "y"}


@pytest.mark.parametrize(
    ("user", "status"),
    [("", 401), ("admin", 403), ("x" * 256, 403), (" bob", 403), ("bob\x7f", 403), ("bob\u200b", 403), ("a\tb", 403)],
)
def test_names_that_cannot_be_are_refused(user: str, status: int) -> None:
    with pytest.raises(Denied) as denied:
        identity.person_of(user.encode().decode("latin-1"), "admins", RULES)
    assert denied.value.status == status


def test_what_is_remembered_ends_with_time_and_with_other_groups() -> None:
    now = [0.0]
    remembered = Remembered(30, clock=lambda: now[0])
    bob = Person("bob", frozenset({"a"}))
    assert not remembered.knows(bob)
    remembered.add(bob)
    assert remembered.knows(bob)
    assert not remembered.knows(Person("bob", frozenset({"a", "b"})))
    now[0] = 30.0
    assert not remembered.knows(bob)


def test_somebody_of_whom_nothing_is_known_is_not_taken_for_somebody_without_groups() -> None:
    assert not Remembered(30, clock=lambda: -5.0).knows(Person("bob", frozenset()))


def test_what_is_remembered_is_bounded() -> None:
    remembered = Remembered(30, size=2)
    people = [Person(name, frozenset()) for name in ("a", "b", "a", "c")]
    for person in people:
        remembered.add(person)
    assert [remembered.knows(person) for person in people] == [True, False, True, True]


def test_what_has_to_change_is_planned() -> None:
    known = Known(7, False, {1: "kept", 2: "left"}, {1: "kept", 3: "new"})
    change = identity.plan(True, known)
    assert (change.admin, change.assign, change.unassign) == (True, (3,), (2,))
    assert not identity.plan(False, Known(7, False, {1: "kept"}, {1: "kept"}))


class Refused(Exception):
    """What the store raises."""


class Store:
    """MLflow's store of users, as far as it is asked, on a database of its own."""

    def __init__(self) -> None:
        self.engine = sqlalchemy.create_engine("sqlite://", poolclass=sqlalchemy.StaticPool)
        self.meanwhile: list[str] = []  # what another worker does before the next change
        self.run(
            "CREATE TABLE users (id INTEGER PRIMARY KEY, username TEXT UNIQUE, is_admin BOOLEAN)",
            "CREATE TABLE roles (id INTEGER PRIMARY KEY, name TEXT)",
            "CREATE TABLE user_role_assignments (user_id INTEGER, role_id INTEGER, UNIQUE (user_id, role_id))",
            "INSERT INTO roles VALUES (1, 'readers'), (2, 'writers'), (3, '__user_1__'), (4, '__user_2__')",
        )

    def run(self, *statements: str) -> None:
        with self.engine.begin() as connection:
            for statement in statements:
                connection.execute(sqlalchemy.text(statement))

    def _write(self, statement: str) -> None:
        if self.meanwhile:
            self.run(self.meanwhile.pop(0))
        try:
            self.run(statement)
        except sqlalchemy.exc.IntegrityError as error:
            raise Refused from error

    def create_user(self, name: str, password: str, is_admin: bool) -> None:
        assert len(password) > 40
        self._write(f"INSERT INTO users (username, is_admin) VALUES ('{name}', {is_admin})")

    def update_user(self, name: str, is_admin: bool) -> None:
        self._write(f"UPDATE users SET is_admin = {is_admin} WHERE username = '{name}'")

    def assign_role_to_user(self, user: int, role: int) -> None:
        self._write(f"INSERT INTO user_role_assignments VALUES ({user}, {role})")

    def unassign_role_from_user(self, user: int, role: int) -> None:
        self._write(f"DELETE FROM user_role_assignments WHERE user_id = {user} AND role_id = {role}")

    @staticmethod
    def _is_synthetic_role_name(name: str) -> bool:
        return name.startswith("__user_")

    def now(self, name: str = "bob") -> tuple[bool, list[str]]:
        with self.engine.connect() as connection:
            admin = connection.scalar(sqlalchemy.text(f"SELECT is_admin FROM users WHERE username = '{name}'"))
            roles = connection.scalars(
                sqlalchemy.text(
                    "SELECT name FROM roles JOIN user_role_assignments ON role_id = roles.id "
                    f"JOIN users ON user_id = users.id WHERE username = '{name}' ORDER BY name"
                )
            )
            return bool(admin), list(roles)


@pytest.fixture
def store() -> Iterator[Store]:
    made = Store()
    yield made
    made.engine.dispose()


def settle(store: Store, *groups: str) -> None:
    identity.settle(Person("bob", frozenset(groups)), RULES, store, Refused)


def test_user_flag_and_roles_follow_the_groups(store: Store) -> None:
    settle(store, "readers", "nothing")
    assert store.now() == (False, ["readers"])
    settle(store, "admins", "writers")
    assert store.now() == (True, ["writers"])
    settle(store)
    assert store.now() == (False, [])


def test_what_was_granted_to_a_user_alone_is_left_alone_and_given_to_nobody(store: Store) -> None:
    settle(store)
    store.run("INSERT INTO user_role_assignments VALUES (1, 3)")
    settle(store, "__user_2__")
    assert store.now() == (False, ["__user_1__"])


@pytest.mark.parametrize(
    "meanwhile",
    [
        "INSERT INTO users (username, is_admin) VALUES ('bob', false)",
        "INSERT INTO users (username, is_admin) VALUES ('bob', true)",
    ],
)
def test_a_user_whom_another_worker_makes_first_is_this_one(store: Store, meanwhile: str) -> None:
    store.meanwhile = [meanwhile]
    settle(store, "readers")
    assert store.now() == (False, ["readers"])


def test_a_role_that_another_worker_gives_first_is_given(store: Store) -> None:
    settle(store)
    store.meanwhile = ["INSERT INTO user_role_assignments VALUES (1, 1)"]
    settle(store, "readers")
    assert store.now() == (False, ["readers"])


def test_a_store_that_refuses_always_is_an_error(store: Store) -> None:
    store.run("CREATE TRIGGER never BEFORE INSERT ON users BEGIN SELECT RAISE(ABORT, 'no'); END")
    with pytest.raises(Refused):
        settle(store)


def test_two_sessions_that_undo_each_other_end_with_an_answer(store: Store) -> None:
    settle(store)
    undo = "UPDATE users SET is_admin = true"
    store.run(f"CREATE TRIGGER undo AFTER UPDATE ON users WHEN NOT new.is_admin BEGIN {undo}; END", undo)
    with pytest.raises(Denied, match="another of your sessions") as denied:
        settle(store)
    assert denied.value.status == 503
