"""The table of bad input: what somebody sets or meets, what he runs, and the one sentence he reads.

`cases.py` holds what a controller alone can show, `live.py` what takes a host that something is wrong with. Both are of this
shape, are run by `run.py` and judged alike: the sentence is exact, no task changed anything, no traceback, no second word.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ansible_collections.mlops.mlflow.tests.unit.support.playbook import ROOT, Played, play

# What Ansible says of a loop after all that it said of its elements.
OF_A_LOOP = "One or more items failed"
# The promise; where something is in service and stays there, what stays.
ENDS = ("Nothing was changed.", "was not changed.", "stays as it is.", "goes on serving.")
NEVER = ("Traceback", "MODULE FAILURE", "An exception occurred", "Error while resolving value", "Unexpected failure")
# As Ansible prints a failed task: the host, its result. An element of a loop comes before its task and says it in full.
_FAILED = re.compile(
    r"(?:fatal|failed): \[([^]\s]+)[^]]*\](?:: FAILED!|: UNREACHABLE!|: | )?(?: ?\(item=.*?\))? => (\{.*\})$"
)


@dataclass(frozen=True)
class Case:
    """One mistake, and the sentence it leads to.

    In sentences {name} stands for the case's host and {inventory} for the path of its inventory, in variables and arguments
    {folder} for a folder that belongs to the run.
    """

    name: str  # also of the host in the inventory
    sentence: str  # several lines where several things have one cause
    # What is set wrongly, beside what is right for all cases.
    variables: Mapping[str, Any] = field(default_factory=dict)
    # What is typed behind `ansible-playbook -i INVENTORY PLAYBOOK`.
    arguments: tuple[str, ...] = ()
    # site.yml, another playbook, or ROLE or ROLE/ENTRY for a playbook that applies this role alone.
    playbook: str = "site.yml"
    # The whole inventory, where that is the mistake; "-" where none is given.
    inventory: str = ""
    # What the environment's file of secrets holds, and whether somebody forgot to encrypt it.
    vault: str = ""
    is_plain: bool = False
    # A type that is not the specified one, or a word that is none of the choices.
    is_choice: bool = False


def sentences(played: Played) -> dict[str, list[str]]:
    """What each host said last, in sentences: the message of each failed task, in its order."""
    said: dict[str, list[str]] = {}
    lines = played.output.splitlines()
    for line, after in zip(lines, [*lines[1:], ""], strict=True):
        match = _FAILED.match(line)
        if match and after != "...ignoring":
            message = str(json.loads(match[2]).get("msg", ""))
            said.setdefault(match[1], []).extend(text for text in message.splitlines() if text != OF_A_LOOP)
    return said


def said_about(said: Mapping[str, Iterable[str]], name: str) -> list[str]:
    """The sentences about a host: what it said, and what was said of it on the controller."""
    own = list(said.get(name, []))
    return own + [line for line in said.get("localhost", []) if f"] {name}: " in line or f" {name}, " in line]


def filled(value: Any, **words: str) -> Any:
    """The value with {name}, {inventory} and {folder} replaced wherever they stand in it."""
    if isinstance(value, str):
        for word, text in words.items():
            value = value.replace("{" + word + "}", text)
        return value
    if isinstance(value, Mapping):
        return {key: filled(inner, **words) for key, inner in value.items()}
    if isinstance(value, (list, tuple)):
        return type(value)(filled(inner, **words) for inner in value)
    return value


def role_playbook(folder: Path, role: str) -> Path:
    """A playbook of a user's own that applies one role to every host of the environment."""
    name, _slash, entry = role.partition("/")
    tasks = f"    - ansible.builtin.import_role: {{name: mlops.mlflow.{name}, tasks_from: {entry or 'main'}}}\n"
    path = folder / "play.yml"
    path.write_text(f"- hosts: mlflow\n  tasks:\n{tasks}", encoding="utf-8")
    return path


def play_case(folder: Path, playbook: str, inventory: Path | None, *arguments: str) -> Played:
    """What the user runs: a playbook of the collection, or one of his own that applies a role."""
    path = ROOT / playbook if playbook.endswith(".yml") else role_playbook(folder, playbook)
    given = () if inventory is None else ("-i", str(inventory))
    return play(folder, path, *given, *filled(arguments, folder=str(folder)), timeout=400)


def judge(played: Played, said: list[str], sentence: str) -> None:
    """One sentence, the right one; nothing changed; nothing that only a programmer can read."""
    assert played.code != 0, played.output
    assert played.changed == 0, played.output
    assert [word for word in NEVER if word in played.output] == []
    wanted = sentence.splitlines()
    assert said == wanted, "\n".join([*said, "-- expected:", sentence, "--", played.output[-3000:]])
    assert all(line.endswith(ENDS) for line in wanted)
