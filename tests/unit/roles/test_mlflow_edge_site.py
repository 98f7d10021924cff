# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The site file: what it says for each choice. Whether nginx does it is seen on real hosts."""

from __future__ import annotations

import posixpath
import re
from pathlib import Path
from typing import Any

import jinja2
import pytest
import yaml

from ansible_collections.mlops.mlflow.plugins.module_utils._nginx import Directive, listens, names, parse

ROLE = Path(__file__).resolve().parents[3] / "roles/mlflow_edge"
INTERNAL = yaml.safe_load((ROLE / "vars/main.yml").read_text())
EDGE = "/etc/mlflow/tls/edge.pem"
USUAL: dict[str, Any] = {
    "ansible_managed": "managed",
    "mlflow_edge_listen_addresses": [],
    "mlflow_edge_https_port": 443,
    "mlflow_edge_redirect_http": True,
    "mlflow_edge_acme_webroot": "",
    "mlflow_edge_certificate": EDGE,
    "mlflow_edge_private_key": "/etc/mlflow/tls/edge.key",
    "mlflow_edge_hsts_max_age": 31536000,
    "mlflow_edge_upstreams": [{"address": "127.0.0.1", "ports": [5001, 5002]}],
    "mlflow_edge_upstream_tls": False,
    "mlflow_edge_upstream_name": "mlflow-server",
    "mlflow_edge_upstream_certificate": "/c.pem",
    "mlflow_edge_upstream_private_key": "/c.key",
    "mlflow_edge_upstream_ca": "/ca.pem",
    "mlflow_edge_upstream_keepalive": 32,
    "mlflow_edge_connect_timeout": 2,
    "mlflow_edge_transfer_timeout": 3600,
    "mlflow_edge_client_timeout": 300,
    "mlflow_edge_trusted_proxies": [],
    "mlflow_edge_error_log_level": "crit",
    "mlflow_edge_extra_config": "",
    "__mlflow_edge_inet6": {"stat": {"exists": True}},
    "__mlflow_edge_static": {},
    "__mlflow_edge_static_candidate": "",
    "__mlflow_edge_certificates": {"results": [{"item": EDGE, "stat": {"checksum": "c0ffee"}}]},
    "__mlflow_edge_public_files": [EDGE],
    "__mlflow_edge_limits_logins": True,
    "__mlflow_edge_oidc": False,
    "__mlflow_edge_login_script": INTERNAL["__mlflow_edge_login_script"],
    "__mlflow_edge_access_log": INTERNAL["__mlflow_edge_access_log"],
    "__mlflow_edge_error_log": INTERNAL["__mlflow_edge_error_log"],
    "__mlflow_edge_http_port": 80,
    "__mlflow_edge_http2_directive": True,
    "__mlflow_edge_names": ["mlflow.example.com"],
    "__mlflow_edge_stripped_headers": INTERNAL["__mlflow_edge_stripped_headers"],
    "__mlflow_edge_url": "https://mlflow.example.com",
}


def text(**changes: Any) -> str:
    environment = jinja2.Environment(undefined=jinja2.StrictUndefined, trim_blocks=True, keep_trailing_newline=True)
    environment.filters["comment"] = lambda said: f"# {said}"
    environment.filters["basename"] = posixpath.basename
    environment.filters["splitext"] = posixpath.splitext
    return environment.from_string((ROLE / "templates/mlflow.conf.j2").read_text()).render({**USUAL, **changes})


def site(**changes: Any) -> Directive:
    """The server block of the site itself: the last one."""
    return [directive for directive in parse(text(**changes)) if directive.name == "server"][-1]


def said(directive: Directive, name: str) -> list[list[str]]:
    return [inner.words[1:] for inner in directive.block if inner.name == name]


def location(server: Directive, *words: str) -> Directive:
    (found,) = [inner for inner in server.block if inner.words == ["location", *words]]
    return found


def test_http2_is_asked_for_in_the_way_of_the_version() -> None:
    assert said(site(), "http2") == [["on"]]
    assert [listen.words for listen in listens(site())] == [frozenset({"ssl"})] * 2
    older = site(__mlflow_edge_http2_directive=False)
    assert said(older, "http2") == []
    assert [listen.words for listen in listens(older)] == [frozenset({"ssl", "http2"})] * 2


@pytest.mark.parametrize(
    ("addresses", "inet6", "expected"),
    [
        ([], True, ["*:443", "[::]:443"]),
        ([], False, ["*:443"]),
        (["127.0.0.1", "::1"], True, ["127.0.0.1:443", "[::1]:443"]),
    ],
)
def test_where_it_listens(addresses: list[str], inet6: bool, expected: list[str]) -> None:
    server = site(mlflow_edge_listen_addresses=addresses, __mlflow_edge_inet6={"stat": {"exists": inet6}})
    assert [str(listen) for listen in listens(server)] == expected
    assert names(server) == ["mlflow.example.com"]


def test_port_80_only_redirects_and_only_if_wanted() -> None:
    first, _second = [directive for directive in parse(text()) if directive.name == "server"]
    assert [listen.port for listen in listens(first)] == [80, 80]
    assert said(location(first, "/"), "return") == [["308", "https://mlflow.example.com$request_uri"]]
    assert said(location(first, "^~", "/.well-known/acme-challenge/"), "return") == [["404"]]
    assert text(mlflow_edge_redirect_http=False).count("server {") == 1


def test_proofs_for_an_acme_server_are_shown_and_it_reloads_by_itself() -> None:
    by_acme = {"mlflow_edge_acme_webroot": "/var/lib/mlflow-acme", "__mlflow_edge_public_files": []}
    first, _second = [directive for directive in parse(text(**by_acme)) if directive.name == "server"]
    proofs = location(first, "^~", "/.well-known/acme-challenge/")
    assert (said(proofs, "root"), said(proofs, "return")) == ([["/var/lib/mlflow-acme"]], [])
    assert said(location(first, "/"), "return") == [["308", "https://mlflow.example.com$request_uri"]]
    assert "c0ffee" not in text(**by_acme)


def test_a_server_that_does_not_answer_is_left_alone_only_if_there_is_another() -> None:
    def servers(*addresses: str) -> list[str]:
        upstreams = [{"address": address, "ports": [5001, 5002]} for address in addresses]
        return [
            line.strip()
            for line in text(mlflow_edge_upstreams=upstreams).splitlines()
            if line.startswith("    server ")
        ][: 2 * len(addresses)]

    assert servers("192.0.2.1") == ["server 192.0.2.1:5001 max_fails=0;", "server 192.0.2.1:5002 max_fails=0;"]
    assert all(line.endswith(" max_fails=1 fail_timeout=1s;") for line in servers("192.0.2.1", "2001:db8::2"))
    assert "server [2001:db8::2]:5002 max_fails=1 fail_timeout=1s;" in servers("192.0.2.1", "2001:db8::2")


def test_a_new_certificate_changes_the_file() -> None:
    renewed = {"results": [{"item": EDGE, "stat": {"checksum": "decaf"}}]}
    assert text() != text(__mlflow_edge_certificates=renewed)
    assert text() != text(__mlflow_certificates_pending=["edge"])
    assert text() == text(__mlflow_certificates_pending=["server"])


def test_headers_that_name_somebody_are_the_edges_own() -> None:
    server = site()
    sent = {words[0].lower(): words[1] for words in said(server, "proxy_set_header")}
    for header in (
        "X-Forwarded-User",
        "X-Forwarded-Groups",
        "X-Forwarded-Email",
        "Remote-User",
        "X-Remote-User",
        "X-Proxy-Key",
        "Forwarded",
    ):
        assert sent[header.lower()] == ""
    assert sent["x-forwarded-for"] == "$remote_addr"
    assert sent["x-forwarded-proto"] == "$scheme"
    assert sent["x-forwarded-host"] == sent["host"] == "$http_host"
    # A location with a header of its own would lose all of these.
    assert not [inner for inner in server.block if inner.name == "location" and said(inner, "proxy_set_header")]


def test_the_log_never_holds_queries_or_credentials() -> None:
    (form,) = [directive.words for directive in parse(text()) if directive.name == "log_format"]
    variables = set(re.findall(r"\$(\w+)", " ".join(form[2:])))
    assert "mlflow_path" in variables
    assert not variables & {
        "request",
        "request_uri",
        "args",
        "http_authorization",
        "http_cookie",
        "http_referer",
        "uri",
    }


@pytest.mark.parametrize("path", [["=", "/metrics"], ["^~", "/metrics/"], ["=", "/mlops"], ["^~", "/mlops/"]])
def test_what_is_for_the_servers_alone_is_not_here(path: list[str]) -> None:
    assert said(location(site(), *path), "return") == [["404"]]


def test_guessing_is_limited_where_there_is_a_login() -> None:
    assert said(location(site(), "/"), "access_by_lua_file") == said(location(site(), "/"), "log_by_lua_file") != []
    assert said(location(site(), "=", "/health"), "access_by_lua_file") == []
    assert "lua" not in text(__mlflow_edge_limits_logins=False)


def test_servers_elsewhere_are_reached_by_tls_with_certificates() -> None:
    apart = [{"address": "192.0.2.1", "ports": [5001, 5002]}, {"address": "2001:db8::1", "ports": [5001]}]
    server = site(mlflow_edge_upstreams=apart, mlflow_edge_upstream_tls=True)
    assert said(server, "proxy_ssl_verify") == [["on"]]
    assert said(server, "proxy_ssl_name") == [["mlflow-server"]]
    passed = [words for inner in server.block for words in said(inner, "proxy_pass")]
    assert passed
    assert all(words == ["https://mlflow"] for words in passed)
    (upstream,) = [directive for directive in parse(text(mlflow_edge_upstreams=apart)) if directive.name == "upstream"]
    assert [words[0] for words in said(upstream, "server")] == [
        "192.0.2.1:5001",
        "192.0.2.1:5002",
        "[2001:db8::1]:5001",
    ]
    assert said(site(), "proxy_ssl_verify") == []


def test_static_files_have_every_header_of_the_site() -> None:
    static = {"__mlflow_edge_static_candidate": "/opt/build", "__mlflow_edge_static": {"stat": {"exists": True}}}
    server = site(**static)
    files = location(server, "^~", "/static-files/")
    assert said(files, "alias") == [["/opt/build/"]]
    own = said(files, "add_header")
    assert [words for words in own if words[0] != "Cache-Control"] == said(server, "add_header")
    assert not [inner for inner in site().block if inner.words[:3] == ["location", "^~", "/static-files/"]]


def test_timeouts_agree_along_the_chain() -> None:
    server = site(mlflow_edge_transfer_timeout=1234)
    assert said(server, "proxy_read_timeout") == said(server, "proxy_send_timeout") == [["1234s"]]
    assert said(server, "proxy_request_buffering") == said(server, "proxy_buffering") == [["off"]]
    assert said(server, "client_max_body_size") == [["0"]]


def test_lines_of_the_user_are_in_the_site() -> None:
    server = site(mlflow_edge_extra_config="allow 192.0.2.0/24;\nlocation /x {\n    return 204;\n}\n")
    assert said(server, "allow") == [["192.0.2.0/24"]]
    assert said(location(server, "/x"), "return") == [["204"]]


GATE: dict[str, Any] = {
    "__mlflow_edge_oidc": True,
    "__mlflow_edge_accounts": False,
    "__mlflow_edge_accounts_path": INTERNAL["__mlflow_edge_accounts_path"],
    "__mlflow_edge_limits_logins": False,
    "__mlflow_edge_identity_file": INTERNAL["__mlflow_edge_identity_file"],
    "__mlflow_edge_gate": {"netloc": "127.0.0.1:4180", "path": "/oauth2/auth"},
    "__mlflow_edge_gate_own": False,
    "mlflow_edge_gate_user_header": "X-Auth-Request-Email",
    "mlflow_edge_gate_groups_header": "X-Auth-Request-Groups",
    "mlflow_edge_gate_path": "/oauth2/",
    "mlflow_edge_gate_sign_in": "/oauth2/start?rd=",
    "mlflow_edge_gate_sign_out": "/oauth2/sign_out",
    "mlflow_edge_allowed_origins": [],
}


def test_a_gate_of_somebody_elses_is_asked_in_the_same_way() -> None:
    server = site(**GATE)
    assert said(location(server, "/"), "auth_request") == [["/mlops/gate"]]
    assert said(location(server, "/"), "auth_request_set") == [
        ["$mlflow_user", "$upstream_http_x_auth_request_email"],
        ["$mlflow_groups", "$upstream_http_x_auth_request_groups"],
    ]
    asked = location(server, "=", "/mlops/gate")
    assert said(asked, "proxy_pass") == [["http://mlflow_gate/oauth2/auth"]]
    assert said(asked, "internal") == [[]]
    assert said(location(server, "^~", "/oauth2/"), "proxy_pass") == [["http://mlflow_gate"]]
    assert "/oidc/" not in text(**GATE)
    assert "/accounts/" not in text(**GATE)


def test_with_a_gate_every_location_that_reaches_mlflow_is_known() -> None:
    """One that is not behind the gate says nothing about who asks, or says that it is for accounts with passwords."""
    static = {"__mlflow_edge_static_candidate": "/opt/build", "__mlflow_edge_static": {"stat": {"exists": True}}}
    server = site(**GATE | static | {"__mlflow_edge_accounts": True})
    keys = {
        " ".join(inner.words[1:]): said(inner, "set")[:1]
        for inner in server.block
        if inner.name == "location"
        and any(
            "://mlflow$" in f"{words[0]}$" or "://mlflow/" in words[0] or "://mlflow$mlflow_accounts_uri" in words[0]
            for words in said(inner, "proxy_pass")
        )
    }
    nothing = [["$mlflow_key", ""]]
    assert keys == {
        "/": [],
        "= /health": nothing,
        "@mlflow": nothing,
        "^~ /accounts/": [["$mlflow_key", "$mlflow_accounts_key"]],
    }
    sent = dict(words for words in said(server, "proxy_set_header"))
    assert (sent["X-Proxy-Key"], sent["X-Forwarded-User"], sent["Cookie"]) == ("$mlflow_key", "$mlflow_user", "")
    assert sent["X-Auth-Request-Email"] == ""
