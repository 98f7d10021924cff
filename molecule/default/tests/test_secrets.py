"""No generated secret is anywhere but in the files that are meant to hold it."""

from __future__ import annotations

import os
from typing import Any

from ansible_collections.mlops.mlflow.molecule.shared import hunting


def test_no_secret_on_the_host(host: Any, secrets: dict[str, str]) -> None:
    """Processes and their environments, journal, units, logs, and every file that others can read."""
    assert hunting.hunt(host, hunting.needles(secrets)) == []


def test_the_hunter_finds_what_is_there(host: Any) -> None:
    """A planted word is found in a file, in a process list, in an environment and in the journal."""
    word = "planted-" + os.urandom(12).hex()
    host.run_test("echo %s > /var/tmp/planted", word)
    host.run_test("logger %s", word)
    host.run_test("systemd-run --quiet --collect --unit=planted --setenv=PLANTED=%s sleep 120", word)
    host.run_test("systemd-run --quiet --collect --unit=planted2 sh -c %s", f"sleep 120; : {word}")
    try:
        found = hunting.hunt(host, {"planted": [word]})
    finally:
        host.run_test("rm -f /var/tmp/planted")
        host.run_test("systemctl stop planted planted2")
    places = {line.split(": ", 1)[1].split(" ")[0] for line in found}
    assert places >= {"file", "journal", "environment", "command", "unit"}, found


def test_no_secret_in_what_ansible_said(secrets: dict[str, str]) -> None:
    """The log of converge."""
    assert hunting.in_the_log_of_converge(hunting.needles(secrets)) == []
