"""The decisions of tools/hosts.py that need no host."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[3]
spec = importlib.util.spec_from_file_location("hosts", ROOT / "tools" / "hosts.py")
assert spec is not None
assert spec.loader is not None
hosts = importlib.util.module_from_spec(spec)
sys.modules["hosts"] = hosts  # dataclasses look their module up
spec.loader.exec_module(hosts)

DEB822 = """\
# a comment
Types: deb deb-src
URIs: http://mirror.test/debian
Suites: bookworm bookworm-updates
Components: main
 contrib
Signed-By: /usr/share/keyrings/debian-archive-keyring.gpg

Types: deb
URIs: http://mirror.test/debian-security/
Suites: bookworm-security
Components: main

Enabled: no
Types: deb
URIs: http://off.test/debian
Suites: trixie
Components: main

Types: deb-src
URIs: http://source.test/debian
Suites: trixie
Components: main
"""


def host(name: str, address: str, *aliases: str) -> object:
    return hosts.Host(name, address, "trixie", "/images/trixie", list(aliases))


def test_deb822_sources_are_read_with_folded_lines_and_without_disabled_ones() -> None:
    assert hosts.parse_sources(DEB822) == [
        ("http://mirror.test/debian", "bookworm", ["main", "contrib"]),
        ("http://mirror.test/debian", "bookworm-updates", ["main", "contrib"]),
        ("http://mirror.test/debian-security/", "bookworm-security", ["main"]),
    ]


def test_one_line_sources_are_read_with_options_and_without_comments() -> None:
    text = (
        "deb [arch=amd64 signed-by=/k.gpg] http://mirror.test/debian trixie main contrib # why\n"
        "# deb http://off.test/debian trixie main\n"
        "deb-src http://source.test/debian trixie main\n"
        "deb http://mirror.test/debian-security trixie-security main\n"
    )
    assert hosts.parse_sources(text) == [
        ("http://mirror.test/debian", "trixie", ["main", "contrib"]),
        ("http://mirror.test/debian-security", "trixie-security", ["main"]),
    ]


def test_the_archive_is_found_among_sources_of_others_that_use_its_suite_names() -> None:
    sources = [
        ("https://tools.test", "bookworm", ["main"]),
        ("https://node.test/node_20.x", "nodistro", ["main"]),
        ("https://containers.test/linux/debian", "bookworm", ["stable"]),
        *hosts.parse_sources(DEB822),
    ]
    assert hosts.choose_mirrors(sources) == ("http://mirror.test/debian", "http://mirror.test/debian-security")


def test_a_mirror_with_another_folder_is_taken_when_there_is_no_better_one() -> None:
    assert hosts.choose_mirrors([("http://mirror.test/pub", "trixie", ["main"])]) == ("http://mirror.test/pub", None)


def test_a_machine_without_a_debian_archive_has_no_mirror() -> None:
    assert hosts.choose_mirrors([("http://mirror.test/ubuntu", "noble", ["main"])]) == (None, None)


@pytest.mark.parametrize("before", ["", "127.0.0.1 localhost\n", "127.0.0.1 localhost\n\n10.0.0.1 other\n"])
def test_our_block_comes_and_goes_without_a_trace(before: str) -> None:
    once = hosts.edit_block(before, ["10.213.77.10 a", "10.213.77.11 b"])
    assert once.startswith(before)
    assert hosts.edit_block(once, ["10.213.77.10 a", "10.213.77.11 b"]) == once
    assert hosts.edit_block(once, ["10.213.77.10 a"]).count("10.213.77.") == 1
    assert hosts.edit_block(once, []) == before


def test_lines_after_our_block_stay() -> None:
    text = hosts.edit_block("127.0.0.1 localhost\n", ["10.213.77.10 a"]) + "10.0.0.1 later\n"
    assert hosts.edit_block(text, []) == "127.0.0.1 localhost\n10.0.0.1 later\n"
    assert "10.0.0.1 later\n" in hosts.edit_block(text, ["10.213.77.11 b"])


def test_a_file_without_a_last_newline_keeps_its_last_line() -> None:
    assert hosts.edit_block("127.0.0.1 localhost", ["10.213.77.10 a"]).splitlines()[:2] == [
        "127.0.0.1 localhost",
        "# BEGIN mlops-hosts",
    ]


def test_names_and_aliases_stand_on_one_line_in_a_stable_order() -> None:
    lines = hosts.hosts_lines([host("b", "10.213.77.11"), host("a", "10.213.77.10", "mlflow.a.test")])
    assert lines == ["10.213.77.10 a mlflow.a.test", "10.213.77.11 b"]


def test_a_stub_resolver_is_replaced_by_the_one_behind_it() -> None:
    machine = "nameserver 127.0.0.53\noptions edns0\nsearch example.test\n"
    assert hosts.guest_resolv_conf(machine, "nameserver 192.0.2.53\n") == (
        "nameserver 192.0.2.53\noptions edns0\nsearch example.test\n"
    )


def test_a_reachable_resolver_is_kept() -> None:
    assert hosts.guest_resolv_conf("nameserver 192.0.2.1\nnameserver 127.0.0.1\n", "") == "nameserver 192.0.2.1\n"


def test_a_machine_that_resolves_only_for_itself_is_told_what_to_do() -> None:
    with pytest.raises(hosts.HostsError, match="nameserver line"):
        hosts.guest_resolv_conf("nameserver 127.0.0.1\n", "")


def test_a_layer_has_the_bare_packages_and_its_own() -> None:
    suite, packages = hosts.image_parts("bookworm-apt")
    assert suite == "bookworm"
    assert set(packages) == {*hosts.BARE, *hosts.LAYERS["apt"]}


def test_the_bare_image_has_nothing_that_the_collection_installs() -> None:
    assert not {"postgresql", "nginx", "python3-venv"} & set(hosts.image_parts("trixie")[1])


@pytest.mark.parametrize("image", ["stretch", "trixie-", "trixie-none", ""])
def test_an_unknown_image_is_refused_with_those_that_exist(image: str) -> None:
    with pytest.raises(hosts.HostsError, match="trixie, bookworm, trixie-apt, bookworm-apt"):
        hosts.image_parts(image)


@pytest.mark.parametrize(
    ("name", "address", "sentence"),
    [
        ("M_1", "10.213.77.20", "no usable host name"),
        ("-m", "10.213.77.20", "no usable host name"),
        ("../m", "10.213.77.20", "no usable host name"),
        ("m", "10.213.77", "no IP address"),
        ("m", "10.213.78.20", "choose an address in 10.213.77.0/24"),
        ("m", "10.213.77.1", "not 10.213.77.1"),
        ("m", "10.213.77.255", "choose an address"),
        ("m", "10.213.77.30", "belongs to the host other"),
    ],
)
def test_a_host_that_cannot_work_is_refused(name: str, address: str, sentence: str) -> None:
    with pytest.raises(hosts.HostsError, match=sentence):
        hosts.check_request(name, address, [host("other", "10.213.77.30")])


def test_a_host_may_be_asked_for_again() -> None:
    hosts.check_request("other", "10.213.77.30", [host("other", "10.213.77.30")])


def test_no_mirror_has_its_name_in_the_driver() -> None:
    text = (ROOT / "tools" / "hosts.py").read_text()
    assert "http://" not in text
    assert "https://" not in text


def test_what_another_clone_looks_after_is_no_leak_of_this_one() -> None:
    made = [
        hosts.Host("mine", "10.213.77.1", "trixie", "", owner=str(hosts.CLONE)),
        hosts.Host("theirs", "10.213.77.2", "trixie", "", owner="/elsewhere"),
        hosts.Host("older", "10.213.77.3", "trixie", ""),
    ]
    assert hosts.of_others(made) == {"theirs"}
