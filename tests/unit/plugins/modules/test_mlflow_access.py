"""The modules that give and take access, against a real MLflow with logins on a real PostgreSQL, and what its users can do then."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest

from ansible_collections.mlops.mlflow.plugins.module_utils import _access
from ansible_collections.mlops.mlflow.tests.unit.support.http_peers import Reply, Request, http_peer
from ansible_collections.mlops.mlflow.tests.unit.support.logins import ADMIN, PASSWORD, Logins, running_logins
from ansible_collections.mlops.mlflow.tests.unit.support.mlflow_peer import mlflow
from ansible_collections.mlops.mlflow.tests.unit.support.mlflow_release import ask
from ansible_collections.mlops.mlflow.tests.unit.support.module import ids, run_module
from ansible_collections.mlops.mlflow.tests.unit.support.peers import LOOPBACK, free_port
from ansible_collections.mlops.mlflow.tests.unit.support.postgresql import Server

WORD = "a-password-of-a-user"
OTHER = "another-password-of-a-user"


@pytest.fixture(name="logins", scope="module")
def _logins(tmp_path_factory: pytest.TempPathFactory, postgresql: Server) -> Iterator[Logins]:
    with running_logins(tmp_path_factory.mktemp("mlflow"), postgresql) as logins:
        yield logins


def run(url: str, module: str, *, check: bool = False, **options: Any) -> dict[str, Any]:
    """Run a module as host app1, without failing; no password is in its answer."""
    login = {"url": url, "host": "app1", "fail_on": "never", "username": ADMIN, "password": PASSWORD}
    answer = run_module(f"mlflow_{module}", check_mode=check, **{**login, **options})
    said = json.dumps({name: value for name, value in answer.items() if name != "invocation"})
    assert [word for word in (PASSWORD, WORD, OTHER, "scrypt") if word in said] == []
    return answer


def settle(logins: Logins, module: str, **options: Any) -> dict[str, Any]:
    """Check mode predicts and changes nothing, the run does as predicted, the second run has nothing to do."""
    url, before = logins.server.url, logins.everything()
    predicted = run(url, module, check=True, **options)
    assert predicted["findings"] == [], predicted
    assert logins.everything() == before
    done = run(url, module, **options)
    assert done["findings"] == [], done
    assert (done["changed"], done["changes"], done["diff"]) == (
        predicted["changed"],
        predicted["changes"],
        predicted["diff"],
    )
    again = run(url, module, **options)
    assert (again["changed"], again["changes"], again["findings"]) == (False, [], []), again
    assert again["diff"]["before"] == again["diff"]["after"]
    return done


def refused(logins: Logins, finding: str, sentence: str, module: str, *, check: bool = False, **options: Any) -> None:
    """One sentence, and nothing is changed."""
    before = logins.everything()
    answer = run(logins.server.url, module, check=check, **options)
    assert ids(answer) == [finding], answer
    assert answer["refusals"][0].startswith(f"[{finding}] app1: {sentence}"), answer["refusals"]
    assert answer["refusals"][0].endswith("Nothing was changed.")
    assert answer["changed"] is False
    assert logins.everything() == before


def user(logins: Logins, name: str, **options: Any) -> dict[str, Any]:
    return settle(logins, "user", name=name, user_password=WORD, **options)


# ----- users


def test_a_user_from_beginning_to_end(logins: Logins) -> None:
    made = user(logins, "carla")
    assert made["changes"] == ["the user carla is made"]
    assert made["diff"] == {"before": {}, "after": {"admin": False}}
    carla = logins.person("carla", WORD)
    assert carla.ask("GET", "/api/2.0/mlflow/users/current")[0] == 200
    assert carla.ask("GET", "/api/2.0/mlflow/users/list")[0] == 200
    assert carla.ask("GET", "/api/3.0/mlflow/roles/list")[0] == 403

    assert settle(logins, "user", name="carla", admin=True)["changes"] == ["the user carla becomes an administrator"]
    assert carla.ask("GET", "/api/3.0/mlflow/roles/list")[0] == 200
    assert settle(logins, "user", name="carla", admin=False)["changes"] == [
        "the user carla is no administrator any more"
    ]
    assert carla.ask("GET", "/api/3.0/mlflow/roles/list")[0] == 403

    kept = settle(logins, "user", name="carla", user_password=OTHER, update_password="on_create")
    assert kept["changed"] is False
    changed = settle(logins, "user", name="carla", user_password=OTHER)
    assert changed["changes"] == ["the user carla gets another password"]
    assert changed["diff"]["before"] == {"admin": False, "password": "another"}
    assert carla.ask("GET", "/api/2.0/mlflow/users/current")[0] == 401
    assert logins.person("carla", OTHER).ask("GET", "/api/2.0/mlflow/users/current")[0] == 200

    assert settle(logins, "user", name="carla", state="absent")["changes"] == ["the user carla is deleted"]
    assert logins.person("carla", OTHER).ask("GET", "/api/2.0/mlflow/users/current")[0] == 401


def test_users_that_cannot_be(logins: Logins) -> None:
    said = "The password of the user dora has 5 characters, and 12 are the least."
    refused(logins, "ACCESS_PASSWORD", said, "user", name="dora", user_password="short")
    said = "The password of the user dora has 0 characters"
    refused(logins, "ACCESS_PASSWORD", said, "user", name="dora", check=True)
    refused(logins, "ACCESS_NAME", "The name of the user 'd:ora' has a colon", "user", name="d:ora", user_password=WORD)
    refused(logins, "ACCESS_SELF", "The login admin cannot delete itself.", "user", name=ADMIN, state="absent")
    refused(logins, "ACCESS_SELF", "The login admin cannot take its own", "user", name=ADMIN, admin=False)
    refused(logins, "ACCESS_SELF", "The login admin does not give itself", "user", name=ADMIN, user_password=OTHER)
    assert settle(logins, "user", name=ADMIN, user_password=PASSWORD)["changed"] is False


# ----- experiments and models


def test_an_experiment_from_beginning_to_end(logins: Logins) -> None:
    made = settle(logins, "experiment", name="e/one", description="Of a test", tags={"team": "one", "age": 3})
    assert made["changes"] == ["the experiment e/one is made"]
    number = logins.number("e/one")
    assert run(logins.server.url, "experiment", name="e/one")["experiment_id"] == number
    assert made["diff"]["after"]["tags"] == {"team": "one", "age": "3", "mlflow.note.content": "Of a test"}

    tagged = settle(logins, "experiment", name="e/one", tags={"team": "two"})
    assert tagged["changes"] == ["the experiment e/one gets the tag team"]
    assert tagged["diff"]["after"]["tags"]["age"] == "3"
    purged = settle(logins, "experiment", name="e/one", tags={"team": "two"}, purge_tags=True)
    assert purged["changes"] == ["the experiment e/one loses the tag age"]
    assert purged["diff"]["after"]["tags"] == {"team": "two", "mlflow.note.content": "Of a test"}

    said = "The experiment e/one keeps its artifacts in mlflow-artifacts:/"
    refused(logins, "ACCESS_FIXED", said, "experiment", name="e/one", artifact_location="s3://elsewhere/one")
    place = settle(logins, "experiment", name="e/placed", artifact_location="s3://elsewhere/one")
    assert place["diff"]["after"]["artifact_location"] == "s3://elsewhere/one"

    assert settle(logins, "experiment", name="e/one", state="absent")["changes"] == ["the experiment e/one is deleted"]
    restored = settle(logins, "experiment", name="e/one")
    assert restored["changes"] == ["the experiment e/one is restored"]
    assert logins.number("e/one") == number
    refused(
        logins, "ACCESS_NAME", "The name of the experiment ' e' begins or ends with a blank.", "experiment", name=" e"
    )


def test_a_registered_model_from_beginning_to_end(logins: Logins) -> None:
    made = settle(logins, "registered_model", name="m-one", description="Of a test", tags={"team": "one"})
    assert made["changes"] == ["the registered model m-one is made"]
    changed = settle(
        logins, "registered_model", name="m-one", description="Another", tags={"age": "3"}, purge_tags=True
    )
    assert changed["changes"] == [
        "the registered model m-one is described anew",
        "the registered model m-one gets the tag age",
        "the registered model m-one loses the tag team",
    ]
    version = {"name": "m-one", "source": "s3://elsewhere/model"}
    status, answer = logins.admin.ask("POST", "/api/2.0/mlflow/model-versions/create", version)
    assert status == 200, answer
    refused(
        logins,
        "ACCESS_IN_USE",
        "The registered model m-one has versions.",
        "registered_model",
        name="m-one",
        state="absent",
    )
    gone = settle(logins, "registered_model", name="m-one", state="absent", force=True)
    assert gone["changes"] == ["the registered model m-one is deleted"]
    said = "The name of the registered model 'a/b' is none that MLflow takes"
    refused(logins, "ACCESS_NAME", said, "registered_model", name="a/b")


def test_a_prompt_is_no_model(logins: Logins) -> None:
    prompt = {"name": "greeting", "tags": [{"key": "mlflow.prompt.is_prompt", "value": "true"}]}
    assert logins.admin.ask("POST", "/api/2.0/mlflow/registered-models/create", prompt)[0] == 200
    said = "The name greeting is that of a prompt, and no model can have it."
    refused(logins, "ACCESS_FIXED", said, "registered_model", name="greeting")
    refused(logins, "ACCESS_FIXED", said, "registered_model", name="greeting", state="absent", force=True)


# ----- roles and grants


def test_a_role_from_beginning_to_end(logins: Logins) -> None:
    for name in ("erik", "frida"):
        user(logins, name)
    settle(logins, "experiment", name="r/one")
    settle(logins, "experiment", name="r/two")
    one, two = logins.number("r/one"), logins.number("r/two")
    grants = [
        {"resource_type": "experiment", "resource": "r/one", "permission": "READ"},
        {"resource_type": "registered_model", "resource": "*", "permission": "READ"},
    ]
    made = settle(logins, "role", name="readers", description="They read", grants=grants, members=["erik"])
    assert made["changes"] == [
        "the role readers is made",
        "the role readers gets READ on experiment r/one",
        "the role readers gets READ on every registered model",
        "erik joins the role readers",
    ]
    assert made["diff"]["after"] == {
        "description": "They read",
        "grants": {"experiment r/one": "READ", "every registered model": "READ"},
        "members": ["erik"],
    }
    erik, frida = logins.person("erik", WORD), logins.person("frida", WORD)
    assert (erik.reads(one), erik.logs(one), erik.deletes(one), erik.reads(two)) == (200, 403, 403, 403)
    assert (frida.reads(one), frida.reads(two)) == (403, 403)

    more = [{"resource_type": "experiment", "resource": "r/two", "permission": "EDIT"}]
    added = settle(logins, "role", name="readers", grants=more, members=["frida"], append=True)
    assert added["changes"] == ["the role readers gets EDIT on experiment r/two", "frida joins the role readers"]
    assert (erik.reads(one), erik.logs(two), erik.deletes(two), frida.reads(one)) == (200, 200, 403, 200)

    exact = settle(logins, "role", name="readers", grants=more, members=["frida"])
    assert exact["changes"] == [
        "the role readers loses READ on experiment r/one",
        "the role readers loses READ on every registered model",
        "erik leaves the role readers",
    ]
    assert (erik.reads(two), frida.reads(one), frida.reads(two)) == (403, 403, 200)
    left_alone = settle(logins, "role", name="readers", description="They write")
    assert left_alone["changes"] == ["the role readers is described anew"]
    assert logins.grants("readers") == {("experiment", two): "EDIT"}
    lowered = [{**more[0], "permission": "READ"}]
    changed = settle(logins, "role", name="readers", grants=lowered)
    assert changed["changes"] == ["the role readers has READ in place of EDIT on experiment r/two"]
    assert (frida.reads(two), frida.logs(two)) == (200, 403)

    assert settle(logins, "role", name="readers", state="absent")["changes"] == ["the role readers is deleted"]
    assert frida.reads(two) == 403


def test_roles_that_cannot_be(logins: Logins) -> None:
    nobody = "The role r: there is no user nobody, nobody-else."
    refused(logins, "ACCESS_USER_UNKNOWN", nobody, "role", name="r", members=["nobody-else", "nobody"])
    nothing = [{"resource_type": "experiment", "resource": "r/no", "permission": "READ"}]
    refused(logins, "ACCESS_RESOURCE_UNKNOWN", "There is no experiment r/no.", "role", name="r", grants=nothing)
    part = [{"resource_type": "run", "resource": "17", "permission": "READ"}]
    said = "READ on run 17: run is granted for all ('*') only."
    refused(logins, "ACCESS_GRANT", said, "role", name="r", grants=part)
    refused(logins, "ACCESS_NAME", "The name of the role '__user_1__' begins with __user_", "role", name="__user_1__")
    every = [{"resource_type": "trace", "resource": "*", "permission": one} for one in ("READ", "EDIT")]
    refused(logins, "ACCESS_TEAMS", "The role r has every trace twice.", "role", name="r", grants=every)


@pytest.mark.parametrize("whose", ["user", "role"])
def test_a_grant_from_beginning_to_end(logins: Logins, whose: str) -> None:
    name = f"gerda-{whose}"
    user(logins, name)
    settle(logins, "experiment", name=f"g/{whose}")
    number, gerda = logins.number(f"g/{whose}"), logins.person(name, WORD)
    owner = {"user": name}
    if whose == "role":
        owner = {"role": f"of-{name}"}
        settle(logins, "role", name=owner["role"], members=[name])
    who = f"the {whose} {owner[whose]}"
    on = {**owner, "resource_type": "experiment", "resource": f"g/{whose}"}
    given = settle(logins, "permission", permission="READ", **on)
    assert given["changes"] == [f"{who} gets READ on experiment g/{whose}"]
    assert given["diff"] == {"before": {}, "after": {f"experiment g/{whose}": "READ"}}
    assert (gerda.reads(number), gerda.logs(number)) == (200, 403)
    changed = settle(logins, "permission", permission="EDIT", **on)
    assert changed["changes"] == [f"{who} has EDIT in place of READ on experiment g/{whose}"]
    assert gerda.logs(number) == 200
    every = {**on, "resource": "*"}
    assert settle(logins, "permission", permission="DENY", **every)["changes"] == [
        f"{who} gets DENY on every experiment"
    ]
    assert gerda.reads(number) == 403
    assert settle(logins, "permission", state="absent", **every)["changed"] is True
    assert gerda.reads(number) == 200
    taken = settle(logins, "permission", state="absent", **on)
    assert taken["changes"] == [f"{who} loses EDIT on experiment g/{whose}"]
    assert gerda.reads(number) == 403
    never_was = {**on, "resource": "g/never"}
    assert settle(logins, "permission", state="absent", **never_was)["changed"] is False


def test_grants_that_cannot_be(logins: Logins) -> None:
    on: dict[str, Any] = {"resource_type": "registered_model", "resource": "no-model", "permission": "READ"}
    refused(logins, "ACCESS_ROLE_UNKNOWN", "There is no role nobodies.", "permission", role="nobodies", **on)
    refused(logins, "ACCESS_USER_UNKNOWN", "A grant: there is no user nobody.", "permission", user="nobody", **on)
    said = "There is no registered model no-model."
    refused(logins, "ACCESS_RESOURCE_UNKNOWN", said, "permission", user=ADMIN, **on)
    workspace: dict[str, Any] = {"resource_type": "workspace", "resource": "*", "permission": "USE"}
    said = "A workspace is granted to roles, and not to a user himself."
    refused(logins, "ACCESS_GRANT", said, "permission", user=ADMIN, **workspace)
    settle(logins, "role", name="readers-of-all")
    said = "READ on the workspace: a workspace knows USE and MANAGE."
    refused(logins, "ACCESS_GRANT", said, "permission", role="readers-of-all", **{**workspace, "permission": "READ"})


# ----- teams


def team(name: str, members: list[str] | None = None, **more: Any) -> dict[str, Any]:
    return {"name": name, **({} if members is None else {"members": members}), **more}


def test_teams_from_beginning_to_end(logins: Logins) -> None:
    users = [{"name": name, "password": WORD} for name in ("hanna", "ivan", "jule")]
    settle(logins, "role", name="by-hand", members=[])
    fraud = team(
        "fraud",
        ["hanna"],
        description="Finds fraud",
        experiments=[{"name": "fraud/churn"}],
        models=[{"name": "churn", "permission": "MANAGE"}],
    )
    ads = team(
        "ads",
        ["ivan"],
        experiments=[{"name": "ads/clicks"}],
        grants=[{"resource_type": "experiment", "resource": "fraud/churn", "permission": "READ"}],
    )
    made = settle(logins, "teams", teams=[fraud, ads], users=users)
    assert made["changes"] == [
        "the user hanna is made",
        "the user ivan is made",
        "the user jule is made",
        "the experiment fraud/churn is made",
        "the experiment ads/clicks is made",
        "the registered model churn is made",
        "the team fraud is made",
        "the team fraud gets EDIT on experiment fraud/churn",
        "the team fraud gets MANAGE on registered model churn",
        "hanna joins the team fraud",
        "the team ads is made",
        "the team ads gets EDIT on experiment ads/clicks",
        "the team ads gets READ on experiment fraud/churn",
        "ivan joins the team ads",
    ]
    churn, clicks = logins.number("fraud/churn"), logins.number("ads/clicks")
    hanna, ivan, jule = (logins.person(name, WORD) for name in ("hanna", "ivan", "jule"))
    assert (hanna.reads(churn), hanna.logs(churn), hanna.deletes(churn), hanna.reads(clicks)) == (200, 200, 403, 403)
    assert (ivan.reads(churn), ivan.logs(churn), ivan.logs(clicks)) == (200, 403, 200)
    assert (jule.reads(churn), jule.reads(clicks)) == (403, 403)
    model = {"name": "churn", "description": "x"}
    assert hanna.ask("PATCH", "/api/2.0/mlflow/registered-models/update", model)[0] == 200
    assert ivan.ask("PATCH", "/api/2.0/mlflow/registered-models/update", model)[0] == 403

    # Somebody gives by hand what the list does not say; and the list changes.
    for role in ("fraud", "by-hand"):
        by_hand: dict[str, Any] = {"role": role, "resource_type": "prompt", "resource": "*", "permission": "READ"}
        run(logins.server.url, "permission", **by_hand)
    fraud["experiments"], fraud["members"] = [], ["jule"]
    ads["grants"] = []
    changed = settle(logins, "teams", teams=[fraud, ads])
    assert changed["changes"] == [
        "the team fraud loses EDIT on experiment fraud/churn",
        "the team fraud loses READ on every prompt",
        "hanna leaves the team fraud",
        "the team ads loses READ on experiment fraud/churn",
        "jule joins the team fraud",
    ]
    assert (hanna.reads(churn), ivan.reads(churn), jule.reads(churn)) == (403, 403, 403)
    assert logins.grants("by-hand") == {("prompt", "*"): "READ"}

    # A team leaves the list: its role goes, its experiment stays, and the role that somebody made by hand does as well.
    gone = settle(logins, "teams", teams=[fraud])
    assert gone["changes"] == ["the team ads is deleted"]
    assert gone["diff"]["after"] == {}
    assert gone["diff"]["before"]["teams"]["ads"]["members"] == ["ivan"]
    assert (ivan.reads(clicks), logins.admin.reads(clicks)) == (403, 200)
    assert settle(logins, "teams", teams=[])["changes"] == ["the team fraud is deleted"]
    assert logins.grants("by-hand") == {("prompt", "*"): "READ"}
    back = settle(logins, "teams", teams=[fraud, ads])
    assert "the experiment ads/clicks is made" not in back["changes"]
    assert ivan.logs(clicks) == 200
    settle(logins, "teams", teams=[])


def test_members_that_are_not_the_lists_business(logins: Logins) -> None:
    for name in ("kai", "lea"):
        user(logins, name)
    listed = [team("groups", ["kai"])]
    settle(logins, "teams", teams=listed)
    run(logins.server.url, "role", name="groups", members=["lea"], append=True)
    assert settle(logins, "teams", teams=listed, members="add")["changed"] is False
    assert settle(logins, "teams", teams=[team("groups")])["changed"] is False
    assert logins.members("groups") == ["kai", "lea"]
    assert settle(logins, "teams", teams=listed)["changes"] == ["lea leaves the team groups"]
    # Who is deleted leaves every team with that.
    left = settle(logins, "teams", teams=[team("groups", [])], users=[{"name": "kai", "state": "absent"}])
    assert left["changes"] == ["the user kai is deleted"]
    settle(logins, "teams", teams=[])


def test_teams_that_cannot_be(logins: Logins) -> None:
    settle(logins, "role", name="foreign", description="Of somebody else")
    foreign = [team("foreign", [])]
    said = "The role foreign exists, and the mark of mlflow_teams is not in its description."
    refused(logins, "ACCESS_ROLE_FOREIGN", said, "teams", teams=foreign, check=True)
    refused(logins, "ACCESS_ROLE_FOREIGN", said, "teams", teams=foreign)
    assert settle(logins, "teams", teams=foreign, adopt=True)["changes"] == ["the team foreign is described anew"]
    settle(logins, "teams", teams=[])

    said = "The team x: there is no user nobody."
    refused(logins, "ACCESS_USER_UNKNOWN", said, "teams", teams=[team("x", ["nobody"], models=[{"name": "m"}])])
    grants = [{"resource_type": "experiment", "resource": "no/such", "permission": "READ"}]
    said = "The team x has a grant on experiment no/such, which does not exist."
    refused(logins, "ACCESS_RESOURCE_UNKNOWN", said, "teams", teams=[team("x", grants=grants)])
    refused(logins, "ACCESS_TEAMS", "The team x is in the list twice.", "teams", teams=[team("x"), team("x")])
    twice = [team("x", experiments=[{"name": "a"}], grants=[{**grants[0], "resource": "a"}])]
    refused(logins, "ACCESS_TEAMS", "The team x has experiment a twice.", "teams", teams=twice)
    gone: dict[str, Any] = {"teams": [team("x", ["kim"])], "users": [{"name": "kim", "state": "absent"}]}
    refused(logins, "ACCESS_TEAMS", "The user kim is in the team x, and shall not exist.", "teams", **gone)
    short: dict[str, Any] = {"teams": [], "users": [{"name": "kim", "password": "short"}]}
    refused(logins, "ACCESS_PASSWORD", "The password of the user kim has 5 characters", "teams", **short)
    prompt = {"name": "p-of-teams", "tags": [{"key": "mlflow.prompt.is_prompt", "value": "true"}]}
    assert logins.admin.ask("POST", "/api/2.0/mlflow/registered-models/create", prompt)[0] == 200
    said = "The name p-of-teams is that of a prompt, and no model can have it."
    refused(logins, "ACCESS_FIXED", said, "teams", teams=[team("x", models=[{"name": "p-of-teams"}])])


def test_what_was_done_before_a_refusal_is_said(logins: Logins) -> None:
    """What only MLflow knows it refuses in the middle: the second of two tags has a name that it does not take."""
    settle(logins, "experiment", name="t/one")
    answer = run(logins.server.url, "experiment", name="t/one", tags={"fine": "1", "wrong!": "2"})
    assert ids(answer) == ["ACCESS_REFUSED"]
    said = "[ACCESS_REFUSED] app1: 'the experiment t/one gets the tag wrong!': "
    assert answer["refusals"][0].startswith(said)
    assert answer["refusals"][0].endswith("Done before it: the experiment t/one gets the tag fine.")
    assert answer["changed"] is True
    assert answer["changes"] == ["the experiment t/one gets the tag fine"]


# ----- the way there


def test_somebody_who_is_no_administrator(logins: Logins) -> None:
    user(logins, "nora")
    settle(logins, "experiment", name="n/one")
    login: dict[str, Any] = {"username": "nora", "password": WORD}
    before = logins.everything()
    for module, options in (
        ("user", {"name": "x", "user_password": WORD}),
        ("role", {"name": "x"}),
        ("permission", {"user": "nora", "resource_type": "run", "resource": "*", "permission": "MANAGE"}),
        ("teams", {"teams": []}),
    ):
        answer = run(logins.server.url, module, **options, **login)
        said = "[ACCESS_DENIED] app1: The login nora is no administrator. Give the login of an administrator; the first one is"
        assert answer["refusals"] == [f"{said} mlflow_admin_username. Nothing was changed."]
    answer = run(logins.server.url, "experiment", name="n/one", tags={"a": "b"}, **login)
    assert ids(answer) == ["ACCESS_DENIED"]
    assert "the login nora may not have the experiment n/one." in answer["refusals"][0]
    assert logins.everything() == before


MODULES: dict[str, dict[str, Any]] = {
    "user": {"name": "x", "user_password": WORD},
    "role": {"name": "x"},
    "permission": {"role": "x", "resource_type": "run", "resource": "*", "permission": "READ"},
    "teams": {"teams": []},
    "experiment": {"name": "x"},
    "registered_model": {"name": "x"},
}


@pytest.mark.parametrize("module", MODULES)
def test_the_way_to_mlflow(logins: Logins, module: str) -> None:
    """Wrong login, nobody there, somebody else there, an MLflow without logins: a sentence each."""
    options = MODULES[module]
    wrong = run(logins.server.url, module, password="a-wrong-password", **options)
    assert ids(wrong) == ["ENDPOINT_LOGIN"]
    assert "the login admin is refused." in wrong["refusals"][0]
    down = run(f"http://{LOOPBACK}:{free_port()}", module, **options)
    assert ids(down) == ["ENDPOINT_TCP"]
    assert ids(run("ftp://mlflow.test", module, **options)) == ["ENDPOINT_URL"]
    # Of users it knows nothing; of experiments, this one answers otherwise than MLflow does.
    with http_peer(mlflow(auth=False)) as port:
        about_users = module not in ("experiment", "registered_model")
        answer = run(f"http://{LOOPBACK}:{port}", module, username="", password="", **options)
        assert ids(answer) == ["ACCESS_NO_LOGINS" if about_users else "ENDPOINT_NOT_MLFLOW"]
    with http_peer(lambda _request: Reply(200, b"Welcome to nginx!")) as port:
        assert ids(run(f"http://{LOOPBACK}:{port}", module, **options)) == ["ENDPOINT_NOT_MLFLOW"]
    with http_peer(lambda _request: Reply(200, b'{"user": {"is_admin": true}, "roles": [3], "users": [{}]}')) as port:
        assert ids(run(f"http://{LOOPBACK}:{port}", module, **options)) == ["ENDPOINT_NOT_MLFLOW"]
    with http_peer(lambda _request: Reply(502, b"Bad Gateway")) as port:
        assert ids(run(f"http://{LOOPBACK}:{port}", module, **options)) == ["ENDPOINT_MLFLOW_ERROR"]


def test_a_token_is_sent_in_place_of_a_login() -> None:
    """As servers behind single sign-on take it."""

    def answer(request: Request) -> Reply:
        if request.headers.get("Authorization") != "Bearer a-token-of-anna":
            return Reply(401, b"Who are you?")
        return Reply(200, json.dumps({"user": {"username": "anna", "is_admin": False}}).encode())

    with http_peer(answer) as port:
        known = run(f"http://{LOOPBACK}:{port}", "teams", teams=[], token="a-token-of-anna")
        wrong = run(f"http://{LOOPBACK}:{port}", "teams", teams=[], username="", password="", token="another-token")
    assert known["refusals"][0].startswith("[ACCESS_DENIED] app1: The login anna is no administrator.")
    assert ids(wrong) == ["ENDPOINT_LOGIN"]
    assert "the login with the token is refused." in wrong["refusals"][0]


def test_a_failed_module_says_its_sentence(logins: Logins) -> None:
    login = {"url": logins.server.url, "username": ADMIN, "password": "wrong"}
    role: dict[str, Any] = {"host": "app1", "name": "x", **login}
    answer = run_module("mlflow_role", **role)
    assert answer["failed"] is True
    assert answer["msg"].startswith("[ENDPOINT_LOGIN] app1: ")
    assert answer["msg"].endswith("Nothing was changed.")


def test_mlflow_knows_what_can_be_granted(tmp_path: Any) -> None:
    """Types, permissions and what is granted for all only are those of the installed release."""
    told = ask(
        "from mlflow.server.auth import permissions as p\n"
        "answer = {'types': {name: sorted(kind.name for kind in kinds) for name, kinds in p.TYPE.items()},"
        " 'permissions': sorted(p.RESOURCE_GRANTABLE_PERMISSIONS),"
        " 'rank': sorted(p.RESOURCE_GRANTABLE_PERMISSIONS, key=p.PERMISSION_PRIORITY.get),"
        " 'workspace': sorted(p.WORKSPACE_GRANTABLE_PERMISSIONS)}",
        tmp_path,
    )
    assert told["rank"] == list(_access.PERMISSIONS)
    assert told["workspace"] == ["MANAGE", "USE"]
    single = {name for name, kinds in told["types"].items() if "ID" in kinds}
    assert single == set(_access.RESOURCES)
    assert set(told["types"]) - single == {*_access.PARTS, _access.WORKSPACE}
