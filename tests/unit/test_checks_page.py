"""docs/how-to/check.md: its playbooks run as they stand, but for names and paths of the example; and the modules' pages render."""

from __future__ import annotations

import json
import os
import re
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from ansible_collections.mlops.mlflow.tests.unit.support.certificates import Authority
from ansible_collections.mlops.mlflow.tests.unit.support.http_peers import http_peer, server_context
from ansible_collections.mlops.mlflow.tests.unit.support.mlflow_peer import PASSWORD, mlflow
from ansible_collections.mlops.mlflow.tests.unit.support.playbook import BIN, ROOT, play, tool
from ansible_collections.mlops.mlflow.tests.unit.support.s3 import Store, allow, running_store

PAGE = (ROOT / "docs/how-to/check.md").read_text(encoding="utf-8")
MODULES = sorted(path.stem for path in (ROOT / "plugins/modules").glob("*.py"))


@pytest.fixture(name="store")
def _store() -> Iterator[Store]:
    with running_store() as store:
        yield store


@pytest.fixture(name="place")
def _place() -> Iterator[str]:
    """A directory where one is allowed: neither /tmp nor a home."""
    if os.geteuid() != 0:
        pytest.skip("needs root for a directory below /srv")
    with tempfile.TemporaryDirectory(prefix="mlops-mlflow-test-", dir="/srv") as place:
        yield place


def playbook(number: int, folder: Path, **replaced: str) -> Path:
    """The n-th playbook of the page with this in the place of names that lead nowhere here."""
    text = re.findall(r"^```yaml\n(.*?)^```", PAGE, re.M | re.S)[number]
    for word, other in {"hosts: mlflow_servers": "hosts: localhost", **replaced}.items():
        assert word in text
        text = text.replace(word, other)
    path = folder / "check.yml"
    path.write_text(text)
    return path


def here(port: int, authorities: Path, place: str) -> dict[str, str]:
    """What stands on this machine for the names of the page."""
    return {
        "https://mlflow.example.com": f"https://localhost:{port}",
        "/etc/mlflow/ca.pem": str(authorities),
        # A user whom every machine has.
        "user: mlflow": "user: root",
        "/srv/mlflow/artifacts": place,
    }


def test_a_place_an_address_and_a_server(tmp_path: Path, place: str) -> None:
    authority = Authority.make("test")
    file = authority.write(tmp_path / "ca.pem")
    with http_peer(mlflow(), context=server_context(authority, tmp_path, "localhost")) as port:
        played = play(
            tmp_path, playbook(0, tmp_path, **here(port, file, place)), "-e", f"mlflow_admin_password='{PASSWORD}'"
        )
    assert played.code == 0, played.output
    assert "admin sees 2 experiments" in played.output
    assert Path(place, ".mlops-mlflow/environment").read_text() == "prod"
    assert played.changed == 0


def test_what_is_wrong_is_one_sentence(tmp_path: Path, place: str) -> None:
    """The sentence that the page shows, but for the names."""
    authority = Authority.make("test")
    file = authority.write(tmp_path / "ca.pem")
    with http_peer(mlflow(), context=server_context(authority, tmp_path, "other.example.com")) as port:
        played = play(tmp_path, playbook(0, tmp_path, **here(port, file, place)), "-e", "mlflow_admin_password=x")
    shown = next(line.strip() for line in PAGE.splitlines() if line.startswith("    [ENDPOINT_TLS_NAME]"))
    wanted = shown.partition(": https://")[2].partition("): ")[2].removesuffix(" ...")
    assert played.code == 2
    assert wanted in played.output


def test_a_bucket(tmp_path: Path, store: Store) -> None:
    keys = store.users["full"]
    given = ["-e", f"mlflow_artifact_store_access_key_id={keys.id}"]
    given += [
        "-e",
        f"mlflow_artifact_store_secret_access_key={keys.secret}",
        "-e",
        "ansible_python_interpreter=" + str(BIN / "python"),
    ]
    replaced = {"https://s3.example.com": store.url, "s3://acme-mlflow-prod": "s3://bucket"}
    played = play(tmp_path, playbook(1, tmp_path, **replaced), *given)
    assert played.code == 0, played.output
    assert store.objects("mlflow") == {"mlflow/.mlops-mlflow/environment": b"prod"}


def test_what_identities_can_do(tmp_path: Path, seaweedfs: Store) -> None:
    """With a store that enforces conditions: nothing is found, not even a warning."""
    base = "arn:aws:s3:::bucket"
    listing = {**allow("s3:ListBucket", resource=base), "Condition": {"StringLike": {"s3:prefix": ["page", "page/*"]}}}
    least = [allow("s3:PutObject", "s3:GetObject", resource=f"{base}/page/*"), listing]
    server = seaweedfs.user("page-server", least)
    maintenance = seaweedfs.user("page-maintenance", [*least, allow("s3:DeleteObject", resource=f"{base}/page/*")])
    replaced = {
        "https://s3.example.com": seaweedfs.url,
        "s3://acme-mlflow-prod/mlflow": "s3://bucket/page",
        "s3://acme-mlflow-staging/mlflow": "s3://bucket/staging",
        "workstation.example.com": "localhost",
    }
    given = {
        "mlflow_artifact_store_access_key_id": server.id,
        "mlflow_artifact_store_secret_access_key": server.secret,
        "mlflow_artifact_store_maintenance_access_key_id": maintenance.id,
        "mlflow_artifact_store_maintenance_secret_access_key": maintenance.secret,
        "ansible_python_interpreter": str(BIN / "python"),
    }
    played = play(tmp_path, playbook(2, tmp_path, **replaced), "-e", json.dumps(given))
    assert played.code == 0, played.output
    assert "ok=3" in played.output
    assert "X-Amz-Signature" not in played.output
    assert set(seaweedfs.objects("page")) == {"page/.mlops-mlflow/environment"}


def test_a_directory_that_is_shared(tmp_path: Path, place: str) -> None:
    text = (ROOT / "docs/how-to/share-a-directory.md").read_text(encoding="utf-8")
    [block] = re.findall(r"^```yaml\n(- .*?)^```", text, re.M | re.S)
    Path(place).chmod(0o750)
    path = tmp_path / "check.yml"
    path.write_text(
        block.replace("mlflow_servers", "localhost")
        .replace("/srv/mlflow/artifacts", place)
        .replace("user: mlflow", "user: root")
    )
    played = play(tmp_path, path)
    assert (played.code, played.changed) == (0, 0), played.output


@pytest.fixture(name="pages", scope="module")
def _pages(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """What ansible-doc makes of all modules."""
    names = [f"mlops.mlflow.{module}" for module in MODULES]
    shown = tool(tmp_path_factory.mktemp("doc"), "ansible-doc", "--type", "module", *names, "--json")
    assert shown.code == 0, shown.output
    return json.loads(shown.output[shown.output.index("{") : shown.output.rindex("}") + 1])


@pytest.mark.parametrize("module", MODULES)
def test_the_page_of_a_module_renders(pages: Any, module: str) -> None:
    """Also its examples: a list of tasks that name the module, with options that it has."""
    page = pages[f"mlops.mlflow.{module}"]
    options = page["doc"]["options"]
    assert all(option["description"] for option in options.values())
    assert page["return"]
    tasks = yaml.safe_load(page["examples"])
    used = [task[f"mlops.mlflow.{module}"] for task in tasks if f"mlops.mlflow.{module}" in task]
    assert used
    for arguments in used:
        arguments = arguments or {}
        assert set(arguments) <= set(options)
        assert {option for option, told in options.items() if told.get("required")} <= set(arguments)


def test_a_page_for_people_has_the_shared_options(tmp_path: Path) -> None:
    shown = tool(tmp_path, "ansible-doc", "--type", "module", "mlops.mlflow.mlflow_server_info")
    assert shown.code == 0, shown.output
    for option in ("fail_on", "timeout", "sandbox", "ca_file", "address", "expected_version"):
        assert re.search(rf"^[-=\s]+{option}\b", shown.output, re.M), option
