# Copyright (c) 2026 the mlops.mlflow maintainers
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Write the files that standard input holds as JSON below a folder that is there whole or not at all: python3 -c ... FOLDER < SOURCES"""

from __future__ import annotations

import json
import os
import shutil
import sys
from pathlib import Path

os.umask(0o022)
folder = Path(sys.argv[1])
fresh = folder.with_name(f".{folder.name}.new")
shutil.rmtree(fresh, ignore_errors=True)
for name, content in json.load(sys.stdin).items():
    path = fresh / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(content, encoding="utf-8")
fresh.rename(folder)
