"""What an operator fills in: names only, since Prefect stores and shows every parameter.

The forms take their explanations from the flows' docstrings.
"""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from lockkeeper.config import TARGET_NAME_PATTERN

TargetName = Annotated[str, Field(pattern=TARGET_NAME_PATTERN)]
Revision = Annotated[str, Field(min_length=1)]
BackupId = Annotated[str, Field(min_length=1)]
TableName = Annotated[str, Field(min_length=1)]
ColumnName = Annotated[str, Field(min_length=1)]
