"""The comparison of check mode with what then happens finds what it is made for."""

from __future__ import annotations

import subprocess
from pathlib import Path

from ansible_collections.mlops.mlflow.molecule.shared import plays
from ansible_collections.mlops.mlflow.tests.unit.support.playbook import BIN, environment

PLAYBOOK = """
- name: A play
  hosts: localhost
  connection: local
  gather_facts: false
  tasks:
    - name: Files are written
      ansible.builtin.copy:
        content: "text"
        dest: "{here}/{{{{ item }}}}"
        mode: "0600"
      loop: [one, two]
    - name: A command runs
      ansible.builtin.command: touch {here}/one
    - name: Two are counted
      ansible.builtin.debug:
        msg: "{{{{ item }}}}"
      loop: [first, second]
      when: item == 'first' or not ansible_check_mode
    - name: Only rehearsals say this
      ansible.builtin.debug:
        msg: would
      changed_when: true
      when: ansible_check_mode
"""


def play(home: Path, *arguments: str) -> dict[plays.Task, list[str]]:
    """Run the playbook as the scenarios do."""
    given = home / "site.yml"
    given.write_text(PLAYBOOK.format(here=home), encoding="utf-8")
    said = home / f"said{len(arguments)}"
    extra = {
        "ANSIBLE_CALLBACKS_ENABLED": "ansible.builtin.junit",
        "JUNIT_OUTPUT_DIR": str(said),
        "JUNIT_HIDE_TASK_ARGUMENTS": "true",
    }
    command = [str(BIN / "ansible-playbook"), str(given), *arguments]
    done = subprocess.run(command, env={**environment(home), **extra}, cwd=home, capture_output=True, check=False)
    assert done.returncode == 0, done.stdout
    (written,) = said.glob("site-*.xml")
    return plays.read(written)


def test_a_difference_is_found_for_tasks_and_for_items_of_loops(tmp_path: Path) -> None:
    check, converge = play(tmp_path, "--check"), play(tmp_path)
    assert [(one.name, one.check, one.converge) for one in plays.differences(check, converge)] == [
        ("A command runs", "skipped", "changed"),
        ("Two are counted", "ok ok skipped", "ok ok ok"),
        ("Only rehearsals say this", "changed", "skipped"),
    ]
    (files,) = [statuses for task, statuses in check.items() if task.name == "Files are written"]
    assert files == ["changed", "changed", "changed"]


def test_a_task_that_never_came_is_a_difference() -> None:
    task = plays.Task("host", "roles/x/tasks/main.yml:1", "It is there", 1)
    (found,) = plays.differences({}, {task: ["ok"]})
    assert str(found) == "host: It is there: absent in check mode, ok in earnest"


def test_an_entry_covers_what_it_says_and_no_more() -> None:
    entry = plays.Allowed("mlflow_edge : Looked", "skipped", "ok", "why")
    assert entry.covers(plays.Difference("host", "mlops.mlflow.mlflow_edge : Looked", "skipped", "ok"))
    assert not entry.covers(plays.Difference("host", "mlops.mlflow.mlflow_edge : Looked", "skipped", "changed"))
    assert not entry.covers(plays.Difference("host", "mlops.mlflow.mlflow_edge : Done", "skipped", "ok"))


def test_every_entry_has_a_reason_and_hides_no_change() -> None:
    entries = plays.allowed("bare", "every")
    assert entries
    assert [entry.task for entry in entries if len(entry.why) < 20] == []
    assert {entry.converge for entry in entries} == {"ok"}
