"""Writes docs/reference/findings.md from the registry in plugins/module_utils/_findings.py.

tools/generate_findings.py          write it
tools/generate_findings.py --check  exit 1 if it is not what would be written
"""

from __future__ import annotations

import argparse
import importlib.util
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
PAGE = ROOT / "docs/reference/findings.md"

HEAD = """\
# Findings

Whatever this collection refuses or reports begins with an identifier in brackets, names the host, the variable and its value, the limit
and what to do. Identifiers do not change between releases. A message that ends with *Nothing was changed.* comes before the first change.

This page is generated from the registry (`tools/generate_findings.py`).
"""


def registry() -> Mapping[str, Any]:
    """Return the findings by id. The file is loaded by its path, so that no environment is needed."""
    path = ROOT / "plugins/module_utils/_findings.py"
    spec = importlib.util.spec_from_file_location("mlops_mlflow_findings", path)
    if spec is None or spec.loader is None:
        raise FileNotFoundError(path)
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # dataclasses look their module up
    spec.loader.exec_module(module)
    findings: Mapping[str, Any] = module.FINDINGS
    return findings


def page() -> str:
    """Return the text of the page."""
    parts = [HEAD]
    for finding in sorted(registry().values(), key=lambda finding: str(finding.id)):
        parts.append(
            f"## `{finding.id}`\n\n"
            f"{finding.title} ({finding.severity}).\n\n"
            f"- **Cause:** {finding.cause}\n"
            f"- **Remedy:** {finding.remedy}\n"
        )
    return "\n".join(parts)


def main() -> int:
    """Write or compare."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true", help="compare instead of writing")
    if parser.parse_args().check:
        current = PAGE.exists() and PAGE.read_text(encoding="utf-8") == page()
        if not current:
            print(f"{PAGE.relative_to(ROOT)} is not current: run tools/generate_findings.py", file=sys.stderr)
        return 0 if current else 1
    PAGE.parent.mkdir(parents=True, exist_ok=True)
    PAGE.write_text(page(), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
