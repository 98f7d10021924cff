# Copyright (c) 2026 the mlops.mlflow maintainers
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The text of a file of secrets: what is kept, what is added. Pure; nothing here encrypts, reads or writes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import yaml


class _Dumper(yaml.SafeDumper):
    """Writes secrets so that a person who opens the file can read them."""


class _Secret(str):
    """A value, to be quoted whatever it looks like; texts of several lines, such as certificates, become blocks."""

    __slots__ = ()


def _represent(dumper: yaml.SafeDumper, text: _Secret) -> yaml.ScalarNode:
    return dumper.represent_scalar("tag:yaml.org,2002:str", str(text), style="|" if "\n" in text else '"')


_Dumper.add_representer(_Secret, _represent)


def _dump(values: Mapping[str, Any]) -> str:
    secrets = {name: _Secret(value) if isinstance(value, str) else value for name, value in values.items()}
    return yaml.dump(secrets, Dumper=_Dumper, width=10_000, sort_keys=False)


class _Loader(yaml.SafeLoader):
    """Reads names and plain values; what bears a tag of Ansible's (`!vault`, `!unsafe`) is kept as its text."""


def _tagged(_loader: yaml.SafeLoader, suffix: str, node: yaml.Node) -> str:
    return f"!{suffix} {node.value}"


_Loader.add_multi_constructor("!", _tagged)


class NotAMapping(ValueError):
    """The file holds something else than names and values."""


def parse(text: str) -> dict[str, Any]:
    """Return the names and values of the decrypted text."""
    try:
        values = yaml.load(text, Loader=_Loader)
    except yaml.YAMLError as error:
        # The parser's own message quotes the line, and the line may be a secret.
        mark = getattr(error, "problem_mark", None)
        raise NotAMapping(f"is not YAML in line {mark.line + 1}" if mark else "is not YAML") from None
    if values is None:
        return {}
    if not isinstance(values, dict):
        raise NotAMapping("is not a mapping of names to values")
    return values


def missing(text: str, wanted: Mapping[str, Any]) -> dict[str, Any]:
    """Return those of the wanted values whose names the text does not hold. An empty value counts as none."""
    present = parse(text)
    return {name: value for name, value in wanted.items() if present.get(name) in (None, "")}


def different(text: str, wanted: Mapping[str, Any]) -> dict[str, Any]:
    """Return those of the wanted values that the text does not hold, or holds another value of."""
    present = parse(text)
    return {name: value for name, value in wanted.items() if name not in present or present[name] != value}


def dated(text: str, values: Mapping[str, Any], dates: str, day: str) -> dict[str, Any]:
    """Return the values and, under the name `dates`, the day for each text among them beside the days that the file has."""
    before = parse(text).get(dates)
    days = dict(before) if isinstance(before, dict) else {}
    days.update({name: day for name, value in values.items() if isinstance(value, str)})
    return {**values, dates: days} if days and days != before else dict(values)


def add(text: str, values: Mapping[str, Any], header: str) -> str:
    """Return the text with the values at its end; comments and all other values stay as they are."""
    before = parse(text)
    kept = {name: value for name, value in before.items() if name not in values}
    addition = _dump(values)
    if not text.strip():
        return f"---\n{header}\n{addition}"
    candidate = _without(text, set(values)).rstrip("\n") + "\n" + addition
    try:
        if parse(candidate) == {**kept, **values}:
            return candidate
    except NotAMapping:
        pass
    # A flow mapping or an end-of-document mark: the file is written anew.
    return f"---\n{header}\n" + _dump({**kept, **values})


def _without(text: str, names: set[str]) -> str:
    """Return the text without the lines of these names. What cannot be cut out stays: the caller compares."""
    root = yaml.compose(text, Loader=_Loader)
    if not isinstance(root, yaml.MappingNode) or root.flow_style:
        return text
    lines = text.splitlines(keepends=True)
    for key, value in reversed(root.value):
        if key.value in names:
            del lines[key.start_mark.line : _end(value)]
    return "".join(lines)


def _end(node: yaml.Node) -> int:
    """Return the line after the last one of a value. A block mapping would claim the comments that follow it: its last part counts."""
    if isinstance(node, yaml.CollectionNode) and not node.flow_style and node.value:
        last = node.value[-1]
        return _end(last[1] if isinstance(last, tuple) else last)
    mark = node.end_mark
    return int(mark.line) + (1 if mark.column else 0)
