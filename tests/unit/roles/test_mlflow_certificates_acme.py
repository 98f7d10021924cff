# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The public certificate from an ACME server: the role's tasks, Debian's certbot and nginx, and a real ACME server, on loopback."""

from __future__ import annotations

import json
import os
import re
import shutil
import stat
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, rsa

from ansible_collections.mlops.mlflow.plugins.module_utils._maintenance_expiry import certificates, judge_certificates
from ansible_collections.mlops.mlflow.tests.unit.support.acme import SERVER, Place, own_network, running_acme
from ansible_collections.mlops.mlflow.tests.unit.support.certificates import Authority
from ansible_collections.mlops.mlflow.tests.unit.support.identity import place as public_place
from ansible_collections.mlops.mlflow.tests.unit.support.identity import running_edge, values_for
from ansible_collections.mlops.mlflow.tests.unit.support.playbook import BIN, Played, environment

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="A network of its own takes root.")

NAME = "mlflow.example.com"
PLAYBOOK = """\
- hosts: all
  connection: local
  gather_facts: false
  tasks:
    - ansible.builtin.import_role: {name: mlops.mlflow.mlflow_certificates, tasks_from: preflight_acme}
      vars: {__mlflow_certificates_acme_trusts: true, __mlflow_certificates_acme_promise: The edge goes on serving.}
    - ansible.builtin.import_role: {name: mlops.mlflow.mlflow_certificates, tasks_from: acme_issue}
    - ansible.builtin.debug: {msg: "ours: {{ __mlflow_certificates_issued | map(attribute='name') | join(',') }};"}
"""


@dataclass
class Edge:
    """A host with nginx, certbot, and an ACME server that it can reach."""

    place: Place

    @property
    def tls(self) -> Path:
        return self.place.folder / "tls"

    @property
    def hook(self) -> Path:
        return self.place.folder / "libexec/renewed"

    @property
    def reloads(self) -> int:
        """How often nginx was told to reload."""
        counted = self.place.folder / "reloads"
        return len(counted.read_text().splitlines()) if counted.exists() else 0

    def converge(self, *arguments: str, names: tuple[str, ...] = (NAME,), **variables: Any) -> Played:
        """Apply the role's part."""
        home = self.place.folder
        (home / "play.yml").write_text(PLAYBOOK)
        wanted = [{"name": "edge", "common_name": names[0], "dns": list(names), "usage": ["serverAuth"]}]
        chosen = {
            "ansible_python_interpreter": sys.executable,
            "mlflow_environment": "test",
            "mlflow_domain": NAME,
            "mlflow_config_dir": str(home),
            "mlflow_certificates_provider": "acme",
            "mlflow_certificates_acme_directory": SERVER,
            "mlflow_certificates_acme_email": "team@example.com",
            "mlflow_certificates_acme_accept_terms": True,
            "mlflow_certificates_acme_ca_file": str(self.place.authority),
            "mlflow_certificates_acme_webroot": str(home / "proofs"),
            "mlflow_certificates_wanted": wanted,
            "mlflow_http_proxy": "",
            "mlflow_https_proxy": "",
            "mlflow_no_proxy": "",
            "__mlflow_certificates_certbot": list(self.place.certbot),
            "__mlflow_certificates_certbot_dir": str(home / "certbot/config"),
            "__mlflow_certificates_acme_hook": str(self.hook),
            "__mlflow_certificates_reload": str(home / "reload"),
            **variables,
        }
        done = subprocess.run(
            [
                *self.place.inside,
                BIN / "ansible-playbook",
                "play.yml",
                "-i",
                "edge1,",
                "-e",
                json.dumps(chosen),
                *arguments,
            ],
            env=environment(home),
            capture_output=True,
            text=True,
            check=False,
            timeout=240,
        )
        return Played(done.returncode, done.stdout + done.stderr)

    def renew(self, *arguments: str) -> None:
        """What Debian's timer runs."""
        command = [*self.place.certbot, "renew", "--quiet", "--no-random-sleep-on-renew", *arguments]
        done = self.place.run(command, REQUESTS_CA_BUNDLE=str(self.place.authority))
        assert done.returncode == 0, done

    def served(self, name: str = NAME) -> x509.Certificate:
        """What nginx presents, once it has reloaded what is in the file."""
        wanted = x509.load_pem_x509_certificate((self.tls / "edge.pem").read_bytes())
        deadline = time.monotonic() + 30
        while True:
            said = self.place.run(["openssl", "s_client", "-connect", "127.0.0.1:443", "-servername", name]).stdout
            presented = x509.load_pem_x509_certificate(said.encode())
            if presented == wanted or time.monotonic() > deadline:
                return presented
            time.sleep(0.2)


@pytest.fixture(scope="module")
def edge() -> Iterator[Edge]:
    with (
        public_place() as folder,
        own_network(folder, NAME, "acme.example.com", "more.example.com", "forbidden.example.com") as place,
        running_acme(place),
    ):
        (folder / "tls").mkdir()
        reload = folder / "reload"
        reload.write_text(
            f"#!/bin/sh\necho reloaded >>{folder}/reloads\nexec kill -HUP $(cat {folder}/tls/nginx.pid)\n"
        )
        reload.chmod(0o755)
        ports = {"edge": 443, "gate": 4181, "server": 5001}
        values = values_for(
            folder / "tls",
            ports,
            __mlflow_edge_oidc=False,
            __mlflow_edge_names=[NAME, "more.example.com"],
            mlflow_edge_redirect_http=True,
            mlflow_edge_acme_webroot=str(folder / "proofs"),
        )
        with running_edge(folder / "tls", Authority.make("the environment's own"), values, place.inside):
            yield Edge(place)


def issuer(certificate: x509.Certificate) -> str:
    return certificate.issuer.rfc4514_string()


def names(certificate: x509.Certificate) -> set[str]:
    extension = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName)
    return set(extension.value.get_values_for_type(x509.DNSName))


def test_the_way_of_a_certificate(edge: Edge) -> None:
    """From the first one to its renewal: each step in the order in which a site meets it."""
    # Nginx has to run before the ACME server can ask it: with a certificate of the environment's own authority.
    assert issuer(edge.served()) == "CN=the environment's own"
    announced = edge.converge("--check")
    assert announced.code == 0, announced.output
    assert re.search(
        r"The ACME server issues a certificate[^\n]*\n(?:[^\n]*\n)?changed: \[edge1\]", announced.output
    ), announced.output
    assert (edge.reloads, issuer(edge.served())) == (0, "CN=the environment's own")

    first = edge.converge()
    assert first.code == 0, first.output
    assert first.changed > 0
    issued = edge.served()
    assert (edge.reloads, issuer(issued), names(issued)) == (1, "CN=A site - ECC Intermediate", {NAME})
    assert isinstance(issued.public_key(), ec.EllipticCurvePublicKey)
    assert stat.S_IMODE((edge.tls / "edge.key").stat().st_mode) == 0o600
    # Until then it was the environment's authority that issued it, from then on it leaves it alone.
    again = edge.converge()
    assert (again.code, again.changed, edge.reloads) == (0, 0, 1), again.output
    assert "ours: ;" in again.output

    # The timer has nothing to do for two months, and nginx is left alone.
    edge.renew()
    assert (edge.reloads, edge.served()) == (1, issued)
    edge.renew("--force-renewal")
    renewed = edge.served()
    assert edge.reloads == 2
    assert (renewed.serial_number != issued.serial_number, names(renewed)) == (True, {NAME})
    again = edge.converge("--check")
    assert (again.code, again.changed, edge.reloads) == (0, 0, 2), again.output

    # The job that looks at what ends reads the file that nginx reads.
    ends = renewed.not_valid_after_utc.timestamp()
    found = certificates(edge.tls)
    assert found["edge"] == ends
    (finding,) = judge_certificates("edge1", {"edge": found["edge"]}, 21, ends - 20 * 86400)
    assert (finding["id"], finding["summary"]) == ("MAINTENANCE_CERTIFICATE", "The certificate edge ends in 20 days.")

    # Another kind of key, another name: once each.
    rsa_key = {"mlflow_certificates_acme_key_type": "rsa"}
    steps: list[tuple[dict[str, Any], set[str]]] = [
        (rsa_key, {NAME}),
        ({**rsa_key, "names": (NAME, "more.example.com")}, {NAME, "more.example.com"}),
    ]
    for variables, wanted in steps:
        before = edge.reloads
        changed = edge.converge(**variables)
        assert (changed.code, edge.reloads) == (0, before + 1), changed.output
        assert names(edge.served()) == wanted
        assert isinstance(edge.served().public_key(), rsa.RSAPublicKey)
        unchanged = edge.converge(**variables)
        assert (unchanged.code, unchanged.changed) == (0, 0), unchanged.output

    # What somebody put in its place gives way.
    good = edge.served()
    shutil.copy(edge.tls / "nginx.conf", edge.tls / "edge.pem")
    mended = edge.converge(**variables)
    assert (mended.code, edge.served()) == (0, good), mended.output


@pytest.mark.parametrize(
    ("variables", "directory", "why"),
    [
        (
            {"mlflow_certificates_acme_directory": SERVER.replace("14000", "14001")},
            SERVER.replace("14000", "14001"),
            "The ACME server does not answer (Connection refused).",
        ),
        (
            {"mlflow_certificates_acme_ca_file": ""},
            SERVER,
            "The certificate of the ACME server is not trusted here (unable to get local issuer certificate).",
        ),
        (
            {"mlflow_certificates_acme_directory": f"{SERVER}/nothing"},
            f"{SERVER}/nothing",
            "Status code was 404 and not [200]: HTTP Error 404: Not Found.",
        ),
    ],
    ids=["nothing there", "not trusted", "no directory"],
)
def test_a_server_that_cannot_be_asked_is_said_in_one_sentence(
    edge: Edge, variables: dict[str, Any], directory: str, why: str
) -> None:
    before = edge.reloads, edge.served()
    refused = edge.converge(**variables)
    assert (refused.code, refused.changed) == (2, 0), refused.output
    (said,) = refused.sentences
    assert said == (
        f"[CERT_ACME_UNREACHABLE] edge1: mlflow_certificates_acme_directory={directory}. {why} Ask for it from the edge with curl; for an"
        " authority of your own set mlflow_certificates_ca_files or mlflow_certificates_acme_ca_file. The edge goes on serving."
    )
    assert (edge.reloads, edge.served()) == before


def test_what_the_server_says_against_it_is_said_in_one_sentence(edge: Edge) -> None:
    before = edge.reloads, edge.served()
    refused = edge.converge(names=(NAME, "forbidden.example.com"))
    assert refused.code == 2, refused.output
    (said,) = refused.sentences
    assert said.startswith(
        f"[CERT_ACME_REFUSED] edge1: {SERVER} issued no certificate for {NAME}, forbidden.example.com: "
    )
    assert said.endswith("certbot's own words are in /var/log/letsencrypt. The edge goes on serving.")
    assert "Error" not in said, said
    assert (edge.reloads, edge.served()) == before
