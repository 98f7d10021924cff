"""What is sent to a server that is measured, and how its answers are read."""

from __future__ import annotations

import asyncio
import collections
import json
import random
import sys
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any, ClassVar

import pytest

from ansible_collections.mlops.mlflow.benchmarks import measures, report
from ansible_collections.mlops.mlflow.benchmarks.agent import __main__ as agent
from ansible_collections.mlops.mlflow.benchmarks.agent import client, load, mix, page
from ansible_collections.mlops.mlflow.tests.unit.support.s3 import open_store


def requests_of(cycle: mix.Cycle) -> list[mix.Request]:
    """All requests of a cycle, each answered as MLflow would."""
    found = [next(cycle)]
    while True:
        try:
            found.append(cycle.send({"run": {"info": {"run_id": "abc"}}}))
        except StopIteration:
            return found


def test_a_cycle_is_the_21_requests_of_one_run() -> None:
    sent = requests_of(mix.cycle("7", random.Random(1)))
    assert collections.Counter(request.name for request in sent) == {
        "runs/create": 1,
        "runs/log-batch": 2,
        "runs/log-metric": 8,
        "runs/get": 2,
        "runs/search": 3,
        "metrics/get-history": 3,
        "runs/update": 1,
        "experiments/get": 1,
    }
    assert sent[0].name == "runs/create"
    assert all(
        "abc" in json.dumps([request.path, request.body])
        for request in sent
        if "search" not in request.path and "experiment" not in request.path and request is not sent[0]
    )


def test_batches_have_the_sizes_of_the_mix() -> None:
    first, second = (
        request.body or {}
        for request in requests_of(mix.cycle("7", random.Random(1)))
        if request.name == "runs/log-batch"
    )
    assert (len(first["metrics"]), len(first["params"]), len(first["tags"])) == (100, 20, 5)
    assert (len(second["metrics"]), len(second["tags"])) == (100, 5)
    assert "params" not in second
    assert not {(m["key"], m["step"]) for m in first["metrics"]} & {(m["key"], m["step"]) for m in second["metrics"]}
    assert {param["value"] for param in first["params"]} <= {f"x{number}" for number in range(5)}


def test_the_same_seed_makes_the_same_mix() -> None:
    assert requests_of(mix.cycle("7", random.Random(5))) == requests_of(mix.cycle("7", random.Random(5)))
    assert requests_of(mix.cycle("7", random.Random(5))) != requests_of(mix.cycle("7", random.Random(6)))


def test_a_burst_never_repeats_a_param() -> None:
    sent = requests_of(mix.burst("abc", random.Random(1), 3))
    keys = [param["key"] for request in sent for param in (request.body or {})["params"]]
    assert len(sent) == 3
    assert len(set(keys)) == len(keys) == 60


def test_searches_ask_the_experiment_they_are_for() -> None:
    asked = mix.queries("1", "2", 99)
    assert (asked["list, small experiment"].body or {})["experiment_ids"] == ["2"]
    assert all(
        (request.body or {})["experiment_ids"] == ["1"] for name, request in asked.items() if "small" not in name
    )


@pytest.mark.parametrize(("share", "expected"), [(0.0, 1.0), (0.5, 3.0), (0.95, 4.0), (1.0, 4.0)])
def test_quantiles(share: float, expected: float) -> None:
    assert load.quantile([4.0, 1.0, 3.0, 2.0], share) == expected
    assert load.quantile([], share) == 0.0


def test_a_request_goes_over_the_wire_with_login_and_length() -> None:
    target = client.Target("https://mlflow.example.com:8443", authorization="Basic abc")
    head, _blank, body = client.render(target, "POST", "/x", {"a": 1}).partition(b"\r\n\r\n")
    assert head.split(b"\r\n") == [
        b"POST /x HTTP/1.1",
        b"Host: mlflow.example.com:8443",
        b"Authorization: Basic abc",
        b"Content-Type: application/json",
        b"Content-Length: 8",
    ]
    assert body == b'{"a": 1}'
    assert b"Content-Length" not in client.render(client.Target("http://x"), "GET", "/", None)


def test_a_head_is_read() -> None:
    assert client.parse_head(b"HTTP/1.1 404 Not Found\r\nContent-Length: 3\r\nX-A: b: c\r\n\r\n") == (
        404,
        {"content-length": "3", "x-a": "b: c"},
    )


def test_what_a_page_loads() -> None:
    html = (
        '<link rel="shortcut icon" href="./static-files/favicon.ico"/><link rel="manifest" href="m.json"/><link rel="preconnect" href="https://x"/>'
        '<script defer="defer" src="static-files/static/js/main.1.js"></script><link href="static-files/main.css" rel="stylesheet">'
        "<script>inline()</script>"
    )
    assert page.references(html) == [
        "./static-files/favicon.ico",
        "m.json",
        "static-files/static/js/main.1.js",
        "static-files/main.css",
    ]


class Fake(BaseHTTPRequestHandler):
    """Answers like MLflow, the second half of it in chunks, and refuses one path."""

    protocol_version = "HTTP/1.1"
    asked: list[str]

    def do_GET(self) -> None:
        self.answer()

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        self.answer()

    def answer(self) -> None:
        type(self).asked.append(self.path)
        body = json.dumps({"experiment_id": "5", "run": {"info": {"run_id": "abc"}}}).encode()
        self.send_response(500 if "get-history" in self.path else 200)
        if self.command == "GET":
            self.send_header("Transfer-Encoding", "chunked")
            self.end_headers()
            self.wfile.write(b"%x\r\n%s\r\n0\r\n\r\n" % (len(body), body))
        else:
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

    def log_request(self, code: Any = "-", size: Any = "-") -> None:
        """Nothing is printed."""


@pytest.fixture
def server() -> Iterator[str]:
    """A server on this machine; its URL."""
    Fake.asked = []
    httpd = ThreadingHTTPServer(("127.0.0.1", 0), Fake)
    thread = Thread(target=httpd.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{httpd.server_port}"
    httpd.shutdown()
    thread.join()
    httpd.server_close()


def test_reads_are_counted_one_by_one(server: str) -> None:
    result = load.perform({"url": server}, "reads", {"requests": 12, "concurrency": 3})
    assert (result["requests"], result["errors"]) == (12, 0)
    assert result["rps"] > 0
    assert 0 < result["p50"] <= result["p95"] <= result["max"]


def test_an_error_ends_a_cycle_and_is_told(server: str) -> None:
    sample = asyncio.run(load.run(client.Target(server), [mix.cycle("5", random.Random(1))], 1))
    assert sample.requests == len(Fake.asked) == 17, "the first metric history is the 17th request"
    assert [error.split(" ")[:2] for error in sample.errors] == [["metrics/get-history:", "500"]]


def test_what_counts_begins_after_the_warm_up(server: str) -> None:
    asked: list[int] = []
    options = {"cycles": 1, "warmup": 2, "concurrency": 1, "seed": 1}
    load.perform({"url": server}, "mix", options, lambda: asked.append(len(Fake.asked)))
    assert asked == [1 + 2 * 17 + 1], "an experiment, two cycles up to the fault, another experiment"


def test_nobody_there_is_an_error_and_no_wait(server: str) -> None:
    assert asyncio.run(load.wait_until_answered(client.Target(server), "/", 5)) < 5
    with pytest.raises(TimeoutError, match="did not answer within 0 s"):
        asyncio.run(load.wait_until_answered(client.Target("http://127.0.0.1:9"), "/", 0.2))


def test_a_file_is_moved_to_the_store_itself_and_nothing_stays(tmp_path: Path) -> None:
    """Against a store that is one in memory; the ways through MLflow need a release, and run in the benchmark."""
    file = tmp_path / "large"
    file.write_bytes(random.Random(1).randbytes(9 * 2**20))
    with open_store() as store:
        before = store.client("s3").list_buckets()["Buckets"]
        answer = agent.move(
            {
                "python": sys.executable,
                "units": [],
                "environment": measures.KEYS,
                "moves": {"bucket": "bench-store", "file": str(file), "store": True, "endpoint": store.url},
            }
        )
        assert answer["up"] > 0
        assert answer["down"] > 0
        assert answer["server_cpu"] == 0
        assert store.client("s3").list_buckets()["Buckets"] == before
    assert list(tmp_path.iterdir()) == [file]


class Moving:
    """A host on which each way has its speed."""

    seconds: ClassVar[dict[str, float]] = {"store": 1.0, "proxied": 4.0, "presigned": 2.0, "direct": 1.25}

    def __init__(self) -> None:
        self.moved: list[dict[str, Any]] = []

    def ssh(self, _command: str) -> str:
        """Whatever is asked for is done."""
        return ""

    def agent(self, does: str, **request: Any) -> dict[str, float]:
        """Twice as fast down as up."""
        if does != "move":
            return {}
        self.moved.append(request)
        way = request["moves"]["bucket"].removeprefix("bench-")
        seconds = self.seconds[way]
        return {"up": seconds, "down": seconds / 2, "server_cpu": {"proxied": 8.0}.get(way, 0.4)}


def test_the_ways_of_artifacts_are_compared_with_the_store_and_with_each_other() -> None:
    host: Any = Moving()
    bench = measures.Bench(host, measures.Size(3, quick=True))
    bench.t1()
    ratios = {(figure.label, figure.against): figure for figure in bench.figures}
    assert len(ratios) == len(bench.figures) == 12
    upload = ratios["upload of 256 MiB, proxied", "the store itself"]
    assert (upload.ours, upload.other) == ([64.0] * 3, [256.0] * 3)
    assert report.figure_row(ratios["download of 256 MiB, direct", "proxied"]).endswith(
        "| 3.2 [3.2-3.2] | ≥ 1x | met |"
    )
    cpu = ratios["server CPU, 256 MiB up and down, presigned", "proxied"]
    assert (cpu.ours, cpu.other, cpu.met) == ([0.4] * 3, [8.0] * 3, True)
    first = {request["moves"]["bucket"]: request["environment"] for request in host.moved[:4]}
    assert sorted(first) == ["bench-direct", "bench-presigned", "bench-proxied", "bench-store"]
    assert first["bench-presigned"]["MLFLOW_ENABLE_PROXY_MULTIPART_UPLOAD"] == "true"
    assert first["bench-direct"]["MLFLOW_S3_ENDPOINT_URL"] == measures.STORE
    assert "MLFLOW_TRACKING_URI" not in first["bench-store"]
