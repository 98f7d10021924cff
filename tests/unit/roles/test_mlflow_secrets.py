"""Secrets of an environment: made once, kept for ever, readable with the environment's password only."""

from __future__ import annotations

import datetime
import re
import shutil
from pathlib import Path
from typing import Any

import pytest
import yaml
from ansible.parsing.vault import VaultLib, VaultSecret
from cryptography import x509
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from ansible_collections.mlops.mlflow.tests.unit.support.playbook import ROOT, Played, play, tool

NAMES = {
    "mlflow_admin_password",
    "mlflow_flask_secret_key",
    "mlflow_crypto_kek_passphrase",
    "mlflow_database_migrator_password",
    "mlflow_database_server_a_password",
    "mlflow_database_server_b_password",
    "mlflow_backup_passphrase",
    "mlflow_certificates_ca_private_key",
    "mlflow_certificates_ca_certificate",
}


class Site:
    """An inventory of its own, with passwords for its vault."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.inventory = folder / "inventory"
        self.vault = self.inventory / "group_vars/mlflow/vault.yml"
        shutil.copytree(ROOT / "inventories/dev", self.inventory, ignore=shutil.ignore_patterns("vault.yml"))
        for name in ("right", "new"):
            (folder / name).write_text(f"password-{name}\n")

    def run(self, *arguments: str, password: str | None = "right") -> Played:
        given = [] if password is None else ["--vault-id", f"dev@{self.folder / password}"]
        return play(self.folder, ROOT / "playbooks/secrets.yml", "-i", str(self.inventory), *given, *arguments)

    def library(self, password: str) -> VaultLib:
        return VaultLib([("dev", VaultSecret(f"password-{password}".encode()))])

    def text(self, password: str = "right") -> str:
        text: str = self.library(password).decrypt(self.vault.read_bytes()).decode()
        return text

    def values(self, password: str = "right") -> dict[str, Any]:
        values: dict[str, Any] = yaml.safe_load(self.text(password))
        return values

    def secrets(self, password: str = "right") -> dict[str, str]:
        return {name: value for name, value in self.values(password).items() if name != "mlflow_secrets_dates"}

    def replace(self, text: str) -> None:
        library = self.library("right")
        self.vault.write_bytes(library.encrypt(text, secret=library.secrets[0][1], vault_id="dev"))


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[Site, Played, Played]:
    """An environment whose secrets were predicted by check mode and then made."""
    site = Site(tmp_path_factory.mktemp("secrets"))
    predicted = site.run("--check", "--diff")
    assert not site.vault.exists(), "check mode wrote the file"
    return site, predicted, site.run("-vvv", "--diff")


@pytest.fixture
def site(made: tuple[Site, Played, Played], tmp_path: Path) -> Site:
    """A copy of that environment, free to be changed."""
    copy = Site(tmp_path)
    shutil.copy2(made[0].vault, copy.vault)
    return copy


def test_every_secret_is_made_into_an_encrypted_file_of_its_owner(made: tuple[Site, Played, Played]) -> None:
    site, _predicted, run = made
    assert run.code == 0, run.output
    assert set(site.secrets()) == NAMES
    assert site.vault.stat().st_mode & 0o777 == 0o600
    assert site.vault.read_text().startswith("$ANSIBLE_VAULT;1.2;AES256;dev\n")
    assert sorted(path.name for path in site.vault.parent.iterdir()) == ["main.yml", "vault.yml"]


def test_check_mode_predicts_what_is_then_made(made: tuple[Site, Played, Played]) -> None:
    _site, predicted, run = made
    assert predicted.code == 0, predicted.output
    assert predicted.changed == run.changed > 0
    listed = [re.search(r": (?:would make|made) (mlflow_[a-z_, ]+)", played.output) for played in (predicted, run)]
    assert [set(match[1].split(", ")) if match else set() for match in listed] == [NAMES, NAMES]


def test_no_secret_is_in_the_most_talkative_output(made: tuple[Site, Played, Played]) -> None:
    site, _predicted, run = made
    for name, value in site.secrets().items():
        for line in value.strip().splitlines():
            assert line.startswith("-----") or line not in run.output, name


def test_secrets_are_strong_and_differ(made: tuple[Site, Played, Played]) -> None:
    secrets = made[0].secrets()
    assert len(set(secrets.values())) == len(secrets)
    assert min(len(value) for value in secrets.values()) >= 32
    assert all(value.isalnum() for name, value in secrets.items() if "certificates" not in name)


def test_the_file_tells_since_when_each_secret_is_what_it_is(made: tuple[Site, Played, Played]) -> None:
    today = datetime.datetime.now(datetime.UTC).date()
    days = made[0].values()["mlflow_secrets_dates"]
    assert set(days) == NAMES
    assert {datetime.date.fromisoformat(day) for day in days.values()} <= {today, today - datetime.timedelta(1)}


def authority(secrets: dict[str, str]) -> x509.Certificate:
    certificate = x509.load_pem_x509_certificate(secrets["mlflow_certificates_ca_certificate"].encode())
    key = load_pem_private_key(secrets["mlflow_certificates_ca_private_key"].encode(), password=None)
    assert certificate.public_key() == key.public_key()
    return certificate


def test_the_authority_can_sign_for_ten_years_and_for_no_other_authority(made: tuple[Site, Played, Played]) -> None:
    certificate = authority(made[0].secrets())
    assert certificate.subject == certificate.issuer
    assert certificate.subject.rfc4514_string() == "CN=MLflow dev authority"
    assert 3649 <= (certificate.not_valid_after_utc - certificate.not_valid_before_utc).days <= 3650
    constraints = certificate.extensions.get_extension_for_class(x509.BasicConstraints)
    assert constraints.critical
    assert (constraints.value.ca, constraints.value.path_length) == (True, 0)
    assert certificate.extensions.get_extension_for_class(x509.KeyUsage).value.key_cert_sign
    assert certificate.extensions.get_extension_for_class(x509.SubjectKeyIdentifier)


def test_a_second_run_changes_nothing(site: Site) -> None:
    before = site.vault.read_bytes()
    again = site.run()
    assert (again.code, again.changed) == (0, 0), again.output
    assert "every secret is there" in again.output
    assert site.vault.read_bytes() == before


def test_what_is_missing_is_added_and_all_else_is_kept(site: Site) -> None:
    """One secret and the authority's certificate are lost, another one comes from a lookup, and there are values of one's own."""
    before = site.secrets()
    main = site.vault.parent / "main.yml"
    main.write_text(main.read_text() + "mlflow_flask_secret_key: \"{{ lookup('ansible.builtin.env', 'SITE_KEY') }}\"\n")
    text = site.text().split("mlflow_certificates_ca_certificate:")[0]
    for name in ("mlflow_admin_password", "mlflow_flask_secret_key"):
        text = re.sub(rf"^{name}:.*\n", "", text, flags=re.M)
    site.replace(text + "# a token of our own\nmlflow_site_token: abc\nother: [1, 2]\n")

    run = site.run()
    assert run.code == 0, run.output
    assert "made mlflow_admin_password, mlflow_certificates_ca_certificate" in run.output
    after = site.secrets()
    assert "# a token of our own" in site.text()
    assert set(after) == (NAMES - {"mlflow_flask_secret_key"}) | {"mlflow_site_token", "other"}
    made_anew = {"mlflow_admin_password", "mlflow_certificates_ca_certificate"}
    for name in NAMES - {"mlflow_flask_secret_key"}:
        assert (after[name] == before[name]) == (name not in made_anew), name
    authority(after)


def test_single_sign_on_has_secrets_of_its_own(site: Site) -> None:
    main = site.vault.parent / "main.yml"
    main.write_text(main.read_text() + "mlflow_auth: oidc\n")
    run = site.run()
    assert run.code == 0, run.output
    assert "made mlflow_gate_crypto_passphrase, mlflow_identity_key" in run.output
    assert set(site.secrets()) == NAMES | {"mlflow_gate_crypto_passphrase", "mlflow_identity_key"}


def refused(run: Played, sentence: str) -> None:
    assert run.code != 0
    assert len(run.sentences) == 1, run.output
    assert run.sentences[0].startswith(sentence), run.output
    assert run.sentences[0].endswith("Nothing was changed.")
    assert "Traceback" not in run.output


def test_rekeying_as_documented(site: Site) -> None:
    before = site.secrets()
    ids = ["--vault-id", f"dev@{site.folder / 'right'}", "--new-vault-id", f"dev@{site.folder / 'new'}"]
    done = tool(site.folder, "ansible-vault", "rekey", *ids, str(site.vault))
    assert done.code == 0, done.output
    assert site.secrets("new") == before
    assert site.vault.read_text().startswith("$ANSIBLE_VAULT;1.2;AES256;dev\n")
    site.vault.chmod(0o644)
    closed = site.run(password="new")
    assert (closed.code, closed.changed) == (0, 1), closed.output
    assert site.vault.stat().st_mode & 0o777 == 0o600
    assert site.secrets("new") == before
    refused(
        site.run(), f"[SECRETS_VAULT_PASSWORD] {site.vault}: the password given with the vault id dev does not open"
    )


def test_no_password_is_one_sentence(site: Site) -> None:
    site.vault.unlink()
    refused(site.run(password=None), f"[SECRETS_VAULT_ID] {site.vault}: no vault password with the id dev was given.")
    assert not site.vault.exists()


def test_an_inventory_without_the_group_is_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "hosts").write_text("app1\n")
    run = play(tmp_path, ROOT / "playbooks/secrets.yml", "-i", str(tmp_path / "hosts"))
    refused(run, f"[INVENTORY_MISSING] {tmp_path / 'hosts'}: there is no group mlflow.")
