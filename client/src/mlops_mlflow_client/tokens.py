"""The token of a process: got when one is needed, renewed before it ends, by one thread at a time.

A job of many hours outlives tokens, restarts of the provider and changes of its secret.
"""

from __future__ import annotations

import contextlib
import logging
import os
import threading
import time
import weakref
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

from .provider import Client, Provider, Refused, Unreachable
from .settings import LOGIN, Login, LoginProblem, Settings, alone, load, save

log = logging.getLogger("mlops_mlflow_client")

MARGIN_SECONDS = 60.0  # before its end a token is renewed; a third of its life if that is less
PAUSE_SECONDS = 5.0  # between attempts while the old token is still good
TRAVEL_SECONDS = 1.0
NEW_SECONDS = 5.0  # a token that is refused at this age will not be better for being another one


@dataclass(frozen=True)
class Token:
    """An access token and its age. What counts is how long it lives, not what hour it is: this machine's clock may be wrong."""

    value: str = field(repr=False)
    lifetime: float | None
    wall: float  # when it came, by the clock that can be set
    ticks: float | None  # and by the one that cannot, if it came into this process

    def age(self, wall: float, ticks: float) -> float:
        """In seconds. A clock that was put back says nothing; a machine that slept is known by its clock only."""
        passed = wall - self.wall
        if self.ticks is None:
            return passed if passed >= 0 else float("inf")
        return max(passed, ticks - self.ticks)

    def remaining(self, wall: float, ticks: float) -> float:
        """Seconds until its end."""
        return float("inf") if self.lifetime is None else self.lifetime - self.age(wall, ticks)

    @property
    def margin(self) -> float:
        """So many seconds before its end there should be another one."""
        return min(MARGIN_SECONDS, (self.lifetime or 0) / 3)

    @property
    def travel(self) -> float:
        """So many seconds before its end it is sent no more: it has to arrive in time."""
        return min(TRAVEL_SECONDS, self.margin / 4)


def lifetime_of(answer: dict[str, Any]) -> float | None:
    """How long a new token lives, if the provider says so."""
    try:
        seconds = float(answer["expires_in"])
    except (KeyError, TypeError, ValueError):
        return None
    return seconds if seconds > 0 else None


def access_token(provider: Provider, answer: dict[str, Any]) -> str:
    """The token of an answer that should hold one."""
    value = answer.get("access_token")
    if not isinstance(value, str) or not value.isascii() or not value.isprintable() or " " in value or not value:
        raise LoginProblem(f"The identity provider {provider.issuer} answers without a token that could be sent.")
    return value


class Tokens:
    """All threads of a process ask here."""

    def __init__(
        self,
        settings: Settings,
        *,
        clock: Callable[[], float] = time.time,
        ticks: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._settings, self._clock, self._ticks, self._sleep = settings, clock, ticks, sleep
        self._token: Token | None = None
        self._providers: dict[tuple[str, str], Provider] = {}
        self._not_before = 0.0
        self._lock = threading.Lock()
        # A child of fork() has none of the threads that could give the lock back.
        reference = weakref.ref(self)

        def forked() -> None:
            if (mine := reference()) is not None:
                mine._lock = threading.Lock()

        os.register_at_fork(after_in_child=forked)

    def _remaining(self, token: Token) -> float:
        return token.remaining(self._clock(), self._ticks())

    def is_new(self, value: str) -> bool:
        """Whether this is the token that is used now, and so young that another one would not be better."""
        token = self._token
        if not token or token.value != value:
            return False
        return token.age(self._clock(), self._ticks()) < min(
            NEW_SECONDS, token.margin if token.lifetime else NEW_SECONDS
        )

    def get(self, refused: str = "") -> str:
        """A token to use now, and not the one that was refused."""
        token = self._token
        left = self._remaining(token) if token and token.value != refused else 0
        if token and left > token.margin:
            return token.value
        lock = self._lock
        # While one thread asks for another token, the rest go on with the old one for as long as it is safe to.
        if not lock.acquire(blocking=not (token and left > token.margin / 2)):
            return token.value if token else ""
        try:
            token = self._token
            if token and token.value != refused:
                left = self._remaining(token)
                if left > token.margin or (left > token.travel and self._ticks() < self._not_before):
                    return token.value
            self._token = self._renewed(token, refused)
            return self._token.value
        finally:
            lock.release()

    def _renewed(self, old: Token | None, refused: str) -> Token:
        """Ask for a new one. Who had one waits for a provider that is away; who never had one is told at once."""
        deadline = self._ticks() + (self._settings.patience_seconds if old else 0)
        pause = 1.0
        while True:
            try:
                return self._program() if self._settings.for_a_program else self._person(refused)
            except LoginProblem as problem:
                if old and old.value != refused and self._remaining(old) > old.travel:
                    self._not_before = self._ticks() + PAUSE_SECONDS
                    log.warning("%s The token that is there is good for %.0f seconds.", problem, self._remaining(old))
                    return old
                if not isinstance(problem, Unreachable) or self._ticks() + pause > deadline:
                    raise
                log.warning("%s Asking again in %.0f seconds.", problem, pause)
                self._sleep(pause)
                pause = min(2 * pause, 30.0)

    def _provider(self, issuer: str, ca_file: str) -> Provider:
        return self._providers.setdefault((issuer, ca_file), Provider(issuer, ca_file))

    def _program(self) -> Token:
        settings = self._settings
        provider = self._provider(settings.issuer, settings.ca_file)
        wall, ticks = self._clock(), self._ticks()
        answer = provider.post(
            "token_endpoint",
            Client(settings.client_id, settings.secret(), settings.client_auth),
            {
                "grant_type": "client_credentials",
                "scope": settings.scope,
                "audience": settings.audience,
                "resource": settings.resource,
            },
        )
        return Token(access_token(provider, answer), lifetime_of(answer), wall, ticks)

    def _person(self, refused: str) -> Token:
        place = self._settings.place
        load(place)  # who is not logged in is told so before a lock is made
        with alone(place):
            login = load(place)
            for name, kept, wanted in (
                ("MLOPS_OIDC_ISSUER", login.issuer, self._settings.issuer),
                ("MLOPS_OIDC_CLIENT_ID", login.client_id, self._settings.client_id),
            ):
                if wanted not in ("", kept):
                    raise LoginProblem(f"The login in {place} is for {kept}, and {name} is {wanted}: run {LOGIN}.")
            # Another process may have renewed it.
            token = Token(login.access_token, login.lifetime, login.obtained_at, None)
            known = self._token.value if self._token else ""
            if token.value not in ("", refused) and (
                self._remaining(token) > (token.margin if login.refresh_token else token.travel)
                if token.lifetime
                else token.value != known
            ):
                return token
            return self._refreshed(login)

    def _refreshed(self, login: Login) -> Token:
        place = self._settings.place
        if not login.refresh_token:
            raise LoginProblem(
                f"The login at {login.issuer} has ended, and the provider gave nothing to renew it with: run {LOGIN}."
            )
        provider = self._provider(login.issuer, self._settings.ca_file or login.ca_file)
        wall, ticks = self._clock(), self._ticks()
        try:
            answer = provider.post(
                "token_endpoint",
                Client(login.client_id, login.client_secret, login.client_auth),
                # Without a scope: what was granted stays granted.
                {
                    "grant_type": "refresh_token",
                    "refresh_token": login.refresh_token,
                    "audience": login.audience,
                    "resource": login.resource,
                },
            )
        except Refused as problem:
            if problem.code == "invalid_grant":
                raise LoginProblem(f"The login at {login.issuer} has ended: run {LOGIN}.") from None
            raise
        value = access_token(provider, answer)
        renewed = answer.get("refresh_token")
        save(
            place,
            replace(
                login,
                access_token=value,
                obtained_at=wall,
                lifetime=lifetime_of(answer),
                refresh_token=renewed if isinstance(renewed, str) and renewed else login.refresh_token,
            ),
        )
        return Token(value, lifetime_of(answer), wall, ticks)


_made: dict[Settings, Tokens] = {}
_making = threading.Lock()


def tokens_of(settings: Settings) -> Tokens:
    """One for all who have these settings."""
    with contextlib.suppress(KeyError):
        return _made[settings]
    with _making:
        return _made.setdefault(settings, Tokens(settings))
