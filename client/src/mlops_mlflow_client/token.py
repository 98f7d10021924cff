"""Prints a token, for programs that are no clients of MLflow's: curl -H "Authorization: Bearer $(python -m mlops_mlflow_client.token)"."""

from __future__ import annotations

import os
import sys

from .settings import LoginProblem, Settings
from .tokens import Tokens


def main() -> int:
    try:
        print(Tokens(Settings.read(os.environ)).get())
    except LoginProblem as problem:
        print(f"Error: {problem}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
