"""Writes the pages of docs/reference that are generated: findings.md from the registry in plugins/module_utils/_findings, roles.md
from every role's meta/argument_specs.yml.

tools/generate_reference.py          write them (with the development environment: tools/python)
tools/generate_reference.py --check  exit 1 if one is not what would be written
"""

from __future__ import annotations

import argparse
import importlib
import re
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).resolve().parents[1]
REFERENCE = ROOT / "docs/reference"

FINDINGS_HEAD = """\
# Findings

Whatever this collection refuses or reports begins with an identifier in brackets, names the host, the variable and its value, the limit
and what to do. Identifiers do not change between releases. A message that ends with *Nothing was changed.* comes before the first change.

This page is generated from the registry (`tools/generate_reference.py`).
"""

ROLES_HEAD = """\
# Roles and their variables

Every variable a user can set, with its type, its default and what a later change does. The choices that all roles share are those of
`mlflow_preflight`, entry point `choices`. A variable that begins with `mlflow_` and is not on this page is refused; names that begin with
`mlflow_site_` are yours.

This page is generated from each role's `meta/argument_specs.yml` (`tools/generate_reference.py`).
"""


def registry() -> Mapping[str, Any]:
    """Return the findings by id, from the collection that this clone is."""
    sys.path.insert(0, str(ROOT / ".collections"))
    package = importlib.import_module("ansible_collections.mlops.mlflow.plugins.module_utils._findings")
    findings: Mapping[str, Any] = package.FINDINGS
    return findings


def findings_page() -> str:
    """Return the text of findings.md."""
    parts = [FINDINGS_HEAD]
    for finding in sorted(registry().values(), key=lambda finding: str(finding.id)):
        parts.append(
            f"## `{finding.id}`\n\n"
            f"{finding.title} ({finding.severity}).\n\n"
            f"- **Cause:** {finding.cause}\n"
            f"- **Remedy:** {finding.remedy}\n"
        )
    return "\n".join(parts)


def sentences(text: str | list[str]) -> str:
    """Join what a specification says into one paragraph; Ansible's own mark-up becomes Markdown's."""
    joined = " ".join([text] if isinstance(text, str) else text)
    return " ".join(re.sub(r"\b[CVO]\(([^)]*)\)", r"`\1`", joined).split())


def options(specification: Mapping[str, Any], margin: str = "") -> Iterator[str]:
    """Return the list items of one entry point; what a dictionary may hold is a list below it."""
    for name, option in specification.get("options", {}).items():
        kind = option.get("type", "str") + (f" of {option['elements']}" if "elements" in option else "")
        facts = [kind]
        if option.get("choices"):
            facts.append("one of " + ", ".join(f"`{choice}`" for choice in option["choices"]))
        if option.get("required"):
            facts.append("required")
        if "default" in option:
            value = option["default"]
            facts.append(f"default `{value}`" if value not in ("", [], {}) else "empty by default")
        if option.get("no_log"):
            facts.append("secret")
        yield f"{margin}- **`{name}`** ({'; '.join(facts)}). {sentences(option.get('description', ''))}"
        yield from options(option, f"{margin}  ")


def roles_page() -> str:
    """Return the text of roles.md."""
    parts = [ROLES_HEAD]
    for path in sorted(ROOT.glob("roles/*/meta/argument_specs.yml")):
        role = path.parents[1].name
        parts.append(f"## {role}\n")
        for entry, specification in yaml.safe_load(path.read_text(encoding="utf-8"))["argument_specs"].items():
            parts.append(f"### {role}, `{entry}`\n\n{specification['short_description']}.\n")
            if specification.get("description"):
                parts.append(sentences(specification["description"]) + "\n")
            if lines := list(options(specification)):
                parts.append("\n".join(lines) + "\n")
    return "\n".join(parts)


PAGES: Mapping[Path, Callable[[], str]] = {
    REFERENCE / "findings.md": findings_page,
    REFERENCE / "roles.md": roles_page,
}


def main() -> int:
    """Write or compare."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true", help="compare instead of writing")
    check = parser.parse_args().check
    stale = [path for path, page in PAGES.items() if not path.exists() or path.read_text(encoding="utf-8") != page()]
    for path in stale:
        if check:
            print(f"{path.relative_to(ROOT)} is not current: run tools/generate_reference.py", file=sys.stderr)
        else:
            path.write_text(PAGES[path](), encoding="utf-8")
    return 1 if check and stale else 0


if __name__ == "__main__":
    sys.exit(main())
