"""Teams with workspaces, in a real MLflow with logins on a real PostgreSQL: what they have, and that nobody sees what is another's.

The server starts without workspaces first, as installations that exist, and goes on with them.
"""

from __future__ import annotations

import json
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.mlops.mlflow.plugins.module_utils import _access, _artifact_uri
from ansible_collections.mlops.mlflow.tests.unit.support.logins import (
    ADMIN,
    PASSWORD,
    Logins,
    Person,
    login_databases,
)
from ansible_collections.mlops.mlflow.tests.unit.support.mlflow_release import ask
from ansible_collections.mlops.mlflow.tests.unit.support.mlflow_server import running_mlflow
from ansible_collections.mlops.mlflow.tests.unit.support.module import ids, run_module
from ansible_collections.mlops.mlflow.tests.unit.support.postgresql import Server

WORD = "a-password-of-a-user"
# As roles/mlflow_server/vars/main.yml with mlflow_workspaces.
WORKSPACES = {"MLFLOW_ENABLE_WORKSPACES": "true", "MLFLOW_RBAC_SEED_DEFAULT_ROLES": "false"}
FILE = "4a9f0c52-6c0b-4b0e-9a3e-2f5d8e7c1a90"  # the name of an attachment
MARK = "only-for-fraud"  # in the name or the text of everything that the team has
USERS = [{"name": name, "password": WORD} for name in ("anna", "bert", "olga")]
OLD_TEAM = {"name": "old", "members": ["olga"], "experiments": [{"name": "old/things"}]}
TEAMS = [
    {
        "name": "fraud",
        "description": "Finds fraud",
        "members": ["anna"],
        "experiments": [{"name": f"{MARK}-experiment"}],
        "models": [{"name": f"{MARK}-model"}],
    },
    {"name": "ads", "members": ["bert"], "experiments": [{"name": "clicks"}], "models": [{"name": "bidder"}]},
    {**OLD_TEAM, "workspace": "default"},
]
EXPERIMENTS, RUNS, MODELS = "/api/2.0/mlflow/experiments", "/api/2.0/mlflow/runs", "/api/2.0/mlflow/registered-models"
VERSIONS, TRACES = "/api/2.0/mlflow/model-versions", "/api/3.0/mlflow/traces"
SERVED, SPACES = "/api/2.0/mlflow-artifacts/artifacts", "/api/3.0/mlflow/workspaces"


@dataclass(frozen=True)
class Work:
    """What somebody logged."""

    experiment: str
    run: str
    trace: str
    location: str  # of the run's artifacts
    version: str


@dataclass(frozen=True)
class Site:
    """The server, and what was there before it had workspaces."""

    logins: Logins
    environment: dict[str, str]
    folder: Path
    before: Work
    refused: list[dict[str, Any]]
    fraud: Work
    ads: Work

    @property
    def database(self) -> str:
        """The tracking database, as the server has it."""
        return self.environment["MLFLOW_BACKEND_STORE_URI"]

    def person(self, name: str, workspace: str = "") -> Person:
        return self.logins.person(name, WORD).in_workspace(workspace)


def run(url: str, module: str, *, check: bool = False, **options: Any) -> dict[str, Any]:
    """Run a module as host app1, without failing."""
    login = {"url": url, "host": "app1", "fail_on": "never", "username": ADMIN, "password": PASSWORD}
    return run_module(f"mlflow_{module}", check_mode=check, **{**login, **options})


def good(answer: tuple[int, Any]) -> Any:
    """What was answered, if it is no refusal."""
    assert answer[0] in (200, 201), answer
    return answer[1]


def log(somebody: Person, experiment: str, model: str, text: str) -> Work:
    """A run with an artifact, a version of a model from it, and a trace."""
    found = good(somebody.ask("GET", f"{EXPERIMENTS}/get-by-name", experiment_name=experiment))["experiment"]
    number = str(found["experiment_id"])
    made = good(somebody.ask("POST", f"{RUNS}/create", {"experiment_id": number, "run_name": text, "start_time": 1}))
    made = made["run"]["info"]
    key = made["artifact_uri"].removeprefix("mlflow-artifacts:/")
    good(somebody.ask("PUT", f"{SERVED}/{key}/note.txt", text.encode()))
    source = {"name": model, "source": f"{made['artifact_uri']}", "run_id": made["run_id"], "description": text}
    version = good(somebody.ask("POST", f"{VERSIONS}/create", source))["model_version"]["version"]
    trace: dict[str, Any] = {
        "trace_id": f"tr-{made['run_id']}",
        "trace_location": {"type": "MLFLOW_EXPERIMENT", "mlflow_experiment": {"experiment_id": number}},
        "request_time": "2026-01-01T00:00:00Z",
        "state": "OK",
        "request_preview": text,
        "tags": {"mlflow.trace.spansLocation": "TRACKING_STORE"},
    }
    good(somebody.ask("POST", TRACES, {"trace": {"trace_info": trace}}))
    return Work(number, made["run_id"], trace["trace_id"], key, str(version))


def everything(site: Site) -> dict[str, Any]:
    """All users, roles and workspaces, and in each workspace all experiments and models."""
    admin = site.logins.admin
    found = site.logins.everything()
    found["workspaces"] = good(admin.ask("GET", SPACES))
    for workspace in [one["name"] for one in found["workspaces"]["workspaces"]]:
        there = admin.in_workspace(workspace)
        found[f"experiments of {workspace}"] = good(
            there.ask("GET", f"{EXPERIMENTS}/search", view_type="ALL", max_results=1000)
        )
        found[f"models of {workspace}"] = good(there.ask("GET", f"{MODELS}/search", max_results=1000))
    return found


def settle(site: Site, module: str, **options: Any) -> dict[str, Any]:
    """Check mode predicts and changes nothing, the run does as predicted, the second run has nothing to do."""
    url, before = site.logins.server.url, everything(site)
    predicted = run(url, module, check=True, **options)
    assert predicted["findings"] == [], predicted
    assert everything(site) == before
    done = run(url, module, **options)
    assert done["findings"] == [], done
    assert (done["changes"], done["diff"]) == (predicted["changes"], predicted["diff"])
    again = run(url, module, **options)
    assert (again["changed"], again["changes"], again["findings"]) == (False, [], []), again
    return done


def refused(site: Site, finding: str, sentence: str, module: str, **options: Any) -> None:
    """One sentence, and nothing is changed."""
    before = everything(site)
    for check in (True, False):
        answer = run(site.logins.server.url, module, check=check, **options)
        assert ids(answer) == [finding], answer
        assert answer["refusals"][0].startswith(f"[{finding}] app1: {sentence}"), answer["refusals"]
        assert answer["changed"] is False
    assert everything(site) == before


@pytest.fixture(name="site", scope="module")
def _site(tmp_path_factory: pytest.TempPathFactory, postgresql: Server) -> Iterator[Site]:
    folder = tmp_path_factory.mktemp("mlflow")
    with login_databases(folder, postgresql) as environment:
        whole = {**environment, "MLFLOW_ARTIFACTS_DESTINATION": str(folder / "artifacts")}
        with running_mlflow(folder, whole, app="mlops-basic") as server:
            logins = Logins(server)
            listed = run(server.url, "teams", teams=[OLD_TEAM], users=USERS)
            assert listed["findings"] == [], listed
            good(logins.admin.ask("POST", f"{MODELS}/create", {"name": "old-model"}))
            before = log(logins.admin, "old/things", "old-model", "from before")
            refusals = [
                run(server.url, "teams", teams=TEAMS, users=USERS, workspaces=True),
                run(server.url, "workspace", name="fraud"),
                run(server.url, "experiment", name="churn", workspace="fraud"),
                run(server.url, "teams", teams=[{"name": "x", "workspace": "fraud"}]),
            ]
        with running_mlflow(folder, {**whole, **WORKSPACES}, app="mlops-basic") as server:
            logins = Logins(server)
            done = run(server.url, "teams", teams=TEAMS, users=USERS, workspaces=True)
            assert done["findings"] == [], done
            # A role that is left from a workspace that there is no more.
            left = {"name": "ghosts", "workspace": "gone", "description": "[mlops.mlflow: mlflow_teams]"}
            good(logins.admin.ask("POST", "/api/3.0/mlflow/roles/create", left))
            swept = run(server.url, "teams", teams=TEAMS, users=USERS, workspaces=True)
            assert swept["changes"] == ["the team ghosts in workspace gone is deleted"], swept
            fraud = log(
                logins.person("anna", WORD).in_workspace("fraud"),
                f"{MARK}-experiment",
                f"{MARK}-model",
                f"{MARK}-text",
            )
            ads = log(logins.person("bert", WORD).in_workspace("ads"), "clicks", "bidder", "of ads")
            yield Site(logins, {**whole, **WORKSPACES}, folder / "artifacts", before, refusals, fraud, ads)


# ----- with and without workspaces


def test_a_server_without_workspaces_refuses_them(site: Site) -> None:
    assert [ids(answer) for answer in site.refused] == [
        ["ACCESS_WORKSPACES_OFF"],
        ["ACCESS_WORKSPACES_OFF"],
        ["ACCESS_WORKSPACES_OFF"],
        ["ACCESS_TEAMS"],
    ]
    assert [answer["changed"] for answer in site.refused] == [False] * 4
    said = "[ACCESS_TEAMS] app1: The team x has the workspace fraud, and there are no workspaces."
    assert site.refused[3]["refusals"][0].startswith(said)


def test_what_there_was_before_is_in_the_default_workspace(site: Site) -> None:
    for somebody in (site.logins.admin, site.person("olga"), site.person("olga", "default")):
        found = good(somebody.ask("GET", f"{EXPERIMENTS}/get", experiment_id=site.before.experiment))
        assert found["experiment"]["name"] == "old/things"
        assert (
            good(somebody.ask("GET", f"{RUNS}/get", run_id=site.before.run))["run"]["info"]["run_name"] == "from before"
        )
        assert good(somebody.ask("GET", f"{SERVED}/{site.before.location}/note.txt")) == "from before"
        assert somebody.logs(site.before.experiment) == 200
    assert good(site.logins.admin.ask("GET", f"{TRACES}/{site.before.trace}"))["trace"]["trace_info"]["state"] == "OK"


def test_switching_them_off_would_hide_what_is_in_them(site: Site) -> None:
    asked: dict[str, Any] = {
        "uri": site.database,
        "host": "app1",
        "require_tls": False,
        "indexes": False,
        "fail_on": "never",
    }
    hidden = run_module("mlflow_database_check", **asked, workspaces=False)
    said = [one["summary"] for one in hidden["findings"] if one["id"] == "DATABASE_WORKSPACES"]
    assert said == ["The database access_tracking holds something in the workspaces ads, fraud."]
    seen = run_module("mlflow_database_check", **asked)
    assert [one["id"] for one in seen["findings"] if one["id"] == "DATABASE_WORKSPACES"] == []
    assert seen["database"]["workspaces"] == ["ads", "fraud"]


# ----- what a team has


def test_a_team_works_in_its_workspace(site: Site) -> None:
    anna = site.person("anna", "fraud")
    assert site.fraud.location.startswith(f"workspaces/fraud/{site.fraud.experiment}/")
    assert (site.folder / site.fraud.location / "note.txt").read_text(encoding="utf-8") == f"{MARK}-text"
    assert [one["name"] for one in good(anna.ask("GET", SPACES))["workspaces"]] == ["fraud"]
    # What an administrator or a member makes there is the team's.
    made = settle(site, "experiment", name=f"{MARK}-by-admin", workspace="fraud")
    assert made["changes"] == [f"the experiment {MARK}-by-admin is made"]
    number = str(
        made and run(site.logins.server.url, "experiment", name=f"{MARK}-by-admin", workspace="fraud")["experiment_id"]
    )
    assert (anna.reads(number), anna.logs(number), anna.deletes(number)) == (200, 200, 403)
    own = good(anna.ask("POST", f"{EXPERIMENTS}/create", {"name": f"{MARK}-by-anna"}))["experiment_id"]
    assert (anna.reads(own), anna.logs(own)) == (200, 200)
    assert site.logins.grants("fraud") == {
        ("workspace", "*"): "USE",
        ("experiment", "*"): "EDIT",
        ("registered_model", "*"): "EDIT",
        ("prompt", "*"): "EDIT",
        ("scorer", "*"): "EDIT",
        ("experiment", site.fraud.experiment): "EDIT",
        ("registered_model", f"{MARK}-model"): "EDIT",
    }
    # MLflow's own roles, which a group of single sign-on could be called, are in no workspace.
    roles = {one["name"] for one in everything(site)["roles"]["roles"] if not one["name"].startswith(_access.HIDDEN)}
    assert roles == {"fraud", "ads", "old"}


Question = Callable[[Person, Work], tuple[int, Any]]
# Each is one that the team itself, and an administrator, gets the mark from.
QUESTIONS: dict[str, Question] = {
    "experiment": lambda who, work: who.ask("GET", f"{EXPERIMENTS}/get", experiment_id=work.experiment),
    "experiment by name": lambda who, _work: who.ask(
        "GET", f"{EXPERIMENTS}/get-by-name", experiment_name=f"{MARK}-experiment"
    ),
    "experiments": lambda who, _work: who.ask("POST", f"{EXPERIMENTS}/search", {"max_results": 100}),
    "run": lambda who, work: who.ask("GET", f"{RUNS}/get", run_id=work.run),
    "runs": lambda who, work: who.ask("POST", f"{RUNS}/search", {"experiment_ids": [work.experiment]}),
    "model": lambda who, _work: who.ask("GET", f"{MODELS}/get", name=f"{MARK}-model"),
    "models": lambda who, _work: who.ask("GET", f"{MODELS}/search", max_results=100),
    "version": lambda who, work: who.ask("GET", f"{VERSIONS}/get", name=f"{MARK}-model", version=work.version),
    "versions": lambda who, _work: who.ask("GET", f"{VERSIONS}/search", max_results=100),
    "trace": lambda who, work: who.ask("GET", f"{TRACES}/{work.trace}"),
    "traces": lambda who, work: who.ask("POST", f"{TRACES}/search", {"locations": [_place(work)]}),
    "artifacts of the run": lambda who, work: who.ask("GET", "/api/2.0/mlflow/artifacts/list", run_id=work.run),
    "artifact of the run": lambda who, work: who.ask("GET", "/get-artifact", run_id=work.run, path="note.txt"),
    "artifact of the version": lambda who, work: who.ask(
        "GET", "/model-versions/get-artifact", name=f"{MARK}-model", version=work.version, path="note.txt"
    ),
    "artifact by its path": lambda who, work: who.ask("GET", f"{SERVED}/{work.location}/note.txt"),
    "artifact by its path without the workspace": lambda who, work: who.ask(
        "GET", f"{SERVED}/{work.location.removeprefix('workspaces/fraud/')}/note.txt"
    ),
    "workspace": lambda who, _work: who.ask("GET", f"{SPACES}/fraud"),
}
# These tell that there is something without the mark in it.
LISTINGS: dict[str, Question] = {
    "artifacts by their path": lambda who, work: who.ask("GET", SERVED, path=work.location),
    "artifacts without the workspace": lambda who, work: who.ask(
        "GET", SERVED, path=work.location.removeprefix("workspaces/fraud/")
    ),
}


def _place(work: Work) -> dict[str, Any]:
    return {"type": "MLFLOW_EXPERIMENT", "mlflow_experiment": {"experiment_id": work.experiment}}


def tells(mark: str, status: int, answer: Any) -> bool:
    """Whether an answer holds the mark. A refusal may repeat the name that was asked for."""
    assert status in (200, 400, 403, 404), answer
    return status == 200 and mark in json.dumps(answer)


@pytest.mark.parametrize("name", [*QUESTIONS, *LISTINGS])
def test_nobody_sees_what_another_team_has(site: Site, name: str) -> None:
    question, mark = (
        (QUESTIONS[name], "Finds fraud" if name == "workspace" else MARK)
        if name in QUESTIONS
        else (LISTINGS[name], "note.txt")
    )
    if name == "artifacts of the run":
        mark = "note.txt"
    for somebody in (site.person("anna", "fraud"), site.logins.admin.in_workspace("fraud")):
        status, answer = question(somebody, site.fraud)
        if name == "workspace" and somebody.name == "anna":  # what is set there is for administrators
            assert status == 403
            continue
        assert status == 200, answer
        assert mark in json.dumps(answer)
    for somebody in (site.person(who, where) for who in ("bert", "olga") for where in ("fraud", "ads", "default", "")):
        assert not tells(mark, *question(somebody, site.fraud)), (somebody.name, somebody.workspace)
    if name == "workspace":  # an administrator may ask for any of them by its name
        return
    # Who names another workspace than the one in which it is does not find it, whoever it is.
    assert not tells(mark, *question(site.logins.admin.in_workspace("ads"), site.fraud))


def test_nobody_comes_to_artifacts_of_others_by_detours(site: Site) -> None:
    bert = site.person("bert", "ads")
    path = f"{site.fraud.location}/note.txt"
    below = path.removeprefix("workspaces/")
    for way in (
        path,
        f"workspaces/ads/../{below}",
        f"../{below}",
        f"%2e%2e/{below}",
        f"..%2f{below}",
        f"%2e%2e%2f{below.replace('/', '%2f')}",
        f"workspaces%2f{below.replace('/', '%2f')}",
        f"{site.ads.experiment}/../../{below}",
        f"%252e%252e/{below}",
    ):
        for method, body in (("GET", None), ("PUT", b"mine"), ("DELETE", None)):
            status, answer = bert.ask(method, f"{SERVED}/{way}", body)
            assert MARK not in json.dumps(answer), (method, way)
            assert status >= 400 or method == "PUT", (method, way, answer)
    assert (site.folder / path).read_text(encoding="utf-8") == f"{MARK}-text"
    assert not [
        one
        for one in site.folder.rglob("*")
        if one.is_file() and one.read_bytes() == b"mine" and "ads" not in one.parts
    ]

    # An experiment or a version of bert's own that says that its artifacts are those of fraud.
    own = {"name": "detour", "artifact_location": f"mlflow-artifacts:/{site.fraud.location}"}
    assert bert.ask("POST", f"{EXPERIMENTS}/create", own)[0] == 400
    for source in (
        f"mlflow-artifacts:/{site.fraud.location}",
        f"runs:/{site.fraud.run}/",
        str(site.folder / site.fraud.location),
    ):
        for about in ({}, {"run_id": site.ads.run}, {"run_id": site.fraud.run}):
            status, answer = bert.ask("POST", f"{VERSIONS}/create", {"name": "bidder", "source": source, **about})
            assert status in (400, 403, 404), (source, about, answer)


def test_nobody_reads_the_artifacts_of_another_trace(site: Site) -> None:
    """Where they are is a tag of the trace, which its owner can set to anything."""
    kept = (
        site.folder / f"workspaces/fraud/{site.fraud.experiment}/traces/{site.fraud.trace}/artifacts/attachments/{FILE}"
    )
    kept.parent.mkdir(parents=True, exist_ok=True)
    kept.write_text(f"{MARK}-attachment", encoding="utf-8")

    def read(somebody: Person, trace: str) -> tuple[int, Any]:
        return somebody.ask("GET", "/ajax-api/2.0/mlflow/get-trace-artifact", request_id=trace, path=FILE)

    anna, bert = site.person("anna", "fraud"), site.person("bert", "ads")
    assert read(anna, site.fraud.trace) == (200, f"{MARK}-attachment")
    assert MARK not in json.dumps(read(bert, site.fraud.trace))
    own, theirs = (
        f"workspaces/{team}/{work.experiment}/traces/{work.trace}/artifacts"
        for team, work in (("ads", site.ads), ("fraud", site.fraud))
    )
    mine = site.folder / own / "attachments" / FILE
    mine.parent.mkdir(parents=True, exist_ok=True)
    mine.write_text("of ads", encoding="utf-8")
    assert read(bert, site.ads.trace) == (200, "of ads")
    for place in (
        f"mlflow-artifacts:/{theirs}",
        f"mlflow-artifacts:/workspaces/ads/{site.ads.experiment}/../../../{theirs}",
        f"mlflow-artifacts:/workspaces/ads/{site.ads.experiment}/..%2f..%2f..%2f{theirs}",
        str(site.folder / theirs),
        f"file://{site.folder / theirs}",
    ):
        tag = {"key": "mlflow.artifactLocation", "value": place}
        assert bert.ask("PATCH", f"{TRACES}/{site.ads.trace}/tags", tag)[0] == 200
        status, answer = read(bert, site.ads.trace)
        assert (status, MARK in json.dumps(answer)) == (400, False), (place, answer)
    back = {"key": "mlflow.artifactLocation", "value": f"mlflow-artifacts:/{own}"}
    assert bert.ask("PATCH", f"{TRACES}/{site.ads.trace}/tags", back)[0] == 200
    assert read(bert, site.ads.trace) == (200, "of ads")


def test_nobody_changes_what_another_team_has(site: Site) -> None:
    for where in ("fraud", "ads", ""):
        bert = site.person("bert", where)
        assert bert.logs(site.fraud.experiment) in (403, 404)
        assert bert.deletes(site.fraud.experiment) in (403, 404)
        assert bert.ask("POST", f"{RUNS}/delete", {"run_id": site.fraud.run})[0] in (403, 404)
        tag = {"key": "by", "value": "bert"}
        assert bert.ask("POST", f"{RUNS}/set-tag", {"run_id": site.fraud.run, **tag})[0] in (403, 404)
        assert bert.ask("PATCH", f"{TRACES}/{site.fraud.trace}/tags", tag)[0] in (403, 404)
        assert bert.ask("DELETE", f"{MODELS}/delete", {"name": f"{MARK}-model"})[0] in (403, 404)
        assert bert.ask("DELETE", f"{SPACES}/fraud", mode="CASCADE")[0] == 403
        assert bert.ask("PATCH", f"{SPACES}/fraud", {"description": "bert's"})[0] == 403
    bert = site.person("bert", "fraud")
    assert bert.ask("POST", f"{EXPERIMENTS}/create", {"name": "by-bert"})[0] == 403
    assert bert.ask("POST", f"{MODELS}/create", {"name": "by-bert"})[0] == 403


# ----- the modules


def test_the_list_is_the_truth_in_every_workspace(site: Site) -> None:
    listed: dict[str, Any] = {"users": USERS, "workspaces": True}
    assert settle(site, "teams", teams=TEAMS, **listed)["changed"] is False
    # A team comes, another is allowed less, and one moves from the default workspace to its own.
    teams = [
        TEAMS[0],
        {**TEAMS[1], "permission": "READ", "experiments": []},
        OLD_TEAM,
        {"name": "Two Words", "workspace": "fraud", "members": ["olga"], "permission": "READ"},
    ]
    done = settle(site, "teams", teams=teams, **listed)
    assert done["changes"][:1] == ["the team old is deleted"]
    assert {
        "the team ads in workspace ads has READ in place of EDIT on every experiment",
        "the team ads in workspace ads loses EDIT on experiment clicks",
        "the workspace old is made",
        "the experiment old/things is made",
        "the team old in workspace old is made",
        "olga joins the team Two Words in workspace fraud",
    } <= set(done["changes"])
    assert set(done["diff"]["after"]) == {"workspace ads", "workspace old", "workspace fraud"}
    bert, olga = site.person("bert", "ads"), site.person("olga", "fraud")
    assert (bert.reads(site.ads.experiment), bert.logs(site.ads.experiment)) == (200, 403)
    assert (olga.reads(site.fraud.experiment), olga.logs(site.fraud.experiment)) == (200, 403)
    assert site.person("olga").reads(site.before.experiment) == 403

    gone = settle(site, "teams", teams=TEAMS[:1], **listed)
    assert sorted(gone["changes"]) == [
        "the team Two Words in workspace fraud is deleted",
        "the team ads in workspace ads is deleted",
        "the team old in workspace old is deleted",
    ]
    assert (bert.reads(site.ads.experiment), olga.reads(site.fraud.experiment)) == (403, 403)
    assert good(bert.ask("GET", SPACES)) in ({}, {"workspaces": []})
    # What the team made is still there, for administrators.
    assert site.logins.admin.in_workspace("ads").reads(site.ads.experiment) == 200
    back = settle(site, "teams", teams=TEAMS, **listed)
    assert "the workspace ads is made" not in back["changes"]
    assert bert.logs(site.ads.experiment) == 200


def test_teams_that_cannot_be(site: Site) -> None:
    said = "The name of the workspace 'Two Words' is none that MLflow takes for a workspace"
    refused(site, "ACCESS_NAME", said, "teams", teams=[{"name": "Two Words"}], workspaces=True)
    unknown = {**TEAMS[0], "grants": [{"resource_type": "experiment", "resource": "clicks", "permission": "READ"}]}
    said = "The team fraud has a grant on experiment clicks, which does not exist."
    refused(site, "ACCESS_RESOURCE_UNKNOWN", said, "teams", teams=[unknown, *TEAMS[1:]], workspaces=True)


def test_a_workspace_from_beginning_to_end(site: Site) -> None:
    made = settle(site, "workspace", name="lab", description="To try things")
    assert made["changes"] == ["the workspace lab is made"]
    assert made["diff"]["after"] == {"description": "To try things", "artifact_root": ""}
    root = settle(site, "workspace", name="lab", artifact_root="s3://lab-bucket/x")
    assert root["changes"] == ["the workspace lab keeps new artifacts in s3://lab-bucket/x"]
    back = settle(site, "workspace", name="lab", artifact_root="", description="")
    assert back["changes"] == [
        "the workspace lab is described anew",
        "the workspace lab keeps new artifacts in workspaces/lab",
    ]
    said = "The workspace lab cannot have the root mlflow-artifacts:/elsewhere: MLflow serves it from workspaces/lab."
    refused(site, "ACCESS_ROOT", said, "workspace", name="lab", artifact_root="mlflow-artifacts:/elsewhere")
    # The other modules work in it.
    settle(site, "registered_model", name="m", workspace="lab")
    grant = {"resource_type": "registered_model", "resource": "m", "permission": "READ"}
    settle(site, "role", name="readers", workspace="lab", grants=[grant], members=["olga"])
    settle(site, "permission", user="bert", workspace="lab", **grant)
    for name in ("olga", "bert"):
        assert site.person(name, "lab").ask("GET", f"{MODELS}/get", name="m")[0] == 200
        assert site.person(name).ask("GET", f"{MODELS}/get", name="m")[0] in (403, 404)
    refused(
        site, "ACCESS_IN_USE", "The workspace lab holds registered models.", "workspace", name="lab", state="absent"
    )
    settle(site, "registered_model", name="m", workspace="lab", state="absent")
    assert settle(site, "workspace", name="lab", state="absent")["changes"] == ["the workspace lab is deleted"]
    assert [one["name"] for one in everything(site)["roles"]["roles"] if one["workspace"] == "lab"] == []

    settle(site, "workspace", name="lab")
    settle(site, "experiment", name="e", workspace="lab")
    refused(site, "ACCESS_IN_USE", "The workspace lab holds experiments.", "workspace", name="lab", state="absent")
    settle(site, "workspace", name="lab", state="absent", force=True)


def test_workspaces_that_cannot_be(site: Site) -> None:
    for name in ("Lab", "a", "lab-", "api", "x" * 64):
        refused(site, "ACCESS_NAME", f"The name of the workspace '{name}' is", "workspace", name=name)
    said = "MLflow keeps the workspace default for ever."
    refused(site, "ACCESS_FIXED", said, "workspace", name="default", state="absent")
    said = "There is no workspace nowhere."
    refused(site, "ACCESS_WORKSPACE_UNKNOWN", said, "experiment", name="e", workspace="nowhere")
    refused(site, "ACCESS_WORKSPACE_UNKNOWN", said, "role", name="r", workspace="nowhere")


def test_mlflow_takes_the_names_that_are_taken_here(tmp_path: Path) -> None:
    names = [
        "ab",
        "a",
        "a-b",
        "-ab",
        "ab-",
        "Ab",
        "a_b",
        "x" * 63,
        "x" * 64,
        "api",
        "ajax-api",
        "workspaces",
        "static-files",
        "ä" * 3,
    ]
    told = ask(
        "from mlflow.exceptions import MlflowException\n"
        "from mlflow.store.workspace.abstract_store import WorkspaceNameValidator\n"
        "def takes(name):\n"
        "    try:\n"
        "        WorkspaceNameValidator.validate(name)\n"
        "    except MlflowException:\n"
        "        return False\n"
        "    return True\n"
        f"answer = {{name: takes(name) for name in {names!r}}}",
        tmp_path,
    )
    assert {name: not _access.name_problem(_access.WORKSPACE, name) for name in names} == told
    assert set(told.values()) == {True, False}


# ----- single sign-on


def test_groups_of_single_sign_on_are_teams(site: Site, tmp_path: Path) -> None:
    """The role of a team has the name of a group, in whatever workspace it is. Another server on the same databases."""
    key, basic = "k" * 40, Path(site.environment["MLFLOW_AUTH_CONFIG_PATH"]).read_text(encoding="utf-8")
    settings = tmp_path / "auth.ini"
    function = "authenticate_request_basic_auth"
    assert function in basic
    settings.write_text(basic.replace(f"mlflow.server.auth:{function}", "mlops_mlflow_hooks.identity:authenticate"))
    rules = {"accounts": [], "reserved": [ADMIN], "admin_groups": ["admins"], "group_roles": {}, "separator": ","}
    identity = {
        "MLFLOW_AUTH_CONFIG_PATH": str(settings),
        "MLOPS_IDENTITY": json.dumps({**rules, "seconds": 1}),
        "MLOPS_IDENTITY_KEY": key,
    }
    with running_mlflow(tmp_path, {**site.environment, **identity}, app="mlops-oidc") as server:

        def sees(name: str, groups: str, path: str) -> bool:
            headers = {"X-Proxy-Key": key, "X-Forwarded-User": name, "X-Forwarded-Groups": groups}
            request = urllib.request.Request(f"{server.url}{path}", headers={**headers, "X-MLFLOW-WORKSPACE": "fraud"})
            try:
                with urllib.request.urlopen(request, timeout=30) as answer:
                    return MARK in answer.read().decode()
            except urllib.error.HTTPError as error:
                if error.code not in (401, 403, 404):
                    raise
                return False

        # A route of Flask, and one that is not.
        for path in (f"{RUNS}/get?run_id={site.fraud.run}", f"{SERVED}/{site.fraud.location}/note.txt"):
            assert sees("member", "others,fraud", path)
            assert sees("root", "admins", path)
            for groups in ("ads", "user", "admin", "workspace", ""):
                assert not sees(f"stranger-{groups}", groups, path), (groups, path)
            # Who left the group left the workspace.
            assert not sees("member", "others", path)


# ----- what looks after artifacts


def test_the_audit_sees_all_workspaces(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_artifact_uri, "_FLEETING", ())

    def look() -> dict[str, Any]:
        asked: dict[str, Any] = {
            "store": {"uri": str(site.folder)},
            "database_uri": site.database,
            "host": "app1",
            "fail_on": "never",
        }
        return run_module("mlflow_artifact_audit", **asked)

    note = site.folder / site.fraud.location / "note.txt"
    found = look()
    assert found["findings"] == [], found
    assert found["audit"]["objects"] == len([one for one in site.folder.rglob("*") if one.is_file()])
    text = note.read_bytes()
    note.unlink()
    try:
        assert f"{MARK}-model/{site.fraud.version}" in json.dumps(look()["findings"])
    finally:
        note.write_bytes(text)
