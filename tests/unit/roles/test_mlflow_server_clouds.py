"""The server's login to Google Cloud Storage and Azure Blob: what MLflow gets, where secrets lie, and what is refused."""

from __future__ import annotations

import hashlib
import json
import random
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.mlops.mlflow.plugins.module_utils._store_login import store_login_problems
from ansible_collections.mlops.mlflow.tests.unit.roles.test_mlflow_server import (
    INPUT,
    NASTY,
    REFUSE,
    RENDER,
    ROLE,
    environment_of,
)
from ansible_collections.mlops.mlflow.tests.unit.support import emulators
from ansible_collections.mlops.mlflow.tests.unit.support.mlflow_server import in_release, running_mlflow
from ansible_collections.mlops.mlflow.tests.unit.support.playbook import play

WASBS = "wasbs://artifacts@acme.blob.core.windows.net/mlflow"
ABFSS = "abfss://artifacts@acme.dfs.core.windows.net/mlflow"
KEY = json.dumps(
    {
        "type": "service_account",
        "client_email": "mlflow@ml.iam.gserviceaccount.com",
        "private_key": "-----BEGIN PRIVATE KEY-----\n" + "".join(NASTY),
        "token_uri": "https://oauth2.googleapis.com/token",
    }
)
CONNECTION = "DefaultEndpointsProtocol=https;AccountName=acme;AccountKey=c2VjcmV0;EndpointSuffix=core.windows.net"


def render(folder: Path, **changes: Any) -> Path:
    """Let the role write its files for a store in a cloud."""
    (folder / "input.json").write_text(json.dumps({**INPUT, **changes}))
    for name in ("files", "templates"):
        (folder / name).symlink_to(ROLE / name)
    playbook = folder / "render.yml"
    more = RENDER.replace("mlflow-drain.j2]", "mlflow-drain.j2, probe.conf.j2, gcs.json.j2]")
    assert more != RENDER
    playbook.write_text(more.replace("ROLE", str(ROLE)))
    done = play(folder, playbook)
    assert done.code == 0, done.output
    return folder


def test_a_key_of_google_is_a_credential_of_systemd(tmp_path: Path) -> None:
    folder = render(
        tmp_path,
        mlflow_artifact_uri="gs://acme/mlflow",
        mlflow_artifact_store_gcs_credentials=KEY,
        mlflow_artifact_store_gcs_project="ml",
    )
    environment = environment_of(folder)
    assert environment["MLFLOW_ARTIFACTS_DESTINATION"] == "gs://acme/mlflow"
    assert environment["GOOGLE_CLOUD_PROJECT"] == "ml"
    assert "private_key" not in (folder / "server.env.j2").read_text()
    assert json.loads((folder / "gcs.json.j2").read_text()) == json.loads(KEY)
    unit = (folder / "mlflow-server@.service.j2").read_text()
    assert "\nLoadCredential=gcs.json:/etc/mlflow/slot-%i.gcs.json\n" in unit
    assert "\nEnvironment=GOOGLE_APPLICATION_CREDENTIALS=%d/gcs.json\n" in unit
    probe = (folder / "probe.conf.j2").read_text()
    assert "\nLoadCredential=gcs.json:/etc/mlflow/server.gcs.json\n" in probe
    assert "\nEnvironment=GOOGLE_APPLICATION_CREDENTIALS=%d/gcs.json\n" in probe


def test_with_the_identity_of_the_machine_there_is_nothing_to_log_in_with(tmp_path: Path) -> None:
    folder = render(tmp_path, mlflow_artifact_uri=ABFSS, mlflow_artifact_store_gcs_credentials=KEY)
    assert environment_of(folder)["MLFLOW_ARTIFACTS_DESTINATION"] == ABFSS
    assert not [name for name in environment_of(folder) if name.startswith(("GOOGLE", "AZURE", "AWS"))]
    for name in ("mlflow-server@.service.j2", "probe.conf.j2"):
        assert "gcs" not in (folder / name).read_text()


@pytest.mark.parametrize(
    ("uri", "given", "environment"),
    [
        (
            WASBS,
            {
                "mlflow_artifact_store_azure_connection_string": CONNECTION,
                "mlflow_artifact_store_azure_client_id": "c-1",
            },
            {"AZURE_STORAGE_CONNECTION_STRING": CONNECTION, "AZURE_CLIENT_ID": "c-1"},
        ),
        (
            WASBS,
            {"mlflow_artifact_store_azure_access_key": "".join(NASTY)},
            {"AZURE_STORAGE_ACCESS_KEY": "".join(NASTY)},
        ),
    ],
)
def test_a_login_to_azure_is_in_the_environment_that_only_root_reads(
    tmp_path: Path, uri: str, given: dict[str, str], environment: dict[str, str]
) -> None:
    folder = render(tmp_path, mlflow_artifact_uri=uri, **given)
    whole = environment_of(folder)
    assert whole["MLFLOW_ARTIFACTS_DESTINATION"] == uri
    assert {name: value for name, value in whole.items() if name.startswith("AZURE")} == environment


# ----- what a client comes to


def moved(folder: Path, **choices: Any) -> dict[str, str]:
    """A client logs a file into a run of a server that has what the role rendered, lists it and gets it back.

    Returns the name under which the store has to hold it, and its checksum.
    """
    rendered = environment_of(render(folder, **choices))
    kept = ("MLOPS_ARTIFACT", "MLFLOW_ARTIFACTS", "MLFLOW_DEFAULT_ARTIFACT", "AZURE", "GOOGLE", "STORAGE_EMULATOR")
    environment = {name: value for name, value in rendered.items() if name.startswith(kept)}
    large = folder / "größe 1+1.bin"
    large.write_bytes(random.Random(5).randbytes(24 * 2**20 + 5))
    checksum = hashlib.sha256(large.read_bytes()).hexdigest()
    with running_mlflow(folder, environment) as server:
        client = {"MLFLOW_TRACKING_URI": server.url}
        came = in_release("move", client, file=str(large), experiment="end-to-end")
        assert came["came"] == checksum
        assert came["listed"] == [f"data/{large.name}"]
        # Proxied: the client knows no store, and does not even ask for it.
        assert came["location"].startswith("mlflow-artifacts:/")
        assert set(came["sent"]) == {str(server.port)}
    return {f"mlflow/{came['location'].removeprefix('mlflow-artifacts:/')}/data/{large.name}": checksum}


def checksums(objects: dict[str, bytes]) -> dict[str, str]:
    return {name: hashlib.sha256(body).hexdigest() for name, body in objects.items()}


@pytest.mark.long
def test_a_file_goes_through_the_server_into_google_cloud_storage_and_comes_back_equal(tmp_path: Path) -> None:
    with emulators.running_gcs() as store:
        store.bucket("acme")
        stored = moved(
            tmp_path,
            mlflow_artifact_uri="gs://acme/mlflow",
            mlflow_artifact_store_gcs_project="emulated",
            mlflow_server_extra_env={"STORAGE_EMULATOR_HOST": store.url},
        )
        assert checksums(store.objects("acme")) == stored


@pytest.mark.long
def test_a_file_goes_through_the_server_into_azure_blob_and_comes_back_equal(tmp_path: Path) -> None:
    with emulators.running_azurite() as store:
        store.container("acme")
        stored = moved(
            tmp_path,
            mlflow_artifact_uri=f"wasbs://acme@{emulators.ACCOUNT}.blob.core.windows.net/mlflow",
            mlflow_artifact_store_azure_connection_string=store.connection_string,
        )
        assert checksums(store.objects("acme")) == stored


# ----- what is refused

GCS = {"kind": "gcs", "scheme": "gs"}
BLOB = {"kind": "azure", "scheme": "wasbs", "account": "acme"}
LAKE = {"kind": "azure", "scheme": "abfss", "account": "acme"}
SAS = "BlobEndpoint=https://acme.blob.core.windows.net/;SharedAccessSignature=sv=1&sig=s3cret"


@pytest.mark.parametrize(
    ("place", "given", "said"),
    [
        (GCS, {"gcs_credentials": KEY}, ""),
        (GCS, {"gcs_credentials": ""}, ""),
        (
            GCS,
            {"gcs_credentials": "s3cret"},
            "[STORE_GCS_CREDENTIALS] app1: mlflow_artifact_store_gcs_credentials is not JSON.",
        ),
        (
            GCS,
            {"gcs_credentials": "[]"},
            "[STORE_GCS_CREDENTIALS] app1: mlflow_artifact_store_gcs_credentials is not a JSON object.",
        ),
        (
            GCS,
            {"gcs_credentials": '{"type": "authorized_user", "refresh_token": "s3cret"}'},
            "[STORE_GCS_CREDENTIALS] app1: mlflow_artifact_store_gcs_credentials is of the type authorized_user, not service_account.",
        ),
        (
            GCS,
            {"gcs_credentials": '{"type": "service_account", "client_email": "a@b"}'},
            "[STORE_GCS_CREDENTIALS] app1: mlflow_artifact_store_gcs_credentials lacks private_key and token_uri.",
        ),
        (GCS, {"azure_access_key": "s3cret"}, ""),
        (BLOB, {"azure_connection_string": CONNECTION}, ""),
        (BLOB, {"azure_connection_string": SAS}, ""),
        (BLOB, {"azure_access_key": "s3cret"}, ""),
        (
            BLOB,
            {"azure_connection_string": "AccountName=acme;AccountKey=k;BlobEndpoint=http://127.0.0.1:10000/acme;"},
            "",
        ),
        (
            BLOB,
            {"azure_connection_string": "BlobEndpoint=http://127.0.0.1:10000/acme;SharedAccessSignature=sig=s3cret"},
            "",
        ),
        (
            BLOB,
            {"azure_connection_string": "AccountName=acme"},
            (
                "[STORE_AZURE_CREDENTIALS] app1: mlflow_artifact_store_azure_connection_string holds neither AccountKey nor"
                " SharedAccessSignature."
            ),
        ),
        (
            BLOB,
            {"azure_connection_string": "AccountKey=s3cret"},
            "[STORE_AZURE_CREDENTIALS] app1: mlflow_artifact_store_azure_connection_string holds neither AccountName nor BlobEndpoint.",
        ),
        (
            BLOB,
            {"azure_connection_string": CONNECTION.replace("acme", "other")},
            (
                "[STORE_AZURE_CREDENTIALS] app1: mlflow_artifact_store_azure_connection_string is of the account other, and the URI"
                " names acme."
            ),
        ),
        (
            BLOB,
            {"azure_connection_string": SAS.replace("acme", "other")},
            (
                "[STORE_AZURE_CREDENTIALS] app1: mlflow_artifact_store_azure_connection_string is of the account other, and the URI"
                " names acme."
            ),
        ),
        (
            BLOB,
            {"azure_connection_string": CONNECTION, "azure_access_key": "s3cret"},
            (
                "[STORE_AZURE_CREDENTIALS] app1: mlflow_artifact_store_azure_access_key and mlflow_artifact_store_azure_connection_string"
                " are both set, and MLflow looks at the second only."
            ),
        ),
        (
            LAKE,
            {"azure_access_key": "s3cret"},
            (
                "[STORE_AZURE_CREDENTIALS] app1: mlflow_artifact_store_azure_access_key is not used by MLflow with abfss://, where only an"
                " identity of the host logs in."
            ),
        ),
        (LAKE, {}, ""),
    ],
)
def test_a_login_that_would_be_another_one_is_named(place: dict[str, str], given: dict[str, str], said: str) -> None:
    empty = {"gcs_credentials": "", "azure_connection_string": "", "azure_access_key": ""}
    problems = store_login_problems(place, "app1", {**empty, **given})
    assert len(problems) == bool(said)
    if said:
        assert problems[0].startswith(said)
        assert problems[0].endswith("Nothing was changed.")
        assert "s3cret" not in problems[0]


def test_it_is_refused_before_anything_is_changed(tmp_path: Path) -> None:
    changes = {"mlflow_artifact_uri": "gs://acme/mlflow", "mlflow_artifact_store_gcs_credentials": "s3cret"}
    (tmp_path / "input.json").write_text(json.dumps({**INPUT, **changes}))
    playbook = tmp_path / "refuse.yml"
    playbook.write_text(REFUSE)
    done = play(tmp_path, playbook, "-vvv")
    assert done.code != 0
    assert "[STORE_GCS_CREDENTIALS] localhost: mlflow_artifact_store_gcs_credentials is not JSON." in " ".join(
        done.output.split()
    )
    assert "s3cret" not in done.output
    assert done.changed == 0
