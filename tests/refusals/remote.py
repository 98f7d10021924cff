"""Bad input that takes other hosts as peers: a database over TLS, a bucket. Run in the scenario `alternative`, from one of its servers."""

from __future__ import annotations

from ansible_collections.mlops.mlflow.tests.refusals.live import Run
from ansible_collections.mlops.mlflow.tests.refusals.table import Case

BUCKET = Run(
    "bucket",
    playbook="mlflow_artifact_store",
    cases=(
        Case(
            "secret-of-another-key",
            "?",
            {"mlflow_artifact_store_secret_access_key": "Xk3vQ9zLr2Tn8WpBXk3vXk3vQ9zLr2Tn8WpBXk3v"},
        ),
        Case("key-that-nobody-knows", "?", {"mlflow_artifact_store_access_key_id": "NOBODYKNOWSTHISKEY00"}),
        Case("outside-its-prefix", "?", {"mlflow_artifact_store_uri": "s3://tracking/elsewhere"}),
        Case("authority-not-known", "?", {"mlflow_artifact_store_ca_file": ""}),
        Case("no-scheme", "?", {"mlflow_artifact_store_endpoint_url": "store.alternative.test:18443"}),
        Case("nobody-listens", "?", {"mlflow_artifact_store_endpoint_url": "https://store.alternative.test:18444"}),
        Case("bucket-of-another-environment", "?", {"mlflow_environment": "molecule-other"}),
    ),
)

LOGIN = Run(
    "login",
    playbook="mlflow_server",
    arguments=("--tags", "mlflow_server_migrate"),
    variables={"mlflow_server_database_address": "10.213.77.31"},
    cases=(
        Case("password", "?", {"mlflow_database_server_b_password": "Xk3vQ9zLr2Tn8WpBXk3v"}),
        Case("no-such-database", "?", {"mlflow_database_name": "trackings"}),
        Case("nobody-listens", "?", {"mlflow_database_port": 5545}),
        Case("nobody-answers", "?", {"mlflow_server_database_address": "10.213.77.250"}),
        Case("name-without-address", "?", {"mlflow_server_database_address": "nobody.alternative.test"}),
        Case("authority-not-known", "?", {"mlflow_server_database_ca_file": "/etc/ssl/certs/ca-certificates.crt"}),
    ),
)

RUNS = (BUCKET, LOGIN)
