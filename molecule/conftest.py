"""What the tests of an installation stand on: the inventory's variables, its secrets, its public address, a client."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.mlops.mlflow.molecule.shared import checks

SECRETS = [
    "mlflow_admin_password",
    "mlflow_flask_secret_key",
    "mlflow_crypto_kek_passphrase",
    "mlflow_database_migrator_password",
    "mlflow_database_server_a_password",
    "mlflow_database_server_b_password",
    "mlflow_certificates_ca_private_key",
]


@pytest.fixture(scope="module")
def variables(host: Any) -> dict[str, Any]:
    """The host's variables. Asked of Ansible itself, which decrypts the vault and evaluates templates."""
    names = [*SECRETS, "mlflow_certificates_ca_certificate", "mlflow_domain", "inventory_hostname"]
    plain = checks.Private(host.ansible.get_variables())
    missing = [name for name in names if name not in plain]
    assert not missing, f"the inventory of the scenario does not set {missing}"
    return plain


@pytest.fixture(scope="module")
def secrets(variables: dict[str, Any]) -> dict[str, str]:
    """Every generated secret of the environment."""
    return checks.Private({name: str(variables[name]) for name in SECRETS})


@pytest.fixture(scope="module")
def edge(variables: dict[str, Any]) -> checks.Edge:
    """The public address with the administrator's login."""
    return checks.Edge(
        name=str(variables["mlflow_domain"]),
        port=int(variables.get("mlflow_https_port", 443)),
        authorities=str(variables["mlflow_certificates_ca_certificate"]),
        username=str(variables.get("mlflow_admin_username", "admin")),
        password=str(variables["mlflow_admin_password"]),
    )


@pytest.fixture(scope="session")
def client_python() -> str:
    """The Python of an environment with MLflow's client, as `make client-env` puts it first in PATH."""
    given = os.environ.get("MLOPS_CLIENT_PYTHON", "")
    if given:
        return given
    tool = [str(checks.REPOSITORY / "tools" / "environment"), "client"]
    return subprocess.run(tool, capture_output=True, text=True, check=True).stdout.strip() + "/bin/python"


@pytest.fixture
def client(edge: checks.Edge, client_python: str, tmp_path: Path) -> Any:
    """Runs a program as a user's shell would after `eval "$(make -s client-env)"`; returns the finished process."""
    authorities = tmp_path / "ca.pem"
    authorities.write_text(edge.authorities, encoding="utf-8")
    environment = {
        "PATH": os.environ["PATH"],
        "HOME": str(tmp_path),
        "TMPDIR": str(tmp_path),
        "LANG": "C.UTF-8",
        "MLFLOW_TRACKING_URI": edge.url,
        "MLFLOW_TRACKING_USERNAME": edge.username,
        "MLFLOW_TRACKING_PASSWORD": edge.password,
        "MLFLOW_TRACKING_SERVER_CERT_PATH": str(authorities),
    }

    def run(*arguments: str, timeout: float = 300, **extra: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [client_python, *arguments],
            env={**environment, **extra},
            capture_output=True,
            text=True,
            timeout=timeout,
            check=False,
            cwd=tmp_path,
        )

    return run


@pytest.fixture(scope="session")
def playbook() -> Any:
    """Runs a playbook of the collection against the scenario's inventory, as an operator does."""
    directory = os.environ.get("MOLECULE_SCENARIO_DIRECTORY", "")
    assert directory, "run by molecule verify"

    def run(name: str, *arguments: str) -> subprocess.CompletedProcess[str]:
        command = ["ansible-playbook", "-i", f"{directory}/inventory", f"mlops.mlflow.{name}", *arguments]
        return subprocess.run(command, capture_output=True, text=True, timeout=3600, check=False, cwd=checks.REPOSITORY)

    return run


@pytest.fixture
def record(variables: dict[str, Any]) -> Any:
    """The state of the host that the last converge recorded: before or after it (record.yml)."""
    folder = Path(os.environ["MOLECULE_EPHEMERAL_DIRECTORY"])

    def read(when: str) -> dict[str, Any]:
        content = (folder / f"state-{when}-{variables['inventory_hostname']}.json").read_text(encoding="utf-8")
        return dict(json.loads(content))

    return read


@pytest.fixture(scope="module")
def once(host: Any) -> Any:
    """Skips what is proved in the scenario default only, and there before the power cut only; call it with a name."""

    def check(name: str) -> None:
        if os.environ.get("MOLECULE_SCENARIO_NAME", "default") != "default":
            pytest.skip("proved in the scenario default")
        boot = host.check_output(
            "systemctl show --value --property=UserspaceTimestampMonotonic --property=UserspaceTimestamp"
        )
        done = Path(os.environ["MOLECULE_EPHEMERAL_DIRECTORY"]) / f"{name}-of-boot"
        if done.exists() and done.read_text(encoding="utf-8") != boot:
            pytest.skip("proved before the power cut")
        done.write_text(boot, encoding="utf-8")

    return check
