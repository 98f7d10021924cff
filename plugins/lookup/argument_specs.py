# Copyright (c) 2026 the mlops.mlflow maintainers
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Lookup of the argument specs of this collection's roles; its documentation is in the .yml file of the same name."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml
from ansible.errors import AnsibleError
from ansible.plugins.lookup import LookupBase

# Ansible's own loader annotates every value with its origin; nobody asks for that here, and every role pays for the time.
_LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_ROLES = Path(__file__).resolve().parents[2] / "roles"


class LookupModule(LookupBase):
    """Lookup of the argument specs of this collection's roles."""

    def run(self, terms: list[str], *_variables: Any, **_options: Any) -> list[dict[str, Any]]:
        """Read the specs."""
        wanted = [str(term) for term in terms]
        specs = []
        for path in sorted(_ROLES.glob("*/meta/argument_specs.yml")):
            role = path.parents[1].name
            if wanted and role not in wanted:
                continue
            try:
                spec = yaml.load(path.read_text(encoding="utf-8"), Loader=_LOADER)
            except yaml.YAMLError as error:
                raise AnsibleError(f"The argument spec of the role {role} is not YAML: {error}") from error
            if spec:
                specs.append(spec)
        return specs
