"""README and docs: every command exists and is accepted, every link leads somewhere. `make test-all` runs "Try it" for real."""

from __future__ import annotations

import re
import shlex
import subprocess
from pathlib import Path

import pytest

from ansible_collections.mlops.mlflow.tests.unit.support.playbook import ROOT, play

PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md"))]


def shell_lines(page: Path) -> list[str]:
    text = page.read_text(encoding="utf-8")
    found = re.findall(r"^```bash\n(.*?)^```", text, re.M | re.S)
    return [re.sub(r"\s{2,}# .*$", "", line) for block in found for line in block.splitlines() if line.strip()]


def lines_with(word: str) -> list[tuple[str, str]]:
    return sorted({(page.name, line) for page in PAGES for line in shell_lines(page) if word in line})


def playbook_path(name: str, page: str, folder: Path) -> Path:
    """mlops.mlflow.site is what a clone calls site.yml. A user's own is written down from the page, whose block begins with its name."""
    short = name.removeprefix("mlops.mlflow.")
    path = ROOT / "playbooks" / f"{short}.yml" if short != name else ROOT / name
    text = next(one for one in PAGES if one.name == page).read_text(encoding="utf-8")
    if own := re.search(rf"^```yaml\n(# {re.escape(name)}\n.*?)^```", text, re.M | re.S):
        path = folder / name
        path.write_text(own[1], encoding="utf-8")
    return path


@pytest.mark.parametrize(("page", "line"), lines_with("ansible-playbook "))
def test_every_playbook_command_is_accepted(tmp_path: Path, page: str, line: str) -> None:
    """With the example inventory in the place of a user's own; the vault's password is not needed for the syntax."""
    words = shlex.split(line, comments=True)
    assert words[0] == "ansible-playbook", page
    arguments: list[str | Path] = []
    names = []
    rest = iter(words[1:])
    for word in rest:
        if word == "-i":
            environment = next(rest).removeprefix("inventories/")
            shown = ROOT / "inventories" / environment
            arguments += ["-i", str(shown if shown.exists() else ROOT / "inventories" / "prod")]
        elif word == "--vault-id":
            assert re.fullmatch(r"[a-z]+@(prompt|\S+)", next(rest)), line
        elif word in ("-e", "--extra-vars", "--limit"):
            value = next(rest)
            arguments += [] if value.startswith("@") else [word, value]  # a file of the user's own
        elif word.startswith("-"):
            arguments.append(word)
        else:
            names.append(word)
    assert len(names) == 1, line
    path = playbook_path(names[0], page, tmp_path)
    assert path.exists(), f"{page}: {line}"
    played = play(tmp_path, path, "--syntax-check", *[a for a in arguments if a not in ("--check", "--diff")])
    assert played.code == 0, played.output


@pytest.mark.parametrize(("page", "line"), lines_with("make "))
def test_every_make_target_exists(page: str, line: str) -> None:
    targets = re.findall(r"\bmake (?:-s )?([a-z][a-z-]*)", line)
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    for target in targets:
        assert re.search(rf"^{target}:", makefile, re.M), f"{page}: {line}"


def test_try_it_is_what_test_all_runs() -> None:
    shown = subprocess.run([ROOT / "tools" / "readme", "blocks"], capture_output=True, text=True, check=True).stdout
    block = shown.split("[Try it]\n")[1].split("\n[")[0].splitlines()
    assert [line.split()[0] for line in block] == ["make", "eval", "python", "make"]
    assert 'tools/readme" try' in (ROOT / "tools" / "test").read_text(encoding="utf-8")


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_somewhere(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    for target in re.findall(r"\]\(([^)#]+?)(?:#[^)]*)?\)", text):
        if "://" not in target:
            assert (page.parent / target).exists(), f"{page.name} links to {target}"
