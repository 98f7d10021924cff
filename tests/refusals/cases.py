"""Bad input that the controller alone refuses: no host is asked, or this machine stands for one."""

from __future__ import annotations

from ansible_collections.mlops.mlflow.tests.refusals.table import Case

FORM = "Correct it where it is set: group_vars, host_vars, or -e. Nothing was changed."
OWN = "Correct it, or begin its name with mlflow_site_ if it is your own. Nothing was changed."
GROUPS = "mlflow_databases, mlflow_servers, mlflow_edges"
SIZE = "Correct it, or leave it out: the defaults fit the host. Nothing was changed."
ONE_LOGIN = (
    "Use one of mlflow_artifact_store_azure_connection_string and mlflow_artifact_store_azure_access_key, of the account in"
    " mlflow_artifact_uri. Nothing was changed."
)
FACTS = {
    "distribution": "Debian",
    "distribution_major_version": "13",
    "processor_vcpus": 2,
    "memtotal_mb": 8000,
}

INVENTORIES = (
    Case(
        "no-inventory",
        "[INVENTORY_MISSING] /etc/ansible/hosts: there is no group mlflow. Give an inventory that has it, for example -i inventories/dev."
        " Nothing was changed.",
        inventory="-",
    ),
    Case(
        "no-such-inventory",
        "[INVENTORY_MISSING] {inventory}: there is no group mlflow. Give an inventory that has it, for example -i inventories/dev."
        " Nothing was changed.",
        inventory="/",
    ),
    Case(
        "group-misspelt",
        f"[INVENTORY_GROUP_UNKNOWN] {{inventory}}: the group mlflow_server is not one of {GROUPS}."
        " Did you mean mlflow_servers? Correct it, or begin its name with mlflow_site_ if it is your own. Nothing was changed.",
        inventory="mlflow: {children: {mlflow_server: {hosts: {app1: }}, mlflow_servers: {hosts: {app2: }}}}",
    ),
    Case(
        "group-empty",
        "[INVENTORY_GROUP_EMPTY] {inventory}: the group mlflow_servers has no host. Add one to it. Nothing was changed.",
        inventory="mlflow: {children: {mlflow_edges: {hosts: {app1: }}}}",
    ),
    Case(
        "host-idle",
        f"[INVENTORY_HOST_IDLE] {{inventory}}: spare is in mlflow but in none of {GROUPS}."
        " Put it into a group that says what it does, or remove it. Nothing was changed.",
        inventory="mlflow: {hosts: {spare: }, children: {mlflow_servers: {hosts: {app1: }}}}",
    ),
    Case(
        "limit-leaves-out-a-server",
        "[INVENTORY_LIMIT] db1: --limit=db1. It leaves out app1, app2. Name the servers in --limit too, or leave --limit out."
        " Nothing was changed.",
        arguments=("--limit", "db1"),
        inventory="mlflow: {children: {mlflow_databases: {hosts: {db1: }}, mlflow_servers: {hosts: {app1: , app2: }}}}",
    ),
)

VARIABLES = (
    Case(
        "misspelt",
        f"[VARIABLE_UNKNOWN] {{name}}: mlflow_server_worker is set, and no role of mlops.mlflow knows it. Did you mean mlflow_server_workers? {OWN}",
        {"mlflow_server_worker": 4},
    ),
    Case(
        "misspelt-on-the-command-line",
        f"[VARIABLE_UNKNOWN] {{name}}: mlflow_https_prot is set, and no role of mlops.mlflow knows it. Did you mean mlflow_https_port? {OWN}",
        arguments=("-e", "mlflow_https_prot=8443"),
    ),
    Case(
        "misspelt-among-the-secrets",
        f"[VARIABLE_UNKNOWN] {{name}}: mlflow_admin_pasword is set, and no role of mlops.mlflow knows it. Did you mean mlflow_admin_password? {OWN}",
        arguments=("--vault-id", "test@{folder}/right"),
        vault="mlflow_admin_pasword: Xk3vQ9zLr2Tn8WpB",
    ),
    Case(
        "unlike-anything",
        "[VARIABLE_UNKNOWN] {name}: mlflow_colour is set, and no role of mlops.mlflow knows it."
        " Remove it, or begin its name with mlflow_site_ if it is your own. Nothing was changed.",
        {"mlflow_colour": "blue"},
    ),
    Case(
        "workers-in-words",
        f"[VARIABLE_VALUE] {{name}}: mlflow_server_workers=four. It is a whole number. {FORM}",
        {"mlflow_server_workers": "four"},
        is_choice=True,
    ),
    Case(
        "auth-unknown",
        f"[VARIABLE_VALUE] {{name}}: mlflow_auth=ldap. It is one of basic, none, oidc. {FORM}",
        {"mlflow_auth": "ldap"},
        is_choice=True,
    ),
    Case(
        "provider-misspelt",
        "[VARIABLE_VALUE] {name}: mlflow_certificates_provider=file. It is one of private_ca, files, acme. Did you mean files?"
        f" {FORM}",
        {"mlflow_certificates_provider": "file"},
        is_choice=True,
    ),
    Case(
        "switch-with-a-word",
        f"[VARIABLE_VALUE] {{name}}: mlflow_database_adopt=perhaps. It is true or false. {FORM}",
        arguments=("-e", "mlflow_database_adopt=perhaps"),
        is_choice=True,
    ),
    Case(
        "list-of-words-for-a-mapping",
        f"[VARIABLE_VALUE] {{name}}: mlflow_server_extra_env=['A', 'B']. It is a mapping of names to values. {FORM}",
        {"mlflow_server_extra_env": ["A", "B"]},
        is_choice=True,
    ),
)

CHOICES = (
    Case(
        "no-environment",
        "[CHOICE_MISSING] {name}: mlflow_environment is not set. Set it, for example mlflow_environment: prod. Nothing was changed.",
        {"mlflow_environment": ""},
    ),
    Case(
        "environment-in-capitals",
        "[CHOICE_ENVIRONMENT] {name}: mlflow_environment=Prod. It is lower-case letters, digits and dashes, beginning with a letter."
        " Use a name such as prod. Nothing was changed.",
        {"mlflow_environment": "Prod"},
    ),
    Case(
        "domain-with-scheme",
        "[CHOICE_DOMAIN] {name}: mlflow_domain=https://mlflow.test. It is a host name without scheme, port or path."
        " Use a name such as mlflow.example.com. Nothing was changed.",
        {"mlflow_domain": "https://mlflow.test"},
    ),
    Case(
        "port-beyond-all",
        "[CHOICE_PORT] {name}: mlflow_https_port=70000. Ports go from 1 to 65535. Set it to another port. Nothing was changed.",
        {"mlflow_https_port": 70000},
    ),
    Case(
        "port-of-a-server",
        "[CHOICE_PORT] {name}: mlflow_https_port=5001. 5001, 5002 and 5432 belong to the servers and the database."
        " Set it to another port. Nothing was changed.",
        {"mlflow_https_port": 5001},
    ),
    Case(
        "port-of-the-redirect",
        "[CHOICE_PORT] {name}: mlflow_https_port=80. 80 is for those who forget the s of https, and leads them to this one."
        " Set it to another port. Nothing was changed.",
        {"mlflow_https_port": 80},
    ),
    Case(
        "signed-urls-of-a-directory",
        "[TRANSFER_SCHEME] {name}: mlflow_artifact_transfer=presigned. A directory on the servers is no place to which clients could go themselves."
        " Set mlflow_artifact_transfer to proxied, or mlflow_artifact_uri to a bucket that it works with. Nothing was changed.",
        {"mlflow_artifact_transfer": "presigned"},
    ),
    Case(
        "signed-urls-of-google",
        "[TRANSFER_SCHEME] {name}: mlflow_artifact_transfer=presigned. Google Cloud Storage has no signed URLs for downloads in MLflow, only S3 has."
        " Set mlflow_artifact_transfer to proxied, or mlflow_artifact_uri to a bucket that it works with. Nothing was changed.",
        {"mlflow_artifact_uri": "gs://acme-mlflow-test/mlflow", "mlflow_artifact_transfer": "presigned"},
    ),
    Case(
        "a-bucket-on-everybodys-own-machine",
        "[TRANSFER_ENDPOINT] {name}: mlflow_artifact_store_endpoint_url=http://127.0.0.1:9000. With mlflow_artifact_transfer=direct clients go"
        " there themselves, and would look on their own machines. Set mlflow_artifact_store_endpoint_url to an address that servers and clients"
        " reach, or mlflow_artifact_transfer to proxied. Nothing was changed.",
        {
            "mlflow_artifact_uri": "s3://bucket/mlflow",
            "mlflow_artifact_transfer": "direct",
            "mlflow_artifact_store_endpoint_url": "http://127.0.0.1:9000",
        },
    ),
    Case(
        "parts-smaller-than-s3-takes",
        "[TRANSFER_PART] {name}: mlflow_artifact_transfer_part_mb=1. S3 takes parts of 5 to 5120 MiB."
        " Set it to a size in between, for example 64. Nothing was changed.",
        {
            "mlflow_artifact_uri": "s3://bucket/mlflow",
            "mlflow_artifact_transfer": "presigned",
            "mlflow_artifact_transfer_part_mb": 1,
        },
    ),
    Case(
        "directory-relative",
        "[CHOICE_PATH] {name}: mlflow_install_dir=opt/mlflow. It must be an absolute path."
        " Give an absolute path of its own, for example /opt/mlflow. Nothing was changed.",
        {"mlflow_install_dir": "opt/mlflow"},
    ),
    Case(
        "directory-of-the-system",
        "[CHOICE_PATH] {name}: mlflow_config_dir=/etc. That directory belongs to the system."
        " Give an absolute path of its own, for example /opt/mlflow. Nothing was changed.",
        {"mlflow_config_dir": "/etc"},
    ),
    Case(
        "administrator-with-colon",
        "[CHOICE_USER] {name}: mlflow_admin_username=ops:admin. It is not empty, has no colon (a login ends there),"
        " no blank at its ends and nothing invisible. Use a name such as admin. Nothing was changed.",
        {"mlflow_admin_username": "ops:admin"},
    ),
    Case(
        "server-as-root",
        "[CHOICE_USER] {name}: mlflow_user=root. It is lower-case letters, digits, dashes and underscores, at most 32,"
        " beginning with a letter, and never root. Use a name such as mlflow. Nothing was changed.",
        {"mlflow_user": "root"},
    ),
    Case(
        "number-of-root",
        "[CHOICE_USER] {name}: mlflow_uid=0. It is a number from 1 to 4294967294. Use a number that no user has, such as 20001, or leave it"
        " out. Nothing was changed.",
        {"mlflow_uid": 0},
    ),
    Case(
        "open-to-the-world",
        "[AUTH_NONE] {name}: mlflow_auth=none. Without a login the edge may listen on loopback only, and it listens on every address."
        " Set mlflow_auth to basic, or let the edge listen on loopback only. Nothing was changed.",
        {"mlflow_auth": "none"},
    ),
)

# A login at an identity provider, as far as it is right.
PROVIDER = {
    "mlflow_auth": "oidc",
    "mlflow_oidc_issuer": "https://login.example.test",
    "mlflow_oidc_client_id": "mlflow",
    "mlflow_oidc_client_secret": "Xk3vQ9zLr2Tn8WpB",
    "mlflow_oidc_user_groups": ["staff"],
}
IDENTITY = (
    Case(
        "no-client-at-the-provider",
        "[OIDC_CLIENT] {name}: mlflow_oidc_issuer and mlflow_oidc_client_id not set. Make a client at the provider and set mlflow_oidc_issuer,"
        " mlflow_oidc_client_id and, in the vault file, mlflow_oidc_client_secret. Nothing was changed.",
        {"mlflow_auth": "oidc", "mlflow_oidc_user_groups": ["staff"]},
    ),
    Case(
        "issuer-in-clear",
        "[OIDC_ISSUER] {name}: mlflow_oidc_issuer=http://login.example.test. It begins with https:// and names a host. Copy it from the field"
        " issuer of the provider's .well-known/openid-configuration. Nothing was changed.",
        {**PROVIDER, "mlflow_oidc_issuer": "http://login.example.test"},
    ),
    Case(
        "issuer-with-too-much",
        "[OIDC_ISSUER] {name}: mlflow_oidc_issuer=https://login.example.test/.well-known/openid-configuration. The part from /.well-known on"
        " does not belong to it. Copy it from the field issuer of the provider's .well-known/openid-configuration. Nothing was changed.",
        {**PROVIDER, "mlflow_oidc_issuer": "https://login.example.test/.well-known/openid-configuration"},
    ),
    Case(
        "gate-misspelt",
        "[VARIABLE_VALUE] {name}: mlflow_gate_kind=externel. It is one of mod_auth_openidc, external. Did you mean external?"
        f" {FORM}",
        {**PROVIDER, "mlflow_gate_kind": "externel"},
        is_choice=True,
    ),
    Case(
        "client-with-a-blank",
        "[OIDC_NAME] {name}: mlflow_oidc_client_id='mlflow '. It has no blank at its ends and nothing invisible. Write it as the provider"
        " does, without line breaks and tabs. Nothing was changed.",
        {**PROVIDER, "mlflow_oidc_client_id": "mlflow "},
    ),
    Case(
        "scopes-without-openid",
        "[OIDC_NAME] {name}: mlflow_oidc_scopes=['profile', 'email']. Without openid among them nobody is named. Add openid. Nothing was"
        " changed.",
        {**PROVIDER, "mlflow_oidc_scopes": ["profile", "email"]},
    ),
    Case(
        "claim-with-a-quote",
        '[OIDC_NAME] {name}: mlflow_oidc_groups_claim=groups". It has letters, digits, dots, dashes, colons and slashes. Write it as the'
        " provider does, without line breaks and tabs. Nothing was changed.",
        {**PROVIDER, "mlflow_oidc_groups_claim": 'groups"'},
    ),
    Case(
        "everybody-an-administrator",
        "[OIDC_EVERYBODY] {name}: mlflow_oidc_admin_groups=['*']. Everybody would be an administrator. Name the groups of administrators."
        " Nothing was changed.",
        {**PROVIDER, "mlflow_oidc_admin_groups": ["*"]},
    ),
    Case(
        "account-with-a-colon",
        "[OIDC_NAME] {name}: mlflow_oidc_password_accounts=night:ly. A login ends at its first colon. Use an account without a colon. Nothing"
        " was changed.",
        {**PROVIDER, "mlflow_oidc_password_accounts": ["night:ly"]},
    ),
    Case(
        "everybody-of-the-provider",
        "[OIDC_EVERYBODY] {name}: neither mlflow_oidc_user_groups nor mlflow_oidc_admin_groups is set. Set mlflow_oidc_user_groups or"
        " mlflow_oidc_admin_groups to groups of the provider; '*' lets everybody in. Nothing was changed.",
        {**PROVIDER, "mlflow_oidc_user_groups": []},
    ),
    Case(
        "group-with-a-tab",
        "[OIDC_NAME] {name}: mlflow_oidc_admin_groups='staff\\tadmins'. Names are not empty, begin and end without a blank, and hold nothing"
        " invisible. Write it as the provider does, without line breaks and tabs. Nothing was changed.",
        {**PROVIDER, "mlflow_oidc_admin_groups": ["staff\tadmins"]},
    ),
    Case(
        "group-without-a-role",
        "[OIDC_ROLES] {name}: mlflow_oidc_group_roles=staff. It has an empty list of roles. Name a role, or remove the group from"
        " mlflow_oidc_group_roles. Nothing was changed.",
        {**PROVIDER, "mlflow_oidc_group_roles": {"staff": []}},
    ),
    Case(
        "no-secret-of-the-client",
        "[OIDC_CLIENT] {name}: mlflow_oidc_client_secret is not set. Make a client at the provider and keep its secret in the environment's"
        " vault file. Nothing was changed.",
        {**PROVIDER, "mlflow_oidc_client_secret": ""},
        playbook="mlflow_gate/refuse",
    ),
    Case(
        "sessions-of-one-edge",
        "[GATE_SESSIONS] {name}: mlflow_gate_cache=shm with 2 edges, mlflow_gate_redis_server=. Set mlflow_gate_cache=redis and"
        " mlflow_gate_redis_server to a Redis or Valkey that all edges reach. Nothing was changed.",
        {**PROVIDER, "mlflow_gate_edges": ["10.0.0.5", "10.0.0.6"]},
        playbook="mlflow_gate/refuse",
    ),
    Case(
        "provider-away",
        "[OIDC_PROVIDER] {name}: mlflow_oidc_issuer=https://127.0.0.1:9. The edge got no answer that says so: Status code was -1 and not [200]:"
        " Request failed: <urlopen error [Errno 111] Connection refused>. From the edge, ask for"
        " https://127.0.0.1:9/.well-known/openid-configuration; set mlflow_oidc_issuer to its field issuer, and mlflow_gate_ca_file for an"
        " authority of your own. Nothing was changed.",
        {**PROVIDER, "mlflow_oidc_issuer": "https://127.0.0.1:9"},
        playbook="mlflow_gate/refuse",
    ),
    Case(
        "gate-elsewhere",
        "[GATE_URL] {name}: mlflow_edge_gate_url=http://gate.example.test/check, mlflow_edge_gate_path=/oidc/. The gate is asked at an http://"
        " address of loopback; its paths begin with a slash and its headers have letters, digits and dashes. Run it on every edge and set"
        " mlflow_edge_gate_url to an address such as http://127.0.0.1:4180/oauth2/auth. Nothing was changed.",
        {**PROVIDER, "mlflow_gate_kind": "external", "mlflow_edge_gate_url": "http://gate.example.test/check"},
        playbook="mlflow_edge/refuse",
    ),
)

LOGINS = (
    Case(
        "key-of-google-cut-short",
        "[STORE_GCS_CREDENTIALS] {name}: mlflow_artifact_store_gcs_credentials is not JSON. Put the whole JSON of the key into the vault, or"
        " leave the variable empty where the host has a service account. Nothing was changed.",
        {"mlflow_artifact_uri": "gs://acme/mlflow", "mlflow_artifact_store_gcs_credentials": '{"type": "service_acc'},
        playbook="mlflow_server/plan",
    ),
    Case(
        "account-of-azure-mixed-up",
        "[STORE_AZURE_CREDENTIALS] {name}: mlflow_artifact_store_azure_connection_string is of the account acmedev, and the URI names"
        f" acmeprod. {ONE_LOGIN}",
        {
            "mlflow_artifact_uri": "wasbs://artifacts@acmeprod.blob.core.windows.net/mlflow",
            "mlflow_artifact_store_azure_connection_string": "AccountName=acmedev;AccountKey=Xk3vQ9zLr2Tn8WpB",
        },
        playbook="mlflow_server/plan",
    ),
    Case(
        "key-of-azure-for-a-lake",
        "[STORE_AZURE_CREDENTIALS] {name}: mlflow_artifact_store_azure_access_key is not used by MLflow with abfss://, where only an"
        f" identity of the host logs in. {ONE_LOGIN}",
        {
            "mlflow_artifact_uri": "abfss://artifacts@acmeprod.dfs.core.windows.net/mlflow",
            "mlflow_artifact_store_azure_access_key": "Xk3vQ9zLr2Tn8WpB",
        },
        playbook="mlflow_server/plan",
    ),
)

SIZES = (
    Case(
        "workers-negative",
        f"[HOST_SIZE] {{name}}: mlflow_server_workers=-1. It is at least 0. {SIZE}",
        {"mlflow_server_workers": -1},
        playbook="mlflow_server/plan",
    ),
    Case(
        "threads-none",
        f"[HOST_SIZE] {{name}}: mlflow_server_threads=0. It is at least 1. {SIZE}",
        {"mlflow_server_threads": 0},
        playbook="mlflow_server/plan",
    ),
    Case(
        "memory-of-a-toaster",
        f"[HOST_SIZE] {{name}}: mlflow_server_memory_mb=10. It is at least 256. {SIZE}",
        {"mlflow_server_memory_mb": 10},
        playbook="mlflow_server/plan",
    ),
    Case(
        "workers-beyond-memory",
        f"[HOST_SIZE] {{name}}: mlflow_server_workers=5000. A worker takes 410 MB, and 8000 MB hold 19. {SIZE}",
        {"mlflow_server_workers": 5000},
        playbook="mlflow_server/plan",
    ),
    Case(
        "pool-smaller-than-threads",
        "[SERVER_POOL] {name}: mlflow_server_extra_env: MLFLOW_SQLALCHEMYSTORE_POOL_SIZE=3."
        " 4 threads need 5 connections, and 4 would be there. Leave pools to the role; mlflow_server_threads and mlflow_server_workers"
        " say how much is done at a time. Nothing was changed.",
        {"mlflow_server_extra_env": {"MLFLOW_SQLALCHEMYSTORE_POOL_SIZE": 3}},
        playbook="mlflow_server/plan",
    ),
    Case(
        "threads-behind-the-plan",
        "[SERVER_POOL] {name}: mlflow_server_extra_env: MLOPS_SERVER_THREADS=40. Pools and connections are computed from"
        " mlflow_server_threads, which this would make untrue. Leave pools to the role; mlflow_server_threads and mlflow_server_workers"
        " say how much is done at a time. Nothing was changed.",
        {"mlflow_server_extra_env": {"MLOPS_SERVER_THREADS": 40}},
        playbook="mlflow_server/plan",
    ),
    Case(
        "slots-on-one-port",
        "[CHOICE_PORT] {name}: mlflow_server_port_a=5002, mlflow_server_port_b=5002. Each slot has a port of its own from 1024 to"
        " 65535, other than 443 and 5432. Set them to other ports. Nothing was changed.",
        {"mlflow_server_port_a": 5002},
        playbook="mlflow_server/plan",
    ),
    # Debian's own accounts stand for those that are there already.
    Case(
        "user-with-another-number",
        "[HOST_ACCOUNT] {name}: mlflow_uid=20001. The user daemon exists on this host with the number 1, and its files know it by that."
        " Set mlflow_uid=1, or change the number while MLflow is stopped, as docs/how-to/share-a-directory.md shows. Nothing was changed.",
        {"mlflow_user": "daemon", "mlflow_uid": 20001},
        playbook="mlflow_server/plan",
    ),
    Case(
        "group-with-the-number-of-another",
        "[HOST_ACCOUNT] {name}: mlflow_gid=1. That number belongs to the group daemon of this host. Choose a number that no group has on"
        " any server, or leave mlflow_gid out. Nothing was changed.",
        {"mlflow_group": "mlops-nobody", "mlflow_gid": 1},
        playbook="mlflow_server/plan",
    ),
    Case(
        "connections-of-a-toaster",
        f"[HOST_SIZE] {{name}}: mlflow_database_connections=0. It is at least 1. {SIZE}",
        {"mlflow_database_connections": 0},
        playbook="mlflow_database/refuse",
    ),
    Case(
        "connections-beyond-memory",
        "[HOST_SIZE] {name}: mlflow_database_connections=100000. 7936 MB of memory cannot hold 100003 connections (2 MB each beside"
        " 3472 MB of shared and maintenance memory): use fewer workers, fewer nodes or a bigger database host."
        f" {SIZE}",
        {"mlflow_database_connections": 100000},
        playbook="mlflow_database/refuse",
    ),
    Case(
        "pools-beyond-connections",
        "[SERVER_CONNECTIONS] {name}: mlflow_database_connections=40. The servers of the environment need 144. Use fewer workers or"
        " threads, or leave out the variable that sets the number of connections: the default is what they need. Nothing was changed.",
        {"mlflow_database_connections": 40, "__mlflow_topology_plans": [62, 62]},
        playbook="mlflow_database/refuse",
    ),
    Case(
        "names-of-databases",
        "[DATABASE_NAME] {name}: databases and roles My-Runs, mlflow_auth, mlflow_migrator, mlflow_server_a, mlflow_server_b,"
        " mlflow_owner, mlflow_runtime, clients . Names are lower-case letters, digits and underscores and differ from each other;"
        " a client is an address, a network in CIDR notation or a host name. Nothing was changed.",
        {"mlflow_database_name": "My-Runs"},
        playbook="mlflow_database/refuse",
    ),
    Case(
        "access-rule-without-mask",
        "[DATABASE_CONFIGURATION] {name}: mlflow_database_extra_hba=hostssl mlflow backup 10.0.0.9 scram-sha-256."
        " 10.0.0.9 has no mask: write 10.0.0.9/32. A line is TYPE DATABASE USER [ADDRESS] METHOD, for example"
        ' "hostssl mlflow backup 10.0.0.9/32 scram-sha-256". Nothing was changed.',
        {"mlflow_database_extra_hba": ["hostssl mlflow backup 10.0.0.9 scram-sha-256"]},
        playbook="mlflow_database/refuse",
    ),
)

FILE = "{folder}/group_vars/mlflow/vault.yml"
SECRETS = (
    Case(
        "vault-password-wrong",
        f"[SECRETS_VAULT_PASSWORD] {FILE}: the password given with the vault id test does not open it."
        " Give the password it was encrypted with. Nothing was changed.",
        arguments=("--vault-id", "test@{folder}/wrong"),
        vault="mlflow_admin_password: Xk3vQ9zLr2Tn8WpB",
    ),
    Case(
        "vault-password-not-given",
        f"[SECRETS_VAULT_ID] {FILE}: no vault password with the id test was given. Start the playbook with --vault-id test@prompt, or with"
        " a file or program in place of prompt. Nothing was changed.",
        vault="mlflow_admin_password: Xk3vQ9zLr2Tn8WpB",
    ),
    Case(
        "secrets-in-clear",
        f"[SECRETS_FILE] {FILE}: it is not encrypted. Encrypt it: ansible-vault encrypt --encrypt-vault-id <environment>"
        f" --vault-id <environment>@prompt {FILE}. Nothing was changed.",
        arguments=("--vault-id", "test@{folder}/right"),
        vault="mlflow_admin_password: Xk3vQ9zLr2Tn8WpB",
        is_plain=True,
    ),
)

BROUGHT = {
    "mlflow_certificates_provider": "files",
    "mlflow_certificates_ca_files": ["{folder}/root.pem"],
    "mlflow_certificates_wanted": [
        {"name": "edge", "common_name": "mlflow.test", "dns": ["mlflow.test"], "usage": ["serverAuth"]}
    ],
}
CERTIFICATES = (
    Case(
        "certificate-of-another-domain",
        "[CERT_NAME_NOT_COVERED] {name}: mlflow_certificates_files.edge.certificate is valid for DNS:other.test and not for"
        " DNS:mlflow.test. Clients would refuse it: bring a certificate that has the names, or change mlflow_domain. Nothing was changed.",
        {
            **BROUGHT,
            "mlflow_certificates_files": {
                "edge": {"certificate": "{folder}/other.pem", "private_key": "{folder}/other.key"}
            },
        },
        playbook="mlflow_certificates/refuse",
    ),
    Case(
        "certificate-ended",
        "[CERT_EXPIRED] {name}: mlflow_certificates_files.edge: {folder}/old.pem ended on {ended}. Give the pair that your authority"
        " issued. Nothing was changed.",
        {
            **BROUGHT,
            "mlflow_certificates_files": {
                "edge": {"certificate": "{folder}/old.pem", "private_key": "{folder}/old.key"}
            },
        },
        playbook="mlflow_certificates/refuse",
    ),
    Case(
        "key-of-another-certificate",
        "[CERT_KEY_MISMATCH] {name}: mlflow_certificates_files.edge: {folder}/other.key is the key of another certificate than"
        " {folder}/right.pem. Give the pair that your authority issued. Nothing was changed.",
        {
            **BROUGHT,
            "mlflow_certificates_files": {
                "edge": {"certificate": "{folder}/right.pem", "private_key": "{folder}/other.key"}
            },
        },
        playbook="mlflow_certificates/refuse",
    ),
)

BY_ACME = {
    "mlflow_certificates_provider": "acme",
    "mlflow_certificates_acme_email": "team@example.com",
    "mlflow_certificates_acme_accept_terms": True,
    "mlflow_certificates_wanted": [
        {"name": "edge", "common_name": "mlflow.test", "dns": ["mlflow.test"], "usage": ["serverAuth"]}
    ],
}
OTHER_NAME = "Change mlflow_domain or mlflow_certificates_extra_names, or choose another mlflow_certificates_provider. Nothing was changed."
ACME = (
    Case(
        "terms-nobody-accepted",
        "[CERT_ACME_CHOICE] {name}: mlflow_certificates_acme_accept_terms=false. An ACME server issues nothing to somebody who has not agreed"
        " to its terms. Read the terms that https://ca.mlflow.test/directory names, and set it to true. Nothing was changed.",
        {
            **BY_ACME,
            "mlflow_certificates_acme_directory": "https://ca.mlflow.test/directory",
            "mlflow_certificates_acme_accept_terms": False,
        },
        playbook="mlflow_certificates/refuse",
    ),
    Case(
        "acme-without-email-and-without-port-80",
        "[CERT_ACME_CHOICE] {name}: mlflow_certificates_acme_email=. It is not set. Set it to an address that people read: by it the ACME"
        " server knows whose certificates these are. Nothing was changed.\n"
        "[CERT_ACME_CHOICE] {name}: mlflow_edge_redirect_http=false. The ACME server asks on port 80 for a proof, and the edge would not"
        " listen there. Set it to true, or bring a certificate. Nothing was changed.",
        {
            **BY_ACME,
            "mlflow_certificates_acme_directory": "https://ca.mlflow.test/directory",
            "mlflow_certificates_acme_email": "",
            "mlflow_edge_redirect_http": False,
        },
        playbook="mlflow_certificates/refuse",
    ),
    Case(
        "public-acme-for-a-name-of-ones-own",
        "[CERT_ACME_CHOICE] {name}: mlflow_certificates_provider=acme. There is no certificate for every name: mlflow.test is no name of the"
        f" public DNS, and acme-v02.api.letsencrypt.org issues for those only. {OTHER_NAME}",
        BY_ACME,
        playbook="mlflow_certificates/refuse",
    ),
    Case(
        "acme-server-that-is-not-there",
        "[CERT_ACME_UNREACHABLE] {name}: mlflow_certificates_acme_directory=https://127.0.0.1:9/directory. The ACME server does not answer"
        " (Connection refused). Ask for it from the edge with curl; for an authority of your own set mlflow_certificates_ca_files or"
        " mlflow_certificates_acme_ca_file. Nothing was changed.",
        {**BY_ACME, "mlflow_certificates_acme_directory": "https://127.0.0.1:9/directory"},
        playbook="mlflow_certificates/refuse",
    ),
)

PLACE = "Set mlflow_artifact_uri to an absolute directory or to a bucket and prefix such as s3://bucket/prefix. Nothing was changed."
STORE = {
    "mlflow_artifact_uri": "s3://acme-mlflow-test/mlflow",
    "mlflow_artifact_store_managed": True,
    "mlflow_artifact_store_endpoint_url": "https://s3.example.com",
}
STORES = (
    Case(
        "identity-that-nobody-makes",
        "[STORE_IDENTITY] {name}: mlflow_artifact_store_identity=keys. An identity is made only where the store is managed. Set"
        " mlflow_artifact_store_managed to true, or leave the identity to those who make it. Nothing was changed.",
        {**STORE, "mlflow_artifact_store_managed": False, "mlflow_artifact_store_identity": "keys"},
        playbook="mlflow_artifact_store/refuse",
    ),
    Case(
        "machines-with-a-key-and-a-role",
        "[STORE_IDENTITY] {name}: mlflow_artifact_store_identity=instance_profile. mlflow_artifact_store_access_key_id is set, and MLflow"
        " would use that key. Remove the key, or set mlflow_artifact_store_identity to keys or given. Nothing was changed.",
        {
            **STORE,
            "mlflow_artifact_store_identity": "instance_profile",
            "mlflow_artifact_store_access_key_id": "AKIDEXAMPLE",
        },
        playbook="mlflow_artifact_store/refuse",
    ),
    Case(
        "key-that-nobody-made",
        "[STORE_KEYS] {name}: mlflow_artifact_store_access_key_id is not set. Run the playbook mlops.mlflow.artifact_store, which makes it"
        " and keeps it in the vault. Nothing was changed.",
        {**STORE, "mlflow_artifact_store_identity": "keys"},
        playbook="mlflow_artifact_store/refuse",
    ),
    Case(
        "bucket-without-tls",
        "[STORE_PLAIN_HTTP] {name}: mlflow_artifact_store_endpoint_url=http://s3.example.com. The bucket's policy would deny what comes over"
        " plain HTTP, also from the servers. Use an endpoint with https://, or set mlflow_artifact_store_s3_tls_only to false if the way"
        " there is safe. Nothing was changed.",
        {**STORE, "mlflow_artifact_store_endpoint_url": "http://s3.example.com"},
        playbook="mlflow_artifact_store/managed",
    ),
    Case(
        "key-of-another-encryption",
        "[STORE_CHOICE] {name}: mlflow_artifact_store_s3_kms_key=arn:aws:kms:x:1:key/2. mlflow_artifact_store_s3_encryption is AES256, which"
        " uses no key of yours. Set it to aws:kms, or leave the key out. Nothing was changed.",
        {**STORE, "mlflow_artifact_store_s3_kms_key": "arn:aws:kms:x:1:key/2"},
        playbook="mlflow_artifact_store/managed",
    ),
    Case(
        "owner-by-its-name",
        "[STORE_CHOICE] {name}: mlflow_artifact_store_s3_expected_owner=acme. An account is twelve digits. Write the account's number, in"
        " quotes. Nothing was changed.",
        {**STORE, "mlflow_artifact_store_s3_expected_owner": "acme"},
        playbook="mlflow_artifact_store/managed",
    ),
    Case(
        "days-below-zero",
        "[STORE_CHOICE] {name}: mlflow_artifact_store_s3_abort_days=-1. Days go from 1, and 0 means never. Set a number of days."
        " Nothing was changed.",
        {**STORE, "mlflow_artifact_store_s3_abort_days": -1},
        playbook="mlflow_artifact_store/managed",
    ),
    Case(
        "versions-kept-for-days-below-zero",
        "[STORE_CHOICE] {name}: mlflow_artifact_store_s3_noncurrent_days=-30. Days go from 1, and 0 means never. Set a number of days."
        " Nothing was changed.",
        {**STORE, "mlflow_artifact_store_s3_noncurrent_days": -30},
        playbook="mlflow_artifact_store/refuse",
    ),
    Case(
        "owner-of-eleven-digits",
        "[STORE_CHOICE] {name}: mlflow_artifact_store_s3_expected_owner=12345678901. An account is twelve digits. Write the account's number, in"
        " quotes. Nothing was changed.",
        {**STORE, "mlflow_artifact_store_managed": False, "mlflow_artifact_store_s3_expected_owner": "12345678901"},
        playbook="mlflow_artifact_store/refuse",
    ),
    Case(
        "maintenance-that-nobody-makes",
        "[STORE_IDENTITY] {name}: mlflow_artifact_store_maintenance=True. An identity is made only where the store is managed. Set"
        " mlflow_artifact_store_managed to true, or leave the identity to those who make it. Nothing was changed.",
        {**STORE, "mlflow_artifact_store_managed": False, "mlflow_artifact_store_maintenance": True},
        playbook="mlflow_artifact_store/refuse",
    ),
    Case(
        "identity-of-no-kind",
        "[VARIABLE_VALUE] {name}: mlflow_artifact_store_identity=key. It is one of given, keys, instance_profile. Did you mean keys?"
        f" {FORM}",
        {**STORE, "mlflow_artifact_store_identity": "key"},
        is_choice=True,
    ),
    Case(
        "encryption-of-no-kind",
        f"[VARIABLE_VALUE] {{name}}: mlflow_artifact_store_s3_encryption=SSE-S3. It is one of none, AES256, aws:kms. {FORM}",
        {**STORE, "mlflow_artifact_store_s3_encryption": "SSE-S3"},
        is_choice=True,
    ),
    Case(
        "region-that-is-no-name",
        "[ARTIFACT_REGION] {name}: s3://acme-mlflow-test: the bucket is in another region (eu central 1); preparing the request failed."
        " Set mlflow_artifact_store_region to the bucket's region. The bucket was not changed.",
        {**STORE, "mlflow_artifact_store_region": "eu central 1"},
        playbook="mlflow_artifact_store/refuse",
    ),
    Case(
        "endpoint-without-a-scheme",
        "[ARTIFACT_ENDPOINT_URL] {name}: s3://acme-mlflow-test: the endpoint is not a URL (s3.example.com); preparing the request failed."
        " Set mlflow_artifact_store_endpoint_url with its scheme, for example https://s3.example.com. The bucket was not changed.",
        {**STORE, "mlflow_artifact_store_endpoint_url": "s3.example.com"},
        playbook="mlflow_artifact_store/refuse",
    ),
    Case(
        "prefix-that-no-policy-can-name",
        "[STORE_CHOICE] {name}: mlflow_artifact_uri=s3://acme-mlflow-test/\u043c. A policy cannot name a prefix with such letters. Use a prefix"
        " of Latin letters. Nothing was changed.",
        {**STORE, "mlflow_artifact_uri": "s3://acme-mlflow-test/\u043c", "mlflow_artifact_store_identity": "keys"},
        playbook="mlflow_artifact_store/managed",
    ),
    Case(
        "prefix-that-means-others-as-well",
        "[ARTIFACT_URI] {name}: mlflow_artifact_uri=s3://acme-mlflow-test/*. 's3://acme-mlflow-test/*' holds '*': in a policy it would stand"
        " for other places as well. Write s3://acme-mlflow-test/mlflow instead. Set mlflow_artifact_uri to an absolute directory or to a"
        " bucket and prefix such as s3://bucket/prefix. Nothing was changed.",
        {"mlflow_artifact_uri": "s3://acme-mlflow-test/*"},
    ),
    Case(
        "scheme-of-other-tools",
        "[ARTIFACT_URI] {name}: mlflow_artifact_uri=s3a://acme-mlflow-test/mlflow. MLflow has no scheme s3a://; what it calls s3:// may be meant."
        f" Write s3://acme-mlflow-test/mlflow instead. {PLACE}",
        {"mlflow_artifact_uri": "s3a://acme-mlflow-test/mlflow"},
    ),
    Case(
        "bucket-with-capitals",
        "[ARTIFACT_URI] {name}: mlflow_artifact_uri=s3://Acme_ML/mlflow. 's3://Acme_ML/mlflow' has no valid bucket name"
        " ('Acme_ML'): 3 to 63 lower-case letters, digits, dots and dashes."
        f" Write s3://acme-ml/mlflow instead. {PLACE}",
        {"mlflow_artifact_uri": "s3://Acme_ML/mlflow"},
    ),
    Case(
        "bucket-without-a-prefix",
        "[ARTIFACT_URI] {name}: mlflow_artifact_uri=s3://acme-mlflow-test. 's3://acme-mlflow-test' has no prefix, and MLflow would fill the root of the bucket."
        f" Write s3://acme-mlflow-test/mlflow instead. {PLACE}",
        {"mlflow_artifact_uri": "s3://acme-mlflow-test"},
    ),
    Case(
        "prefix-with-an-empty-part",
        "[ARTIFACT_URI] {name}: mlflow_artifact_uri=s3://acme-mlflow-test//mlflow. 's3://acme-mlflow-test//mlflow' holds an empty part ('//'):"
        " MLflow writes there and then lists nothing."
        f" Write s3://acme-mlflow-test/mlflow instead. {PLACE}",
        {"mlflow_artifact_uri": "s3://acme-mlflow-test//mlflow"},
    ),
    Case(
        "container-without-an-account",
        "[ARTIFACT_URI] {name}: mlflow_artifact_uri=wasbs://artifacts/mlflow. 'wasbs://artifacts/mlflow' does not name a storage account:"
        " wasbs://container@account.blob.core.windows.net/prefix is needed (core.chinacloudapi.cn and core.usgovcloudapi.net are known as"
        " well). Set mlflow_artifact_uri to an absolute directory or to a bucket and prefix such as s3://bucket/prefix. Nothing was changed.",
        {"mlflow_artifact_uri": "wasbs://artifacts/mlflow"},
    ),
)

TEAMS = (
    Case(
        "team-twice",
        "[ACCESS_TEAMS] {name}: the team fraud is in the list twice. Leave one of them. Nothing was changed.",
        {"mlflow_teams": [{"name": "fraud"}, {"name": "fraud"}]},
        playbook="mlflow_access",
    ),
    Case(
        "teams-without-a-list",
        "[ACCESS_UNSET] {name}: mlflow_teams is not set. Set mlflow_teams to the list of teams. Nothing was changed.",
        playbook="mlflow_access",
    ),
    Case(
        "teams-without-a-password",
        "[SECRET_MISSING] {name}: mlflow_access_username=admin. It has no password. Load the vault file of the environment"
        " (mlflow_admin_password), or set mlflow_access_password. Nothing was changed.",
        {"mlflow_teams": []},
        playbook="mlflow_access",
    ),
    Case(
        "teams-behind-single-sign-on",
        "[ACCESS_CLOSED] {name}: mlflow_oidc_password_accounts=nightly. admin is not among them. Add it to mlflow_oidc_password_accounts, or set"
        " mlflow_access_token to a token of an administrator. Nothing was changed.",
        {
            "mlflow_teams": [],
            "mlflow_auth": "oidc",
            "mlflow_oidc_issuer": "https://login.example.com",
            "mlflow_oidc_client_id": "mlflow",
            "mlflow_oidc_user_groups": ["mlflow-users"],
            "mlflow_oidc_password_accounts": ["nightly"],
        },
        playbook="mlflow_access/refuse",
    ),
    Case(
        "teams-without-logins",
        "[ACCESS_NO_LOGINS] {name}: mlflow_auth=none. Set mlflow_auth to basic and run the playbook mlops.mlflow.site. Nothing was changed.",
        {
            "mlflow_teams": [],
            "mlflow_auth": "none",
            "mlflow_edge_listen_addresses": ["127.0.0.1"],
        },
        playbook="mlflow_access/refuse",
    ),
    Case(
        "user-with-a-short-password",
        "[ACCESS_PASSWORD] {name}: the password of the user anna has 5 characters, and 12 are the least. Give a password of at least 12"
        " characters of ASCII, from the vault. Nothing was changed.",
        {"mlflow_teams": [], "mlflow_access_users": [{"name": "anna", "password": "short"}]},
        playbook="mlflow_access/refuse",
    ),
    Case(
        "team-with-one-run",
        "[ACCESS_GRANT] {name}: READ on run 17: run is granted for all ('*') only. Correct resource_type, resource or permission."
        " Nothing was changed.",
        {
            "mlflow_teams": [
                {"name": "fraud", "grants": [{"resource_type": "run", "resource": "17", "permission": "READ"}]}
            ]
        },
        playbook="mlflow_access/refuse",
    ),
    Case(
        "team-with-a-model-that-has-a-slash",
        "[ACCESS_NAME] {name}: the name of the registered model 'fraud/churn' is none that MLflow takes for a model: no slash, no colon, no dots"
        " alone. Choose another name. Nothing was changed.",
        {"mlflow_teams": [{"name": "fraud", "models": [{"name": "fraud/churn"}]}]},
        playbook="mlflow_access/refuse",
    ),
    Case(
        "team-that-can-have-no-workspace",
        "[ACCESS_NAME] {name}: the name of the workspace 'Data Science' is none that MLflow takes for a workspace: 2 to 63 small letters, digits and"
        " dashes between them, and no reserved word. Choose another name. Nothing was changed.",
        {"mlflow_teams": [{"name": "Data Science"}], "mlflow_workspaces": True},
        playbook="mlflow_access/refuse",
    ),
    Case(
        "team-with-a-workspace-where-there-are-none",
        "[ACCESS_TEAMS] {name}: the team fraud has the workspace data, and there are no workspaces. Leave one of them. Nothing was changed.",
        {"mlflow_teams": [{"name": "fraud", "workspace": "data"}]},
        playbook="mlflow_access/refuse",
    ),
    Case(
        "team-without-a-name",
        f"[VARIABLE_VALUE] {{name}}: mlflow_teams=(its parts). missing required arguments: name found in mlflow_teams. {FORM}",
        {"mlflow_teams": [{"members": ["anna"]}]},
    ),
    Case(
        "password-of-a-user-in-the-wrong-place",
        f"[VARIABLE_VALUE] {{name}}: mlflow_access_users=(not shown). It is a list of type dict. {FORM}",
        {"mlflow_access_users": [{"name": "anna", "pasword": "Xk3vQ9zLr2Tn8WpB"}]},
    ),
)

CORRECT = "Correct the variable that the message names. Nothing was changed."
RESTORES = (
    Case(
        "moment-that-is-none",
        f"[RESTORE_CHOICE] {{name}}: mlflow_restore_to=last tuesday. It is a moment in UTC such as 2026-11-28T02:30:00Z. {CORRECT}",
        {"mlflow_restore_to": "last tuesday"},
        playbook="mlflow_restore/refuse",
    ),
    Case(
        "moment-and-manifest",
        "[RESTORE_CHOICE] {name}: mlflow_restore_to=2026-11-28T02:30:00Z. There is mlflow_restore_manifest=20261128T043000Z as well; leave out one"
        f" of them. {CORRECT}",
        {"mlflow_restore_to": "2026-11-28T02:30:00Z", "mlflow_restore_manifest": "20261128T043000Z"},
        playbook="mlflow_restore/refuse",
    ),
    Case(
        "manifest-by-another-name",
        f"[RESTORE_CHOICE] {{name}}: mlflow_restore_manifest=newest. It is the name of a manifest such as 20261128T043000Z. {CORRECT}",
        {"mlflow_restore_manifest": "newest"},
        playbook="playbooks/restore.yml",
    ),
    Case(
        "restore-over-another-environment",
        f"[RESTORE_CHOICE] {{name}}: mlflow_restore_over=prod. The environment is test. {CORRECT}",
        {"mlflow_restore_kind": "in_place", "mlflow_restore_over": "prod"},
        playbook="playbooks/restore.yml",
    ),
    Case(
        "restore-of-somebody-else-s-database",
        "[RESTORE_CHOICE] {name}: mlflow_restore_kind=in_place. Somebody else runs the database (mlflow_database_uri) and restores it; beside restores"
        f" artifacts and configuration. {CORRECT}",
        {
            "mlflow_restore_kind": "in_place",
            "mlflow_database_uri": "postgresql://u:p@db.example.com/mlflow",
            "mlflow_database_auth_uri": "postgresql://u:p@db.example.com/auth",
        },
        playbook="mlflow_restore/refuse",
    ),
    Case(
        "restore-into-a-relative-folder",
        f"[RESTORE_CHOICE] {{name}}: mlflow_restore_directory=scratch. It is an absolute folder. {CORRECT}",
        {"mlflow_restore_directory": "scratch"},
        playbook="mlflow_restore/refuse",
    ),
    Case(
        "restore-without-a-server",
        "[INVENTORY_LIMIT] db1: --limit=db1. It leaves out app1, app2. Name the servers in --limit too, or leave --limit out."
        " Nothing was changed.",
        arguments=("--limit", "db1"),
        playbook="playbooks/restore.yml",
        inventory="mlflow: {children: {mlflow_databases: {hosts: {db1: }}, mlflow_servers: {hosts: {app1: , app2: }}}}",
    ),
    Case(
        "restore-of-some-kind",
        f"[VARIABLE_VALUE] {{name}}: mlflow_restore_kind=inplace. It is one of beside, in_place. Did you mean in_place? {FORM}",
        {"mlflow_restore_kind": "inplace"},
        is_choice=True,
    ),
)

CONTROLLER = (
    *INVENTORIES,
    *VARIABLES,
    *CHOICES,
    *IDENTITY,
    *LOGINS,
    *SIZES,
    *SECRETS,
    *CERTIFICATES,
    *ACME,
    *STORES,
    *TEAMS,
    *RESTORES,
)
