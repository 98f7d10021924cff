"""Where MLflow puts and lists what is logged at a URI. Runs in a Python that has MLflow: a URI (JSON) a line in, an answer a line out.

The libraries of the stores are replaced by what records how MLflow calls them, so nobody is asked and nothing is written.
"""

from __future__ import annotations

import contextlib
import json
import os
import sys
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from unittest import mock

# What makes the clients of the stores.
_MAKERS = (
    "mlflow.store.artifact.s3_artifact_repo._get_s3_client",
    "mlflow.store.artifact.azure_data_lake_artifact_repo._get_data_lake_client",
    "azure.identity.DefaultAzureCredential",
    "azure.storage.blob.BlobServiceClient",
    "google.cloud.storage.Client",
)


def place_of(uri: str, file: Path) -> dict[str, str]:
    """Log a file at the URI, list it, and return what the store's client was told."""
    from mlflow.store.artifact.artifact_repository_registry import get_artifact_repository

    client, accounts = mock.MagicMock(), []

    def make(*_arguments: Any, **named: Any) -> Any:
        accounts.extend([named["account_url"]] if "account_url" in named else [])
        return client

    with contextlib.ExitStack() as stack:
        for name in _MAKERS:
            stack.enter_context(mock.patch(name, make))
        repository = get_artifact_repository(uri)
        if hasattr(repository, "artifact_dir"):
            return {"directory": repository.artifact_dir}
        repository.log_artifact(str(file))
        repository.list_artifacts()
    return {**_told(client), "account": "".join(accounts)}


def _told(client: Any) -> dict[str, str]:
    """Bucket, key and prefix of the listing, from the calls that were recorded."""
    answer = {"bucket": "", "key": "", "listed": ""}
    for name, arguments, named in client.mock_calls:
        call = name.rsplit(".", 1)[-1]
        if call == "upload_file":
            answer.update(bucket=named["Bucket"], key=named["Key"])
        elif call == "paginate":
            answer["listed"] = named["Prefix"]
        elif call in ("bucket", "get_container_client", "get_file_system_client"):
            answer["bucket"] = arguments[0]
        elif call in ("blob", "upload_blob"):
            answer["key"] = arguments[0]
        elif call in ("get_directory_client", "get_file_client"):
            answer["key"] = f"{answer['key']}/{arguments[0]}".lstrip("/")
        elif call in ("list_blobs", "walk_blobs"):
            answer["listed"] = named.get("prefix", named.get("name_starts_with"))
        elif call == "get_paths":
            answer["listed"] = named["path"]
    return {**answer, "listed": str(answer["listed"]).removesuffix("/")}


def main() -> None:
    """Answer until nobody asks."""
    os.environ["AZURE_STORAGE_ACCESS_KEY"] = "a2V5"
    with TemporaryDirectory() as folder:
        file = Path(folder) / "file.txt"
        file.write_text("some text", encoding="utf-8")
        for line in sys.stdin:
            try:
                answer = place_of(json.loads(line), file)
            except Exception as error:  # what MLflow raises is an answer
                answer = {"refused": type(error).__name__, "text": str(error)}
            print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    main()
