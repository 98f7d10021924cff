"""Certificates of the site's own authority, issued by a test; and what the edge shows."""

from __future__ import annotations

import socket
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, load_pem_private_key
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from ansible_collections.mlops.mlflow.molecule.shared import checks


def issue(site: Path, name: str, names: list[str], days: int) -> None:
    """Replace the certificate of that name, and its key, by one that ends after so many days."""
    authority = x509.load_pem_x509_certificate((site / "ca.pem").read_bytes())
    signer = load_pem_private_key((site / "ca.key").read_bytes(), None)
    assert isinstance(signer, ec.EllipticCurvePrivateKey)
    key = ec.generate_private_key(ec.SECP256R1())
    now = datetime.now(tz=UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, names[0])]))
        .issuer_name(authority.subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(hours=1))
        .not_valid_after(now + timedelta(days=days))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(one) for one in names]), critical=False)
        # Python 3.13 and newer take no certificate without it.
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(signer.public_key()), critical=False)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        .sign(signer, hashes.SHA256())
    )
    (site / f"{name}.key").write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    (site / f"{name}.pem").write_bytes(certificate.public_bytes(Encoding.PEM))


def served(edge: checks.Edge) -> x509.Certificate:
    """The certificate with which the public address answers, verified."""
    with (
        socket.create_connection((edge.name, edge.port), timeout=10) as raw,
        edge.context().wrap_socket(raw, server_hostname=edge.name) as secure,
    ):
        shown = secure.getpeercert(binary_form=True)
    assert shown
    return x509.load_der_x509_certificate(shown)


def days_left(certificate: x509.Certificate) -> float:
    """Until it ends."""
    return (certificate.not_valid_after_utc - datetime.now(tz=UTC)) / timedelta(days=1)
