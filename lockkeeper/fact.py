"""The base of everything that Lockkeeper writes down."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict


class Fact(BaseModel):
    """Base of everything that is written to storage or reports."""

    model_config = ConfigDict(extra="forbid", frozen=True)
