"""Log in with a browser, wherever that is, for programs that have none: python -m mlops_mlflow_client.login (RFC 8628).

Shows an address and a code, waits until they were confirmed there, and keeps the login for MLFLOW_TRACKING_AUTH=mlops-oidc.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .provider import Client, Provider, Refused, Unreachable
from .settings import Login, LoginProblem, Settings, alone, load, save
from .tokens import access_token, lifetime_of

GRANT = "urn:ietf:params:oauth:grant-type:device_code"
SCOPE = "openid profile email offline_access"
STEP_SECONDS = 5.0  # RFC 8628, 3.5: the usual pause, and what slow_down adds


@dataclass(frozen=True)
class Begun:
    """A login that waits for somebody."""

    address: str
    code: str
    whole: str
    device_code: str
    seconds: float
    pause: float


def begin(provider: Provider, client: Client, login: Login) -> Begun:
    """Ask for a code."""
    form = {"scope": login.scope, "audience": login.audience, "resource": login.resource}
    said = provider.post("device_authorization_endpoint", client, form)
    try:
        # Some say verification_url, from before the standard.
        address = str(said.get("verification_uri") or said["verification_url"])
        pause = float(said.get("interval") or STEP_SECONDS)
        whole = str(said.get("verification_uri_complete") or "")
        return Begun(address, str(said["user_code"]), whole, str(said["device_code"]), float(said["expires_in"]), pause)
    except (KeyError, TypeError, ValueError):
        raise LoginProblem(f"The identity provider {provider.issuer} answers without a code.") from None


def wait(
    provider: Provider,
    client: Client,
    begun: Begun,
    *,
    ticks: Callable[[], float] = time.monotonic,
    sleep: Callable[[float], None] = time.sleep,
) -> dict[str, Any]:
    """Ask, as often as the provider wants to be asked, until somebody has confirmed the code or it has expired."""
    deadline, pause = ticks() + begun.seconds, begun.pause
    expired = f"The code was not confirmed within {begun.seconds:.0f} seconds: begin again."
    while True:
        if ticks() + pause > deadline:
            raise LoginProblem(expired)
        sleep(pause)
        try:
            return provider.post("token_endpoint", client, {"grant_type": GRANT, "device_code": begun.device_code})
        except Unreachable:
            pause = min(2 * pause, 60.0)  # RFC 8628, 3.5: exponentially
        except Refused as problem:
            if problem.code == "slow_down":
                pause += STEP_SECONDS
            elif problem.code == "access_denied":
                raise LoginProblem(f"The login was refused at {provider.issuer}.") from None
            elif problem.code == "expired_token":
                raise LoginProblem(expired) from None
            elif problem.code != "authorization_pending":
                raise


def log_in(settings: Settings, say: Callable[[str], None]) -> None:
    """From the code to the file."""
    if not (settings.issuer and settings.client_id):
        missing = "--client-id or MLOPS_OIDC_CLIENT_ID" if settings.issuer else "--issuer or MLOPS_OIDC_ISSUER"
        raise LoginProblem(f"Nothing says where to log in: give {missing}.")
    provider = Provider(settings.issuer, settings.ca_file)
    client = Client(settings.client_id, settings.secret(), settings.client_auth)
    asked = Login(
        issuer=settings.issuer,
        client_id=settings.client_id,
        client_secret=client.secret,
        client_auth=settings.client_auth,
        scope=settings.scope or SCOPE,
        audience=settings.audience,
        resource=settings.resource,
        ca_file=str(Path(settings.ca_file).absolute()) if settings.ca_file else "",
    )
    begun = begin(provider, client, asked)
    say(f"Open {begun.address} in a browser and enter the code {begun.code}")
    if begun.whole:
        say(f"or open {begun.whole}")
    say(f"The code is good for {begun.seconds / 60:.0f} minutes. Waiting ...")
    answer = wait(provider, client, begun)
    kept = {**asked.__dict__, "access_token": access_token(provider, answer), "lifetime": lifetime_of(answer)}
    refresh = answer.get("refresh_token")
    login = Login(**{**kept, "obtained_at": time.time(), "refresh_token": refresh if isinstance(refresh, str) else ""})
    with alone(settings.place):
        save(settings.place, login)
    if login.refresh_token:
        say(f"Logged in. The login is kept in {settings.place} and renewed for as long as the provider allows.")
    else:
        say(
            f"Logged in, until the token ends: {settings.issuer} gave nothing to renew it with (scopes that were asked for: {asked.scope})."
        )


def log_out(settings: Settings, say: Callable[[str], None]) -> None:
    """End the login, there if the provider lets one, and here in any case."""
    place = settings.place
    login = load(place)
    provider = Provider(login.issuer, settings.ca_file or login.ca_file)
    with alone(place):
        try:
            if login.refresh_token and provider.has("revocation_endpoint"):
                client = Client(login.client_id, login.client_secret, login.client_auth)
                provider.post(
                    "revocation_endpoint", client, {"token": login.refresh_token, "token_type_hint": "refresh_token"}
                )
        except Unreachable as problem:
            say(f"{problem} The login ends here; there it ends by itself.")
        finally:
            place.unlink(missing_ok=True)
    say(f"Logged out: {place} is gone.")


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m mlops_mlflow_client.login", description=__doc__)
    parser.add_argument(
        "--issuer", help="the identity provider, letter by letter as it calls itself (MLOPS_OIDC_ISSUER)"
    )
    parser.add_argument("--client-id", help="a client that may log in this way (MLOPS_OIDC_CLIENT_ID)")
    parser.add_argument("--client-secret-file", help="its secret, if it has one (MLOPS_OIDC_CLIENT_SECRET_FILE)")
    parser.add_argument("--scope", help=f"what is asked for (MLOPS_OIDC_SCOPE); without it {SCOPE}")
    parser.add_argument(
        "--audience", help="for whom tokens are to be, at providers that want it so (MLOPS_OIDC_AUDIENCE)"
    )
    parser.add_argument("--resource", help="the same after RFC 8707 (MLOPS_OIDC_RESOURCE)")
    parser.add_argument("--ca-file", help="authorities to trust at the provider (MLOPS_OIDC_CA_FILE)")
    parser.add_argument("--login-file", help="where the login is kept (MLOPS_OIDC_LOGIN_FILE)")
    parser.add_argument("--end", action="store_true", help="log out instead")
    given = {name: value for name, value in vars(parser.parse_args(arguments)).items() if value}
    end = given.pop("end", False)
    environment = {**os.environ, **{f"MLOPS_OIDC_{name.upper()}": value for name, value in given.items()}}

    def say(sentence: str) -> None:
        print(sentence, flush=True)

    try:
        (log_out if end else log_in)(Settings.read(environment), say)
    except LoginProblem as problem:
        print(f"Error: {problem}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("Not logged in." if not end else "", file=sys.stderr)
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
