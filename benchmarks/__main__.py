"""Measures an installation of ours against what would be used otherwise, on a host made for it, and renews the page of results.

make bench                      all goals, seven rounds (about 25 minutes)
make bench ARGS="--quick"       three short rounds, and the committed results stay as they are
make bench ARGS="--only P1 P3"  some of the goals; prints the tables only, with --write they take the place of the committed ones
make bench ARGS="--render"      renew page and picture from the committed results, without measuring
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
from datetime import UTC, datetime
from pathlib import Path

from ansible_collections.mlops.mlflow.benchmarks import picture, report
from ansible_collections.mlops.mlflow.benchmarks.figures import Results
from ansible_collections.mlops.mlflow.benchmarks.host import HERE, ROOT, Failed, Host
from ansible_collections.mlops.mlflow.benchmarks.measures import PASSWORD, Bench, Size, say

RESULTS = HERE / "results.json"
PAGE = ROOT / "docs/explanation/performance.md"
PICTURE = ROOT / "docs/explanation/performance.svg"


def load_results() -> Results:
    """The committed results."""
    return Results.from_json(json.loads(RESULTS.read_text(encoding="utf-8")))


def write(results: Results) -> None:
    """Page and picture."""
    PAGE.write_text(report.replace(PAGE.read_text(encoding="utf-8"), results), encoding="utf-8")
    PICTURE.write_text(picture.render(results), encoding="utf-8")


def machine() -> str:
    """What this machine is."""
    facts = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    model = next((line.partition(":")[2].strip() for line in facts if line.startswith("model name")), "unknown CPU")
    memory = next(
        int(line.split()[1]) for line in Path("/proc/meminfo").read_text().splitlines() if line.startswith("MemTotal")
    )
    return (
        f"{os.cpu_count()} CPUs ({model}), {memory // 2**20} GiB of memory, shared by client, server, database and edge"
    )


def revision() -> str:
    """Of this checkout."""
    git = ["git", "-C", str(ROOT)]
    name = subprocess.run(
        [*git, "rev-parse", "--short", "HEAD"], capture_output=True, text=True, check=False
    ).stdout.strip()
    changed = subprocess.run(
        [*git, "diff", "--quiet", "HEAD", "--", "roles", "playbooks", "plugins"], check=False
    ).returncode
    return f"{name or 'unknown'}{' with changes' if changed else ''}"


def measure(host: Host, size: Size, only: set[str], minutes: int) -> Results:
    """Install, measure."""
    deadline = time.monotonic() + 60 * minutes
    say("== The host is made and site.yml runs")
    host.up()
    host.play("site.yml")
    say("== What is used otherwise is installed beside it")
    host.play(str(HERE / "variants.yml"), "--extra-vars", f"bench_password={PASSWORD}")
    bench = Bench(host, size)
    bench.all(only, deadline)
    version = host.ssh("readlink /opt/mlflow/current").strip().rpartition("/")[2].partition("-")[0]
    return Results(
        date=datetime.now(tz=UTC).strftime("%Y-%m-%d %H:%M UTC"),
        revision=revision(),
        machine=machine(),
        mlflow=version,
        rounds=size.rounds,
        quick=size.quick,
        load_before=bench.load_before,
        other=bench.other,
        steal=bench.steal,
        restarted=bench.restarted,
        missing=bench.missing,
        figures=bench.figures,
        loads=bench.loads(),
    )


def main() -> int:
    """The command line."""
    parser = argparse.ArgumentParser(
        prog="make bench", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=0, help="rounds (default: 7, with --quick 3)")
    parser.add_argument(
        "--quick", action="store_true", help="small sizes, few rounds: to see whether the benchmark works"
    )
    parser.add_argument(
        "--only", nargs="+", default=[], metavar="GOAL", help="P1 (with P7, P8), P2, P3, P4, P5, P6, P9, P10, T1"
    )
    parser.add_argument("--minutes", type=int, default=180, help="begin no further goal after so many minutes")
    parser.add_argument("--keep", action="store_true", help="the host stays up afterwards: tools/hosts down bench-a")
    parser.add_argument("--write", action="store_true", help="renew the page even after --quick or --only")
    parser.add_argument("--folder", type=Path, required=True, help="where inventory and log are meanwhile")
    parser.add_argument("--render", action="store_true", help="do not measure, only renew page and picture")
    options = parser.parse_args()
    if options.render:
        write(load_results())
        return 0
    size = Size(options.rounds or (3 if options.quick else 7), 8 if options.quick else 24, options.quick)
    host = Host(options.folder)
    done = False
    try:
        results = measure(host, size, set(options.only), options.minutes)
        done = True
    except Failed as error:
        say(f"Error: {error}")
        return 1
    finally:
        if options.keep:
            say(f"The host {host.name} stays up; what was said is in {host.log}.")
        else:
            if not done and host.log.exists():
                say(f"The log of the failed run: {host.log.rename(host.folder.with_suffix('.log'))}")
            host.down()
    print(report.render(results))
    if options.write or not (options.quick or options.only):
        results = load_results().with_goals_of(results) if options.only else results
        RESULTS.write_text(json.dumps(results.to_json(), indent=1) + "\n", encoding="utf-8")
        write(results)
        say(f"Renewed {RESULTS.relative_to(ROOT)}, {PAGE.relative_to(ROOT)} and {PICTURE.relative_to(ROOT)}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
