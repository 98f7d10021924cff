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


def missing(text: str, wanted: Mapping[str, str]) -> dict[str, str]:
    """Return those of the wanted values whose names the text does not hold. An empty value counts as none."""
    present = parse(text)
    return {name: value for name, value in wanted.items() if present.get(name) in (None, "")}


def add(text: str, values: Mapping[str, str], header: str) -> str:
    """Return the text with the values added at its end; comments and the user's own values stay as they are."""
    before = parse(text)
    kept = {name: value for name, value in before.items() if name not in values}
    addition = _dump(values)
    if not text.strip():
        return f"---\n{header}\n{addition}"
    if len(kept) == len(before):
        candidate = text.rstrip("\n") + "\n" + addition
        try:
            if parse(candidate) == {**before, **values}:
                return candidate
        except NotAMapping:
            pass
    # A flow mapping, an end-of-document mark or an empty value of the same name: the file is written anew.
    return f"---\n{header}\n" + _dump({**kept, **values})
