# Copyright (c) 2026 the mlops.mlflow maintainers
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What is wrong with a store of artifacts."""

from __future__ import annotations

from ansible_collections.mlops.mlflow.plugins.module_utils._findings._shape import CRITICAL, Finding

REGISTERED = (
    Finding(
        "ARTIFACT_S3",
        CRITICAL,
        "The bucket does not do what MLflow needs",
        "Wrong keys, region, endpoint or policy.",
        "Correct what the message names; the identity needs to list the bucket and to put, get and delete below the prefix.",
    ),
)
