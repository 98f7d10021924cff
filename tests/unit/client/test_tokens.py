"""Tokens that are renewed in time, by one thread, whatever clocks and the provider do; and what is said if there are none."""

from __future__ import annotations

import base64
import json
import logging
import os
import re
import threading
import time
import traceback
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, fields
from email.utils import formatdate
from pathlib import Path
from typing import Any

import pytest
import requests
from mlops_mlflow_client import provider as providers
from mlops_mlflow_client.auth import TokenAuth, clocks_apart
from mlops_mlflow_client.provider import Client, Provider, Unreachable
from mlops_mlflow_client.settings import LoginProblem, Settings
from mlops_mlflow_client.tokens import Tokens

from ansible_collections.mlops.mlflow.tests.unit.support.certificates import Authority
from ansible_collections.mlops.mlflow.tests.unit.support.http_peers import Reply, Request, http_peer, server_context
from ansible_collections.mlops.mlflow.tests.unit.support.peers import free_port
from ansible_collections.mlops.mlflow.tests.unit.support.playbook import ROOT

SECRET = "a secret: with %41+/&=ü"


@dataclass
class Idp:
    """A provider that says what a test wants."""

    url: str = ""
    metadata: dict[str, Any] = field(default_factory=dict)
    replies: list[Reply] = field(default_factory=list)
    asked: list[Request] = field(default_factory=list)
    lifetime: float | None = 300
    pause: float = 0

    def answer(self, request: Request) -> Reply:
        if request.path == "/.well-known/openid-configuration":
            about = {"issuer": self.url, "token_endpoint": f"{self.url}/token", **self.metadata}
            return Reply(200, json.dumps(about).encode())
        if request.path != "/token":
            return Reply(404)
        self.asked.append(request)
        number = len(self.asked)
        time.sleep(self.pause)
        if self.replies:
            return self.replies.pop(0)
        token: dict[str, Any] = {"access_token": f"token-{number}", "token_type": "Bearer"}
        return Reply(200, json.dumps({**token, "expires_in": self.lifetime} if self.lifetime else token).encode())


@pytest.fixture(scope="module")
def authority() -> Authority:
    return Authority.make("of a test")


@pytest.fixture
def idp(authority: Authority, tmp_path: Path) -> Iterator[Idp]:
    idp = Idp()
    with http_peer(idp.answer, context=server_context(authority, tmp_path, "localhost")) as port:
        idp.url = f"https://localhost:{port}"
        yield idp


@pytest.fixture
def settings(idp: Idp, authority: Authority, tmp_path: Path) -> Settings:
    return Settings(
        issuer=idp.url, client_id="ci", client_secret=SECRET, ca_file=str(authority.write(tmp_path / "authority.pem"))
    )


@dataclass
class Time:
    """Two clocks: one that can be set, one that cannot."""

    wall: float = 1_800_000_000.0
    ticks: float = 100.0
    slept: list[float] = field(default_factory=list)

    def passes(self, seconds: float) -> None:
        self.wall += seconds
        self.ticks += seconds

    def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.passes(seconds)

    def tokens(self, settings: Settings) -> Tokens:
        return Tokens(settings, clock=lambda: self.wall, ticks=lambda: self.ticks, sleep=self.sleep)


def refusal(code: str, about: str = "why", status: int = 400) -> Reply:
    return Reply(status, json.dumps({"error": code, "error_description": about}).encode())


# ----- when


def test_a_token_is_kept_and_renewed_before_its_end(idp: Idp, settings: Settings) -> None:
    time_ = Time()
    tokens = time_.tokens(settings)
    assert [tokens.get(), tokens.get()] == ["token-1", "token-1"]
    time_.passes(239)
    assert tokens.get() == "token-1"
    time_.passes(2)  # 60 seconds before its end
    assert tokens.get() == "token-2"
    idp.lifetime = 9
    time_.passes(241)
    assert tokens.get() == "token-3"
    time_.passes(5.9)
    assert tokens.get() == "token-3"
    time_.passes(0.2)  # a third of a short life
    assert tokens.get() == "token-4"


def test_what_hour_it_is_does_not_matter(idp: Idp, settings: Settings) -> None:
    time_ = Time()
    tokens = time_.tokens(settings)
    tokens.get()
    time_.wall -= 86400  # somebody sets the clock
    time_.passes(100)
    assert tokens.get() == "token-1"
    time_.passes(141)
    assert tokens.get() == "token-2"
    time_.wall += 3600  # a machine that slept: only its clock knows
    assert tokens.get() == "token-3"
    assert len(idp.asked) == 3


def test_a_token_of_which_no_end_is_known_is_kept_until_it_is_refused(idp: Idp, settings: Settings) -> None:
    idp.lifetime = None
    time_ = Time()
    tokens = time_.tokens(settings)
    tokens.get()
    time_.passes(100_000)
    assert tokens.get() == "token-1"
    assert tokens.get(refused="token-1") == "token-2"
    assert tokens.get(refused="token-1") == "token-2", "another thread had the same answer"


def test_threads_get_one_token_together(idp: Idp, settings: Settings) -> None:
    idp.pause = 0.3
    tokens = Tokens(settings)
    with ThreadPoolExecutor(16) as pool:
        assert set(pool.map(lambda _number: tokens.get(), range(64))) == {"token-1"}
    assert len(idp.asked) == 1


def test_while_one_thread_asks_the_rest_go_on(idp: Idp, settings: Settings) -> None:
    time_ = Time()
    tokens = time_.tokens(settings)
    tokens.get()
    time_.passes(241)
    idp.pause = 2
    first = threading.Thread(target=tokens.get)
    first.start()
    while len(idp.asked) < 2:
        time.sleep(0.01)
    begun = time.monotonic()
    assert tokens.get() == "token-1"
    assert time.monotonic() - begun < 1
    first.join()
    assert tokens.get() == "token-2"


@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")  # which is what is tested
def test_a_child_of_a_process_that_is_just_asking_asks_itself(idp: Idp, settings: Settings) -> None:
    idp.pause = 1
    tokens = Tokens(settings)
    thread = threading.Thread(target=tokens.get)
    thread.start()
    while not idp.asked:
        time.sleep(0.01)
    child = os.fork()
    if not child:  # its parent's thread, which has the lock, is not here
        found = ""
        try:
            found = tokens.get()
        finally:
            os._exit(0 if found == "token-2" else 1)
    thread.join()
    assert os.waitpid(child, 0)[1] == 0


# ----- a provider that is away


def test_a_job_goes_on_with_its_token_while_the_provider_is_away(
    idp: Idp, settings: Settings, caplog: pytest.LogCaptureFixture
) -> None:
    time_ = Time()
    tokens = time_.tokens(settings)
    tokens.get()
    time_.passes(250)
    idp.replies = [Reply(503), Reply(502)]
    assert [tokens.get(), tokens.get()] == ["token-1", "token-1"]
    assert len(idp.asked) == 2, "it is not asked for every request"
    assert caplog.messages == [
        f"The identity provider {idp.url} answers 503, and no token. The token that is there is good for 50 seconds."
    ]
    time_.passes(6)
    assert tokens.get() == "token-1"
    time_.passes(6)
    assert tokens.get() == "token-4"
    assert time_.slept == []


def test_a_refusal_ends_a_job_when_its_token_ends(idp: Idp, settings: Settings) -> None:
    time_ = Time()
    tokens = time_.tokens(settings)
    tokens.get()
    time_.passes(250)
    idp.replies = [refusal("invalid_client", status=401)] * 2
    assert tokens.get() == "token-1", "somebody may be changing the secret just now"
    time_.passes(51)
    with pytest.raises(LoginProblem, match="does not accept the client ci or its secret"):
        tokens.get()
    assert time_.slept == []


def test_a_job_waits_for_a_provider_that_is_away_but_not_for_ever(idp: Idp, settings: Settings) -> None:
    time_ = Time()
    tokens = time_.tokens(settings)
    tokens.get()
    time_.passes(301)
    idp.replies = [Reply(503)] * 3
    assert tokens.get() == "token-5"
    assert time_.slept == [1, 2, 4]
    time_.passes(301)
    time_.slept.clear()
    idp.replies = [Reply(503)] * 100
    with pytest.raises(LoginProblem) as problem:
        tokens.get()
    assert str(problem.value) == f"The identity provider {idp.url} answers 503, and no token."
    assert sum(time_.slept) < settings.patience_seconds


def test_a_job_that_begins_without_a_provider_is_told_at_once(settings: Settings) -> None:
    time_ = Time()
    nowhere = Settings(**{**settings.__dict__, "issuer": f"https://localhost:{free_port()}"})
    with pytest.raises(LoginProblem) as problem:
        time_.tokens(nowhere).get()
    assert str(problem.value) == f"The identity provider {nowhere.issuer} cannot be asked: no connection."
    assert time_.slept == []


def test_an_answer_that_does_not_end_is_ended(idp: Idp, settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(providers, "SECONDS", 0.5)
    idp.pause = 3
    with pytest.raises(LoginProblem) as problem:
        Tokens(settings).get()
    assert str(problem.value) == f"The identity provider {idp.url} cannot be asked: no answer within 0 seconds."
    monkeypatch.setattr(providers, "SECONDS", 15.0)
    idp.pause, idp.replies = 0, [Reply(200, b" " * (providers.LARGEST + 2))]
    with pytest.raises(LoginProblem, match="does not come to an end with its answer"):
        Tokens(settings).get()


# ----- what is said


@pytest.mark.parametrize(
    ("reply", "sentence"),
    [
        (
            refusal("invalid_client", "client authentication failed", 401),
            "The identity provider {idp} does not accept the client ci or its secret: invalid_client (client authentication failed).",
        ),
        (refusal("invalid_scope"), "The identity provider {idp} gives the client ci no token: invalid_scope (why)."),
        (
            refusal("invalid_request", f"\n{SECRET}\x1b[2J" + "x" * 5000),
            "The identity provider {idp} gives the client ci no token: invalid_request ( ... [2J" + "x" * 192 + ").",
        ),
        (Reply(200, b"<html>"), "The identity provider {idp} answers 200, and no token."),
        (Reply(200, b"[" * 100_000), "The identity provider {idp} answers 200, and no token."),
        (Reply(200, b"{}"), "The identity provider {idp} answers without a token that could be sent."),
        (
            Reply(200, b'{"access_token": "a\\r\\nX: y"}'),
            "The identity provider {idp} answers without a token that could be sent.",
        ),
        (
            Reply(302, b"", {"Location": "https://localhost:1/"}),
            "The identity provider {idp} answers 302, and no token.",
        ),
    ],
)
def test_a_refusal_is_one_sentence_without_secrets(idp: Idp, settings: Settings, reply: Reply, sentence: str) -> None:
    idp.replies = [reply]
    with pytest.raises(LoginProblem) as problem:
        Tokens(settings).get()
    assert str(problem.value) == sentence.format(idp=idp.url)
    told = "".join(traceback.format_exception(problem.value)) + repr(problem.value) + repr(settings)
    assert SECRET not in told
    assert repr(Client("ci", SECRET)) == "Client('ci')"


def test_a_secret_arrives_as_it_is_and_a_file_may_change(
    idp: Idp, settings: Settings, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    Tokens(settings).get()
    said = base64.b64decode(idp.asked[0].headers["Authorization"].removeprefix("Basic ")).decode()
    assert said == "ci:a+secret%3A+with+%2541%2B%2F%26%3D%C3%BC"
    assert idp.asked[0].body == b"grant_type=client_credentials"
    file = tmp_path / "secret"
    file.write_text("first\n")
    by_file = {**settings.__dict__, "client_secret": "", "client_secret_file": str(file), "audience": "a"}
    tokens = Tokens(Settings(**{**by_file, "client_auth": "client_secret_post"}))
    first = tokens.get()
    file.write_text("second\n")
    assert tokens.get(refused=first) != first
    assert [request.body for request in idp.asked[1:]] == [
        b"grant_type=client_credentials&audience=a&client_id=ci&client_secret=first",
        b"grant_type=client_credentials&audience=a&client_id=ci&client_secret=second",
    ]
    assert "Authorization" not in idp.asked[1].headers
    assert not [secret for secret in (SECRET, "token-1", "client_secret=") if secret in caplog.text]
    file.unlink()
    with pytest.raises(LoginProblem) as problem:
        Tokens(Settings(**by_file)).get()
    assert str(problem.value) == f"The client's secret in {file} cannot be read: No such file or directory."
    file.write_text("\n")
    with pytest.raises(LoginProblem, match="for the client's secret is empty"):
        Tokens(Settings(**by_file)).get()


def test_a_provider_of_an_authority_that_nobody_knows(
    idp: Idp, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    unknown = Settings(**{**settings.__dict__, "ca_file": ""})
    with pytest.raises(LoginProblem) as problem:
        Tokens(unknown).get()
    assert str(problem.value) == (
        f"The identity provider {idp.url} cannot be asked: its certificate is not trusted here "
        "(MLOPS_OIDC_CA_FILE names authorities of your own)."
    )
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", settings.ca_file)
    assert Tokens(unknown).get() == "token-1", "as other programs are told"
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", "/etc/hostname")
    assert Tokens(settings).get() == "token-2", "what is set for the provider counts"


def test_another_name_and_other_addresses_are_not_taken(idp: Idp, settings: Settings) -> None:
    idp.metadata = {"issuer": "https://elsewhere.test"}
    with pytest.raises(LoginProblem) as problem:
        Tokens(settings).get()
    assert str(problem.value) == (
        f"The identity provider calls itself https://elsewhere.test, not {idp.url}: set its own name, letter by letter."
    )
    idp.metadata = {"token_endpoint": "http://localhost:1/token"}
    with pytest.raises(LoginProblem, match="names an address without https"):
        Tokens(settings).get()
    idp.metadata = {"token_endpoint": None}
    with pytest.raises(LoginProblem, match="has no token_endpoint"):
        Tokens(settings).get()
    assert idp.asked == []
    assert isinstance(Provider(idp.url), Provider)
    with pytest.raises(LoginProblem, match="There is no identity provider at"):
        Provider(f"{idp.url}/nothing", settings.ca_file).post("token_endpoint", Client("ci"), {})
    assert issubclass(Unreachable, LoginProblem)


@pytest.mark.parametrize(
    ("environment", "sentence"),
    [
        ({"ISSUER": "http://idp.test"}, "MLOPS_OIDC_ISSUER=http://idp.test does not begin with https://."),
        (
            {"CLIENT_SECRET": "s", "ISSUER": "https://idp.test"},
            "There is a client's secret, but MLOPS_OIDC_CLIENT_ID is not set.",
        ),
        (
            {"CLIENT_SECRET_FILE": "/s", "CLIENT_ID": "ci"},
            "There is a client's secret, but MLOPS_OIDC_ISSUER is not set.",
        ),
        (
            {"CLIENT_SECRET": "s", "CLIENT_SECRET_FILE": "/s"},
            "MLOPS_OIDC_CLIENT_SECRET and MLOPS_OIDC_CLIENT_SECRET_FILE are both set: take one away.",
        ),
        (
            {"CLIENT_AUTH": "basic"},
            "MLOPS_OIDC_CLIENT_AUTH=basic is neither client_secret_basic nor client_secret_post.",
        ),
        ({"CA_FILE": "/nowhere/ca.pem"}, "MLOPS_OIDC_CA_FILE=/nowhere/ca.pem is not there."),
        ({"PATIENCE_SECONDS": "long"}, "MLOPS_OIDC_PATIENCE_SECONDS=long is no number of seconds."),
    ],
)
def test_what_cannot_be_meant_is_refused(environment: dict[str, str], sentence: str) -> None:
    with pytest.raises(LoginProblem) as problem:
        Settings.read({f"MLOPS_OIDC_{name}": value for name, value in environment.items()})
    assert str(problem.value) == sentence


def test_the_page_names_every_setting_and_no_other() -> None:
    page = (ROOT / "docs/how-to/tokens-for-machines-and-notebooks.md").read_text(encoding="utf-8")
    named = set(re.findall("MLOPS_OIDC_[A-Z_]+", page))
    assert named == {f"MLOPS_OIDC_{one.name.upper()}" for one in fields(Settings)}


# ----- in requests


@dataclass
class Mlflow:
    """A server that lets in who has one of these tokens."""

    good: set[str]
    asked: list[Request] = field(default_factory=list)
    url: str = ""

    def answer(self, request: Request) -> Reply:
        self.asked.append(request)
        if request.path == "/away":
            return Reply(302, b"", {"Location": self.url.replace("localhost", "127.0.0.1") + "/there"})
        token = request.headers.get("Authorization", "").removeprefix("Bearer ")
        return Reply(200 if token in self.good else 401, b"{}")


@pytest.fixture
def mlflow() -> Iterator[Mlflow]:
    server = Mlflow({"token-1", "token-2"})
    with http_peer(server.answer) as port:
        server.url = f"http://localhost:{port}"
        yield server


def test_a_request_that_is_refused_is_sent_once_more_as_it_was(
    settings: Settings, mlflow: Mlflow, tmp_path: Path
) -> None:
    time_ = Time()
    auth = TokenAuth(time_.tokens(settings), lambda: {mlflow.url})
    mlflow.good = {"token-2"}
    requests.get(f"{mlflow.url}/first", auth=auth, timeout=20)
    time_.passes(30)
    file = tmp_path / "artifact"
    file.write_bytes(b"-" * 10 + b"artifact" * 100_000)
    with file.open("rb") as stream:
        stream.seek(10)
        answer = requests.put(f"{mlflow.url}/file", data=stream, auth=auth, timeout=20)
    assert answer.status_code == 200
    assert [len(request.body) for request in mlflow.asked[1:]] == [800_000, 800_000]
    assert [request.headers["Authorization"] for request in mlflow.asked[1:]] == ["Bearer token-1", "Bearer token-2"]
    mlflow.good, mlflow.asked = {"token-3"}, []
    time_.passes(30)
    answer = requests.put(f"{mlflow.url}/parts", data=iter([b"a", b"b"]), auth=auth, timeout=20)
    assert answer.status_code == 401, "what is gone cannot be sent again"
    assert len(mlflow.asked) == 1
    assert requests.post(f"{mlflow.url}/json", json={}, auth=auth, timeout=20).status_code == 200, (
        "the next has a new token"
    )
    mlflow.good, mlflow.asked = set(), []
    time_.passes(30)
    assert requests.post(f"{mlflow.url}/json", json={}, auth=auth, timeout=20).status_code == 401
    assert len(mlflow.asked) == 2, "once"


def jwt(**claims: Any) -> str:
    return f"e30.{base64.urlsafe_b64encode(json.dumps(claims).encode()).decode().rstrip('=')}.x"


@pytest.mark.parametrize(
    ("token", "there", "said"),
    [
        (jwt(iat=1000, exp=1300), 1420, " Its clock is 120 seconds past the end of the token: "),
        (jwt(iat=1000, exp=1300), 940, " Its clock is 60 seconds before the token begins: "),
        (jwt(iat=1000, nbf=990, exp=1300), 995, ""),
        (jwt(iat=1000, exp=1300), 1001, ""),
        (jwt(), 1001, ""),
        (jwt(iat=1000, exp={}), 1001, ""),
        ("opaque", 1001, ""),
        ("a.\udcff.c", 1001, ""),
    ],
)
def test_clocks_that_differ_are_seen(token: str, there: int, said: str) -> None:
    found = clocks_apart(token, formatdate(there, usegmt=True))
    assert found == (f"{said}the provider's clock or its own is wrong." if said else "")
    assert clocks_apart(token, "no date") == ""


def test_a_new_token_that_is_refused_is_said(
    idp: Idp, settings: Settings, mlflow: Mlflow, caplog: pytest.LogCaptureFixture
) -> None:
    now = int(time.time())
    mlflow.good = set()
    token = jwt(iat=now - 5000, exp=now - 3000)
    idp.replies = [Reply(200, json.dumps({"access_token": token, "expires_in": 2000}).encode())]
    assert (
        requests.get(mlflow.url, auth=TokenAuth(Tokens(settings), lambda: {mlflow.url}), timeout=20).status_code == 401
    )
    assert len(mlflow.asked) == 1
    (warning,) = [record.getMessage() for record in caplog.records if record.name == "mlops_mlflow_client"]
    assert re.fullmatch(
        r"localhost refuses a token that is new\. Its clock is 30\d\d seconds past the end of the token: "
        r"the provider's clock or its own is wrong\.",
        warning,
    )
    assert token not in caplog.text


def test_a_token_goes_to_mlflow_only(idp: Idp, settings: Settings, mlflow: Mlflow) -> None:
    auth = TokenAuth(Tokens(settings), lambda: {mlflow.url, "https://mlflow.test/x", "", "sqlite:///x"})
    for url, sentence in (
        (
            "http://mlflow.test/",
            "No token is sent to mlflow.test without https: set MLFLOW_TRACKING_URI=https://mlflow.test.",
        ),
        ("https://evil.test/", "No token is sent to evil.test: it is not where MLFLOW_TRACKING_URI leads."),
        ("https://mlflow.test:8443/", "No token is sent to mlflow.test: it is not where MLFLOW_TRACKING_URI leads."),
    ):
        with pytest.raises(LoginProblem) as problem:
            requests.get(url, auth=auth, timeout=20)
        assert str(problem.value) == sentence
    assert idp.asked == []
    # A server that sends one elsewhere does not send the token along.
    assert requests.get(f"{mlflow.url}/away", auth=auth, timeout=20).status_code == 401
    assert ["Authorization" in request.headers for request in mlflow.asked] == [True, False]
