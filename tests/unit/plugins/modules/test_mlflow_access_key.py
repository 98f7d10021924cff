"""mlflow_access_key against moto's server and SeaweedFS, both of which check who asks; each finding is induced, and its sentence asserted."""

from __future__ import annotations

import itertools
import json
import sys
import time
from collections.abc import Iterator
from typing import Any

import boto3
import botocore.exceptions
import pytest

from ansible_collections.mlops.mlflow.tests.unit.support.module import ids, run_module
from ansible_collections.mlops.mlflow.tests.unit.support.peers import LOOPBACK, free_port
from ansible_collections.mlops.mlflow.tests.unit.support.s3 import REGION, Keys, Store, running_store
from ansible_collections.mlops.mlflow.tests.unit.support.seaweedfs import running_seaweedfs

NUMBERS = itertools.count(1)
WRONG = "a-secret-of-forty-characters-that-is-not-it"


@pytest.fixture(name="store", scope="module", params=["moto", "seaweedfs"])
def _store(request: pytest.FixtureRequest) -> Iterator[Store]:
    with running_store() if request.param == "moto" else running_seaweedfs() as store:
        yield store


@pytest.fixture(name="moto", scope="module")
def _moto() -> Iterator[Store]:
    with running_store() as store:
        yield store


@pytest.fixture(autouse=True)
def _only_what_is_given(monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither keys nor proxies of the machine that runs the tests."""
    for name in ("http_proxy", "https_proxy", "all_proxy", "aws_profile", "aws_ca_bundle", "aws_endpoint_url"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", "/dev/null")
    monkeypatch.setenv("AWS_CONFIG_FILE", "/dev/null")
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")


def client(service: str, url: str, keys: Keys) -> Any:
    return boto3.client(
        service, endpoint_url=url, region_name=REGION, aws_access_key_id=keys.id, aws_secret_access_key=keys.secret
    )


def new_user(store: Store) -> str:
    """Make a user that may do everything with objects, and has no key yet."""
    name = f"rotating-{next(NUMBERS)}"
    iam = client("iam", store.url, store.admin)
    iam.create_user(UserName=name)
    statement = [{"Effect": "Allow", "Action": ["s3:*"], "Resource": "*"}]
    policy = json.dumps({"Version": "2012-10-17", "Statement": statement})
    iam.put_user_policy(UserName=name, PolicyName="rights", PolicyDocument=policy)
    return name


def ask(url: str, keys: Keys | None, user: str, *, check: bool = False, **options: Any) -> dict[str, Any]:
    """Run the module as host app1."""
    given = {"access_key_id": keys.id, "secret_access_key": keys.secret} if keys else {}
    arguments: dict[str, Any] = {"user": user, "host": "app1", "endpoint_url": url, "region": REGION, **given}
    return run_module("mlflow_access_key", check_mode=check, **{**arguments, **options})


def listed(store: Store, user: str) -> dict[str, bool]:
    """The user's keys as the store itself tells them, each with whether it is active."""
    found = client("iam", store.url, store.admin).list_access_keys(UserName=user)["AccessKeyMetadata"]
    return {key["AccessKeyId"]: key["Status"] == "Active" for key in found}


def becomes(store: Store, keys: Keys, *, usable: bool) -> None:
    """Wait until the store takes an object from these keys, or refuses it."""
    end = time.monotonic() + 20
    while True:
        try:
            client("s3", store.url, keys).put_object(Bucket="bucket", Key="rotation/probe", Body=b"x")
            works = True
        except botocore.exceptions.ClientError:
            works = False
        if works is usable:
            return
        assert time.monotonic() < end, f"{keys.id} is {'' if works else 'not '}usable"
        time.sleep(0.3)


def one(answer: dict[str, Any], finding_id: str, said: str) -> None:
    """Assert that the module failed with this finding alone, in one sentence."""
    assert answer["failed"] is True, answer
    assert ids(answer) == [finding_id]
    assert answer["msg"].startswith(f"[{finding_id}] app1: "), answer["msg"]
    assert said in answer["msg"]
    assert "Traceback" not in str(answer)


# ----- what it does


def test_a_key_goes_its_whole_way_and_each_step_can_be_repeated(store: Store) -> None:
    user = new_user(store)
    assert ask(store.url, store.admin, user)["access_keys"] == []

    first = ask(store.url, store.admin, user, state="present")
    keys = Keys(first["key_id"], first["secret_access_key"])
    assert first["changed"] is True
    assert listed(store, user) == {keys.id: True}
    assert [(key["id"], key["active"]) for key in first["access_keys"]] == [(keys.id, True)]
    becomes(store, keys, usable=True)

    second = ask(store.url, store.admin, user, state="present", known=[keys.id])
    assert second["changed"] is True
    assert second["key_id"] != keys.id
    again = ask(store.url, store.admin, user, state="present", known=[keys.id])
    assert (again["changed"], again["key_id"], again["secret_access_key"]) == (False, second["key_id"], "")
    newer = Keys(second["key_id"], second["secret_access_key"])
    becomes(store, newer, usable=True)
    becomes(store, keys, usable=True)

    for changed in (True, False):
        ended = ask(store.url, store.admin, user, state="present", key_id=keys.id, active=False)
        assert ended["changed"] is changed
        assert {key["id"]: key["active"] for key in ended["access_keys"]} == {keys.id: False, newer.id: True}
    assert listed(store, user) == {keys.id: False, newer.id: True}

    assert ask(store.url, store.admin, user, state="present", key_id=keys.id)["changed"] is True
    assert listed(store, user) == {keys.id: True, newer.id: True}

    for changed in (True, False):
        gone = ask(store.url, store.admin, user, state="absent", key_id=keys.id)
        assert gone["changed"] is changed
        assert [key["id"] for key in gone["access_keys"]] == [newer.id]
    assert listed(store, user) == {newer.id: True}
    becomes(store, keys, usable=False)
    becomes(store, newer, usable=True)


def test_a_deactivated_key_is_refused_at_once() -> None:
    """By SeaweedFS: moto takes it further on."""
    with running_seaweedfs() as store:
        user = new_user(store)
        made = ask(store.url, store.admin, user, state="present")
        keys = Keys(made["key_id"], made["secret_access_key"])
        becomes(store, keys, usable=True)
        ask(store.url, store.admin, user, state="present", key_id=keys.id, active=False)
        becomes(store, keys, usable=False)
        ask(store.url, store.admin, user, state="present", key_id=keys.id)
        becomes(store, keys, usable=True)


def test_check_mode_says_what_would_be_and_changes_nothing(store: Store) -> None:
    user = new_user(store)
    predicted = ask(store.url, store.admin, user, check=True, state="present")
    assert (predicted["changed"], predicted["key_id"], predicted["secret_access_key"]) == (True, "", "")
    assert listed(store, user) == {}
    key = ask(store.url, store.admin, user, state="present")["key_id"]
    for options in ({"state": "present", "key_id": key, "active": False}, {"state": "absent", "key_id": key}):
        assert ask(store.url, store.admin, user, check=True, **options)["changed"] is True
        assert listed(store, user) == {key: True}
    assert ask(store.url, store.admin, user, check=True, state="present", key_id=key)["changed"] is False


def test_when_a_key_was_made_is_told_where_the_store_knows(moto: Store) -> None:
    user = new_user(moto)
    ask(moto.url, moto.admin, user, state="present")
    created = ask(moto.url, moto.admin, user)["access_keys"][0]["created"]
    assert created[:2] == "20"
    assert "T" in created


def test_the_administrators_secret_is_not_told(store: Store) -> None:
    assert store.admin.secret not in json.dumps(ask(store.url, store.admin, new_user(store), state="present"))


# ----- what it refuses


def test_a_user_that_does_not_exist(store: Store) -> None:
    one(ask(store.url, store.admin, "nobody-of-this-name"), "CREDENTIAL_USER", "user nobody-of-this-name at http://")


def test_keys_that_are_wrong_or_may_not(store: Store) -> None:
    user = new_user(store)
    for keys in (Keys(store.admin.id, WRONG), Keys("AKIAANYANYANYANYANY0", WRONG), store.users["full"]):
        one(ask(store.url, keys, user, state="present"), "CREDENTIAL_ADMIN", f"The access keys of the user {user}")
        assert listed(store, user) == {}


def test_no_keys_at_all(moto: Store) -> None:
    one(ask(moto.url, None, "any"), "CREDENTIAL_ADMIN", "Unable to locate credentials")


def test_a_third_key_where_two_are_allowed(moto: Store) -> None:
    user = new_user(moto)
    known: list[str] = []
    for _number in range(2):
        known.append(ask(moto.url, moto.admin, user, state="present", known=known)["key_id"])
    one(ask(moto.url, moto.admin, user, state="present", known=known), "CREDENTIAL_KEY_LIMIT", "LimitExceeded")
    assert sorted(listed(moto, user)) == sorted(known)


def test_a_key_that_is_not_the_users(store: Store) -> None:
    user = new_user(store)
    answer = ask(store.url, store.admin, user, state="present", key_id="AKIAANYANYANYANYANY0")
    one(answer, "CREDENTIAL_KEY", f"The user {user} has no access key AKIAANYANYANYANYANY0.")


def test_nobody_answers() -> None:
    url = f"http://{LOOPBACK}:{free_port()}"
    one(ask(url, Keys("any", "any"), "any"), "CREDENTIAL_SERVICE", f"at {url}: EndpointConnectionError")


def test_an_endpoint_without_a_scheme() -> None:
    one(ask("s3.example.com", Keys("any", "any"), "any"), "CREDENTIAL_SERVICE", "Invalid endpoint: s3.example.com")


def test_a_python_without_boto3(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "boto3", None)
    one(ask("", Keys("any", "any"), "any"), "CREDENTIAL_LIBRARY", "at AWS: ModuleNotFoundError")


def test_to_delete_one_says_which(moto: Store) -> None:
    answer = ask(moto.url, moto.admin, new_user(moto), state="absent")
    assert answer["failed"] is True
    assert answer["msg"] == "state=absent: key_id says which key."
