"""No generated secret is anywhere but in the files that are meant to hold it."""

from __future__ import annotations

import json
import os
import urllib.parse
from base64 import b64encode
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_pem_private_key

from ansible_collections.mlops.mlflow.molecule.shared import checks

HUNTER = (Path(checks.__file__).parent / "hunt.py").read_text(encoding="utf-8")


def key_lines(pem: str) -> list[str]:
    """Lines of a private key that say something secret: a key also holds its public half, which others may see."""
    public = (
        load_pem_private_key(pem.encode(), None)
        .public_key()
        .public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    )
    seen = b64encode(public).decode()
    return [line for line in pem.splitlines() if len(line) >= 32 and "-----" not in line and line not in seen]


def needles(secrets: dict[str, str]) -> dict[str, list[str]]:
    """How each secret could appear: as it is, in a URI, in a login header; a key by its lines."""
    found = {}
    for name, value in secrets.items():
        if "-----BEGIN" in value:
            found[name] = key_lines(value)
        else:
            login = b64encode(f"admin:{value}".encode()).decode()
            found[name] = sorted({value, urllib.parse.quote(value, safe=""), login})
        assert all(len(needle) >= 12 for needle in found[name]), f"{name} is too short to look for"
        assert found[name], f"nothing to look for in {name}"
    return found


def hunt(host: Any, wanted: dict[str, list[str]]) -> list[str]:
    """Where on the host a secret was found. The secrets go in on standard input."""
    request = json.dumps({"needles": wanted, "service_user": "mlflow"})
    return list(json.loads(checks.run_with_input(host, ["python3", "-c", HUNTER], request)))


def test_no_secret_on_the_host(host: Any, secrets: dict[str, str]) -> None:
    """Processes and their environments, journal, units, logs, and every file that others can read."""
    assert hunt(host, needles(secrets)) == []


def test_the_hunter_finds_what_is_there(host: Any) -> None:
    """A planted word is found in a file, in a process list, in an environment and in the journal."""
    word = "planted-" + os.urandom(12).hex()
    host.run_test("echo %s > /var/tmp/planted", word)
    host.run_test("logger %s", word)
    host.run_test("systemd-run --quiet --collect --unit=planted --setenv=PLANTED=%s sleep 120", word)
    host.run_test("systemd-run --quiet --collect --unit=planted2 sh -c %s", f"sleep 120; : {word}")
    try:
        found = hunt(host, {"planted": [word]})
    finally:
        host.run_test("rm -f /var/tmp/planted")
        host.run_test("systemctl stop planted planted2")
    places = {line.split(": ", 1)[1].split(" ")[0] for line in found}
    assert places >= {"file", "journal", "environment", "command", "unit"}, found


def test_no_secret_in_what_ansible_said(secrets: dict[str, str]) -> None:
    """The log of converge at -vvv, with diffs, which whoever runs it keeps."""
    log = os.environ.get("MLOPS_CONVERGE_LOG", "")
    if not log:
        pytest.skip("MLOPS_CONVERGE_LOG names no log of converge")
    said = Path(log).read_text(encoding="utf-8", errors="replace")
    assert "PLAY RECAP" in said, f"{log} is no complete log of converge"
    found = [name for name, words in needles(secrets).items() if any(word in said for word in words)]
    assert found == []
