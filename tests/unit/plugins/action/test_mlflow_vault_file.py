"""The action that keeps secrets in an encrypted file: what it refuses, without a playbook."""

from __future__ import annotations

import datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import yaml
from ansible.errors import AnsibleActionFail
from ansible.parsing.dataloader import DataLoader
from ansible.parsing.vault import VaultLib, VaultSecret

from ansible_collections.mlops.mlflow.plugins.action.mlflow_vault_file import ActionModule

DEV = ("dev", VaultSecret(b"password-dev"))
WRONG = ("dev", VaultSecret(b"password-wrong"))
PROD = ("prod", VaultSecret(b"password-prod"))
OTHER = ("default", VaultSecret(b"password-dev"))


def act(path: Path, *secrets: tuple[str, VaultSecret], check: bool = False, **arguments: Any) -> dict[str, Any]:
    loader: Any = DataLoader()
    loader.set_vault_secrets(list(secrets))
    task: Any = SimpleNamespace(
        args={"path": str(path), **arguments},
        async_val=0,
        check_mode=check,
        diff=False,
        action="mlops.mlflow.mlflow_vault_file",
        no_log=True,
    )
    parts: dict[str, Any] = {
        "templar": None,
        "shared_loader_obj": None,
        "connection": SimpleNamespace(_shell=SimpleNamespace(tmpdir="unused")),
    }
    context: Any = SimpleNamespace(check_mode=check)
    action = ActionModule(task=task, play_context=context, loader=loader, **parts)
    return action.run(None, {})


def encrypted(text: str, secret: tuple[str, VaultSecret] = DEV, vault_id: str | None = "dev") -> bytes:
    cipher: bytes = VaultLib([secret]).encrypt(text, secret=secret[1], vault_id=vault_id)
    return cipher


@pytest.fixture
def vault(tmp_path: Path) -> Path:
    return tmp_path / "group_vars/mlflow/vault.yml"


def existing(vault: Path, content: bytes) -> Path:
    vault.parent.mkdir(parents=True)
    vault.write_bytes(content)
    vault.chmod(0o600)
    return vault


def test_values_are_added_once(vault: Path) -> None:
    first = act(vault, DEV, vault_id="dev", values={"mlflow_a": "x", "mlflow_b": "y"})
    assert (first["changed"], first["added"], first["present"]) == (True, ["mlflow_a", "mlflow_b"], [])
    before = vault.read_bytes()
    again = act(vault, DEV, vault_id="dev", values={"mlflow_a": "z"})
    assert (again["changed"], again["added"], again["present"]) == (False, [], ["mlflow_a", "mlflow_b"])
    assert vault.read_bytes() == before
    assert "x" not in str(again.values())


def test_values_are_replaced_when_that_is_asked_for_and_their_days_are_kept(vault: Path) -> None:
    today = datetime.datetime.now(datetime.UTC).date().isoformat()
    act(vault, DEV, vault_id="dev", values={"mlflow_a": "x", "mlflow_b": "y"}, dates="mlflow_days")
    values = {"mlflow_a": "z", "mlflow_b": "y", "mlflow_journal": {"step": {"of": "three"}}}
    given: dict[str, Any] = {"vault_id": "dev", "values": values, "replace": True, "dates": "mlflow_days"}
    predicted = act(vault, DEV, check=True, **given)
    done = act(vault, DEV, **given)
    for said in (predicted, done):
        assert (said["changed"], said["added"], said["replaced"]) == (True, ["mlflow_journal"], ["mlflow_a"])
    held = yaml.safe_load(VaultLib([DEV]).decrypt(vault.read_bytes()))
    assert held == {**values, "mlflow_days": {"mlflow_a": today, "mlflow_b": today}}
    before = vault.read_bytes()
    assert act(vault, DEV, **given)["changed"] is False
    assert vault.read_bytes() == before


def test_check_mode_writes_nothing(vault: Path) -> None:
    assert act(vault, DEV, check=True, vault_id="dev", values={"mlflow_a": "x"})["changed"]
    assert not vault.parent.exists()


def test_looking_changes_nothing(vault: Path) -> None:
    assert act(vault)["changed"] is False
    existing(vault, encrypted("mlflow_a: x\n")).chmod(0o644)
    assert act(vault, DEV)["changed"] is False
    assert act(vault, DEV, vault_id="dev")["present"] == ["mlflow_a"]
    assert vault.stat().st_mode & 0o777 == 0o644


@pytest.mark.parametrize("secrets", [(DEV,), (PROD, DEV), (WRONG, DEV)])
def test_any_password_that_opens_the_file_will_do(vault: Path, secrets: tuple[tuple[str, VaultSecret], ...]) -> None:
    assert act(existing(vault, encrypted("a: b\n")), *secrets)["present"] == ["a"]


def test_a_file_without_a_vault_id_gets_the_environments(vault: Path) -> None:
    existing(vault, encrypted("a: b\n", vault_id=None))
    assert act(vault, OTHER)["present"] == ["a"]
    assert act(vault, DEV, vault_id="dev", values={"mlflow_a": "x"})["changed"]
    assert vault.read_bytes().startswith(b"$ANSIBLE_VAULT;1.2;AES256;dev\n")


@pytest.mark.parametrize(
    ("content", "secrets", "arguments", "sentence"),
    [
        (None, [], {"vault_id": "dev"}, "[SECRETS_VAULT_ID] PATH: no vault password with the id dev was given. Start"),
        (
            None,
            [PROD],
            {"vault_id": "dev"},
            "[SECRETS_VAULT_ID] PATH: no vault password with the id dev was given (given: prod).",
        ),
        (encrypted("a: b\n"), [], {}, "[SECRETS_VAULT_ID] PATH: no vault password with the id dev was given. Start"),
        (
            encrypted("a: b\n", vault_id=None),
            [],
            {},
            "[SECRETS_VAULT_ID] PATH: no vault password with the id <environment>",
        ),
        (encrypted("a: b\n"), [WRONG], {}, "[SECRETS_VAULT_PASSWORD] PATH: the password given with the vault id dev"),
        (
            encrypted("a: b\n"),
            [DEV, PROD],
            {"vault_id": "prod"},
            "[SECRETS_FILE] PATH: it is encrypted for the environment dev, and mlflow_environment=prod.",
        ),
        (
            b"a: secret\n",
            [DEV],
            {},
            "[SECRETS_FILE] PATH: it is not encrypted. Encrypt it: ansible-vault encrypt --encrypt",
        ),
        (b"$ANSIBLE_VAULT;1.2;AES256;dev\nzz\n", [DEV], {}, "[SECRETS_VAULT_PASSWORD] PATH:"),
        (b"$ANSIBLE_VAULT;1.2\n", [DEV], {}, "[SECRETS_FILE] PATH: it is damaged."),
        (
            encrypted("- secret\n"),
            [DEV],
            {},
            "[SECRETS_FILE] PATH: the decrypted text is not a mapping of names to values.",
        ),
        (encrypted("a: [secret\n"), [DEV], {}, "[SECRETS_FILE] PATH: the decrypted text is not YAML in line 2."),
    ],
)
def test_what_cannot_be_used_is_refused_in_one_sentence(
    vault: Path,
    content: bytes | None,
    secrets: list[tuple[str, VaultSecret]],
    arguments: dict[str, Any],
    sentence: str,
) -> None:
    if content is not None:
        existing(vault, content)
    with pytest.raises(AnsibleActionFail) as caught:
        act(vault, *secrets, **arguments)
    message = str(caught.value)
    assert message.startswith(sentence.replace("PATH", str(vault)))
    assert message.endswith("Nothing was changed.")
    assert "secret" not in message.replace("SECRETS", "").replace("secrets", "")
    assert (vault.read_bytes() if content is not None else None) == content


def test_a_place_that_cannot_be_written_is_refused(tmp_path: Path) -> None:
    (tmp_path / "group_vars").write_text("a file where a directory should be")
    with pytest.raises(
        AnsibleActionFail, match=r"^\[SECRETS_FILE\] .*: it cannot be (read|written) \(Not a directory\)"
    ):
        act(tmp_path / "group_vars/vault.yml", DEV, vault_id="dev", values={"mlflow_a": "x"})
