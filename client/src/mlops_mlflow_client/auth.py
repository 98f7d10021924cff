"""A token into every request, as requests lets one do it (its documentation calls that custom authentication)."""

from __future__ import annotations

import base64
import json
import logging
from collections.abc import Callable, Iterable
from email.utils import parsedate_to_datetime
from typing import Any
from urllib.parse import urlsplit

import requests
from requests.auth import AuthBase
from requests.cookies import extract_cookies_to_jar

from .settings import LoginProblem
from .tokens import Tokens

log = logging.getLogger("mlops_mlflow_client")

LOOPBACK = ("localhost", "127.0.0.1", "::1")


def origin(url: str) -> tuple[str, str, int]:
    """Whom an address belongs to."""
    parts = urlsplit(url)
    scheme = parts.scheme.lower()
    return scheme, (parts.hostname or "").lower(), parts.port or {"https": 443, "http": 80}.get(scheme, 0)


def clocks_apart(token: str, said: str) -> str:
    """What to add if the other side's clock, as its Date says, is outside of the time in which the token counts."""
    try:
        payload = token.split(".")[1]
        claims = json.loads(base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4)))
        there = parsedate_to_datetime(said).timestamp()
        begins, ends = float(claims.get("nbf", claims["iat"])), float(claims["exp"])
    except (IndexError, KeyError, TypeError, ValueError, AttributeError, RecursionError):
        return ""
    if there > ends:
        return f" Its clock is {there - ends:.0f} seconds past the end of the token: the provider's clock or its own is wrong."
    if there < begins - 1:
        return f" Its clock is {begins - there:.0f} seconds before the token begins: the provider's clock or its own is wrong."
    return ""


class TokenAuth(AuthBase):
    """Adds the token; after a 401 it asks once for another one and sends the same request again."""

    def __init__(self, tokens: Tokens, trusted: Callable[[], Iterable[str]]) -> None:
        self._tokens, self._trusted = tokens, trusted

    def __call__(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        url = request.url or ""
        scheme, host, _port = target = origin(url)
        if scheme != "https" and host not in LOOPBACK:
            raise LoginProblem(f"No token is sent to {host} without https: set MLFLOW_TRACKING_URI=https://{host}.")
        # An experiment's artifacts may be said to be anywhere: who says so must not get the token.
        if all(origin(one) != target for one in self._trusted()):
            raise LoginProblem(f"No token is sent to {host}: it is not where MLFLOW_TRACKING_URI leads.")
        token = self._tokens.get()
        request.headers["Authorization"] = f"Bearer {token}"
        body: Any = request.body
        try:
            start = body.tell()
        except (AttributeError, OSError):
            start = None
        again = body is None or isinstance(body, (bytes, str)) or start is not None

        def answered(response: requests.Response, *_args: Any, **keywords: Any) -> requests.Response:
            if response.status_code != 401 or origin(response.request.url or "") != target:
                return response
            if self._tokens.is_new(token):
                log.warning(
                    "%s refuses a token that is new.%s", host, clocks_apart(token, response.headers.get("Date", ""))
                )
                return response
            renewed = self._tokens.get(refused=token)
            if not again:
                return response
            if start is not None:
                body.seek(start)
            # As requests' own HTTPDigestAuth does it; hooks do not run for what is sent here, so once is once.
            len(response.content)  # to its end, so that the connection can be used again
            response.close()
            repeated = response.request.copy()
            if repeated._cookies is not None:
                extract_cookies_to_jar(repeated._cookies, response.request, response.raw)
            repeated.headers["Authorization"] = f"Bearer {renewed}"
            second = response.connection.send(repeated, **keywords)
            second.history.append(response)
            second.request = repeated
            return second

        request.register_hook("response", answered)
        return request
