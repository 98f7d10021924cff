# Copyright (c) 2026 the mlops.mlflow maintainers
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What is wrong with a place for artifacts, from what _artifact_probe.py saw. Pure.

Codes of S3: https://docs.aws.amazon.com/AmazonS3/latest/API/ErrorResponses.html; those of other stores as they were met.
"""

from __future__ import annotations

import errno
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ansible_collections.mlops.mlflow.plugins.module_utils._artifact_uri import ArtifactUri, ArtifactUriError
from ansible_collections.mlops.mlflow.plugins.module_utils._findings import find, report

# Kinds of places that the probe can ask.
ASKED = ("directory", "s3")
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
}
_DENIED = {
    "list": "ARTIFACT_LIST_DENIED",
    "read": "ARTIFACT_GET_DENIED",
    "put": "ARTIFACT_PUT_DENIED",
    "overwrite": "ARTIFACT_OVERWRITE_DENIED",
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


def refuse(error: ArtifactUriError, host: str) -> dict[str, str]:
    """Return the finding of a URI that cannot be used."""
    fix = f"Set mlflow_artifact_uri to {error.suggestion}." if error.suggestion else ""
    return report("ARTIFACT_URI", host=host, summary=error.reason, fix=fix)


def refuse_kind(asked: Asked) -> dict[str, str]:
    """Return the finding of a place that the check cannot ask."""
    summary = f"{asked.place.uri}: directories and S3 buckets are asked, {asked.place.scheme}:// is not."
    return report("ARTIFACT_URI", host=asked.host, summary=summary)


def silent(reason: str, asked: Asked) -> dict[str, str]:
    """Return the finding of a probe that told nothing."""
    return report("ARTIFACT_NO_ANSWER", host=asked.host, summary=f"{asked.place.uri}: {reason}")


def judge(answer: Mapping[str, Any], asked: Asked) -> list[dict[str, str]]:
    """Return what is wrong, each thing once, in the order in which it was met."""
    findings: dict[str, dict[str, str]] = {}
    failures = answer["failures"]
    denied_list = any(_is_denied(failure) and failure["step"] == "list" for failure in failures)
    for failure in failures:
        # Who may not list is told of a missing object that it is denied.
        if denied_list and failure["step"] == "read" and "put" not in answer["steps"] and _is_denied(failure):
            continue
        finding = (
            _judge_directory(failure, answer, asked)
            if asked.place.kind == "directory"
            else _judge_s3(failure, answer, asked)
        )
        findings.setdefault(finding["id"], finding)
    if answer["found"] not in ("", asked.environment):
        summary = f"{asked.place.uri} belongs to the environment {answer['found']!r}, not to {asked.environment!r}."
        findings["ARTIFACT_ENVIRONMENT"] = report("ARTIFACT_ENVIRONMENT", host=asked.host, summary=summary)
    return list(findings.values())


def _is_denied(failure: Mapping[str, Any]) -> bool:
    return failure["type"] == "ClientError" and failure["code"] in ("AccessDenied", "AllAccessDisabled", "403")


def _say(
    finding_id: str, failure: Mapping[str, Any], asked: Asked, detail: str = "", *, fix: str = ""
) -> dict[str, str]:
    """Return a finding whose summary names the place, the step and what distinguishes this case."""
    title = find(finding_id).title
    detail = detail and f" ({detail})"
    summary = f"{asked.place.uri}: {title[0].lower()}{title[1:]}{detail}; {_DOING[failure['step']]} failed."
    code = f"{failure['code']}: " if failure["code"] and failure["type"] == "ClientError" else f"{failure['type']}: "
    return report(finding_id, host=asked.host, summary=summary, evidence=code + failure["text"], fix=fix)


def _judge_directory(failure: Mapping[str, Any], answer: Mapping[str, Any], asked: Asked) -> dict[str, str]:
    if failure["type"] == "Different":
        return _say("ARTIFACT_DIFFERENT", failure, asked)
    finding_id = _ERRNO.get(failure["code"], "ARTIFACT_DIRECTORY_ERROR")
    if failure["code"] in (errno.EACCES, errno.EPERM):
        writing = failure["step"] in ("put", "overwrite")
        finding_id = "ARTIFACT_DIRECTORY_NOT_WRITABLE" if writing else "ARTIFACT_DIRECTORY_NOT_READABLE"
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
    # What was seen with our own eyes says more than what a driver makes of an answer in another language.
    if answer.get("tls") is True and asked.endpoint.startswith("http://"):
        return "ARTIFACT_ENDPOINT_HTTPS"
    if answer.get("tls") is False and asked.endpoint.startswith("https://"):
        return "ARTIFACT_ENDPOINT_HTTP"
    if failure["type"] == "ClientError":
        if _is_denied(failure):
            return _DENIED.get(failure["step"], "ARTIFACT_S3")
        if failure["step"] == "overwrite":
            return "ARTIFACT_OVERWRITE_DENIED"
        # A number or nothing is what botocore makes of an answer without S3's own words.
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
