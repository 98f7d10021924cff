# Copyright (c) 2026 the mlops.mlflow maintainers
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What a verification finds. roles/mlflow_verify/files/verify.py carries the same table to the host; a test compares."""

from __future__ import annotations

from ansible_collections.mlops.mlflow.plugins.module_utils._findings._shape import CRITICAL, WARNING, Finding

REGISTERED = (
    Finding(
        "DOMAIN_UNRESOLVED",
        CRITICAL,
        "The domain does not resolve",
        "No DNS record leads from the public name to an edge.",
        "Create the DNS record. To verify before that, set mlflow_verify_address to an edge's address.",
    ),
    Finding(
        "VERIFY_UNREACHABLE",
        CRITICAL,
        "The public address does not take a connection",
        "Nothing listens on the public port, or a firewall is in between.",
        "Look at `systemctl status nginx` on the edge and at the firewall between this host and the edge.",
    ),
    Finding(
        "VERIFY_TLS",
        CRITICAL,
        "The public certificate is not one a client trusts",
        "The certificate is expired, made for another name, or signed by an authority this host does not trust.",
        "Run the playbook mlops.mlflow.site; with certificates of your own, compare mlflow_certificates_files with mlflow_domain.",
    ),
    Finding(
        "VERIFY_CERTIFICATE_DAYS",
        WARNING,
        "The public certificate ends soon",
        "The certificate was not renewed in time.",
        "Run the playbook mlops.mlflow.site, which renews certificates of the private authority; renew your own by hand.",
    ),
    Finding(
        "VERIFY_NOT_READY",
        CRITICAL,
        "The edge answers and the server does not",
        "The edge answers, the server behind it does not (stopped, starting, or refusing the edge).",
        "On the server host: `systemctl status 'mlflow-server@*'` and `journalctl -u 'mlflow-server@*' -n 50`.",
    ),
    Finding(
        "VERIFY_DATABASE",
        CRITICAL,
        "MLflow does not reach its database",
        "MLflow runs but does not reach its database.",
        "On the database host: `systemctl status postgresql`; then the server's journal for the reason of the refusal.",
    ),
    Finding(
        "VERIFY_ANONYMOUS",
        CRITICAL,
        "Somebody without a login is let in",
        "A route answers without a login: mlflow_auth is none, or the edge or MLflow lets it through.",
        "Set mlflow_auth to basic and run the playbook mlops.mlflow.site. Until then, close the public port.",
    ),
    Finding(
        "VERIFY_WRONG_PASSWORD",
        CRITICAL,
        "A wrong password is let in",
        "A password that is certainly wrong was accepted.",
        "Close the public port and look at mlflow_auth and at what stands in front of the edge.",
    ),
    Finding(
        "VERIFY_LOGIN",
        CRITICAL,
        "The administrator's password is refused",
        "The password that MLflow holds is another than the one in the vault.",
        "Run the playbook mlops.mlflow.site, which sets the administrator's password from the vault.",
    ),
    Finding(
        "VERIFY_ARTIFACT",
        CRITICAL,
        "Artifacts cannot be stored or read",
        "Metadata works, files do not: the artifact store, a size or time limit at the edge, or a full disk.",
        "Read `journalctl -u 'mlflow-server@*' -n 50` for the store's own words and `df -h`; the edge's are in /var/log/nginx.",
    ),
    Finding(
        "VERIFY_CHECKSUM",
        CRITICAL,
        "An artifact came back other than it was stored",
        "Something between client and artifact store changed or cut the bytes.",
        "Look for a proxy in front of the edge; compare the file in the artifact store with what the client wrote.",
    ),
    Finding(
        "VERIFY_STEP",
        CRITICAL,
        "A client cannot do what it needs",
        "MLflow refused a call that a user's program makes, or returned something else than was written.",
        "Read the evidence, then `journalctl -u 'mlflow-server@*' -n 50` on the server host.",
    ),
    Finding(
        "VERIFY_LEFTOVERS",
        CRITICAL,
        "The verification left something behind",
        "Rows or files of this verification could not be removed.",
        "Run the playbook mlops.mlflow.verify again: it removes what is older than an hour.",
    ),
    Finding(
        "VERIFY_KEPT",
        WARNING,
        "The verification may not remove its objects",
        "The server's identity may not delete objects in the artifact store, or its rows could not be reached from this host.",
        "Nothing if that identity is meant to have no right to delete: a lifecycle rule or maintenance removes the objects.",
    ),
    Finding(
        "VERIFY_TIMEOUT",
        CRITICAL,
        "The verification took too long",
        "The installation is slow or hangs, or the artifact is large for the time allowed.",
        "See which step took the time; raise mlflow_verify_timeout or lower mlflow_verify_artifact_mb if it is healthy.",
    ),
    Finding(
        "VERIFY_INTERRUPTED",
        WARNING,
        "The verification was stopped",
        "Somebody or something stopped the verification.",
        "Run the playbook mlops.mlflow.verify again.",
    ),
)
