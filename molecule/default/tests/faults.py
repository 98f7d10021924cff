"""What can be wrong with a host, for the cases of tests/refusals/live.py: each is made, proved, and taken away again.

A test host shares its kernel with its neighbours: clock, memory and processor are what a program on the host is told, which is all
that Ansible can see as well.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Any

Words = dict[str, str]
FAULTS: dict[str, Callable[[Any], AbstractContextManager[Words]]] = {}


def fault(function: Callable[[Any], Iterator[Words | None]]) -> None:
    """Register a fault; what it yields may stand in sentences."""

    @contextmanager
    def made(host: Any) -> Iterator[Words]:
        steps = function(host)
        words = next(steps, None) or {}
        try:
            yield words
        finally:
            next(steps, None)

    FAULTS[function.__name__] = made


def write(host: Any, path: str, text: str, mode: str = "0644") -> None:
    """A file on the host."""
    host.run_test("install -D -m %s /dev/null %s", mode, path)
    host.check_output("printf '%%s' %s > %s", text, path)


@fault
def guest(host: Any) -> Iterator[None]:
    """Somebody who may log in with the same key and is not root; sudo asks for a password that he does not have."""
    host.check_output("useradd --uid 4242 --user-group --create-home mlops-guest")
    host.check_output("install -d -o mlops-guest /home/mlops-guest/.ssh")
    host.check_output(
        "install -o mlops-guest -m 0600 /root/.ssh/authorized_keys /home/mlops-guest/.ssh/authorized_keys"
    )
    yield
    host.run_expect([0, 6, 12], "userdel --force --remove mlops-guest")


@fault
def other_python(host: Any) -> Iterator[None]:
    """A Python that says it is another version than Debian's."""
    path = "/usr/local/bin/mlops-fault-python"
    write(host, path, "#!/bin/sh\necho 3.10\n", "0755")
    yield
    host.check_output("rm %s", path)


@fault
def foreign_system(host: Any) -> Iterator[None]:
    """Another distribution, as far as its own file says."""
    write(host, "/run/mlops-fault/os-release", 'ID=ubuntu\nVERSION_ID="24.04"\nNAME=Ubuntu\n')
    host.check_output("mount --bind /run/mlops-fault/os-release /usr/lib/os-release")
    assert "ubuntu" in host.check_output("cat /etc/os-release")
    yield
    host.check_output("umount /usr/lib/os-release")


@fault
def little_memory(host: Any) -> Iterator[None]:
    """A host of 1 GB, as the kernel tells it."""
    host.check_output("mkdir -p /run/mlops-fault")
    host.check_output("sed 's/^MemTotal:.*/MemTotal:        1000000 kB/' /proc/meminfo > /run/mlops-fault/meminfo")
    host.check_output("mount --bind /run/mlops-fault/meminfo /proc/meminfo")
    assert "1000000 kB" in host.check_output("grep MemTotal /proc/meminfo")
    yield
    host.check_output("umount /proc/meminfo")


@fault
def listener(host: Any) -> Iterator[Words]:
    """Another program on port 8443."""
    unit = "mlops-fault-listener"
    host.check_output("systemd-run --quiet --collect --unit=%s /usr/bin/python3 -m http.server 8443", unit)
    host.check_output("timeout 20 sh -c 'until ss -Hltn sport = :8443 | grep -q .; do sleep 0.2; done'")
    yield {"pid": host.check_output("systemctl show --value --property=MainPID %s", unit)}
    host.check_output("systemctl stop %s", unit)


@fault
def small_disk(host: Any) -> Iterator[None]:
    """A disk of 64 MiB, and one on which nothing more can be written."""
    for name in ("small", "full"):
        host.check_output("mkdir -p /mnt/mlops-%s", name)
        host.check_output("mount -t tmpfs -o size=64m mlops-fault /mnt/mlops-%s", name)
    full = host.run("dd if=/dev/zero of=/mnt/mlops-full/everything bs=1M")
    assert full.rc != 0
    assert "No space left on device" in full.stderr
    yield
    for name in ("small", "full"):
        host.check_output("umount /mnt/mlops-%s", name)
        host.check_output("rmdir /mnt/mlops-%s", name)


@fault
def late_clock(host: Any) -> Iterator[None]:
    """A Python whose clock is three hours behind, under a kernel that says it is one of 32 bits."""
    path = "/usr/local/bin/mlops-fault-late"
    write(
        host, "/run/mlops-fault/sitecustomize.py", "import time\nreal = time.time\ntime.time = lambda: real() - 10800\n"
    )
    write(host, path, '#!/bin/sh\nPYTHONPATH=/run/mlops-fault exec linux32 /usr/bin/python3 "$@"\n', "0755")
    said = host.check_output("%s -c %s", path, "import platform, time; print(platform.machine(), int(time.time()))")
    machine, seconds = said.split()
    assert machine == "i686"
    assert 10700 < int(host.check_output("date +%s")) - int(seconds) < 10900
    yield
    host.check_output("rm %s", path)


@fault
def no_apt(host: Any) -> Iterator[None]:
    """A host whose Python cannot ask about packages."""
    place = "/usr/lib/python3/dist-packages/apt"
    host.check_output("mv %s %s", place, f"{place}.away")
    assert host.run("/usr/bin/python3 -c 'import apt'").rc != 0
    yield
    host.check_output("mv %s %s", f"{place}.away", place)


@fault
def foreign_site(host: Any) -> Iterator[None]:
    """Another site on the same nginx, at a name that somebody wants for MLflow."""
    lines = [
        "server {",
        "  listen 443 ssl;",
        "  server_name taken.test;",
        "  ssl_certificate /etc/mlflow/tls/edge.pem;",
        "  ssl_certificate_key /etc/mlflow/tls/edge.key;",
        "}",
    ]
    write(host, "/etc/nginx/conf.d/mlops-fault.conf", "\n".join(lines) + "\n")
    host.check_output("nginx -t")
    yield
    host.check_output("rm /etc/nginx/conf.d/mlops-fault.conf")


@fault
def broken_site(host: Any) -> Iterator[None]:
    """Another site on the same nginx, with a mistake in it."""
    write(host, "/etc/nginx/conf.d/mlops-fault.conf", "server { listen 8081; rot 13; }\n")
    assert host.run("nginx -t").rc != 0
    yield
    host.check_output("rm /etc/nginx/conf.d/mlops-fault.conf")


@fault
def firewall(host: Any) -> Iterator[None]:
    """A firewall that lets nobody to the public port, from the host itself either."""
    host.check_output("nft add table inet mlops_fault")
    host.check_output("nft add chain inet mlops_fault input '{ type filter hook input priority 0; }'")
    host.check_output("nft add rule inet mlops_fault input tcp dport 443 reject with tcp reset")
    assert host.run("timeout 5 bash -c ': </dev/tcp/127.0.0.1/443'").rc != 0
    yield
    host.check_output("nft delete table inet mlops_fault")


def sql(host: Any, text: str, database: str = "postgres") -> str:
    """What PostgreSQL's administrator is answered."""
    return str(host.check_output("runuser -u postgres -- psql -XqAt -v ON_ERROR_STOP=1 -d %s -c %s", database, text))


@fault
def foreign_databases(host: Any) -> Iterator[None]:
    """A database of somebody else's, and one of another environment."""
    sql(host, "CREATE DATABASE theirs")
    sql(host, "CREATE DATABASE prods")
    sql(host, "COMMENT ON DATABASE prods IS 'mlflow environment: prod'")
    yield
    sql(host, "DROP DATABASE theirs")
    sql(host, "DROP DATABASE prods")


@fault
def cluster_without_checksums(host: Any) -> Iterator[None]:
    """A second cluster, made by hand, that would not notice when its disk rots."""
    version = re.findall(r"\d+", host.check_output("ls /etc/postgresql"))[0]
    host.check_output("printf '' > /run/mlops-createcluster.conf")
    made = "pg_createcluster --createclusterconf=/run/mlops-createcluster.conf --port 5999 --start %s plain"
    host.check_output(made, version)
    shown = host.check_output("runuser -u postgres -- psql -XqAt -p 5999 -c 'SHOW data_checksums'")
    assert shown == "off"
    yield
    host.check_output("pg_dropcluster --stop %s plain", version)
    host.check_output("rm /run/mlops-createcluster.conf")


@fault
def newer_schema(host: Any) -> Iterator[None]:
    """A schema that a later release of MLflow made."""
    before = sql(host, "SELECT version_num FROM alembic_version", "mlflow")
    sql(host, "UPDATE alembic_version SET version_num = 'feedfacecafe'", "mlflow")
    yield
    sql(host, f"UPDATE alembic_version SET version_num = '{before}'", "mlflow")
