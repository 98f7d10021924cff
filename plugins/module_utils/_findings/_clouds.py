# Copyright (c) 2026 the mlops.mlflow maintainers
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What is wrong with a store that a cloud's control plane makes, and with how servers log in to it."""

from __future__ import annotations

from ansible_collections.mlops.mlflow.plugins.module_utils._findings._shape import CRITICAL, WARNING, Finding

REGISTERED = (
    Finding(
        "STORE_CLOUD_SETTING",
        CRITICAL,
        "The cloud cannot be asked without this setting",
        "A store is to be made or compared, and what names its place or who asks was left empty.",
        "Set the variable, or mlflow_artifact_store_managed=false.",
    ),
    Finding(
        "STORE_CLOUD_TOKEN",
        CRITICAL,
        "The cloud does not take the administrator's token",
        "Tokens last an hour or so, and each cloud takes only its own.",
        "Get a new one (gcloud auth print-access-token, or az account get-access-token) and run it again.",
    ),
    Finding(
        "STORE_CLOUD_DENIED",
        CRITICAL,
        "The administrator may not do this",
        "The token is good, and its owner lacks a right on the project, subscription or resource group.",
        "Give its owner what docs/how-to/keep-artifacts-in-google-cloud-or-azure.md lists, or let somebody run it who has it.",
    ),
    Finding(
        "STORE_CLOUD_REFUSED",
        CRITICAL,
        "The cloud refuses what is wanted",
        "A name is taken or not allowed, a policy of the organisation forbids it, or a value does not fit the place.",
        "Correct what the cloud names.",
    ),
    Finding(
        "STORE_CLOUD_UNREACHABLE",
        CRITICAL,
        "The cloud's control plane does not answer",
        "The controller has no way to it, its certificate is not trusted there, or the cloud has a fault.",
        "Open the way from the controller (http_proxy and https_proxy count), correct the URL, or try again.",
    ),
    Finding(
        "STORE_CLOUD_FOREIGN",
        CRITICAL,
        "The store belongs to another environment",
        "It carries the name of another environment: two of them would share their artifacts.",
        "Give each environment a store of its own in mlflow_artifact_uri. It was not touched.",
    ),
    Finding(
        "STORE_CLOUD_UNMARKED",
        CRITICAL,
        "The store exists, is in use, and carries the name of no environment",
        "Somebody else made it, and may not want it to be changed.",
        "Set mlflow_artifact_store_adopt=true to take it over, mlflow_artifact_store_managed=false to leave it as it is, or another mlflow_artifact_uri.",
    ),
    Finding(
        "STORE_CLOUD_FIXED",
        CRITICAL,
        "What differs cannot be changed any more",
        "Clouds decide it when the thing is made, or somebody has switched it off or deleted it on purpose.",
        "Set the variable to what is there, undo it in the cloud, or use another name.",
    ),
    Finding(
        "STORE_CLOUD_MISSING",
        CRITICAL,
        "A part of the store does not exist",
        "It was not made yet, its name was mistyped, or it is in another project, subscription or resource group.",
        "Make it, correct the name, or set mlflow_artifact_store_managed=true.",
    ),
    Finding(
        "STORE_CLOUD_DIFFERENT",
        WARNING,
        "The store is not what the variables say",
        "Somebody else looks after it and has decided otherwise.",
        "Change it there, set the variable to what is there, or set mlflow_artifact_store_managed=true.",
    ),
    Finding(
        "STORE_CLOUD_PUBLIC",
        CRITICAL,
        "Everybody may use the bucket",
        "Its policy names allUsers or allAuthenticatedUsers.",
        "Take these members out of the policy; nobody but the servers needs the bucket.",
    ),
    Finding(
        "STORE_GCS_CREDENTIALS",
        CRITICAL,
        "The credentials are no key of a service account",
        "Google's library would not take them, and MLflow would then ask as nobody, without a word.",
        "Put the whole JSON of the key into the vault, or leave the variable empty where the host has a service account.",
    ),
    Finding(
        "STORE_AZURE_CREDENTIALS",
        CRITICAL,
        "The credentials are not those of the storage account",
        "MLflow takes a connection string before an access key and before the URI, and neither with abfss://.",
        "Use one of mlflow_artifact_store_azure_connection_string and mlflow_artifact_store_azure_access_key, of the account in mlflow_artifact_uri.",
    ),
)
