# Copyright (c) 2026 the mlops.mlflow maintainers
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What is wrong with an edge."""

from __future__ import annotations

from ansible_collections.mlops.mlflow.plugins.module_utils._findings._shape import CRITICAL, Finding

REGISTERED = (
    Finding(
        "EDGE_NO_SERVER",
        CRITICAL,
        "The edge has no server to pass requests to",
        "No host is in the group of servers, or mlflow_edge_upstreams is empty.",
        "Put a host into the group mlflow_servers, or set mlflow_edge_upstreams.",
    ),
    Finding(
        "EDGE_NGINX_BROKEN",
        CRITICAL,
        "The nginx on the host does not accept its own configuration",
        "Somebody left a mistake in it; a reload would fail for every site.",
        "Repair it; nginx -t shows the line.",
    ),
    Finding(
        "EDGE_SITE_CONFLICT",
        CRITICAL,
        "Another site on the same nginx claims our name or port",
        "The host serves other sites. They are never changed.",
        "Change that site yourself, or choose another mlflow_domain, mlflow_https_port or mlflow_edge_listen_addresses.",
    ),
    Finding(
        "EDGE_CERTIFICATE_MISSING",
        CRITICAL,
        "The edge has no certificate",
        "The role mlflow_certificates did not run before.",
        "Apply the role mlflow_certificates first, or set mlflow_edge_certificate and mlflow_edge_private_key.",
    ),
    Finding(
        "EDGE_STATIC_MISSING",
        CRITICAL,
        "The directory of static files holds no user interface",
        "Another directory was named.",
        "Set mlflow_edge_static_dir to auto, to mlflow/server/js/build of a release, or leave it empty.",
    ),
    Finding(
        "EDGE_CONFIGURATION",
        CRITICAL,
        "Nginx does not accept the site's configuration",
        "A line of mlflow_edge_extra_config, or an address the host does not have in mlflow_edge_listen_addresses.",
        "Correct it; nginx goes on with the configuration it had.",
    ),
    Finding(
        "EDGE_NOT_LISTENING",
        CRITICAL,
        "The edge does not listen after its start",
        "nginx could not take the port or stopped.",
        "Read journalctl -u nginx and /var/log/nginx/error.log.",
    ),
)
