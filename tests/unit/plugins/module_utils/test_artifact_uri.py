"""The parser of mlflow_artifact_uri: what it takes, and everything that MLflow would take silently."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable, Iterator

import pytest
from hypothesis import HealthCheck, event, given, settings
from hypothesis import strategies as st

from ansible_collections.mlops.mlflow.plugins.module_utils._artifact_uri import ArtifactUri, ArtifactUriError, parse
from ansible_collections.mlops.mlflow.tests.unit.support import mlflow_place
from ansible_collections.mlops.mlflow.tests.unit.support.environments import client_python


@pytest.mark.parametrize(
    ("uri", "place"),
    [
        ("/srv/mlflow/artifacts", ArtifactUri("directory", "/srv/mlflow/artifacts", path="/srv/mlflow/artifacts")),
        ("/srv/mlflow/artifacts/", ArtifactUri("directory", "/srv/mlflow/artifacts", path="/srv/mlflow/artifacts")),
        ("/data", ArtifactUri("directory", "/data", path="/data")),
        ("s3://bucket/mlflow", ArtifactUri("s3", "s3://bucket/mlflow", bucket="bucket", prefix="mlflow", scheme="s3")),
        (
            "s3://my.bucket-1/a/b/",
            ArtifactUri("s3", "s3://my.bucket-1/a/b", bucket="my.bucket-1", prefix="a/b", scheme="s3"),
        ),
        ("gs://bucket_1/a/", ArtifactUri("gcs", "gs://bucket_1/a", bucket="bucket_1", prefix="a", scheme="gs")),
        (
            f"gs://{'b' * 60}.example.com/a",
            ArtifactUri(
                "gcs", f"gs://{'b' * 60}.example.com/a", bucket=f"{'b' * 60}.example.com", prefix="a", scheme="gs"
            ),
        ),
        (
            "wasbs://artifacts@acme1.blob.core.windows.net/mlflow/",
            ArtifactUri(
                "azure",
                "wasbs://artifacts@acme1.blob.core.windows.net/mlflow",
                bucket="artifacts",
                prefix="mlflow",
                account="acme1",
                dns_suffix="core.windows.net",
                scheme="wasbs",
            ),
        ),
        (
            "abfss://my-data@acme1.dfs.core.chinacloudapi.cn/a/b",
            ArtifactUri(
                "azure",
                "abfss://my-data@acme1.dfs.core.chinacloudapi.cn/a/b",
                bucket="my-data",
                prefix="a/b",
                account="acme1",
                dns_suffix="core.chinacloudapi.cn",
                scheme="abfss",
            ),
        ),
    ],
)
def test_what_is_understood(uri: str, place: ArtifactUri) -> None:
    assert parse(uri) == place


@pytest.mark.parametrize(
    ("uri", "sentence"),
    [
        ("", "is empty"),
        ("S3://bucket/x", "lower case"),
        (" s3://bucket/x", "blank"),
        ("s3://bucket/x ", "blank"),
        ("s3://bucket/a b", "blank"),
        ("s3://bucket/x\n", "blank"),
        ("s3://bucket/x?y=1", "drop what follows"),
        ("s3://bucket/x#f", "drop what follows"),
        ("s3://bucket//x", "empty part"),
        ("s3://bucket/x//y", "empty part"),
        ("s3://bucket/x//", "empty part"),
        ("s3://bucket", "has no prefix"),
        ("s3://bucket/", "has no prefix"),
        ("s3://bucket/%41", "literally"),
        ("s3://bucket/../x", "detours"),
        ("s3:/bucket/x", "two slashes"),
        ("s3:bucket/x", "two slashes"),
        ("s3:///bucket/x", "bucket name"),
        ("s3://My_Bucket/x", "bucket name"),
        ("s3://10.0.0.1/x", "bucket name"),
        ("relative/dir", "relative path"),
        ("./artifacts", "relative path"),
        ("file://host/x", "absolute path"),
        ("file:///x", "absolute path"),
        ("https://account.blob.core.windows.net/c", "not looked after"),
        ("hdfs://host/x", "not looked after"),
        ("r2://bucket@host/x", "not looked after"),
        ("s3://bucket/a*", "other places as well"),
        ("gs://bucket/${x}", "other places as well"),
        ("gs://bucket", "has no prefix"),
        ("gs://bucket//x", "empty part"),
        ("gs://Bucket/x", "bucket name"),
        ("gs://a.-b/x", "bucket name"),
        ("gs://ab/x", "bucket name"),
        (f"gs://{'b' * 64}/x", "bucket name"),
        ("gs://10.0.0.1/x", "bucket name"),
        ("wasbs://container/x", "storage account"),
        ("wasbs://container@account/x", "storage account"),
        ("wasbs://container@account.blob.core.example.com/x", "storage account"),
        ("wasbs://container@account.dfs.core.windows.net/x", "account.blob.core.windows.net"),
        ("abfss://container@account.blob.core.windows.net/x", "account.dfs.core.windows.net"),
        ("wasbs://container@Account.blob.core.windows.net/x", "storage account"),
        ("wasbs://@account.blob.core.windows.net/x", "container name"),
        ("wasbs://a--b@account.blob.core.windows.net/x", "container name"),
        ("wasbs://$web@account.blob.core.windows.net/x", "container name"),
        ("wasbs://container@account.blob.core.windows.net", "has no prefix"),
        ("wasbs://container@account.blob.core.windows.net/a./b", "ends with a dot"),
        ("s3a://bucket/x", "s3:// may be meant"),
        ("minio://bucket/x", "s3:// may be meant"),
        ("nfs://host/x", "no scheme nfs://"),
        ("/", "operating system"),
        ("/srv", "operating system"),
        ("/tmp/artifacts", "emptied"),
        ("/home/me/artifacts", "hidden"),
        ("/srv//artifacts", "empty part"),
        ("/srv/../etc/x", "detours"),
    ],
)
def test_what_is_refused(uri: str, sentence: str) -> None:
    with pytest.raises(ArtifactUriError, match=sentence):
        parse(uri)


@pytest.mark.parametrize(
    ("uri", "suggestion"),
    [
        ("S3://bucket/x", "s3://bucket/x"),
        ("S3://bucket", "s3://bucket/mlflow"),
        (" s3://bucket/x ", "s3://bucket/x"),
        ("s3://bucket/a b", "s3://bucket/a-b"),
        ("s3://bucket/x\n", "s3://bucket/x"),
        ("s3://bucket/x\u200b", "s3://bucket/x"),
        ("s3://bucket/x?y=1", "s3://bucket/x"),
        ("s3://bucket/x#f", "s3://bucket/x"),
        ("s3://bucket//x//y//", "s3://bucket/x/y"),
        ("s3://bucket/../x/./y", "s3://bucket/x/y"),
        ("s3://bucket", "s3://bucket/mlflow"),
        ("s3://bucket/%41", "s3://bucket/A"),
        ("s3:/bucket/x", "s3://bucket/x"),
        ("s3:bucket/x", "s3://bucket/x"),
        ("s3:///bucket/x", "s3://bucket/x"),
        ("s3://My_Bucket/x", "s3://my-bucket/x"),
        ("'s3://bucket/x'", "s3://bucket/x"),
        ("s3a://bucket/x", "s3://bucket/x"),
        ("minio://bucket/x", "s3://bucket/x"),
        ("https://bucket.s3.eu-central-1.amazonaws.com/x", "s3://bucket/x"),
        ("https://s3.eu-central-1.amazonaws.com/bucket/x", "s3://bucket/x"),
        ("file:///data/x", "/data/x"),
        ("file:/data/x", "/data/x"),
        ("file://data/x", "/data/x"),
        ("file://localhost/data/x", "/data/x"),
        ("file://nas.example.com/data/x", "/data/x"),
        ("relative/dir", "/srv/mlflow/relative/dir"),
        ("./artifacts", "/srv/mlflow/artifacts"),
        ("", "/srv/mlflow/artifacts"),
        ("/", "/srv/mlflow/artifacts"),
        ("/srv", "/srv/mlflow/artifacts"),
        ("/mnt/", "/mnt/mlflow/artifacts"),
        ("/tmp/artifacts", "/srv/mlflow/artifacts"),
        ("/srv//artifacts", "/srv/artifacts"),
        ("/srv/x/../y", "/srv/y"),
        ("\\srv\\mlflow", "/srv/mlflow"),
        ("s3://10.0.0.1/x", ""),
        ("s3://bucket/a*/*/b$", "s3://bucket/a/b"),
        ("gcs://Bucket_1/x", "gs://bucket_1/x"),
        ("gs://bucket", "gs://bucket/mlflow"),
        ("https://storage.googleapis.com/bucket/x", "gs://bucket/x"),
        ("https://storage.cloud.google.com/bucket/x", "gs://bucket/x"),
        ("https://bucket.storage.googleapis.com/x", "gs://bucket/x"),
        ("wasb://container@account.blob.core.windows.net/x", "wasbs://container@account.blob.core.windows.net/x"),
        ("abfs://container@account.dfs.core.windows.net/x", "abfss://container@account.dfs.core.windows.net/x"),
        ("abfss://container@account.blob.core.windows.net/x", "abfss://container@account.dfs.core.windows.net/x"),
        ("wasbs://My_Data@Account.blob.core.windows.net/a./b", "wasbs://my-data@account.blob.core.windows.net/a/b"),
        ("https://account.blob.core.windows.net/data/x", "wasbs://data@account.blob.core.windows.net/x"),
        ("https://account.dfs.core.windows.net/data", "abfss://data@account.dfs.core.windows.net/mlflow"),
        ("wasbs://container@account/x", ""),
        ("gs://10.0.0.1/x", ""),
        ("nfs://host/x", ""),
        ("https://mlflow.example.com/x", ""),
    ],
)
def test_what_is_suggested(uri: str, suggestion: str) -> None:
    with pytest.raises(ArtifactUriError) as error:
        parse(uri)
    assert error.value.suggestion == suggestion
    assert str(error.value).endswith(f" Write {suggestion} instead.") is bool(suggestion)


NEARLY = st.builds(
    "".join,
    st.tuples(
        st.sampled_from(
            [
                *(
                    "",
                    "s3:",
                    "S3:/",
                    "s3://",
                    "s3a://",
                    "file://",
                    "file:",
                    "https://",
                    "gs://",
                    "gcs:",
                    " ",
                    "%2F",
                    "\\",
                ),
                *("wasbs://", "abfss://", "wasbs://container@account.blob.core.windows.net/", "abfs:c"),
                *("https://account.blob.core.windows.net/", "https://storage.googleapis.com/"),
            ]
        ),
        st.text(alphabet="aB1_-./\\:?#% '\"\t\u200bé~@*$;[", max_size=40),
    ),
)


@given(st.text() | NEARLY)
def test_a_suggestion_can_be_used(uri: str) -> None:
    suggestion = ""
    try:
        parse(uri)
    except ArtifactUriError as error:
        suggestion = error.suggestion
    assert not suggestion or parse(suggestion).uri == suggestion


@given(st.text() | NEARLY)
def test_an_answer_is_a_place_or_a_sentence(uri: str) -> None:
    try:
        place = parse(uri)
    except ArtifactUriError:
        return
    assert parse(place.uri) == place


WORD = st.from_regex(r"[a-z0-9]{3,20}", fullmatch=True)
# Each part is one that ours takes; whether MLflow does the same with it is what is asked.
PREFIX = st.lists(st.text(alphabet="aB1_-.;:@=+,~!&()[]{}|^é", min_size=1, max_size=9), min_size=1, max_size=4).map(
    "/".join
)
AUTHORITY = st.one_of(
    st.builds("s3://{}".format, WORD),
    st.builds("gs://{}".format, WORD),
    st.builds("gs://{}_{}.{}".format, WORD, WORD, WORD),
    st.builds("wasbs://{}@{}.blob.core.windows.net".format, WORD, WORD),
    st.builds("abfss://{}-{}@{}.dfs.core.usgovcloudapi.net".format, WORD, WORD, WORD),
    st.just("/srv"),
)
PLACE = st.builds("{}/{}{}".format, AUTHORITY, PREFIX, st.sampled_from(["", "/"]))


@pytest.fixture(scope="module")
def ask_mlflow() -> Iterator[Callable[[str], dict[str, str]]]:
    """MLflow itself, as the servers have it: where does it put and list what is logged at a URI?"""
    with subprocess.Popen(
        [client_python(), mlflow_place.__file__],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        cwd="/",
        env={"PATH": "/usr/bin:/bin", "LC_ALL": "C.UTF-8"},
    ) as process:
        assert process.stdin
        assert process.stdout

        def ask(uri: str) -> dict[str, str]:
            assert process.stdin
            assert process.stdout
            process.stdin.write(json.dumps(uri) + "\n")
            process.stdin.flush()
            answer = json.loads(process.stdout.readline())
            assert isinstance(answer, dict)
            return answer

        yield ask
        process.stdin.close()
        process.wait(20)


def as_mlflow_says(place: ArtifactUri) -> dict[str, str]:
    """What `mlflow_place` answers if MLflow understands the URI as we do."""
    if place.kind == "directory":
        return {"directory": place.path}
    service = {"wasbs": "blob", "abfss": "dfs"}.get(place.scheme, "")
    return {
        "bucket": place.bucket,
        "key": f"{place.prefix}/file.txt",
        "listed": place.prefix,
        "account": f"https://{place.account}.{service}.{place.dns_suffix}" if service else "",
    }


@given(PLACE)
@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_mlflow_goes_to_the_same_place(ask_mlflow: Callable[[str], dict[str, str]], uri: str) -> None:
    try:
        place = parse(uri)
    except ArtifactUriError as error:
        event(error.reason.partition(": ")[2][:30] or "refused")
        return
    event(place.scheme or place.kind)
    assert ask_mlflow(place.uri) == as_mlflow_says(place)
    assert ask_mlflow(uri) == as_mlflow_says(place) or uri.endswith("/")


@given(st.text() | NEARLY)
@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_whatever_is_accepted_mlflow_takes_to_the_same_place(
    ask_mlflow: Callable[[str], dict[str, str]], uri: str
) -> None:
    try:
        place = parse(uri)
    except ArtifactUriError:
        return
    assert ask_mlflow(place.uri) == as_mlflow_says(place)


@pytest.mark.parametrize(
    ("uri", "elsewhere"),
    [
        ("s3://bucket/x?y=1", {"bucket": "bucket", "key": "x/file.txt"}),
        ("gs://bucket/x#f", {"bucket": "bucket", "key": "x/file.txt"}),
        ("s3:///bucket/x", {"bucket": "", "key": "bucket/x/file.txt"}),
        ("abfss://data@account.dfs.core.windows.net/%41", {"bucket": "data", "key": "A/file.txt"}),
        ("/srv/%41", {"directory": "/srv/A"}),
        ("file://host/srv/x", {"directory": "/srv/x"}),
        ("s3a://bucket/x", {"refused": "MlflowException"}),
    ],
)
def test_mlflow_would_take_it_elsewhere(
    ask_mlflow: Callable[[str], dict[str, str]], uri: str, elsewhere: dict[str, str]
) -> None:
    assert elsewhere.items() <= ask_mlflow(uri).items()
    with pytest.raises(ArtifactUriError):
        parse(uri)
