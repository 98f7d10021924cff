"""Requests of a job at the real gate and edge, for longer than its tokens and its provider last."""

from __future__ import annotations

import contextlib
import json
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import requests
from mlops_mlflow_client.auth import TokenAuth
from mlops_mlflow_client.settings import Settings
from mlops_mlflow_client.tokens import Tokens

from ansible_collections.mlops.mlflow.tests.unit.support.certificates import Authority
from ansible_collections.mlops.mlflow.tests.unit.support.http_peers import Reply, Request, http_peer
from ansible_collections.mlops.mlflow.tests.unit.support.identity import (
    place,
    running_edge,
    running_gate,
    running_provider,
    values_for,
)
from ansible_collections.mlops.mlflow.tests.unit.support.peers import free_port

API = "https://api.mlflow.test"
SECONDS = 6  # that a token lives


@dataclass
class Site:
    """The edge, and a provider that can be away."""

    folder: Path
    url: str
    issuer: str
    provider: contextlib.ExitStack
    start_provider: Callable[[], None]


@pytest.fixture(scope="module")
def site() -> Iterator[Site]:
    authority = Authority.make("of a test")

    def answer(request: Request) -> Reply:
        return Reply(200, json.dumps({name.lower(): value for name, value in request.headers.items()}).encode())

    with contextlib.ExitStack() as stack:
        folder = stack.enter_context(place())
        ports = {"edge": free_port(), "gate": free_port(), "server": stack.enter_context(http_peer(answer))}
        url, port = f"https://localhost:{ports['edge']}", free_port()
        issuer = f"https://localhost:{port}"
        provider = stack.enter_context(contextlib.ExitStack())

        def start() -> None:
            (folder / "provider.log").unlink(missing_ok=True)
            provider.enter_context(running_provider(folder, authority, url, API, SECONDS, port=port))

        start()
        values = values_for(folder, ports, mlflow_oidc_issuer=issuer, mlflow_oidc_audiences=[API])
        stack.enter_context(running_gate(folder, values))
        stack.enter_context(running_edge(folder, authority, values))
        yield Site(folder, url, issuer, provider, start)


def settings(site: Site, client: str = "ci") -> Settings:
    return Settings(
        issuer=site.issuer,
        client_id=client,
        client_secret=f"secret of {client}",
        resource=API,
        ca_file=str(site.folder / "provider-ca.pem"),
    )


def test_no_request_fails_while_tokens_end_and_the_provider_starts_anew(site: Site) -> None:
    tokens = Tokens(settings(site))
    auth, seen = TokenAuth(tokens, lambda: [site.url]), set()
    with requests.Session() as session:

        def ask(seconds: float) -> None:
            end = time.monotonic() + seconds
            while time.monotonic() < end:
                answer = session.put(
                    f"{site.url}/api/2.0/mlflow-artifacts/artifacts/x",
                    data=b"x" * 10_000,
                    auth=auth,
                    verify=str(site.folder / "provider-ca.pem"),
                    timeout=60,
                )
                assert (answer.status_code, answer.json()["x-forwarded-user"]) == (200, "ci-runner"), answer.text
                seen.add(tokens.get())
                time.sleep(0.1)

        ask(2.5 * SECONDS)
        site.provider.close()
        ask(SECONDS / 3)
        site.start_provider()
        ask(1.5 * SECONDS)
    assert len(seen) >= 4
    assert "secret of ci" not in (site.folder / "access.log").read_text()


def test_a_token_that_the_gate_does_not_take_is_no_reason_to_ask_for_more(
    site: Site, caplog: pytest.LogCaptureFixture
) -> None:
    # In no group that may enter: its token is good, and stays the one that is used.
    tokens = Tokens(settings(site, "stranger"))
    auth, ca = TokenAuth(tokens, lambda: [site.url]), str(site.folder / "provider-ca.pem")
    first = tokens.get()
    assert requests.get(f"{site.url}/version", auth=auth, verify=ca, timeout=60).status_code == 403
    assert tokens.get() == first
    # For an audience of which the gate knows nothing.
    another = Tokens(Settings(**{**settings(site).__dict__, "resource": "https://another.example.test"}))
    auth = TokenAuth(another, lambda: [site.url])
    assert requests.get(f"{site.url}/version", auth=auth, verify=ca, timeout=60).status_code == 403
    assert caplog.messages == []
