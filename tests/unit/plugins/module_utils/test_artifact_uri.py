"""The parser of mlflow_artifact_uri: what it takes, and everything that MLflow would take silently."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.mlops.mlflow.plugins.module_utils._artifact_uri import ArtifactUri, ArtifactUriError, parse


@pytest.mark.parametrize(
    ("uri", "place"),
    [
        ("/srv/mlflow/artifacts", ArtifactUri("directory", "/srv/mlflow/artifacts", path="/srv/mlflow/artifacts")),
        ("/srv/mlflow/artifacts/", ArtifactUri("directory", "/srv/mlflow/artifacts", path="/srv/mlflow/artifacts")),
        ("/data", ArtifactUri("directory", "/data", path="/data")),
        ("s3://bucket/mlflow", ArtifactUri("s3", "s3://bucket/mlflow", bucket="bucket", prefix="mlflow")),
        ("s3://my.bucket-1/a/b/", ArtifactUri("s3", "s3://my.bucket-1/a/b", bucket="my.bucket-1", prefix="a/b")),
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
        ("gs://bucket/x", "not looked after"),
        ("wasbs://c@a.blob.core.windows.net/x", "not looked after"),
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
        ("gs://bucket/x", ""),
        ("gcs://bucket/x", ""),
        ("nfs://host/x", ""),
        ("https://account.blob.core.windows.net/c", ""),
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
            ["", "s3:", "S3:/", "s3://", "s3a://", "file://", "file:", "https://", "gs://", " ", "%2F", "\\"]
        ),
        st.text(alphabet="aB1_-./\\:?#% '\"\t\u200bé~", max_size=40),
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


@given(
    st.from_regex(r"[a-z0-9]{3,20}", fullmatch=True),
    st.lists(st.from_regex(r"[a-z0-9_-]{1,9}", fullmatch=True), min_size=1),
)
def test_bucket_and_prefix_come_back(bucket: str, parts: list[str]) -> None:
    prefix = "/".join(parts)
    place = parse(f"s3://{bucket}/{prefix}")
    assert (place.bucket, place.prefix) == (bucket, prefix)
