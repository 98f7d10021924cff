"""An S3 that checks signatures and rights: moto's server, with users who may do less than they need."""

from __future__ import annotations

import json
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

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

    def objects(self, key: str = "") -> dict[str, bytes]:
        """Everything in the bucket below a key, read by the administrator."""
        client = _client("s3", self.url, self.admin)
        found = client.list_objects_v2(Bucket="bucket", Prefix=key).get("Contents") or []
        return {one["Key"]: client.get_object(Bucket="bucket", Key=one["Key"])["Body"].read() for one in found}

    def put(self, key: str, body: bytes) -> None:
        """Put an object as the administrator."""
        _client("s3", self.url, self.admin).put_object(Bucket="bucket", Key=key, Body=body)


def _client(service: str, url: str, keys: Keys) -> boto3.client:
    return boto3.client(
        service, endpoint_url=url, region_name=REGION, aws_access_key_id=keys.id, aws_secret_access_key=keys.secret
    )


def _user(iam: boto3.client, name: str, actions: tuple[str, ...]) -> Keys:
    iam.create_user(UserName=name)
    statement = [{"Effect": "Allow", "Action": list(actions), "Resource": "*"}]
    policy = json.dumps({"Version": "2012-10-17", "Statement": statement})
    iam.put_user_policy(UserName=name, PolicyName="rights", PolicyDocument=policy)
    key = iam.create_access_key(UserName=name)["AccessKey"]
    return Keys(key["AccessKeyId"], key["SecretAccessKey"])


def _tell(url: str, what: str, body: bytes = b"") -> None:
    """Tell moto itself something; `reset-auth` says how many more requests pass unchecked."""
    request = urllib.request.Request(f"{url}/moto-api/{what}", body, {"Content-Type": "text/plain"})
    with urllib.request.urlopen(request, timeout=20):
        pass


@contextmanager
def running_store() -> Iterator[Store]:
    """Start the store, make bucket and users while it is open, then have it check every request."""
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    url = f"http://{host}:{port}"
    try:
        # All that moto knows lives in this process, also what a store before this one was told.
        _tell(url, "reset")
        _tell(url, "reset-auth", b"1000")
        nobody = Keys("any", "any")
        _client("s3", url, nobody).create_bucket(Bucket="bucket")
        iam = _client("iam", url, nobody)
        users = {
            "full": _user(iam, "full", ALL),
            **{f"no-{right}": _user(iam, f"no-{right}", tuple(one for one in ALL if one != right)) for right in ALL},
        }
        store = Store(url, _user(iam, "admin", ("*",)), users)
        _tell(url, "reset-auth", b"0")
        yield store
    finally:
        server.stop()
