"""What several tests ask of an installation. Each check raises AssertionError, so that a test can prove that it can fail."""

from __future__ import annotations

import http.client
import json
import os
import re
import ssl
import subprocess
import time
from base64 import b64encode
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

REPOSITORY = Path(__file__).resolve().parents[2]
SERVER_CEILING = 1.3
UNIT_CEILING = 2.0
# They read what belongs to others.
BACKUP_CEILING = 2.8
JSON = {"Content-Type": "application/json"}


class Private(dict[str, Any]):
    """Variables that a failing test must not print."""

    def __repr__(self) -> str:
        return f"<{len(self)} variables>"


@dataclass
class Answer:
    """What a server said to one request."""

    status: int
    body: bytes
    headers: dict[str, str] = field(default_factory=dict)


@dataclass
class Edge:
    """The public address, as a client of the operations team's machine sees it."""

    name: str
    port: int
    authorities: str = field(repr=False)
    username: str
    password: str = field(repr=False)

    @property
    def url(self) -> str:
        """The public URL."""
        return f"https://{self.name}" + ("" if self.port == 443 else f":{self.port}")

    @property
    def authorization(self) -> str:
        """The header that logs in."""
        return "Basic " + b64encode(f"{self.username}:{self.password}".encode()).decode()

    def context(self) -> ssl.SSLContext:
        """TLS that trusts the installation's own authority and nothing else."""
        return ssl.create_default_context(cadata=self.authorities)

    def ask(
        self,
        method: str,
        path: str,
        *,
        login: bool = False,
        headers: dict[str, str] | None = None,
        body: str = "",
    ) -> Answer:
        """One request over verified TLS."""
        given = dict(headers or {})
        if login:
            given["Authorization"] = self.authorization
        connection = http.client.HTTPSConnection(self.name, self.port, timeout=30, context=self.context())
        try:
            connection.request(method, path, body=body.encode() or None, headers=given)
            answer = connection.getresponse()
            return Answer(answer.status, answer.read(), {name.lower(): value for name, value in answer.getheaders()})
        finally:
            connection.close()


def wait_until(condition: Callable[[], bool], seconds: float, what: str) -> float:
    """Wait for a condition, at most so many seconds; returns how long it took."""
    start = time.monotonic()
    while not condition():
        assert time.monotonic() - start < seconds, f"not after {seconds:.0f} s: {what}"
        time.sleep(0.5)
    return time.monotonic() - start


def unit_is_up(host: Any, name: str) -> None:
    """A service that runs now and after the next boot."""
    service = host.service(name)
    assert service.is_running, f"{name} does not run"
    assert service.is_enabled, f"{name} would not start with the host"


def server_is_ready(host: Any) -> None:
    """A slot runs, and what it runs reaches its databases."""
    slots = live_slots(host)
    assert slots, "no slot of the server runs"
    for slot in slots:
        unit_is_up(host, f"mlflow-server@{slot}")
        status = ready_status(host, slot)
        assert status == 200, f"/mlops/ready of slot {slot} answers {status}"


def live_slots(host: Any) -> list[str]:
    """The slots whose unit runs."""
    return [slot for slot in ("a", "b") if host.service(f"mlflow-server@{slot}").is_running]


def ready_status(host: Any, slot: str) -> int:
    """What the readiness endpoint says on loopback; 0 if nothing listens."""
    port = {"a": 5001, "b": 5002}[slot]
    code = (
        "import urllib.request, urllib.error, sys\n"
        f"try: print(urllib.request.urlopen('http://127.0.0.1:{port}/mlops/ready', timeout=20).status)\n"
        "except urllib.error.HTTPError as error: print(error.code)\n"
        "except OSError: print(0)\n"
    )
    return int(host.run("python3 -c %s", code).stdout)


def starts(host: Any, *names: str) -> dict[str, str]:
    """The id of the current start of each unit: another one after every restart."""
    return {name: host.check_output("systemctl show --value --property=InvocationID %s", name) for name in names}


def exposures(host: Any) -> dict[str, float]:
    """`systemd-analyze security` of every service of ours, template instances included."""
    listed = host.check_output("systemctl list-unit-files --no-legend --no-pager 'mlflow-*.service'")
    names = [line.split()[0].replace("@.service", "@a.service") for line in listed.splitlines() if line.strip()]
    found = {}
    for name in names:
        said = host.run("systemd-analyze security --no-pager %s", name).stdout
        match = re.search(r"Overall exposure level for \S+: ([\d.]+)", said)
        assert match, f"systemd-analyze says nothing about {name}: {said[-300:]}"
        found[name] = float(match.group(1))
    return found


def query(host: Any, database: str, text: str) -> list[str]:
    """Rows of a query as PostgreSQL's administrator."""
    command = "runuser -u postgres -- psql -XqAt -v ON_ERROR_STOP=1 -d %s -c %s"
    return [line for line in host.check_output(command, database, text).splitlines() if line]


def as_login(host: Any, role: str, password: str, database: str, text: str) -> subprocess.CompletedProcess[str]:
    """A query with a login of the installation; the password goes in on standard input."""
    script = "\n".join(
        [
            "import json, os, subprocess, sys",
            "given = json.loads(sys.stdin.readline())",
            "os.environ.update(PGPASSWORD=given['password'], PGHOST='/run/postgresql')",
            "done = subprocess.run(['psql', '-XqAtw', '-U', given['role'], '-d', given['database'], '-c', given['text']],",
            "                      capture_output=True, text=True)",
            "print(json.dumps([done.returncode, done.stdout, done.stderr]))",
        ]
    )
    request = json.dumps({"role": role, "password": password, "database": database, "text": text})
    code, out, err = json.loads(run_with_input(host, ["python3", "-c", script], request + "\n"))
    return subprocess.CompletedProcess(role, code, out, err)


def run_with_input(host: Any, command: list[str], given: str) -> str:
    """A command on the host, with standard input: nothing of it in a process list. Over SSH as testinfra itself does it."""
    variables = host.ansible.get_variables()
    address = variables.get("ansible_host", variables["inventory_hostname"])
    options = str(variables["ansible_ssh_common_args"]).split()
    quoted = " ".join("'" + word.replace("'", "'\\''") + "'" for word in command)
    ssh = ["ssh", "-i", str(variables["ansible_ssh_private_key_file"]), *options, f"root@{address}", quoted]
    done = subprocess.run(ssh, input=given, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, f"{command[0]} on {address}: {done.stderr[-800:]}"
    return done.stdout


def differences(before: dict[str, Any], after: dict[str, Any]) -> dict[str, tuple[Any, Any]]:
    """Keys whose values differ, with both values."""
    keys = sorted(before.keys() | after.keys())
    return {key: (before.get(key), after.get(key)) for key in keys if before.get(key) != after.get(key)}


def a_second_converge_changed_nothing(name: str) -> dict[str, Any]:
    """Compares files, starts and rows of a host as record.yml recorded them around the last converge; returns those before it."""
    folder = Path(os.environ["MOLECULE_EPHEMERAL_DIRECTORY"])
    before, after = (
        dict(json.loads((folder / f"state-{when}-{name}.json").read_text(encoding="utf-8")))
        for when in ("before", "after")
    )
    assert len(before["files"]) > 2
    for what in ("files", "units", "databases"):
        found = differences(before[what], after[what])
        assert found == {}, f"{what}: {found}"
    return before


def connects(host: Any, address: str, port: int) -> bool:
    """Whether a TCP connection from that host is established within three seconds."""
    code = f"import socket; socket.create_connection(({address!r}, {port}), timeout=3)"
    return int(host.run("python3 -c %s", code).rc) == 0


def hosts_tool(*arguments: str) -> str:
    """The driver of the test hosts."""
    done = subprocess.run([str(REPOSITORY / "tools/hosts"), *arguments], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stderr


@contextmanager
def full(host: Any, place: str) -> Iterator[None]:
    """The file system of a place has no room left."""
    host.check_output("sh -c %s", f"dd if=/dev/zero of={place}/ballast bs=64k 2>/dev/null || true")
    try:
        assert host.check_output("df --output=avail %s | tail -n 1", place).strip() == "0"
        assert host.run("sh -c %s", f"echo more >{place}/more").rc != 0, f"{place} is not full"
        yield
    finally:
        host.check_output("rm -f %s %s", f"{place}/ballast", f"{place}/more")
