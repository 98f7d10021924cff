"""SeaweedFS: an S3, IAM and STS server that really enforces policies, with their conditions. Each start has ports and a folder of its own.

What it lacks and what AWS does otherwise is what `s3.py` (moto) is for.
"""

from __future__ import annotations

import contextlib
import json
import os
import random
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from ansible_collections.mlops.mlflow.tests.unit.support.environments import weed
from ansible_collections.mlops.mlflow.tests.unit.support.peers import LOOPBACK
from ansible_collections.mlops.mlflow.tests.unit.support.postgresql import end_with_parent
from ansible_collections.mlops.mlflow.tests.unit.support.s3 import Keys, Store, usual_users

ADMIN = Keys("administrator", "Administrators0Secret0Of0Forty0Letters00")
# Every port that it would bind, also those of what nobody asked for; 0 leaves one out.
_PORTS = (
    "master.port",
    "master.port.grpc",
    "volume.port",
    "volume.port.grpc",
    "filer.port",
    "filer.port.grpc",
    "s3.port",
    "s3.port.grpc",
)
_SETTINGS = (
    "-filer",
    "-s3",
    "-s3.iam.readOnly=false",
    # A bucket that is missing must be missing for administrators as well.
    "-s3.autoCreateBucket=false",
    "-s3.port.iceberg=0",
    "-s3.port.lance=0",
    "-master.telemetry=false",
    # Each bucket takes several volumes; with fewer, writing ends after some buckets. Volumes are made as they are needed.
    "-volume.max=500",
    "-master.volumeSizeLimitMB=64",
    "-volume.preStopSeconds=0",
    # A disk that others have nearly filled is no reason to refuse a test's bytes.
    "-volume.minFreeSpace=100MiB",
)
_SECONDS = 120


@contextlib.contextmanager
def running_seaweedfs(
    *, certificate: tuple[Path, Path] | None = None, authority: str = "", iam: Mapping[str, Any] | None = None
) -> Iterator[Store]:
    """Start a server with a bucket `bucket` and the users that `s3.running_store` has as well; end it afterwards.

    Args:
        certificate: certificate (with its chain) and key; with them it speaks TLS.
        authority: path of the authorities with which clients trust that certificate.
        iam: settings of sessions and their roles (STS), which it has not otherwise.
    """
    with tempfile.TemporaryDirectory(prefix="mlops-weed-") as name:
        folder = Path(name)
        credentials = [{"accessKey": ADMIN.id, "secretKey": ADMIN.secret}]
        identity = {"name": "administrator", "actions": ["Admin"], "credentials": credentials}
        (folder / "s3.json").write_text(json.dumps({"identities": [identity]}), encoding="utf-8")
        (folder / "data").mkdir()
        files = [f"-s3.cert.file={certificate[0]}", f"-s3.key.file={certificate[1]}"] if certificate else []
        if iam:
            (folder / "iam.json").write_text(json.dumps(iam), encoding="utf-8")
            files.append(f"-s3.iam.config={folder / 'iam.json'}")
        for _try in range(5):
            ports = _free_ports()
            process = _start(folder, [*files, *(f"-{port}={number}" for port, number in ports.items())])
            try:
                url = f"{'https' if certificate else 'http'}://{LOOPBACK}:{ports['s3.port']}"
                store = Store(url, ADMIN, ca=authority)
                if not _is_there(store, process, folder / "log"):
                    continue
                store.client("s3").create_bucket(Bucket="bucket")
                store.users.update(usual_users(store))
                _wait_for_users(store)
                yield store
                return
            finally:
                # It takes its time to end in order, and nothing of it is needed any more.
                process.kill()
                process.wait(20)
                for port in ports.values():
                    for left in Path("/tmp").glob(f"seaweedfs-*-{port}.sock"):
                        left.unlink(missing_ok=True)
        raise AssertionError("SeaweedFS found no free ports")


def _free_ports() -> dict[str, int]:
    """A port for everything it binds, all different, and none that the kernel gives to whoever connects somewhere meanwhile."""
    with contextlib.ExitStack() as held:
        ports: dict[str, int] = {}
        while len(ports) < len(_PORTS):
            number = random.randrange(20000, 32000)
            probe = held.enter_context(socket.socket())
            with contextlib.suppress(OSError):
                probe.bind((LOOPBACK, number))
                ports[_PORTS[len(ports)]] = number
        return ports


def _start(folder: Path, arguments: list[str]) -> subprocess.Popen[bytes]:
    command = [
        str(weed()),
        "server",
        f"-dir={folder / 'data'}",
        f"-ip={LOOPBACK}",
        f"-ip.bind={LOOPBACK}",
        f"-s3.config={folder / 's3.json'}",
        f"-filer.localSocket={folder / 'filer.sock'}",
        f"-s3.localSocket={folder / 's3.sock'}",
        *_SETTINGS,
        *arguments,
    ]
    with (folder / "log").open("wb") as log:
        return subprocess.Popen(
            command,
            cwd=folder,
            env={"PATH": os.environ["PATH"], "HOME": str(folder), "WEED_S3_SSE_KEY": "5e" * 32},
            stdout=log,
            stderr=log,
            preexec_fn=end_with_parent,
        )


def _is_there(store: Store, process: subprocess.Popen[bytes], log: Path) -> bool:
    """Wait until the server can take a request; false if somebody was quicker with one of its ports."""
    end = time.monotonic() + _SECONDS
    while time.monotonic() < end:
        if process.poll() is not None:
            said = log.read_text(errors="replace")
            assert "address already in use" in said, said[-2000:]
            return False
        with contextlib.suppress(Exception):  # whatever a driver makes of a server that is not there yet
            store.client("s3").list_buckets()
            return True
        time.sleep(0.2)
    raise AssertionError(log.read_text(errors="replace")[-2000:])


def _wait_for_users(store: Store) -> None:
    """Until what IAM was told is known to S3, and the bucket can take an object."""
    end = time.monotonic() + _SECONDS
    while True:
        try:
            store.client("s3", store.users["full"]).put_object(Bucket="bucket", Key="ready", Body=b"")
            break
        except Exception:
            assert time.monotonic() < end, "IAM's users stay unknown to S3"
            time.sleep(0.2)
    store.client("s3").delete_object(Bucket="bucket", Key="ready")
