"""What an operator fills in: names only, since Prefect stores and shows every parameter."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from lockkeeper.config import TARGET_NAME_PATTERN

TargetName = Annotated[
    str, Field(pattern=TARGET_NAME_PATTERN, description="Name of a Migration Target block, e.g. shop.")
]
Revision = Annotated[
    str,
    Field(min_length=1, description='"head", a revision id or its beginning, "+1", or "branch@head".'),
]
BackupId = Annotated[
    str, Field(min_length=1, description="Id of a verified backup, as `lockkeeper backups` lists it.")
]
