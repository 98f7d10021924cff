# Copyright: the mlops.mlflow authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Prove an MLflow installation the way its users meet it: with MLflow's own client, through the public URL.

Usage: python mlflow-verify [--table] < request.json

Runs on a server host with the interpreter of the release. The request (see REQUEST) comes on stdin, because it holds a
password; the answer is one JSON document on stdout (or a table), the exit code 0 if everything was proved, 1 if not,
2 if the request cannot be used.

Three processes, so that what was written also goes away when something breaks:

* the parent (root; nothing but the standard library) starts the others, keeps the time, writes the result;
* the client (an unprivileged user) does what users do and deletes it again. Killed half-way, it is started once more, only
  to delete;
* the rows process (inside the sandbox of the server's unit, with the server's own database login) removes what MLflow's
  API can only mark as deleted, and counts rows before and after. It touches nothing outside the reserved experiment.
"""

from __future__ import annotations

import contextlib
import datetime
import errno
import hashlib
import http.client
import importlib
import json
import logging
import os
import pwd
import re
import secrets
import shutil
import signal
import socket
import ssl
import subprocess
import sys
import tempfile
import threading
import time
import traceback
import urllib.parse
import warnings
from base64 import b64encode
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

EXPERIMENT = "mlops-verify"  # reserved: may stay when everything else is gone
DIRECT_EXPERIMENT = "mlops-verify-direct"  # an experiment remembers where its artifacts are
MODEL_PREFIX = "mlops-verify-"
TAG = "mlops.verify"
STALE_SECONDS = 3600  # what an earlier verification left behind is removed when it is older than this
GRACE_SECONDS = 90  # for cleaning up after the time is over
CANNOT_START = 127
AWKWARD_NAME = "verify größe & 100% +1.bin"  # what proxies and stores like to break

REQUEST: dict[str, Any] = {
    "url": "",  # https://mlflow.example.com[:port]
    "username": "",  # empty: the installation has no login
    "password": "",
    "path": "",  # below the URL, where a name and a password log in
    "strangers_only": False,  # nobody logs in by password: only what strangers see is proved
    "ca_file": "",  # trusted beside the system's authorities; ignored if it does not exist
    "address": "",  # talk to this address whatever the name resolves to
    "dns_required": True,  # False: an unresolvable name is a warning and `address` or the first edge is used
    "edges": [],  # addresses the name should point to
    "artifact_mb": 8,
    "transfer": "proxied",  # the way artifacts take: proxied, presigned or direct
    "client_env": {},  # what clients set for that
    "store_ca_file": "",  # trusted beside the system's authorities where the client goes to the store itself
    "timeout": 300,
    "certificate_days": 14,
    "user": "nobody",  # the client runs as this user
    "rows_command": [],  # starts a program with the server's variables ({id} is made unique); empty: rows are not touched
    "result_file": "",
    "host": "",
}

# id -> (severity, cause, remedy). The registry of the collection (module_utils/_findings) lists the same ids.
FINDINGS: dict[str, tuple[str, str, str]] = {
    "DOMAIN_UNRESOLVED": (
        "critical",
        "No DNS record leads from the public name to an edge.",
        "Create the DNS record. To verify before that, set mlflow_verify_address to an edge's address.",
    ),
    "VERIFY_UNREACHABLE": (
        "critical",
        "Nothing listens on the public port, or a firewall is in between.",
        "Look at `systemctl status nginx` on the edge and at the firewall between this host and the edge.",
    ),
    "VERIFY_TLS": (
        "critical",
        "The certificate is expired, made for another name, or signed by an authority this host does not trust.",
        "Run the playbook mlops.mlflow.site; with certificates of your own, compare mlflow_certificates_files with mlflow_domain.",
    ),
    "VERIFY_CERTIFICATE_DAYS": (
        "warning",
        "The certificate was not renewed in time.",
        "Run the playbook mlops.mlflow.site, which renews certificates of the private authority; renew your own by hand.",
    ),
    "VERIFY_NOT_READY": (
        "critical",
        "The edge answers, the server behind it does not (stopped, starting, or refusing the edge).",
        "On the server host: `systemctl status 'mlflow-server@*'` and `journalctl -u 'mlflow-server@*' -n 50`.",
    ),
    "VERIFY_DATABASE": (
        "critical",
        "MLflow runs but does not reach its database.",
        "On the database host: `systemctl status postgresql`; then the server's journal for the reason of the refusal.",
    ),
    "VERIFY_ANONYMOUS": (
        "critical",
        "A route answers without a login: mlflow_auth is none, or the edge or MLflow lets it through.",
        "Set mlflow_auth to basic and run the playbook mlops.mlflow.site. Until then, close the public port.",
    ),
    "VERIFY_WRONG_PASSWORD": (
        "critical",
        "A password that is certainly wrong was accepted.",
        "Close the public port and look at mlflow_auth and at what stands in front of the edge.",
    ),
    "VERIFY_LOGIN": (
        "critical",
        "The password that MLflow holds is another than the one in the vault.",
        "Run the playbook mlops.mlflow.site, which sets the administrator's password from the vault.",
    ),
    "VERIFY_ARTIFACT": (
        "critical",
        "Metadata works, files do not: the artifact store, a size or time limit at the edge, or a full disk.",
        "Read `journalctl -u 'mlflow-server@*' -n 50` for the store's own words and `df -h`; the edge's are in /var/log/nginx.",
    ),
    "VERIFY_CHECKSUM": (
        "critical",
        "Something between client and artifact store changed or cut the bytes.",
        "Look for a proxy in front of the edge; compare the file in the artifact store with what the client wrote.",
    ),
    "TRANSFER_SERVER": (
        "critical",
        "The server was started with another mlflow_artifact_transfer, or an older release of it runs.",
        "Run the playbook mlops.mlflow.site, which starts the servers with the chosen way.",
    ),
    "TRANSFER_STORE": (
        "critical",
        "The way from the client to the store is closed, the store's certificate is not trusted there, or the client has no good key.",
        "Open that way, set mlflow_artifact_transfer_ca_file and good keys on clients, or mlflow_artifact_transfer to proxied.",
    ),
    "VERIFY_STEP": (
        "critical",
        "MLflow refused a call that a user's program makes, or returned something else than was written.",
        "Read the evidence, then `journalctl -u 'mlflow-server@*' -n 50` on the server host.",
    ),
    "VERIFY_LEFTOVERS": (
        "critical",
        "Rows or files of this verification could not be removed.",
        "Run the playbook mlops.mlflow.verify again: it removes what is older than an hour.",
    ),
    "VERIFY_KEPT": (
        "warning",
        "The server's identity may not delete objects in the artifact store, or its rows could not be reached from this host.",
        "Nothing if that identity is meant to have no right to delete: a lifecycle rule or maintenance removes the objects.",
    ),
    "VERIFY_TIMEOUT": (
        "critical",
        "The installation is slow or hangs, or the artifact is large for the time allowed.",
        "See which step took the time; raise mlflow_verify_timeout or lower mlflow_verify_artifact_mb if it is healthy.",
    ),
    "VERIFY_INTERRUPTED": (
        "warning",
        "Somebody or something stopped the verification.",
        "Run the playbook mlops.mlflow.verify again.",
    ),
}

STEPS: list[tuple[str, str]] = [
    ("name", "The public name leads here"),
    ("tls", "TLS, verified"),
    ("health", "Edge and server answer"),
    ("anonymous", "Anonymous is refused"),
    ("password", "A wrong password is refused"),
    ("login", "The administrator logs in"),
    ("prepare", "Reserved experiment"),
    ("run", "A run with its values"),
    ("dataset", "A dataset"),
    ("upload", "An artifact goes up"),
    ("download", "The artifact comes down equal"),
    ("trace", "A trace with spans"),
    ("model", "A registered model"),
    ("search", "Search finds the run"),
    ("delete", "All of it is deleted"),
    ("traces_left", "Nothing is left"),
]

# What can be proved without any login.
STRANGERS_STEPS = ("name", "tls", "health", "anonymous")

# What nobody may reach without a login: every door that a later configuration could leave open.
CLOSED_ROUTES: list[tuple[str, str]] = [
    ("GET", "/"),
    ("GET", "/api/2.0/mlflow/experiments/search?max_results=1"),
    ("GET", "/ajax-api/2.0/mlflow/experiments/search?max_results=1"),
    ("POST", "/api/2.0/mlflow/runs/create"),
    ("GET", "/api/2.0/mlflow-artifacts/artifacts?path="),
    ("GET", "/api/2.0/mlflow-artifacts/artifacts/0/mlops-verify"),
    ("PUT", "/api/2.0/mlflow-artifacts/artifacts/0/mlops-verify"),
    ("DELETE", "/api/2.0/mlflow-artifacts/artifacts/0/mlops-verify"),
    ("GET", "/get-artifact?path=x&run_uuid=0"),
    ("POST", "/v1/traces"),
    ("POST", "/graphql"),
]


class StepFailure(Exception):
    """A step that did not prove what it should, with the finding that says why."""

    def __init__(self, finding: str, summary: str, evidence: str = "", remedy: str = "") -> None:
        super().__init__(summary)
        self.finding = finding
        self.summary = summary
        self.evidence = evidence
        self.remedy = remedy


class Stopped(BaseException):
    """SIGTERM: past every `except Exception`, so that only the clean-up runs."""


def make_finding(finding: str, summary: str, *, evidence: str = "", remedy: str = "", host: str = "") -> dict[str, str]:
    """Return what is wrong in the collection's one shape."""
    severity, cause, known_remedy = FINDINGS[finding]
    return {
        "id": finding,
        "severity": severity,
        "summary": summary,
        "evidence": evidence[-2000:],
        "cause": cause,
        "remedy": remedy or known_remedy,
        "host": host,
    }


def read_request(text: str) -> dict[str, Any]:
    """Fill the defaults in; refuse what cannot be a request with one sentence (ValueError)."""
    given = json.loads(text)
    if not isinstance(given, dict):
        raise ValueError("The request is not a JSON object.")
    unknown = sorted(set(given) - set(REQUEST) - {"nonce", "work", "ca_pem", "store_ca_pem"})
    if unknown:
        raise ValueError(f"The request has keys nobody knows: {', '.join(unknown)}.")
    request = {**REQUEST, **given}
    url = urllib.parse.urlsplit(str(request["url"]))
    if url.scheme != "https" or not url.hostname or url.path.strip("/") or url.query:
        raise ValueError(f"url={request['url']}: expected https://NAME or https://NAME:PORT.")
    request["url"] = str(request["url"]).rstrip("/")
    request["path"] = str(request["path"]).rstrip("/")
    for key, least in (("artifact_mb", 0), ("timeout", 10), ("certificate_days", 0)):
        request[key] = int(request[key])
        if request[key] < least:
            raise ValueError(f"{key}={request[key]}: at least {least}.")
    return request


def secret_words(request: dict[str, Any]) -> list[str]:
    """What nobody may read in what is said."""
    named = [
        value for name, value in request["client_env"].items() if re.search("SECRET|CONNECTION|STORAGE.*KEY", name)
    ]
    return [str(value) for value in (request["password"], *named) if value]


def experiment_name(request: dict[str, Any]) -> str:
    """Which of the reserved experiments."""
    return DIRECT_EXPERIMENT if request["transfer"] == "direct" else EXPERIMENT


def sha256(path: Path) -> str:
    """Checksum of a file of any size."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def explain(error: BaseException) -> str:
    """One line of an exception: what a user would be told."""
    # A signed URL lets in whoever has it.
    text = re.sub(r"\?[^\s'\")]*X-Amz-[^\s'\")]*", "?(signed)", " ".join(str(error).split()))
    return f"{type(error).__name__}: {text[:600]}" if text else type(error).__name__


# -- the client --------------------------------------------------------------------------------------------------------


class Client:
    """What users do, step by step. Events leave as JSON lines, so that a killed client has still said how far it came."""

    def __init__(self, request: dict[str, Any], emit: Callable[[dict[str, Any]], None]) -> None:
        self.request = request
        self.emit = emit
        self.nonce: str = request["nonce"]
        url = urllib.parse.urlsplit(request["url"])
        self.name = str(url.hostname)
        self.port = url.port or 443
        self.work = Path(request["work"])
        self.model_name = MODEL_PREFIX + self.nonce
        self.experiment_id = ""
        self.run_id = ""
        self.model_id = ""
        self.trace_id = ""
        self.checksum = ""
        self.asked: list[str] = []
        self.mlflow: Any = None
        self.api: Any = None
        self.context = ssl.create_default_context()
        if request["ca_pem"]:
            self.context.load_verify_locations(cadata=request["ca_pem"])

    # - plain HTTP, before MLflow's client is even imported

    def http(
        self, method: str, path: str, login: tuple[str, str] | None = None, timeout: float = 20
    ) -> tuple[int, bytes]:
        """One request, one answer. The edge limits login attempts: a 429 is waited for, not taken as an answer."""
        headers = {"User-Agent": "mlflow-verify", "Content-Length": "0"} if method != "GET" else {}
        if login:
            headers["Authorization"] = "Basic " + b64encode(":".join(login).encode()).decode()
        for attempt in (1, 2, 3):
            connection = http.client.HTTPSConnection(self.name, self.port, timeout=timeout, context=self.context)
            try:
                connection.request(method, path, headers=headers)
                answer = connection.getresponse()
                status, body = answer.status, answer.read(100_000)
                wait = answer.getheader("Retry-After", "")
            finally:
                connection.close()
            if status != 429 or attempt == 3:
                break
            time.sleep(min(int(wait), 60) if wait.isdecimal() else 2)
        return status, body

    def step_name(self) -> str:
        """DNS, or the address that the request gives instead."""
        wanted = ", ".join(self.request["edges"]) or self.request["address"] or "an edge"
        fixed = str(self.request["address"])
        try:
            found = sorted({str(entry[4][0]) for entry in socket.getaddrinfo(self.name, self.port, proto=6)})
        except OSError as error:
            summary = f"The name {self.name} does not resolve on this host; point it to {wanted}."
            if not fixed and not self.request["dns_required"] and self.request["edges"]:
                fixed = str(self.request["edges"][0])
            if not fixed:
                raise StepFailure("DOMAIN_UNRESOLVED", summary, explain(error)) from None
            if not self.request["address"]:
                warning = make_finding("DOMAIN_UNRESOLVED", summary, evidence=explain(error))
                self.emit({"event": "finding", "finding": {**warning, "severity": "warning"}})
            use_address(self.name, fixed)
            return f"{self.name} has no DNS record yet; {fixed} is used for this verification only"
        if fixed:
            use_address(self.name, fixed)
            return f"{self.name} is {fixed} for this verification only (DNS says {', '.join(found)})"
        return f"{self.name} is {', '.join(found)}"

    def step_tls(self) -> str:
        """A verified handshake; how long the certificate still lasts."""
        try:
            with (
                socket.create_connection((self.name, self.port), timeout=15) as plain,
                self.context.wrap_socket(plain, server_hostname=self.name) as connection,
            ):
                certificate: Any = connection.getpeercert()
                version = connection.version()
        except ssl.SSLCertVerificationError as error:
            raise StepFailure(
                "VERIFY_TLS", f"The certificate of {self.name} is refused: {error.verify_message}.", explain(error)
            ) from None
        except ssl.SSLError as error:
            raise StepFailure("VERIFY_TLS", f"No TLS connection to {self.name}:{self.port}.", explain(error)) from None
        except OSError as error:
            raise StepFailure(
                "VERIFY_UNREACHABLE", f"No connection to {self.name}:{self.port}.", explain(error)
            ) from None
        days = int((ssl.cert_time_to_seconds(certificate["notAfter"]) - time.time()) // 86400)
        if days < self.request["certificate_days"]:
            summary = (
                f"The certificate of {self.name} lasts {days} more days, fewer than {self.request['certificate_days']}."
            )
            self.emit({"event": "finding", "finding": make_finding("VERIFY_CERTIFICATE_DAYS", summary)})
        return f"{version}, certificate lasts {days} more days"

    def step_health(self) -> str:
        """The server answers through the edge."""
        try:
            status, body = self.http("GET", "/health")
        except OSError as error:
            raise StepFailure(
                "VERIFY_NOT_READY", "The edge closed the connection without an answer.", explain(error)
            ) from None
        if status != 200:
            raise StepFailure(
                "VERIFY_NOT_READY", f"/health answers {status} instead of 200.", body.decode("utf-8", "replace")
            )
        return "/health is 200"

    def step_anonymous(self) -> str:
        """Each door is closed for who brings no login."""
        if not self.request["username"] and not self.request["strangers_only"]:
            return "skipped: this installation has no login"
        open_routes = []
        for method, path in CLOSED_ROUTES:
            status, body = self.http(method, path)
            raise_trouble(status, body)
            if status != 401:
                open_routes.append(f"{method} {path} -> {status}")
        if open_routes:
            summary = f"{len(open_routes)} of {len(CLOSED_ROUTES)} routes do not answer 401 without a login."
            raise StepFailure("VERIFY_ANONYMOUS", summary, "; ".join(open_routes))
        return f"{len(CLOSED_ROUTES)} routes answer 401, API and artifacts among them"

    def step_password(self) -> str:
        """The administrator's name with another password."""
        if not self.request["username"]:
            return "skipped: this installation has no login"
        wrong = (str(self.request["username"]), secrets.token_urlsafe(24))
        status, body = self.http(
            "GET", f"{self.request['path']}/api/2.0/mlflow/experiments/search?max_results=1", wrong
        )
        raise_trouble(status, body)
        if status == 429:
            return "429: the edge refuses more failed logins from this address"
        if status != 401:
            raise StepFailure("VERIFY_WRONG_PASSWORD", f"A random password is answered with {status} instead of 401.")
        return "401"

    def step_login(self) -> str:
        """The administrator's own password; then the first question that reaches the database."""
        login = None
        if self.request["username"]:
            login = (str(self.request["username"]), str(self.request["password"]))
        status, body = self.http(
            "GET", f"{self.request['path']}/api/2.0/mlflow/experiments/search?max_results=1", login
        )
        said = body.decode("utf-8", "replace")
        if status in (401, 403, 429):
            raise StepFailure(
                "VERIFY_LOGIN", f"The login of {self.request['username'] or 'nobody'} is refused ({status}).", said
            )
        raise_trouble(status, body)
        if status != 200:
            raise StepFailure("VERIFY_NOT_READY", f"The first question to MLflow is answered with {status}.", said)
        status, body = self.http("GET", f"{self.request['path']}/version", login)
        version = body.decode("utf-8", "replace")[:40] if status == 200 else "unknown"
        self.emit({"event": "version", "version": version})
        return f"{self.request['username'] or 'nobody needs to'}; MLflow {version}"

    # - MLflow's own client

    def connect(self) -> None:
        """Import MLflow (seconds) and point it at the public URL."""
        bundle = self.work / "ca.pem"
        bundle.write_text(trusted_authorities(self.request["ca_pem"]), encoding="ascii")
        beyond = self.work / "ca-beyond.pem"  # of the artifact store, if that is asked at all
        beyond.write_text(trusted_authorities(self.request["ca_pem"] + self.request["store_ca_pem"]), encoding="ascii")
        os.environ.update(self.request["client_env"])
        if self.request["transfer"] == "presigned":
            # Otherwise the small files of this verification would go through the server.
            os.environ["MLFLOW_MULTIPART_UPLOAD_MINIMUM_FILE_SIZE"] = "1"
        if self.request["transfer"] == "direct":
            os.environ["AWS_CA_BUNDLE"] = str(beyond)
        os.environ.update(
            MLFLOW_TRACKING_URI=f"{self.request['url']}{self.request['path']}",
            MLFLOW_TRACKING_SERVER_CERT_PATH=str(bundle),
            REQUESTS_CA_BUNDLE=str(beyond),
            MLFLOW_HTTP_REQUEST_MAX_RETRIES="2",
            MLFLOW_HTTP_REQUEST_TIMEOUT="60",
            MLFLOW_ENABLE_ASYNC_TRACE_LOGGING="false",
            MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT="true",
            MLFLOW_DISABLE_TELEMETRY="true",
            DO_NOT_TRACK="1",
            GIT_PYTHON_REFRESH="quiet",
            TQDM_DISABLE="1",
        )
        if self.request["username"]:
            os.environ["MLFLOW_TRACKING_USERNAME"] = self.request["username"]
            os.environ["MLFLOW_TRACKING_PASSWORD"] = self.request["password"]
        warnings.simplefilter("ignore")
        # By name, because only a release has it: what checks this file does not.
        self.mlflow = importlib.import_module("mlflow")
        logging.getLogger("mlflow").setLevel(logging.ERROR)
        self.api = self.mlflow.MlflowClient()
        self.watch()

    def watch(self) -> None:
        """Note who is asked. Libraries of stores do not ask in this way, and are used for nothing but the direct way."""
        session = importlib.import_module("requests").Session
        send = session.send

        def noting(this: Any, prepared: Any, **keywords: Any) -> Any:
            self.asked.append(urllib.parse.urlsplit(prepared.url).netloc)
            return send(this, prepared, **keywords)

        session.send = noting

    def others(self, since: int) -> list[str]:
        """Who was asked since then beside the installation's own address."""
        return sorted(set(self.asked[since:]) - {urllib.parse.urlsplit(self.request["url"]).netloc})

    def check_offer(self) -> None:
        """The server sends artifacts the chosen way: by what it offers, and by where it puts those of an experiment."""
        requests = importlib.import_module("requests")
        login = (self.request["username"], self.request["password"]) if self.request["username"] else None
        url = f"{self.request['url']}{self.request['path']}/api/3.0/mlflow/server-info"
        answer = requests.get(url, auth=login, timeout=30, verify=os.environ["MLFLOW_TRACKING_SERVER_CERT_PATH"])
        offers = answer.json().get("multipart_uploads_enabled") if answer.status_code == 200 else None
        chosen = self.request["transfer"]
        location = str(self.api.get_experiment(self.experiment_id).artifact_location)
        if not location.startswith("mlflow-artifacts:"):
            found = "direct"
        elif offers is None:  # an older MLflow does not say
            found = chosen if chosen != "direct" else "proxied or presigned"
        else:
            found = "presigned" if offers else "proxied"
        if found != chosen:
            evidence = f"multipart_uploads_enabled: {offers}; artifacts of {experiment_name(self.request)}: {location}"
            raise StepFailure("TRANSFER_SERVER", f"Artifacts are {found}, and {chosen} was chosen.", evidence)

    def check_store(self) -> None:
        """Where clients go to the store for everything, this one can: the very next step would ask it."""
        if self.request["transfer"] != "direct":
            return
        try:
            self.folders()
        except Exception as error:
            raise StepFailure(
                "TRANSFER_STORE", "The artifact store cannot be listed straight from this host.", explain(error)
            ) from None

    def went(self, since: int) -> str:
        """Where the bytes went, if not through the server; a StepFailure where that is not the chosen way."""
        transfer, others = self.request["transfer"], self.others(since)
        if transfer == "direct":
            return ", straight to the store"
        if (transfer == "presigned") != bool(others) and self.request["artifact_mb"]:
            where = f"straight to {', '.join(others)}" if others else "through the server"
            raise StepFailure("TRANSFER_SERVER", f"The bytes went {where}, and {transfer} was chosen.")
        return f", straight to {', '.join(others)}" if others else ""

    def find_experiment(self, *, create: bool) -> str:
        """Return the id of the reserved experiment, "" if there is none."""
        name = experiment_name(self.request)
        found = self.api.get_experiment_by_name(name)
        if found is None:
            return str(self.api.create_experiment(name)) if create else ""
        if found.lifecycle_stage != "active":
            self.api.restore_experiment(found.experiment_id)
        return str(found.experiment_id)

    def step_prepare(self) -> str:
        """The reserved experiment; what an earlier, killed verification left behind goes first."""
        self.experiment_id = self.find_experiment(create=True)
        self.emit({"event": "experiment", "experiment": self.experiment_id})
        self.check_offer()
        self.check_store()
        removed = self.clean(stale=True)
        self.emit({"event": "stale", "gone": removed["gone"]})
        self.emit({"event": "counts", "when": "before", "counts": self.count()})
        stale = sum(removed["removed"].values())
        name = experiment_name(self.request)
        return f"{name}; {stale} leftovers of earlier verifications removed" if stale else name

    def step_run(self) -> str:
        """Parameters, a metric with its history and tags, written and read back."""
        entities = importlib.import_module("mlflow.entities")
        tags = {TAG: self.nonce, "note": "grüße, 你好"}
        run = self.api.create_run(self.experiment_id, run_name=f"verify-{self.nonce}", tags=tags)
        self.run_id = run.info.run_id
        now = int(time.time() * 1000)
        params = {"alpha": "0.1", "path": "a/b c%20d", "long": "x" * 500}
        values = [(step, step / 7) for step in range(50)]
        self.api.log_batch(
            self.run_id,
            metrics=[entities.Metric("loss", value, now + step, step) for step, value in values],
            params=[entities.Param(key, value) for key, value in params.items()],
        )
        read = self.api.get_run(self.run_id).data
        history = [(point.step, point.value) for point in self.api.get_metric_history(self.run_id, "loss")]
        self.equal("parameters", dict(read.params), params)
        self.equal("metric history", sorted(history), values)
        self.equal("tags", {key: read.tags.get(key) for key in tags}, tags)
        return f"{len(params)} parameters, {len(values)} metric values, {len(tags)} tags read back equal"

    def step_dataset(self) -> str:
        """A dataset as an input of the run."""
        meta = importlib.import_module("mlflow.data.meta_dataset")
        source = importlib.import_module("mlflow.data.http_dataset_source")
        entities = importlib.import_module("mlflow.entities")
        dataset = meta.MetaDataset(
            source=source.HTTPDatasetSource("https://example.com/verify.csv"), name=f"verify-{self.nonce}"
        )
        given = dataset._to_mlflow_entity()
        self.api.log_inputs(
            self.run_id, datasets=[entities.DatasetInput(given, [entities.InputTag("mlflow.data.context", "verify")])]
        )
        read = [entry.dataset for entry in self.api.get_run(self.run_id).inputs.dataset_inputs]
        self.equal(
            "dataset", [(one.name, one.digest, one.source) for one in read], [(given.name, given.digest, given.source)]
        )
        return f"digest {given.digest} read back equal"

    def step_upload(self) -> str:
        """Bytes that no compression helps, under a name that proxies like to break."""
        path = self.work / AWKWARD_NAME
        with path.open("wb") as stream:
            for _megabyte in range(self.request["artifact_mb"]):
                stream.write(os.urandom(1024 * 1024))
        self.checksum = sha256(path)
        start, since = time.monotonic(), len(self.asked)
        try:
            self.api.log_artifact(self.run_id, str(path), "data")
        except Exception as error:
            raise self.artifact_failure("uploaded", error, since) from None
        finally:
            path.unlink()
        return self.speed(start) + self.went(since)

    def step_download(self) -> str:
        """The same bytes again, compared by checksum."""
        target = self.work / "down"
        target.mkdir(exist_ok=True)
        start, since = time.monotonic(), len(self.asked)
        try:
            path = Path(self.api.download_artifacts(self.run_id, f"data/{AWKWARD_NAME}", str(target)))
        except Exception as error:
            raise self.artifact_failure("downloaded", error, since) from None
        said = self.speed(start) + self.went(since)
        got = sha256(path)
        size = path.stat().st_size
        path.unlink()
        if got != self.checksum:
            summary = f"The artifact came back different: {size} bytes instead of {self.request['artifact_mb'] * 1024 * 1024}."
            raise StepFailure("VERIFY_CHECKSUM", summary, f"sha256 {self.checksum} went up, {got} came down")
        return f"{said}, sha256 equal"

    def step_trace(self) -> str:
        """Two spans, one within the other."""
        self.mlflow.set_experiment(experiment_id=self.experiment_id)
        with self.mlflow.start_span("verify") as outer:
            self.mlflow.update_current_trace(tags={TAG: self.nonce})
            self.trace_id = outer.trace_id
            outer.set_inputs({"question": "42?"})
            with self.mlflow.start_span("inner") as inner:
                inner.set_inputs({"n": 1})
                inner.set_outputs({"n": 2})
            outer.set_outputs({"answer": "42"})
        self.mlflow.flush_trace_async_logging()
        read = self.api.get_trace(self.trace_id)
        spans = sorted((span.name, json.dumps(span.inputs), json.dumps(span.outputs)) for span in read.data.spans)
        wanted = [("inner", '{"n": 1}', '{"n": 2}'), ("verify", '{"question": "42?"}', '{"answer": "42"}')]
        self.equal("trace", spans, wanted)
        return f"{len(spans)} spans read back equal"

    def step_model(self) -> str:
        """Log, register, point an alias at it, load it by the alias, predict. The model is a text file: no pickle, no network."""
        code = self.work / "model.py"
        code.write_text(
            "import mlflow\n\n\nclass Twice(mlflow.pyfunc.PythonModel):\n"
            "    def predict(self, context, model_input: list[float], params=None) -> list[float]:\n"
            "        return [value * 2 for value in model_input]\n\n\nmlflow.models.set_model(Twice())\n",
            encoding="utf-8",
        )
        with self.mlflow.start_run(run_id=self.run_id):
            # Requirements are given, or MLflow would find them out by running the model in a new process.
            info = self.mlflow.pyfunc.log_model(
                name="model", python_model=str(code), pip_requirements=[f"mlflow=={self.mlflow.__version__}"]
            )
        self.model_id = info.model_id
        self.api.create_registered_model(self.model_name, tags={TAG: self.nonce})
        version = self.api.create_model_version(self.model_name, info.model_uri, model_id=info.model_id)
        self.api.set_registered_model_alias(self.model_name, "verify", version.version)
        read = self.api.get_model_version_by_alias(self.model_name, "verify")
        self.equal("model version", (str(read.version), read.status), (str(version.version), "READY"))
        loaded = self.mlflow.pyfunc.load_model(f"models:/{self.model_name}@verify")
        self.equal("prediction", [float(value) for value in loaded.predict([1.0, 2.5])], [2.0, 5.0])
        return f"version {version.version}, found by its alias, loaded, predicts"

    def step_search(self) -> str:
        """By tag and parameter together; and the registry by name."""
        runs = self.api.search_runs([self.experiment_id], f"tags.`{TAG}` = '{self.nonce}' and params.alpha = '0.1'")
        self.equal("search of runs", [run.info.run_id for run in runs], [self.run_id])
        models = self.api.search_registered_models(f"name = '{self.model_name}'")
        self.equal("search of models", [model.name for model in models], [self.model_name])
        return "the run by tag and parameter, the model by name"

    def step_delete(self) -> str:
        """Everything this verification wrote."""
        done = self.clean()
        self.emit({"event": "cleaned", **done})
        if done["errors"]:
            raise StepFailure("VERIFY_LEFTOVERS", "Not everything could be deleted.", "; ".join(done["errors"]))
        self.emit({"event": "counts", "when": "after", "counts": self.count()})
        return ", ".join(f"{number} {what}" for what, number in done["removed"].items() if number)

    # - helpers

    @staticmethod
    def equal(what: str, got: Any, wanted: Any) -> None:
        """Compare what was read with what was written."""
        if got != wanted:
            raise StepFailure(
                "VERIFY_STEP", f"The {what} came back different.", f"wrote {wanted!r:.300}, read {got!r:.300}"
            )

    def speed(self, start: float) -> str:
        """Say size and rate."""
        seconds = max(time.monotonic() - start, 0.001)
        size = self.request["artifact_mb"]
        return f"{size} MB, {size / seconds:.0f} MB/s"

    def artifact_failure(self, doing: str, error: Exception, since: int) -> StepFailure:
        """Name the limit that the answer points to."""
        said = explain(error)
        size = self.request["artifact_mb"]
        if self.request["transfer"] == "direct" or self.others(since):
            where = ", ".join(self.others(since)) or "the store"
            return StepFailure(
                "TRANSFER_STORE", f"An artifact of {size} MB could not be {doing} straight, to or from {where}.", said
            )
        trouble = known_trouble(said)
        if trouble is not None:
            return trouble
        remedy = ""
        if "413" in said:
            remedy = (
                "Something before MLflow limits the size of a request: "
                "client_max_body_size in mlflow_edge_extra_config, or a proxy in front."
            )
        elif "timed out" in said.lower():
            remedy = "A timeout ended the transfer: look for a proxy in front of the edge, and at the store's speed."
        elif "No space left" in said:
            remedy = "The disk of the artifact store is full: `df -h` on the server host."
        return StepFailure("VERIFY_ARTIFACT", f"An artifact of {size} MB could not be {doing}.", said, remedy)

    def repository(self) -> Any:
        """The artifact store below the reserved experiment, through the server."""
        registry = importlib.import_module("mlflow.store.artifact.artifact_repository_registry")
        return registry.get_artifact_repository(self.api.get_experiment(self.experiment_id).artifact_location)

    def objects(self, path: str = "") -> Iterator[str]:
        """Every file below the reserved experiment."""
        for entry in self.repository().list_artifacts(path or None):
            if entry.is_dir:
                yield from self.objects(entry.path)
            else:
                yield entry.path

    def pages(self, search: Callable[[str | None], Any]) -> Iterator[Any]:
        """All pages of a search."""
        token: str | None = None
        while True:
            page = search(token)
            yield from page
            token = getattr(page, "token", None)
            if not token:
                return

    def runs(self) -> list[Any]:
        """Runs of the reserved experiment that a user sees."""
        return list(self.pages(lambda token: self.api.search_runs([self.experiment_id], page_token=token)))

    def models(self) -> list[Any]:
        """Logged models of the reserved experiment that a user sees."""
        return list(self.pages(lambda token: self.api.search_logged_models([self.experiment_id], page_token=token)))

    def traces(self) -> list[Any]:
        """Traces of the reserved experiment."""
        return list(
            self.pages(
                lambda token: self.api.search_traces(
                    locations=[self.experiment_id], max_results=100, page_token=token, include_spans=False
                )
            )
        )

    def registered(self) -> list[Any]:
        """Registered models with the reserved prefix and our tag."""
        found = self.pages(
            lambda token: self.api.search_registered_models(f"name LIKE '{MODEL_PREFIX}%'", page_token=token)
        )
        return [model for model in found if TAG in model.tags]

    def count(self) -> dict[str, int]:
        """What a user sees of verifications: counted before and after."""
        return {
            "runs": len(self.runs()),
            "logged models": len(self.models()),
            "traces": len(self.traces()),
            "registered models": len(self.registered()),
            "objects": sum(1 for _object in self.objects()),
        }

    def clean(self, *, stale: bool = False) -> dict[str, Any]:
        """Delete what carries our nonce, or (`stale`) what earlier verifications left. One failure does not stop the rest."""
        removed = {"traces": 0, "registered models": 0, "logged models": 0, "runs": 0, "objects": 0}
        gone: dict[str, list[str]] = {"runs": [], "models": []}
        errors: list[str] = []
        kept: list[str] = []
        before = (time.time() - STALE_SECONDS) * 1000

        def ours(created: float, tag: str | None) -> bool:
            return created < before if stale else tag == self.nonce

        @contextlib.contextmanager
        def noting(what: str) -> Iterator[None]:
            try:
                yield
            except Exception as error:
                errors.append(f"{what}: {explain(error)}")

        with noting("traces"):
            traces = [one.info for one in self.traces()]
            ids = [one.trace_id for one in traces if ours(one.request_time, one.tags.get(TAG))]
            if ids:
                removed["traces"] = int(self.api.delete_traces(self.experiment_id, trace_ids=ids))
        with noting("registered models"):
            for model in self.registered():
                if ours(model.creation_timestamp, model.tags.get(TAG)):
                    self.api.delete_registered_model(model.name)
                    removed["registered models"] += 1
        runs: list[Any] = []
        with noting("runs"):
            runs = [run for run in self.runs() if ours(run.info.start_time, run.data.tags.get(TAG))]
        run_ids = {run.info.run_id for run in runs}
        with noting("logged models"):
            for model in self.models():
                if model.source_run_id in run_ids or (stale and model.creation_timestamp < before):
                    self.discard(f"models/{model.model_id}", removed, kept)
                    self.api.delete_logged_model(model.model_id)
                    removed["logged models"] += 1
                    gone["models"].append(model.model_id)
        for run in runs:
            with noting("runs"):
                self.discard(run.info.run_id, removed, kept)
                self.api.delete_run(run.info.run_id)
                removed["runs"] += 1
                gone["runs"].append(run.info.run_id)
        if stale:
            with noting("objects"):
                for path in self.orphans():
                    self.discard(path, removed, kept)
        return {"removed": removed, "gone": gone, "errors": errors, "kept": kept}

    def folders(self, path: str = "") -> list[str]:
        """Folders right below a path of the reserved experiment."""
        return [entry.path for entry in self.repository().list_artifacts(path or None) if entry.is_dir]

    def orphans(self) -> list[str]:
        """Folders that belong to no run and no model: an upload that was cut off may end after its run was deleted.

        Folders are listed first: whoever verifies at the same time makes the run, then its folder.
        """
        runs = [path for path in self.folders() if path not in ("models", "traces")]
        models = self.folders("models")
        known = {run.info.run_id for run in self.runs()} | {f"models/{model.model_id}" for model in self.models()}
        return [path for path in (*runs, *models) if path not in known]

    def discard(self, path: str, removed: dict[str, int], kept: list[str]) -> None:
        """Delete the files below a path. An identity that may not delete is no failure: said as what stays."""
        files = list(self.objects(path))
        if not files and path not in self.folders("models" if path.startswith("models/") else ""):
            return
        try:
            self.repository().delete_artifacts(path)
        except Exception as error:
            kept.append(f"{path}: {explain(error)}")
            return
        # MLflow takes it for deleted when S3 answers per object that it may not be: only another look tells.
        left = list(self.objects(path))
        removed["objects"] += len(files) - len(left)
        if left:
            kept.append(f"{path}: the store kept {len(left)} of {len(files)} objects")


def trusted_authorities(own: str) -> str:
    """The system's certificate authorities and ours, as one bundle for libraries that want one file."""
    paths = ssl.get_default_verify_paths()
    system = ""
    for candidate in (paths.cafile, paths.openssl_cafile, "/etc/ssl/certs/ca-certificates.crt"):
        if candidate and Path(candidate).is_file():
            system = Path(candidate).read_text(encoding="ascii", errors="ignore")
            break
    return f"{system}\n{own}\n"


def authorities_of(path: str) -> str:
    """What a file of authorities holds; nothing if there is none."""
    file = Path(path or "/nonexistent")
    return file.read_text(encoding="ascii") if file.is_file() else ""


def use_address(name: str, address: str) -> None:
    """Let this process, and only this one, find `name` at `address`; certificates are still checked against the name."""
    original = socket.getaddrinfo

    def getaddrinfo(host: Any, *arguments: Any, **keywords: Any) -> Any:
        return original(address if host == name else host, *arguments, **keywords)

    socket.getaddrinfo = getaddrinfo


def client_main(*, only_clean: bool) -> int:
    """Run the steps, or only the clean-up of a client that was killed."""
    events = os.fdopen(os.dup(1), "w", buffering=1, encoding="utf-8")
    os.dup2(2, 1)  # whatever a library prints is not an event
    request = json.loads(sys.stdin.read())
    hidden = secret_words(request)

    def emit(event: dict[str, Any]) -> None:
        text = json.dumps(event, ensure_ascii=False)
        for value in hidden:
            text = text.replace(json.dumps(value, ensure_ascii=False)[1:-1], "********")
        events.write(text + "\n")

    def stop(_number: int, _frame: Any) -> None:
        raise Stopped

    signal.signal(signal.SIGTERM, stop)
    client = Client(request, emit)
    if only_clean:
        client.step_name()
        client.connect()
        client.experiment_id = client.find_experiment(create=False)
        if client.experiment_id:
            emit({"event": "experiment", "experiment": client.experiment_id})
            emit({"event": "cleaned", **client.clean()})
        return 0
    connected = False
    cleaned = False
    failed = False
    try:
        for step, _title in STEPS[:-1]:
            if request["strangers_only"] and step not in STRANGERS_STEPS:
                break
            emit({"event": "start", "step": step})
            start = time.monotonic()
            try:
                if step == "prepare":
                    client.connect()
                    connected = True
                cleaned = step == "delete"
                detail = getattr(client, f"step_{step}")()
            except Exception as error:
                failed = True
                failure = error if isinstance(error, StepFailure) else from_exception(step, error)
                finding = make_finding(
                    failure.finding, failure.summary, evidence=failure.evidence, remedy=failure.remedy
                )
                emit(
                    {
                        "event": "step",
                        "step": step,
                        "result": "failed",
                        "seconds": time.monotonic() - start,
                        "detail": failure.summary,
                    }
                )
                emit({"event": "finding", "finding": finding})
                break
            result = "skipped" if detail.startswith("skipped") else "ok"
            emit(
                {"event": "step", "step": step, "result": result, "seconds": time.monotonic() - start, "detail": detail}
            )
    finally:
        # Not twice: the parent may have sent SIGTERM already and will not wait for ever.
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        if connected and not cleaned:
            emit(
                {"event": "cleaned", **client.clean()}
                if client.experiment_id
                else {"event": "cleaned", **nothing_removed()}
            )
    return 1 if failed else 0


def nothing_removed() -> dict[str, Any]:
    """The report of a clean-up that had nothing to do."""
    return {"removed": {}, "gone": {"runs": [], "models": []}, "errors": [], "kept": []}


def known_trouble(said: str) -> StepFailure | None:
    """What an answer or an exception says about the server or its database, whatever was asked."""
    if "TEMPORARILY_UNAVAILABLE" in said or "OperationalError" in said:
        return StepFailure("VERIFY_DATABASE", "MLflow does not reach its database.", said)
    # MLflow answers 503 when its database is away; its client then only tells how often it tried.
    if re.search(r"\b503\b", said):
        return StepFailure("VERIFY_DATABASE", "MLflow answers 503: it does not reach its database.", said)
    if re.search(r"\b50[24]\b", said):
        return StepFailure("VERIFY_NOT_READY", "The server behind the edge does not answer.", said)
    return None


def raise_trouble(status: int, body: bytes) -> None:
    """A server that cannot answer proves nothing about who may ask."""
    if status >= 500:
        said = f"{status} {body.decode('utf-8', 'replace')}"
        raise known_trouble(said) or StepFailure("VERIFY_NOT_READY", f"MLflow answers {status}.", said)


def from_exception(step: str, error: Exception) -> StepFailure:
    """Say which fault an exception of MLflow's client points to."""
    said = explain(error)
    trouble = known_trouble(said)
    if trouble is not None:
        return trouble
    if isinstance(error, (ConnectionError, TimeoutError)):
        return StepFailure("VERIFY_UNREACHABLE", "The connection to the edge broke.", said)
    title = dict(STEPS)[step]
    where = traceback.extract_tb(error.__traceback__)
    lines = [f"{Path(frame.filename).name}:{frame.lineno}" for frame in where[-3:]]
    return StepFailure("VERIFY_STEP", f"Failed: {title[0].lower()}{title[1:]}.", f"{said} ({' > '.join(lines)})")


# -- the rows process --------------------------------------------------------------------------------------------------


def rows_main() -> int:
    """Count, and on request remove, rows of the reserved experiment. Only inside the server's sandbox, with its own login."""
    request = json.loads(sys.stdin.read())
    database = importlib.import_module("sqlalchemy")
    uri = os.environ.get("MLFLOW_BACKEND_STORE_URI", "")
    if not uri:
        print(json.dumps({"error": "MLFLOW_BACKEND_STORE_URI is not set for this process."}))
        return 1
    os.environ["MLFLOW_DISABLE_TELEMETRY"] = "true"
    engine = database.create_engine(uri)
    answer: dict[str, Any] = {"removed": 0}
    try:
        name = request["experiment"]
        before = count_rows(database, engine, name)
        if request["action"] == "purge":
            purge(database, engine, uri, name, {"runs": request["runs"], "models": request["models"]})
            after = count_rows(database, engine, name)
            answer["removed"] = sum(before.values()) - sum(after.values())
            before = after
        answer["rows"] = before
    except Exception as error:
        answer["error"] = hide_password(explain(error), uri)
    print(json.dumps(answer))
    return 1 if "error" in answer else 0


def hide_password(text: str, uri: str) -> str:
    """Driver errors may quote the URI."""
    password = urllib.parse.urlsplit(uri).password
    for secret in {password, urllib.parse.unquote(password or "")} - {None, ""}:
        text = text.replace(str(secret), "********")
    return text


def reserved_experiment(database: Any, connection: Any, name: str) -> int | None:
    """The id of the reserved experiment."""
    if name not in (EXPERIMENT, DIRECT_EXPERIMENT):
        raise ValueError(f"{name} is no reserved experiment")
    found = connection.execute(
        database.text("SELECT experiment_id FROM experiments WHERE name = :name"), {"name": name}
    )
    row = found.first()
    return None if row is None else int(row[0])


def count_rows(database: Any, engine: Any, name: str) -> dict[str, int]:
    """Rows of every table that belong to the reserved experiment, without the experiment itself.

    Tables are found by their columns, so that one which a later MLflow adds is counted as well.
    """
    inspector = database.inspect(engine)
    columns = {
        table: {column["name"]: str(column["type"]) for column in inspector.get_columns(table)}
        for table in inspector.get_table_names()
    }
    counted: dict[str, int] = {}
    with engine.connect() as connection:
        experiment = reserved_experiment(database, connection, name)
        if experiment is None:
            return {}

        def ids(query: str) -> list[str]:
            return [str(row[0]) for row in connection.execute(database.text(query), {"experiment": experiment})]

        runs = ids("SELECT run_uuid FROM runs WHERE experiment_id = :experiment")
        traces = ids("SELECT request_id FROM trace_info WHERE experiment_id = :experiment")
        models = ids("SELECT model_id FROM logged_models WHERE experiment_id = :experiment")
        datasets = ids("SELECT dataset_uuid FROM datasets WHERE experiment_id = :experiment")
        families: list[tuple[str, list[str]]] = [
            ("run_uuid", runs),
            ("request_id", traces),
            ("trace_id", traces),
            ("source_id", [*datasets, *runs]),
            ("destination_id", [*runs, *models]),
        ]
        for table, known in sorted(columns.items()):
            if table in ("experiments", "experiment_tags"):
                continue
            total = 0
            if "experiment_id" in known:
                value = experiment if "INT" in known["experiment_id"].upper() else str(experiment)
                total = scalar(database, connection, table, "experiment_id", [value])
            elif table in ("registered_models", "model_versions"):
                query = f"SELECT count(*) FROM {table} WHERE name LIKE :prefix"
                total = int(connection.execute(database.text(query), {"prefix": MODEL_PREFIX + "%"}).scalar())
            else:
                total = sum(
                    scalar(database, connection, table, column, wanted)
                    for column, wanted in families
                    if column in known
                )
            if total:
                counted[table] = total
    return counted


def scalar(database: Any, connection: Any, table: str, column: str, values: list[Any]) -> int:
    """Count the rows of a table whose column has one of the values."""
    if not values:
        return 0
    query = (
        database.select(database.func.count())
        .select_from(database.table(table))
        .where(database.column(column).in_(values))
    )
    return int(connection.execute(query).scalar())


def purge(database: Any, engine: Any, uri: str, name: str, gone: dict[str, list[str]]) -> None:
    """Remove for good what the API marked as deleted: by the functions `mlflow gc` uses, in the reserved experiment only."""
    with engine.connect() as connection:
        experiment = reserved_experiment(database, connection, name)
        if experiment is None:
            return
        stale = int((time.time() - STALE_SECONDS) * 1000)
        scope = {"experiment": experiment, "stale": stale}
        found_runs = connection.execute(
            database.text(
                "SELECT run_uuid, deleted_time < :stale FROM runs WHERE experiment_id = :experiment AND lifecycle_stage = 'deleted'"
            ),
            scope,
        ).all()
        found_models = connection.execute(
            database.text(
                "SELECT model_id, last_updated_timestamp_ms < :stale FROM logged_models"
                " WHERE experiment_id = :experiment AND lifecycle_stage = 'deleted'"
            ),
            scope,
        ).all()
    gone_runs = [str(run) for run, old in found_runs if old or run in gone["runs"]]
    gone_models = [str(model) for model, old in found_models if old or model in gone["models"]]
    store = importlib.import_module("mlflow.store.tracking.sqlalchemy_store").SqlAlchemyStore(uri, "mlflow-artifacts:/")
    for model in gone_models:
        store._hard_delete_logged_model(model)
    for run in gone_runs:
        store._hard_delete_run(run)
    # What those leave: the links from datasets to runs and from runs to models, and the datasets of nobody.
    with engine.begin() as connection:
        inputs, tags, datasets = (database.table(name) for name in ("inputs", "input_tags", "datasets"))
        column = database.column
        ends = [*gone_runs, *gone_models]
        if ends:
            links = database.or_(column("source_id").in_(ends), column("destination_id").in_(ends))
            uuids = [
                row[0]
                for row in connection.execute(database.select(column("input_uuid")).select_from(inputs).where(links))
            ]
            if uuids:
                connection.execute(database.delete(tags).where(column("input_uuid").in_(uuids)))
                connection.execute(database.delete(inputs).where(column("input_uuid").in_(uuids)))
        used = database.select(column("source_id")).select_from(inputs)
        connection.execute(
            database.delete(datasets).where(column("experiment_id") == experiment, column("dataset_uuid").not_in(used))
        )


# -- the parent --------------------------------------------------------------------------------------------------------


class Parent:
    """Starts the others, keeps the time, tells the result."""

    def __init__(self, request: dict[str, Any]) -> None:
        self.request = request
        self.started = time.time()
        self.deadline = time.monotonic() + request["timeout"]
        self.host = request["host"] or socket.gethostname()
        self.stopped = False
        self.child: subprocess.Popen[str] | None = None
        self.steps: dict[str, dict[str, Any]] = {}
        self.running: tuple[str, float] | None = None
        self.findings: list[dict[str, str]] = []
        self.counts: dict[str, dict[str, int]] = {}
        self.cleaned: dict[str, Any] | None = None
        self.stale: dict[str, list[str]] = {"runs": [], "models": []}
        self.experiment = ""
        self.version = ""

    def stop(self, _number: int, _frame: Any) -> None:
        """Stop the client; it cleans up by itself."""
        self.stopped = True
        if self.child is not None and self.child.poll() is None:
            with contextlib.suppress(ProcessLookupError):
                self.child.send_signal(signal.SIGTERM)

    def found(self, finding: str, summary: str, evidence: str = "", remedy: str = "") -> None:
        """Note what is wrong."""
        self.findings.append(make_finding(finding, summary, evidence=evidence, remedy=remedy, host=self.host))

    def take(self, event: dict[str, Any]) -> None:
        """One event of a client."""
        kind = event.pop("event")
        if kind == "start":
            self.running = (event["step"], time.monotonic())
        elif kind == "step":
            self.running = None
            self.steps[event["step"]] = {
                "result": event["result"],
                "seconds": event["seconds"],
                "detail": event["detail"],
            }
        elif kind == "finding":
            self.findings.append({**event["finding"], "host": self.host})
        elif kind == "counts":
            self.counts[event["when"]] = event["counts"]
        elif kind == "experiment":
            self.experiment = event["experiment"]
        elif kind == "version":
            self.version = event["version"]
        elif kind == "stale":
            self.stale = event["gone"]
        elif kind == "cleaned":
            self.cleaned = event

    def run_client(self, payload: dict[str, Any], *arguments: str, until: float) -> tuple[int, str]:
        """Run one client to its end, or stop it at `until` and kill it when it does not end by itself."""
        keywords: dict[str, Any] = {}
        if os.geteuid() == 0:
            account = pwd.getpwnam(self.request["user"])
            os.chown(payload["work"], account.pw_uid, account.pw_gid)
            keywords = {"user": account.pw_uid, "group": account.pw_gid, "extra_groups": []}
        environment = {
            "PATH": "/usr/bin:/bin",
            "HOME": payload["work"],
            "TMPDIR": payload["work"],
            "LANG": "C.UTF-8",
            "PYTHONDONTWRITEBYTECODE": "1",
        }
        log = Path(payload["work"]).with_suffix(".log")
        with log.open("w+", encoding="utf-8", errors="replace") as errors:
            try:
                self.child = subprocess.Popen(
                    [sys.executable, "-I", str(Path(__file__).resolve()), *arguments],
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE,
                    stderr=errors,
                    text=True,
                    encoding="utf-8",
                    env=environment,
                    cwd="/",
                    start_new_session=True,
                    **keywords,
                )
            except OSError as error:
                log.unlink()
                return (
                    CANNOT_START,
                    f"The user {self.request['user']} cannot start {sys.executable} ({explain(error)}).",
                )
            child = self.child
            assert child.stdin is not None
            assert child.stdout is not None
            output = child.stdout

            def listen() -> None:
                for line in output:
                    with contextlib.suppress(ValueError):
                        self.take(json.loads(line))

            listener = threading.Thread(target=listen, daemon=True)
            listener.start()
            with contextlib.suppress(BrokenPipeError):
                child.stdin.write(json.dumps(payload))
                child.stdin.close()
            if self.stopped and arguments[0] != "--clean":
                child.terminate()
            try:
                child.wait(timeout=max(until - time.monotonic(), 0))
            except subprocess.TimeoutExpired:
                if not self.stopped:
                    self.found(
                        "VERIFY_TIMEOUT",
                        f"Not finished within {self.request['timeout']} seconds; stopped {self.where()}.",
                    )
                    self.stopped = True
                child.terminate()
                try:
                    child.wait(timeout=GRACE_SECONDS)
                except subprocess.TimeoutExpired:
                    child.kill()
                    child.wait()
            listener.join(timeout=10)
            errors.seek(0)
            said = errors.read()[-1500:]
        log.unlink()
        return child.returncode, said

    def where(self) -> str:
        """The step that was going on."""
        if self.running is None:
            return "between two steps" if self.steps else "before the first step"
        return f"in the step '{dict(STEPS)[self.running[0]]}'"

    def rows(self, payload: dict[str, Any]) -> dict[str, Any]:
        """Ask the rows process."""
        unit = secrets.token_hex(4)
        starter = [str(word).replace("{id}", unit) for word in self.request["rows_command"]]
        command = [*starter, sys.executable, "-I", str(Path(__file__).resolve()), "--rows"]
        try:
            done = subprocess.run(
                command, input=json.dumps(payload), capture_output=True, text=True, timeout=120, check=False, cwd="/"
            )
            answer = json.loads(done.stdout.strip().splitlines()[-1])
        except (OSError, subprocess.TimeoutExpired) as error:
            return {"error": explain(error)}
        except (ValueError, IndexError):
            return {"error": f"exit code {done.returncode}: {' '.join(done.stderr.split())[-400:]}"}
        return dict(answer)

    def verify(self) -> dict[str, Any]:
        """The whole verification."""
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            signal.signal(number, self.stop)
        work = work_folder()
        nonce = f"{int(self.started)}-{secrets.token_hex(4)}"
        reserved = {"experiment": experiment_name(self.request)}
        payload = {
            **self.request,
            "nonce": nonce,
            "work": str(work),
            "ca_pem": authorities_of(self.request["ca_file"]),
            "store_ca_pem": authorities_of(self.request["store_ca_file"]),
        }
        try:
            before = self.rows({"action": "count", **reserved}) if self.request["rows_command"] else {}
            code, said = self.run_client(payload, "--client", until=self.deadline)
            if self.experiment and self.cleaned is None:
                # Killed, or its clean-up was cut off. What it wrote carries its nonce: another client finds it.
                self.run_client(payload, "--clean", until=time.monotonic() + GRACE_SECONDS)
            self.judge_client(code, said)
            if self.experiment:
                self.leave_nothing(before)
        finally:
            shutil.rmtree(work, ignore_errors=True)
        return self.result()

    def judge_client(self, code: int, said: str) -> None:
        """A client that ended without saying why."""
        if self.running is not None:
            step, since = self.running
            self.steps[step] = {"result": "failed", "seconds": time.monotonic() - since, "detail": "did not finish"}
        if code == 0 or any(entry["severity"] == "critical" for entry in self.findings):
            return
        if self.stopped:
            self.found("VERIFY_INTERRUPTED", f"The verification was stopped {self.where()}.")
        elif code == CANNOT_START:
            self.found("VERIFY_STEP", said, remedy="Set mlflow_verify_user to a user that may read the release.")
        else:
            evidence = f"exit code {code}: {' '.join(said.split())}"
            for secret in secret_words(self.request):
                evidence = evidence.replace(secret, "********")
            self.found("VERIFY_STEP", f"The client ended by itself {self.where()}.", evidence)

    def leave_nothing(self, before: dict[str, Any]) -> None:
        """The last step: rows that are only marked as deleted go, and the counts are compared."""
        start = time.monotonic()
        details = []
        problems = []
        cleaned = self.cleaned or {**nothing_removed(), "errors": ["the clean-up did not finish"]}
        problems += cleaned["errors"]
        if cleaned["kept"]:
            self.found(
                "VERIFY_KEPT",
                f"{len(cleaned['kept'])} folders of artifacts stay in the store.",
                "; ".join(cleaned["kept"]),
            )
        seen = self.counts
        if "after" in seen and not cleaned["kept"]:
            more = {
                what: f"{seen['before'][what]} -> {number}"
                for what, number in seen["after"].items()
                if number > seen["before"][what]
            }
            if more:
                problems.append(f"counted through the API: {more}")
            details.append(f"{sum(seen['before'].values())} things before, {sum(seen['after'].values())} after")
        if self.request["rows_command"]:
            gone = {kind: [*ids, *self.stale[kind]] for kind, ids in cleaned["gone"].items()}
            answer = self.rows({"action": "purge", "experiment": experiment_name(self.request), **gone})
            failure = before.get("error") or answer.get("error")
            if failure:
                self.found(
                    "VERIFY_KEPT",
                    "Rows marked as deleted stay in the database.",
                    str(failure),
                    remedy="Run the playbook mlops.mlflow.verify again when the server's database login works.",
                )
            else:
                old, new = before["rows"], answer["rows"]
                self.counts["rows before"], self.counts["rows after"] = old, new
                details.append(f"{sum(old.values())} rows before, {sum(new.values())} after")
                more = {
                    table: f"{old.get(table, 0)} -> {number}"
                    for table, number in new.items()
                    if number > old.get(table, 0)
                }
                if more:
                    problems.append(f"rows: {more}")
        if problems:
            self.found("VERIFY_LEFTOVERS", "Something of this verification is left.", "; ".join(problems))
        self.steps["traces_left"] = {
            "result": "failed" if problems else "ok",
            "seconds": time.monotonic() - start,
            "detail": "; ".join(details) or "cleaned up",
        }

    def result(self) -> dict[str, Any]:
        """Everything in one document, without a secret."""
        steps = []
        for step, title in STEPS:
            done = self.steps.get(step, {"result": "not run", "seconds": 0.0, "detail": ""})
            steps.append({"step": step, "title": title, **done, "seconds": round(done["seconds"], 2)})
        wrong = [entry for entry in self.findings if entry["severity"] == "critical"] or [
            entry for entry in self.findings if entry["id"] == "VERIFY_INTERRUPTED"
        ]
        answer: dict[str, Any] = {
            "ok": not wrong,
            "sentence": sentence(wrong),
            "url": self.request["url"],
            "host": self.host,
            "version": self.version,
            "time": datetime.datetime.fromtimestamp(self.started, datetime.UTC).isoformat(timespec="seconds"),
            "seconds": round(time.time() - self.started, 1),
            "steps": steps,
            "findings": self.findings,
            "counts": self.counts,
        }
        return {**answer, "table": table(answer)}


def work_folder() -> Path:
    """A new folder on a disk (/tmp may be memory); what a killed verification left goes."""
    place = Path("/var/tmp")
    for left in place.glob("mlflow-verify-*"):
        with contextlib.suppress(OSError):
            if left.stat().st_mtime < time.time() - STALE_SECONDS and left.stat().st_uid == os.geteuid():
                left.unlink() if left.suffix == ".log" else shutil.rmtree(left)
    return Path(tempfile.mkdtemp(prefix="mlflow-verify-", dir=place))


def sentence(wrong: list[dict[str, str]]) -> str:
    """What stops the installation from being proved, with what to do, in one line; "" if nothing does."""
    if not wrong:
        return ""
    first = wrong[0]
    more = f" ({len(wrong) - 1} more below)" if len(wrong) > 1 else ""
    return f"[{first['id']}] {first['host']}: {first['summary']} {first['remedy']}{more}"


def table(answer: dict[str, Any]) -> list[str]:
    """The result for people."""
    width = max(len(title) for _step, title in STEPS)
    mark = {"ok": "ok", "failed": "FAILED", "skipped": "skipped", "not run": "-"}
    lines = [f"{answer['url']} seen from {answer['host']}, {answer['time']}"]
    for step in answer["steps"]:
        seconds = f"{step['seconds']:6.2f} s" if step["result"] in ("ok", "failed") else " " * 8
        lines.append(f"{mark[step['result']]:7} {step['title']:{width}} {seconds}  {step['detail']}".rstrip())
    for finding in answer["findings"]:
        lines.append(f"{finding['severity'].upper()} {finding['id']}: {finding['summary']} {finding['remedy']}")
    lines.append(f"{'Proved' if answer['ok'] else 'NOT proved'} in {answer['seconds']} s")
    return lines


def write_result(path: Path, answer: dict[str, Any]) -> None:
    """Replace the last result in one move; others may read it, there is no secret in it."""
    path.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=".last-")
    with os.fdopen(handle, "w", encoding="utf-8") as stream:
        json.dump(answer, stream, indent=1, ensure_ascii=False)
        stream.write("\n")
    Path(name).chmod(0o644)
    Path(name).replace(path)


def main(arguments: list[str]) -> int:
    """Entry point of all three processes."""
    if "--client" in arguments or "--clean" in arguments:
        try:
            return client_main(only_clean="--clean" in arguments)
        except Stopped:
            return 143
    if "--rows" in arguments:
        return rows_main()
    try:
        request = read_request(sys.stdin.read())
        if os.geteuid() == 0:
            pwd.getpwnam(request["user"])
    except (ValueError, TypeError) as error:
        print(f"The request cannot be used. {error}", file=sys.stderr)
        return 2
    except KeyError:
        print(f"The user {request['user']} does not exist on this host (mlflow_verify_user).", file=sys.stderr)
        return 2
    answer = Parent(request).verify()
    if request["result_file"]:
        try:
            write_result(Path(request["result_file"]), answer)
        except OSError as error:
            if error.errno not in (errno.EACCES, errno.EROFS):
                raise
            print(f"The result was not written: {explain(error)}", file=sys.stderr)
    print("\n".join(answer["table"]) if "--table" in arguments else json.dumps(answer, ensure_ascii=False))
    return 0 if answer["ok"] else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
