"""The logs of the edge, as the real logrotate treats them by our rule and Debian's."""

from __future__ import annotations

import pwd
import shutil
import subprocess
from pathlib import Path

import jinja2
import yaml

ROLE = Path(__file__).resolve().parents[3] / "roles/mlflow_edge"
INTERNAL = yaml.safe_load((ROLE / "vars/main.yml").read_text())
DEFAULTS = yaml.safe_load((ROLE / "defaults/main.yml").read_text())
# Of Debian's nginx-common, without what it runs.
DEBIANS = """%s/*.log {
    daily
    missingok
    rotate 14
    compress
    delaycompress
    notifempty
    create 0640 www-data adm
    sharedscripts
}
"""


class Host:
    """A folder with logs, and the rules that a host has for them."""

    def __init__(self, folder: Path, days: int) -> None:
        self.logs = folder / "nginx"
        self.logs.mkdir()
        self.reopened = folder / "reopened"
        self._folder = folder
        rules = folder / "logrotate.d"
        rules.mkdir()
        environment = jinja2.Environment(undefined=jinja2.StrictUndefined, autoescape=False)
        environment.filters["comment"] = lambda text: f"# {text}"
        ours = environment.from_string((ROLE / "templates/logrotate.j2").read_text()).render(
            ansible_managed="managed",
            mlflow_edge_log_days=days,
            __mlflow_edge_access_log=self.logs / Path(INTERNAL["__mlflow_edge_access_log"]).name,
            __mlflow_edge_error_log=self.logs / Path(INTERNAL["__mlflow_edge_error_log"]).name,
            __mlflow_edge_reopen=f"echo again >> {self.reopened}",
        )
        (rules / Path(INTERNAL["__mlflow_edge_logrotate"]).name).write_text(ours)
        (rules / "nginx").write_text(DEBIANS % self.logs)
        (folder / "logrotate.conf").write_text(f"include {rules}\n")

    def write(self, text: str, *names: str) -> None:
        for name in names or ("mlflow-access.log", "mlflow-error.log", "access.log"):
            with (self.logs / name).open("a") as file:
                file.write(text)

    def night(self) -> str:
        """What happens once a day; returns what was complained of."""
        program = shutil.which("logrotate", path="/usr/sbin:/usr/bin")
        assert program, "run `make setup`, or install Debian's package logrotate"
        done = subprocess.run(
            [program, "--force", "--state", self._folder / "state", self._folder / "logrotate.conf"],
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        return done.stderr

    def names(self, beginning: str) -> set[str]:
        return {path.name for path in self.logs.glob(f"{beginning}*")}


def test_a_night(tmp_path: Path) -> None:
    host = Host(tmp_path, 14)
    host.write("first\n")
    assert host.night() == "", "no log is claimed by two rules"
    assert (host.logs / "mlflow-access.log.1").read_text() == "first\n"
    fresh = (host.logs / "mlflow-access.log").stat()
    assert (fresh.st_size, fresh.st_mode & 0o777, pwd.getpwuid(fresh.st_uid).pw_name) == (0, 0o640, "www-data")
    assert host.reopened.read_text() == "again\n", "nginx is told once for both"
    # Logs of other sites are Debian's business, as before.
    assert (host.logs / "access.log.1").read_text() == "first\n"


def test_they_are_kept_for_so_many_days(tmp_path: Path) -> None:
    host = Host(tmp_path, 3)
    for number in range(6):
        host.write(f"day {number}\n")
        host.night()
    assert host.names("mlflow-access") == {
        "mlflow-access.log",
        "mlflow-access.log.1",
        "mlflow-access.log.2.gz",
        "mlflow-access.log.3.gz",
    }
    assert host.names("mlflow-error") == {name.replace("access", "error") for name in host.names("mlflow-access")}
    assert len(host.names("access")) == 7, "Debian keeps its own longer"


def test_the_rule_is_read_before_debians_and_its_program_is_installed() -> None:
    assert Path(INTERNAL["__mlflow_edge_logrotate"]).name < "nginx"
    assert Path(INTERNAL["__mlflow_edge_access_log"]).match("/var/log/nginx/*.log"), "else no rule had to be ignored"
    assert "'logrotate'" in INTERNAL["__mlflow_edge_packages"]
    assert DEFAULTS["mlflow_edge_log_days"] == 14
    cluster = yaml.safe_load((ROLE.parent / "mlflow_database/tasks/cluster.yml").read_text())
    assert any("logrotate" in task.get("ansible.builtin.apt", {}).get("name", []) for task in cluster)
