"""An S3 that checks signatures and rights: moto's server, with users who may do less than they need."""

from __future__ import annotations

import json
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import boto3
from moto.server import ThreadedMotoServer

ALL = ("s3:ListBucket", "s3:GetObject", "s3:PutObject")
REGION = "us-east-1"


@dataclass(frozen=True)
class Keys:
    """A user's access key."""

    id: str
    secret: str


@dataclass(frozen=True)
class Store:
    """A running store with the bucket `bucket` and one user for each set of rights."""

    url: str
    admin: Keys
    users: dict[str, Keys] = field(default_factory=dict)
    ca: str = ""  # file of authorities with which its certificate is trusted

    def client(self, service: str, keys: Keys | None = None) -> boto3.client:
        """A client of S3, IAM or STS; the administrator's, or of whom the keys are."""
        keys = keys or self.admin
        return boto3.client(
            service,
            endpoint_url=self.url,
            region_name=REGION,
            aws_access_key_id=keys.id,
            aws_secret_access_key=keys.secret,
            verify=self.ca or None,
        )

    def user(self, name: str, statements: Sequence[Mapping[str, Any]]) -> Keys:
        """A new user with these rights, and its key."""
        iam = self.client("iam")
        iam.create_user(UserName=name)
        policy = json.dumps({"Version": "2012-10-17", "Statement": list(statements)})
        iam.put_user_policy(UserName=name, PolicyName="rights", PolicyDocument=policy)
        key = iam.create_access_key(UserName=name)["AccessKey"]
        return Keys(key["AccessKeyId"], key["SecretAccessKey"])

    def objects(self, key: str = "", bucket: str = "bucket") -> dict[str, bytes]:
        """Everything in the bucket below a key, read by the administrator."""
        client = self.client("s3")
        found = client.list_objects_v2(Bucket=bucket, Prefix=key).get("Contents") or []
        return {one["Key"]: client.get_object(Bucket=bucket, Key=one["Key"])["Body"].read() for one in found}

    def put(self, key: str, body: bytes, bucket: str = "bucket") -> None:
        """Put an object as the administrator."""
        self.client("s3").put_object(Bucket=bucket, Key=key, Body=body)


def allow(*actions: str, resource: str | Sequence[str] = "*") -> dict[str, Any]:
    """A statement of a policy."""
    return {"Effect": "Allow", "Action": list(actions), "Resource": resource}


def usual_users(store: Store) -> dict[str, Keys]:
    """One user who may do everything that MLflow needs, and for each right one who lacks it."""
    rights = {"full": ALL, **{f"no-{right}": tuple(one for one in ALL if one != right) for right in ALL}}
    return {name: store.user(name, [allow(*actions)]) for name, actions in rights.items()}


def _tell(url: str, what: str, body: bytes = b"") -> None:
    """Tell moto itself something; `reset-auth` says how many more requests pass unchecked."""
    request = urllib.request.Request(f"{url}/moto-api/{what}", body, {"Content-Type": "text/plain"})
    with urllib.request.urlopen(request, timeout=20):
        pass


@contextmanager
def open_store() -> Iterator[Store]:
    """Start the store with its bucket, open to everybody: for what AWS has, and not for who may have it."""
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    url = f"http://{host}:{port}"
    try:
        # All that moto knows lives in this process, also what a store before this one was told.
        _tell(url, "reset")
        _tell(url, "reset-auth", b"1000000")
        store = Store(url, Keys("any", "any"))
        store.client("s3").create_bucket(Bucket="bucket")
        yield store
    finally:
        server.stop()


@contextmanager
def running_store() -> Iterator[Store]:
    """Start the store, make users while it is open, then have it check every request."""
    with open_store() as store:
        store = Store(store.url, store.user("admin", [allow("*")]), usual_users(store))
        _tell(store.url, "reset-auth", b"0")
        yield store
