"""What an identity provider is asked: its addresses, tokens (RFC 6749), codes for devices (RFC 8628). Every answer is bounded in time and size."""

from __future__ import annotations

import base64
import json
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote_plus, urlsplit

import requests
from requests import exceptions
from requests.auth import AuthBase

from .settings import LoginProblem

SECONDS = 15.0  # for connecting, and for every answer
LARGEST = 1024 * 1024


class Unreachable(LoginProblem):
    """It said nothing, or nothing sensible: later it may."""


class Refused(LoginProblem):
    """It said no; `code` is its reason."""

    def __init__(self, sentence: str, code: str) -> None:
        super().__init__(sentence)
        self.code = code


@dataclass(frozen=True)
class Client:
    """Who asks."""

    name: str
    secret: str = ""
    method: str = "client_secret_basic"

    def __repr__(self) -> str:
        return f"Client({self.name!r})"


def _shown(text: object, secret: str) -> str:
    """Of what the provider said, what a person may read: short, in one line, and nothing that it only repeats."""
    said = str(text)
    if secret:
        said = said.replace(secret, "...")
    return "".join(sign if sign.isprintable() else " " for sign in said)[:200]


def _why(problem: Exception) -> str:
    if isinstance(problem, exceptions.SSLError):
        return "its certificate is not trusted here (MLOPS_OIDC_CA_FILE names authorities of your own)"
    if isinstance(problem, exceptions.Timeout):
        return f"no answer within {SECONDS:.0f} seconds"
    if isinstance(problem, exceptions.ProxyError):
        return "the proxy does not lead there"
    if isinstance(problem, OSError) and not isinstance(problem, exceptions.RequestException):
        return str(problem.strerror or problem)
    return "no connection"


class Provider:
    """One issuer."""

    def __init__(self, issuer: str, ca_file: str = "") -> None:
        self.issuer = issuer
        self._ca_file = ca_file
        self._metadata: dict[str, Any] = {}

    def _ask(self, method: str, url: str, **more: Any) -> tuple[int, Any]:
        """The status, and the JSON that came with it (None if it is none)."""
        if urlsplit(url).scheme != "https":
            raise LoginProblem(f"The identity provider {self.issuer} names an address without https, {url}.")
        # A bundle that is named counts for this request, whatever the environment says about others. Nothing is followed to another
        # place: that could take the secret along.
        if self._ca_file:
            more["verify"] = self._ca_file
        deadline = time.monotonic() + SECONDS
        try:
            with requests.request(method, url, timeout=SECONDS, allow_redirects=False, stream=True, **more) as response:
                body = b""
                for part in response.iter_content(65536):
                    body += part
                    if len(body) > LARGEST or time.monotonic() > deadline:
                        raise Unreachable(
                            f"The identity provider {self.issuer} does not come to an end with its answer."
                        )
                status = response.status_code
        except (exceptions.RequestException, OSError) as problem:
            raise Unreachable(f"The identity provider {self.issuer} cannot be asked: {_why(problem)}.") from None
        try:
            return status, json.loads(body)
        except (ValueError, RecursionError):
            return status, None

    def _address(self, name: str) -> str:
        """One of the addresses that the provider says it has."""
        if not self._metadata:
            url = f"{self.issuer.rstrip('/')}/.well-known/openid-configuration"
            status, said = self._ask("GET", url, auth=_Nobody())
            if status != 200 or not isinstance(said, dict):
                kind = Unreachable if status >= 500 or status == 429 else LoginProblem
                raise kind(f"There is no identity provider at {self.issuer}: {url} answers {status}.")
            if said.get("issuer") != self.issuer:
                shown = _shown(said.get("issuer"), "")
                raise LoginProblem(
                    f"The identity provider calls itself {shown}, not {self.issuer}: set its own name, letter by letter."
                )
            self._metadata = said
        address = self._metadata.get(name)
        if not isinstance(address, str):
            raise LoginProblem(f"The identity provider {self.issuer} has no {name}.")
        return address

    def has(self, name: str) -> bool:
        """Whether it says that it has such an address."""
        try:
            return bool(self._address(name))
        except Unreachable:
            raise
        except LoginProblem:
            return False

    def post(self, address: str, client: Client, form: Mapping[str, str]) -> dict[str, Any]:
        """Send a form as this client: what comes back, or the reason."""
        sent = {name: value for name, value in form.items() if value}
        auth: AuthBase = _Nobody()
        if client.secret and client.method == "client_secret_basic":
            auth = _Basic(client)
        else:
            sent["client_id"] = client.name
            if client.secret:
                sent["client_secret"] = client.secret
        url = self._address(address)
        status, said = self._ask("POST", url, data=sent, auth=auth, headers={"Accept": "application/json"})
        if status == 200 and (isinstance(said, dict) or address == "revocation_endpoint"):  # which says nothing
            return said or {}
        if status >= 500 or status == 429 or not isinstance(said, dict) or "error" not in said:
            raise Unreachable(f"The identity provider {self.issuer} answers {status}, and no token.")
        code = _shown(said["error"], client.secret)
        about = _shown(said.get("error_description") or "no more is said", client.secret)
        if code in ("invalid_client", "unauthorized_client"):
            sentence = f"The identity provider {self.issuer} does not accept the client {client.name} or its secret: {code} ({about})."
        else:
            sentence = f"The identity provider {self.issuer} gives the client {client.name} no token: {code} ({about})."
        raise Refused(sentence, code)


class _Nobody(AuthBase):
    """Without it requests looks into ~/.netrc."""

    def __call__(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        return request


class _Basic(AuthBase):
    """Name and secret are encoded as a form first (RFC 6749, 2.3.1); requests' own does not."""

    def __init__(self, client: Client) -> None:
        self._said = base64.b64encode(f"{quote_plus(client.name)}:{quote_plus(client.secret)}".encode()).decode()

    def __call__(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        request.headers["Authorization"] = f"Basic {self._said}"
        return request
