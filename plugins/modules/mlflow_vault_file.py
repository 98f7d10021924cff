#!/usr/bin/python
# Copyright (c) 2026 the mlops.mlflow maintainers
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Keep secrets in a vault-encrypted file: an action of the controller, see plugins/action/mlflow_vault_file.py."""

from __future__ import annotations
