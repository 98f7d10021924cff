# Copyright (c) 2026 the mlops.mlflow maintainers
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""How a module is told which S3 store to ask and as whom, and how boto3 is told. Pure.

The options are documented in plugins/doc_fragments/s3.py.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

OPTIONS: Mapping[str, Mapping[str, Any]] = {
    "access_key_id": {"type": "str", "default": ""},
    "secret_access_key": {"type": "str", "default": "", "no_log": True},
    "session_token": {"type": "str", "default": "", "no_log": True},
    "endpoint_url": {"type": "str", "default": ""},
    "region": {"type": "str", "default": ""},
    "ca_file": {"type": "str", "default": ""},
}


def client_arguments(given: Mapping[str, Any]) -> dict[str, Any]:
    """Return what a client of boto3 is made with; what is empty is left to what the machine offers.

    Args:
        given: a value for each of OPTIONS; others beside them do not count.
    """
    return {
        "aws_access_key_id": given["access_key_id"] or None,
        "aws_secret_access_key": given["secret_access_key"] or None,
        "aws_session_token": given["session_token"] or None,
        "endpoint_url": given["endpoint_url"] or None,
        "region_name": given["region"] or None,
        "verify": given["ca_file"] or None,
    }
