# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Which sites of an nginx that is already there stop ours, and which do not."""

from __future__ import annotations

import pytest

from ansible_collections.mlops.mlflow.plugins.filter.nginx import FilterModule
from ansible_collections.mlops.mlflow.plugins.module_utils._nginx import conflicts, listens, names, read, servers

ROOT = """# configuration file /etc/nginx/nginx.conf:
user www-data; # nobody else
events { worker_connections 768; }
http {
    log_format x '{"a;b": "}"}';
    include /etc/nginx/conf.d/*.conf;
    include sites-enabled/*;
}
"""
OWN = "/etc/nginx/sites-enabled/mlflow.conf"
DEBIAN = "listen 80 default_server; listen [::]:80 default_server; server_name _; root /var/www/html;"


def dump(*blocks: str, root: str = ROOT) -> str:
    """What `nginx -T` prints, each block in a file of its own."""
    files = [
        f"\n# configuration file /etc/nginx/sites-enabled/s{at}:\nserver {{ {text} }}\n"
        for at, text in enumerate(blocks)
    ]
    return root + "".join(files)


def found(text: str, https: int = 443, http: int = 80, addresses: tuple[str, ...] = ()) -> list[str]:
    return conflicts(text, [OWN], ["mlflow.example.com"], https, http, addresses)


@pytest.mark.parametrize(
    "block",
    [
        DEBIAN,
        "listen 443 ssl; server_name other.example.com;",
        "listen 443 ssl default_server; listen [::]:443 ssl; server_name ~^(?<sub>.+)\\.example\\.com$;",
        "listen 443 ssl; server_name *.example.com .example.com;",
        "listen 8443; server_name mlflow.example.com;",
        "listen unix:/run/x.sock; server_name mlflow.example.com;",
        'listen 443 ssl; server_name other; content_by_lua_block { local a = "}" .. { } }',
        "listen 443 ssl; server_name other; location / { return 200 'server_name mlflow.example.com; }'; }",
    ],
)
def test_other_sites_stay(block: str) -> None:
    assert found(dump(block)) == []


@pytest.mark.parametrize(
    ("block", "sentence"),
    [
        ("listen 443 ssl; server_name x MLFLOW.example.com;", "claims mlflow.example.com"),
        ("listen 0.0.0.0:443 ssl; server_name mlflow.example.com;", "claims mlflow.example.com"),
        ("listen [::]:443 ssl; server_name mlflow.example.com;", "claims mlflow.example.com"),
        ("server_name mlflow.example.com;", "*:80 claims mlflow.example.com"),
        ("listen localhost; server_name mlflow.example.com;", "would take what is sent to that address"),
        ("listen 443; server_name other;", "serves without TLS on the port of https"),
        ("listen 80 ssl; server_name other;", "serves TLS on the port of http"),
        ("listen 443 ssl proxy_protocol; server_name other;", "PROXY protocol"),
        ("listen 192.0.2.7:443 ssl; server_name other;", "would take what is sent to that address"),
    ],
)
def test_a_site_that_would_take_our_requests_is_refused(block: str, sentence: str) -> None:
    (said,) = found(dump(DEBIAN, block))
    assert sentence in said
    assert "/etc/nginx/sites-enabled/s1" in said


def test_our_own_file_is_no_conflict() -> None:
    text = ROOT + f"\n# configuration file {OWN}:\nserver {{ listen 443 ssl; server_name mlflow.example.com; }}\n"
    assert found(text) == []


def test_one_address_of_ours_would_rob_a_site_on_all() -> None:
    (said,) = found(dump("listen 443 ssl; server_name other;"), addresses=("192.0.2.7",))
    assert "would lose 192.0.2.7 to MLflow" in said
    assert found(dump("listen 192.0.2.8:443 ssl; server_name other;"), addresses=("192.0.2.7",)) == []


def test_without_the_redirect_port_80_is_not_ours() -> None:
    text = dump("listen 80; server_name mlflow.example.com;")
    assert found(text)
    assert found(text, http=0) == []


def test_a_stream_on_our_port_takes_everything() -> None:
    root = ROOT + "stream { server { listen 443; proxy_pass 192.0.2.1:443; } }\n"
    (said,) = found(dump(root=root))
    assert "takes every connection to port 443 (stream)" in said


def test_names_in_included_files_count() -> None:
    text = (
        dump("include snippets/name.conf;")
        + "\n# configuration file /etc/nginx/snippets/name.conf:\nlisten 443 ssl;\nserver_name mlflow.example.com;\n"
    )
    (context, server), *rest = servers(read(text))
    assert (context, rest) == ("http", [])
    assert [str(listen) for listen in listens(server)] == ["*:443"]
    assert names(server) == ["mlflow.example.com"]
    assert "claims" in found(text)[0]


def test_nothing_to_read_is_no_conflict() -> None:
    assert found("") == []


def test_the_filter_has_its_name() -> None:
    assert FilterModule().filters()["nginx_conflicts"](dump(DEBIAN), own_files=[], names=["a"], https_port=443) == []
