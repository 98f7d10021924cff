"""A probe answers within its time, whatever happens to it."""

from __future__ import annotations

import importlib.util
import os
import pwd
import sys
import time
from pathlib import Path
from types import ModuleType

import pytest

from ansible_collections.mlops.mlflow.plugins.module_utils import _probe

SECRET = "p\"w'{}\\n%s"


@pytest.fixture(name="probe")
def _probe_of(tmp_path: Path, request: pytest.FixtureRequest) -> ModuleType:
    path = tmp_path / "written_probe.py"
    path.write_text(
        f"from __future__ import annotations\nimport os, sys, time\n\n\ndef probe(request):\n{request.param}"
    )
    spec = importlib.util.spec_from_file_location("written_probe", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("probe", ["    print('noise')\n    return {'said': request['word']}\n"], indirect=True)
def test_a_request_with_any_character_is_answered(probe: ModuleType) -> None:
    assert _probe.run(probe, {"word": SECRET}, seconds=20).answer == {"said": SECRET}


@pytest.mark.parametrize("probe", ["    time.sleep(60)\n"], indirect=True)
def test_a_probe_that_hangs_is_ended(probe: ModuleType) -> None:
    begun = time.monotonic()
    assert _probe.run(probe, {}, seconds=1).timed_out
    assert time.monotonic() - begun < 10


@pytest.mark.parametrize(
    ("probe", "words"),
    [
        ("    raise RuntimeError('the reason')\n", "RuntimeError: the reason"),
        ("    os._exit(3)\n", "it ended with 3"),
        ("    print('mlops-mlflow-answer:{')\n    os._exit(0)\n", "it ended with 0"),
        ("    return []\n", "it ended with 0"),
    ],
    indirect=["probe"],
)
def test_a_probe_that_fails_leaves_one_line(probe: ModuleType, words: str) -> None:
    outcome = _probe.run(probe, {}, seconds=20)
    assert outcome.answer == {}
    assert not outcome.timed_out
    assert outcome.failure == words


@pytest.mark.parametrize("probe", ["    return {'arguments': sys.argv}\n"], indirect=True)
def test_no_secret_stands_in_the_command_line(probe: ModuleType) -> None:
    assert _probe.run(probe, {"word": SECRET}, seconds=20, python=sys.executable).answer == {"arguments": ["-"]}


@pytest.mark.parametrize("probe", ["    return {}\n"], indirect=True)
def test_an_interpreter_that_does_not_exist_is_said(probe: ModuleType) -> None:
    outcome = _probe.run(probe, {}, seconds=20, python="/nowhere/python")
    assert outcome.failure == "/nowhere/python could not be started: No such file or directory"


@pytest.mark.parametrize(
    "probe", ["    from a.package.elsewhere import twice\n    return {'said': twice(request['word'])}\n"], indirect=True
)
def test_a_file_that_is_sent_along_can_be_imported(probe: ModuleType, tmp_path: Path) -> None:
    path = tmp_path / "library.py"
    path.write_text("from __future__ import annotations\n\n\ndef twice(word: str) -> str:\n    return word * 2\n")
    spec = importlib.util.spec_from_file_location("a.package.elsewhere", path)
    assert spec is not None
    assert spec.loader is not None
    library = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(library)
    assert _probe.run(probe, {"word": SECRET}, seconds=20, libraries=[library]).answer == {"said": SECRET * 2}


@pytest.mark.parametrize("probe", ["    return {'size': len('x' * request['bytes'])}\n"], indirect=True)
def test_a_probe_cannot_fill_the_memory(probe: ModuleType) -> None:
    assert _probe.run(probe, {"bytes": 10**6}, seconds=20).answer == {"size": 10**6}
    assert _probe.run(probe, {"bytes": 4 * 1024**3}, seconds=20).failure == "MemoryError"


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root to ask as another user")
@pytest.mark.parametrize("probe", ["    return {'limit': __import__('resource').getrlimit(9)}\n"], indirect=True)
def test_a_lower_limit_of_memory_stays(probe: ModuleType, tmp_path: Path) -> None:
    """Who is not root may not raise a limit, and need not."""
    python = tmp_path / "python"
    python.write_text('#!/bin/sh\nulimit -v 1000000\nexec setpriv --reuid=65534 --clear-groups /usr/bin/python3 "$@"\n')
    python.chmod(0o755)
    assert _probe.run(probe, {}, seconds=20, python=str(python)).answer == {"limit": [1024000000, 1024000000]}


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root to ask as another user")
@pytest.mark.parametrize(
    "probe", ["    return {'user': os.getuid(), 'groups': os.getgroups(), 'place': os.getcwd()}\n"], indirect=True
)
def test_a_probe_asks_as_another_user(probe: ModuleType) -> None:
    answer = _probe.run(probe, {}, seconds=20, user="nobody", python="/usr/bin/python3").answer
    assert answer["user"] == pwd.getpwnam("nobody").pw_uid
    assert 0 not in answer["groups"]
    assert answer["place"] == "/"


@pytest.mark.parametrize("probe", ["    return {}\n"], indirect=True)
def test_the_sandbox_takes_user_and_settings(
    probe: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What systemd-run is told; a host that systemd booted shows what it does with it."""
    told = tmp_path / "systemd-run"
    told.write_text(f'#!/bin/sh\nprintf "%s\\n" "$@" >{tmp_path}/said\necho \'mlops-mlflow-answer:{{}}\'\n')
    told.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    _probe.run(probe, {}, seconds=20, sandbox=True, user="mlflow", properties=["ReadWritePaths=-/data"])
    said = (tmp_path / "said").read_text().splitlines()
    assert {"--property=User=mlflow", "--property=ReadWritePaths=-/data", "--property=RuntimeMaxSec=20"} <= set(said)
    assert any(word.startswith("--unit=mlflow-probe-") for word in said)
