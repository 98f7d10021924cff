"""Runs on a host: one HTTPS request, with a certificate of a client or without. Prints [status, body in base64] as JSON, or ["refused", why].

Standard input: {"address", "port", "name", "ca", "certificate", "key", "method", "path", "headers", "body"}; `ca`, `certificate` and `key` are
paths, empty for none; `body` is base64.
"""

from __future__ import annotations

import base64
import http.client
import json
import socket
import ssl
import sys

given = json.loads(sys.stdin.read())
context = ssl.create_default_context(cafile=given["ca"])
if given["certificate"]:
    context.load_cert_chain(given["certificate"], given["key"])
try:
    raw = socket.create_connection((given["address"], given["port"]), timeout=30)
    connection = http.client.HTTPSConnection(given["name"], given["port"], context=context, timeout=30)
    # The connection goes to the address, and the certificate has to be for the name.
    connection.sock = context.wrap_socket(raw, server_hostname=given["name"])
    connection.request(given["method"], given["path"], base64.b64decode(given["body"]) or None, given["headers"])
    answer = connection.getresponse()
    print(json.dumps([answer.status, base64.b64encode(answer.read()).decode()]))
except (OSError, http.client.HTTPException) as error:
    print(json.dumps(["refused", f"{type(error).__name__}: {error}"]))
