# Copyright (c) 2026 the mlops.mlflow maintainers
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The options of modules that ask an S3 store (plugins/module_utils/_s3_access.py)."""

from __future__ import annotations


class ModuleDocFragment:
    """One fragment: which store, as whom, and whom to trust. A module says itself what its identity has to be allowed."""

    DOCUMENTATION = r"""
options:
  access_key_id:
    description:
      - Access key to ask the store with. Empty leaves it to what the machine that asks offers, as MLflow does.
    type: str
    default: ""
  secret_access_key:
    description:
      - Secret of O(access_key_id).
    type: str
    default: ""
  session_token:
    description:
      - Session token, where the keys are temporary.
    type: str
    default: ""
  endpoint_url:
    description:
      - Endpoint of a store other than AWS, with its scheme, for example V(https://s3.example.com).
    type: str
    default: ""
  region:
    description:
      - Region of the bucket. Empty leaves it to the endpoint.
    type: str
    default: ""
  ca_file:
    description:
      - File on the machine that asks, with the authorities that signed the endpoint's certificate. Empty uses the usual ones.
    type: str
    default: ""
"""
