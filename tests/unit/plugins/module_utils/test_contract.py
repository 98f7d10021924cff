"""What is refused before anything is changed: one sentence each, never a secret."""

from __future__ import annotations

from typing import Any

import pytest

from ansible_collections.mlops.mlflow.plugins.module_utils._contract import (
    account_problems,
    choice_problems,
    host_problems,
    host_warnings,
    inventory_problems,
    is_host_name,
    secret_problems,
)

CHOICES: dict[str, Any] = {
    "environment": "prod",
    "domain": "mlflow.example.com",
    "https_port": 443,
    "service_ports": [5001, 5002, 5432],
    "auth": "basic",
    "admin_username": "admin",
    "user": "mlflow",
    "group": "mlflow",
    "uid": None,
    "gid": None,
    "artifact_uri": "/srv/mlflow/artifacts",
    "install_dir": "/opt/mlflow",
    "config_dir": "/etc/mlflow",
    "edge_listen": [],
}


def choices(**changes: Any) -> list[str]:
    return choice_problems({**CHOICES, **changes}, [], "app1")


def test_good_choices_pass() -> None:
    assert choices() == []
    assert choices(uid=1, gid="4294967294") == []


@pytest.mark.parametrize(
    ("changes", "wanted"),
    [
        ({"environment": ""}, "[CHOICE_MISSING] app1: mlflow_environment is not set."),
        ({"domain": None}, "[CHOICE_MISSING] app1: mlflow_domain is not set. Set it, for example mlflow_domain:"),
        ({"environment": "Prod"}, "[CHOICE_ENVIRONMENT] app1: mlflow_environment=Prod."),
        ({"environment": "1st"}, "[CHOICE_ENVIRONMENT] app1: mlflow_environment=1st."),
        ({"domain": "https://mlflow.example.com"}, "[CHOICE_DOMAIN] app1: mlflow_domain=https://mlflow.example.com."),
        ({"domain": "mlflow.example.com:8443"}, "[CHOICE_DOMAIN]"),
        ({"domain": "mlflow.example.com/mlflow"}, "[CHOICE_DOMAIN]"),
        ({"domain": "10.0.0.1"}, "[CHOICE_DOMAIN]"),
        ({"domain": "mlflow..example.com"}, "[CHOICE_DOMAIN]"),
        (
            {"uid": -1},
            "[CHOICE_USER] app1: mlflow_uid=-1. It is a number from 1 to 4294967294. Use a number that no user",
        ),
        ({"uid": 0}, "[CHOICE_USER] app1: mlflow_uid=0."),
        ({"gid": "4294967295"}, "[CHOICE_USER] app1: mlflow_gid=4294967295. It is a number from 1 to 4294967294."),
        ({"https_port": 0}, "[CHOICE_PORT] app1: mlflow_https_port=0. Ports go from 1 to 65535."),
        ({"https_port": "65536"}, "[CHOICE_PORT]"),
        ({"https_port": 5432}, "[CHOICE_PORT] app1: mlflow_https_port=5432. 5001, 5002 and 5432 belong to"),
        (
            {"https_port": 7001, "service_ports": [7001, 7002, 6432]},
            "[CHOICE_PORT] app1: mlflow_https_port=7001. 7001, 7002 and 6432 belong to",
        ),
        (
            {"install_dir": "opt/mlflow"},
            "[CHOICE_PATH] app1: mlflow_install_dir=opt/mlflow. It must be an absolute path.",
        ),
        (
            {"install_dir": "/opt/"},
            "[CHOICE_PATH] app1: mlflow_install_dir=/opt/. That directory belongs to the system.",
        ),
        ({"config_dir": "/etc/mlflow/../nginx"}, "[CHOICE_PATH]"),
        ({"artifact_uri": "mlruns"}, "[ARTIFACT_URI] app1: mlflow_artifact_uri=mlruns."),
        ({"artifact_uri": "s3://"}, "[ARTIFACT_URI]"),
        ({"auth": "none"}, "[AUTH_NONE] app1: mlflow_auth=none. Without a login the edge may listen on loopback only"),
        ({"auth": "none", "edge_listen": ["127.0.0.1", "10.0.0.1"]}, "[AUTH_NONE]"),
        ({"auth": "none", "edge_listen": ["mlflow.example.com"]}, "[AUTH_NONE]"),
    ],
)
def test_what_cannot_work_is_refused_in_one_sentence(changes: dict[str, Any], wanted: str) -> None:
    problems = choices(**changes)
    assert len(problems) == 1
    assert problems[0].startswith(wanted)
    assert problems[0].endswith("Nothing was changed.")
    assert "\n" not in problems[0]


def test_no_login_is_accepted_on_loopback() -> None:
    assert choices(auth="none", edge_listen=["127.0.0.1", "::1", "[::1]", "localhost"]) == []


def test_misspelt_names_come_first() -> None:
    unknown = [{"name": "mlflow_domian", "nearest": "mlflow_domain"}, {"name": "mlflow_x", "nearest": ""}]
    problems = choice_problems({**CHOICES, "domain": ""}, unknown, "app1")
    assert [problem.split("]", maxsplit=1)[0] for problem in problems] == ["[VARIABLE_UNKNOWN"] * 2 + [
        "[CHOICE_MISSING"
    ]
    assert "mlflow_domian is set" in problems[0]
    assert "Did you mean mlflow_domain?" in problems[0]
    assert "Remove it, or begin its name with mlflow_site_" in problems[1]


@pytest.mark.parametrize("name", ["a", "mlflow", "a-b.example.com", "x" * 63 + ".test", "3com.example"])
def test_host_names(name: str) -> None:
    assert is_host_name(name)


@pytest.mark.parametrize("name", ["", ".", "a.", "-a.test", "a_b.test", "x" * 64 + ".test", "1.2.3.4", "::1", "a b"])
def test_other_texts_are_no_host_names(name: str) -> None:
    assert not is_host_name(name)


# ----- secrets

GOOD = "Xk3vQ9zLr2Tn8WpB"


def secrets(**values: str) -> list[str]:
    minimums = {"mlflow_admin_password": 12, "mlflow_crypto_kek_passphrase": 16}
    given = {"mlflow_admin_password": GOOD, "mlflow_crypto_kek_passphrase": GOOD, **values}
    asked = {name: {"minimum": minimums[name], "value": value} for name, value in given.items()}
    return secret_problems(asked, "prod", "admin", "app1")


def test_good_secrets_pass() -> None:
    assert secrets() == []


def test_missing_secrets_are_named_in_one_sentence_with_the_playbook() -> None:
    problems = secrets(mlflow_admin_password="", mlflow_crypto_kek_passphrase="")
    assert len(problems) == 1
    assert "mlflow_admin_password, mlflow_crypto_kek_passphrase are not set" in problems[0]
    assert "mlops.mlflow.secrets with this inventory and --vault-id prod@prompt" in problems[0]


@pytest.mark.parametrize(
    ("values", "why"),
    [
        ({"mlflow_admin_password": "Xk3vQ9zLr2T"}, "has 11 characters; at least 12 are needed"),
        ({"mlflow_crypto_kek_passphrase": "Xk3vQ9zLr2Tn8Wp"}, "has 15 characters; at least 16 are needed"),
        ({"mlflow_admin_password": "aaaaaaaaaaaa"}, "fewer than 5 different characters"),
        (
            {"mlflow_admin_password": "adminadminadmin"},
            "fewer than 5 different characters|little more than the user name",
        ),
        ({"mlflow_admin_password": "admin-admin1"}, "little more than the user name"),
        ({"mlflow_admin_password": "Password1234"}, "is a well-known password"),
        ({"mlflow_admin_password": "changeme2026"}, "is a well-known password"),
    ],
)
def test_weak_secrets_are_refused_without_being_shown(values: dict[str, str], why: str) -> None:
    problems = secrets(**values)
    assert len(problems) == 1
    assert any(reason in problems[0] for reason in why.split("|"))
    assert next(iter(values)) in problems[0]
    assert next(iter(values.values())) not in problems[0]


# ----- the host

INFO: dict[str, Any] = {
    "addresses": ["10.0.0.1"],
    "architecture": "x86_64",
    "clock_offset": 0.4,
    "environment": "",
    "file_system": {"/opt/mlflow": "ext4", "/srv/mlflow/artifacts": "ext4", "/var/lib/postgresql": "ext4"},
    "free_mb": {"/opt/mlflow": 9000, "/srv/mlflow/artifacts": 9000, "/var/lib/postgresql": 9000},
    "listeners": [],
    "memory_mb": 4000,
    "os": "debian",
    "os_version": "13",
    "python": "3.13",
    "python_apt": True,
    "accounts": {"user": {"number": 997, "holder": ""}, "group": {"number": 996, "holder": ""}},
    "releases": [],
}
PORTS = {"server": [5001, 5002], "database": [5432], "edge": [80, 443]}
WANTED: dict[str, Any] = {
    "concerns": ["database", "server", "edge"],
    "memory_minimum_mb": 1800,
    "disk_minimum_mb": 3500,
    "clock_tolerance": 30,
    "environment": "prod",
    "domain": "mlflow.example.com",
    "https_port": 443,
    "ports": PORTS,
    "artifact_uri": "/srv/mlflow/artifacts",
    "install_dir": "/opt/mlflow",
    "config_dir": "/etc/mlflow",
    "user": "mlflow",
    "group": "mlflow",
    "uid": None,
    "gid": None,
    "server_count": 1,
    "check_mode": False,
    "debug_secrets": False,
}


def listener(port: int, process: str, user: str = "root") -> dict[str, Any]:
    return {"port": port, "process": process, "user": user, "pid": 42}


def test_a_good_host_passes() -> None:
    assert host_problems(INFO, WANTED, "app1") == []
    assert host_problems({**INFO, "os_version": "12", "python": "3.11"}, WANTED, "app1") == []
    assert host_warnings(INFO, WANTED, "app1") == []


@pytest.mark.parametrize(
    ("info", "wanted", "sentence"),
    [
        ({"os_version": "11"}, {}, "[OS_UNSUPPORTED] app1: operating system=debian 11."),
        ({"os": "ubuntu", "os_version": "24.04"}, {}, "[OS_UNSUPPORTED] app1: operating system=ubuntu 24.04."),
        ({"architecture": "aarch64"}, {}, "[HOST_ARCHITECTURE] app1: architecture=aarch64."),
        ({"python": "3.12"}, {}, "[HOST_PYTHON] app1: Python=3.12. Debian 13 brings Python 3.13"),
        ({"python_apt": False}, {"check_mode": True}, "[HOST_CHECK_MODE] app1: python3-apt is missing"),
        ({"memory_mb": 512}, {}, "[HOST_MEMORY] app1: memory=512 MB. At least 1800 MB are needed."),
        ({"memory_mb": 800}, {"concerns": ["database"]}, "[HOST_MEMORY] app1: memory=800 MB. At least 900 MB"),
        (
            {"free_mb": {"/opt/mlflow": 2000, "/srv/mlflow/artifacts": 9000}},
            {},
            "[HOST_DISK] app1: free disk below mlflow_install_dir=/opt/mlflow=2000 MB. At least 3500 MB",
        ),
        (
            {"free_mb": {"/opt/mlflow": 1000}, "releases": ["3.17.2-a"]},
            {},
            "[HOST_DISK] app1: free disk below mlflow_install_dir=/opt/mlflow=1000 MB. At least 1800 MB",
        ),
        (
            {"free_mb": {"/opt/mlflow": 9000, "/var/lib/postgresql": 100}},
            {},
            "[HOST_DISK] app1: free disk below /var/lib/postgresql=100 MB. At least 500 MB are needed.",
        ),
        (
            {},
            {"server_count": 2},
            "[ARTIFACTS_NOT_SHARED] app1: mlflow_artifact_uri=/srv/mlflow/artifacts. There are 2",
        ),
        (
            {"listeners": [listener(443, "apache2")]},
            {},
            "[HOST_PORT_IN_USE] app1: port 443 is taken by apache2 (process 42, user root).",
        ),
        (
            {"listeners": [listener(8443, "caddy")]},
            {"https_port": 8443, "ports": {**PORTS, "edge": [80, 8443]}},
            "[HOST_PORT_IN_USE] app1: port 8443 is taken",
        ),
        # The site's own ports, not those that nobody changed.
        (
            {"listeners": [listener(5001, "python3", "alice"), listener(7001, "python3", "alice")]},
            {"ports": {**PORTS, "server": [7001, 7002]}},
            "[HOST_PORT_IN_USE] app1: port 7001 is taken by python3 (process 42, user alice).",
        ),
        ({"listeners": [listener(80, "lighttpd")]}, {}, "[HOST_PORT_IN_USE] app1: port 80 is taken by lighttpd"),
        ({"listeners": [listener(5432, "mysqld")]}, {}, "[HOST_PORT_IN_USE] app1: port 5432 is taken by mysqld"),
        ({"listeners": [listener(5001, "python3", "alice")]}, {}, "[HOST_PORT_IN_USE] app1: port 5001 is taken by"),
        ({"listeners": [listener(5002, "")]}, {}, "[HOST_PORT_IN_USE] app1: port 5002 is taken by an unknown process"),
        ({"clock_offset": -95.2}, {}, "[HOST_CLOCK] app1: the clock is 95 s behind the controller's."),
        ({"clock_offset": 3600.0}, {}, "[HOST_CLOCK] app1: the clock is 60 min ahead of the controller's."),
        (
            {"environment": "dev"},
            {},
            "[HOST_ENVIRONMENT] app1: mlflow_environment=prod. /etc/mlflow/environment on the host says dev.",
        ),
    ],
)
def test_a_host_that_cannot_work_is_refused(info: dict[str, Any], wanted: dict[str, Any], sentence: str) -> None:
    problems = host_problems({**INFO, **info}, {**WANTED, **wanted}, "app1")
    assert len(problems) == 1
    assert problems[0].startswith(sentence)
    assert problems[0].endswith("Nothing was changed.")


@pytest.mark.parametrize(
    ("info", "wanted"),
    [
        ({"listeners": [listener(443, "nginx"), listener(80, "nginx"), listener(5432, "postgres", "postgres")]}, {}),
        ({"listeners": [listener(5001, "python3", "mlflow"), listener(5002, "mlflow", "mlflow")]}, {}),
        # What a host does not carry is none of our business.
        ({"listeners": [listener(443, "apache2"), listener(5001, "python3")]}, {"concerns": ["database"]}),
        ({"architecture": "aarch64", "python": "3.12"}, {"concerns": ["edge"]}),
        ({"environment": "prod\n"}, {}),
        ({"file_system": {"/srv/mlflow/artifacts": "nfs4"}}, {"server_count": 2}),
        ({}, {"server_count": 2, "artifact_uri": "s3://bucket/mlflow"}),
    ],
)
def test_what_is_ours_or_none_of_our_business_passes(info: dict[str, Any], wanted: dict[str, Any]) -> None:
    assert host_problems({**INFO, **info}, {**WANTED, **wanted}, "app1") == []


NUMBERED = {"user": "mlflow", "group": "trackers", "uid": None, "gid": None}


@pytest.mark.parametrize(
    ("user", "group", "wanted", "sentences"),
    [
        # It exists with another number, which it keeps.
        (
            (997, ""),
            (996, ""),
            {"uid": "20001"},
            [
                (
                    "[HOST_ACCOUNT] app1: mlflow_uid=20001. The user mlflow exists on this host with the number 997, and its files know it"
                    " by that. Set mlflow_uid=997, or change the number while MLflow is stopped, as docs/how-to/share-a-directory.md shows."
                    " Nothing was changed."
                )
            ],
        ),
        # Nobody is there yet, and somebody else has the number: useradd would fail after groupadd.
        (
            (None, ""),
            (None, "backup"),
            {"uid": 20001, "gid": 34},
            [
                (
                    "[HOST_ACCOUNT] app1: mlflow_gid=34. That number belongs to the group backup of this host. Choose a number that no group"
                    " has on any server, or leave mlflow_gid out. Nothing was changed."
                )
            ],
        ),
        # Both: to say its own number would be no help to one who cannot get the other.
        (
            (997, "daemon"),
            (996, ""),
            {"uid": 1, "gid": 20001},
            [
                (
                    "[HOST_ACCOUNT] app1: mlflow_uid=1. That number belongs to the user daemon of this host. Choose a number that no user"
                    " has on any server, or leave mlflow_uid out. Nothing was changed."
                ),
                (
                    "[HOST_ACCOUNT] app1: mlflow_gid=20001. The group trackers exists on this host with the number 996, and its files know it"
                    " by that. Set mlflow_gid=996, or change the number while MLflow is stopped, as docs/how-to/share-a-directory.md shows."
                    " Nothing was changed."
                ),
            ],
        ),
        # What is as it should be, also under a second name; what is to come; and what the host may choose.
        ((20001, "mlflow"), (20002, "other-name"), {"uid": 20001, "gid": "20002"}, []),
        ((None, ""), (None, ""), {"uid": 20001, "gid": 20001}, []),
        ((997, ""), (None, ""), {}, []),
    ],
)
def test_nobody_is_renumbered_in_passing(
    user: tuple[int | None, str], group: tuple[int | None, str], wanted: dict[str, Any], sentences: list[str]
) -> None:
    found = {
        kind: {"number": number, "holder": holder} for kind, (number, holder) in (("user", user), ("group", group))
    }
    assert account_problems(found, {**NUMBERED, **wanted}, "app1") == sentences


def test_only_a_server_has_the_user() -> None:
    wanted = {**WANTED, "uid": 20001}
    assert [said.split(".", maxsplit=1)[0] for said in host_problems(INFO, wanted, "app1")] == [
        "[HOST_ACCOUNT] app1: mlflow_uid=20001"
    ]
    assert host_problems(INFO, {**wanted, "concerns": ["database", "edge"]}, "app1") == []


def test_every_problem_is_said_at_once() -> None:
    problems = host_problems({**INFO, "memory_mb": 100, "os_version": "10", "environment": "dev"}, WANTED, "app1")
    assert [problem.split("]", maxsplit=1)[0][1:] for problem in problems] == [
        "OS_UNSUPPORTED",
        "HOST_MEMORY",
        "HOST_ENVIRONMENT",
    ]


def test_a_name_that_does_not_resolve_yet_is_a_warning() -> None:
    warning = host_warnings({**INFO, "addresses": []}, WANTED, "app1")[0]
    assert warning.startswith("[DOMAIN_UNRESOLVED] app1: mlflow_domain=mlflow.example.com.")
    assert "Nothing was changed" not in warning


def test_shown_secrets_are_a_warning() -> None:
    warnings = host_warnings(INFO, {**WANTED, "debug_secrets": True}, "app1")
    assert [warning.split("]", maxsplit=1)[0] for warning in warnings] == ["[DEBUG_SECRETS"]


# ----- the inventory

KNOWN = ["mlflow_databases", "mlflow_servers", "mlflow_edges"]
GROUPS = ", ".join(KNOWN)


def inventory(**groups: list[str]) -> list[str]:
    return inventory_problems(
        {"all": [], "ungrouped": [], **groups},
        group="mlflow",
        known=KNOWN,
        needed=["mlflow_servers"],
        sources=["inventories/prod"],
    )


def test_a_good_inventory_passes() -> None:
    assert (
        inventory(mlflow=["a", "b"], mlflow_servers=["a"], mlflow_edges=["b"], mlflow_site_rack=["a"], web=["b"]) == []
    )


@pytest.mark.parametrize(
    ("groups", "sentence"),
    [
        ({}, "[INVENTORY_MISSING] inventories/prod: there is no group mlflow. Give an inventory that has it"),
        ({"mlflow": []}, "[INVENTORY_GROUP_EMPTY] inventories/prod: the group mlflow_servers has no host."),
        ({"mlflow": ["a"], "mlflow_edges": ["a"], "mlflow_servers": []}, "[INVENTORY_GROUP_EMPTY]"),
        (
            {"mlflow": ["a", "b"], "mlflow_servers": ["a"]},
            "[INVENTORY_HOST_IDLE] inventories/prod: b is in mlflow but in none",
        ),
        (
            {"mlflow": ["a", "b"], "mlflow_servers": ["a"], "mlflow_edge": ["b"]},
            "[INVENTORY_GROUP_UNKNOWN] inventories/prod: the group mlflow_edge is not one of "
            + GROUPS
            + ". Did you mean mlflow_edges?",
        ),
        ({"mlflow_hosts": ["a"]}, "[INVENTORY_GROUP_UNKNOWN]"),
    ],
)
def test_an_inventory_that_describes_nothing_is_refused(groups: dict[str, list[str]], sentence: str) -> None:
    problems = inventory(**groups)
    assert len(problems) == 1
    assert problems[0].startswith(sentence)


def test_no_inventory_at_all_is_said() -> None:
    problems = inventory_problems({"all": []}, group="mlflow", known=KNOWN, needed=[], sources=[])
    assert problems[0].startswith("[INVENTORY_MISSING] no inventory: there is no group mlflow.")
