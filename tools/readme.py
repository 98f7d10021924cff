"""What the README promises, taken from the README itself.

    tools/readme blocks        print its shell blocks, one after the other
    tools/readme try           run the block "Try it" as it stands, line by line, in one shell that stops at the first failure

`make test-all` runs the second: a host is made, MLflow installed, used by a client and taken away again.
"""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]


def blocks(text: str) -> dict[str, list[str]]:
    """Return the lines of each ```bash block by the bold words that introduce it (or the heading above it)."""
    found: dict[str, list[str]] = {}
    title, inside = "", False
    for line in text.splitlines():
        if inside:
            if line.startswith("```"):
                inside = False
            elif line.strip():
                found[title].append(line)
        elif line.startswith("```bash"):
            inside = True
            found.setdefault(title, [])
        elif heading := re.match(r"#+ (.*)|\*\*(.+?)\*\*", line):
            title = heading[1] or heading[2]
    return found


def commands(lines: list[str]) -> list[str]:
    """Drop the explanation behind each command."""
    return [re.sub(r"\s{2,}# .*$", "", line) for line in lines]


def main() -> int:
    found = blocks((ROOT / "README.md").read_text(encoding="utf-8"))
    if sys.argv[1:] == ["blocks"]:
        for title, lines in found.items():
            print(f"[{title}]", *commands(lines), sep="\n")
        return 0
    if sys.argv[1:] == ["try"]:
        # Each line is shown as it stands in the README, not with what the shell makes of it: that holds a password.
        shown = [f"printf '+ %s\\n' {shlex.quote(line)}\n{line}" for line in commands(found["Try it"])]
        script = "\n".join(["set -euo pipefail", *shown])
        # Not by standard input: the first command that reads it would swallow the rest.
        return subprocess.run(["bash", "-c", script], stdin=subprocess.DEVNULL, cwd=ROOT, check=False).returncode
    print(__doc__, file=sys.stderr)
    return 64


if __name__ == "__main__":
    sys.exit(main())
