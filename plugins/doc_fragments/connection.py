# Copyright (c) 2026 the mlops.mlflow maintainers
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The options of all modules that ask a URL (plugins/module_utils/_rest.py)."""

from __future__ import annotations


class ModuleDocFragment:
    """One fragment: where to ask, as whom, and whom to trust."""

    DOCUMENTATION = r"""
options:
  url:
    description:
      - Where to ask, for example V(https://mlflow.example.com). A login within it is refused.
    type: str
    required: true
  username:
    description:
      - Login of Basic authentication. No login is sent if it is empty.
    type: str
    default: ""
  password:
    description:
      - Password of O(username). Any character may be in it.
    type: str
    default: ""
  token:
    description:
      - A token that is sent as a bearer's in place of O(username), for servers behind single sign-on.
    type: str
    default: ""
  ca_file:
    description:
      - File on the host that asks, with the authorities to trust in place of the system's.
    type: str
    default: ""
  client_certificate:
    description:
      - File on the host that asks, with a certificate for a server that wants one.
    type: str
    default: ""
  client_key:
    description:
      - File with the key of O(client_certificate), if it is not in the same file.
    type: str
    default: ""
  address:
    description:
      - Connect to this address, and verify the name of O(url) nevertheless. For hosts behind one name, or before its record exists.
    type: str
    default: ""
notes:
  - Proxies of the environment are not used, and redirects are not followed.
"""
