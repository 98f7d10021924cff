"""How each goal is measured. Every method alternates ours and the alternative within a round, in random order."""

from __future__ import annotations

import random
import sys
import time
from base64 import b64encode
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from ansible_collections.mlops.mlflow.benchmarks.figures import Figure, Load
from ansible_collections.mlops.mlflow.benchmarks.host import HERE, Failed, Host, load_average
from ansible_collections.mlops.mlflow.plugins.module_utils._transfer import client_environment

READ = "/api/2.0/mlflow/experiments/get?experiment_id=0"
ATTEMPTS = 3
# Of the alternatives, which nobody but this run can reach.
PASSWORD = "not-a-secret"
# Which way artifacts take, and the port of the server that sends them there.
WAYS = {"proxied": 5020, "presigned": 5021, "direct": 5022}
# Of what the store itself does, with one client on the same CPUs.
TRANSFER_LIMITS = {
    "upload": {"proxied": 0.4, "presigned": 0.8, "direct": 0.8},
    "download": {"proxied": 0.2, "presigned": 0.4, "direct": 0.7},
}
STORE = "http://127.0.0.1:18333"
KEYS = {"AWS_ACCESS_KEY_ID": "bench", "AWS_SECRET_ACCESS_KEY": PASSWORD, "AWS_DEFAULT_REGION": "us-east-1"}
PORTS = {"quick": 5010, "plain": 5011, "peer": 5012, "auth": 5013}
FILTERS = ["metric filter, few hits", "metric filter, many hits", "param filter", "tag filter"]
INFIX = ["infix name search"]


@dataclass(frozen=True)
class Variant:
    """A way to run MLflow: its units, what must not restart in them, and how to reach it from its own host."""

    name: str
    units: list[str]
    steady: list[str]
    target: dict[str, str]
    ready: str = READ


@dataclass(frozen=True)
class Size:
    """How much is measured."""

    rounds: int
    cycles: int = 24
    quick: bool = False

    @property
    def few(self) -> int:
        """Rounds of what takes long or hardly varies."""
        return min(self.rounds, 3)

    @property
    def megabytes(self) -> int:
        """Of one upload."""
        return 256 if self.quick else 1024

    @property
    def runs(self) -> int:
        """In the database that is searched."""
        return 20_000 if self.quick else 100_000


@dataclass
class Bench:
    """One run of the benchmark on one host."""

    host: Host
    size: Size
    numbers: random.Random = field(default_factory=random.Random)
    figures: list[Figure] = field(default_factory=list)
    other: list[float] = field(default_factory=list)
    steal: list[float] = field(default_factory=list)
    restarted: int = 0
    missing: list[str] = field(default_factory=list)
    load_before: float = 0.0
    samples: dict[tuple[str, str], list[dict[str, Any]]] = field(default_factory=lambda: defaultdict(list))

    # --- what is compared ---------------------------------------------------------------------------------------------------

    def login(self) -> str:
        """The administrator's Authorization header."""
        user = self.host.variables.get("mlflow_admin_username", "admin")
        return basic(str(user), str(self.host.variables["mlflow_admin_password"]))

    def ours(self) -> Variant:
        """What site.yml made: edge with TLS, authentication, server, PostgreSQL."""
        server = "mlflow-server@a.service"
        return Variant(
            "ours",
            ["nginx.service", server, "postgresql@17-main.service"],
            [server],
            {"url": f"https://{self.host.alias}", "address": "127.0.0.1", "authorization": self.login()},
        )

    def alternative(self, name: str) -> Variant:
        """One of variants.yml."""
        port = PORTS[name]
        unit = f"bench-{name}.service"
        target = {"url": f"http://127.0.0.1:{port}"}
        if name == "auth":
            target["authorization"] = basic("admin", PASSWORD)
        units = [unit, "postgresql@17-peer.service"] if name == "peer" else [unit]
        return Variant(name, units, [unit], target)

    def begin(self, *names: str) -> dict[str, Variant]:
        """Ours and the alternatives: started, answering, frozen."""
        variants = [self.ours(), *(self.alternative(name) for name in names)]
        for variant in variants[1:]:
            self.host.ssh("systemctl start " + " ".join(reversed(variant.units)))
        for variant in variants:
            self.host.agent("thaw", units=variant.units)
            self.host.agent("ready", target=variant.target, ready=variant.ready)
        time.sleep(2 if self.size.quick else 10)  # what a start leaves to do in the background
        for variant in variants:
            self.host.agent("freeze", units=variant.units)
        return {variant.name: variant for variant in variants}

    def end(self, variants: dict[str, Variant]) -> None:
        """Ours goes on, the alternatives are stopped."""
        for variant in variants.values():
            if variant.name == "ours":
                self.host.agent("thaw", units=variant.units)
            else:
                # Frozen processes do not end by themselves, and nobody needs what these hold.
                units = " ".join(variant.units)
                self.host.ssh(f"systemctl kill --signal=KILL {units}; systemctl stop {units}; systemctl reset-failed")

    def measure(self, variant: Variant, load: str, kind: str, **options: Any) -> dict[str, Any]:
        """One load on one variant, again when a worker was replaced meanwhile."""
        for _attempt in range(ATTEMPTS):
            result: dict[str, Any] = self.host.agent(
                "measure",
                units=variant.units,
                steady=variant.steady,
                target=variant.target,
                ready=variant.ready,
                kind=kind,
                options=options,
            )
            if result["steady"]:
                break
            self.restarted += 1
        self.other.append(result["other"])
        self.steal.append(result["steal"])
        self.samples[load, variant.name].append(result)
        return result

    def alternate(self, rounds: int, measured: dict[str, Callable[[], float]]) -> dict[str, list[float]]:
        """Each of the measurements once a round, in random order."""
        values: dict[str, list[float]] = {name: [] for name in measured}
        for number in range(rounds):
            for name in self.numbers.sample(sorted(measured), len(measured)):
                values[name].append(measured[name]())
            say(f"   round {number + 1}: " + ", ".join(f"{name} {list_[-1]:.4g}" for name, list_ in values.items()))
        return values

    def throughput(
        self, load: str, variants: dict[str, Variant], kind: str, **options: dict[str, Any]
    ) -> dict[str, list[float]]:
        """Requests a second of each variant; `options` by variant, or `every` for all."""

        def one(variant: Variant) -> float:
            chosen = options.get(variant.name, options.get("every", {}))
            if "seed" in chosen:
                chosen = {**chosen, "seed": self.numbers.getrandbits(32)}
            return float(self.measure(variant, load, kind, **chosen)["load"]["rps"])

        return self.alternate(self.size.rounds, {name: partial(one, variant) for name, variant in variants.items()})

    # --- the goals ----------------------------------------------------------------------------------------------------------

    def memory(self, variants: dict[str, Variant]) -> None:
        """P7: before any load."""
        used = {
            name: self.host.agent("memory", units=variants[name].steady)["rss"] / 2**20 for name in ("ours", "quick")
        }
        self.figures.append(
            Figure(
                "P7",
                "memory of the idle server",
                "quick start",
                "MiB",
                [used["ours"]],
                [used["quick"]],
                0.3,
                at_least=False,
            )
        )

    def page(self, variants: dict[str, Variant]) -> None:
        """P8."""
        sizes = {}
        for name in ("ours", "quick"):
            self.host.agent("thaw", units=variants[name].units)
            sizes[name] = self.host.agent("page", target=variants[name].target)["sum"] / 1024
            self.host.agent("freeze", units=variants[name].units)
        self.figures.append(
            Figure(
                "P8",
                "first load of the UI",
                "straight from MLflow",
                "KiB",
                [sizes["ours"]],
                [sizes["quick"]],
                0.35,
                at_least=False,
            )
        )

    def p1_p7_p8(self) -> None:
        """The load mix with eight clients; memory and page with the same servers."""
        variants = self.begin("quick", "peer")
        self.memory(variants)
        self.page(variants)
        every = {"cycles": self.size.cycles, "concurrency": 8, "warmup": 8, "seed": 0}
        rps = self.throughput("mix, 8 clients", variants, "mix", every=every)
        self.end(variants)
        for name, against, limit in (("quick", "quick start", 1.6), ("peer", "PostgreSQL with defaults", 1.5)):
            self.figures.append(
                Figure("P1", "load mix, 8 clients", against, "requests/s", rps["ours"], rps[name], limit)
            )

    def p2(self) -> None:
        """The load mix with one client."""
        variants = self.begin("plain")
        every = {"cycles": 4, "concurrency": 1, "warmup": 2, "seed": 0}
        rps = self.throughput("mix, 1 client", variants, "mix", every=every)
        self.end(variants)
        self.figures.append(
            Figure("P2", "load mix, one client", "plain pip install", "requests/s", rps["ours"], rps["plain"], 3.0)
        )

    def p3(self) -> None:
        """Small reads with a login."""
        variants = self.begin("auth")
        rps = self.throughput(
            "reads with a login",
            variants,
            "reads",
            ours={"requests": 800, "concurrency": 8},
            auth={"requests": 32, "concurrency": 8},
        )
        self.end(variants)
        self.figures.append(
            Figure(
                "P3", "small reads with a login", "basic-auth as shipped", "requests/s", rps["ours"], rps["auth"], 30.0
            )
        )

    def p4(self) -> None:
        """Searches with and without our indexes: the same server and the same rows."""
        self.host.sql((HERE / "rows.sql").read_text(encoding="utf-8").replace(":runs", str(self.size.runs)))
        indexes = self.host.sql("SELECT indexname || '|' || indexdef FROM pg_indexes WHERE indexname LIKE 'mlops\\_%'")
        drop = "".join(f"DROP INDEX IF EXISTS {entry.split('|')[0]};" for entry in indexes)
        create = "".join(entry.split("|", 1)[1].replace("INDEX ", "INDEX IF NOT EXISTS ", 1) + ";" for entry in indexes)
        big, small, since = self.host.sql("SELECT * FROM bench_places")[0].split("|")
        taken: dict[str, dict[str, list[float]]] = {"with": defaultdict(list), "without": defaultdict(list)}

        def search(state: str, statements: str) -> float:
            self.host.sql(f"{statements}ANALYZE;")
            options = {"big": big, "small": small, "since": int(since), "calls": 5}
            found = self.host.agent("search", target=self.ours().target, options=options)
            for name, seconds in found.items():
                taken[state][name].append(1000 * sorted(seconds)[len(seconds) // 2])
            return sum(values[-1] for values in taken[state].values())

        self.alternate(
            self.size.rounds, {"with": lambda: search("with", create), "without": lambda: search("without", drop)}
        )
        self.host.sql(create)
        for name, ours in taken["with"].items():
            limit = 1 / 1.5 if name in FILTERS else 1 / 5 if name in INFIX else 1.0
            self.figures.append(
                Figure(
                    "P4",
                    name,
                    "no own indexes",
                    "ms",
                    ours,
                    taken["without"][name],
                    limit,
                    at_least=False,
                    comparable=name in FILTERS + INFIX,
                )
            )

    def p5(self) -> None:
        """A large file through the edge and straight to the server's port."""
        file, experiment = "/opt/bench/data/large", "bench-large"
        self.host.ssh(f"head --bytes={self.size.megabytes}M /dev/urandom > {file}")
        places = {"edge": f"https://{self.host.alias}", "port": "http://127.0.0.1:5001"}
        common = f'header = "Authorization: {self.login()}"\nresolve = "{self.host.alias}:443:127.0.0.1"\n'

        def send(place: str, more: str) -> float:
            url = f"{places[place]}/api/2.0/mlflow-artifacts/artifacts/{experiment}/{place}"
            return float(self.host.agent("transfer", configuration=f'{common}url = "{url}"\n{more}')["rate"]) / 2**20

        upload = f'upload-file = "{file}"\n'
        up = self.alternate(self.size.few, {"edge": lambda: send("edge", upload), "port": lambda: send("port", upload)})
        down = self.alternate(self.size.few, {"edge": lambda: send("edge", ""), "port": lambda: send("port", "")})
        self.host.ssh(f"rm {file}")
        for label, rates in (("upload", up), ("download", down)):
            self.figures.append(
                Figure(
                    "P5",
                    f"{label} of {self.size.megabytes} MiB",
                    "straight to the server",
                    "MiB/s",
                    rates["edge"],
                    rates["port"],
                    0.9,
                )
            )

    def move(self, way: str, file: str) -> dict[str, float]:
        """A file up and down the given way, or to the store itself: MiB a second, and the server's CPU seconds."""
        environment = dict(KEYS)
        if way in WAYS:
            # What clients set, from where they get it.
            variables = {"uri": f"s3://bench-{way}/mlflow", "transfer": way, "store_endpoint_url": STORE}
            settings = client_environment({f"mlflow_artifact_{name}": value for name, value in variables.items()})
            environment |= {**settings, "MLFLOW_TRACKING_URI": f"http://127.0.0.1:{WAYS[way]}", "TQDM_DISABLE": "1"}
        result = self.host.agent(
            "move",
            python="/opt/mlflow/current/bin/python",
            units=[f"bench-transfer-{way}.service"] if way in WAYS else [],
            environment=environment,
            moves={"bucket": f"bench-{way}", "file": file, "store": way not in WAYS, "endpoint": STORE},
        )
        return {
            "upload": self.size.megabytes / result["up"],
            "download": self.size.megabytes / result["down"],
            "cpu": result["server_cpu"],
        }

    def t1(self) -> None:
        """Each way of artifacts, and the store itself."""
        file, units = "/opt/bench/data/large", transfer_units()
        self.host.ssh(f"head --bytes={self.size.megabytes}M /dev/urandom > {file}; systemctl start {units}")
        self.host.agent("ready", target={"url": STORE}, ready="/healthz")
        for port in WAYS.values():
            self.host.agent("ready", target={"url": f"http://127.0.0.1:{port}"}, ready=READ)
        taken: dict[str, list[dict[str, float]]] = {name: [] for name in ("store", *WAYS)}
        for number in range(self.size.few):
            for name in self.numbers.sample(sorted(taken), len(taken)):
                taken[name].append(self.move(name, file))
            said = ", ".join(f"{name} {one[-1]['upload']:.4g}/{one[-1]['download']:.4g}" for name, one in taken.items())
            say(f"   round {number + 1}: {said}")
        self.host.ssh(f"rm {file}; systemctl stop {units}")

        labels = {
            "upload": f"upload of {self.size.megabytes} MiB",
            "download": f"download of {self.size.megabytes} MiB",
            "cpu": f"server CPU, {self.size.megabytes} MiB up and down",
        }

        def compare(what: str, way: str, other: str, limit: float) -> None:
            self.figures.append(
                Figure(
                    "T1",
                    f"{labels[what]}, {way}",
                    "the store itself" if other == "store" else other,
                    "s" if what == "cpu" else "MiB/s",
                    [values[what] for values in taken[way]],
                    [values[what] for values in taken[other]],
                    limit,
                    at_least=what != "cpu",
                    comparable=False,
                )
            )

        for what, limits in TRANSFER_LIMITS.items():
            for way, limit in limits.items():
                compare(what, way, "store", limit)
            for way in ("presigned", "direct"):
                compare(what, way, "proxied", 1.0)
        for way in ("presigned", "direct"):
            compare("cpu", way, "proxied", 0.3)

    def p6(self) -> None:
        """From start to the first answer out of the database."""
        target = {"url": "http://127.0.0.1:5002", "authorization": self.login()}

        def start(name: str) -> float:
            return float(
                self.host.agent("start", unit=f"bench-start-{name}.service", target=target, ready=READ)["seconds"]
            )

        seconds = self.alternate(self.size.few, {name: partial(start, name) for name in ("compiled", "uncompiled")})
        self.figures.append(
            Figure(
                "P6",
                "start until the first answer",
                "uncompiled install",
                "s",
                seconds["compiled"],
                seconds["uncompiled"],
                0.5,
                at_least=False,
            )
        )

    def p9(self) -> None:
        """site.yml again with nothing to do."""
        seconds = self.alternate(
            1 if self.size.rounds < 5 else 2, {"site": lambda: self.host.play("site.yml"), "facts": self.host.gather}
        )
        self.figures.append(
            Figure(
                "P9",
                "site.yml with nothing to do",
                "gathering facts",
                "s",
                seconds["site"],
                seconds["facts"],
                8.0,
                at_least=False,
                comparable=False,
            )
        )

    def p10(self) -> None:
        """48 clients at once, each call of which needs two connections to the database."""
        variants = self.begin("peer")
        options = {"clients": 48, "calls": 3, "seed": 0}
        results = [
            self.measure(variants["ours"], "48 log-batch at once", "burst", **options)["load"]
            for _round in range(self.size.few)
        ]
        self.measure(variants["peer"], "48 log-batch at once", "burst", **options)
        self.end(variants)
        errors, slowest = [float(result["errors"]) for result in results], [float(result["max"]) for result in results]
        self.figures += [
            Figure("P10", "48 log-batch at once, errors", "", "of 144", errors, limit=0.0, at_least=False),
            Figure("P10", "48 log-batch at once, slowest", "", "s", slowest, limit=2.0, at_least=False),
        ]

    def all(self, only: set[str], deadline: float) -> None:
        """What was asked for, or everything; after the deadline (of the monotonic clock) nothing more is begun."""
        steps = {
            "P1": self.p1_p7_p8,
            "P2": self.p2,
            "P3": self.p3,
            "P10": self.p10,
            "P6": self.p6,
            "P5": self.p5,
            "T1": self.t1,
            "P4": self.p4,
            "P9": self.p9,
        }
        self.load_before = load_average()
        for goal, step in steps.items():
            if only and goal not in only:
                continue
            if time.monotonic() > deadline:
                self.missing.append(goal)
            else:
                say(f"-- {goal}: {str(step.__doc__).splitlines()[0]}")
                try:
                    step()
                except Failed as error:
                    # What the others found is worth keeping.
                    say(f"   {error}")
                    self.missing.append(goal)
                    self.end({name: self.alternative(name) for name in PORTS} | {"ours": self.ours()})
                    self.host.ssh(f"systemctl stop {transfer_units()}")
        self.figures.sort(key=lambda figure: (figure.goal[0], int(figure.goal[1:])))

    def loads(self) -> list[Load]:
        """What the variants did under the loads."""
        return [
            Load(
                load,
                variant,
                [sample["load"]["rps"] for sample in samples],
                [1000 * sample["load"]["p50"] for sample in samples],
                [1000 * sample["load"]["p95"] for sample in samples],
                [1000 * sample["server_cpu"] / sample["load"]["requests"] for sample in samples],
                sum(sample["load"]["errors"] for sample in samples),
            )
            for (load, variant), samples in self.samples.items()
        ]


def transfer_units() -> str:
    """The store and the servers in front of it."""
    return " ".join(["bench-store.service", *(f"bench-transfer-{way}.service" for way in WAYS)])


def basic(user: str, password: str) -> str:
    """A header value."""
    return "Basic " + b64encode(f"{user}:{password}".encode()).decode()


def say(message: str) -> None:
    """Progress."""
    print(message, file=sys.stderr, flush=True)
