"""A client that uploads files through the public address, reads each back, and counts what it sees.

Every request is sent once: no retries that would hide a failure.

    with Uploader(edge) as uploader:
        uploader.wait_for(20)        # it runs
        ...                          # change something
        uploader.wait_for(20)        # it runs again
    assert uploader.failures == []
"""

from __future__ import annotations

import threading
import time
from types import TracebackType

from ansible_collections.mlops.mlflow.molecule.shared import checks

PATH = "/api/2.0/mlflow-artifacts/artifacts/uploads"


class Uploader:
    """Uploads and reads back until it is left.

    Args:
        edge: The public address and a login that may write.
        threads: Uploads at the same time.
        size: Bytes of a file.
        pause: Seconds between an upload and the next one of its thread. It watches what is changed meanwhile, and is no load test.
    """

    def __init__(self, edge: checks.Edge, *, threads: int = 2, size: int = 200_000, pause: float = 0.3) -> None:
        self._edge = edge
        self._size = size
        self._pause = pause
        self._name = f"{time.time_ns()}"
        self._stop = threading.Event()
        self._lock = threading.Lock()
        self._threads = [threading.Thread(target=self._work, args=(number,), daemon=True) for number in range(threads)]
        self.failures: list[str] = []
        self.done = 0

    def __enter__(self) -> Uploader:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join(timeout=60)
        assert not any(thread.is_alive() for thread in self._threads), "a request has no end"

    def _work(self, number: int) -> None:
        count = 0
        while not self._stop.wait(self._pause):
            count += 1
            path = f"{PATH}/{self._name}/{number}-{count}.txt"
            content = f"{number} {count} ".ljust(self._size, "x")
            try:
                put = self._edge.ask("PUT", path, login=True, body=content)
                got = self._edge.ask("GET", path, login=True)
                said = "" if (put.status, got.body) == (200, content.encode()) else f"{put.status}, {got.status}"
            except OSError as error:
                said = repr(error)
            with self._lock:
                if said:
                    self.failures.append(f"{path}: {said}")
                else:
                    self.done += 1

    def wait_for(self, files: int, seconds: float = 120) -> None:
        """Wait until so many more files came back equal."""
        wanted = self.done + files
        checks.wait_until(lambda: self.done >= wanted, seconds, f"{files} more files were uploaded and read")
