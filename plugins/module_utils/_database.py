# Copyright (c) 2026 the mlops.mlflow maintainers
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What the facts about a database mean. Pure decisions: no network, no files, no clock.

The facts are those of _database_probe.py. They came over a wire from whoever answered there, so that nothing is taken for granted:
what is missing or of another type counts as not known.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypedDict

from ansible_collections.mlops.mlflow.plugins.module_utils._findings import report
from ansible_collections.mlops.mlflow.plugins.module_utils._postgresql import connection_parameters

LEAST_VERSION = 130000
COMMENT = "mlflow environment: "
ENCRYPTED_MODES = frozenset({"require", "verify-ca", "verify-full"})
LOOPBACK = frozenset({"127.0.0.1", "::1"})
BUSY_SHARE = 0.8
# Below that many dead rows a vacuum is not worth a word; above, one dead row for five living ones is.
DEAD_ROWS = 10_000
DEAD_SHARE = 0.2
# What every release of MLflow works with: by them its schema is known, and each of them has a primary key (MLflow's models).
TRACKING_TABLES = (
    "experiment_tags",
    "experiments",
    "latest_metrics",
    "metrics",
    "model_versions",
    "params",
    "registered_models",
    "runs",
    "tags",
)
AUTH_TABLES = ("users",)
FIRST_TABLES = frozenset({"experiments", "metrics", "params", "runs", "tags"})
VERSION_TABLES = {"tracking": "alembic_version", "auth": "alembic_version_auth"}
# libpq's and PostgreSQL's own words (English, as in every locale of C and of Debian's cluster), in the order in which they count.
REFUSALS = (
    (r"certificate verify failed", "TLS"),
    (r"does not match host name", "DATABASE_TLS_NAME"),
    (r"does not support SSL", "DATABASE_TLS_MISSING"),
    (
        r"(root certificate|certificate|private key|certificate revocation list) file|load system root certificate",
        "DATABASE_TLS_FILE",
    ),
    (r"no pg_hba\.conf entry|pg_hba\.conf rejects|(Peer|Ident) authentication failed", "DATABASE_HBA"),
    (r"role \".*\" does not exist|is not permitted to log in", "DATABASE_ROLE"),
    (r"password authentication failed|no password supplied|empty password", "DATABASE_LOGIN"),
    (r"database \".*\" does not exist", "DATABASE_MISSING"),
    (r"permission denied for database", "DATABASE_PRIVILEGE"),
    (r"too many (clients|connections)|remaining connection slots|no more connections allowed", "DATABASE_FULL"),
    (
        r"the database system is |is not currently accepting connections|session is read-only|session is not read-only",
        "DATABASE_STARTING",
    ),
    (r"timeout expired", "DATABASE_SILENT"),
    (r"server closed the connection|Connection reset|Broken pipe|SYSCALL error|SSL error", "DATABASE_PROTOCOL"),
    (
        r"invalid .*(response|message|protocol)|unexpected (message|response|data)|insufficient data",
        "DATABASE_PROTOCOL",
    ),
    (
        r"received unencrypted data|expected authentication request|lost synchronization|message type",
        "DATABASE_PROTOCOL",
    ),
    (r"unsupported frontend protocol|authentication method .* not supported|malformed SCRAM", "DATABASE_PROTOCOL"),
    (r"could not (receive|send) data|codec can't decode", "DATABASE_PROTOCOL"),
    (r"invalid (connection option|dsn|.* value|integer value|port)|weak sslmode|must match number of", "DATABASE_URI"),
    (r"Connection refused|No such file or directory", "DATABASE_REFUSED"),
    (r"could not translate host name", "DATABASE_DNS"),
)


class Index(TypedDict):
    """One index of the collection's own."""

    name: str
    table: str
    definition: str
    needs: str
    wanted: bool


def own_indexes(latest_metrics: bool = False) -> list[Index]:
    """Return the indexes that the role mlflow_database makes and the check looks for; statements as measured (docs/explanation).

    Never a btree on the value of a param or tag: a long value would then fail to be logged. `needs` names an extension.
    `latest_metrics` is for sites that read much more than they write.
    """
    return [
        Index(
            name="mlops_runs_experiment_stage_start",
            table="runs",
            definition="(experiment_id, lifecycle_stage, start_time DESC, run_uuid)",
            needs="",
            wanted=True,
        ),
        Index(
            name="mlops_params_value_trgm",
            table="params",
            definition="USING gin (value gin_trgm_ops)",
            needs="pg_trgm",
            wanted=True,
        ),
        Index(
            name="mlops_tags_value_trgm",
            table="tags",
            definition="USING gin (value gin_trgm_ops)",
            needs="pg_trgm",
            wanted=True,
        ),
        Index(
            name="mlops_latest_metrics_key_value",
            table="latest_metrics",
            definition="(key, value, run_uuid, is_nan)",
            needs="",
            wanted=latest_metrics,
        ),
    ]


@dataclass(frozen=True)
class Wanted:
    """What a database is to be; the options of the module mlflow_database_check."""

    needs: str = "rows"
    schema: str = "tracking"
    expected_revision: str = ""
    schema_may_be_missing: bool = False
    workspaces: bool = True
    environment: str = ""
    connections: int = 0
    require_tls: bool = True
    indexes: bool = True
    max_latency_ms: float = 20.0
    max_transaction_seconds: int = 600
    max_idle_seconds: int = 60
    max_lock_wait_seconds: int = 5


@dataclass
class Judgement:
    """Findings as they come, and the words that must not be in them."""

    host: str
    secrets: tuple[str, ...] = ()
    findings: list[dict[str, str]] = field(default_factory=list)

    def clean(self, text: str) -> str:
        """Take passwords out of what others said."""
        for secret in self.secrets:
            text = text.replace(secret, "***")
        return text

    def add(self, finding_id: str, summary: str, *, evidence: str = "", fix: str = "") -> None:
        """Report one."""
        self.findings.append(
            report(
                finding_id,
                host=self.host,
                summary=self.clean(summary),
                evidence=self.clean(evidence),
                fix=self.clean(fix),
            )
        )


# ----- reading what came over the wire


def _rows(facts: Mapping[str, Any], name: str) -> list[Mapping[str, Any]]:
    found = facts.get(name)
    return [row for row in found if isinstance(row, Mapping)] if isinstance(found, Sequence) else []


def _row(facts: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    return next(iter(_rows(facts, name)), {})


def _mapping(facts: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    found = facts.get(name)
    return found if isinstance(found, Mapping) else {}


def _number(value: object, default: float = 0.0) -> float:
    return float(value) if isinstance(value, int | float) and not isinstance(value, bool) else default


def _texts(value: object) -> list[str]:
    return [str(item) for item in value] if isinstance(value, Sequence) and not isinstance(value, str) else []


def _some(names: Iterable[str], most: int = 5) -> str:
    listed = list(names)
    return ", ".join(listed[:most]) + (f" and {len(listed) - most} more" if len(listed) > most else "")


def _place(parameters: Mapping[str, str]) -> str:
    host = parameters.get("host") or parameters.get("hostaddr") or ""
    port = parameters.get("port", "5432")
    if host.startswith(("/", "@")):
        return f"the socket of port {port} in {host}"
    return f"{host}:{port}" if host else f"the local socket of port {port}"


# ----- the way there


def secrets_of(parameters: Mapping[str, str]) -> tuple[str, ...]:
    """Return what must never be shown. A password of one to three letters would blank every text it happens to be in."""
    return tuple(value for name in ("password", "sslpassword") if len(value := parameters.get(name, "")) > 3)


def judge_uri(uri: str, host: str) -> tuple[dict[str, str], list[dict[str, str]]]:
    """Return the parameters of libpq, or what is wrong with the URI."""
    judgement = Judgement(host)
    try:
        return connection_parameters(uri), []
    except ValueError as error:
        judgement.add("DATABASE_URI", f"{str(error)[:1].upper()}{str(error)[1:]}.")
    return {}, judgement.findings


def _judge_way(judgement: Judgement, facts: Mapping[str, Any], parameters: Mapping[str, str]) -> bool:
    """Judge names and connections; whether there is a way."""
    attempts, names = _rows(facts, "attempts"), _rows(facts, "names")
    place = _place(parameters)
    if not attempts:
        for name in names:
            judgement.add(
                "DATABASE_DNS",
                f"The host name {name.get('host')} of the database does not resolve here.",
                evidence=str(name.get("error")),
            )
        return not names
    outcomes = {str(attempt.get("outcome")) for attempt in attempts}
    if "reached" in outcomes:
        return True
    evidence = "; ".join(
        f"{item.get('address') or item.get('host')} port {item.get('port')}: {item.get('error') or 'no answer'}"
        for item in attempts
    )
    if outcomes & {"refused", "absent"}:
        judgement.add("DATABASE_REFUSED", f"Nothing listens at {place}.", evidence=evidence)
    elif "silent" in outcomes:
        judgement.add("DATABASE_TIMEOUT", f"{place} does not answer to the attempt to connect.", evidence=evidence)
    else:
        judgement.add("DATABASE_UNREACHABLE", f"There is no way from this host to {place}.", evidence=evidence)
    return False


def _judge_tls(judgement: Judgement, facts: Mapping[str, Any], place: str, text: str) -> None:
    """Tell apart why a certificate was not accepted: libpq says only that it was not."""
    seen = _mapping(facts, "tls")
    said = str(seen.get("verify_message") or text)
    if _number(seen.get("verify_code")) in (9, 10):  # X509_V_ERR_CERT_NOT_YET_VALID, X509_V_ERR_CERT_HAS_EXPIRED
        word = "has expired" if _number(seen.get("verify_code")) == 10 else "is not valid yet"
        judgement.add("DATABASE_TLS_EXPIRED", f"The certificate of {place} {word}.", evidence=said)
    else:
        judgement.add("DATABASE_TLS_UNTRUSTED", f"The certificate of {place} is not trusted: {said}.", evidence=text)


def _judge_refusal(judgement: Judgement, facts: Mapping[str, Any], parameters: Mapping[str, str]) -> None:
    text = str(_mapping(facts, "refusal").get("text"))
    place, user, name = _place(parameters), parameters.get("user", ""), parameters.get("dbname", "")
    finding_id = next((found for pattern, found in REFUSALS if re.search(pattern, text, re.I)), "DATABASE_LOGIN")
    who = f"the user {user}" if user else "a user without a name in the URI"
    tls = _mapping(facts, "tls")
    fix = ""
    if finding_id == "TLS":
        _judge_tls(judgement, facts, place, text)
        return
    if finding_id == "DATABASE_TLS_NAME":
        names = _some(_texts(tls.get("names")))
        fix = (
            f"Use one of its names in the URI ({names}), or issue a certificate that holds {parameters.get('host')}."
            if names
            else ""
        )
    if finding_id == "DATABASE_HBA" and re.search("no encryption|SSL off", text):
        fix = "Add sslmode=require or higher to the URI: the connection was not encrypted, and no line of pg_hba.conf lets such a one in."
    if finding_id == "DATABASE_HBA" and "Peer" in text:
        fix = f"Connect as the operating system's user {user}, over TCP with a password, or let it in by pg_ident.conf."
    if finding_id == "DATABASE_LOGIN" and "no password supplied" in text:
        fix = f"Add the password of {user} to the URI."
    if finding_id == "DATABASE_PRIVILEGE":
        fix = f"GRANT CONNECT ON DATABASE {name} TO {user};"
    summary = {
        "DATABASE_TLS_NAME": f"The certificate of {place} is for other names.",
        "DATABASE_TLS_MISSING": f"The URI demands TLS (sslmode={parameters.get('sslmode')}) and {place} has none.",
        "DATABASE_TLS_FILE": "A file for TLS that the URI names cannot be used.",
        "DATABASE_HBA": f"The access rules of {place} do not let in {who} to the database {name}.",
        "DATABASE_ROLE": f"{who[:1].upper()}{who[1:]} does not exist at {place} or may not log in.",
        "DATABASE_LOGIN": f"{place} refuses {who}.",
        "DATABASE_MISSING": f"There is no database {name} at {place}.",
        "DATABASE_PRIVILEGE": f"{who[:1].upper()}{who[1:]} may not connect to the database {name}.",
        "DATABASE_FULL": f"{place} has no connection left for {who}.",
        "DATABASE_STARTING": f"{place} takes no connections at the moment.",
        "DATABASE_SILENT": f"{place} accepts the connection and then says nothing in time.",
        "DATABASE_PROTOCOL": f"What answers at {place} does not speak as PostgreSQL does.",
        "DATABASE_URI": "A parameter of the URI is not one that PostgreSQL's library takes.",
        "DATABASE_REFUSED": f"Nothing listens at {place}.",
        "DATABASE_DNS": f"The host name {parameters.get('host', '')} of the database does not resolve here.",
    }[finding_id]
    judgement.add(finding_id, summary, evidence=text, fix=fix)


# ----- the schema


@dataclass(frozen=True)
class Release:
    """The migrations of one MLflow, and which of them come before which."""

    mlflow: str
    scripts: Mapping[str, Mapping[str, Any]]

    @classmethod
    def of(cls, facts: Mapping[str, Any]) -> Release | None:
        """Return what the probe found beside its interpreter, if anything."""
        release = _mapping(facts, "release")
        scripts = release.get("scripts")
        if not isinstance(scripts, list) or not scripts:
            return None
        return cls(
            str(release.get("mlflow", "")),
            {str(item.get("revision")): item for item in scripts if isinstance(item, Mapping)},
        )

    @property
    def head(self) -> str:
        """The revision that no other one builds upon; empty if the scripts do not end in one."""
        followed = {down for script in self.scripts.values() for down in _texts(script.get("down"))}
        heads = sorted(set(self.scripts) - followed)
        return heads[0] if len(heads) == 1 else ""

    def up_to(self, revision: str) -> set[str]:
        """Return a revision and all that came before it."""
        found, waiting = set[str](), [revision]
        while waiting:
            name = waiting.pop()
            if name in self.scripts and name not in found:
                found.add(name)
                waiting += _texts(self.scripts[name].get("down"))
        return found

    def _tables(self, revisions: Iterable[str], key: str) -> set[str]:
        return {table for revision in revisions for table in _texts(self.scripts[revision].get(key))}

    def tables_at(self, revision: str) -> set[str]:
        """Return tables that must exist at a revision, of those that the scripts name as they are."""
        past = self.up_to(revision)
        return self._tables(past, "creates") - self._tables(past, "drops")

    def tables_after(self, revision: str) -> set[str]:
        """Return tables that only come after a revision."""
        past = self.up_to(revision)
        return self._tables(set(self.scripts) - past, "creates") - self._tables(past, "creates")


def _judge_no_revision(
    judgement: Judgement, facts: Mapping[str, Any], wanted: Wanted, tables: set[str], name: str
) -> None:
    """Judge a database that records no revision."""
    version_table = VERSION_TABLES[wanted.schema]
    ours = set(TRACKING_TABLES if wanted.schema == "tracking" else AUTH_TABLES)
    tables = tables - set(VERSION_TABLES.values())
    holds = any(row.get("holds") is True for row in _rows(facts, "first_rows"))
    if wanted.schema == "auth" and "users" in tables:
        # Before MLflow 3.6 the auth database recorded no revision.
        judgement.add(
            "DATABASE_SCHEMA_OLDER", f"The auth database {name} is of an MLflow before 3.6: it records no revision."
        )
    elif tables & ours and not (tables <= FIRST_TABLES and not holds):
        judgement.add(
            "DATABASE_SCHEMA_HALF",
            f"The schema in {name} is half-applied: tables of MLflow are there ({_some(sorted(tables & ours))}), "
            f"and {version_table} records no revision.",
        )
    elif tables - ours:
        judgement.add(
            "DATABASE_FOREIGN",
            f"The database {name} holds tables that are not MLflow's ({_some(sorted(tables - ours))}) and no schema of it.",
            fix="Give MLflow an empty database of its own.",
        )
    elif not wanted.schema_may_be_missing:
        judgement.add("DATABASE_SCHEMA_MISSING", f"The {wanted.schema} database {name} holds no schema of MLflow.")


def _judge_schema(judgement: Judgement, facts: Mapping[str, Any], wanted: Wanted, name: str) -> dict[str, Any]:
    """Judge the revision against the release; what is known about both."""
    release = Release.of(facts)
    expected = wanted.expected_revision or (release.head if release else "")
    known = {"expected_revision": expected, "release": release.mlflow if release else "", "revision": ""}
    if not isinstance(facts.get("tables"), Sequence):
        return known
    tables = {str(row.get("name")) for row in _rows(facts, "tables")}
    recorded = [str(row.get("revision")) for row in _rows(facts, "revisions")]
    known["revision"] = ", ".join(recorded)
    if "revisions" in _mapping(facts, "unanswered"):
        return known
    if not recorded:
        _judge_no_revision(judgement, facts, wanted, tables, name)
        return known
    what = f"The {wanted.schema} schema in {name}"
    this = f"MLflow {release.mlflow}" if release and release.mlflow else "this release"
    if len(recorded) > 1:
        judgement.add(
            "DATABASE_SCHEMA_HALF", f"{what} is half-applied: it records {len(recorded)} revisions ({_some(recorded)})."
        )
        return known
    revision = recorded[0]
    if not release:
        if expected and revision != expected:
            judgement.add("DATABASE_SCHEMA_OTHER", f"{what} is at revision {revision}, and {expected} is expected.")
    elif revision not in release.scripts or expected in release.up_to(revision) - {revision}:
        judgement.add(
            "DATABASE_SCHEMA_NEWER",
            f"{what} is newer than the release: it is at revision {revision}, and {this} works with {expected}.",
        )
    elif missing := release.tables_at(revision) - tables:
        judgement.add(
            "DATABASE_SCHEMA_HALF",
            f"{what} is half-applied: it is at revision {revision} and lacks tables of it ({_some(sorted(missing))}).",
        )
    elif early := release.tables_after(revision) & tables:
        judgement.add(
            "DATABASE_SCHEMA_HALF",
            f"{what} is half-applied: it is at revision {revision} and has tables of a later one ({_some(sorted(early))}).",
        )
    elif revision != expected:
        judgement.add(
            "DATABASE_SCHEMA_OLDER",
            f"{what} is older than the release: it is at revision {revision}, and {this} works with {expected}.",
        )
    return known


# ----- the database itself


def _judge_server(
    judgement: Judgement,
    facts: Mapping[str, Any],
    wanted: Wanted,
    parameters: Mapping[str, str],
    server: Mapping[str, Any],
) -> None:
    name = str(server.get("name"))
    version = int(_number(server.get("version")))
    if version < LEAST_VERSION:
        judgement.add("DATABASE_VERSION", f"PostgreSQL {server.get('version_text')} is older than 13.")
    if server.get("encoding") != "UTF8":
        judgement.add(
            "DATABASE_ENCODING", f"The encoding of the database {name} is {server.get('encoding')} instead of UTF8."
        )
    comment = str(server.get("comment") or "")
    if wanted.environment and comment.startswith(COMMENT) and comment != COMMENT + wanted.environment:
        judgement.add(
            "DATABASE_ENVIRONMENT",
            f"The database {name} belongs to the environment {comment.removeprefix(COMMENT)}, not to {wanted.environment}.",
        )
    if server.get("read_only") is True:
        judgement.add("DATABASE_READ_ONLY", f"The database {name} at {_place(parameters)} takes no writes.")
    # Not asked of the server: pg_stat_ssl hides the answer from a login that acts as another role.
    mode = parameters.get("sslmode", "prefer")
    addresses = {str(item.get("address")) for item in _rows(facts, "attempts")} - {""}
    if (
        wanted.require_tls
        and mode not in ENCRYPTED_MODES
        and server.get("local") is not True
        and not addresses <= LOOPBACK
    ):
        judgement.add(
            "DATABASE_TLS",
            f"Nothing makes sure that the connection to {_place(parameters)} is encrypted: sslmode is {mode}.",
        )


def _judge_privileges(
    judgement: Judgement, facts: Mapping[str, Any], wanted: Wanted, server: Mapping[str, Any]
) -> None:
    role, schema = str(server.get("role")), str(server.get("schema") or "")
    if not schema:
        judgement.add(
            "DATABASE_PRIVILEGE",
            f"{role} may use no schema of its search_path.",
            fix=f"GRANT USAGE ON SCHEMA public TO {role};",
        )
        return
    privileges, tables = _row(facts, "privileges"), _rows(facts, "tables")
    if wanted.needs == "schema":
        if privileges and privileges.get("may_create") is not True:
            judgement.add(
                "DATABASE_PRIVILEGE",
                f"{role} may not create tables in the schema {schema}.",
                fix=f"GRANT USAGE, CREATE ON SCHEMA {schema} TO {role}; or make it the owner of the database.",
            )
        if foreign := [str(row.get("name")) for row in tables if row.get("owned") is False]:
            judgement.add(
                "DATABASE_PRIVILEGE",
                f"{role} does not own {len(foreign)} tables ({_some(foreign)}) and cannot migrate them.",
                fix=f"Make the role that owns them one of those that {role} is a member of, or ALTER TABLE ... OWNER TO {role}.",
            )
    lacking = {str(row.get("name")): found for row in tables if (found := _texts(row.get("lacking")))}
    sequences = _texts(privileges.get("sequences"))
    if lacking:
        rights = sorted({right for found in lacking.values() for right in found})
        judgement.add(
            "DATABASE_PRIVILEGE",
            f"{role} lacks {', '.join(rights)} on {len(lacking)} tables ({_some(lacking)}).",
            fix=f"GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA {schema} TO {role};",
        )
    if sequences:
        judgement.add(
            "DATABASE_PRIVILEGE",
            f"{role} lacks USAGE on {len(sequences)} sequences ({_some(sequences)}).",
            fix=f"GRANT USAGE, SELECT ON ALL SEQUENCES IN SCHEMA {schema} TO {role};",
        )


def _tightest(facts: Mapping[str, Any], server: Mapping[str, Any]) -> dict[str, Any]:
    """Return what is granted, what was used at most, and by which of the limits (server, role, database) that is least."""
    limits = _row(facts, "limits")
    samples = [
        [row for row in sample if isinstance(row, Mapping)]
        for sample in (facts.get("activity") if isinstance(facts.get("activity"), list) else []) or []
        if isinstance(sample, list)
    ]

    def most(counts: Callable[[Mapping[str, Any]], bool]) -> tuple[int, int]:
        used = [int(sum(_number(row.get("connections")) for row in sample if counts(row))) for sample in samples] or [0]
        return used[-1], max(used)

    reserved = int(_number(limits.get("superuser_reserved")) + _number(limits.get("reserved")))
    asked: list[tuple[str, int, Callable[[Mapping[str, Any]], bool]]] = [
        (
            "max_connections without the reserved ones",
            int(_number(limits.get("max_connections"))) - reserved,
            lambda _row: True,
        ),
        (
            f"the connection limit of the role {server.get('login')}",
            int(_number(limits.get("role_limit"), -1)),
            lambda row: row.get("role") == server.get("login"),
        ),
        (
            f"the connection limit of the database {server.get('name')}",
            int(_number(limits.get("database_limit"), -1)),
            lambda row: row.get("database") == server.get("name"),
        ),
    ]
    found: list[dict[str, Any]] = []
    for by, granted, counts in asked if limits else []:
        if granted >= 0:
            now, peak = most(counts)
            found.append({"granted": granted, "granted_by": by, "used": now, "peak": peak, "free": granted - peak})
    least = min(found, key=lambda item: item["granted"], default={"granted": 0, "granted_by": "", "used": 0, "peak": 0})
    busiest = min(found, key=lambda item: item["free"], default=least)
    return {
        "max_connections": int(_number(limits.get("max_connections"))),
        "reserved": reserved,
        "granted": least["granted"],
        "granted_by": least["granted_by"],
        "used": most(lambda _row: True)[0],
        "peak": most(lambda _row: True)[1],
        "peak_from": f"the largest of {len(samples)} samples within the check",
        "busiest": busiest,
        "by_role": samples[-1] if samples else [],
    }


def _judge_connections(
    judgement: Judgement, facts: Mapping[str, Any], wanted: Wanted, server: Mapping[str, Any]
) -> dict[str, Any]:
    budget = _tightest(facts, server)
    busiest = budget.pop("busiest")
    if not _row(facts, "limits"):
        return budget
    if wanted.connections > budget["granted"]:
        judgement.add(
            "DATABASE_POOL_BUDGET",
            f"The servers may open {wanted.connections} connections, and PostgreSQL grants {budget['granted']} "
            f"({budget['granted_by']}).",
            evidence=f"max_connections={budget['max_connections']}, reserved {budget['reserved']}",
        )
    if busiest["peak"] >= busiest["granted"] * BUSY_SHARE and busiest["granted"] > 0:
        judgement.add(
            "DATABASE_CONNECTIONS_BUSY",
            f"{busiest['peak']} of {busiest['granted']} connections are open ({busiest['granted_by']}).",
            evidence=_some(
                f"{row.get('role')} {row.get('application') or '-'}: {row.get('connections')}"
                for row in budget["by_role"]
            ),
        )
    return budget


def _judge_sessions(judgement: Judgement, facts: Mapping[str, Any], wanted: Wanted) -> None:
    def who(row: Mapping[str, Any]) -> str:
        return f"{row.get('role')}{' ' + str(row.get('application')) if row.get('application') else ''}, pid {row.get('pid')}"

    transactions = _rows(facts, "transactions")
    idle = [
        row
        for row in transactions
        if str(row.get("state")).startswith("idle in transaction")
        and _number(row.get("state_seconds")) >= wanted.max_idle_seconds
    ]
    long = [
        row for row in transactions if row not in idle and _number(row.get("seconds")) >= wanted.max_transaction_seconds
    ]
    if idle:
        worst = max(_number(row.get("state_seconds")) for row in idle)
        judgement.add(
            "DATABASE_TRANSACTION_IDLE",
            f"{len(idle)} transactions are open and do nothing, the longest for {worst:.0f} s.",
            evidence=_some(map(who, idle)),
        )
    if long:
        worst = max(_number(row.get("seconds")) for row in long)
        judgement.add(
            "DATABASE_TRANSACTION_LONG",
            f"{len(long)} transactions run for {wanted.max_transaction_seconds} s or more, the longest for {worst:.0f} s.",
            evidence=_some(map(who, long)),
        )
    waiting = [
        row
        for row in _rows(facts, "locks")
        if _number(row.get("seconds"), wanted.max_lock_wait_seconds) >= wanted.max_lock_wait_seconds
    ]
    if waiting:
        judgement.add(
            "DATABASE_LOCK_WAIT",
            f"{len(waiting)} sessions wait for locks, for example on {waiting[0].get('waits_for')}.",
            evidence=_some(f"{who(row)} waits for pid {_some(_texts(row.get('blockers'))) or '?'}" for row in waiting),
        )


def _judge_tables(judgement: Judgement, facts: Mapping[str, Any], wanted: Wanted) -> None:
    tables = {str(row.get("name")): row for row in _rows(facts, "tables")}
    ours = TRACKING_TABLES if wanted.schema == "tracking" else AUTH_TABLES
    if keyless := [name for name in ours if name in tables and tables[name].get("primary_key") is False]:
        judgement.add("DATABASE_PRIMARY_KEY", f"Tables of MLflow have no primary key: {_some(keyless)}.")
    found = {str(row.get("name")): row for row in _rows(facts, "indexes")}
    if broken := [
        name for name, row in found.items() if row.get("valid") is False and row.get("being_built") is not True
    ]:
        judgement.add("DATABASE_INDEX_INVALID", f"Indexes are invalid: {_some(broken)}.")
    usable = {str(row.get("name")) for row in _rows(facts, "extensions") if row.get("usable") is True}
    missing = [
        index["name"]
        for index in own_indexes()
        if index["wanted"]
        and index["table"] in tables
        and index["name"] not in found
        and (not index["needs"] or index["needs"] in usable)
    ]
    if wanted.schema == "tracking" and wanted.indexes and missing and isinstance(facts.get("indexes"), list):
        judgement.add("DATABASE_INDEX_MISSING", f"Indexes of the collection are missing: {_some(missing)}.")
    for row in _rows(facts, "upkeep"):
        live, dead = _number(row.get("live")), _number(row.get("dead"))
        if dead >= DEAD_ROWS and dead >= live * DEAD_SHARE:
            last = str(row.get("last_vacuum") or "") or "never"
            judgement.add(
                "DATABASE_BLOAT",
                f"The table {row.get('name')} has {dead:.0f} dead rows beside {live:.0f} living ones; last vacuum: {last}.",
                fix=f"VACUUM (ANALYZE) {row.get('name')};",
            )


def _judge_settings(judgement: Judgement, facts: Mapping[str, Any]) -> dict[str, str]:
    settings = {str(row.get("name")): str(row.get("setting")) for row in _rows(facts, "settings")}
    if off := [name for name in ("autovacuum", "track_counts") if settings.get(name) == "off"]:
        judgement.add("DATABASE_AUTOVACUUM", f"{' and '.join(off)} {'are' if len(off) > 1 else 'is'} off.")
    if off := [name for name in ("fsync", "full_page_writes", "synchronous_commit") if settings.get(name) == "off"]:
        judgement.add(
            "DATABASE_DURABILITY",
            f"Acknowledged writes may be lost in a power cut: {', '.join(off)} {'are' if len(off) > 1 else 'is'} off.",
        )
    names = settings.get("synchronous_standby_names", "")
    if names and "standbys" in facts and _number(_row(facts, "standbys").get("connected")) == 0:
        judgement.add(
            "DATABASE_STANDBY", f"Commits wait for standbys (synchronous_standby_names={names}), and none is connected."
        )
    return settings


def _judge_workspaces(judgement: Judgement, facts: Mapping[str, Any], wanted: Wanted, name: str) -> list[str]:
    found = [str(row.get("name")) for row in _rows(facts, "workspaces")]
    if found and not wanted.workspaces:
        said = f"The database {name} holds something in the workspaces {_some(found)}."
        judgement.add("DATABASE_WORKSPACES", said)
    return found


def judge(
    facts: Mapping[str, Any], wanted: Wanted, parameters: Mapping[str, str], host: str
) -> tuple[list[dict[str, str]], dict[str, Any]]:
    """Return the findings, and what is known about the database without any secret.

    Args:
        facts: the answer of _database_probe.py.
        wanted: what the database is to be.
        parameters: those of libpq that the facts were got with.
        host: whom the findings name, the host that looked.
    """
    judgement = Judgement(host, secrets_of(parameters))
    driver = _mapping(facts, "driver")
    place = _place(parameters)
    if facts.get("crash"):
        judgement.add("DATABASE_CHECK", "The check broke off.", evidence=str(facts["crash"]))
    elif driver.get("error"):
        judgement.add(
            "DATABASE_DRIVER", "The Python that looks at the database has no psycopg2.", evidence=str(driver["error"])
        )
    elif facts.get("in_time") is not True and facts.get("stage") == "dns":
        judgement.add("DATABASE_DNS", f"The name service of this host does not answer in time when asked for {place}.")
    elif _judge_way(judgement, facts, parameters):
        if facts.get("refusal"):
            _judge_refusal(judgement, facts, parameters)
        elif facts.get("broken"):
            judgement.add(
                "DATABASE_PROTOCOL",
                f"The connection to {place} broke off in the middle of a question.",
                evidence=str(facts["broken"]),
            )
        elif facts.get("in_time") is not True:
            judgement.add(
                "DATABASE_SILENT",
                f"{place} accepts the connection and then says nothing in time.",
                evidence=f"stage: {facts.get('stage')}",
            )
    server = _row(facts, "server")
    known: dict[str, Any] = {"place": place, "name": parameters.get("dbname", ""), "user": parameters.get("user", "")}
    known["encrypted"] = facts.get("encrypted") is True
    if server:
        name = str(server.get("name"))
        known |= {
            "name": name,
            "user": str(server.get("login")),
            "version": str(server.get("version_text")),
            "encoding": str(server.get("encoding")),
            "comment": str(server.get("comment") or ""),
        }
        _judge_server(judgement, facts, wanted, parameters, server)
        _judge_privileges(judgement, facts, wanted, server)
        known |= _judge_schema(judgement, facts, wanted, name)
        known["workspaces"] = _judge_workspaces(judgement, facts, wanted, name)
        known["connections"] = _judge_connections(judgement, facts, wanted, server)
        known["latency_ms"] = _number(facts.get("latency_ms"))
        if known["latency_ms"] > wanted.max_latency_ms:
            judgement.add(
                "DATABASE_LATENCY",
                f"The database answers in {known['latency_ms']:.1f} ms (median of five), more than {wanted.max_latency_ms:g} ms.",
            )
        _judge_sessions(judgement, facts, wanted)
        _judge_tables(judgement, facts, wanted)
        known["settings"] = _judge_settings(judgement, facts)
        known["tables"] = [dict(row) for row in _rows(facts, "upkeep")]
        known["locks"] = [dict(row) for row in _rows(facts, "locks")]
        known["transactions"] = [dict(row) for row in _rows(facts, "transactions")]
    if unanswered := _mapping(facts, "unanswered"):
        judgement.add(
            "DATABASE_UNANSWERED",
            f"Part of the check has no answer: {_some(map(str, unanswered))}.",
            evidence="; ".join(f"{part}: {reason}" for part, reason in unanswered.items()),
        )
    return judgement.findings, known
