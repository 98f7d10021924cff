#!/usr/bin/python
# Copyright (c) 2026 the mlops.mlflow maintainers
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Check a Redis or Valkey that is to keep sessions; the documentation is in the .yml file of the same name."""

from __future__ import annotations

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.mlops.mlflow.plugins.module_utils import _check, _probe, _redis, _redis_probe


def main() -> None:
    """Ask, judge, report."""
    module = AnsibleModule(
        argument_spec={
            **_check.OPTIONS,
            "server": {"type": "str", "required": True},
            "password": {"type": "str", "default": "", "no_log": True},
        },
        supports_check_mode=True,
    )
    host, seconds = _check.begin(module)
    server = module.params["server"]
    try:
        name, port = _redis.place(server)
    except ValueError as error:
        _check.finish(module, [_redis.silent(f"{error}.", server, host)])
    request = {"host": name, "port": port, "password": module.params["password"], "seconds": max(seconds / 2, 0.5)}
    outcome = _probe.run(_redis_probe, request, seconds=seconds)
    reason = _check.no_answer(outcome, seconds)
    _check.finish(
        module, [_redis.silent(reason, server, host)] if reason else _redis.judge(outcome.answer, server, host)
    )


if __name__ == "__main__":
    main()
