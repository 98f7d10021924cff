#!/usr/bin/python
# Copyright (c) 2026 the mlops.mlflow maintainers
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Bring back what was deleted from a bucket since a moment; the documentation is in the .yml file of the same name."""

from __future__ import annotations

import platform
import time
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.mlops.mlflow.plugins.module_utils._artifact_audit import printable
from ansible_collections.mlops.mlflow.plugins.module_utils._artifact_objects import OPTIONS, Bucket, StoreError
from ansible_collections.mlops.mlflow.plugins.module_utils._artifact_uri import ArtifactUriError, parse
from ansible_collections.mlops.mlflow.plugins.module_utils._artifacts import refuse
from ansible_collections.mlops.mlflow.plugins.module_utils._check import sentence
from ansible_collections.mlops.mlflow.plugins.module_utils._findings import report
from ansible_collections.mlops.mlflow.plugins.module_utils._restore import moment_of
from ansible_collections.mlops.mlflow.plugins.module_utils._s3_versions import markers_since

ARGUMENTS: dict[str, Any] = {
    **OPTIONS,
    "host": {"type": "str", "default": ""},
    "moment": {"type": "str", "required": True},
    "tolerance": {"type": "int", "default": 30},
    "after": {"type": "str", "default": "", "no_log": False},
    "seconds": {"type": "int", "default": 60},
}
_NAMED = 20
_WORKERS = 16


def bring_back(bucket: Bucket, found: Iterable[tuple[str, Sequence[str]]]) -> Iterator[str]:
    """Take the markers of several objects away, side by side; of one object in their order. Yields each object that is back."""

    def one(item: tuple[str, Sequence[str]]) -> str:
        for version in item[1]:
            bucket.remove_version(item[0], version)
        return item[0]

    with ThreadPoolExecutor(_WORKERS) as pool:
        yield from pool.map(one, found)


def undelete(bucket: Bucket, given: dict[str, Any], told: dict[str, Any], *, check_mode: bool) -> None:
    """Go through the bucket until its end, or until the seconds are over; what was done stands in `told` also after an error.

    Raises:
        StoreError: what the store said.
        ValueError: the moment is none.
    """
    moment = moment_of(given["moment"])
    told["versioning"] = bucket.versioning()
    end = time.monotonic() + given["seconds"]
    for page, more in bucket.histories(given["after"]):
        markers = [(key, markers_since(entries, moment, given["tolerance"])) for key, entries in page.items()]
        found = [one for one in markers if one[1]]
        for key in [one[0] for one in found] if check_mode else bring_back(bucket, found):
            told["objects"] += 1
            if len(told["names"]) < _NAMED:
                told["names"].append(printable(key))
        told["looked_at"] += len(page)
        told["next"] = more
        if time.monotonic() > end:
            return


def main() -> None:
    """Act and report."""
    module = AnsibleModule(argument_spec=ARGUMENTS, supports_check_mode=True)
    given = module.params
    host = given["host"] or platform.node() or "localhost"
    told: dict[str, Any] = {"versioning": "", "looked_at": 0, "objects": 0, "names": [], "next": ""}
    findings = []
    try:
        place = parse(given["uri"])
        if place.kind != "s3":
            raise StoreError(f"{place.uri} is no bucket of S3")
        undelete(Bucket(place, given), given, told, check_mode=module.check_mode)
    except ArtifactUriError as error:
        findings = [refuse(error, host)]
    except ValueError as error:
        module.fail_json(msg=f"moment={given['moment']}: {error}", findings=[])
    except StoreError as error:
        done = f" {told['objects']} objects had come back before." if told["objects"] else ""
        findings = [report("RESTORE_VERSIONS", host=host, summary=f"{error}.{done}")]
    changed = told["objects"] > 0
    if findings:
        module.fail_json(msg=sentence(findings[0]), changed=changed, findings=findings, **told)
    module.exit_json(changed=changed, findings=[], **told)


if __name__ == "__main__":
    main()
