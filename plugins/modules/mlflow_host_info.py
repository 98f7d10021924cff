#!/usr/bin/python
# Copyright (c) 2026 the mlops.mlflow maintainers
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Look at a host before anything is installed; the documentation is in the .yml file of the same name."""

from __future__ import annotations

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.mlops.mlflow.plugins.module_utils._host import look


def main() -> None:
    """Read and report."""
    module = AnsibleModule(
        argument_spec={
            "install_dir": {"type": "path", "default": "/opt/mlflow"},
            "config_dir": {"type": "path", "default": "/etc/mlflow"},
            "domain": {"type": "str", "default": ""},
            "ports": {"type": "list", "elements": "int", "default": []},
            "paths": {"type": "list", "elements": "path", "default": []},
            "controller_time": {"type": "float", "default": 0.0},
            "user": {"type": "str", "default": ""},
            "group": {"type": "str", "default": ""},
            "uid": {"type": "int"},
            "gid": {"type": "int"},
        },
        supports_check_mode=True,
    )
    module.exit_json(changed=False, host=look(**module.params))


if __name__ == "__main__":
    main()
