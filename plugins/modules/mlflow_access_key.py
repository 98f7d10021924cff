#!/usr/bin/python
# Copyright (c) 2026 the mlops.mlflow maintainers
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Make, deactivate and delete access keys of a user; the documentation is in the .yml file of the same name."""

from __future__ import annotations

import platform
from typing import Any

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.mlops.mlflow.plugins.module_utils import _access_keys, _check, _s3_access
from ansible_collections.mlops.mlflow.plugins.module_utils._access_keys import Key


def _client(given: dict[str, Any]) -> Any:
    # Here, so that a Python without it gets a sentence.
    import boto3
    import botocore.config

    return boto3.client(
        "iam",
        **_s3_access.client_arguments({**given, "region": given["region"] or "us-east-1"}),
        # A request to make a key that is sent twice makes two.
        config=botocore.config.Config(connect_timeout=10, read_timeout=30, retries={"total_max_attempts": 1}),
    )


def _list(client: Any, user: str) -> list[Key]:
    pages = client.get_paginator("list_access_keys").paginate(UserName=user)
    entries = [entry for page in pages for entry in page["AccessKeyMetadata"]]
    if not entries:
        _require(client, user)
    return [
        Key(
            entry["AccessKeyId"],
            entry["Status"] == "Active",
            entry["CreateDate"].isoformat() if entry.get("CreateDate") else "",
        )
        for entry in entries
    ]


def _require(client: Any, user: str) -> None:
    """Raise if there is no such user: not every store says so when it is asked for the keys. Whoever may not look has to believe it."""
    try:
        client.get_user(UserName=user)
    except client.exceptions.NoSuchEntityException:
        raise
    except client.exceptions.ClientError:
        return


def _act(client: Any, user: str, todo: _access_keys.Plan) -> dict[str, Any]:
    """Do it and return what only the service knows: the new key."""
    if todo.action == "create":
        made = client.create_access_key(UserName=user)["AccessKey"]
        key = Key(made["AccessKeyId"], True, made["CreateDate"].isoformat() if made.get("CreateDate") else "")
        return {
            "key_id": key.id,
            "secret_access_key": made["SecretAccessKey"],
            "access_keys": [one.to_dict() for one in (*todo.after, key)],
        }
    if todo.action == "delete":
        client.delete_access_key(UserName=user, AccessKeyId=todo.key_id)
    elif todo.action:
        status = "Active" if todo.action == "activate" else "Inactive"
        client.update_access_key(UserName=user, AccessKeyId=todo.key_id, Status=status)
    return {}


def main() -> None:
    """Look, plan, act, report."""
    states = [_access_keys.LISTED, _access_keys.PRESENT, _access_keys.ABSENT]
    module = AnsibleModule(
        argument_spec={
            **_s3_access.OPTIONS,
            "user": {"type": "str", "required": True},
            "state": {"type": "str", "choices": states, "default": _access_keys.LISTED},
            "key_id": {"type": "str", "default": "", "no_log": False},
            "active": {"type": "bool", "default": True},
            "known": {"type": "list", "elements": "str", "default": []},
            "host": {"type": "str", "default": ""},
        },
        supports_check_mode=True,
    )
    given, user = module.params, module.params["user"]
    host = given["host"] or platform.node() or "localhost"

    if given["state"] == _access_keys.ABSENT and not given["key_id"]:
        module.fail_json(msg="state=absent: key_id says which key.", findings=[])

    def fail(finding: dict[str, str]) -> None:
        module.fail_json(msg=_check.sentence(finding), findings=[finding])

    try:
        client = _client(given)
        found = _list(client, user)
        todo = _access_keys.plan(
            found, state=given["state"], key_id=given["key_id"], active=given["active"], known=given["known"]
        )
        done = {} if module.check_mode else _act(client, user, todo)
    except _access_keys.KeyMissing as error:
        fail(_access_keys.missing(str(error), user=user, host=host))
    except Exception as error:  # whatever a driver raises is told in one sentence
        fail(_access_keys.judge(error, user=user, endpoint=given["endpoint_url"], host=host))
    answer = {
        "key_id": todo.key_id,
        "secret_access_key": "",
        "access_keys": [key.to_dict() for key in todo.after],
        **done,
    }
    module.exit_json(changed=bool(todo.action), findings=[], **answer)


if __name__ == "__main__":
    main()
