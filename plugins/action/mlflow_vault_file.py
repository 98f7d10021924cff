# Copyright (c) 2026 the mlops.mlflow maintainers
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Action: keep secrets in a vault-encrypted file on the controller; documented in plugins/modules/mlflow_vault_file.yml.

An action, because only the controller's process holds the passwords that the operator gave with --vault-id: asking for
them a second time, or copying them into a variable, would put them into more places. Ansible has no public way to them;
`DataLoader._vault.secrets` has held them since Ansible 2.4. This is the only private name used, in one function, and the
tests run it with every ansible-core we support.
"""

from __future__ import annotations

import datetime
import json
import os
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NoReturn

from ansible.errors import AnsibleActionFail, AnsibleError
from ansible.parsing.vault import VaultLib, is_encrypted, match_secrets, parse_vaulttext_envelope
from ansible.plugins.action import ActionBase

from ansible_collections.mlops.mlflow.plugins.module_utils._findings import render
from ansible_collections.mlops.mlflow.plugins.plugin_utils import _vault_file

_HEADER = (
    "# Secrets of this environment, made by mlops.mlflow.secrets. What is missing is made again, what is here stays.\n"
    "# Change a value with ansible-vault edit, the password with ansible-vault rekey."
)
_ANONYMOUS = ("", "default")


def _given_secrets(loader: Any) -> list[tuple[str, Any]]:
    """Return the vault ids and passwords the operator gave."""
    try:
        return list(loader._vault.secrets or [])
    except AttributeError:
        raise AnsibleActionFail(
            "This release of ansible-core keeps vault passwords elsewhere; mlops.mlflow.mlflow_vault_file has to learn where."
        ) from None


def _refuse(finding_id: str, path: Path, said: str, fix: str = "") -> NoReturn:
    raise AnsibleActionFail(render(finding_id, host=str(path), variable=said, fix=fix))


def _write(path: Path, content: bytes) -> None:
    """Replace the file in one step; nobody but its owner can read it at any moment."""
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(descriptor, "wb") as file:
            os.fchmod(descriptor, 0o600)
            file.write(content)
            file.flush()
            os.fsync(descriptor)
        Path(name).replace(path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except FileNotFoundError:
        return b""
    except OSError as error:
        _refuse("SECRETS_FILE", path, f"it cannot be read ({error.strerror})", "Correct its owner and mode")


def _plain(value: Any) -> Any:
    """Return a text, or a mapping without the tags that Ansible puts on its values."""
    return json.loads(json.dumps(value)) if isinstance(value, Mapping) else str(value)


def _label(path: Path, cipher: bytes, vault_id: str) -> str:
    """Return the vault id that the encrypted file bears in clear text, empty if none."""
    if not is_encrypted(cipher):
        example = vault_id or "<environment>"
        _refuse(
            "SECRETS_FILE",
            path,
            "it is not encrypted",
            f"Encrypt it: ansible-vault encrypt --encrypt-vault-id {example} --vault-id {example}@prompt {path}",
        )
    try:
        label = str(parse_vaulttext_envelope(cipher)[3] or "")
    except AnsibleError:
        _refuse("SECRETS_FILE", path, "it is damaged", "Restore it from version control or a backup")
    return "" if label in _ANONYMOUS else label


class ActionModule(ActionBase):
    """Keep secrets in a vault-encrypted file on the controller."""

    TRANSFERS_FILES = False
    _requires_connection = False

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        """Look at the file, and add what is missing."""
        result: dict[str, Any] = super().run(tmp, task_vars)
        validate: Any = self.validate_argument_spec
        _validation, options = validate(
            argument_spec={
                "path": {"type": "path", "required": True},
                "vault_id": {"type": "str", "default": ""},
                "values": {"type": "dict", "default": {}, "no_log": True},
                "replace": {"type": "bool", "default": False},
                "dates": {"type": "str", "default": ""},
            }
        )
        path, vault_id, dates = Path(options["path"]).absolute(), str(options["vault_id"]), str(options["dates"])
        wanted = {str(name): _plain(value) for name, value in options["values"].items()}
        secrets = _given_secrets(self._loader)

        cipher = _read(path)
        text = ""
        if cipher.strip():
            label = _label(path, cipher, vault_id)
            if label and vault_id and label != vault_id:
                _refuse(
                    "SECRETS_FILE",
                    path,
                    f"it is encrypted for the environment {label}, and mlflow_environment={vault_id}",
                    "Each environment has secrets of its own: remove the file or correct mlflow_environment",
                )
            self._require_id(path, vault_id or label, secrets)
            try:
                text = VaultLib(secrets).decrypt(cipher).decode()
            except (AnsibleError, UnicodeDecodeError):
                _refuse(
                    "SECRETS_VAULT_PASSWORD",
                    path,
                    f"the password given with the vault id {vault_id or label} does not open it",
                    "Give the password it was encrypted with",
                )
        elif vault_id:
            self._require_id(path, vault_id, secrets)

        try:
            present = _vault_file.parse(text)
            written = _vault_file.different(text, wanted) if options["replace"] else _vault_file.missing(text, wanted)
        except _vault_file.NotAMapping as error:
            _refuse("SECRETS_FILE", path, f"the decrypted text {error}", "Correct it with ansible-vault edit")
        open_mode = bool(cipher) and path.stat().st_mode & 0o077 != 0
        held = sorted(name for name, value in present.items() if value not in (None, ""))
        result.update(
            path=str(path),
            added=sorted(set(written) - set(held)),
            replaced=sorted(set(written) & set(held)),
            present=held,
            changed="values" in self._task.args and (bool(written) or open_mode),
        )
        if result["changed"] and not self._task.check_mode:
            try:
                if written:
                    if dates:
                        today = datetime.datetime.now(datetime.UTC).date().isoformat()
                        written = _vault_file.dated(text, written, dates, today)
                    plain = _vault_file.add(text, written, _HEADER)
                    own = match_secrets(secrets, [vault_id])[0][1]
                    _write(path, VaultLib(secrets).encrypt(plain, secret=own, vault_id=vault_id))
                else:
                    path.chmod(0o600)
            except OSError as error:
                _refuse(
                    "SECRETS_FILE",
                    path,
                    f"it cannot be written ({error.strerror})",
                    "Correct the directory's owner and mode",
                )
        return result

    @staticmethod
    def _require_id(path: Path, vault_id: str, secrets: list[tuple[str, Any]]) -> None:
        """Refuse if no password was given for the vault id; without one any password may be the right one."""
        if match_secrets(secrets, [vault_id]) if vault_id else secrets:
            return
        given = ", ".join(sorted({str(name) for name, _secret in secrets}))
        example = vault_id or "<environment>"
        _refuse(
            "SECRETS_VAULT_ID",
            path,
            f"no vault password with the id {example} was given" + (f" (given: {given})" if given else ""),
            f"Start the playbook with --vault-id {example}@prompt, or with a file or program in place of prompt",
        )
