"""The servers that other unit tests stand on."""

from __future__ import annotations

from pathlib import Path

import pytest
from botocore.exceptions import ClientError, SSLError

from ansible_collections.mlops.mlflow.tests.unit.support.certificates import Authority
from ansible_collections.mlops.mlflow.tests.unit.support.postgresql import Server
from ansible_collections.mlops.mlflow.tests.unit.support.s3 import Store, allow
from ansible_collections.mlops.mlflow.tests.unit.support.seaweedfs import running_seaweedfs


def test_the_server_is_real_and_has_what_mlflow_needs(postgresql: Server, database: str) -> None:
    assert postgresql.version >= 15
    postgresql.execute("CREATE EXTENSION pg_trgm", database=database)
    postgresql.execute("CREATE EXTENSION pg_stat_statements", database=database)
    assert postgresql.execute("SELECT similarity('mlflow', 'mlflow'), %s", 7, database=database) == [(1.0, 7)]


def test_each_database_is_empty_and_gone_afterwards(postgresql: Server, database: str) -> None:
    assert postgresql.execute("SELECT count(*) FROM pg_stat_user_tables", database=database) == [(0,)]
    with postgresql.database("another") as name:
        postgresql.execute("CREATE TABLE t (i int)", database=name)
    assert postgresql.execute("SELECT 1 FROM pg_database WHERE datname = 'another'") == []


def test_other_roles_can_log_in(postgresql: Server) -> None:
    postgresql.execute("CREATE ROLE somebody LOGIN")
    try:
        assert postgresql.execute("SELECT current_user::text", user="somebody") == [("somebody",)]
    finally:
        postgresql.execute("DROP ROLE somebody")


def refused(call: object, **arguments: object) -> str:
    """The code with which S3 refuses a call; empty if it does not."""
    assert callable(call)
    try:
        call(**arguments)
    except ClientError as error:
        return str(error.response["Error"]["Code"])
    return ""


def test_the_s3_server_enforces_rights_and_their_conditions(seaweedfs: Store) -> None:
    below = {"StringLike": {"s3:prefix": ["mine", "mine/*"]}}
    rights = [
        allow("s3:PutObject", resource="arn:aws:s3:::bucket/mine/*"),
        {**allow("s3:ListBucket", resource="arn:aws:s3:::bucket"), "Condition": below},
    ]
    client = seaweedfs.client("s3", seaweedfs.user("of-the-test", rights))
    seaweedfs.put("others/object", b"secret")
    assert refused(client.put_object, Bucket="bucket", Key="mine/object", Body=b"x") == ""
    assert refused(client.put_object, Bucket="bucket", Key="others/object", Body=b"x") == "AccessDenied"
    assert refused(client.delete_object, Bucket="bucket", Key="mine/object") == "AccessDenied"
    assert refused(client.list_objects_v2, Bucket="bucket", Prefix="mine/") == ""
    assert refused(client.list_objects_v2, Bucket="bucket") == "AccessDenied"
    assert seaweedfs.objects("others/") == {"others/object": b"secret"}


def test_the_s3_server_makes_no_bucket_that_nobody_asked_for(seaweedfs: Store) -> None:
    assert refused(seaweedfs.client("s3").put_object, Bucket="missing", Key="x", Body=b"x") == "NoSuchBucket"


def test_two_s3_servers_run_side_by_side_and_one_speaks_tls(seaweedfs: Store, tmp_path: Path) -> None:
    authority = Authority.make("the store's")
    certificate = tmp_path / "store.pem", tmp_path / "store.key"
    for path, content in zip(certificate, authority.issue("127.0.0.1"), strict=True):
        path.write_bytes(content)
    ca = str(authority.write(tmp_path / "ca.pem"))
    with running_seaweedfs(certificate=certificate, authority=ca) as other:
        assert other.url.startswith("https://")
        other.put("here", b"x")
        assert (other.objects("here"), seaweedfs.objects("here")) == ({"here": b"x"}, {})
        with pytest.raises(SSLError):
            Store(other.url, other.admin).client("s3").list_buckets()
        assert refused(Store(seaweedfs.url, other.admin).client("s3").list_buckets) == ""
