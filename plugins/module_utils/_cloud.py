# Copyright (c) 2026 the mlops.mlflow maintainers
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What a cloud's control plane has to be told, from what it says is there. Pure; _cloud_client.py asks and tells.

A resource is what a GET shows. What is wanted is a part of it: what the collection does not speak of stays as somebody else made it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

MISSING = None


@dataclass(frozen=True)
class Call:
    """A request that changes something."""

    method: str
    url: str
    body: Any


@dataclass(frozen=True)
class Resource:
    """One thing of a cloud, and what it has to be like.

    Attributes:
        name: what a sentence calls it, for example "the bucket acme-mlflow".
        url: what a GET is sent to.
        wanted: a part of what the GET shall show.
        make: how it is made; None if this collection does not make it.
        change: the method and URL with which it is changed. PATCH sends what differs, PUT all that is wanted.
        whole: paths of what a change replaces as a whole: what stands there is sent along.
        fixed: paths below `wanted` that no request can change.
        mark: path at which the name of the environment stands; empty if it carries none.
        entries: what a list has to hold beside what others have put there.
        entries_at: path of that list.
        entries_by: paths within an entry that tell it from others.
        patient: refusals may be about something made just now that the cloud does not know everywhere yet.
    """

    name: str
    url: str
    wanted: Mapping[str, Any] = field(default_factory=dict)
    make: Call | None = None
    change: tuple[str, str] = ("PATCH", "")
    whole: tuple[str, ...] = ()
    fixed: tuple[str, ...] = ()
    mark: str = ""
    entries: tuple[Mapping[str, Any], ...] = ()
    entries_at: str = ""
    entries_by: tuple[str, ...] = ("name",)
    patient: bool = False


@dataclass(frozen=True)
class Difference:
    """One value that is not what is wanted."""

    path: str
    found: Any
    wanted: Any

    def __str__(self) -> str:
        """As a sentence says it."""
        return f"{self.path} is {_said(self.found)}, wanted is {_said(self.wanted)}"


def _said(value: Any) -> str:
    if value is MISSING:
        return "not set"
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(value)


def at(found: Any, path: str) -> Any:
    """The value at a path with dots; None if there is none."""
    for name in path.split("."):
        if not isinstance(found, Mapping):
            return MISSING
        found = found.get(name)
    return found


def differences(found: Any, wanted: Any, path: str = "") -> list[Difference]:
    """Where what was found does not hold what is wanted, by path."""
    if isinstance(wanted, Mapping):
        there = found if isinstance(found, Mapping) else {}
        return [
            one
            for name, value in wanted.items()
            for one in differences(there.get(name), value, f"{path}.{name}".lstrip("."))
        ]
    return [] if _same(found, wanted) else [Difference(path, found, wanted)]


def _same(found: Any, wanted: Any) -> bool:
    """Tell whether a value says what is wanted: clouds add defaults to rules, sort lists of words, and write numbers as texts."""
    if isinstance(wanted, list):
        if not isinstance(found, list) or len(found) != len(wanted):
            return not wanted and found is MISSING
        if all(isinstance(one, str) for one in [*wanted, *found]):
            return sorted(found) == sorted(wanted)
        return all(not differences(one, other) for one, other in zip(found, wanted, strict=True))
    if isinstance(wanted, bool):
        return bool(found) is wanted
    if isinstance(wanted, int):
        return str(found) == str(wanted)
    if isinstance(wanted, str) and isinstance(found, str):
        # Places, classes and permissions are words that clouds write as they like; names of their own they repeat as they were given.
        return found.casefold() == wanted.casefold()
    return bool(found == wanted)


def merged(found: Any, wanted: Any) -> Any:
    """What was found, with what is wanted in it; lists are replaced."""
    if not isinstance(wanted, Mapping):
        return wanted
    there = dict(found) if isinstance(found, Mapping) else {}
    return {**there, **{name: merged(there.get(name), value) for name, value in wanted.items()}}


def _only(wanted: Mapping[str, Any], paths: Sequence[str], before: str = "") -> dict[str, Any]:
    """The part of what is wanted that holds these paths."""
    part: dict[str, Any] = {}
    for name, value in wanted.items():
        path = f"{before}.{name}".lstrip(".")
        if path in paths:
            part[name] = value
        elif isinstance(value, Mapping) and (below := _only(value, paths, path)):
            part[name] = below
    return part


def is_public(policy: Mapping[str, Any]) -> list[str]:
    """The roles that a policy of Google gives to everybody."""
    everybody = {"allUsers", "allAuthenticatedUsers"}
    return [str(one["role"]) for one in policy.get("bindings") or [] if everybody & set(one.get("members") or [])]


def _nested(path: str, value: Any) -> dict[str, Any]:
    """An object that holds one value at a path."""
    for name in reversed(path.split(".")):
        value = {name: value}
    return dict(value)


def _entries_missing(resource: Resource, found: Mapping[str, Any]) -> list[Difference]:
    there = {_key(resource, one): one for one in at(found, resource.entries_at) or []}
    missing = []
    for entry in resource.entries:
        name = " ".join(part for part in _key(resource, entry) if part)
        of_it = there.get(_key(resource, entry))
        if of_it is None:
            missing.append(Difference(name, MISSING, "there"))
        else:
            missing += differences(of_it, entry, name)
    return missing


def _key(resource: Resource, entry: Mapping[str, Any]) -> tuple[str, ...]:
    return tuple(str(at(entry, path) or "") for path in resource.entries_by)


@dataclass(frozen=True)
class Decision:
    """What becomes of a resource.

    Attributes:
        call: what is sent; None if everything is as it should be, or nothing can be done.
        differs: what is not as it should be; of something that is to be made, empty.
        finding: why nothing can be done: "missing", "fixed", "foreign", "unmarked" or ""; `said` says it.
    """

    call: Call | None = None
    differs: tuple[Difference, ...] = ()
    finding: str = ""
    said: str = ""


def decide(
    resource: Resource, found: Mapping[str, Any] | None, environment: str, *, adopt: bool, empty: bool
) -> Decision:
    """Compare a resource with what was found.

    Args:
        resource: what it has to be like.
        found: what a GET showed; None if it is not there.
        environment: whose it has to be.
        adopt: take over what carries no mark.
        empty: nothing is in it, so that nobody loses anything.
    """
    if found is None:
        if resource.make is None:
            return Decision(finding="missing", said=f"{resource.name} does not exist")
        return Decision(call=resource.make)
    if resource.mark:
        owner = at(found, resource.mark)
        if owner not in (MISSING, "", environment):
            return Decision(
                finding="foreign", said=f"{resource.name} belongs to the environment {owner!r}, not to {environment!r}"
            )
        if not owner and not adopt and not empty:
            return Decision(finding="unmarked", said=f"{resource.name} exists and carries the name of no environment")
    differing = _entries_missing(resource, found) if resource.entries else differences(found, resource.wanted)
    if not differing:
        return Decision()
    stuck = [one for one in differing if one.path in resource.fixed]
    if stuck:
        return Decision(finding="fixed", differs=tuple(stuck), said=f"{resource.name}: {stuck[0]}")
    return Decision(_change(resource, found, differing), tuple(differing))


def _change(resource: Resource, found: Mapping[str, Any], differing: Sequence[Difference]) -> Call:
    method, url = resource.change
    touched = [one.path for one in differing]
    body: Any = resource.wanted if method == "PUT" else _only(resource.wanted, touched)
    for path in resource.whole:
        if at(found, path) is not MISSING and (
            method == "PUT" or any(f"{one}.".startswith(f"{path}.") for one in touched)
        ):
            body = merged(_nested(path, at(found, path)), body)
    if resource.entries:
        own = {_key(resource, one) for one in resource.entries}
        others = [one for one in at(found, resource.entries_at) or [] if _key(resource, one) not in own]
        body = merged(body, _nested(resource.entries_at, [*others, *resource.entries]))
    return Call(method, url, body)
