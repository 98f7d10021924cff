# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What mlflow_certificates refuses, each with one sentence, before it writes anything: one real run, a host for each fault."""

from __future__ import annotations

import datetime
import json
import sys
from dataclasses import dataclass
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from ansible_collections.mlops.mlflow.tests.unit.support.playbook import Played, play

PLAYBOOK = """\
- hosts: all
  connection: local
  gather_facts: false
  tasks:
    - ansible.builtin.import_role: {name: mlops.mlflow.mlflow_certificates, tasks_from: preflight}
    - ansible.builtin.import_role: {name: mlops.mlflow.mlflow_certificates, tasks_from: preflight_files}
    - ansible.builtin.import_role: {name: mlops.mlflow.mlflow_certificates, tasks_from: owners}
"""
NOW = datetime.datetime.now(datetime.UTC)


@dataclass(frozen=True)
class Pair:
    """A certificate and its key."""

    certificate: x509.Certificate
    key: ec.EllipticCurvePrivateKey

    @property
    def pem(self) -> str:
        return self.certificate.public_bytes(serialization.Encoding.PEM).decode()

    @property
    def key_pem(self) -> str:
        form = (serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
        return self.key.private_bytes(*form).decode()


def issue(
    name: str, issuer: Pair | None = None, *, ca: bool = False, days: int = 30, names_authority: bool = True
) -> Pair:
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer.certificate.subject if issuer else subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(NOW - datetime.timedelta(days=60))
        .not_valid_after(NOW + datetime.timedelta(days=days))
        .add_extension(x509.BasicConstraints(ca=ca, path_length=None), critical=True)
    )
    if issuer and names_authority:
        identifier = x509.AuthorityKeyIdentifier.from_issuer_public_key(issuer.key.public_key())
        builder = builder.add_extension(identifier, critical=False)
    if not ca:
        builder = builder.add_extension(x509.SubjectAlternativeName([x509.DNSName(name)]), critical=False)
    return Pair(builder.sign(issuer.key if issuer else key, hashes.SHA256()), key)


def wanted(**changes: Any) -> dict[str, Any]:
    usual = {"name": "edge", "common_name": "mlflow.test", "dns": ["mlflow.test"], "usage": ["serverAuth"]}
    return {"mlflow_certificates_wanted": [{**usual, **changes}]}


@pytest.fixture(scope="module")
def played(tmp_path_factory: pytest.TempPathFactory) -> Played:
    home = tmp_path_factory.mktemp("certificates")
    root, other = issue("root", ca=True), issue("other root", ca=True)
    middle = issue("middle", root, ca=True)
    leaf, star = issue("mlflow.test", middle), issue("*.test", root)
    plain = issue("mlflow.test", root, names_authority=False)

    def ours(authority: Pair, key: Pair | None = None) -> dict[str, Any]:
        return {
            "mlflow_certificates_ca_certificate": authority.pem,
            "mlflow_certificates_ca_private_key": (key or authority).key_pem,
        }

    def brought(host: str, certificate: str, key: str) -> dict[str, Any]:
        for ending, text in (("pem", certificate), ("key", key)):
            (home / f"{host}.{ending}").write_text(text)
        (home / "root.pem").write_text(root.pem)
        files = {"edge": {"certificate": f"{home}/{host}.pem", "private_key": f"{home}/{host}.key"}}
        return {
            "mlflow_certificates_provider": "files",
            "mlflow_certificates_files": files,
            "mlflow_certificates_ca_files": [f"{home}/root.pem"],
        }

    hosts = {
        "good": {**wanted(), **ours(root)},
        "good_files": {**wanted(), **brought("good_files", leaf.pem + middle.pem, leaf.key_pem)},
        "good_star": {**wanted(), **brought("good_star", star.pem, star.key_pem)},
        "request": {**wanted(dns=[]), **ours(root)},
        "ca_name": {**wanted(name="ca"), **ours(root)},
        "no_files": {**wanted(), **ours(root), "mlflow_certificates_provider": "files"},
        "no_ca": wanted(),
        "no_authority": {**wanted(), **ours(leaf)},
        "foreign_key": {**wanted(), **ours(root, other)},
        "ended_ca": {**wanted(), **ours(issue("old", ca=True, days=-1))},
        "owner": {**wanted(owner="nobody-of-this-name"), **ours(root)},
        "unreadable": {**wanted(), **brought("unreadable", "", leaf.key_pem)},
        "ended": {**wanted(), **brought("ended", (old := issue("mlflow.test", root, days=-1)).pem, old.key_pem)},
        "mismatch": {**wanted(), **brought("mismatch", leaf.pem + middle.pem, other.key_pem)},
        "uncovered": {**wanted(dns=["mlflow.test", "a.b.test"]), **brought("uncovered", star.pem, star.key_pem)},
        "authority_key": {**wanted(), **brought("authority_key", plain.pem, plain.key_pem)},
        "chain": {**wanted(), **brought("chain", leaf.pem, leaf.key_pem)},
    }
    (home / "hosts.json").write_text(json.dumps({"all": {"hosts": hosts}}))
    (home / "play.yml").write_text(PLAYBOOK)
    common = {"mlflow_environment": "test", "mlflow_domain": "mlflow.test", "mlflow_config_dir": f"{home}/etc"}
    own = {**common, "ansible_python_interpreter": sys.executable}
    return play(home, home / "play.yml", "-i", home / "hosts.json", "-e", json.dumps(own))


@pytest.mark.parametrize("host", ["good", "good_files", "good_star"])
def test_what_can_work_passes(played: Played, host: str) -> None:
    assert not [sentence for sentence in played.sentences if f"] {host}:" in sentence]
    assert played.changed == 0


@pytest.mark.parametrize(
    ("host", "finding", "reason"),
    [
        ("request", "CERT_REQUEST", "at least one entry in dns or ip"),
        ("ca_name", "CERT_REQUEST", "other than ca"),
        ("no_files", "CERT_REQUEST", "Provider files needs mlflow_certificates_files"),
        ("no_ca", "CERT_CA_MISSING", "edge would be issued by it"),
        ("no_authority", "CERT_CA_INVALID", "is no authority (CA:TRUE is missing)"),
        ("foreign_key", "CERT_CA_INVALID", "does not belong to mlflow_certificates_ca_private_key"),
        ("ended_ca", "CERT_CA_INVALID", "ended"),
        ("owner", "CERT_OWNER_MISSING", "user nobody-of-this-name"),
        ("unreadable", "CERT_FILE_UNREADABLE", "holds no certificate (PEM) or is not there"),
        ("ended", "CERT_EXPIRED", "ended on"),
        ("mismatch", "CERT_KEY_MISMATCH", "is the key of another certificate"),
        ("uncovered", "CERT_NAME_NOT_COVERED", "is valid for DNS:*.test and not for DNS:a.b.test"),
        (
            "authority_key",
            "CERT_AUTHORITY_KEY",
            "has no Authority Key Identifier, and clients on Python 3.13 and newer",
        ),
        ("chain", "CERT_CHAIN_INCOMPLETE", "Append the intermediate certificates"),
    ],
)
def test_what_cannot_is_refused_in_one_sentence(played: Played, host: str, finding: str, reason: str) -> None:
    (said,) = [sentence for sentence in played.sentences if f"] {host}:" in sentence]
    assert said.startswith(f"[{finding}] {host}: ")
    assert reason in said
    assert said.endswith("Nothing was changed.")


def test_no_private_key_is_shown(played: Played) -> None:
    assert "PRIVATE KEY" not in played.output
