"""The block that describes a target: a database, its Alembic project, storage, Slack and policies.

Register it once on a server with ``prefect block register --module tasks.blocks``; from then on the UI has
a form for it. ``python -m tasks --help`` saves one from a shell.

Secrets lie in Prefect's encrypted block store. The API masks them, but whoever may call it with
``include_secrets`` can read them: guard the API as you guard the database.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

from prefect.blocks.core import Block
from prefect.types import SecretDict
from prefect_aws import MinIOCredentials, S3Bucket
from prefect_slack import SlackWebhook
from pydantic import BaseModel, ConfigDict, Field, SecretStr, ValidationError, create_model, field_validator

from lockkeeper.config import (
    AlembicSettings,
    LocalStorageSettings,
    Policies,
    S3StorageSettings,
    Target,
)
from lockkeeper.errors import ConfigurationError

# Prefect masks a dictionary of secrets only where it is a field of the block itself (SecretDict), so the
# environment is lifted out of the settings that the form shows. The rest is the core's, word for word.
AlembicProject: type[BaseModel] = create_model(
    "AlembicProject",
    __doc__="The Alembic project that holds the target's migrations; paths are those of the worker.",
    __config__=ConfigDict(extra="forbid"),
    **{
        name: (field.annotation, field)
        for name, field in AlembicSettings.model_fields.items()
        if name != "environment"
    },
)

_OPTIONAL_FIELDS = (
    "alembic",
    "storage",
    "storage_folder",
    "slack",
    "scratch_url",
    "client_bin_dir",
    "alert_webhook_url",
)


class MigrationTarget(Block):
    """One PostgreSQL database that Lockkeeper may back up, migrate and restore.

    Flows take the block's name as their ``target`` parameter, never its contents.
    """

    model_config = ConfigDict(hide_input_in_errors=True)

    _block_type_name: ClassVar[str | None] = "Migration Target"
    _block_type_slug: ClassVar[str | None] = "migration-target"
    _description: ClassVar[str | None] = (
        "One PostgreSQL database with its Alembic project, backup storage, Slack channel and policies."
    )
    _logo_url: ClassVar[Any] = "https://www.postgresql.org/media/img/about/press/elephant.png"
    _documentation_url: ClassVar[Any] = "https://www.postgresql.org/docs/current/libpq-connect.html"
    _code_example: ClassVar[str | None] = """
        ```python
        from tasks.blocks import MigrationTarget, save_block

        shop = MigrationTarget(
            database_url=os.environ["SHOP_DATABASE_URL"],
            alembic={"config_file": "/srv/shop/alembic.ini"},
            storage_folder="/var/backups/shop",
        )
        save_block("shop", shop)
        ```"""

    database_url: SecretStr = Field(
        title="Database URL",
        description=(
            "postgresql://user:password@host:5432/database. The user owns the database's objects and may "
            "create databases (backups are proven in a scratch database)."
        ),
    )
    alembic: AlembicProject | None = Field(  # type: ignore[valid-type]
        default=None,
        title="Alembic project",
        description="Needed for migrations; without it the target can be backed up and restored.",
    )
    alembic_environment: SecretDict | None = Field(
        default=None,
        title="Alembic environment",
        description='Further environment variables for the Alembic project, e.g. {"APP_ENV": "production"}.',
    )
    storage: S3Bucket | None = Field(
        default=None,
        title="Backup bucket",
        description="S3-compatible bucket for backups; its folder becomes the prefix of every key.",
    )
    storage_folder: str | None = Field(
        default=None,
        title="Backup folder",
        description="Folder on the worker for backups, where there is no bucket.",
    )
    slack: SlackWebhook | None = Field(
        default=None,
        title="Slack channel",
        description="Gets one message for each outcome. Without it, outcomes stand in log and artifact only.",
    )
    alert_webhook_url: SecretStr | None = Field(
        default=None,
        title="Alert webhook",
        description="Gets every alert as JSON, when it fires and when it is over.",
    )
    scratch_url: SecretStr | None = Field(
        default=None,
        title="Scratch server URL",
        description="Server on which backups are proven; default is the target's own.",
    )
    maintenance_database: str = Field(
        default="postgres", description=Target.model_fields["maintenance_database"].description
    )
    client_bin_dir: str | None = Field(
        default=None,
        title="PostgreSQL client programs",
        description="Folder of pg_dump and pg_restore; default is to find those that fit the server.",
    )
    policies: Policies = Field(
        default=Policies(), description="What Lockkeeper may do, and when it must stop and ask."
    )

    @field_validator(
        "alembic", "storage", "storage_folder", "slack", "scratch_url", "client_bin_dir", mode="before"
    )
    @classmethod
    def _an_empty_form_field_is_none(cls, value: Any) -> Any:
        # Where nothing was chosen, Prefect's form saves an empty object or text instead of null.
        if isinstance(value, Mapping):
            return value if any(value[key] for key in value if key != "block_type_slug") else None
        return value if value != "" else None

    @field_validator("alembic_environment")
    @classmethod
    def _an_empty_environment_is_none(cls, value: SecretDict | None) -> SecretDict | None:
        # Prefect masks an empty dictionary as text, which its own form then refuses as invalid JSON.
        return value if value and value.get_secret_value() else None

    def to_target(self, name: str | None = None) -> Target:
        """Return the core's model of this target.

        Raises:
            ConfigurationError: a field is wrong or missing; the message never repeats a secret.
        """
        try:
            return Target(
                name=name or self._block_document_name or "unsaved",
                database_url=self.database_url,
                alembic=self._alembic_settings(),
                storage=self._storage_settings(),
                scratch_url=self.scratch_url,
                maintenance_database=self.maintenance_database,
                client_bin_dir=Path(self.client_bin_dir) if self.client_bin_dir else None,
                slack_webhook_url=self.slack.url if self.slack else None,
                alert_webhook_url=self.alert_webhook_url,
                policies=self.policies,
            )
        except ValidationError as error:
            raise ConfigurationError(_explain(name or self._block_document_name, error)) from None

    def _alembic_settings(self) -> AlembicSettings | None:
        if self.alembic is None:
            return None
        environment = self.alembic_environment.get_secret_value() if self.alembic_environment else {}
        return AlembicSettings(**self.alembic.model_dump(), environment=environment)

    def _storage_settings(self) -> LocalStorageSettings | S3StorageSettings:
        if (self.storage is None) == (not self.storage_folder):
            raise ConfigurationError("A migration target has either a backup bucket or a backup folder.")
        if self.storage is None:
            return LocalStorageSettings(path=Path(str(self.storage_folder)))
        return s3_settings(self.storage)


def s3_settings(bucket: S3Bucket) -> S3StorageSettings:
    """Resolve a bucket block; profiles, roles and instance credentials become plain keys here.

    Raises:
        ConfigurationError: the block asks for a client option that backups do not support.
    """
    client = bucket.credentials.aws_client_parameters
    if client.config or client.verify is not None or client.verify_cert_path or not client.use_ssl:
        raise ConfigurationError(
            "Of a bucket's client parameters only the endpoint URL is supported. "
            "For a private certificate authority set AWS_CA_BUNDLE on the worker."
        )
    session = bucket.credentials.get_boto3_session()
    region = session.region_name
    if isinstance(bucket.credentials, MinIOCredentials):
        keys: dict[str, Any] = {
            "access_key_id": bucket.credentials.minio_root_user,
            "secret_access_key": bucket.credentials.minio_root_password.get_secret_value(),
        }
    else:
        found = session.get_credentials()
        frozen = found.get_frozen_credentials() if found else None
        keys = {} if frozen is None else {
            "access_key_id": frozen.access_key,
            "secret_access_key": frozen.secret_key,
            "session_token": frozen.token,
        }  # fmt: skip
    return S3StorageSettings(
        bucket=bucket.bucket_name,
        prefix=bucket.bucket_folder,
        endpoint_url=client.endpoint_url,
        region=region,
        **keys,
    )


def save_block(name: str, block: MigrationTarget) -> None:
    """Save a target, and before it its bucket, keys and Slack channel as blocks of their own.

    They must be: the UI's form shows only blocks that have a name, and *drops* others when somebody saves
    it (seen in Prefect 3.8.8). Blocks of these names are replaced: ``<name>-backups``, ``<name>-slack``.

    Raises:
        ConfigurationError: what the block holds cannot be used; nothing is saved.
    """
    block.to_target(name)
    if block.storage is not None:
        block.storage.credentials.save(f"{name}-backups", overwrite=True)
        block.storage.save(f"{name}-backups", overwrite=True)
    if block.slack is not None:
        block.slack.save(f"{name}-slack", overwrite=True)
    block.save(name, overwrite=True)


def load_target(name: str) -> Target:
    """Load the block called ``name`` and resolve its secrets, which are masked in all output from then on.

    Raises:
        ConfigurationError: there is no such block, or what it holds cannot be used.
    """
    try:
        block = MigrationTarget.load(name)
    except RuntimeError as error:  # how Prefect reports a block that does not validate
        if not isinstance(error.__cause__, ValidationError):
            raise
        raise ConfigurationError(_explain(name, error.__cause__)) from None
    except ValueError as error:
        raise ConfigurationError(
            f"There is no migration target block called {name!r} on this Prefect server. "
            "Make one in the UI under Blocks, or with `python -m tasks save-target`."
        ) from error
    return block.to_target(name)


def _explain(name: str | None, error: ValidationError) -> str:
    """Say which fields are wrong without their values: pydantic's own text would repeat them."""
    wrong = "; ".join(
        f"{'.'.join(map(str, detail['loc'])) or 'target'}: {detail['msg']}"
        for detail in error.errors(include_input=False, include_url=False, include_context=False)
    )
    return f"Migration target {name!r} cannot be used: {wrong}"
