"""What runs where, that each part uses what the inventory says, and that a client notices none of it."""

from __future__ import annotations

import json
import os
import re
from base64 import b64decode, b64encode
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import boto3
import pytest
from botocore.exceptions import ClientError

from ansible_collections.mlops.mlflow.molecule.alternative.names import INSTALLATION, SERVERS
from ansible_collections.mlops.mlflow.molecule.shared import checks, hunting
from ansible_collections.mlops.mlflow.molecule.shared.writer import Writer

SEARCH = "/api/2.0/mlflow/experiments/search?max_results=1"
MUTUAL_TLS = (Path(checks.__file__).parent / "mutual_tls.py").read_text(encoding="utf-8")


def test_each_host_runs_its_part_and_nothing_failed(hosts: Mapping[str, Any], slots: Any) -> None:
    """Now and after the next boot."""
    checks.unit_is_up(hosts["alt-db"], "postgresql@15-tracking")
    checks.unit_is_up(hosts["alt-edge"], "nginx")
    for name in SERVERS:
        checks.unit_is_up(hosts[name], f"mlflow-server@{slots(name)[0]}")
    for name in (*SERVERS, "alt-db"):
        checks.unit_is_up(hosts[name], "mlflow-firewall")
    for name, host in hosts.items():
        failed = host.check_output(
            "systemctl list-units --failed --no-legend --plain 'mlflow*' nginx.service 'postgresql*'"
        )
        assert failed == "", name


def test_exposure_of_the_units(hosts: Mapping[str, Any], capsys: pytest.CaptureFixture[str]) -> None:
    """`systemd-analyze security`: the same ceilings as with every default."""
    for name in (*SERVERS, "alt-db"):
        found = checks.exposures(hosts[name])
        with capsys.disabled():
            print(f"\nexposure on {name}: " + ", ".join(f"{unit} {value}" for unit, value in sorted(found.items())))
        assert ("mlflow-server@a.service" in found) == (name in SERVERS)
        for unit, value in found.items():
            assert value <= (checks.SERVER_CEILING if unit.startswith("mlflow-server@") else checks.UNIT_CEILING), unit


def test_a_client_is_served_by_both_servers(
    hosts: Mapping[str, Any],
    given: Mapping[str, Mapping[str, Any]],
    edge: checks.Edge,
    slots: Any,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Through one address; the edge says who answered."""
    with Writer(edge) as writer:
        writer.wait_for(60)
    with capsys.disabled():
        print(f"\nclient: {writer.outcome}")
    assert writer.outcome.failures == ()
    assert writer.outcome.lost(hosts["alt-db"], "tracking") == []
    asked = 'grep -F %s /var/log/nginx/mlflow-access.log | grep -o \'"upstream":"[^"]*"\' | sort | uniq -c'
    said = hosts["alt-edge"].check_output(asked, "/mlflow/runs/")
    for name in SERVERS:
        assert f"{given[name]['ansible_host']}:{slots(name)[1]}" in said, said


def test_the_snippet_logs_and_reads_back(client: Any, edge: checks.Edge) -> None:
    """A run, 100 MB, a dataset, a trace and a registered model: over two servers that share nothing but database and bucket."""
    # The server passes on what is large, too: this client neither trusts the store's certificate nor has a key of it.
    done = client(str(checks.REPOSITORY / "docs" / "examples" / "snippet.py"))
    assert done.returncode == 0, done.stderr[-2000:]
    assert "written and read back equal" in done.stdout
    assert f"{edge.url}/#/experiments/" in done.stdout


@pytest.fixture
def through(hosts: Mapping[str, Any], given: Mapping[str, Mapping[str, Any]], edge: checks.Edge, slots: Any) -> Any:
    """Asks one server from the edge's host, past nginx, with the certificate that is given."""
    folder = "/etc/tracking/tls"

    def ask(
        name: str,
        method: str,
        path: str,
        *,
        body: bytes = b"",
        certificate: str = f"{folder}/edge-client.pem",
        key: str = f"{folder}/edge-client.key",
    ) -> Any:
        login = b64encode(f"{edge.username}:{edge.password}".encode()).decode()
        request = {
            "address": given[name]["ansible_host"],
            "port": slots(name)[1],
            "name": "mlflow-server",
            "ca": f"{folder}/ca-peers.pem",
            "certificate": certificate,
            "key": key,
            "method": method,
            "path": path,
            "headers": {"Authorization": f"Basic {login}", "Host": f"{edge.name}:{edge.port}"},
            "body": b64encode(body).decode(),
        }
        status, said = json.loads(
            checks.run_with_input(hosts["alt-edge"], ["python3", "-c", MUTUAL_TLS], json.dumps(request))
        )
        return status, said if status == "refused" else b64decode(said)

    return ask


def test_what_one_server_stores_the_other_reads(through: Any) -> None:
    """An artifact, in both directions."""
    for writer, reader in (SERVERS, SERVERS[::-1]):
        path, content = (
            f"/api/2.0/mlflow-artifacts/artifacts/both/{writer}-{os.urandom(4).hex()}.bin",
            os.urandom(70_000),
        )
        assert through(writer, "PUT", path, body=content)[0] == 200
        assert through(reader, "GET", path) == (200, content)


def test_a_server_answers_the_edge_alone(
    through: Any, hosts: Mapping[str, Any], given: Mapping[str, Mapping[str, Any]], slots: Any, site: Path
) -> None:
    """Even from the edge's address: not without a certificate, and not with one of the site's own authority, which clients do trust."""
    edge_host = hosts["alt-edge"]
    for name in SERVERS:
        assert through(name, "GET", "/health")[0] == 200
        status, said = through(name, "GET", "/health", certificate="")
        assert status == "refused", said
        assert re.search(r"(?i)alert certificate required|reset|closed|broken pipe", said), said
        address = f"{given[name]['ansible_host']}:{slots(name)[1]}"
        plain = edge_host.run(
            "python3 -c %s", f"import urllib.request; urllib.request.urlopen('http://{address}/health', timeout=10)"
        )
        assert plain.rc != 0
    for ending in ("pem", "key"):
        content = (site / f"foreign.{ending}").read_text(encoding="utf-8")
        checks.run_with_input(edge_host, ["sh", "-c", f"umask 077; cat >/run/foreign.{ending}"], content)
    try:
        for name in SERVERS:
            status, said = through(name, "GET", "/health", certificate="/run/foreign.pem", key="/run/foreign.key")
            assert status == "refused", said
            assert re.search(r"(?i)unknown ca|reset|closed|broken pipe", said), said
    finally:
        edge_host.check_output("rm /run/foreign.pem /run/foreign.key")


def test_postgresql_is_used_over_tls_by_the_expected_role(
    hosts: Mapping[str, Any], given: Mapping[str, Mapping[str, Any]], edge: checks.Edge
) -> None:
    """Both servers, with the second login, and nobody else over the network."""
    assert edge.ask("GET", SEARCH, login=True).status == 200
    text = (
        "SELECT host(a.client_addr), a.usename, s.ssl, s.version, count(*) FROM pg_stat_activity a JOIN pg_stat_ssl s USING (pid) "
        "WHERE a.client_addr IS NOT NULL GROUP BY 1, 2, 3, 4"
    )
    rows = [row.split("|") for row in checks.query(hosts["alt-db"], "tracking", text)]
    assert {row[0] for row in rows} == {given[name]["ansible_host"] for name in SERVERS}
    assert {(row[1], row[2]) for row in rows} == {("tracking_green", "t")}
    assert {row[3] for row in rows} <= {"TLSv1.2", "TLSv1.3"}


def test_databases_roles_and_settings_are_the_chosen_ones(hosts: Mapping[str, Any]) -> None:
    """No default name is left over."""
    database = hosts["alt-db"]
    names = set(checks.query(database, "postgres", "SELECT datname FROM pg_database WHERE NOT datistemplate"))
    assert names == {"postgres", "tracking", "tracking_users"}
    roles = set(checks.query(database, "postgres", "SELECT rolname FROM pg_roles WHERE rolname !~ '^(pg_|postgres)'"))
    assert roles == {"tracking_owner", "tracking_rows", "tracking_migrator", "tracking_blue", "tracking_green"}
    wanted = {
        "port": "5544",
        "listen_addresses": "10.213.77.31",
        "work_mem": "6MB",
        "log_min_duration_statement": "500ms",
    }
    assert {name: checks.query(database, "postgres", f"SHOW {name}")[0] for name in wanted} == wanted
    assert checks.query(database, "postgres", "SHOW data_directory") == ["/srv/postgresql/tracking"]
    owners = checks.query(database, "tracking", "SELECT DISTINCT tableowner FROM pg_tables WHERE schemaname = 'public'")
    assert owners == ["tracking_owner"]


def test_the_server_runs_as_it_was_told(hosts: Mapping[str, Any], variables: Mapping[str, Any], slots: Any) -> None:
    """User, folders, workers, threads, and an environment variable with every awkward character."""
    for name in SERVERS:
        host = hosts[name]
        pid = host.check_output("systemctl show --value --property=MainPID %s", f"mlflow-server@{slots(name)[0]}")
        assert host.check_output("stat -c '%%U %%u %%G %%g' /proc/%s", pid) == "tracker 2101 trackers 2102"
        environment = host.check_output("tr '\\0' '\\n' </proc/%s/environ", pid).splitlines()
        assert f"TRACKING_NOTE={variables['mlflow_server_extra_env']['TRACKING_NOTE']}" in environment
        for setting in ("MLFLOW_WORKERS=2", "MLOPS_SERVER_THREADS=3", "https_proxy=http://store.alternative.test:3128"):
            assert setting in environment
        assert any(line.startswith("PATH=/srv/tracking/releases/") for line in environment)
        for place in ("/opt/mlflow", "/etc/mlflow"):
            assert not host.file(place).exists, f"{place} is the default, and was not chosen"


def test_the_edge_does_what_was_added(edge: checks.Edge) -> None:
    """Lines of the site, a second name, browsers' memory of TLS; and names that were not allowed are refused."""
    assert edge.ask("GET", "/site").body == b"alternative\n"
    assert edge.ask("GET", SEARCH, login=True).headers["strict-transport-security"] == "max-age=3600"
    second = checks.Edge("tracking.internal.test", edge.port, edge.authorities, edge.username, edge.password)
    assert second.ask("GET", SEARCH, login=True).status == 200
    assert edge.ask("GET", SEARCH, login=True, headers={"Host": "evil.example"}).status in (400, 403, 404, 421)
    allowed = {"Origin": "https://notebooks.alternative.test", "Content-Type": "application/json"}
    assert (
        edge.ask(
            "POST", "/ajax-api/2.0/mlflow/experiments/search", login=True, headers=allowed, body='{"max_results": 1}'
        ).status
        == 200
    )
    foreign = {**allowed, "Origin": "https://evil.example"}
    assert (
        edge.ask(
            "POST", "/ajax-api/2.0/mlflow/experiments/search", login=True, headers=foreign, body='{"max_results": 1}'
        ).status
        == 403
    )


def test_artifacts_are_in_the_bucket_and_the_user_may_do_little(
    variables: Mapping[str, Any], site: Path, through: Any
) -> None:
    """Put, get and list below the prefix; encrypted where they lie."""
    store = boto3.client(
        "s3",
        endpoint_url=variables["mlflow_artifact_store_endpoint_url"],
        region_name="eu-central-1",
        verify=str(site / "ca.pem"),
        aws_access_key_id=variables["mlflow_artifact_store_access_key_id"],
        aws_secret_access_key=variables["mlflow_artifact_store_secret_access_key"],
    )
    key = f"seen/{os.urandom(4).hex()}.txt"
    assert through("alt-a", "PUT", f"/api/2.0/mlflow-artifacts/artifacts/{key}", body=b"here")[0] == 200
    answer = store.get_object(Bucket="tracking", Key=f"alternative/artifacts/{key}")
    assert (answer["Body"].read(), answer["ServerSideEncryption"]) == (b"here", "AES256")
    attempts: list[tuple[str, dict[str, Any]]] = [
        ("put_object", {"Key": "elsewhere", "Body": b""}),
        ("list_objects_v2", {}),
        ("delete_object", {"Key": f"alternative/artifacts/{key}"}),
        ("put_bucket_policy", {"Policy": "{}"}),
    ]
    for what, arguments in attempts:
        with pytest.raises(ClientError) as caught:
            getattr(store, what)(Bucket="tracking", **arguments)
        assert caught.value.response["Error"]["Code"] == "AccessDenied", what


def requests_through_the_proxy(log: str) -> set[tuple[str, str]]:
    """Who asked the proxy for what: (address of the client, name of the server)."""
    clients: dict[str, str] = {}
    found = set()
    for line in log.splitlines():
        if match := re.search(r"Connect \(file descriptor (\d+)\): .*\[?(10\.213\.77\.\d+)\]?$", line):
            clients[match[1]] = match[2]
        elif match := re.search(r"Request \(file descriptor (\d+)\): \w+ (?:http://)?([^:/ ]+)", line):
            found.add((clients.get(match[1], "?"), match[2]))
    return found


def test_everything_was_installed_through_the_proxy(
    hosts: Mapping[str, Any], given: Mapping[str, Mapping[str, Any]]
) -> None:
    """Packages of Debian on every host, packages of Python on the servers, and no other use of it: the bucket is near."""
    seen = requests_through_the_proxy(hosts["alt-store"].check_output("cat /var/log/tinyproxy/tinyproxy.log"))
    for name in INSTALLATION:
        assert any(address == given[name]["ansible_host"] and "debian" in target for address, target in seen), (
            f"{name}: {seen}"
        )
    for name in SERVERS:
        assert any(address == given[name]["ansible_host"] and "debian" not in target for address, target in seen), (
            f"{name}: {seen}"
        )
    assert not any(target.endswith("alternative.test") for _address, target in seen)


@pytest.mark.parametrize("server", SERVERS)
def test_verify_is_green_from_each_server(playbook: Any, server: str) -> None:
    """What an operator runs, from either of them."""
    # site proves from the first server: the program comes to another one when it is first asked, and is shown as a difference.
    done = playbook("verify", "--limit", f"localhost,{server}")
    assert done.returncode == 0, done.stdout[-3000:]
    done = playbook("verify", "--limit", f"localhost,{server}")
    assert done.returncode == 0, done.stdout[-3000:]
    assert f"{server} " in done.stdout.rpartition("PLAY RECAP")[2]
    assert not re.search(r"FAILED(?! - RETRYING)", done.stdout)
    assert "changed=0" in done.stdout


def test_status_tells_what_runs_on_every_host(playbook: Any) -> None:
    """One table a host, each about what is there."""
    done = playbook("status")
    assert done.returncode == 0, done.stdout[-3000:]
    for name in INSTALLATION:
        assert f"{name}" in done.stdout
    assert "certificate edge" in done.stdout
    assert "live slot" in done.stdout


@pytest.mark.parametrize("name", INSTALLATION)
def test_no_secret_on_any_host(
    hosts: Mapping[str, Any], secrets: dict[str, str], variables: Mapping[str, Any], name: str
) -> None:
    """Processes, journal, units, logs and files that others can read."""
    wanted = {
        **secrets,
        "mlflow_artifact_store_secret_access_key": str(variables["mlflow_artifact_store_secret_access_key"]),
    }
    needles = hunting.needles(wanted, str(variables["mlflow_admin_username"]))
    assert hunting.hunt(hosts[name], needles, str(variables["mlflow_user"])) == []


@pytest.mark.parametrize("name", INSTALLATION)
def test_a_second_converge_changed_nothing(name: str) -> None:
    """Files, starts and rows, as they were recorded around it."""
    before = checks.a_second_converge_changed_nothing(name)
    assert ("tracking" in before["databases"]) == (name == "alt-db")
