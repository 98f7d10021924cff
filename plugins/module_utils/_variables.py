# Copyright (c) 2026 the mlops.mlflow maintainers
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Which variables a user may set: whatever the argument specs of the collection's roles name."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Mapping
from typing import Any

from ansible.module_utils.common.arg_spec import ArgumentSpecValidator

from ansible_collections.mlops.mlflow.plugins.module_utils._findings import render

# Left to users for variables of their own.
USER_PREFIX = "mlflow_site_"
_PREFIX = "mlflow_"


def known_variables(specs: Iterable[Mapping[str, Any]]) -> set[str]:
    """Return every option and alias of every entry point of the given argument specs (parsed files)."""
    known: set[str] = set()
    for spec in specs:
        for entry_point in (spec.get("argument_specs") or {}).values():
            for name, option in (entry_point.get("options") or {}).items():
                known.add(str(name))
                known.update(str(alias) for alias in (option or {}).get("aliases") or [])
    return known


def nearest(name: str, known: Iterable[str]) -> str:
    """Return the known name that resembles `name` most, or an empty string if none does.

    What all names begin with says nothing about their likeness and is left out.
    """
    rests = {entry.removeprefix(_PREFIX): entry for entry in known}
    matches = difflib.get_close_matches(name.removeprefix(_PREFIX), sorted(rests), n=1, cutoff=0.75)
    return rests[matches[0]] if matches else ""


def unknown_variables(names: Iterable[str], known: Iterable[str]) -> list[dict[str, str]]:
    """Return the names no spec knows, each with the nearest known one; names of the user's own are left alone."""
    known = set(known)
    return [
        {"name": name, "nearest": nearest(name, known)}
        for name in sorted(set(names) - known)
        if not name.startswith(USER_PREFIX)
    ]


# How a value has to look, in words of whoever sets it.
_FORMS = {
    "bool": "It is true or false",
    "dict": "It is a mapping of names to values",
    "float": "It is a number",
    "int": "It is a whole number",
    "list": "It is a list",
    "path": "It is a path",
    "str": "It is a text",
}
_PRIVATE = re.compile(r"password|passphrase|secret|private_key|database.*uri")


def is_private(name: str) -> bool:
    """Tell whether a variable may hold a secret, so that its value is never shown."""
    return bool(_PRIVATE.search(name))


def holds_secret(name: str, option: Mapping[str, Any]) -> bool:
    """Tell whether a variable, or something in it, may be a secret."""
    inside = option.get("options") or {}
    return is_private(name) or bool(option.get("no_log")) or any(holds_secret(*one) for one in inside.items())


def options_of(specs: Iterable[Mapping[str, Any]]) -> dict[str, dict[str, Any]]:
    """Return what the given argument specs say about each variable; entry points agree about it (a test compares)."""
    options: dict[str, dict[str, Any]] = {}
    for spec in specs:
        for entry_point in (spec.get("argument_specs") or {}).values():
            for name, option in (entry_point.get("options") or {}).items():
                options.setdefault(str(name), dict(option or {}))
    return options


def _form(option: Mapping[str, Any]) -> str:
    if choices := option.get("choices"):
        return f"It is one of {', '.join(str(choice) for choice in choices)}"
    kind = str(option.get("type", "str"))
    if kind == "list" and option.get("elements") in _FORMS:
        return f"It is a list of type {option['elements']}"
    return _FORMS.get(kind, f"It is of type {kind}")


def wrong_values(values: Mapping[str, Any], options: Mapping[str, Mapping[str, Any]]) -> list[dict[str, str]]:
    """Return each value that has not the form its specification asks for, judged as Ansible itself judges it.

    Returns:
        name, value (hidden where it may be a secret), limit, and nearest: the choice that resembles the value most.
    """
    wrong = []
    for name in sorted(set(values) & set(options)):
        option = {key: value for key, value in options[name].items() if key not in ("required", "default")}
        result = ArgumentSpecValidator({name: option}).validate({name: values[name]})
        if not result.error_messages:
            continue
        value = values[name]
        choices = [str(choice) for choice in option.get("choices") or []]
        private = holds_secret(name, option)
        # Of something with parts, the whole would not say where it is wrong; what Ansible says does, and may quote a value.
        inside = bool(option.get("options")) and isinstance(value, (list, dict))
        wrong.append(
            {
                "name": name,
                "value": "(not shown)" if private else "(its parts)" if inside else str(value),
                "limit": str(result.error_messages[0]).rstrip(".") if inside and not private else _form(option),
                "nearest": nearest(str(value), choices) if choices else "",
            }
        )
    return wrong


# Servers and edges know each other, and edges know each other's sessions, by these.
SHARED_SECRETS = ("identity_key", "gate_crypto_passphrase")


def variable_problems(
    hostvars: Mapping[str, Mapping[str, Any]], hosts: Iterable[str], specs: Iterable[Mapping[str, Any]]
) -> list[str]:
    """Return a sentence for each variable of the hosts that no role knows or whose value has the wrong form.

    A value that cannot be computed on the controller, such as one made from a host's facts, is left to the roles.
    """
    specs, hosts = list(specs), list(hosts)
    options, known = options_of(specs), known_variables(specs)
    said: dict[tuple[str, str, str, str], list[str]] = {}
    for host in hosts:
        variables = hostvars[host]
        names = [name for name in variables if str(name).startswith("mlflow_")]
        for entry in unknown_variables(names, known):
            said.setdefault(("VARIABLE_UNKNOWN", *unknown_parts(entry)), []).append(host)
        for entry in wrong_values(_computable(variables, names), options):
            fix = f"Did you mean {entry['nearest']}?" if entry["nearest"] else ""
            parts = (f"{entry['name']}={entry['value']}", f"{entry['limit']}. {fix}".strip())
            said.setdefault(("VARIABLE_VALUE", *parts, ""), []).append(host)
    for name in SHARED_SECRETS:
        if different := _different(name, hostvars, hosts):
            said[("OIDC_KEYS", f"mlflow_{name} differs", "", "")] = different
    return [
        render(finding, host=", ".join(hosts_of), variable=variable, limit=limit, fix=fix)
        for (finding, variable, limit, fix), hosts_of in said.items()
    ]


def _different(name: str, hostvars: Mapping[str, Mapping[str, Any]], hosts: Iterable[str]) -> list[str]:
    """List the hosts with a login at an identity provider if not all of them have the same value."""
    found = {}
    for host in hosts:
        values = _computable(
            hostvars[host], [one for one in ("mlflow_auth", f"mlflow_{name}") if one in hostvars[host]]
        )
        # One that has none may need none; if it does, its role says so.
        if values.get("mlflow_auth") == "oidc" and values.get(f"mlflow_{name}"):
            found[host] = str(values[f"mlflow_{name}"])
    return sorted(found) if len(set(found.values())) > 1 else []


def unknown_parts(entry: Mapping[str, str]) -> tuple[str, str, str]:
    """Return what is said about a variable that no role knows: variable, limit (none) and fix."""
    return (
        f"{entry['name']} is set, and no role of mlops.mlflow knows it",
        "",
        (f"Did you mean {entry['nearest']}? Correct it" if entry["nearest"] else "Remove it")
        + f", or begin its name with {USER_PREFIX} if it is your own",
    )


def _computable(variables: Mapping[str, Any], names: Iterable[str]) -> dict[str, Any]:
    values = {}
    for name in names:
        try:
            values[name] = _settled(variables[name])
        except Exception:  # whatever a template of the user's raises: the role that uses it will say so
            continue
    return values


def _settled(value: Any) -> Any:
    """Return the value with all its parts computed: what Ansible hands out may raise only when it is looked at."""
    if isinstance(value, Mapping):
        return {key: _settled(part) for key, part in value.items()}
    if isinstance(value, (list, tuple)):
        return [_settled(part) for part in value]
    str(value)
    return value
