"""What playbooks said, task by task, from the files of Ansible's own junit callback; and whether check mode told the truth.

The callback writes one file a playbook into JUNIT_OUTPUT_DIR (.config/molecule/config.yml). A task is known by its host, its
place in the tree, its name and the how-manieth time it ran there, so the same playbook can be compared with and without --check.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import yaml

from ansible_collections.mlops.mlflow.molecule.shared import checks

ABSENT = "absent"
# Of record.yml, which the converge playbook imports: skipped in check mode and nowhere else.
WRITES_IN_EARNEST = "The state is kept beside Molecule's own"


@dataclass(frozen=True, order=True)
class Task:
    """One task on one host: where it stands, what it is called, and which time this is."""

    host: str
    place: str
    name: str
    time: int


@dataclass(frozen=True)
class Difference:
    """What check mode said of a task (or of one item of its loop), and what then happened."""

    host: str
    name: str
    check: str
    converge: str

    def __str__(self) -> str:
        return f"{self.host}: {self.name}: {self.check} in check mode, {self.converge} in earnest"


def _status(result: dict[str, Any]) -> str:
    # The callback leaves out the word skipped itself.
    if "skip_reason" in result:
        return "skipped"
    return "changed" if result.get("changed") else "ok"


def read(path: Path) -> dict[Task, list[str]]:
    """The status of each task of one playbook (ok, changed, skipped, failed), then those of the items of its loop."""
    found: dict[Task, list[str]] = {}
    times: Counter[tuple[str, str, str]] = Counter()
    for case in ElementTree.parse(path).iter("testcase"):
        match = re.fullmatch(r"\[(.*?)\] .*?: (.*)", str(case.get("name")), re.DOTALL)
        assert match, f"{path}: {case.get('name')} is not a task as the callback names it"
        host, name = match.groups()
        if host == "include":
            continue
        statuses = ["ok"]
        if case.find("skipped") is not None:
            statuses = ["skipped"]
        elif case.find("failure") is not None or case.find("error") is not None:
            statuses = ["failed"]
        else:
            result = json.loads(str(case.findtext("system-out")))
            statuses = [
                _status(result),
                *(_status(item) for item in result.get("results", []) if isinstance(item, dict)),
            ]
        place = re.sub(
            rf"^({re.escape(str(checks.REPOSITORY))}|.*/ansible_collections/mlops/mlflow)/",
            "",
            str(case.get("classname")),
        )
        times[host, place, name] += 1
        found[Task(host, place, name, times[host, place, name])] = statuses
    return found


def in_earnest(tasks: dict[Task, list[str]]) -> bool:
    """Whether a converge of Molecule was more than a check."""
    kept = [statuses[0] for task, statuses in tasks.items() if WRITES_IN_EARNEST in task.name]
    assert kept, "this was not the converge playbook"
    return "skipped" not in kept


def differences(check: dict[Task, list[str]], converge: dict[Task, list[str]]) -> list[Difference]:
    """Every task of the collection, and every item of a loop, about which check mode said something else than what then happened."""
    found = []
    for task in sorted(check.keys() | converge.keys()):
        if task.place.startswith("molecule/"):
            continue  # what Molecule does around the playbooks
        said, done = check.get(task, [ABSENT]), converge.get(task, [ABSENT])
        if said[0] != done[0]:
            found.append(Difference(task.host, task.name, said[0], done[0]))
        elif said != done:
            found.append(Difference(task.host, task.name, " ".join(said), " ".join(done)))
    return found


@dataclass(frozen=True)
class Allowed:
    """A difference with a reason, from rehearsal.yml."""

    task: str
    check: str
    converge: str
    why: str

    def covers(self, difference: Difference) -> bool:
        """Whether this entry is about that difference, and says what happened there."""
        name = difference.name.removeprefix("mlops.mlflow.")
        return (name, difference.check, difference.converge) == (self.task, self.check, self.converge)


def allowed(*groups: str) -> list[Allowed]:
    """The entries of these groups of rehearsal.yml."""
    content = yaml.safe_load(Path(__file__).with_name("vars").joinpath("rehearsal.yml").read_text(encoding="utf-8"))
    return [Allowed(**entry) for group in groups for entry in content[group]]
