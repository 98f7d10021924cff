"""What a host's units use, and how they are kept still while others are measured."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from pathlib import Path
from typing import Any

CGROUPS = Path("/sys/fs/cgroup")
TICKS = os.sysconf("SC_CLK_TCK")


def control_group(unit: str) -> Path:
    """The folder of a unit's cgroup."""
    done = subprocess.run(
        ["systemctl", "show", "--property=ControlGroup", "--value", unit], capture_output=True, text=True, check=True
    )
    if not done.stdout.strip():
        raise RuntimeError(f"{unit} does not run on this host")
    return CGROUPS / done.stdout.strip().lstrip("/")


def processes(unit: str) -> list[int]:
    """The processes of a unit, the oldest first."""
    group = control_group(unit)
    found = [int(pid) for file in group.rglob("cgroup.procs") for pid in file.read_text().split()]
    return sorted(found, key=started)


def started(pid: int) -> int:
    """When a process started, in ticks since the boot; 0 if it is gone."""
    try:
        return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[19])
    except OSError:
        return 0


def freeze(units: list[str]) -> None:
    """Stop all processes where they are. Parents first: a supervisor must not see a child that does not answer."""
    for unit in units:
        for pid in processes(unit):
            send(pid, signal.SIGSTOP)


def thaw(units: list[str]) -> None:
    """Let them go on. What others need first: the last unit, and in it the children."""
    for unit in reversed(units):
        for pid in reversed(processes(unit)):
            send(pid, signal.SIGCONT)


def send(pid: int, what: signal.Signals) -> None:
    """A signal to a process that may be gone meanwhile."""
    try:
        os.kill(pid, what)
    except ProcessLookupError:
        return


def cpu_seconds(units: list[str]) -> float:
    """CPU that the units have used since they started."""
    total = 0
    for unit in units:
        for line in (control_group(unit) / "cpu.stat").read_text().splitlines():
            name, value = line.split()
            if name == "usage_usec":
                total += int(value)
    return total / 1e6


def resident_bytes(units: list[str]) -> dict[str, int]:
    """Resident memory: `rss` counts shared pages in every process, `pss` shares them out."""
    sums = {"rss": 0, "pss": 0}
    for unit in units:
        for pid in processes(unit):
            for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
                name, _colon, rest = line.partition(":")
                if name.lower() in sums:
                    sums[name.lower()] += int(rest.split()[0]) * 1024
    return sums


def machine_seconds() -> dict[str, float]:
    """CPU seconds of the whole machine since its boot: `busy`, and `steal`, which another guest of the same hardware took."""
    first = Path("/proc/stat").read_text().splitlines()[0].split()[1:]
    user, nice, system, _idle, _wait, irq, softirq, steal = (int(value) / TICKS for value in first[:8])
    return {"busy": user + nice + system + irq + softirq, "steal": steal}


class Watch:
    """What units and the rest of the machine use from `begin` on."""

    def __init__(self, units: list[str]) -> None:
        self.units = units
        self.begin()

    def begin(self) -> None:
        """Count from now on."""
        self.before = cpu_seconds(self.units), machine_seconds(), time.perf_counter()

    def read(self, client_cpu: float) -> dict[str, Any]:
        """Server CPU in seconds; `other` and `steal` as a share of the machine's CPUs."""
        server, machine, start = self.before
        used, now, seconds = cpu_seconds(self.units) - server, machine_seconds(), time.perf_counter() - start
        capacity = seconds * (os.cpu_count() or 1)
        other = now["busy"] - machine["busy"] - used - client_cpu
        return {
            "server_cpu": used,
            "other": max(0.0, other / capacity),
            "steal": max(0.0, (now["steal"] - machine["steal"]) / capacity),
        }
