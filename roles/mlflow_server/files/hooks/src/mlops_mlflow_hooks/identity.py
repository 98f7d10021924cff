# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Who asks: what the edge says after its gate let somebody in, as users and roles of MLflow's own.

MLflow calls `authenticate` (its authorization_function) for every request of its Flask and of its native routes, several times for some.
A request is believed only if it carries the key that the edge and the servers share. The edge says one of two things with it:

- the gate's key: X-Forwarded-User and X-Forwarded-Groups are what the gate found. The user is made when first seen, the flag of an
  administrator and the roles follow the groups.
- the accounts' key: somebody uses the path for accounts with passwords. MLflow's own login decides, for the accounts that were named.

Everything that is decided stands in MLflow's database, which all workers of all nodes share; a worker remembers only that it has looked.
"""

from __future__ import annotations

import functools
import hmac
import json
import logging
import os
import secrets
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import sqlalchemy

from mlops_mlflow_hooks._reliance import Unsupported, relied_on

RULES, KEY, ACCOUNTS_KEY = "MLOPS_IDENTITY", "MLOPS_IDENTITY_KEY", "MLOPS_IDENTITY_ACCOUNTS_KEY"
# Made by MLflow where jobs run; they call its gateway with it, past the edge.
JOBS_KEY = "_MLFLOW_INTERNAL_GATEWAY_AUTH_TOKEN"

PROOF, USER, GROUPS = "X-Proxy-Key", "X-Forwarded-User", "X-Forwarded-Groups"
# What MLflow's table of users takes.
NAME_LENGTH = 255
REMEMBERED = 10000
# How often a change is tried anew when another worker makes the same one.
ATTEMPTS = 4
OF_STORE = (
    "engine",
    "create_user",
    "update_user",
    "assign_role_to_user",
    "unassign_role_from_user",
    "_is_synthetic_role_name",
)

_logger = logging.getLogger("mlflow.mlops")


class Denied(Exception):
    """The request gets this answer instead of an identity."""

    def __init__(self, status: int, sentence: str) -> None:
        super().__init__(sentence)
        self.status = status


@dataclass(frozen=True)
class Rules:
    """What was chosen for the environment."""

    key: str
    accounts_key: str = ""  # empty: there is no path for accounts with passwords
    accounts: frozenset[str] = frozenset()  # who may use it
    reserved: frozenset[str] = frozenset()  # names that nobody has by way of the gate
    admin_groups: frozenset[str] = frozenset()
    group_roles: Mapping[str, tuple[str, ...]] = field(
        default_factory=dict
    )  # empty: each group stands for the role of its name
    separator: str = ","
    seconds: float = 30.0

    @classmethod
    def read(cls, environment: Mapping[str, str]) -> Rules:
        """Read them, or end the start with a sentence."""
        key = environment.get(KEY, "")
        if len(key) < 32:
            raise SystemExit(f"mlops: {KEY} must hold the key that servers and edges share, 32 characters or more.")
        try:
            chosen = json.loads(environment.get(RULES, ""))
            rules = cls(
                key=key,
                accounts_key=environment.get(ACCOUNTS_KEY, ""),
                accounts=frozenset(chosen["accounts"]),
                reserved=frozenset(chosen["reserved"]),
                admin_groups=frozenset(chosen["admin_groups"]),
                group_roles={group: tuple(roles) for group, roles in chosen["group_roles"].items()},
                separator=chosen["separator"],
                seconds=float(chosen["seconds"]),
            )
        except (ValueError, TypeError, KeyError, AttributeError) as error:
            raise SystemExit(
                f"mlops: {RULES} does not say who is who ({type(error).__name__}: {error}). The role mlflow_server writes it."
            ) from error
        if rules.accounts_key and (len(rules.accounts_key) < 32 or rules.accounts_key == key):
            raise SystemExit(f"mlops: {ACCOUNTS_KEY} must be another key than {KEY}, 32 characters or more.")
        if not rules.separator:
            raise SystemExit(f"mlops: the separator of groups in {RULES} is empty.")
        return rules

    def roles_of(self, groups: frozenset[str]) -> frozenset[str]:
        """Name the roles that somebody in these groups has."""
        if not self.group_roles:
            return groups
        return frozenset(role for group in groups for role in self.group_roles.get(group, ()))


@dataclass(frozen=True)
class Person:
    """Whom the gate let in."""

    name: str
    groups: frozenset[str]


@dataclass(frozen=True)
class Change:
    """What has to be done to what MLflow knows of somebody."""

    admin: bool | None  # None: it is as it should be
    assign: tuple[int, ...]
    unassign: tuple[int, ...]

    def __bool__(self) -> bool:
        return self.admin is not None or bool(self.assign or self.unassign)


def same(one: str, other: str) -> bool:
    """Compare two secrets in a time that says nothing about where they differ."""
    return hmac.compare_digest(one.encode("utf-8", "surrogatepass"), other.encode("utf-8", "surrogatepass"))


def text(header: str) -> str:
    """Read a header: servers hand its bytes over as if they were Latin-1, and they are UTF-8."""
    try:
        return header.encode("latin-1").decode("utf-8")
    except UnicodeError:
        return header


def person_of(user: str, groups: str, rules: Rules) -> Person:
    """Read what the edge says about somebody, or refuse."""
    name = text(user)
    if not name:
        raise Denied(401, "You are not logged in.")
    if len(name) > NAME_LENGTH or not name.isprintable() or name != name.strip():
        raise Denied(403, "The identity provider gave you a name that MLflow cannot have as a user's.")
    if name in rules.reserved:
        raise Denied(
            403,
            f"The name {name} belongs to an account of MLflow's own, and nobody gets it from the identity provider.",
        )
    parts = (part.strip() for part in text(groups).split(rules.separator))
    return Person(name, frozenset(part for part in parts if part))


class Remembered:
    """Whom this worker has settled lately, with which groups: bounded in number and in time."""

    def __init__(self, seconds: float, clock: Callable[[], float] = time.monotonic, size: int = REMEMBERED) -> None:
        self._seconds = seconds
        self._clock = clock
        self._size = size
        self._until: OrderedDict[str, tuple[frozenset[str], float]] = OrderedDict()
        self._lock = threading.Lock()

    def knows(self, person: Person) -> bool:
        """Tell whether somebody was settled with exactly these groups, and not long ago."""
        with self._lock:
            groups, until = self._until.get(person.name, (None, 0.0))
            return groups == person.groups and self._clock() < until

    def add(self, person: Person) -> None:
        """Remember somebody; the one who was added longest ago makes room."""
        with self._lock:
            self._until[person.name] = (person.groups, self._clock() + self._seconds)
            self._until.move_to_end(person.name)
            while len(self._until) > self._size:
                self._until.popitem(last=False)


@dataclass(frozen=True)
class Known:
    """What MLflow's database says about somebody."""

    number: int
    is_admin: bool
    assigned: Mapping[
        int, str
    ]  # roles that the user has, without the one that holds what was granted to this user alone
    offered: Mapping[int, str]  # roles that the groups stand for, of those that exist


def look(store: Any, name: str, roles: frozenset[str]) -> Known | None:
    """Read it; None is nobody. MLflow's own functions would load every role of everybody, with all that is granted to it."""
    own = store._is_synthetic_role_name
    with store.engine.connect() as connection:
        user = connection.execute(_USER, {"name": name}).first()
        if user is None:
            return None
        assigned = {row.id: row.name for row in connection.execute(_ASSIGNED, {"user": user.id})}
        offered = {row.id: row.name for row in connection.execute(_OFFERED, {"names": sorted(roles)})} if roles else {}
    return Known(
        user.id,
        bool(user.is_admin),
        {number: role for number, role in assigned.items() if not own(role)},
        {number: role for number, role in offered.items() if not own(role)},
    )


_USER = sqlalchemy.text("SELECT id, is_admin FROM users WHERE username = :name")
_ASSIGNED = sqlalchemy.text(
    "SELECT roles.id, roles.name FROM roles JOIN user_role_assignments ON user_role_assignments.role_id = roles.id "
    "WHERE user_role_assignments.user_id = :user"
)
_OFFERED = sqlalchemy.text("SELECT id, name FROM roles WHERE name IN :names").bindparams(
    sqlalchemy.bindparam("names", expanding=True)
)


def plan(wanted_admin: bool, known: Known) -> Change:
    """Compare what somebody has with what the groups say."""
    return Change(
        admin=None if known.is_admin is wanted_admin else wanted_admin,
        assign=tuple(sorted(known.offered.keys() - known.assigned.keys())),
        unassign=tuple(sorted(known.assigned.keys() - known.offered.keys())),
    )


def settle(person: Person, rules: Rules, store: Any, refused: type[Exception]) -> None:
    """Let MLflow's database say of somebody what the groups say.

    Other workers may do the same at this moment. What they made first is refused here; so it is looked at again, until nothing differs.
    """
    roles = rules.roles_of(person.groups)
    for attempt in range(ATTEMPTS):
        known = look(store, person.name, roles)
        try:
            if known is None:
                # Nobody has this password, and nobody can get it: only the gate speaks for this user.
                store.create_user(person.name, secrets.token_urlsafe(48), is_admin=False)
                _logger.info("Made the user %s, who came by way of the gate.", person.name)
                continue
            change = plan(bool(person.groups & rules.admin_groups), known)
            if not change:
                return
            _apply(change, known, person, store)
        except refused:
            if attempt == ATTEMPTS - 1:
                raise
            time.sleep(0.02 * (attempt + 1))
    raise Denied(503, "What you may do is being changed at this moment by another of your sessions. Try again.")


def _apply(change: Change, known: Known, person: Person, store: Any) -> None:
    if change.admin is not None:
        store.update_user(person.name, is_admin=change.admin)
    # Rights are taken before others are given.
    for number in change.unassign:
        store.unassign_role_from_user(known.number, number)
    for number in change.assign:
        store.assign_role_to_user(known.number, number)
    _logger.info(
        "The groups of %s changed what this user may do: administrator %s, roles given %s, roles taken %s.",
        person.name,
        "as before" if change.admin is None else change.admin,
        [known.offered[number] for number in change.assign],
        [known.assigned[number] for number in change.unassign],
    )


class Identity:
    """The function, with what it remembers."""

    def __init__(self, rules: Rules) -> None:
        self.rules = rules
        self.remembered = Remembered(rules.seconds)
        self._auth = relied_on("mlflow.server.auth", "store", "authenticate_request_basic_auth")
        if missing := [name for name in OF_STORE if not hasattr(self._auth.store, name)]:
            raise Unsupported(
                f"This version of MLflow has no {', '.join(missing)} in its store of users. Use one that is supported."
            )
        self._exception = relied_on("mlflow.exceptions", "MlflowException").MlflowException
        self._flask = relied_on("flask", "request", "make_response")
        self._authorization = relied_on("werkzeug.datastructures", "Authorization").Authorization

    def authenticate(self) -> Any:
        """Return who asks, or the answer that refuses."""
        request = self._flask.request
        proof = request.headers.get(PROOF, "")
        try:
            if self.rules.accounts_key and same(proof, self.rules.accounts_key):
                return self._account(request)
            if not same(proof, self.rules.key):
                return self._job(request)
            person = person_of(request.headers.get(USER, ""), request.headers.get(GROUPS, ""), self.rules)
            if not self.remembered.knows(person):
                settle(person, self.rules, self._auth.store, self._exception)
                self.remembered.add(person)
        except Denied as denied:
            return self._answer(denied)
        except sqlalchemy.exc.SQLAlchemyError as error:
            _logger.warning(
                "Nobody can be let in, the database of users does not answer: %s", " ".join(str(error).split())[:500]
            )
            return self._answer(Denied(503, "Nobody can be let in at this moment. Try again."))
        return self._authorized(person.name)

    def _account(self, request: Any) -> Any:
        """Let MLflow's own login decide, for the accounts that may use it at all; the others get the answer to a wrong password."""
        given = request.authorization
        if given is not None and given.username not in self.rules.accounts:
            _logger.warning("Refused a login by password: %r is not in mlflow_oidc_password_accounts.", given.username)
            response = self._answer(
                Denied(401, "The password is wrong, or the account is none that logs in by password.")
            )
            response.headers["WWW-Authenticate"] = 'Basic realm="mlflow"'
            return response
        return self._auth.authenticate_request_basic_auth()

    def _job(self, request: Any) -> Any:
        """Believe a job of MLflow's own, which calls the gateway past the edge as MLflow lets it do with its own login."""
        key = os.environ.get(JOBS_KEY, "")
        header = request.headers.get("X-MLflow-Authorization") or request.headers.get("Authorization")
        given = self._authorization.from_header(header)
        is_basic = given is not None and given.type == "basic"
        if key and is_basic and request.path.startswith("/gateway/") and same(given.password or "", key):
            return self._authorized(given.username or "")
        raise Denied(401, "You are not logged in.")

    def _authorized(self, name: str) -> Any:
        return self._authorization("basic", {"username": name, "password": ""})

    def _answer(self, denied: Denied) -> Any:
        # No challenge: a browser would ask for a password that nobody has.
        response = self._flask.make_response(f"{denied}\n", denied.status)
        response.headers["Content-Type"] = "text/plain; charset=utf-8"
        response.headers["Cache-Control"] = "no-store"
        return response


@functools.cache
def _identity() -> Identity:
    return Identity(Rules.read(os.environ))


def authenticate() -> Any:
    """Answer MLflow, which finds this by its name in the settings of its login."""
    return _identity().authenticate()


def ready() -> None:
    """Read the rules before the first request: what is wrong with them ends the start."""
    _identity()
