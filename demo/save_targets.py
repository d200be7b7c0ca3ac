"""Saves the demo's targets as Prefect blocks, in a process that has Prefect; they come by standard input.

A JSON object: block name -> fields of a target as ``lockkeeper.config.Target`` has them.
"""

from __future__ import annotations

import json
import sys
from typing import Any

from prefect_aws import MinIOCredentials, S3Bucket
from prefect_aws.client_parameters import AwsClientParameters

from tasks.blocks import MigrationTarget, save_block


def save_target(name: str, fields: dict[str, Any]) -> None:
    """Save one target, with the bucket and the keys that it uses; replaces former ones."""
    storage = fields.pop("storage")
    keys = MinIOCredentials(
        minio_root_user=storage["access_key_id"],
        minio_root_password=storage["secret_access_key"],
        region_name=storage["region"],
        aws_client_parameters=AwsClientParameters(endpoint_url=storage["endpoint_url"]),
    )
    bucket = S3Bucket(bucket_name=storage["bucket"], bucket_folder=storage["prefix"], credentials=keys)
    save_block(name, MigrationTarget(storage=bucket, **fields))


if __name__ == "__main__":
    MigrationTarget.register_type_and_schema()
    for target, values in json.load(sys.stdin).items():
        save_target(target, values)
