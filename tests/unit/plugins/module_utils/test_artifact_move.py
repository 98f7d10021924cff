"""What a move decides, tried with whatever can stand in two places and in a journal."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.mlops.mlflow.plugins.module_utils._artifact_move import (
    Copied,
    JournalError,
    Wanted,
    backup_problem,
    dump_time,
    head,
    lines_of,
    plan,
    read_journal,
)
from ansible_collections.mlops.mlflow.plugins.module_utils._artifact_objects import Thing
from ansible_collections.mlops.mlflow.plugins.module_utils._artifact_uri import parse
from ansible_collections.mlops.mlflow.plugins.module_utils._tracking_database import Change

WANTED = Wanted(parse("/srv/a/x"), parse("s3://bucket/y"), parse("/srv/a/x"), direct=False, experiments=("4",))
KEYS = st.sampled_from(["a", "b", "c/d"])
TOKENS = st.sampled_from(["1", "2"])
LISTED = st.dictionaries(KEYS, st.tuples(TOKENS, st.integers(0, 1)))


def things(listed: dict[str, tuple[str, int]]) -> dict[str, Thing]:
    return {key: Thing(key, size, token, 0.0) for key, (token, size) in listed.items()}


@given(LISTED, LISTED, st.dictionaries(KEYS, st.tuples(TOKENS, TOKENS)), st.frozensets(KEYS))
def test_nothing_is_overwritten_but_our_own_unchanged_copy(
    source: dict[str, tuple[str, int]],
    target: dict[str, tuple[str, int]],
    known: dict[str, tuple[str, str]],
    begun: frozenset[str],
) -> None:
    copied = {key: Copied(key, 0, "", *tokens) for key, tokens in known.items()}
    there = things(target)
    found = plan(things(source).values(), there, copied, begun)
    for one in found.copy:
        ours = (
            one.key in begun or (one.key in copied and copied[one.key].target == there[one.key].token)
            if one.key in there
            else True
        )
        assert ours, one
    # Each object is in exactly one heap, and what is called done was proved and has not changed since.
    heaps = [one.key for one in found.copy] + [one.key for one in found.compare] + found.conflicts
    assert len(heaps) == len(set(heaps))
    assert len(heaps) + found.done == len(source)
    for key in set(source) - set(heaps):
        assert copied[key].source == source[key][0]


NAMES = st.text(st.characters(codec="utf-8"), max_size=20)
CHANGES = st.builds(
    Change, NAMES, NAMES, st.lists(st.tuples(NAMES, NAMES | st.integers()), max_size=3).map(tuple), NAMES, NAMES
)
COPIES = st.builds(Copied, NAMES, st.integers(0), NAMES, NAMES, NAMES)


@given(st.lists(COPIES), st.lists(CHANGES), st.text(max_size=30).filter(lambda text: "\n" not in text))
def test_a_journal_says_again_what_was_written(copies: list[Copied], changes: list[Change], torn: str) -> None:
    lines = [head(WANTED), *lines_of(copies), *lines_of(changes)]
    journal = read_journal("".join(json.dumps(line) + "\n" for line in lines) + torn, WANTED)
    assert journal.changes == changes
    assert journal.copied == {one.key: one for one in copies}


def test_what_was_undone_is_not_undone_again() -> None:
    change = Change("runs", "artifact_uri", (("run_uuid", "r"),), "old", "new")
    lines = [head(WANTED), *lines_of([change]), {"what": "undone"}]
    assert read_journal("".join(json.dumps(line) + "\n" for line in lines), WANTED).changes == []


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ('{"what": "begun", "key": "a"}\n', "it does not begin as one of this release"),
        ("[]\n", "line 1 cannot be read"),
        (
            '{"what": "move", "format": 1, "from": "/else", "to": "s3://bucket/y", "experiments": ["4"]}\n',
            "the move with from /else",
        ),
    ],
)
def test_a_journal_that_cannot_be_followed(text: str, words: str) -> None:
    with pytest.raises(JournalError, match=words):
        read_journal(text, WANTED)


LISTING = """;
; Archive created at 2026-01-02 03:04:05 UTC
;     dbname: mlflow
3400; 0 16390 TABLE DATA public experiments mlflow_owner
3401; 0 16400 TABLE DATA public runs mlflow_owner
"""


@pytest.mark.parametrize(
    ("database", "tables", "last_run", "problem"),
    [
        ("mlflow", {"runs"}, 0.0, ""),
        ("mlflow", {"runs", "experiments"}, 1767323044.0, ""),
        ("mlflow", {"runs"}, 1767323046.0, "a run has ended since it was begun"),
        ("mlflow", {"runs", "trace_tags"}, 0.0, "it lacks the rows of trace_tags"),
        ("other", {"runs"}, 0.0, "it is of the database mlflow, not of other"),
    ],
)
def test_what_a_backup_proves(database: str, tables: set[str], last_run: float, problem: str) -> None:
    assert backup_problem(LISTING, database, tables, last_run, dump_time(LISTING)) == problem


def test_a_dump_that_does_not_say_when_it_was_made_is_older_than_everything() -> None:
    assert dump_time("") == 0.0
    assert backup_problem(LISTING, "mlflow", {"runs"}, 1.0, 0.0) == "a run has ended since it was begun"
