"""Kinds of backups, and what only one kind has: what a server comes back with, and where it serves then."""

from __future__ import annotations

from enum import Enum

from pydantic import Field

from lockkeeper.fact import Fact


class BackupKind(str, Enum):
    """How a backup was made: rows as a dump, the files of the whole server, a managed service's snapshot."""

    DUMP = "dump"
    PHYSICAL = "physical"
    SNAPSHOT = "snapshot"


class PhysicalFacts(Fact):
    """What a physical backup is beside its files: all that an instance needs to come back from it."""

    recovery_lsn: str = Field(description="The moment it is brought back to: what began before it is there.")
    at_snapshot: bool = Field(
        description="A slot's snapshot is that very moment: content can be compared with production's."
    )
    timeline: int
    first_segment: str
    last_segment: str
    wal_bytes: int = Field(description="Of the log's segments, as they are restored.")
    cluster_bytes: int = Field(description="Of all files, as they are restored, without the log.")
    settings: dict[str, str] = Field(description="Settings that recovery demands to be as on the primary.")
    not_logged: tuple[str, ...] = Field(default=(), description="Unlogged tables: they come back empty.")


class Instance(Fact):
    """A server that a physical backup was brought back as, running beside the one that it came from."""

    host: str
    port: int
    folder: str = Field(description="Its data, configuration and log, on the machine that restored it.")
    recovery_lsn: str = Field(
        description="The moment that it was recovered to: a position, a time or 'latest'."
    )
    switched: bool = Field(default=False, description="The target's switch_command has run for it.")
