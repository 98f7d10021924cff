"""Turns a host's variables, as `ansible-inventory --host` prints them, into the environment of an MLflow client."""

from __future__ import annotations

import argparse
import json
import re
import shlex
import sys
from pathlib import Path
from typing import Any

from ansible_collections.mlops.mlflow.plugins.module_utils import _transfer


class Unclear(Exception):
    """What is missing, in one sentence."""


def client_environment(
    variables: dict[str, Any], *, domain: str, ca: str, path: str, machine: str = "", secret: str = ""
) -> dict[str, str]:
    """The variables that MLflow's client reads. `domain` is what counts when the inventory computes it.

    `machine` is a client of the identity provider, and `secret` the file that holds its secret, if there is one: without a secret
    somebody logs in as this client with a browser.
    """
    host = variables.get("mlflow_domain", domain)
    if "{{" in host:  # ansible-inventory does not evaluate
        host = domain
    port = int(variables.get("mlflow_https_port", 443))
    uri = f"https://{host}" + ("" if port == 443 else f":{port}")
    return {
        **_login(variables, uri, machine, secret),
        "MLFLOW_TRACKING_SERVER_CERT_PATH": ca,
        **_transfer.client_environment(variables),
        "PATH": path,
    }


def _login(variables: dict[str, Any], uri: str, machine: str, secret: str) -> dict[str, str]:
    administrator = variables.get("mlflow_admin_username", "admin")
    password = {
        "MLFLOW_TRACKING_URI": uri,
        "MLFLOW_TRACKING_USERNAME": administrator,
        "MLFLOW_TRACKING_PASSWORD": variables["mlflow_admin_password"],
    }
    auth = variables.get("mlflow_auth", "basic")
    if machine:
        if auth != "oidc":
            raise Unclear(f"AS={machine} is a client of an identity provider, and mlflow_auth is {auth}: leave it out")
        issuer = str(variables.get("mlflow_oidc_issuer", ""))
        if not issuer or "{{" in issuer:
            raise Unclear("write the value of mlflow_oidc_issuer out: clients need it")
        return {
            "MLFLOW_TRACKING_URI": uri,
            "MLFLOW_TRACKING_AUTH": "mlops-oidc",
            "MLOPS_OIDC_ISSUER": issuer,
            "MLOPS_OIDC_CLIENT_ID": machine,
            **({"MLOPS_OIDC_CLIENT_SECRET_FILE": secret} if secret else {}),
        }
    if auth == "oidc":
        if administrator not in variables.get("mlflow_oidc_password_accounts", []):
            raise Unclear("with mlflow_auth=oidc say as which client of the provider: make client-env AS=ci")
        password["MLFLOW_TRACKING_URI"] = f"{uri}/accounts"
    return password


def export_lines(environment: dict[str, str]) -> list[str]:
    """What a POSIX shell evaluates; the client's programs come before those that the shell knows already."""
    return [
        f"export {name}={shlex.quote(value)}" + (':"$PATH"' if name == "PATH" else "")
        for name, value in environment.items()
    ]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    for option in ("domain", "ca", "path"):
        parser.add_argument(f"--{option}", required=True)
    parser.add_argument("--machine", default="")
    parser.add_argument("--secrets", default="", help="the folder with a file NAME.secret for a client")
    args = parser.parse_args()
    if not re.fullmatch(r"[A-Za-z0-9._-]*", args.machine):
        print(f"Error: AS={args.machine} is no client's name: letters, digits and .-_ make one", file=sys.stderr)
        return 1
    variables = json.load(sys.stdin)
    certificate = variables.get("mlflow_certificates_ca_certificate")
    if not certificate or "mlflow_admin_password" not in variables:
        print("Error: the secrets of dev are incomplete: run make up again", file=sys.stderr)
        return 1
    computed = [name for name, value in variables.items() if name.startswith("mlflow_artifact_") and "{{" in str(value)]
    if computed:  # ansible-inventory does not evaluate
        print(f"Error: write the values of {', '.join(sorted(computed))} out: clients need them", file=sys.stderr)
        return 1
    file = Path(args.secrets, f"{args.machine}.secret")
    secret = str(file) if args.machine and file.exists() else ""
    if secret and file.stat().st_mode & 0o077:
        print(f"Error: {file} is open to others: chmod 600 {file}", file=sys.stderr)
        return 1
    try:
        found = client_environment(
            variables, domain=args.domain, ca=args.ca, path=args.path, machine=args.machine, secret=secret
        )
    except Unclear as problem:
        print(f"Error: {problem}", file=sys.stderr)
        return 1
    Path(args.ca).write_text(certificate, encoding="utf-8")
    print("\n".join(export_lines(found)))
    if args.machine and not secret:
        print(
            f"No secret of {args.machine} is in {file}: put it there, or log in with python -m mlops_mlflow_client.login",
            file=sys.stderr,
        )
    return 0


if __name__ == "__main__":
    sys.exit(main())
