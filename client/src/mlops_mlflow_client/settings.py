"""What is set, and the login that is kept. Nothing here shows a secret: not in a representation, not in a sentence."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import tempfile
import time
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

LOGIN = "python -m mlops_mlflow_client.login"
METHODS = ("client_secret_basic", "client_secret_post")
LOCK_SECONDS = 120


class LoginProblem(Exception):
    """Why there is no token, in one sentence."""


@dataclass(frozen=True)
class Settings:
    """What the environment says. One instance stands for one way to log in."""

    issuer: str = ""
    client_id: str = ""
    client_secret: str = field(default="", repr=False)
    client_secret_file: str = ""
    client_auth: str = METHODS[0]
    scope: str = ""
    audience: str = ""
    resource: str = ""
    ca_file: str = ""
    login_file: str = ""
    patience_seconds: float = 60

    @classmethod
    def read(cls, environment: Mapping[str, str]) -> Settings:
        """The variables that begin with MLOPS_OIDC_."""
        found = {one.name: environment.get(f"MLOPS_OIDC_{one.name.upper()}", "") for one in fields(cls)}
        given: dict[str, Any] = {name: value for name, value in found.items() if value}
        try:
            given["patience_seconds"] = float(given.get("patience_seconds", 60))
        except ValueError:
            patience = given["patience_seconds"]
            raise LoginProblem(f"MLOPS_OIDC_PATIENCE_SECONDS={patience} is no number of seconds.") from None
        settings = cls(**given)
        settings.check()
        return settings

    def check(self) -> None:
        """What cannot be meant is refused before anybody is asked."""
        if self.client_secret and self.client_secret_file:
            raise LoginProblem(
                "MLOPS_OIDC_CLIENT_SECRET and MLOPS_OIDC_CLIENT_SECRET_FILE are both set: take one away."
            )
        if self.client_auth not in METHODS:
            raise LoginProblem(f"MLOPS_OIDC_CLIENT_AUTH={self.client_auth} is neither {METHODS[0]} nor {METHODS[1]}.")
        if self.issuer and urlsplit(self.issuer).scheme != "https":
            raise LoginProblem(f"MLOPS_OIDC_ISSUER={self.issuer} does not begin with https://.")
        if self.for_a_program and not (self.issuer and self.client_id):
            missing = "MLOPS_OIDC_CLIENT_ID" if self.issuer else "MLOPS_OIDC_ISSUER"
            raise LoginProblem(f"There is a client's secret, but {missing} is not set.")
        if self.ca_file and not Path(self.ca_file).exists():
            raise LoginProblem(f"MLOPS_OIDC_CA_FILE={self.ca_file} is not there.")

    @property
    def for_a_program(self) -> bool:
        """Whether a client logs in for itself, and not for somebody who did so in a browser."""
        return bool(self.client_secret or self.client_secret_file)

    def secret(self) -> str:
        """The client's secret as it is now: a file may change while a job runs."""
        if not self.client_secret_file:
            return self.client_secret
        try:
            secret = Path(self.client_secret_file).read_text(encoding="utf-8").strip("\r\n")
        except (OSError, UnicodeDecodeError) as problem:
            why = problem.strerror if isinstance(problem, OSError) else "not text"
            raise LoginProblem(f"The client's secret in {self.client_secret_file} cannot be read: {why}.") from None
        if not secret:
            raise LoginProblem(f"The file {self.client_secret_file} for the client's secret is empty.")
        return secret

    @property
    def place(self) -> Path:
        """Where the login of a person is kept."""
        if self.login_file:
            return Path(self.login_file)
        state = os.environ.get("XDG_STATE_HOME") or "~/.local/state"
        return Path(state).expanduser() / "mlops-mlflow-client" / "login.json"


@dataclass(frozen=True)
class Login:
    """What is left of a login in a browser, and where it was made."""

    issuer: str
    client_id: str
    refresh_token: str = field(default="", repr=False)
    access_token: str = field(default="", repr=False)
    obtained_at: float = 0
    lifetime: float | None = None
    client_secret: str = field(default="", repr=False)
    client_auth: str = METHODS[0]
    scope: str = ""
    audience: str = ""
    resource: str = ""
    ca_file: str = ""


def load(place: Path) -> Login:
    """The login that is kept there; a file that others can read is none."""
    try:
        mode = place.stat().st_mode
        kept = json.loads(place.read_text(encoding="utf-8"))
        login = Login(**kept)
        if [1 for one in fields(Login) if one.type == "str" and not isinstance(getattr(login, one.name), str)]:
            raise TypeError
        if not all(isinstance(number, (int, float)) for number in (login.obtained_at, login.lifetime or 0)):
            raise TypeError
    except FileNotFoundError:
        raise LoginProblem(f"Nobody is logged in ({place} is not there): run {LOGIN}.") from None
    except OSError as problem:
        raise LoginProblem(f"The login in {place} cannot be read: {problem.strerror}.") from None
    except (ValueError, TypeError):
        raise LoginProblem(f"The file {place} holds no login: run {LOGIN}.") from None
    if mode & 0o077:
        raise LoginProblem(f"The login in {place} is open to others (mode {mode & 0o777:04o}): run chmod 600 {place}.")
    return login


def save(place: Path, login: Login) -> None:
    """Keep it: whole or not at all, for nobody else."""
    try:
        place.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(dir=place.parent, prefix=f".{place.name}.")  # mkstemp's files have mode 0600
        try:
            with os.fdopen(handle, "w", encoding="utf-8") as file:
                json.dump(asdict(login), file)
                file.flush()
                os.fsync(file.fileno())
            Path(name).replace(place)
        except BaseException:
            Path(name).unlink(missing_ok=True)
            raise
    except OSError as problem:
        raise LoginProblem(f"The login cannot be kept in {place}: {problem.strerror}.") from None


@contextlib.contextmanager
def alone(place: Path) -> Iterator[None]:
    """One process at a time: a refresh token that is used twice ends the login at many providers."""
    try:
        place.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        handle = os.open(place.with_name(f".{place.name}.lock"), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as problem:
        raise LoginProblem(f"The login cannot be kept in {place}: {problem.strerror}.") from None
    try:
        deadline = time.monotonic() + LOCK_SECONDS
        while True:
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() > deadline:
                    raise LoginProblem(
                        f"Another process holds the login in {place} for {LOCK_SECONDS} seconds."
                    ) from None
                time.sleep(0.05)
        yield
    finally:
        os.close(handle)
