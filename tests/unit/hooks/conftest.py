"""The package that a release holds, imported from its source."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[3] / "roles/mlflow_server/files/hooks/src"))
