"""What a location of MLflow's means, and how one is spelled."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.mlops.mlflow.plugins.module_utils._artifact_locations import (
    ancestors,
    collapse,
    is_served,
    key_of,
    spell,
    within,
)
from ansible_collections.mlops.mlflow.plugins.module_utils._artifact_uri import ArtifactUri, parse

FOLDER, BUCKET, OTHER = parse("/srv/mlflow/artifacts"), parse("s3://acme/mlflow"), parse("s3://acme/other")
INNER = parse("s3://acme/mlflow/team")


@pytest.mark.parametrize(
    ("location", "place", "served", "key"),
    [
        ("mlflow-artifacts:/5/r/artifacts", FOLDER, FOLDER, "5/r/artifacts"),
        ("mlflow-artifacts:/5/r/artifacts", BUCKET, BUCKET, "5/r/artifacts"),
        ("mlflow-artifacts:/5", OTHER, BUCKET, None),
        ("mlflow-artifacts:/team/5", INNER, BUCKET, "5"),
        ("mlflow-artifacts://mlflow.example.com:443/5", BUCKET, BUCKET, "5"),
        ("mlflow-artifacts://mlflow.example.com", BUCKET, BUCKET, ""),
        ("mlflow-artifacts:/", BUCKET, BUCKET, ""),
        # The server decodes what it is asked for, S3 does not.
        ("mlflow-artifacts:/a%20b", BUCKET, BUCKET, "a b"),
        ("s3://acme/mlflow/a%20b", BUCKET, BUCKET, "a%20b"),
        ("file:///srv/mlflow/artifacts/a%20b", FOLDER, FOLDER, "a b"),
        ("file:/srv/mlflow/artifacts/5", FOLDER, FOLDER, "5"),
        ("/srv/mlflow/artifacts/5/", FOLDER, FOLDER, "5"),
        ("s3://acme/mlflow/5", BUCKET, FOLDER, "5"),
        ("s3://acme/mlflow", BUCKET, FOLDER, ""),
        # A name that only begins alike, another bucket, another kind.
        ("s3://acme/mlflow2/5", BUCKET, FOLDER, None),
        ("s3://acme2/mlflow/5", BUCKET, FOLDER, None),
        ("/srv/mlflow/artifacts2/5", FOLDER, FOLDER, None),
        ("file://host/srv/mlflow/artifacts/5", FOLDER, FOLDER, None),
        ("s3://acme/mlflow/../mlflow/5", BUCKET, BUCKET, None),
        ("s3://acme/mlflow/5?x=1", BUCKET, BUCKET, None),
        ("models:/m-1", BUCKET, BUCKET, None),
        ("dbfs:/x", BUCKET, BUCKET, None),
        ("", BUCKET, BUCKET, None),
    ],
)
def test_what_a_location_means(location: str, place: ArtifactUri, served: ArtifactUri, key: str | None) -> None:
    assert key_of(location, place, served) == key


@pytest.mark.parametrize(
    ("key", "place", "served", "direct", "location"),
    [
        ("5/r/artifacts", BUCKET, BUCKET, False, "mlflow-artifacts:/5/r/artifacts"),
        ("5", INNER, BUCKET, False, "mlflow-artifacts:/team/5"),
        ("", INNER, BUCKET, False, "mlflow-artifacts:/team"),
        ("", BUCKET, BUCKET, False, "mlflow-artifacts:/"),
        ("5", BUCKET, BUCKET, True, "s3://acme/mlflow/5"),
        # What is not below the servers' destination can only be reached by its own name.
        ("5", OTHER, BUCKET, False, "s3://acme/other/5"),
        ("5", FOLDER, BUCKET, False, "file:///srv/mlflow/artifacts/5"),
        ("a%b", BUCKET, BUCKET, False, "mlflow-artifacts:/a%25b"),
        ("a%b", BUCKET, BUCKET, True, "s3://acme/mlflow/a%b"),
    ],
)
def test_how_a_location_is_spelled(
    key: str, place: ArtifactUri, served: ArtifactUri, direct: bool, location: str
) -> None:
    assert spell(key, place, served, direct=direct) == location


PARTS = st.text(
    st.characters(codec="utf-8", exclude_characters="/\0?#", exclude_categories=("Cs", "Cc")), min_size=1
).filter(lambda part: part not in (".", ".."))
KEYS = st.lists(PARTS, max_size=4).map("/".join)
PLACES = st.sampled_from([FOLDER, BUCKET, OTHER, INNER])


@given(KEYS, PLACES, PLACES, st.booleans())
def test_what_is_spelled_means_the_same_again(key: str, place: ArtifactUri, served: ArtifactUri, direct: bool) -> None:
    location = spell(key, place, served, direct=direct)
    assert key_of(location, place, served) == key
    assert is_served(location) == (
        not direct and key_of(spell("", place, served, direct=True), served, served) is not None
    )


@given(st.frozensets(KEYS, max_size=6), KEYS)
def test_collapsing_changes_nothing_about_what_is_below(prefixes: frozenset[str], key: str) -> None:
    kept = frozenset(collapse(prefixes))
    assert kept <= prefixes
    assert within(key, kept) == within(key, prefixes)
    assert not any(above in kept for one in kept for above in ancestors(one)[1:])
