# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""After a server was started: return when it is ready, or fail with the reason. Standard library only."""

from __future__ import annotations

import http.client
import os
import socket
import ssl
import sys
import time
from collections.abc import Mapping

from mlops_mlflow_hooks import READY


def address(environment: Mapping[str, str]) -> tuple[str, int]:
    """Where the server listens, as seen from this host."""
    host = environment["MLFLOW_HOST"]
    return {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host), int(environment["MLFLOW_PORT"])


def ask(environment: Mapping[str, str], seconds: float = 15) -> tuple[int, str]:
    """Ask once. Returns status and body; a server that cannot be reached raises OSError."""
    host, port = address(environment)
    connection = http.client.HTTPConnection(host, port, timeout=seconds)
    if certificate := environment.get("MLOPS_TLS_CERTIFICATE"):
        context = ssl.create_default_context(cafile=environment["MLOPS_TLS_CA"])
        context.load_cert_chain(certificate, environment["MLOPS_TLS_KEY"])
        plain = socket.create_connection((host, port), timeout=seconds)
        # The name that all servers of an environment share: the address may be one that no certificate has.
        connection.sock = context.wrap_socket(plain, server_hostname=environment["MLOPS_TLS_NAME"])
    try:
        connection.request("GET", READY)
        response = connection.getresponse()
        return response.status, response.read(2000).decode(errors="replace")
    finally:
        connection.close()


def alive(pid: str) -> bool:
    """Whether the server that is being waited for still runs."""
    if not pid.isdecimal():
        return True
    try:
        os.kill(int(pid), 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def main() -> int:
    """Ask until the answer is 200 or the time is over."""
    seconds = float(os.environ.get("MLOPS_READY_SECONDS", "150"))
    deadline = time.monotonic() + seconds
    last = "it did not answer"
    while time.monotonic() < deadline:
        if not alive(os.environ.get("MAINPID", "")):
            print(f"mlops: the server ended before it was ready; last seen: {last}.", file=sys.stderr)
            return 1
        try:
            status, body = ask(os.environ)
        except (OSError, http.client.HTTPException) as error:
            last = f"{type(error).__name__}: {error}"
        else:
            if status == 200:
                return 0
            last = f"{status} {body}"
        time.sleep(0.5)
    print(f"mlops: the server was not ready within {seconds:.0f} seconds; last seen: {last}.", file=sys.stderr)
    return 1


if __name__ == "__main__":
    sys.exit(main())
