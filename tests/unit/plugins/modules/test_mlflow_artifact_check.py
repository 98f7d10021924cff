"""mlflow_artifact_check against live peers: each finding is induced, and its sentence asserted.

The store is moto's server, which checks signatures and rights. What moto cannot do is answered by a small server with the XML that
AWS and SeaweedFS were recorded to answer. Rights in detail: test_mlflow_artifact_check_rights.py.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ansible_collections.mlops.mlflow.plugins.module_utils import (
    _artifact_clouds,
    _artifact_probe,
    _artifact_uri,
    _artifacts,
    _probe,
)
from ansible_collections.mlops.mlflow.tests.unit.support.certificates import Authority
from ansible_collections.mlops.mlflow.tests.unit.support.http_peers import (
    ENDLESS,
    RUDE,
    Reply,
    Request,
    http_peer,
    says,
    server_context,
)
from ansible_collections.mlops.mlflow.tests.unit.support.module import ids, run_module
from ansible_collections.mlops.mlflow.tests.unit.support.peers import LOOPBACK, free_port, peer, silent
from ansible_collections.mlops.mlflow.tests.unit.support.s3 import ALL, Keys, Store, running_store

as_root = pytest.mark.skipif(os.geteuid() != 0, reason="needs root: for another user, or to mount a file system")
pytestmark = pytest.mark.usefixtures("in_this_process")
KEY = ".mlops-mlflow/environment"
ANY = Keys("AKIAANYANYANYANYANY0", "any-secret-of-forty-characters-or-so")
SECRET = "a-secret-that-nobody-may-read"
# moto takes no condition of a policy into account: whoever may list there lists the whole bucket.
OF_MOTO = ["ARTIFACT_LIST_WIDE"]


@pytest.fixture(name="store", scope="module")
def _store() -> Iterator[Store]:
    with running_store() as store:
        yield store


@pytest.fixture(autouse=True)
def _only_what_is_given(monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither keys nor proxies of the machine that runs the tests."""
    for name in ("http_proxy", "https_proxy", "all_proxy", "AWS_PROFILE", "AWS_CA_BUNDLE", "AWS_ENDPOINT_URL"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "AWS_REGION", "AWS_DEFAULT_REGION"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", "/dev/null")
    monkeypatch.setenv("AWS_CONFIG_FILE", "/dev/null")
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")


def check(uri: str, keys: Keys | None = None, url: str = "", **options: Any) -> dict[str, Any]:
    """Run the module as host app1 of the environment dev, without failing."""
    arguments: dict[str, Any] = {
        "uri": uri,
        "environment": "dev",
        "host": "app1",
        "endpoint_url": url,
        "fail_on": "never",
        "timeout": 60,
    }
    if keys:
        arguments |= {"access_key_id": keys.id, "secret_access_key": keys.secret, "region": "us-east-1"}
    return run_module("mlflow_artifact_check", **{**arguments, **options})


def one(answer: dict[str, Any], finding_id: str, summary: str, evidence: str = "") -> dict[str, str]:
    """Assert that this is all that was found, and return it."""
    assert ids(answer) == [finding_id], answer
    finding: dict[str, str] = answer["findings"][0]
    assert summary in finding["summary"]
    assert evidence in finding["evidence"]
    assert finding["host"] == "app1"
    assert answer["changed"] is False
    assert answer["refusals"] == [f"[{finding_id}] app1: {finding['summary']} {finding['remedy']}"]
    return finding


# ----- the URI


def test_a_uri_that_mlflow_would_get_wrong_is_refused_with_the_right_one() -> None:
    answer = check("S3://bucket")
    finding = one(answer, "ARTIFACT_URI", "The scheme of 'S3://bucket' must be in lower case.")
    assert finding["remedy"] == "Set mlflow_artifact_uri to s3://bucket/mlflow."
    assert answer["suggestion"] == "s3://bucket/mlflow"


def test_a_scheme_of_mlflow_that_nobody_looks_after_is_refused_in_words() -> None:
    one(check("hdfs://host/x"), "ARTIFACT_URI", "is not looked after by mlops.mlflow")


# ----- S3, live


@pytest.mark.usefixtures("apart")
def test_a_bucket_that_can_be_used(store: Store) -> None:
    for _again in range(2):
        answer = check("s3://bucket/good", store.users["full"], store.url)
        assert ids(answer) == OF_MOTO, answer
        assert answer["steps"][-3:] == ["list", "overwrite", "read"]
        assert store.objects("good") == {f"good/{KEY}": b"dev"}


def test_check_mode_writes_nothing(store: Store) -> None:
    answer = run_module(
        "mlflow_artifact_check",
        check_mode=True,
        uri="s3://bucket/unwritten",
        environment="dev",
        endpoint_url=store.url,
        access_key_id=store.users["full"].id,
        secret_access_key=store.users["full"].secret,
    )
    assert ids(answer) == OF_MOTO
    assert answer["steps"] == ["list"]
    assert store.objects("unwritten") == {}


def test_a_place_of_another_environment_stays_as_it_is(store: Store) -> None:
    store.put(f"theirs/{KEY}", b"prod")
    answer = check("s3://bucket/theirs", store.users["full"], store.url)
    one(answer, "ARTIFACT_ENVIRONMENT", "s3://bucket/theirs belongs to the environment 'prod', not to 'dev'.")
    assert store.objects("theirs") == {f"theirs/{KEY}": b"prod"}


@pytest.mark.parametrize(
    ("right", "finding_id", "step"),
    [
        (ALL[0], "ARTIFACT_LIST_DENIED", "listing"),
        (ALL[1], "ARTIFACT_GET_DENIED", "reading"),
        (ALL[2], "ARTIFACT_PUT_DENIED", "writing"),
    ],
)
def test_each_right_that_is_missing_is_named(store: Store, right: str, finding_id: str, step: str) -> None:
    answer = check("s3://bucket/denied", store.users[f"no-{right}"], store.url)
    answer["findings"] = [finding for finding in answer["findings"] if finding["id"] not in OF_MOTO]
    finding = one(answer, finding_id, f"{step} failed.", "AccessDenied")
    assert right in finding["remedy"]


def test_an_unknown_key(store: Store) -> None:
    keys = Keys("AKIAUNKNOWNUNKNOWN00", SECRET)
    one(
        check("s3://bucket/x", keys, store.url),
        "ARTIFACT_KEY_UNKNOWN",
        "does not know the access key",
        "InvalidAccessKeyId",
    )


def test_a_wrong_secret(store: Store) -> None:
    answer = check("s3://bucket/x", Keys(store.users["full"].id, SECRET), store.url)
    one(answer, "ARTIFACT_SECRET_WRONG", "does not belong to the access key", "SignatureDoesNotMatch")
    assert SECRET not in str(answer["findings"])


def test_a_bucket_that_does_not_exist(store: Store) -> None:
    one(
        check("s3://no-such-bucket/x", store.admin, store.url),
        "ARTIFACT_BUCKET_MISSING",
        "the bucket does not exist",
        "NoSuchBucket",
    )


def test_no_keys_at_all(store: Store) -> None:
    one(
        check("s3://bucket/x", None, store.url),
        "ARTIFACT_CREDENTIALS_NONE",
        "there are no keys",
        "Unable to locate credentials",
    )


def test_an_endpoint_that_is_down() -> None:
    url = f"http://127.0.0.1:{free_port()}"
    one(
        check("s3://bucket/x", ANY, url),
        "ARTIFACT_ENDPOINT_DOWN",
        f"({url}: [Errno 111] Connection refused)",
    )


def test_an_endpoint_whose_name_does_not_resolve() -> None:
    url = "http://s3.invalid:9000"
    one(check("s3://bucket/x", ANY, url), "ARTIFACT_ENDPOINT_DOWN", f"({url}: [Errno -")


@pytest.mark.parametrize("url", ["127.0.0.1:9000", "s3.example.com", "ftp//x", "http://", "http://[::1", "https://a b"])
def test_an_endpoint_that_is_no_url(url: str) -> None:
    one(check("s3://bucket/x", ANY, url), "ARTIFACT_ENDPOINT_URL", f"the endpoint is not a URL ({url})")


# ----- S3, TLS


def s3_xml(code: str, message: str, more: str = "") -> bytes:
    """An error as S3 writes it (recorded)."""
    return (
        f'<?xml version="1.0" encoding="UTF-8"?>\n<Error><Code>{code}</Code><Message>{message}</Message>{more}'
        "<RequestId>4442587FB7D0A2F9</RequestId><HostId>x</HostId></Error>"
    ).encode()


def refusing(status: int, code: str, message: str, more: str = "", **headers: str) -> Callable[[Request], Reply]:
    """A store that answers everything with one error (recorded)."""
    reply = Reply(status, s3_xml(code, message, more), {"Content-Type": "application/xml", **headers})
    return lambda _request: reply


EMPTY = b'<?xml version="1.0" encoding="UTF-8"?><ListBucketResult><Name>bucket</Name><KeyCount>0</KeyCount></ListBucketResult>'


def test_a_certificate_that_is_not_trusted(tmp_path: Path) -> None:
    context = server_context(Authority.make("test"), tmp_path, LOOPBACK)
    with http_peer(lambda _request: Reply(body=EMPTY), context=context) as port:
        url = f"https://127.0.0.1:{port}"
        one(
            check("s3://bucket/x", ANY, url),
            "ARTIFACT_TLS",
            f"not trusted ({url})",
            "CERTIFICATE_VERIFY_FAILED",
        )


def test_a_certificate_of_another_name(tmp_path: Path) -> None:
    authority = Authority.make("test")
    context = server_context(authority, tmp_path, "s3.example.com")
    with http_peer(lambda _request: Reply(body=EMPTY), context=context) as port:
        file = authority.write(tmp_path / "authority.pem")
        answer = check("s3://bucket/x", ANY, f"https://127.0.0.1:{port}", ca_file=str(file))
        one(answer, "ARTIFACT_TLS", "not trusted", "127.0.0.1")


def nobody_else(request: Request) -> bool:
    """Whether a request is one that the identity of a server has no right to: to list the whole bucket, or to delete."""
    asked = parse_qs(urlsplit(request.path).query, keep_blank_values=True)
    return "delete" in asked or asked.get("prefix") == [""]


DENIED = Reply(403, s3_xml("AccessDenied", "Access Denied"))


def test_an_authority_that_is_given_is_trusted(tmp_path: Path) -> None:
    authority = Authority.make("test")
    file = authority.write(tmp_path / "authority.pem")
    objects: dict[str, bytes] = {}

    def answer(request: Request) -> Reply:
        """Just enough of S3: one object."""
        if request.method == "PUT":  # over TLS with a checksum behind it: size, bytes, 0, checksum
            objects["it"] = request.body.split(b"\r\n")[1]
            return Reply()
        if nobody_else(request):
            return DENIED
        if "list-type" in request.path:
            entry = f"<Contents><Key>x/{KEY}</Key></Contents>".encode() if objects else b""
            return Reply(body=EMPTY.replace(b"</ListBucketResult>", entry + b"</ListBucketResult>"))
        return Reply(body=objects["it"])

    with http_peer(answer, context=server_context(authority, tmp_path, LOOPBACK)) as port:
        got = check("s3://bucket/x", ANY, f"https://127.0.0.1:{port}", ca_file=str(file))
    assert got["findings"] == [], got


def test_authorities_that_cannot_be_read(tmp_path: Path) -> None:
    broken = tmp_path / "broken.pem"
    broken.write_text("no certificate")
    for path in (broken, tmp_path / "missing.pem"):
        answer = check("s3://bucket/x", ANY, "https://s3.example.com", ca_file=str(path))
        one(answer, "ARTIFACT_CA_FILE", f"cannot be used ({path}); preparing the request failed.")


def test_http_to_a_port_of_https(tmp_path: Path) -> None:
    context = server_context(Authority.make("test"), tmp_path, LOOPBACK)
    with http_peer(lambda _request: Reply(), context=context) as port:
        url = f"http://127.0.0.1:{port}"
        one(
            check("s3://bucket/x", ANY, url),
            "ARTIFACT_ENDPOINT_HTTPS",
            f"speaks HTTPS and was asked by HTTP ({url})",
        )


def test_https_to_a_port_of_http(store: Store) -> None:
    url = store.url.replace("http:", "https:")
    one(
        check("s3://bucket/x", ANY, url),
        "ARTIFACT_ENDPOINT_HTTP",
        f"speaks HTTP and was asked by HTTPS ({url})",
    )


# ----- S3, recorded answers


@pytest.mark.parametrize(
    ("store_says", "finding_id", "summary"),
    [
        (
            refusing(
                400,
                "AuthorizationHeaderMalformed",
                "The authorization header is malformed; the region 'us-east-1' is wrong; expecting 'eu-central-1'",
                "<Region>eu-central-1</Region>",
            ),
            "ARTIFACT_REGION",
            "in another region (eu-central-1, and us-east-1 was given)",
        ),
        (
            refusing(
                301,
                "PermanentRedirect",
                "The bucket you are attempting to access must be addressed using the specified endpoint. "
                "Please send all future requests to this endpoint.",
                "<Endpoint>bucket.s3-eu-central-1.amazonaws.com</Endpoint><Bucket>bucket</Bucket>",
                **{"x-amz-bucket-region": "eu-central-1"},
            ),
            "ARTIFACT_REGION",
            "in another region (eu-central-1, and us-east-1 was given)",
        ),
        (
            refusing(301, "PermanentRedirect", "It must be addressed using the specified endpoint."),
            "ARTIFACT_REGION",
            "in another region (us-east-1)",
        ),
        (
            refusing(
                403,
                "RequestTimeTooSkewed",
                "The difference between the request time and the current time is too large.",
                "<MaxAllowedSkewMilliseconds>900000</MaxAllowedSkewMilliseconds>",
            ),
            "ARTIFACT_CLOCK",
            "finds the host's clock wrong",
        ),
        (
            refusing(400, "ExpiredToken", "The provided token has expired."),
            "ARTIFACT_TOKEN_EXPIRED",
            "the session token is expired",
        ),
        (
            refusing(500, "InternalError", "No writable volumes"),
            "ARTIFACT_S3",
            "refuses what MLflow needs (InternalError); listing failed.",
        ),
        (
            lambda _request: Reply(
                200, b"<!doctype html><title>Console</title><p>Sign in", {"Content-Type": "text/html"}
            ),
            "ARTIFACT_NOT_S3",
            "does not answer as an S3 store does",
        ),
        (
            lambda _request: Reply(404, b"<html><center>nginx</center></html>", {"Content-Type": "text/html"}),
            "ARTIFACT_NOT_S3",
            "does not answer as an S3 store does",
        ),
    ],
)
def test_what_a_store_says(store_says: Callable[[Request], Reply], finding_id: str, summary: str) -> None:
    with http_peer(store_says) as port:
        one(check("s3://bucket/x", ANY, f"http://127.0.0.1:{port}"), finding_id, summary)


def keeping(change: Callable[[int, bytes], Reply | bytes], *, deletes: bool = False) -> AbstractContextManager[int]:
    """A store of one object; `change` says what the n-th write answers or keeps (recorded behaviour). It may say that it deletes."""
    kept: list[bytes] = []
    writes: list[bytes] = []

    def answer(request: Request) -> Reply:
        if request.method == "PUT":
            writes.append(request.body)
            changed = change(len(writes), request.body)
            if isinstance(changed, Reply):
                return changed
            kept.append(changed)
            return Reply()
        if request.method == "POST":
            return Reply(body=b"<DeleteResult></DeleteResult>") if deletes else DENIED
        if nobody_else(request):
            return DENIED
        if "list-type" in request.path:
            entry = f"<Contents><Key>x/{KEY}</Key></Contents>".encode() if kept else b""
            return Reply(body=EMPTY.replace(b"</ListBucketResult>", entry + b"</ListBucketResult>"))
        return Reply(body=kept[-1])

    return http_peer(answer)


def test_a_store_that_takes_each_object_once() -> None:
    locked = Reply(403, s3_xml("AccessDenied", "Access Denied because object protected by object lock."))
    with keeping(lambda number, body: body if number == 1 else locked) as port:
        answer = check("s3://bucket/x", ANY, f"http://127.0.0.1:{port}")
    one(answer, "ARTIFACT_OVERWRITE_DENIED", "an object cannot be overwritten; overwriting failed.", "object lock")


def test_a_store_that_changes_objects() -> None:
    with keeping(lambda _number, body: body[:-1]) as port:
        answer = check("s3://bucket/x", ANY, f"http://127.0.0.1:{port}")
    one(answer, "ARTIFACT_DIFFERENT", "what was written does not come back; comparing failed.", "de")


def test_a_store_that_says_it_deleted_and_keeps_everything() -> None:
    with keeping(lambda _number, _body: b"dev", deletes=True) as port:
        answer = check("s3://bucket/x", ANY, f"http://127.0.0.1:{port}", role="maintenance")
    one(
        answer,
        "ARTIFACT_DELETE_SILENT",
        "s3://bucket/x: what was deleted is still there; deleting failed.",
        "x/.mlops-mlflow/deletable is still listed",
    )


@pytest.mark.usefixtures("apart")
def test_a_store_that_says_nothing() -> None:
    with peer(silent) as port:
        answer = check("s3://bucket/x", ANY, f"http://127.0.0.1:{port}", timeout=3)
    one(answer, "ARTIFACT_NO_ANSWER", "s3://bucket/x: ")


@pytest.mark.usefixtures("apart")
def test_a_python_without_boto3(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """An interpreter of its own that has nothing but the standard library."""
    bare = tmp_path / "python"
    bare.write_text(f'#!/bin/sh\nexec {sys.executable} -I -S "$@"\n')
    bare.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(bare))
    answer = check("s3://bucket/x", ANY, "http://127.0.0.1:9")
    one(answer, "ARTIFACT_LIBRARY", "the Python that asks has no library for the store (", "No module named 'boto3'")


# ----- a directory


@pytest.fixture(name="place")
def _place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A directory below /tmp, which the parser refuses otherwise: it is emptied now and then."""
    monkeypatch.setattr(_artifact_uri, "_FLEETING", ())
    for folder in (tmp_path, *tmp_path.parents[:-2]):  # others may pass, up to /tmp
        folder.chmod(0o755)
    place = tmp_path / "artifacts"
    place.mkdir()
    return place


@pytest.fixture(name="as_nobody")
def _as_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    """The system's Python, which everybody may run; the tests' own may lie in somebody's home."""
    monkeypatch.setattr(sys, "executable", "/usr/bin/python3")


@pytest.mark.usefixtures("apart")
def test_a_directory_that_can_be_used(place: Path) -> None:
    for _again in range(2):
        answer = check(str(place))
        assert answer["findings"] == [], answer
        assert answer["steps"][-3:] == ["list", "overwrite", "read"]
        assert [str(path.relative_to(place)) for path in place.rglob("*") if path.is_file()] == [KEY]
        assert (place / KEY).read_text() == "dev"


def test_a_directory_of_another_environment_stays_as_it_is(place: Path) -> None:
    (place / KEY).parent.mkdir()
    (place / KEY).write_text("prod\n")
    one(check(str(place)), "ARTIFACT_ENVIRONMENT", f"{place} belongs to the environment 'prod', not to 'dev'.")
    assert (place / KEY).read_text() == "prod\n"


def test_a_directory_that_does_not_exist(place: Path) -> None:
    one(check(f"{place}/none"), "ARTIFACT_DIRECTORY_MISSING", "does not exist", "No such file or directory")


def test_a_file_in_the_place_of_a_directory(place: Path) -> None:
    (place / "file").touch()
    one(check(f"{place}/file"), "ARTIFACT_DIRECTORY_MISSING", "does not exist", "Not a directory")


@as_root
@pytest.mark.usefixtures("apart", "as_nobody")
def test_a_directory_that_the_user_may_not_write(place: Path) -> None:
    answer = check(str(place), user="nobody")
    one(
        answer,
        "ARTIFACT_DIRECTORY_NOT_WRITABLE",
        "(user nobody, drwxr-xr-x root); writing failed.",
        "Permission denied",
    )


@as_root
@pytest.mark.usefixtures("apart", "as_nobody")
def test_a_directory_that_the_user_may_not_read(place: Path) -> None:
    place.chmod(0o700)
    answer = check(str(place), user="nobody")
    one(
        answer,
        "ARTIFACT_DIRECTORY_NOT_READABLE",
        "(user nobody, drwx------ root); listing failed.",
        "Permission denied",
    )


@pytest.mark.usefixtures("apart")
def test_a_user_who_does_not_exist(place: Path) -> None:
    one(check(str(place), user="no-such-user"), "ARTIFACT_NO_ANSWER", "there is no user no-such-user on this host")


def mounted(place: Path, prepare: str) -> list[dict[str, str]]:
    """Ask in a namespace of its own, where a small file system is mounted on the place; judge the answer."""
    python = place.parent / "python-in-namespace"
    script = f'mount -t tmpfs -o size=64k,mode=777 none {place} && {prepare} && exec {sys.executable} "$@"'
    python.write_text(f"#!/bin/sh\nexec unshare --mount -- sh -c '{script}' sh \"$@\"\n")
    python.chmod(0o755)
    uri = _artifact_uri.parse(str(place))
    request = {**uri.to_dict(), "environment": "dev", "write": True, "seconds": 10, "others": []}
    outcome = _probe.run(_artifact_probe, request, seconds=20, python=str(python), libraries=[_artifact_clouds])
    assert outcome.answer, outcome
    return _artifacts.judge(outcome.answer, _artifacts.Asked("app1", uri, "dev"))


@as_root
@pytest.mark.usefixtures("apart")
def test_a_full_disk(place: Path) -> None:
    findings = mounted(place, f"mkdir {place}/.mlops-mlflow && (cat /dev/zero >{place}/fill 2>/dev/null || true)")
    assert [(one["id"], one["evidence"].split("] ")[-1].split(":")[0]) for one in findings] == [
        ("ARTIFACT_DIRECTORY_FULL", "No space left on device")
    ]
    assert (
        "there is no room left for the directory (user root, drwxrwxrwx root); writing failed."
        in findings[0]["summary"]
    )


@as_root
@pytest.mark.usefixtures("apart")
def test_a_file_system_that_is_read_only(place: Path) -> None:
    findings = mounted(place, f"mount -o remount,ro {place}")
    assert [one["id"] for one in findings] == ["ARTIFACT_DIRECTORY_READ_ONLY"]
    assert "takes no writes" in findings[0]["summary"]


def test_a_name_that_no_file_system_takes(place: Path) -> None:
    one(check(f"{place}/{'x' * 300}"), "ARTIFACT_DIRECTORY_ERROR", "the directory cannot be used", "File name too long")


@as_root
@pytest.mark.usefixtures("apart", "as_nobody")
def test_a_directory_of_another_environment_that_the_user_can_enter(place: Path) -> None:
    theirs = place.parent / "theirs"
    theirs.mkdir(mode=0o755)
    place.chmod(0o777)
    answer = check(str(place), user="nobody", other_places=[str(theirs)])
    one(answer, "ARTIFACT_OTHER_READABLE", f"{place}: the identity can list in {theirs} as well, which is not its")
    theirs.chmod(0o700)
    assert check(str(place), user="nobody", other_places=[str(theirs)])["findings"] == []
    [unknown] = check(str(place), user="nobody", other_places=[f"{place}/none"])["findings"]
    assert (unknown["id"], unknown["severity"]) == ("ARTIFACT_OTHER_UNPROVED", "warning")
    assert "No such file or directory" in unknown["evidence"]


# ----- options and failure


def test_a_finding_fails_the_task_and_is_its_message() -> None:
    answer = check("s3://bucket", fail_on="critical")
    assert answer["failed"] is True
    assert answer["msg"] == (
        "[ARTIFACT_URI] app1: 's3://bucket' has no prefix, and MLflow would fill the root of the bucket. "
        "Set mlflow_artifact_uri to s3://bucket/mlflow."
    )
    assert ids(answer) == ["ARTIFACT_URI"]


@pytest.mark.parametrize("timeout", [0, -1, 601])
def test_a_timeout_that_is_none(timeout: int) -> None:
    assert check("/srv/x", timeout=timeout)["msg"] == f"timeout={timeout}: from 1 to 600 seconds."


@pytest.mark.parametrize(
    ("place", "sentence"),
    [
        ("s3://other", "other_places: 's3://other' has no prefix, and MLflow would fill the root of the bucket."),
        ("/srv/other", "other_places: /srv/other is not asked in the same way as s3://bucket/x."),
    ],
)
def test_another_place_that_cannot_be_asked(place: str, sentence: str) -> None:
    answer = check("s3://bucket/x", ANY, "http://127.0.0.1:9", other_places=[place])
    assert answer["failed"] is True
    assert answer["msg"].startswith(sentence)


# ----- whatever comes


def asserted(answer: dict[str, Any], *expected: str) -> None:
    """A check told something, in the shape of findings, and no traceback."""
    assert answer["findings"]
    assert set(ids(answer)) <= set(expected), answer
    assert "Traceback" not in str(answer)
    assert ANY.secret not in str(answer)


@pytest.mark.usefixtures("apart")
@pytest.mark.parametrize("name", ["an endless body", "a slow drip", "endless headers"])
def test_a_store_that_never_ends(name: str) -> None:
    with peer(ENDLESS[name]) as port:
        answer = check("s3://bucket/x", ANY, f"http://127.0.0.1:{port}", timeout=3)
    asserted(answer, "ARTIFACT_NO_ANSWER", "ARTIFACT_NOT_S3")


@pytest.mark.parametrize("name", RUDE)
@pytest.mark.parametrize("scheme", ["http", "https"])
def test_a_peer_that_is_no_store(name: str, scheme: str) -> None:
    with peer(RUDE[name]) as port:
        answer = check("s3://bucket/x", ANY, f"{scheme}://127.0.0.1:{port}", timeout=5)
    kinds = {"http": ("ARTIFACT_NOT_S3", "ARTIFACT_DIFFERENT"), "https": ("ARTIFACT_ENDPOINT_HTTP", "ARTIFACT_TLS")}
    asserted(answer, *kinds[scheme])


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    body=st.binary(max_size=60) | st.text(max_size=40).map(lambda text: f"<Error><Code>{text}".encode()),
    status=st.integers(100, 999),
)
def test_any_answer_is_judged(body: bytes, status: int) -> None:
    said = b"HTTP/1.1 %d X\r\nContent-Length: %d\r\n\r\n%s" % (status, len(body), body)
    with peer(says(said)) as port:
        answer = check("s3://bucket/x", ANY, f"http://127.0.0.1:{port}", timeout=4)
    assert all(found["id"].startswith("ARTIFACT_") for found in answer["findings"])


WORDS = st.text(max_size=12) | st.sampled_from(["http://", "https://[", "/", "a\nb", "é", "\x00", "http://127.0.0.1:1"])


@settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(uri=WORDS | st.just("s3://bucket/x"), id_=WORDS, secret=WORDS, token=WORDS, url=WORDS, region=WORDS, file=WORDS)
def test_any_option_is_judged(uri: str, id_: str, secret: str, token: str, url: str, region: str, file: str) -> None:
    given_options = {"session_token": token, "region": region, "ca_file": file, "access_key_id": id_}
    answer = check(uri, None, url or "http://127.0.0.1:1", secret_access_key=secret, timeout=4, **given_options)
    assert answer["findings"]
    assert "Traceback" not in str(answer)
