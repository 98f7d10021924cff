"""Artifacts take the chosen way: a real MLflow with our hooks in front of a store that enforces, and MLflow's own client."""

from __future__ import annotations

import hashlib
import json
import os
import random
import urllib.error
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.mlops.mlflow.plugins.module_utils._transfer import client_environment
from ansible_collections.mlops.mlflow.tests.unit.roles.test_mlflow_server import INPUT, ROLE, environment_of
from ansible_collections.mlops.mlflow.tests.unit.support.mlflow_server import MlflowServer, in_release, running_mlflow
from ansible_collections.mlops.mlflow.tests.unit.support.peers import LOOPBACK, free_port
from ansible_collections.mlops.mlflow.tests.unit.support.playbook import ROOT, play
from ansible_collections.mlops.mlflow.tests.unit.support.s3 import Store

WAYS = ("proxied", "presigned", "direct")
PLACE = "s3://bucket/mlflow"
ENDPOINT = "https://s3.example.com"
# `make test-all` moves 1024.
MEGABYTES = int(os.environ.get("MLOPS_TEST_TRANSFER_MB", "64"))
PART_MB = 16
# Of what is said beside a file: requests, headers, the small answers of an API.
TALK = 2**20


# ----- what the role makes of the choice


RENDER = """
- hosts: localhost
  connection: local
  gather_facts: false
  vars_files: [input.json]
  vars: {role_path: "ROLE"}
  tasks:
    - ansible.builtin.include_role: {name: mlops.mlflow.mlflow_server, tasks_from: plan, public: true}
    - ansible.builtin.template: {src: server.env.j2, dest: "{{ playbook_dir }}/{{ item }}.env", mode: "0600"}
      vars: {mlflow_artifact_transfer: "{{ item }}"}
      loop: [proxied, presigned, direct]
"""


@pytest.fixture(scope="module")
def rendered(tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, str]]:
    """The server's environment for each way."""
    folder = tmp_path_factory.mktemp("rendered")
    chosen = {"mlflow_artifact_uri": PLACE, "mlflow_artifact_store_endpoint_url": ENDPOINT}
    (folder / "input.json").write_text(json.dumps({**INPUT, **chosen}))
    for name in ("files", "templates"):  # where the role's own look-ups find them
        (folder / name).symlink_to(ROLE / name)
    playbook = folder / "render.yml"
    playbook.write_text(RENDER.replace("ROLE", str(ROLE)))
    done = play(folder, playbook)
    assert done.code == 0, done.output
    return {way: environment_of(folder, f"{way}.env") for way in WAYS}


def test_the_server_is_told_the_way(rendered: dict[str, dict[str, str]]) -> None:
    for way, environment in rendered.items():
        assert environment["MLOPS_ARTIFACT_TRANSFER"] == way
        # Experiments that were made before go on being served.
        assert environment["MLFLOW_ARTIFACTS_DESTINATION"] == PLACE
        assert "MLFLOW_SERVE_ARTIFACTS" not in environment
    roots = {way: environment.get("MLFLOW_DEFAULT_ARTIFACT_ROOT") for way, environment in rendered.items()}
    assert roots == {"proxied": None, "presigned": None, "direct": PLACE}


# ----- what whoever runs the playbooks reads

VERIFY = """
- hosts: localhost
  connection: local
  gather_facts: false
  vars_files: [input.json]
  tasks:
    - ansible.builtin.include_role: {name: mlops.mlflow.mlflow_preflight, tasks_from: choices, public: true}
    - ansible.builtin.include_role: {name: mlops.mlflow.mlflow_verify, tasks_from: verify}
"""
# Stands in for the Python of a release: keeps the request, and proves everything.
PROVED = """#!/bin/sh
cat >"{folder}/request.json"
echo '{{"ok": true, "sentence": "", "table": ["Proved in 1 s"]}}'
"""


@pytest.mark.parametrize(
    ("way", "said"),
    [
        ("proxied", []),
        (
            "direct",
            [
                "Artifacts are direct. Clients set, beside address and login:",
                "MLFLOW_S3_ENDPOINT_URL=https://s3.example.com",
                "AWS_ACCESS_KEY_ID=the-id",
                "AWS_SECRET_ACCESS_KEY=(in the vault file)",
            ],
        ),
    ],
)
def test_a_run_ends_with_what_clients_set(tmp_path: Path, way: str, said: list[str]) -> None:
    python = tmp_path / "python"
    python.write_text(PROVED.format(folder=tmp_path))
    python.chmod(0o755)
    variables = {
        **INPUT,
        "mlflow_artifact_uri": PLACE,
        "mlflow_artifact_transfer": way,
        "mlflow_artifact_store_endpoint_url": ENDPOINT,
        "mlflow_artifact_store_access_key_id": "the-id",
        "mlflow_artifact_store_secret_access_key": "the-secret-of-the-store",
        "mlflow_verify_python": str(python),
    }
    (tmp_path / "input.json").write_text(json.dumps(variables))
    playbook = tmp_path / "verify.yml"
    playbook.write_text(VERIFY)
    done = play(tmp_path, playbook)
    assert done.code == 0, done.output
    assert "Proved in 1 s" in done.output
    assert [line for line in said if line not in done.output] == []
    assert ("Clients set" in done.output) is bool(said)
    assert "the-secret-of-the-store" not in done.output
    request = json.loads((tmp_path / "request.json").read_text())
    assert request["transfer"] == way
    assert request["client_env"].get("AWS_SECRET_ACCESS_KEY") == ("the-secret-of-the-store" if said else None)


# ----- what then happens


@dataclass(frozen=True)
class Site:
    """A server that sends artifacts one way, the store behind it, and what clients set."""

    way: str
    server: MlflowServer
    store: Store
    settings: dict[str, str]

    @property
    def ports(self) -> tuple[str, str]:
        """Of the server and of the store."""
        return str(self.server.port), self.store.url.rpartition(":")[2]

    def client(self, does: str, *, settings: dict[str, str] | None = None, **request: Any) -> dict[str, Any]:
        """What a client comes to, with what clients set or with other settings."""
        chosen = self.settings if settings is None else settings
        return in_release(does, {**chosen, "MLFLOW_TRACKING_URI": self.server.url}, **request)

    def experiment(self, name: str, location: str) -> str:
        """The name of an experiment that a server of another way made: it remembers where its artifacts are. Made if it is not there."""
        body = json.dumps({"name": name, "artifact_location": location}).encode()
        request = urllib.request.Request(
            f"{self.server.url}/api/2.0/mlflow/experiments/create", body, {"Content-Type": "application/json"}
        )
        try:
            with urllib.request.urlopen(request, timeout=60):
                pass
        except urllib.error.HTTPError as error:
            if json.load(error)["error_code"] != "RESOURCE_ALREADY_EXISTS":
                raise
        return name

    def verification(self, *steps: str, way: str = "", settings: dict[str, str] | None = None) -> dict[str, Any]:
        """Steps of mlflow_verify's program as it is on hosts."""
        # A host as it is, and what the request brings: the program sets it by itself.
        folder = self.server.log.parent / "verify"
        folder.mkdir(exist_ok=True)
        wanted = {
            "url": self.server.url,
            "artifact_mb": 1,
            "transfer": way or self.way,
            "client_env": self.settings,
            "work": str(folder),
        }
        program = str(ROOT / "roles/mlflow_verify/files/verify.py")
        return self.client("verify", settings=settings or {}, program=program, request=wanted, steps=steps)


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Of the one installation that all ways are tried on, one after the other."""
    return tmp_path_factory.mktemp("installation")


@pytest.fixture(scope="module", params=WAYS)
def site(
    request: pytest.FixtureRequest, place: Path, seaweedfs: Store, rendered: dict[str, dict[str, str]]
) -> Iterator[Site]:
    """The installation with each way in turn."""
    way: str = request.param
    keys = seaweedfs.users["full"]
    own = {
        "MLFLOW_S3_ENDPOINT_URL": seaweedfs.url,
        "AWS_ACCESS_KEY_ID": keys.id,
        "AWS_SECRET_ACCESS_KEY": keys.secret,
        "AWS_DEFAULT_REGION": "us-east-1",
    }
    kept = ("MLOPS_ARTIFACT", "MLFLOW_DEFAULT_ARTIFACT", "MLFLOW_ARTIFACTS")
    environment = {name: value for name, value in rendered[way].items() if name.startswith(kept)}
    settings = client_environment(
        {
            "mlflow_artifact_uri": PLACE,
            "mlflow_artifact_transfer": way,
            "mlflow_artifact_transfer_part_mb": PART_MB,
            "mlflow_artifact_store_endpoint_url": seaweedfs.url,
            "mlflow_artifact_store_region": "us-east-1",
            "mlflow_artifact_store_access_key_id": keys.id,
            "mlflow_artifact_store_secret_access_key": keys.secret,
        }
    )
    with running_mlflow(place, {**environment, **own}) as server:
        yield Site(way, server, seaweedfs, settings)


@pytest.fixture(scope="module")
def large(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file that is larger than what any side buffers."""
    path = tmp_path_factory.mktemp("large") / "größe 1+1.bin"
    numbers = random.Random(5)
    with path.open("wb") as stream:
        for _megabyte in range(MEGABYTES):
            stream.write(numbers.randbytes(2**20))
    return path


def sha256(path: Path) -> str:
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def test_a_file_takes_the_chosen_way_and_comes_back_equal(site: Site, large: Path) -> None:
    moved = site.client("move", file=str(large), experiment=f"large-{site.way}")
    assert moved["came"] == sha256(large)
    assert moved["listed"] == [f"data/{large.name}"]
    server, store = site.ports
    size = large.stat().st_size
    took, other = (server, store) if site.way == "proxied" else (store, server)
    for counted in (moved["sent"], moved["received"]):
        assert size <= counted[took] < 1.1 * size
        assert counted.get(other, 0) < TALK
    if site.way == "proxied":
        assert store not in moved["sent"], "not even a question"
    # What the run remembers, and where the bytes are.
    assert moved["location"].partition(":")[0] == ("s3" if site.way == "direct" else "mlflow-artifacts")
    kept = site.store.client("s3").list_objects_v2(Bucket="bucket", Prefix="mlflow/")["Contents"]
    assert [(one["Key"].rpartition("/")[2], one["Size"]) for one in kept if moved["run"] in one["Key"]] == [
        (large.name, size)
    ]


def test_what_the_server_offers_is_what_was_chosen(site: Site) -> None:
    info = site.server.ask("/api/3.0/mlflow/server-info")
    offered = site.way == "presigned"
    assert info["multipart_uploads_enabled"] is offered
    assert info["multipart_downloads_enabled"] is offered


def test_a_client_that_sets_nothing_gets_its_file(site: Site, large: Path) -> None:
    """But for keys, where it goes to the store itself. Only the server's word leads it there."""
    own = {name: value for name, value in site.settings.items() if not name.startswith("MLFLOW_")}
    endpoint = {"MLFLOW_S3_ENDPOINT_URL": site.store.url} if site.way == "direct" else {}
    moved = site.client("move", settings={**own, **endpoint}, file=str(large), experiment=f"unset-{site.way}")
    assert moved["came"] == sha256(large)
    assert (site.ports[1] in moved["received"]) is (site.way != "proxied")


def test_a_client_that_insists_on_urls_is_served_all_the_same(site: Site, large: Path) -> None:
    """Its settings may be of another time: where the server says that it makes no URLs, the bytes go through it."""
    insisting = {
        "MLFLOW_ENABLE_PROXY_MULTIPART_UPLOAD": "true",
        "MLFLOW_ENABLE_PROXY_MULTIPART_DOWNLOAD": "true",
        "MLFLOW_MULTIPART_UPLOAD_MINIMUM_FILE_SIZE": str(PART_MB * 2**20),
    }
    settings = {**site.settings, **insisting}
    moved = site.client("move", settings=settings, file=str(large), experiment=f"insisting-{site.way}")
    assert moved["came"] == sha256(large)
    assert (site.ports[1] in moved["sent"]) is (site.way != "proxied")


def test_what_was_logged_in_another_way_can_be_read(site: Site, place: Path, large: Path) -> None:
    """An experiment stays where it was made. So do the runs of whichever ways came before this one: they have one database."""
    small = large.with_name("small.bin")
    small.write_bytes(b"small" * 1000)
    keys = site.store.users["full"]
    with_store = {
        **site.settings,
        "MLFLOW_S3_ENDPOINT_URL": site.store.url,
        "AWS_ACCESS_KEY_ID": keys.id,
        "AWS_SECRET_ACCESS_KEY": keys.secret,
        "AWS_DEFAULT_REGION": "us-east-1",
    }
    runs = place / "runs.json"
    earlier: list[str] = json.loads(runs.read_text()) if runs.exists() else []
    for through, start in (("the-server", "mlflow-artifacts:"), ("no-server", PLACE)):
        name = f"made-for-{through}-{site.way}"
        site.experiment(name, f"{start}/{name}")
        made = site.client("move", settings=with_store, file=str(small), experiment=name)
        assert made["came"] == sha256(small)
        assert made["location"].startswith(f"{start}/{name}/")
        earlier.append(made["run"])
    for run in earlier:
        assert site.client("move", settings=with_store, file=str(small), run=run)["came"] == sha256(small)
    runs.write_text(json.dumps(earlier))


# ----- the verification


def test_the_verification_says_where_the_bytes_went(site: Site) -> None:
    answer = site.verification("prepare", "run", "upload", "download", "delete")
    assert "finding" not in answer, answer
    details = answer["details"]
    reserved = "mlops-verify-direct" if site.way == "direct" else "mlops-verify"
    assert details["prepare"].startswith(reserved)
    ends = {
        "proxied": "MB/s",
        "presigned": f"straight to {LOOPBACK}:{site.ports[1]}",
        "direct": "straight to the store",
    }
    assert details["upload"].endswith(ends[site.way])
    assert details["download"].endswith("sha256 equal")
    assert ends[site.way] in details["download"]


def test_another_way_than_the_chosen_one_is_a_finding(site: Site) -> None:
    if site.way == "direct":
        # The reserved experiment was made when the server moved the bytes, and goes on so.
        site.experiment("mlops-verify", "mlflow-artifacts:/made-before")
    chosen, found = {
        "proxied": ("presigned", "proxied"),
        "presigned": ("proxied", "presigned"),
        "direct": ("presigned", "proxied"),
    }[site.way]
    finding = site.verification("prepare", way=chosen)["finding"]
    said = (finding["id"], finding["summary"])
    assert said == ("TRANSFER_SERVER", f"Artifacts are {found}, and {chosen} was chosen.")


def test_a_store_that_a_client_cannot_reach_is_a_finding_where_it_has_to(site: Site) -> None:
    # A way that is closed to the store alone: what is not called localhost is asked through a proxy that is not there.
    closed = f"http://{LOOPBACK}:{free_port()}"
    answer = site.verification(
        "prepare", "run", "upload", settings={"HTTP_PROXY": closed, "http_proxy": closed, "NO_PROXY": "localhost"}
    )
    if site.way == "proxied":
        assert sorted(answer["details"]) == ["prepare", "run", "upload"]
        return
    finding = answer["finding"]
    step, summary = {
        "presigned": (
            "upload",
            f"An artifact of 1 MB could not be uploaded straight, to or from {LOOPBACK}:{site.ports[1]}.",
        ),
        "direct": ("prepare", "The artifact store cannot be listed straight from this host."),
    }[site.way]
    assert (answer["step"], finding["id"], finding["summary"]) == (step, "TRANSFER_STORE", summary)
    assert "mlflow_artifact_transfer to proxied" in finding["remedy"]
    assert "Prox" in finding["evidence"]
    # A URL that was signed is a key for a while.
    assert ("?(signed)" in finding["evidence"]) is (site.way == "presigned")
    assert "X-Amz" not in finding["evidence"]
