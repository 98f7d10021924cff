# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""MLflow documents few of the names used here, so each use says so, and a missing one is a sentence, not a traceback."""

from __future__ import annotations

import importlib
from types import ModuleType


class Unsupported(RuntimeError):
    """This MLflow does not have what this package relies on."""


def relied_on(module: str, *names: str) -> ModuleType:
    """Import `module` and make sure that it has `names`."""
    loaded = importlib.import_module(module)
    missing = [name for name in names if not hasattr(loaded, name)]
    if missing:
        raise Unsupported(
            f"This version of MLflow has no {module}:{', '.join(missing)}, which mlops-mlflow-hooks relies on. "
            "Use an MLflow version that this release of mlops.mlflow supports, or a newer mlops.mlflow."
        )
    return loaded
