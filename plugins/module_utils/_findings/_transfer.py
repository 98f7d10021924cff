# Copyright (c) 2026 the mlops.mlflow maintainers
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What is wrong with the way that artifacts take. roles/mlflow_verify/files/verify.py carries the last two to the host."""

from __future__ import annotations

from ansible_collections.mlops.mlflow.plugins.module_utils._findings._shape import CRITICAL, Finding

REGISTERED = (
    Finding(
        "TRANSFER_SCHEME",
        CRITICAL,
        "Artifacts cannot take this way to this store",
        "Signed URLs are made for S3 only, and only a bucket can be reached by clients themselves.",
        "Set mlflow_artifact_transfer to proxied, or mlflow_artifact_uri to a bucket that it works with.",
    ),
    Finding(
        "TRANSFER_ENDPOINT",
        CRITICAL,
        "Clients could not find the store",
        "Signed URLs hold the endpoint as the servers call it, and a loopback address is another machine for everybody.",
        "Set mlflow_artifact_store_endpoint_url to an address that servers and clients reach, or mlflow_artifact_transfer to proxied.",
    ),
    Finding(
        "TRANSFER_PART",
        CRITICAL,
        "Parts of uploads have a size that S3 does not take",
        "All parts but the last have a least size, and none may exceed a largest one.",
        "Set it to a size in between, for example 64.",
    ),
    Finding(
        "TRANSFER_SERVER",
        CRITICAL,
        "Artifacts take another way than the chosen one",
        "The server was started with another mlflow_artifact_transfer, or an older release of it runs.",
        "Run the playbook mlops.mlflow.site, which starts the servers with the chosen way.",
    ),
    Finding(
        "TRANSFER_STORE",
        CRITICAL,
        "A client cannot use the artifact store itself",
        "The way from the client to the store is closed, the store's certificate is not trusted there, or the client has no good key.",
        "Open that way, set mlflow_artifact_transfer_ca_file and good keys on clients, or mlflow_artifact_transfer to proxied.",
    ),
)
