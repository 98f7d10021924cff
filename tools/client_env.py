"""Turns a host's variables, as `ansible-inventory --host` prints them, into the environment of an MLflow client."""

from __future__ import annotations

import argparse
import json
import shlex
import sys
from pathlib import Path
from typing import Any

from ansible_collections.mlops.mlflow.plugins.module_utils import _transfer


def client_environment(variables: dict[str, Any], *, domain: str, ca: str, path: str) -> dict[str, str]:
    """The variables that MLflow's client reads. `domain` is what counts when the inventory computes it."""
    host = variables.get("mlflow_domain", domain)
    if "{{" in host:  # ansible-inventory does not evaluate
        host = domain
    port = int(variables.get("mlflow_https_port", 443))
    return {
        "MLFLOW_TRACKING_URI": f"https://{host}" + ("" if port == 443 else f":{port}"),
        "MLFLOW_TRACKING_USERNAME": variables.get("mlflow_admin_username", "admin"),
        "MLFLOW_TRACKING_PASSWORD": variables["mlflow_admin_password"],
        "MLFLOW_TRACKING_SERVER_CERT_PATH": ca,
        **_transfer.client_environment(variables),
        "PATH": path,
    }


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
    args = parser.parse_args()
    variables = json.load(sys.stdin)
    certificate = variables.get("mlflow_certificates_ca_certificate")
    if not certificate or "mlflow_admin_password" not in variables:
        print("Error: the secrets of dev are incomplete: run make up again", file=sys.stderr)
        return 1
    computed = [name for name, value in variables.items() if name.startswith("mlflow_artifact_") and "{{" in str(value)]
    if computed:  # ansible-inventory does not evaluate
        print(f"Error: write the values of {', '.join(sorted(computed))} out: clients need them", file=sys.stderr)
        return 1
    Path(args.ca).write_text(certificate, encoding="utf-8")
    print("\n".join(export_lines(client_environment(variables, domain=args.domain, ca=args.ca, path=args.path))))
    return 0


if __name__ == "__main__":
    sys.exit(main())
