"""What a host says about itself: the texts of the kernel, and this machine."""

from __future__ import annotations

import grp
import os
import pwd
import socket
import time
from pathlib import Path

import pytest

from ansible_collections.mlops.mlflow.plugins.module_utils import _host

TCP = """\
  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode
   0: 0100007F:1389 00000000:0000 0A 00000000:00000000 00:00000000 00000000   997        0 71001 1 0000 100 0 0 10 0
   1: 0100007F:1389 0100007F:D2F0 01 00000000:00000000 00:00000000 00000000   997        0 71002 1 0000 100 0 0 10 0
   2: 00000000000000000000000000000000:01BB 00000000000000000000000000000000:0000 0A 0:0 00:0 0 0 0 71003 1
broken line
"""


def test_listening_sockets_are_read() -> None:
    assert _host.parse_listeners(TCP) == [(5001, 997, 71001), (443, 0, 71003)]


def test_the_systems_name_is_read() -> None:
    text = 'PRETTY_NAME="Debian GNU/Linux 13 (trixie)"\nID=debian\n# a comment=1\nVERSION_ID="13"\n'
    assert _host.parse_os_release(text)["VERSION_ID"] == "13"
    assert _host.parse_os_release(text)["ID"] == "debian"


@pytest.mark.parametrize(
    ("path", "kind"),
    [
        ("/srv/mlflow/artifacts", "nfs4"),
        ("/srv/mlflow", "ext4"),
        ("/srv/mlflow/artifacts2", "ext4"),
        ("/with blank/x", "cifs"),
    ],
)
def test_the_file_system_of_a_path_is_the_innermost_mount(path: str, kind: str) -> None:
    mounts = "dev / ext4 rw 0 0\nnas:/a /srv/mlflow/artifacts nfs4 rw 0 0\nnas:/b /with\\040blank cifs rw 0 0\nbroken\n"
    assert _host.mount_of(path, mounts) == kind


def test_a_listener_of_this_process_is_named() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        found = _host.listeners([port])
    assert [(entry["port"], entry["pid"]) for entry in found] == [(port, os.getpid())]
    assert found[0]["process"] == Path(f"/proc/{os.getpid()}/comm").read_text().strip()


def test_the_accounts_of_this_machine_are_known() -> None:
    me, mine = pwd.getpwuid(os.getuid()), grp.getgrgid(os.getgid())
    first = {"user": {"number": me.pw_uid, "holder": ""}, "group": {"number": mine.gr_gid, "holder": ""}}
    assert _host.accounts(user=me.pw_name, group=mine.gr_name, uid=None, gid=None) == first
    second = {"user": {"number": None, "holder": me.pw_name}, "group": {"number": None, "holder": mine.gr_name}}
    assert _host.accounts(user="", group="mlops-nobody", uid=me.pw_uid, gid=mine.gr_gid) == second


@pytest.mark.parametrize("number", [-2, -1, 4242424242, 2**32 - 1, 2**32, 2**70])
def test_a_number_that_nobody_has_is_nobodys(number: int) -> None:
    nobody = {"number": None, "holder": ""}
    assert _host.accounts(user="", group="", uid=number, gid=number) == {"user": nobody, "group": nobody}


def test_a_look_never_fails(tmp_path: Path) -> None:
    (tmp_path / "releases/3.17.2-abc").mkdir(parents=True)
    (tmp_path / "environment").write_text("dev\n")
    missing = str(tmp_path / "not/yet/there")
    seen = _host.look(
        install_dir=str(tmp_path),
        config_dir=str(tmp_path),
        domain="name.invalid",
        ports=[],
        paths=[missing],
        controller_time=time.time() + 60,
    )
    assert seen["environment"] == "dev"
    assert seen["releases"] == ["3.17.2-abc"]
    assert seen["free_mb"][missing] > 0
    assert seen["memory_mb"] > 0
    assert seen["addresses"] == []
    assert -61 < seen["clock_offset"] < -50
    nothing = _host.look(
        install_dir=missing, config_dir=missing, domain="", ports=[], paths=[], controller_time=time.time()
    )
    assert nothing["environment"] == ""
    assert nothing["releases"] == []


def test_names_resolve() -> None:
    assert "127.0.0.1" in _host.addresses("localhost")
    assert _host.addresses("x" * 300) == []
