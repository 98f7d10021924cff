"""The text of a file of secrets: what is there stays, what is missing is added."""

from __future__ import annotations

import pytest
import yaml

from ansible_collections.mlops.mlflow.plugins.plugin_utils._vault_file import (
    NotAMapping,
    add,
    dated,
    different,
    missing,
    parse,
)

PEM = "-----BEGIN X-----\nabc\n-----END X-----\n"


def test_an_empty_file_gets_a_header() -> None:
    text = add("", {"mlflow_a": "x", "mlflow_pem": PEM}, "# header")
    assert text.startswith('---\n# header\nmlflow_a: "x"\nmlflow_pem: |\n  -----BEGIN')
    assert yaml.safe_load(text) == {"mlflow_a": "x", "mlflow_pem": PEM}


def test_comments_and_own_values_stay() -> None:
    before = "---\n# mine\nmlflow_site_token: abc  # keep\n"
    text = add(before, {"mlflow_a": "yes"}, "# header")
    assert text == before + 'mlflow_a: "yes"\n'


@pytest.mark.parametrize(
    "value", ["yes", "1", "null", "a: b", "#", "'", '"', "{{ x }}", "ü€", "%@:/[]!$ \\", " x ", PEM]
)
@pytest.mark.parametrize("before", ["", "a: b\n", "a: b", "{a: b}\n", "---\na: b\n...\n", "mlflow_x:\na: b\n"])
def test_every_value_comes_back_as_it_was(before: str, value: str) -> None:
    again = yaml.safe_load(add(before, {"mlflow_x": value}, "# header"))
    assert again["mlflow_x"] == value
    assert again == {**({"a": "b"} if "a" in before else {}), "mlflow_x": value}


def test_an_empty_value_counts_as_missing() -> None:
    wanted = {"mlflow_a": "x", "mlflow_b": "x", "mlflow_c": "x"}
    assert set(missing("mlflow_a:\nmlflow_b: ''\nmlflow_c: old\n", wanted)) == {"mlflow_a", "mlflow_b"}


@pytest.mark.parametrize(
    "old",
    [
        "old",
        "'old'",
        f"|\n  {PEM.replace(chr(10), chr(10) + '  ').rstrip()}",
        "{x: 1}",
        "\n  x: 1\n  y: [1]",
        "\n- 1\n- 2",
        "",
    ],
)
def test_a_value_is_replaced_and_all_around_it_stays(old: str) -> None:
    before = f"---\n# first\nmlflow_a: 'a'  # of a\nmlflow_x: {old}\n# of b\nmlflow_b: b\n\n# last\n"
    text = add(before, {"mlflow_x": "new"}, "# header")
    assert text == "---\n# first\nmlflow_a: 'a'  # of a\n# of b\nmlflow_b: b\n\n# last\nmlflow_x: \"new\"\n"


def test_what_is_tagged_stays_tagged_when_another_value_is_replaced() -> None:
    before = "a: !unsafe '{{ x }}'\nmlflow_x: old\n"
    assert add(before, {"mlflow_x": "new"}, "# header") == "a: !unsafe '{{ x }}'\nmlflow_x: \"new\"\n"


def test_only_what_differs_is_different() -> None:
    wanted = {"a": "x", "b": "x", "c": {"d": 1}, "e": {}}
    assert different("a: x\nb: y\nc: {d: 1}\n", wanted) == {"b": "x", "e": {}}


def test_texts_get_a_day_and_mappings_do_not() -> None:
    text = add(
        "days: {old: '2020-01-01', a: '2020-01-01'}\n",
        dated("days: {old: '2020-01-01', a: '2020-01-01'}\n", {"a": "x", "journal": {"step": 1}}, "days", "2026-11-28"),
        "#",
    )
    assert parse(text) == {"a": "x", "journal": {"step": 1}, "days": {"old": "2020-01-01", "a": "2026-11-28"}}
    assert dated(text, {"journal": {}}, "days", "2027-01-01") == {"journal": {}}


def test_tags_of_ansible_are_read() -> None:
    assert parse("a: !unsafe 'x{{'\nb: !vault |\n  $ANSIBLE_VAULT;1.1\n")["a"] == "!unsafe x{{"


@pytest.mark.parametrize("text", ["- a\n", "just a word\n", "a: [secret\n", "a: b\n c: secret\n"])
def test_what_is_no_mapping_is_refused_without_showing_it(text: str) -> None:
    with pytest.raises(NotAMapping) as caught:
        parse(text)
    assert "secret" not in str(caught.value)
