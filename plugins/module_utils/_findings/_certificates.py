# Copyright (c) 2026 the mlops.mlflow maintainers
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What is wrong with certificates."""

from __future__ import annotations

from ansible_collections.mlops.mlflow.plugins.module_utils._findings._shape import CRITICAL, Finding

REGISTERED = (
    Finding(
        "CERT_REQUEST",
        CRITICAL,
        "Wanted certificates contradict each other",
        "A certificate lacks a name, a purpose or an address, two have one name, or files are named for a provider that takes none.",
        "Correct mlflow_certificates_wanted, mlflow_certificates_provider or mlflow_certificates_files.",
    ),
    Finding(
        "CERT_CA_MISSING",
        CRITICAL,
        "There is no authority to issue a certificate",
        "The secrets of the environment hold no certificate authority.",
        "Run the playbook mlops.mlflow.secrets, or bring certificates with mlflow_certificates_provider=files.",
    ),
    Finding(
        "CERT_CA_INVALID",
        CRITICAL,
        "The authority cannot sign",
        "Its certificate and key do not belong together, it ended, or it is no authority.",
        "Take the pair from a backup of the vault file, or remove both and run the playbook mlops.mlflow.secrets.",
    ),
    Finding(
        "CERT_OWNER_MISSING",
        CRITICAL,
        "The user who is to read a private key does not exist",
        "The program that brings the user is not installed.",
        "Install it first, or name another owner in mlflow_certificates_wanted.",
    ),
    Finding(
        "CERT_FILE_UNREADABLE",
        CRITICAL,
        "A certificate or key that was brought cannot be read",
        "The file is not there, is not PEM, or its key has a passphrase.",
        "Correct mlflow_certificates_files.",
    ),
    Finding(
        "CERT_KEY_MISMATCH",
        CRITICAL,
        "A certificate and key that were brought do not belong together",
        "Files of two certificates were mixed.",
        "Correct mlflow_certificates_files.",
    ),
    Finding(
        "CERT_EXPIRED",
        CRITICAL,
        "A certificate that was brought has ended",
        "It was not renewed.",
        "Renew it and run the playbook mlops.mlflow.site.",
    ),
    Finding(
        "CERT_NAME_NOT_COVERED",
        CRITICAL,
        "A certificate that was brought does not have the name clients ask for",
        "It was made for another name.",
        "Bring one that has the names, or change mlflow_domain.",
    ),
    Finding(
        "CERT_AUTHORITY_KEY",
        CRITICAL,
        "A certificate that was brought does not name the key of its authority",
        "It lacks the extension Authority Key Identifier, without which strict clients (Python 3.13 and newer) refuse it.",
        "Have it issued again with the extension (OpenSSL: authorityKeyIdentifier=keyid).",
    ),
    Finding(
        "CERT_CHAIN_INCOMPLETE",
        CRITICAL,
        "A certificate that was brought leads to no known authority",
        "Intermediate certificates are missing from the file.",
        "Append them; name an authority of your own in mlflow_certificates_ca_files.",
    ),
    Finding(
        "CERT_ACME_CHOICE",
        CRITICAL,
        "A choice about certificates by ACME cannot work",
        "The terms are not accepted, an address is missing, a name is not one that an ACME server can ask for, or port 80 is not the edge's.",
        "Correct the variable that is named.",
    ),
    Finding(
        "CERT_ACME_UNREACHABLE",
        CRITICAL,
        "The ACME server cannot be asked",
        "The edge has no way to it, its certificate is not trusted there, or the address is not that of an ACME directory.",
        "Ask for the directory from the edge with curl, and correct mlflow_certificates_acme_directory or mlflow_certificates_acme_ca_file.",
    ),
    Finding(
        "CERT_ACME_REFUSED",
        CRITICAL,
        "The ACME server issued no certificate",
        "It could not see on port 80 that the name is this host's, or it does not issue for the name.",
        "Let the name lead to the edge and port 80 be open from the ACME server, then run the playbook mlops.mlflow.site again.",
    ),
)
