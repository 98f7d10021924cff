# Copyright (c) 2026 the mlops.mlflow maintainers
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What is wrong with the login at an identity provider, and with the gate that asks it."""

from __future__ import annotations

from ansible_collections.mlops.mlflow.plugins.module_utils._findings._shape import CRITICAL, WARNING, Finding

REGISTERED = (
    Finding(
        "OIDC_CLIENT",
        CRITICAL,
        "The gate has no client at the identity provider",
        "Issuer, client and secret are the provider's to give; nothing can guess them.",
        "Make a client at the provider and set mlflow_oidc_issuer, mlflow_oidc_client_id and, in the vault file, mlflow_oidc_client_secret.",
    ),
    Finding(
        "OIDC_ISSUER",
        CRITICAL,
        "The issuer is not an address of an identity provider",
        "An issuer is compared letter by letter with what tokens say, and is reached by TLS only.",
        "Copy it from the field issuer of the provider's .well-known/openid-configuration.",
    ),
    Finding(
        "OIDC_EVERYBODY",
        CRITICAL,
        "Nobody said who may enter",
        "Without a group, everybody who has an account at the provider would be let in.",
        "Set mlflow_oidc_user_groups or mlflow_oidc_admin_groups to groups of the provider; '*' lets everybody in.",
    ),
    Finding(
        "OIDC_NAME",
        CRITICAL,
        "A claim, group, scope or account has a name that cannot be",
        "It would mean something else in a header or in the gate's configuration.",
        "Write it as the provider does, without line breaks and tabs.",
    ),
    Finding(
        "OIDC_PROVIDER",
        CRITICAL,
        "The identity provider does not answer as one",
        "It is down, the edge has no way to it, its certificate is not trusted there, or the issuer is another than it says of itself.",
        "From the edge, ask the provider for .well-known/openid-configuration; set mlflow_oidc_issuer to its field issuer, and "
        "mlflow_gate_ca_file for an authority of your own.",
    ),
    Finding(
        "GATE_URL",
        CRITICAL,
        "The gate is not on the edge itself",
        "Sessions and tokens would cross the network in clear, and whoever can answer in the gate's place can be anybody.",
        "Run it on every edge and set mlflow_edge_gate_url to an address such as http://127.0.0.1:4180/oauth2/auth.",
    ),
    Finding(
        "GATE_SESSIONS",
        CRITICAL,
        "Sessions would be known to one edge only",
        "With several edges a browser would be sent to the provider again and again, and a logout would end one session of several.",
        "Set mlflow_gate_cache to redis and mlflow_gate_redis_server to a Redis or Valkey that all edges reach.",
    ),
    Finding(
        "GATE_REDIS",
        CRITICAL,
        "The Redis or Valkey of the sessions does not do its work",
        "It is down, out of reach from the edge, full, a replica, or has another password. Without it nobody's session is known.",
        "From the edge, try redis-cli -h HOST -p PORT ping; compare mlflow_gate_redis_server and mlflow_gate_redis_password.",
    ),
    Finding(
        "GATE_REDIS_OPEN",
        WARNING,
        "The Redis or Valkey of the sessions asks nobody for a password",
        "What is in it is encrypted, but whoever reaches it can end all sessions, fill it up, or bring old ones back.",
        "Set requirepass there, and mlflow_gate_redis_password in the vault file.",
    ),
    Finding(
        "GATE_CONFIGURATION",
        CRITICAL,
        "Apache does not accept the gate's configuration",
        "A value that it cannot take, or a module that Debian's package does not have.",
        "Correct the variable that is named; the gate goes on with the configuration it had.",
    ),
    Finding(
        "GATE_NOT_READY",
        CRITICAL,
        "The gate does not do its work",
        "It cannot take its port, or it cannot reach the identity provider.",
        "Read journalctl -u mlflow-gate on the edge.",
    ),
    Finding(
        "OIDC_CLOCK",
        CRITICAL,
        "The clocks of the edge and of the identity provider are too far apart",
        "Tokens say from when until when they hold; by a wrong clock good ones are refused, and those that are over are not.",
        "Set the edge's clock (timedatectl set-ntp true), or have the provider's set.",
    ),
    Finding(
        "OIDC_SECRET",
        CRITICAL,
        "The identity provider does not take the client's secret",
        "It is another client's, was cut short when it was copied, or has run out at the provider.",
        "Copy it once more, or make a new one, and set mlflow_oidc_client_secret in the vault file.",
    ),
    Finding(
        "OIDC_LOGIN",
        CRITICAL,
        "The identity provider begins no login for this client",
        "The address to come back to is not among those of the client, the client is not known, or a scope is one that the provider refuses.",
        "Set that address at the client, letter by letter; compare mlflow_oidc_client_id and mlflow_oidc_scopes with what the provider has.",
    ),
    Finding(
        "OIDC_KEYS",
        CRITICAL,
        "Hosts of one environment have different keys",
        "Servers believe an edge by this key, and edges read each other's sessions by the passphrase: whoever meets the wrong host is not let in.",
        "Set it once for the environment, in its vault file, and not for single hosts.",
    ),
    Finding(
        "OIDC_ROLES",
        CRITICAL,
        "A group stands for no role",
        "Its members would be let in and may do nothing.",
        "Name a role, or remove the group from mlflow_oidc_group_roles.",
    ),
    Finding(
        "OIDC_GROUPS",
        WARNING,
        "The identity provider may not say in which groups somebody is",
        "It has a scope of the name of the claim, and the gate does not ask for it. Without the claim people log in and may not come in.",
        "Add it to mlflow_oidc_scopes, unless the provider names the groups without being asked.",
    ),
)
