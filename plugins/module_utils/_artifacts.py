# Copyright (c) 2026 the mlops.mlflow maintainers
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What is wrong with a place for artifacts, from what _artifact_probe.py saw. Pure.

Codes of S3: https://docs.aws.amazon.com/AmazonS3/latest/API/ErrorResponses.html; those of other stores as they were met.
"""

from __future__ import annotations

import errno
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ansible_collections.mlops.mlflow.plugins.module_utils._artifact_uri import ArtifactUri, ArtifactUriError
from ansible_collections.mlops.mlflow.plugins.module_utils._findings import find, report

# Whose identity asks: the server's, or that of jobs which delete.
RUNTIME, MAINTENANCE = "runtime", "maintenance"
# What the steps are called in a sentence.
_DOING = {
    "prepare": "preparing the request",
    "find": "looking for it",
    "look": "looking at the bucket",
    "list": "listing",
    "read": "reading",
    "put": "writing",
    "overwrite": "overwriting",
    "compare": "comparing",
    "delete": "deleting",
}
_DENIED = {
    "list": "ARTIFACT_LIST_DENIED",
    "read": "ARTIFACT_GET_DENIED",
    "put": "ARTIFACT_PUT_DENIED",
    "overwrite": "ARTIFACT_OVERWRITE_DENIED",
    "delete": "ARTIFACT_DELETE_DENIED",
}
_CODES = {
    "InvalidAccessKeyId": "ARTIFACT_KEY_UNKNOWN",
    "SignatureDoesNotMatch": "ARTIFACT_SECRET_WRONG",
    "ExpiredToken": "ARTIFACT_TOKEN_EXPIRED",
    "InvalidToken": "ARTIFACT_TOKEN_EXPIRED",
    "InvalidClientTokenId": "ARTIFACT_TOKEN_EXPIRED",
    "NoSuchBucket": "ARTIFACT_BUCKET_MISSING",
    "RequestTimeTooSkewed": "ARTIFACT_CLOCK",
    "RequestExpired": "ARTIFACT_CLOCK",
    "PermanentRedirect": "ARTIFACT_REGION",
    "TemporaryRedirect": "ARTIFACT_REGION",
    "AuthorizationHeaderMalformed": "ARTIFACT_REGION",
    "IllegalLocationConstraintException": "ARTIFACT_REGION",
    "301": "ARTIFACT_REGION",
}
# boto3's own errors, by their classes or what they are derived from; the first that fits.
_CLASSES = {
    "_ExtraArgs": "ARTIFACT_EXTRA_ARGS",
    "ModuleNotFoundError": "ARTIFACT_LIBRARY",
    "ImportError": "ARTIFACT_LIBRARY",
    "NoCredentialsError": "ARTIFACT_CREDENTIALS_NONE",
    "PartialCredentialsError": "ARTIFACT_CREDENTIALS_NONE",
    "CredentialRetrievalError": "ARTIFACT_CREDENTIALS_NONE",
    "InvalidRegionError": "ARTIFACT_REGION",
    "InvalidEndpointConfigurationError": "ARTIFACT_ENDPOINT_URL",
    "ResponseParserError": "ARTIFACT_NOT_S3",
    "ReadTimeoutError": "ARTIFACT_NO_ANSWER",
    "ConnectTimeoutError": "ARTIFACT_ENDPOINT_DOWN",
    "EndpointConnectionError": "ARTIFACT_ENDPOINT_DOWN",
    "ProxyConnectionError": "ARTIFACT_ENDPOINT_DOWN",
    "HTTPClientError": "ARTIFACT_NOT_S3",
    "IncompleteReadError": "ARTIFACT_NOT_S3",
    "ResponseStreamingError": "ARTIFACT_NOT_S3",
    "BotoCoreError": "ARTIFACT_NOT_S3",
    "ValueError": "ARTIFACT_ENDPOINT_URL",
}
# The same of the drivers of Google and Azure. Azure's codes: https://learn.microsoft.com/rest/api/storageservices/blob-service-error-codes
_CLOUD_CODES = {
    "ContainerNotFound": "ARTIFACT_BUCKET_MISSING",
    "ContainerBeingDeleted": "ARTIFACT_BUCKET_MISSING",
    "AuthenticationFailed": "ARTIFACT_SECRET_WRONG",
    "AuthorizationFailure": "ARTIFACT_SECRET_WRONG",
    "InvalidAuthenticationInfo": "ARTIFACT_SECRET_WRONG",
    "NoAuthenticationInformation": "ARTIFACT_CREDENTIALS_NONE",
    "PublicAccessNotPermitted": "ARTIFACT_CREDENTIALS_NONE",
}
_CLOUD_CLASSES = {
    "Unusable": "ARTIFACT_CREDENTIALS_UNUSABLE",
    "ModuleNotFoundError": "ARTIFACT_LIBRARY",
    "ImportError": "ARTIFACT_LIBRARY",
    "DefaultCredentialsError": "ARTIFACT_CREDENTIALS_NONE",
    "RefreshError": "ARTIFACT_SECRET_WRONG",
    "Unauthorized": "ARTIFACT_CREDENTIALS_NONE",
    "NotFound": "ARTIFACT_BUCKET_MISSING",
    "AzureSigningError": "ARTIFACT_CREDENTIALS_UNUSABLE",  # one of the next
    "ClientAuthenticationError": "ARTIFACT_CREDENTIALS_NONE",
    "SSLError": "ARTIFACT_TLS",
    "TransportError": "ARTIFACT_ENDPOINT_DOWN",
    "ServiceRequestError": "ARTIFACT_ENDPOINT_DOWN",
    "ServiceResponseError": "ARTIFACT_NO_ANSWER",
    "Timeout": "ARTIFACT_NO_ANSWER",
    "ConnectionError": "ARTIFACT_ENDPOINT_DOWN",
}
# Remedies are written for S3; what has another name elsewhere.
_LIBRARY_FIX = "Run the check with the Python of the release (ansible_python_interpreter): it has all libraries."
_FIXES = {
    "gcs": {
        "ARTIFACT_CREDENTIALS_NONE": "Set mlflow_artifact_store_gcs_credentials, or give the host a service account of its own.",
        "ARTIFACT_CREDENTIALS_UNUSABLE": "Put the JSON text of a service account's key into mlflow_artifact_store_gcs_credentials, as a whole.",
        "ARTIFACT_SECRET_WRONG": "Make a new key of the service account, and put it into mlflow_artifact_store_gcs_credentials.",
        "ARTIFACT_LIST_DENIED": "Allow storage.objects.list on the bucket (roles/storage.objectUser has all that is needed).",
        "ARTIFACT_GET_DENIED": "Allow storage.objects.get on the bucket (roles/storage.objectUser has all that is needed).",
        "ARTIFACT_PUT_DENIED": "Allow storage.objects.create on the bucket (roles/storage.objectUser has all that is needed).",
        "ARTIFACT_OVERWRITE_DENIED": "Allow storage.objects.delete on the bucket, which overwriting takes, and look for a retention policy.",
        "ARTIFACT_DELETE_DENIED": "Allow storage.objects.delete on the bucket to the identity of maintenance.",
        "ARTIFACT_BUCKET_MISSING": "Make the bucket, or correct mlflow_artifact_uri.",
        "ARTIFACT_ENDPOINT_DOWN": "Open the way from this host to storage.googleapis.com, or set the proxy of the service.",
        "ARTIFACT_LIBRARY": _LIBRARY_FIX,
    },
    "azure": {
        "ARTIFACT_CREDENTIALS_NONE": "Set mlflow_artifact_store_azure_connection_string or mlflow_artifact_store_azure_access_key, or give the"
        " host a managed identity.",
        "ARTIFACT_CREDENTIALS_UNUSABLE": "Copy mlflow_artifact_store_azure_connection_string from the account's page of access keys, as a whole.",
        "ARTIFACT_SECRET_WRONG": "Correct mlflow_artifact_store_azure_connection_string or mlflow_artifact_store_azure_access_key; if it is"
        " right, let the firewall of the account let this host in.",
        "ARTIFACT_TOKEN_EXPIRED": "Sign a new access for mlflow_artifact_store_azure_connection_string, or use a key or a managed identity.",
        "ARTIFACT_LIST_DENIED": "Allow blobs/read on the container (the role Storage Blob Data Contributor has all that is needed).",
        "ARTIFACT_GET_DENIED": "Allow blobs/read on the container (the role Storage Blob Data Contributor has all that is needed).",
        "ARTIFACT_PUT_DENIED": "Allow blobs/write and blobs/add/action on the container (Storage Blob Data Contributor has all that is needed).",
        "ARTIFACT_DELETE_DENIED": "Allow blobs/delete on the container to the identity of maintenance.",
        "ARTIFACT_DELETE_ALLOWED": "Give the server a role without blobs/delete, and maintenance another identity.",
        "ARTIFACT_BUCKET_MISSING": "Make the container, or correct mlflow_artifact_uri.",
        "ARTIFACT_ENDPOINT_DOWN": "Correct the name of the account in mlflow_artifact_uri, or open the way from this host to it.",
        "ARTIFACT_LIBRARY": _LIBRARY_FIX,
    },
}
_ERRNO = {
    errno.ENOENT: "ARTIFACT_DIRECTORY_MISSING",
    errno.ENOTDIR: "ARTIFACT_DIRECTORY_MISSING",
    errno.ENOSPC: "ARTIFACT_DIRECTORY_FULL",
    errno.EDQUOT: "ARTIFACT_DIRECTORY_FULL",
    errno.EROFS: "ARTIFACT_DIRECTORY_READ_ONLY",
}


@dataclass(frozen=True)
class Asked:
    """What was asked for, as findings say it; no secrets."""

    host: str
    place: ArtifactUri
    environment: str
    endpoint: str = ""
    region: str = ""
    ca_file: str = ""
    role: str = RUNTIME
    session: bool = False  # whether the keys are those of a session


def refuse(error: ArtifactUriError, host: str) -> dict[str, str]:
    """Return the finding of a URI that cannot be used."""
    fix = f"Set mlflow_artifact_uri to {error.suggestion}." if error.suggestion else ""
    return report("ARTIFACT_URI", host=host, summary=error.reason, fix=fix)


def silent(reason: str, asked: Asked) -> dict[str, str]:
    """Return the finding of a probe that told nothing."""
    return report("ARTIFACT_NO_ANSWER", host=asked.host, summary=f"{asked.place.uri}: {reason}")


def judge(answer: Mapping[str, Any], asked: Asked) -> list[dict[str, str]]:
    """Return what is wrong, each thing once, in the order in which it was met."""
    findings: dict[str, dict[str, str]] = {}
    failures = answer["failures"]
    denied_list = any(failure["denied"] and failure["step"] == "list" for failure in failures)
    for failure in failures:
        # Who may not list is told of a missing object that it is denied.
        if denied_list and failure["step"] == "read" and "put" not in answer["steps"] and failure["denied"]:
            continue
        finding = _JUDGES.get(asked.place.kind, _judge_cloud)(failure, answer, asked)
        findings.setdefault(finding["id"], finding)
    if answer["found"] not in ("", asked.environment):
        summary = f"{asked.place.uri} belongs to the environment {answer['found']!r}, not to {asked.environment!r}."
        findings["ARTIFACT_ENVIRONMENT"] = report("ARTIFACT_ENVIRONMENT", host=asked.host, summary=summary)
    return [*findings.values(), *_beyond(answer, asked)]


def _beyond(answer: Mapping[str, Any], asked: Asked) -> Iterator[dict[str, str]]:
    """Yield what the identity can do and does not need."""
    uri, host = asked.place.uri, asked.host
    if answer["wide"]:
        summary = (
            f"{uri}: the identity can list the whole bucket {asked.place.bucket}, not only what is below the prefix."
        )
        yield report("ARTIFACT_LIST_WIDE", host=host, summary=summary)
    if answer["deletable"]:
        yield report(
            "ARTIFACT_DELETE_ALLOWED",
            host=host,
            fix=_FIXES.get(asked.place.kind, {}).get("ARTIFACT_DELETE_ALLOWED", ""),
            summary=f"{uri}: the identity of the server may delete; putting, getting and listing are all it needs.",
        )
    for other in answer["others"]:
        if other["reached"] == "unknown":
            summary = f"{uri}: whether the identity reaches {other['uri']} as well could not be told."
            yield report("ARTIFACT_OTHER_UNPROVED", host=host, summary=summary, evidence=other["text"])
        elif other["reached"]:
            summary = (
                f"{uri}: the identity can {other['reached']} in {other['uri']} as well, which is not its environment's."
            )
            yield report("ARTIFACT_OTHER_READABLE", host=host, summary=summary)


def signed(found: Sequence[Mapping[str, str]], uri: str, host: str) -> list[dict[str, str]]:
    """Return the finding of a signed address that could not be fetched, from what _endpoint.py says of it; none if it could."""
    return [
        report(
            "ARTIFACT_PRESIGNED_UNREACHABLE",
            host=host,
            summary=f"{uri}: this host cannot fetch what the store signed. {one['summary']}",
            evidence=one["evidence"],
        )
        for one in found[:1]
    ]


def body(environment: str) -> str:
    """Return the pattern of the object as a signed address gives it."""
    return f"^{re.escape(environment)}$"


def _say(
    finding_id: str, failure: Mapping[str, Any], asked: Asked, detail: str = "", *, fix: str = ""
) -> dict[str, str]:
    """Return a finding whose summary names the place, the step and what distinguishes this case."""
    title = find(finding_id).title
    detail = detail and f" ({detail})"
    summary = f"{asked.place.uri}: {title[0].lower()}{title[1:]}{detail}; {_DOING[failure['step']]} failed."
    coded = failure["code"] and (failure["type"] == "ClientError" or asked.place.kind == "azure")
    code = f"{failure['code'] if coded else failure['type']}: "
    fix = fix or _FIXES.get(asked.place.kind, {}).get(finding_id) or find(finding_id).remedy
    if asked.role == MAINTENANCE:  # it has keys of its own
        for name in ("access_key_id", "secret_access_key"):
            fix = fix.replace(f"mlflow_artifact_store_{name}", f"mlflow_artifact_store_maintenance_{name}")
    return report(finding_id, host=asked.host, summary=summary, evidence=code + failure["text"], fix=fix)


def directory_id(code: object, *, writing: bool) -> str:
    """Return the finding of an error of the system, by its number."""
    if code in (errno.EACCES, errno.EPERM):
        return "ARTIFACT_DIRECTORY_NOT_WRITABLE" if writing else "ARTIFACT_DIRECTORY_NOT_READABLE"
    return _ERRNO.get(code, "ARTIFACT_DIRECTORY_ERROR") if isinstance(code, int) else "ARTIFACT_DIRECTORY_ERROR"


def _judge_directory(failure: Mapping[str, Any], answer: Mapping[str, Any], asked: Asked) -> dict[str, str]:
    if failure["type"] == "Different":
        return _say("ARTIFACT_DIFFERENT", failure, asked)
    finding_id = directory_id(failure["code"], writing=failure["step"] in ("put", "overwrite"))
    details = [f"user {answer['user']}", answer.get("place") or ""]
    return _say(finding_id, failure, asked, ", ".join(detail for detail in details if detail))


def _judge_s3(failure: Mapping[str, Any], answer: Mapping[str, Any], asked: Asked) -> dict[str, str]:
    finding_id = _s3_id(failure, answer, asked)
    detail, fix = "", ""
    if finding_id.startswith(("ARTIFACT_ENDPOINT", "ARTIFACT_TLS", "ARTIFACT_NOT_S3")):
        detail = asked.endpoint
        if why := answer.get("unresolved") or answer.get("unreachable"):
            detail = f"{detail}: {why}"
    elif finding_id == "ARTIFACT_REGION":
        detail = f"{failure['region']}, and {asked.region or 'none'} was given" if failure["region"] else asked.region
        fix = f"Set mlflow_artifact_store_region to {failure['region']}." if failure["region"] else ""
    elif finding_id == "ARTIFACT_CA_FILE":
        detail = asked.ca_file
    elif finding_id == "ARTIFACT_LIBRARY":
        detail = answer.get("python") or ""
    elif finding_id == "ARTIFACT_S3":
        detail = failure["code"]
    return _say(finding_id, failure, asked, detail, fix=fix)


def _s3_id(failure: Mapping[str, Any], answer: Mapping[str, Any], asked: Asked) -> str:
    if failure["type"] == "Different":
        return "ARTIFACT_DIFFERENT"
    if failure["type"] == "Still":
        return "ARTIFACT_DELETE_SILENT"
    # What was seen with our own eyes says more than what a driver makes of an answer in another language.
    if answer.get("tls") is True and asked.endpoint.startswith("http://"):
        return "ARTIFACT_ENDPOINT_HTTPS"
    if answer.get("tls") is False and asked.endpoint.startswith("https://"):
        return "ARTIFACT_ENDPOINT_HTTP"
    if failure["type"] == "ClientError":
        if failure["denied"]:
            return _DENIED.get(failure["step"], "ARTIFACT_S3")
        if failure["step"] == "overwrite":
            return "ARTIFACT_OVERWRITE_DENIED"
        # A number or nothing is what botocore makes of an answer without S3's own words.
        # SeaweedFS forgets the keys of a session with the session.
        if asked.session and failure["code"] == "InvalidAccessKeyId":
            return "ARTIFACT_TOKEN_EXPIRED"
        own = failure["code"] and not failure["code"].isdigit()
        return _CODES.get(failure["code"], "ARTIFACT_S3" if own else "ARTIFACT_NOT_S3")
    # botocore follows a redirect that names no region back to where it came from, until Python ends that at some depth.
    if "maximum recursion depth" in failure["text"]:
        return "ARTIFACT_REGION"
    classes = failure["classes"]
    if "SSLError" in classes or "CERTIFICATE_VERIFY_FAILED" in failure["text"]:
        return "ARTIFACT_CA_FILE" if failure["step"] == "prepare" else "ARTIFACT_TLS"
    if failure["step"] == "prepare" and "OSError" in classes:
        return "ARTIFACT_CA_FILE"
    return next((finding_id for name, finding_id in _CLASSES.items() if name in classes), "ARTIFACT_NOT_S3")


def _judge_cloud(failure: Mapping[str, Any], answer: Mapping[str, Any], asked: Asked) -> dict[str, str]:
    finding_id = _cloud_id(failure)
    detail = failure["code"] if finding_id == "ARTIFACT_S3" else ""
    if finding_id == "ARTIFACT_TOKEN_EXPIRED":
        detail = f"it ended at {failure['ends']}"
    elif finding_id == "ARTIFACT_LIBRARY":
        detail = answer.get("python") or ""
    return _say(finding_id, failure, asked, detail)


def _cloud_id(failure: Mapping[str, Any]) -> str:
    if failure["type"] == "Different":
        return "ARTIFACT_DIFFERENT"
    if failure["type"] == "Still":
        return "ARTIFACT_DELETE_SILENT"
    if failure["denied"]:
        return _DENIED.get(failure["step"], "ARTIFACT_S3")
    if finding_id := _CLOUD_CODES.get(failure["code"]):
        # Azure says the same of a wrong signature and of one whose time is over.
        expired = finding_id == "ARTIFACT_SECRET_WRONG" and failure.get("expired")
        return "ARTIFACT_TOKEN_EXPIRED" if expired else finding_id
    return next((one for name, one in _CLOUD_CLASSES.items() if name in failure["classes"]), "ARTIFACT_S3")


_JUDGES = {"directory": _judge_directory, "s3": _judge_s3}
