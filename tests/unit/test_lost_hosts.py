"""A host that is lost in the middle of a playbook: what must not go on without it does not."""

from __future__ import annotations

import json
from pathlib import Path

from ansible_collections.mlops.mlflow.tests.unit.support.playbook import ROOT, play

# The database is the only host of its play, as in site.yml and restore.yml, and does not answer.
PLAYS = [
    {
        "name": "Both are there",
        "hosts": "db1:app1",
        "gather_facts": False,
        "tasks": [{"name": "They have come", "ansible.builtin.debug": {"msg": "at first"}}],
    },
    {
        "name": "Only the database",
        "hosts": "db1",
        "gather_facts": False,
        "any_errors_fatal": True,
        "tasks": [{"name": "It is asked", "ansible.builtin.ping": {}}],
    },
]
GUARD = {
    "name": "Both are needed",
    "hosts": "db1:app1",
    "gather_facts": False,
    "any_errors_fatal": True,
    "tasks": [{"name": "Nobody is missing", "ansible.builtin.import_tasks": f"{ROOT}/playbooks/tasks/nobody_lost.yml"}],
}
LAST = {
    "name": "Only the server",
    "hosts": "app1",
    "gather_facts": False,
    "tasks": [{"name": "It goes on", "ansible.builtin.debug": {"msg": "something is stopped"}}],
}
INVENTORY = """\
db1 ansible_host=127.0.0.1 ansible_port=1 ansible_connection=ssh ansible_ssh_common_args='-o ConnectTimeout=2'
app1 ansible_connection=local
"""


def played(home: Path, *plays: object) -> tuple[int, str]:
    (home / "inventory").write_text(INVENTORY)
    (home / "play.yml").write_text(json.dumps(plays))
    done = play(home, home / "play.yml", "-i", home / "inventory")
    return done.code, done.output


def test_ansible_alone_goes_on(tmp_path: Path) -> None:
    """Why there is a guard: the play of the database ends with no host left, and the next one begins."""
    code, output = played(tmp_path, *PLAYS, LAST)
    assert code != 0
    assert "something is stopped" in output


def test_what_needs_all_hosts_is_not_begun_without_one(tmp_path: Path) -> None:
    code, output = played(tmp_path, *PLAYS, GUARD, LAST)
    assert code != 0
    assert "[HOST_LOST] app1: The connection to db1 was lost. Make it answer and run the playbook again" in output
    assert "something is stopped" not in output
