# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Put, get and list one object as the server will. Request on stdin, one sentence on stdout when something is wrong."""

from __future__ import annotations

import json
import sys
from typing import Any

import boto3
import botocore.config
import botocore.exceptions


def _text(error: Exception) -> str:
    return " ".join(str(error).split())[:400].rstrip(".")


def check(request: dict[str, Any]) -> str:
    """Return what is wrong, or an empty string."""
    client = boto3.client(
        "s3",
        aws_access_key_id=request["access_key_id"] or None,
        aws_secret_access_key=request["secret_access_key"] or None,
        endpoint_url=request["endpoint_url"] or None,
        region_name=request["region"] or None,
        verify=request["ca_file"] or None,
        config=botocore.config.Config(connect_timeout=5, read_timeout=20, retries={"max_attempts": 2}),
    )
    bucket, prefix, environment = request["bucket"], request["prefix"], request["environment"].encode()
    key = f"{prefix}/.mlops-mlflow/environment"
    step = "listing"
    try:
        listed = client.list_objects_v2(Bucket=bucket, Prefix=key, MaxKeys=1)
        if listed.get("KeyCount"):
            step = "reading"
            found = client.get_object(Bucket=bucket, Key=key)["Body"].read(200)
            if found != environment:
                return (
                    f"this place belongs to the environment {found.decode(errors='replace')!r} ({key}), not to "
                    f"{environment.decode()!r}. Give each environment a prefix of its own."
                )
        step = "writing"
        client.put_object(Bucket=bucket, Key=key, Body=environment)
        step = "reading"
        if client.get_object(Bucket=bucket, Key=key)["Body"].read(200) != environment:
            return f"what was written to {key} came back different."
        step = "listing"
        if not client.list_objects_v2(Bucket=bucket, Prefix=key, MaxKeys=1).get("KeyCount"):
            return f"{key} was written but is not listed."
    except botocore.exceptions.ClientError as error:
        rights = {"listing": "s3:ListBucket", "reading": "s3:GetObject", "writing": "s3:PutObject"}[step]
        return f"{step} {key} failed: {_text(error)}. The keys must be right, and their identity needs {rights} below the prefix."
    except botocore.exceptions.BotoCoreError as error:
        return f"{step} {key} failed: {_text(error)}. Check endpoint, region, authorities and the way there."
    return ""


if __name__ == "__main__":
    wrong = check(json.load(sys.stdin))
    print(wrong)
    sys.exit(1 if wrong else 0)
