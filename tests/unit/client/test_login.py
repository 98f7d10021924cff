"""A login in a browser for a program that has none, at a certified provider; and providers that do as they like."""

from __future__ import annotations

import re
import stat
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from mlops_mlflow_client import login as command
from mlops_mlflow_client.provider import Client, Provider, Refused, Unreachable
from mlops_mlflow_client.settings import Login, LoginProblem, Settings, load, save
from mlops_mlflow_client.tokens import Tokens

from ansible_collections.mlops.mlflow.tests.unit.support import identity
from ansible_collections.mlops.mlflow.tests.unit.support.certificates import Authority
from ansible_collections.mlops.mlflow.tests.unit.support.identity import Browser, place, running_provider
from ansible_collections.mlops.mlflow.tests.unit.support.playbook import ROOT

API = "https://api.mlflow.test"
SECONDS, REFRESH_SECONDS = 6, 12  # that an access token lives, and a login


@pytest.fixture(scope="module")
def provider() -> Iterator[identity.Provider]:
    with place() as folder:
        authority = Authority.make("of a test")
        with running_provider(
            folder, authority, "https://localhost:1", API, SECONDS, refresh_seconds=REFRESH_SECONDS
        ) as running:
            yield running


def environment(provider: identity.Provider, folder: Path) -> dict[str, str]:
    return {
        "PATH": "/usr/bin:/bin",
        "PYTHONPATH": str(ROOT / "client/src"),
        "PYTHONDONTWRITEBYTECODE": "1",
        "MLOPS_OIDC_ISSUER": provider.issuer,
        "MLOPS_OIDC_CLIENT_ID": "notebook",
        "MLOPS_OIDC_SCOPE": "openid profile groups offline_access",
        "MLOPS_OIDC_RESOURCE": API,
        "MLOPS_OIDC_CA_FILE": str(provider.folder / "provider-ca.pem"),
        "MLOPS_OIDC_LOGIN_FILE": str(folder / "state/login.json"),
    }


def log_in(provider: identity.Provider, folder: Path, name: str = "bob") -> tuple[str, Path]:
    """As somebody at a notebook does it; what the command said."""
    with subprocess.Popen(
        [sys.executable, "-m", "mlops_mlflow_client.login"],
        env=environment(provider, folder),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout
        assert process.stderr
        first = process.stdout.readline()
        found = re.fullmatch(r"Open (\S+) in a browser and enter the code (\S+)\n", first)
        assert found, first + process.stderr.read()
        page = Browser(provider.trust).confirm(found[1], found[2], name, f"password of {name}")
        assert page.status == 200, page
        output, errors = process.communicate(timeout=60)
        assert (process.returncode, errors) == (0, ""), errors
    return output, folder / "state/login.json"


def test_somebody_logs_in_and_the_login_is_renewed_until_it_ends(provider: identity.Provider, tmp_path: Path) -> None:
    said, file = log_in(provider, tmp_path)
    assert said.splitlines()[-1].startswith(f"Logged in. The login is kept in {file} and renewed")
    assert [stat.S_IMODE(one.stat().st_mode) for one in (file, file.parent)] == [0o600, 0o700]
    kept = load(file)
    assert kept.refresh_token
    assert kept.refresh_token not in said + repr(kept)
    # A notebook says nothing but where MLflow is: the rest is in the login.
    settings = Settings(login_file=str(file))
    tokens, another = Tokens(settings), Tokens(settings)
    first = tokens.get()
    assert first == kept.access_token == tokens.get()
    time.sleep(SECONDS)
    second = tokens.get()
    assert second != first
    assert another.get() == second, "a second process has what the first one was given"
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    # Nobody came back in time for the provider.
    save(file, replace(load(file), access_token="", obtained_at=0))
    time.sleep(REFRESH_SECONDS + 1)
    with pytest.raises(LoginProblem) as problem:
        Tokens(settings).get()
    assert str(problem.value) == f"The login at {provider.issuer} has ended: run python -m mlops_mlflow_client.login."
    # Whoever logs in again has a notebook that goes on.
    log_in(provider, tmp_path)
    assert tokens.get() not in (first, second)


def test_a_login_can_be_ended(provider: identity.Provider, tmp_path: Path) -> None:
    _said, file = log_in(provider, tmp_path)
    kept = load(file)
    done = subprocess.run(
        [sys.executable, "-m", "mlops_mlflow_client.login", "--end"],
        env=environment(provider, tmp_path),
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, f"Logged out: {file} is gone.\n", "")
    assert not file.exists()
    save(file, replace(kept, lifetime=None, access_token=""))
    with pytest.raises(LoginProblem, match="has ended"):
        Tokens(Settings(login_file=str(file))).get()


def test_a_client_that_may_not_do_so_is_told(provider: identity.Provider, tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "mlops_mlflow_client.login", "--client-id", "ci"],
        env=environment(provider, tmp_path),
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith(
        f"Error: The identity provider {provider.issuer} does not accept the client ci or its secret: invalid_client ("
    )
    assert done.stderr.count("\n") == 1


# ----- the way of asking


class Scripted(Provider):
    """A provider that says what a test wants."""

    def __init__(self, *answers: dict[str, Any] | LoginProblem) -> None:
        super().__init__("https://idp.test")
        self.answers = list(answers)
        self.asked: list[dict[str, str]] = []

    def post(self, address: str, client: Client, form: Any) -> dict[str, Any]:
        self.asked.append({"address": address, "client": client.name, **form})
        answer = self.answers.pop(0)
        if isinstance(answer, LoginProblem):
            raise answer
        return answer


class Clock:
    """Passes when somebody sleeps."""

    def __init__(self) -> None:
        self.now, self.slept = 1000.0, list[float]()

    def __call__(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.now += seconds


BEGUN = command.Begun("https://idp.test/device", "ABCD", "", "the device code", 60, 5)


def waited(*answers: dict[str, Any] | LoginProblem, begun: command.Begun = BEGUN) -> tuple[dict[str, Any], list[float]]:
    clock, provider = Clock(), Scripted(*answers)
    answer = command.wait(provider, Client("notebook"), begun, ticks=clock, sleep=clock.sleep)
    assert {one["device_code"] for one in provider.asked} == {"the device code"}
    return answer, clock.slept


def no(code: str) -> Refused:
    return Refused("no", code)


def test_it_asks_as_often_as_the_provider_wants_to_be_asked() -> None:
    done = {"access_token": "t"}
    assert waited(no("authorization_pending"), no("authorization_pending"), done) == (done, [5, 5, 5])
    assert waited(no("slow_down"), no("slow_down"), no("authorization_pending"), done) == (done, [5, 10, 15, 15])
    assert waited(Unreachable("away"), Unreachable("away"), done) == (done, [5, 10, 20])


@pytest.mark.parametrize(
    ("answers", "sentence"),
    [
        ([no("access_denied")], "The login was refused at https://idp.test."),
        ([no("expired_token")], "The code was not confirmed within 60 seconds: begin again."),
        ([no("authorization_pending")] * 12, "The code was not confirmed within 60 seconds: begin again."),
        ([no("invalid_grant")], "no"),
    ],
)
def test_it_ends_with_a_sentence(answers: list[Refused], sentence: str) -> None:
    with pytest.raises(LoginProblem) as problem:
        waited(*answers)
    assert str(problem.value) == sentence


def test_what_a_provider_leaves_out_is_the_standards() -> None:
    said = {"device_code": "d", "user_code": "U", "verification_url": "https://idp.test/old", "expires_in": "300"}
    begun = command.begin(Scripted(said), Client("n"), Login("https://idp.test", "n"))
    assert begun == command.Begun("https://idp.test/old", "U", "", "d", 300, 5)
    with pytest.raises(LoginProblem, match="answers without a code"):
        command.begin(Scripted({"user_code": "U"}), Client("n"), Login("https://idp.test", "n"))


# ----- the file


def test_a_login_that_others_can_read_is_none(tmp_path: Path) -> None:
    file = tmp_path / "login.json"
    save(file, Login("https://idp.test", "notebook", refresh_token="r"))
    file.chmod(0o640)
    with pytest.raises(LoginProblem) as problem:
        Tokens(Settings(login_file=str(file))).get()
    assert str(problem.value) == f"The login in {file} is open to others (mode 0640): run chmod 600 {file}."


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        "{}",
        '{"issuer": "https://a", "client_id": "b", "more": 1}',
        '{"issuer": 1, "client_id": "b"}',
        "\udcff",
    ],
)
def test_a_file_that_holds_something_else_is_named(tmp_path: Path, text: str) -> None:
    file = tmp_path / "login.json"
    file.write_bytes(text.encode(errors="surrogateescape"))
    with pytest.raises(LoginProblem) as problem:
        load(file)
    assert str(problem.value) == f"The file {file} holds no login: run python -m mlops_mlflow_client.login."


def test_nobody_is_logged_in(tmp_path: Path) -> None:
    file = tmp_path / "state/login.json"
    with pytest.raises(LoginProblem) as problem:
        Tokens(Settings(login_file=str(file))).get()
    assert str(problem.value) == f"Nobody is logged in ({file} is not there): run python -m mlops_mlflow_client.login."
    assert not file.parent.exists()


def test_a_login_at_another_provider_is_not_used(tmp_path: Path) -> None:
    file = tmp_path / "login.json"
    save(file, Login("https://idp.test", "notebook", access_token="t", obtained_at=time.time(), lifetime=300))
    assert Tokens(Settings(login_file=str(file), issuer="https://idp.test")).get() == "t"
    with pytest.raises(LoginProblem) as problem:
        Tokens(Settings(login_file=str(file), issuer="https://other.test")).get()
    assert str(problem.value) == (
        f"The login in {file} is for https://idp.test, and MLOPS_OIDC_ISSUER is https://other.test: run python -m mlops_mlflow_client.login."
    )


def test_a_login_that_cannot_be_renewed_is_good_to_its_end(tmp_path: Path) -> None:
    file, now = tmp_path / "login.json", time.time()
    save(file, Login("https://idp.test", "a", access_token="t", obtained_at=now - 290, lifetime=300))
    assert Tokens(Settings(login_file=str(file))).get() == "t"
    with pytest.raises(LoginProblem) as problem:
        Tokens(Settings(login_file=str(file)), clock=lambda: now + 11).get()
    assert str(problem.value) == (
        "The login at https://idp.test has ended, and the provider gave nothing to renew it with: run python -m mlops_mlflow_client.login."
    )


def test_a_file_that_cannot_be_written_loses_nothing(tmp_path: Path) -> None:
    file = tmp_path / "login.json"
    save(file, Login("https://idp.test", "a", refresh_token="old"))
    file.with_name("blocked").write_text("")
    with pytest.raises(LoginProblem, match="cannot be kept in"):
        save(file.with_name("blocked") / "login.json", Login("https://idp.test", "a"))
    assert load(file).refresh_token == "old"
    assert sorted(one.name for one in tmp_path.iterdir()) == ["blocked", "login.json"]
