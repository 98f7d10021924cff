"""The module mlflow_s3_undelete against SeaweedFS, which enforces rights, and moto, which has AWS's features."""

from __future__ import annotations

import datetime
import itertools
from collections.abc import Iterator
from typing import Any

import pytest

from ansible_collections.mlops.mlflow.tests.unit.support.module import ids, run_module
from ansible_collections.mlops.mlflow.tests.unit.support.peers import free_port
from ansible_collections.mlops.mlflow.tests.unit.support.s3 import Keys, Store, allow, open_store

pytestmark = pytest.mark.usefixtures("in_this_process")
NUMBERS = itertools.count(1)
# Keys that an address, XML or a listing could spoil; and two of which a store may think otherwise about the order.
ODD = ("a run/od d+k%é&<y>", "a run/\N{SNOWMAN}.txt", "a/b", "a-b", "a/=?;:@", "a")


@pytest.fixture(name="store", scope="module", params=["moto", "seaweedfs"])
def _store(request: pytest.FixtureRequest) -> Iterator[Store]:
    if request.param == "seaweedfs":
        yield request.getfixturevalue("seaweedfs")
        return
    with open_store() as store:
        yield store


@pytest.fixture(name="bucket")
def _bucket(store: Store) -> str:
    """A bucket that keeps versions."""
    name = f"undelete-{next(NUMBERS)}"
    store.client("s3").create_bucket(Bucket=name)
    store.client("s3").put_bucket_versioning(Bucket=name, VersioningConfiguration={"Status": "Enabled"})
    return name


def undelete(store: Store, bucket: str, keys: Keys | None = None, **options: Any) -> dict[str, Any]:
    keys = keys or store.admin
    return run_module(
        "mlflow_s3_undelete",
        **{
            "host": "app1",
            "uri": f"s3://{bucket}/team",
            "moment": datetime.datetime.now(datetime.UTC).isoformat(),
            "endpoint_url": store.url,
            "access_key_id": keys.id,
            "secret_access_key": keys.secret,
            **options,
        },
    )


def put(store: Store, bucket: str, *keys: str, content: str = "of the moment") -> None:
    client = store.client("s3")
    for key in keys:
        client.put_object(Bucket=bucket, Key=key, Body=content.encode())


def delete(store: Store, bucket: str, *keys: str) -> None:
    client = store.client("s3")
    for key in keys:
        client.delete_object(Bucket=bucket, Key=key)


def seen(store: Store, bucket: str) -> dict[str, str]:
    client = store.client("s3")
    pages = client.get_paginator("list_objects_v2").paginate(Bucket=bucket)
    keys = [str(one["Key"]) for page in pages for one in page.get("Contents") or []]
    return {key: client.get_object(Bucket=bucket, Key=key)["Body"].read().decode() for key in keys}


def versions(store: Store, bucket: str) -> int:
    pages = store.client("s3").get_paginator("list_object_versions").paginate(Bucket=bucket)
    return sum(len(page.get("Versions") or []) for page in pages)


def test_what_was_deleted_since_is_back_and_nothing_else_changes(store: Store, bucket: str) -> None:
    odd = [f"team/{key}" for key in ODD]
    put(store, bucket, *odd, "team/kept", "team/changed", "team/twice", "teams/beside")
    delete(store, bucket, *odd, "team/twice", "teams/beside")
    delete(store, bucket, "team/twice")
    put(store, bucket, "team/changed", content="of today")
    before = versions(store, bucket)

    told = undelete(store, bucket, check_mode=True)
    assert (told["changed"], told["objects"]) == (True, len(odd) + 1)
    assert set(seen(store, bucket)) == {"team/kept", "team/changed"}

    told = undelete(store, bucket)
    assert (told["changed"], told["objects"], told["looked_at"]) == (True, len(odd) + 1, len(odd) + 3)
    assert (told["versioning"], told["next"]) == ("Enabled", "")
    assert set(told["names"]) == {*ODD, "twice"}
    assert seen(store, bucket) == {
        **dict.fromkeys([*odd, "team/kept", "team/twice"], "of the moment"),
        "team/changed": "of today",
    }
    assert versions(store, bucket) == before

    told = undelete(store, bucket)
    assert (told["changed"], told["objects"], told["names"]) == (False, 0, [])


def test_what_was_deleted_before_the_moment_stays_so(store: Store, bucket: str) -> None:
    put(store, bucket, "team/old")
    delete(store, bucket, "team/old")
    later = datetime.datetime.now(datetime.UTC) + datetime.timedelta(minutes=2)
    assert undelete(store, bucket, moment=later.isoformat())["objects"] == 0
    earlier = datetime.datetime.now(datetime.UTC) - datetime.timedelta(minutes=2)
    # It was not there yet.
    assert undelete(store, bucket, moment=earlier.isoformat())["objects"] == 0
    assert seen(store, bucket) == {}


def test_more_than_a_page_is_gone_through_in_parts(store: Store, bucket: str) -> None:
    """More than a thousand objects, and one with more versions than a page has at the place where pages meet."""
    keys = [f"team/{number:04}" for number in range(1003)]
    put(store, bucket, *keys)
    for number in range(20):
        put(store, bucket, "team/0990", content=f"{number}")
    delete(store, bucket, *keys)
    told: dict[str, Any] = {"next": ""}
    rounds = objects = 0
    while rounds == 0 or told["next"]:
        told = undelete(store, bucket, after=told["next"], seconds=0)
        rounds += 1
        objects += told["objects"]
    assert rounds > 1
    assert objects == len(keys)
    assert len(seen(store, bucket)) == len(keys)


def test_a_bucket_that_keeps_no_versions_has_nothing_to_bring_back(store: Store) -> None:
    name = f"plain-{next(NUMBERS)}"
    store.client("s3").create_bucket(Bucket=name)
    put(store, name, "team/gone")
    delete(store, name, "team/gone")
    told = undelete(store, name)
    assert (told["versioning"], told["objects"], told["changed"]) == ("", 0, False)


def test_a_deletion_while_versioning_was_suspended_is_left_alone(store: Store, bucket: str) -> None:
    put(store, bucket, "team/gone")
    store.client("s3").put_bucket_versioning(Bucket=bucket, VersioningConfiguration={"Status": "Suspended"})
    delete(store, bucket, "team/gone")
    told = undelete(store, bucket)
    assert (told["versioning"], told["objects"]) == ("Suspended", 0)


def test_who_may_not_is_told(seaweedfs: Store) -> None:
    bucket = f"undelete-{next(NUMBERS)}"
    client = seaweedfs.client("s3")
    client.create_bucket(Bucket=bucket)
    client.put_bucket_versioning(Bucket=bucket, VersioningConfiguration={"Status": "Enabled"})
    put(seaweedfs, bucket, "team/gone")
    delete(seaweedfs, bucket, "team/gone")
    reader = seaweedfs.user(
        "reader-of-versions", [allow("s3:ListBucket", "s3:GetObject", resource=f"arn:aws:s3:::{bucket}*")]
    )
    told = undelete(seaweedfs, bucket, keys=reader)
    assert ids(told) == ["RESTORE_VERSIONS"]
    assert told["msg"].startswith(f"[RESTORE_VERSIONS] app1: s3://{bucket}/team/ look: AccessDenied: ")
    assert "AccessDenied" in told["msg"]
    assert "mlflow_restore_deleted=false" in told["msg"]
    assert seen(seaweedfs, bucket) == {}


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"moment": "yesterday"}, "moment=yesterday: Invalid isoformat string: 'yesterday'"),
        ({"uri": "/srv/artifacts"}, "[RESTORE_VERSIONS] app1: /srv/artifacts is no bucket of S3."),
        ({"uri": "s3://bucket/a/../b"}, "[ARTIFACT_URI] app1:"),
    ],
)
def test_what_cannot_be_meant_is_said(options: dict[str, Any], words: str) -> None:
    store = Store(f"http://127.0.0.1:{free_port()}", Keys("nobody", "nothing"))
    told = undelete(store, "bucket", **options)
    assert told["failed"]
    assert words in told["msg"], told["msg"]


def test_a_store_that_is_away_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")
    store = Store(f"http://127.0.0.1:{free_port()}", Keys("nobody", "nothing"))
    told = undelete(store, "bucket")
    assert "[RESTORE_VERSIONS] app1: s3://bucket/team/ look: EndpointConnectionError:" in told["msg"]
