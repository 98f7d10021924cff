# Copyright (c) 2026 the mlops.mlflow maintainers
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What is wrong with the bucket itself, with its settings, and with the choices about it."""

from __future__ import annotations

from ansible_collections.mlops.mlflow.plugins.module_utils._findings._shape import CRITICAL, INFO, WARNING, Finding

_MANAGE = "Let the role do it (mlflow_artifact_store_managed: true), or do it where the bucket is made."

REGISTERED = (
    Finding(
        "STORE_ENVIRONMENT",
        CRITICAL,
        "The bucket belongs to another environment",
        "Its tag names another environment: two environments would share their artifacts and their rights.",
        "Give each environment a bucket of its own in mlflow_artifact_uri.",
    ),
    Finding(
        "STORE_FOREIGN",
        CRITICAL,
        "The bucket holds what is not known to be this environment's",
        "It is not empty and carries no environment, so somebody else may rely on its settings.",
        "Use another bucket, or set mlflow_artifact_store_adopt to true if this one is the environment's.",
    ),
    Finding(
        "STORE_OWNER",
        CRITICAL,
        "The bucket belongs to another account",
        "Names of buckets are global: one that was deleted can be made again by anybody, who then gets the artifacts.",
        "Use a bucket of your account, or correct mlflow_artifact_store_s3_expected_owner.",
    ),
    Finding(
        "STORE_REGION",
        CRITICAL,
        "The bucket exists in another region",
        "A bucket cannot be moved.",
        "Set mlflow_artifact_store_region to the bucket's region, or use another bucket.",
    ),
    Finding(
        "STORE_MISSING",
        CRITICAL,
        "The bucket does not exist",
        "Its name was mistyped, it was not made yet, or it is in another store than the one that was asked.",
        "Make the bucket, or let the role do it (mlflow_artifact_store_managed: true).",
    ),
    Finding(
        "STORE_REQUIRED",
        CRITICAL,
        "The server lacks a feature that is required",
        "S3-compatible servers have parts of S3 only, and mlflow_artifact_store_s3_required names this one.",
        "Use a server that has it, or take its name out of mlflow_artifact_store_s3_required.",
    ),
    Finding(
        "STORE_LACKING",
        INFO,
        "The server lacks a feature",
        "S3-compatible servers have parts of S3 only. What it lacks is left out.",
        "Nothing has to be done. To refuse such a server, name the feature in mlflow_artifact_store_s3_required.",
    ),
    Finding(
        "STORE_DENIED",
        CRITICAL,
        "The administrator cannot see a setting of the bucket",
        "What cannot be seen cannot be kept in order.",
        "Allow the administrator's identity to read and write the bucket's settings, or set mlflow_artifact_store_managed to false.",
    ),
    Finding(
        "STORE_UNSEEN",
        INFO,
        "A setting of the bucket may not be seen",
        "The identity that looks has no right to read it.",
        "Look with an identity that may read the bucket's settings, if they are to be checked.",
    ),
    Finding(
        "STORE_ENCRYPTION",
        WARNING,
        "New objects are not encrypted as wanted",
        "The bucket's default encryption is another one, or none.",
        _MANAGE,
    ),
    Finding(
        "STORE_VERSIONING",
        WARNING,
        "Replaced and deleted objects are gone at once",
        "The bucket keeps no versions.",
        _MANAGE,
    ),
    Finding(
        "STORE_OWNERSHIP",
        WARNING,
        "Access lists of single objects are in force",
        "Whoever may write an object may then give it to others, whatever the policies say.",
        _MANAGE,
    ),
    Finding(
        "STORE_PUBLIC",
        WARNING,
        "The bucket may be made public",
        "Public access is not blocked in every way.",
        _MANAGE,
    ),
    Finding(
        "STORE_TLS",
        WARNING,
        "The bucket can be used without TLS",
        "Its policy does not deny requests over plain HTTP.",
        _MANAGE,
    ),
    Finding(
        "STORE_LIFECYCLE",
        WARNING,
        "What is not needed any more is kept",
        "No rule of the whole bucket's lifecycle removes it in time.",
        _MANAGE,
    ),
    Finding(
        "STORE_CHOICE",
        CRITICAL,
        "A choice about the store cannot work",
        "Its value has the wrong form, or contradicts another choice.",
        "Correct it; ansible-doc -t role mlops.mlflow.mlflow_artifact_store explains each variable.",
    ),
    Finding(
        "STORE_IDENTITY",
        CRITICAL,
        "The identity of MLflow is chosen in two ways",
        "What is made and what is given contradict each other.",
        "Choose one with mlflow_artifact_store_identity.",
    ),
    Finding(
        "STORE_KEYS",
        CRITICAL,
        "MLflow's own key is not there yet",
        "mlflow_artifact_store_identity is keys, and nobody has made the first key.",
        "Run the playbook mlops.mlflow.artifact_store, which makes it and keeps it in the vault.",
    ),
    Finding(
        "STORE_PLAIN_HTTP",
        CRITICAL,
        "The bucket would lock everybody out",
        "The endpoint speaks plain HTTP, and the policy that is wanted denies it.",
        "Use an endpoint with https://, or set mlflow_artifact_store_s3_tls_only to false if the way there is safe.",
    ),
    Finding(
        "STORE_ADMIN",
        CRITICAL,
        "The administrator may not make what is wanted",
        "The identity that manages the store lacks a right, or the server lacks the service.",
        "Allow it to the administrator's identity and run again: what was done stays and is not done twice.",
    ),
    Finding(
        "STORE_RUNTIME_DELETES",
        WARNING,
        "The servers may delete artifacts",
        "MLflow needs it only for users who delete single artifacts. Whoever takes over a server can then delete everything.",
        "Set mlflow_artifact_store_s3_runtime_may_delete to false, and delete with the identity of maintenance.",
    ),
    Finding(
        "STORE_TAG",
        WARNING,
        "The bucket does not carry its environment",
        "A bucket without the tag is not protected from another environment's changes.",
        _MANAGE,
    ),
)
