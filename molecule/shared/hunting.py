"""Looks for secrets on a host where none belongs."""

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

HUNTER = (Path(__file__).parent / "hunt.py").read_text(encoding="utf-8")


def key_lines(pem: str) -> list[str]:
    """Lines of a private key that say something secret: a key also holds its public half, which others may see."""
    public = (
        load_pem_private_key(pem.encode(), None)
        .public_key()
        .public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    )
    seen = b64encode(public).decode()
    return [line for line in pem.splitlines() if len(line) >= 32 and "-----" not in line and line not in seen]


def needles(secrets: dict[str, str], username: str = "admin") -> dict[str, list[str]]:
    """How each secret could appear: as it is, in a URI, in a login header; a key by its lines."""
    found = {}
    for name, value in secrets.items():
        if "-----BEGIN" in value:
            found[name] = key_lines(value)
        else:
            login = b64encode(f"{username}:{value}".encode()).decode()
            found[name] = sorted({value, urllib.parse.quote(value, safe=""), login})
        assert all(len(needle) >= 12 for needle in found[name]), f"{name} is too short to look for"
        assert found[name], f"nothing to look for in {name}"
    return found


def hunt(host: Any, wanted: dict[str, list[str]], service_user: str = "mlflow") -> list[str]:
    """Where on the host a secret was found. The secrets go in on standard input."""
    request = json.dumps({"needles": wanted, "service_user": service_user})
    return list(json.loads(checks.run_with_input(host, ["python3", "-c", HUNTER], request)))


def in_the_log_of_converge(wanted: dict[str, list[str]]) -> list[str]:
    """Which secrets stand in what converge said at -vvv, with diffs: whoever runs it keeps that."""
    log = os.environ.get("MLOPS_CONVERGE_LOG", "")
    if not log:
        pytest.skip("MLOPS_CONVERGE_LOG names no log of converge")
    said = Path(log).read_text(encoding="utf-8", errors="replace")
    assert "PLAY RECAP" in said, f"{log} is no complete log of converge"
    return [name for name, words in wanted.items() if any(word in said for word in words)]
