"""Bad input that takes other hosts as peers: a database over TLS, a bucket. Run in the scenario `alternative`, from one of its servers."""

from __future__ import annotations

from ansible_collections.mlops.mlflow.tests.refusals.live import Run
from ansible_collections.mlops.mlflow.tests.refusals.table import Case

PLACE = "s3://tracking/alternative/artifacts"
STAYS = "What serves stays as it is."
# The authorities of the operating system, which have issued neither the certificate of the bucket nor that of PostgreSQL.
SYSTEM = "/etc/ssl/certs/ca-certificates.crt"

BUCKET = Run(
    "bucket",
    playbook="mlflow_artifact_store",
    cases=(
        Case(
            "secret-of-another-key",
            f"[ARTIFACT_SECRET_WRONG] {{name}}: {PLACE}: the secret does not belong to the access key; listing failed."
            f" Correct mlflow_artifact_store_secret_access_key in the vault; a line break at its end counts as well. {STAYS}",
            {"mlflow_artifact_store_secret_access_key": "Xk3vQ9zLr2Tn8WpBXk3vXk3vQ9zLr2Tn8WpBXk3v"},
        ),
        Case(
            "key-that-nobody-knows",
            f"[ARTIFACT_KEY_UNKNOWN] {{name}}: {PLACE}: the store does not know the access key; listing failed. Correct"
            f" mlflow_artifact_store_access_key_id, or mlflow_artifact_store_endpoint_url if it is another store's key. {STAYS}",
            {"mlflow_artifact_store_access_key_id": "NOBODYKNOWSTHISKEY00"},
        ),
        Case(
            "outside-its-prefix",
            "[ARTIFACT_LIST_DENIED] {name}: s3://tracking/elsewhere: the identity may not list below the prefix; listing failed."
            f" Allow s3:ListBucket on the bucket for the prefix, and s3:PutObject and s3:GetObject on the objects below it. {STAYS}",
            {"mlflow_artifact_store_uri": "s3://tracking/elsewhere"},
        ),
        Case(
            "authority-not-known",
            f"[ARTIFACT_TLS] {{name}}: {PLACE}: the endpoint's certificate is not trusted (https://store.alternative.test:18443);"
            " listing failed. Set mlflow_artifact_store_ca_file to the authority's certificate on the server, or correct the"
            f" endpoint's name or certificate. {STAYS}",
            {"mlflow_artifact_store_ca_file": SYSTEM},
        ),
        Case(
            "no-scheme",
            f"[ARTIFACT_ENDPOINT_URL] {{name}}: {PLACE}: the endpoint is not a URL (store.alternative.test:18443); preparing the"
            f" request failed. Set mlflow_artifact_store_endpoint_url with its scheme, for example https://s3.example.com. {STAYS}",
            {"mlflow_artifact_store_endpoint_url": "store.alternative.test:18443"},
        ),
        Case(
            "nobody-listens",
            f"[ARTIFACT_ENDPOINT_DOWN] {{name}}: {PLACE}: the endpoint does not take a connection"
            " (https://store.alternative.test:18444: [Errno 111] Connection refused); listing failed."
            f" Correct mlflow_artifact_store_endpoint_url, start the store, or open the way from this host to it. {STAYS}",
            {"mlflow_artifact_store_endpoint_url": "https://store.alternative.test:18444"},
        ),
        Case(
            "bucket-of-another-environment",
            f"[ARTIFACT_ENVIRONMENT] {{name}}: {PLACE} belongs to the environment 'molecule-alternative', not to 'molecule-other'. Give"
            " each environment a bucket, prefix or directory of its own in mlflow_artifact_uri. Nothing was written there."
            f" {STAYS}",
            {"mlflow_environment": "molecule-other"},
        ),
    ),
)

SERVES = "No slot was switched: what served goes on serving."
FOREIGN = f"postgresql+psycopg2://tracking_green:unused@10.213.77.31:5544/{{}}?sslmode=verify-full&sslrootcert={SYSTEM}"


def of_both(sentence: str, what: str = "name") -> str:
    """A sentence about each database, runs and users."""
    return "\n".join(
        sentence.replace("{variable}", variable)
        for variable in (f"mlflow_database_{what}", f"mlflow_database_auth_{what}")
    )


LOGIN = Run(
    "login",
    playbook="mlflow_server",
    arguments=("--tags", "mlflow_server_migrate"),
    variables={"mlflow_server_database_address": "10.213.77.31"},
    cases=(
        Case(
            "password",
            of_both(
                "[DATABASE_LOGIN] {name}: {variable}: 10.213.77.31:5544 refuses the user tracking_green. (connection to server at"
                " '10.213.77.31', port 5544 failed: FATAL: password authentication failed for user 'tracking_green') Correct user and"
                " password of the URI (reserved characters percent-encoded), or set the password in PostgreSQL: ALTER ROLE ..."
                f" PASSWORD. {SERVES}"
            ),
            {"mlflow_database_server_b_password": "Xk3vQ9zLr2Tn8WpBXk3v"},
        ),
        Case(
            "database-that-is-not-for-it",
            "[DATABASE_HBA] {name}: mlflow_database_name: The access rules of 10.213.77.31:5544 do not let in the user tracking_green"
            " to the database trackings. (connection to server at '10.213.77.31', port 5544 failed: FATAL: pg_hba.conf rejects"
            " connection for host '10.213.77.32', user 'tracking_green', database 'trackings', SSL encryption) Add a line such as:"
            f" hostssl DATABASE USER ADDRESS scram-sha-256, reload PostgreSQL, and use sslmode=require or higher. {SERVES}",
            {"mlflow_database_name": "trackings"},
        ),
        Case(
            "nobody-listens",
            of_both(
                "[DATABASE_REFUSED] {name}: {variable}: Nothing listens at 10.213.77.31:5545. (10.213.77.31 port 5545: Connection"
                f" refused) Start PostgreSQL, or correct host and port of the URI. {SERVES}"
            ),
            {"mlflow_database_port": 5545},
        ),
        Case(
            "nobody-answers",
            of_both(
                "[DATABASE_UNREACHABLE] {name}: {variable}: There is no way from this host to 10.213.77.250:5544. (10.213.77.250 port"
                f" 5544: No route to host) Open the way from this host to the database's port, or correct the address. {SERVES}"
            ),
            {"mlflow_server_database_address": "10.213.77.250"},
        ),
        Case(
            "authority-not-known",
            of_both(
                "[DATABASE_TLS_UNTRUSTED] {name}: {variable}: The certificate of 10.213.77.31:5544 is not trusted: unable to get local"
                " issuer certificate. (connection to server at '10.213.77.31', port 5544 failed: SSL error: certificate verify failed)"
                f" Point sslrootcert of the URI to the certificate of the authority that issued it. {SERVES}",
                "uri",
            ),
            {
                "mlflow_server_database_uri": FOREIGN.format("tracking"),
                "mlflow_server_database_auth_uri": FOREIGN.format("tracking_users"),
            },
        ),
    ),
)

RUNS = (BUCKET, LOGIN)
