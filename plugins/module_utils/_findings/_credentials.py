# Copyright (c) 2026 the mlops.mlflow maintainers
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What is wrong with credentials that grow old and are replaced."""

from __future__ import annotations

from ansible_collections.mlops.mlflow.plugins.module_utils._findings._shape import CRITICAL, INFO, WARNING, Finding

REGISTERED = (
    Finding(
        "CREDENTIAL_AGE",
        WARNING,
        "A credential is older than it should become",
        "It was not replaced within the days that the variable allows.",
        "Run the playbook mlops.mlflow.rotate_credentials.",
    ),
    Finding(
        "CREDENTIAL_AGE_UNKNOWN",
        INFO,
        "Nobody knows how old a credential is",
        "It was made before the file of secrets kept days, or it comes from somewhere else.",
        "Run the playbook mlops.mlflow.rotate_credentials once; from then on its age is known.",
    ),
    Finding(
        "CREDENTIAL_PLACE",
        CRITICAL,
        "A credential is not kept where the rotation could replace it",
        "The inventory, a lookup or the command line sets the variable, and what the rotation wrote to the file of secrets would not count.",
        "Move the variable into the file of secrets (ansible-vault edit), or replace the credential where it is kept.",
    ),
    Finding(
        "CREDENTIAL_USER",
        CRITICAL,
        "The user of the access key does not exist",
        "The name was mistyped, or it is a user of another store or account than the one that was asked.",
        "Set mlflow_rotation_storage_user, or mlflow_rotation_maintenance_user for the key of maintenance, to the user's name as the store calls it.",
    ),
    Finding(
        "CREDENTIAL_KEY",
        CRITICAL,
        "The access key is not an active one of its user",
        "It was deleted or deactivated, or it belongs to another user.",
        "Correct mlflow_rotation_storage_user (for the key of maintenance mlflow_rotation_maintenance_user), or the keys in the file of secrets.",
    ),
    Finding(
        "CREDENTIAL_SHARED",
        CRITICAL,
        "Servers and maintenance share a user of the store",
        "The access keys of both are the same, or belong to one user; while one of them is replaced, the other would be taken for a lost one.",
        "Give maintenance a user of its own (mlflow_rotation_maintenance_user), and its key to "
        "mlflow_artifact_store_maintenance_access_key_id with its secret.",
    ),
    Finding(
        "CREDENTIAL_SECOND_KEY",
        CRITICAL,
        "The user has another access key already",
        "Somebody made it, and the rotation cannot know who uses it.",
        "Find out who uses it and delete it, or give whoever does a user of its own.",
    ),
    Finding(
        "CREDENTIAL_KEY_LIMIT",
        CRITICAL,
        "The user has as many access keys as the store allows",
        "AWS allows two for each user.",
        "Delete the one that nobody uses.",
    ),
    Finding(
        "CREDENTIAL_ADMIN",
        CRITICAL,
        "The administrator's keys may not manage access keys",
        "They are missing, wrong, deactivated or expired, or their policy does not allow it.",
        "Give keys that may iam:ListAccessKeys, CreateAccessKey, UpdateAccessKey and DeleteAccessKey on that user "
        "(mlflow_artifact_store_admin_access_key_id and mlflow_artifact_store_admin_secret_access_key).",
    ),
    Finding(
        "CREDENTIAL_SERVICE",
        CRITICAL,
        "The service that manages access keys gives no useful answer",
        "Its address is wrong, it is not reached from the controller, or the store has no IAM.",
        "Correct mlflow_rotation_endpoint_url; for AWS it is empty.",
    ),
    Finding(
        "CREDENTIAL_LIBRARY",
        CRITICAL,
        "The Python that asks has no boto3",
        "Access keys are managed from the controller, with the Python that runs Ansible.",
        "Install boto3 for it.",
    ),
    Finding(
        "CREDENTIAL_IN_USE",
        CRITICAL,
        "A server or a job does not run with the new credential",
        "It was left out, something on it sets another value, such as mlflow_server_extra_env, or the job began before.",
        "Remove what sets the other value and run the playbook again. The credential from before stays valid until then.",
    ),
)
