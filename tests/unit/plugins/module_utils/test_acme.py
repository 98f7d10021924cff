# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Certificates by ACME: what is refused, when certbot is asked, what it says."""

from __future__ import annotations

from typing import Any

import pytest

from ansible_collections.mlops.mlflow.plugins.module_utils._acme import complaint, problems, reasons

GOOD: dict[str, Any] = {
    "directory": "https://acme-v02.api.letsencrypt.org/directory",
    "email": "team@example.com",
    "accept_terms": True,
    "names": ["mlflow.example.com", "ml.example.com"],
    "redirect_http": True,
    "listen": [],
    "edges": ["10.0.0.5"],
}


def test_what_can_work_passes() -> None:
    assert problems(GOOD, "edge1") == []
    own = {"directory": "https://ca.corp.internal/acme/directory", "names": ["mlflow.corp.internal"]}
    assert problems({**GOOD, **own, "listen": ["127.0.0.1", "10.0.0.5"], "edges": []}, "edge1") == []


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        (
            {"directory": "http://ca.example.com/directory"},
            "acme_directory=http://ca.example.com/directory. It is no address that begins",
        ),
        ({"accept_terms": False}, "acme_accept_terms=false. An ACME server issues nothing to somebody who"),
        ({"email": ""}, "acme_email=. It is not set."),
        ({"email": "team"}, "acme_email=team. It is no address."),
        ({"names": ["10.0.0.5"]}, "provider=acme. There is no certificate for every name: 10.0.0.5 is an address."),
        ({"names": ["2001:db8::1"]}, "2001:db8::1 is an address."),
        ({"names": ["*.example.com"]}, "*.example.com has an asterisk, which takes a challenge by DNS."),
        ({"names": ["mlflow"]}, "mlflow has no domain."),
        (
            {"names": ["a.example.com", "mlflow.corp.internal"]},
            "mlflow.corp.internal is no name of the public DNS, and acme-v02.api.",
        ),
        ({"redirect_http": False}, "mlflow_edge_redirect_http=false. The ACME server asks on port 80"),
        (
            {"listen": ["127.0.0.1", "::1"]},
            "mlflow_edge_listen_addresses=127.0.0.1, ::1. The ACME server asks on port 80",
        ),
        ({"edges": ["10.0.0.5", "10.0.0.6"]}, "provider=acme. Several edges share one name"),
    ],
)
def test_what_cannot_is_refused_in_one_sentence(changes: dict[str, Any], said: str) -> None:
    (sentence,) = problems({**GOOD, **changes}, "edge1")
    assert sentence.startswith("[CERT_ACME_CHOICE] edge1: mlflow_")
    assert said in sentence
    assert sentence.endswith("Nothing was changed.")


RENEWAL = """\
# renew_before_expiry = 30 days
version = 2.1.0
archive_dir = /etc/letsencrypt/archive/mlflow-edge

# Options used in the renewal process
[renewalparams]
account = c96870aafc3ce5c45eb95ff3ab0963c8
key_type = ecdsa
renew_hook = /usr/local/libexec/mlflow-certificate-renewed
server = https://ca.example.com/directory
authenticator = webroot
webroot_path = /var/lib/mlflow-acme,
[[webroot_map]]
mlflow.example.com = /var/lib/mlflow-acme
"""
WANTED = {
    "directory": "https://ca.example.com/directory",
    "key_type": "ecdsa",
    "webroot": "/var/lib/mlflow-acme",
    "hook": "/usr/local/libexec/mlflow-certificate-renewed",
    "names": ["mlflow.example.com"],
}


@pytest.mark.parametrize(
    ("renewal", "changes", "said"),
    [
        (RENEWAL, {}, []),
        ("", {}, ["there is none"]),
        (RENEWAL, {"directory": "https://other.example.com/directory"}, ["another ACME server"]),
        (RENEWAL, {"key_type": "rsa"}, ["another kind of key"]),
        (RENEWAL, {"names": ["mlflow.example.com", "ml.example.com"]}, ["other names"]),
        (RENEWAL, {"names": ["ml.example.com"]}, ["other names"]),
        (RENEWAL, {"webroot": "/srv/proofs"}, ["another way to prove the name"]),
        (RENEWAL.replace("= webroot", "= standalone"), {}, ["another way to prove the name"]),
        (RENEWAL.replace("renew_hook", "#renew_hook"), {}, ["another program to call after a renewal"]),
    ],
)
def test_certbot_is_asked_only_for_a_reason(renewal: str, changes: dict[str, Any], said: list[str]) -> None:
    assert reasons(renewal, {**WANTED, **changes}) == said


PUBLIC = """\
Saving debug log to /var/log/letsencrypt/letsencrypt.log
Requesting a certificate for mlflow.example.com

Certbot failed to authenticate some domains (authenticator: webroot). The Certificate Authority reported these problems:
  Domain: mlflow.example.com
  Type:   connection
  Detail: 192.0.2.7: Fetching http://mlflow.example.com/.well-known/acme-challenge/x: Timeout during connect (likely firewall problem)

Hint: The Certificate Authority failed to download the temporary challenge files created by Certbot.

Some challenges have failed.
Ask for help or search for solutions at https://community.letsencrypt.org.
"""


@pytest.mark.parametrize(
    ("written", "said"),
    [
        (
            PUBLIC,
            "192.0.2.7: Fetching http://mlflow.example.com/.well-known/acme-challenge/x: Timeout during connect (likely firewall problem)",
        ),
        (
            "An unexpected error occurred:\nValueError: Requesting acme.example.com/acme: Connection refused\nAsk for help or search",
            "the ACME server does not answer (Connection refused)",
        ),
        (
            "(Caused by NewConnectionError('<x>: Failed to establish a new connection: [Errno -3] Temporary failure in name resolution'))",
            "the ACME server does not answer (Temporary failure in name resolution)",
        ),
        (
            "SSLError(1, '[SSL: CERTIFICATE_VERIFY_FAILED] certificate verify failed: unable to get local issuer certificate (_ssl.c:992)')",
            "the certificate of the ACME server is not trusted here (unable to get local issuer certificate)",
        ),
        (
            "Requesting a certificate for x\nAll authorizations were not finalized by the CA.\nAsk for help or search",
            "the ACME server got no proof that the name is this host's",
        ),
        (
            "An unexpected error occurred:\nAttributeError: can't set attribute\nAsk for help or search",
            "the ACME server refused, and why stands in certbot's log only",
        ),
        (
            'An unexpected error occurred:\nThere were too many requests of "a" type.\nAsk for help',
            "There were too many requests of 'a' type",
        ),
        ("", "no reason given"),
    ],
)
def test_what_certbot_says_is_told_in_one_line(written: str, said: str) -> None:
    assert complaint(written) == said
