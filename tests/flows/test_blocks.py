"""The block holds a target as an operator fills it in, and gives no secret away."""

from __future__ import annotations

import pytest
from prefect.blocks.core import Block
from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.client.schemas.actions import BlockDocumentUpdate
from prefect_aws import AwsCredentials, MinIOCredentials, S3Bucket
from prefect_aws.client_parameters import AwsClientParameters
from prefect_slack import SlackWebhook

from lockkeeper.config import AlembicSettings, LocalStorageSettings, Policies, S3StorageSettings
from lockkeeper.errors import ConfigurationError
from tasks.blocks import AlembicProject, MigrationTarget, load_target, save_block

URL = "postgresql://app:canary-db@db.example/shop"


def test_a_saved_target_comes_back_as_it_was(prefect_server: str) -> None:
    MigrationTarget(
        database_url=URL,
        alembic={"config_file": "/srv/shop/alembic.ini", "x_arguments": {"tenant": "a"}},
        alembic_environment={"APP_TOKEN": "canary-env"},
        storage=S3Bucket(
            bucket_name="backups",
            bucket_folder="shop/",
            credentials=AwsCredentials(
                aws_access_key_id="key",
                aws_secret_access_key="canary-s3",
                aws_session_token="token",
                region_name="eu-west-1",
                aws_client_parameters=AwsClientParameters(endpoint_url="http://s3.example"),
            ),
        ),
        slack=SlackWebhook(url="http://slack.example/canary-slack"),
        policies=Policies(lock_timeout_ms=7, recovery="manual"),
        scratch_url="postgresql://app:scratch-secret@scratch.example/postgres",
    ).save("comes-back", overwrite=True)

    target = load_target("comes-back")

    assert target.name == "comes-back"
    assert target.database_url.get_secret_value() == URL
    assert target.scratch_url.get_secret_value().endswith("scratch.example/postgres")
    assert target.alembic.config_file.as_posix() == "/srv/shop/alembic.ini"
    assert target.alembic.environment["APP_TOKEN"].get_secret_value() == "canary-env"
    assert target.alembic.x_arguments == {"tenant": "a"}
    assert isinstance(target.storage, S3StorageSettings)
    assert (target.storage.bucket, target.storage.prefix) == ("backups", "shop/")
    assert (target.storage.endpoint_url, target.storage.region) == ("http://s3.example", "eu-west-1")
    assert target.storage.secret_access_key.get_secret_value() == "canary-s3"
    assert target.storage.session_token.get_secret_value() == "token"
    assert target.slack_webhook_url.get_secret_value() == "http://slack.example/canary-slack"
    assert (target.policies.lock_timeout_ms, target.policies.recovery) == (7, "manual")


def test_the_plainest_target_is_a_url_and_a_folder(prefect_server: str) -> None:
    MigrationTarget(database_url=URL, storage_folder="/var/backups").save("plainest", overwrite=True)
    target = load_target("plainest")
    assert target.storage == LocalStorageSettings(path="/var/backups")
    assert target.alembic is None
    assert target.slack_webhook_url is None


def test_minio_credentials_work_as_those_of_aws() -> None:
    credentials = MinIOCredentials(
        minio_root_user="root",
        minio_root_password="canary-minio",
        aws_client_parameters=AwsClientParameters(endpoint_url="http://minio.example"),
    )
    bucket = S3Bucket(bucket_name="backups", credentials=credentials)
    storage = MigrationTarget(database_url=URL, storage=bucket).to_target("shop").storage
    assert storage.access_key_id.get_secret_value() == "root"
    assert storage.secret_access_key.get_secret_value() == "canary-minio"


def test_the_api_masks_every_secret_of_a_target(api: SyncPrefectClient) -> None:
    test_a_saved_target_comes_back_as_it_was("")
    shown = api._client.post("/block_documents/filter", json={}).text
    assert "canary" not in shown
    assert '"database_url":"********"' in shown


def test_the_form_shows_every_alembic_setting_that_is_no_secret() -> None:
    assert set(AlembicProject.model_fields) == set(AlembicSettings.model_fields) - {"environment"}
    for name, field in AlembicProject.model_fields.items():
        assert field.description == AlembicSettings.model_fields[name].description


def test_every_field_of_the_form_is_explained() -> None:
    assert all(field.description for field in MigrationTarget.model_fields.values())
    assert all(field.description for field in Policies.model_fields.values())


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"storage_folder": "/x", "database_url": "mysql://u:canary@h/d"}, "database_url.*PostgreSQL"),
        ({"storage_folder": "/x", "database_url": "canary nonsense"}, "database_url.*not a database URL"),
        ({}, "either a backup bucket or a backup folder"),
    ],
)
def test_a_wrong_target_is_refused_by_field_and_without_its_secrets(
    fields: dict[str, str], message: str
) -> None:
    with pytest.raises(ConfigurationError, match=message) as refused:
        MigrationTarget(**{"database_url": URL, **fields}).to_target("wrong")
    assert "canary" not in str(refused.value)


def test_client_parameters_that_backups_would_ignore_are_refused() -> None:
    parameters = AwsClientParameters(endpoint_url="http://s3.example", config={"read_timeout": 1})
    credentials = AwsCredentials(aws_client_parameters=parameters)
    target = MigrationTarget(
        database_url=URL, storage=S3Bucket(bucket_name="backups", credentials=credentials)
    )
    with pytest.raises(ConfigurationError, match="only the endpoint URL"):
        target.to_target("shop")


def test_a_missing_target_says_how_to_make_one(prefect_server: str) -> None:
    with pytest.raises(ConfigurationError, match="no migration target block called 'nowhere'"):
        load_target("nowhere")


def test_the_block_has_one_identity_however_it_was_imported() -> None:
    assert Block.get_block_class_from_key("migration-target") is MigrationTarget


def test_what_a_target_uses_is_saved_under_names_of_their_own_so_that_the_form_keeps_it(
    api: SyncPrefectClient,
) -> None:
    bucket = S3Bucket(
        bucket_name="backups",
        credentials=AwsCredentials(aws_access_key_id="key", aws_secret_access_key="canary"),
    )
    block = MigrationTarget(
        database_url=URL, storage=bucket, slack=SlackWebhook(url="http://slack.example/x")
    )
    save_block("named-parts", block)
    saved = api.read_block_document_by_name("named-parts", "migration-target")
    assert set(saved.block_document_references) == {"storage", "slack"}
    assert load_target("named-parts").storage.bucket == "backups"


@pytest.mark.parametrize("empty", [{}, {"block_type_slug": "slack-incoming-webhook"}, {"url": ""}, None])
def test_what_was_left_empty_in_the_form_is_not_there(empty: dict[str, str] | None) -> None:
    block = MigrationTarget(database_url=URL, storage_folder="/x", slack=empty, alembic={}, scratch_url="")
    target = block.to_target("shop")
    assert (target.slack_webhook_url, target.alembic, target.scratch_url) == (None, None, None)


def test_a_saved_block_that_cannot_be_used_is_refused_by_field(prefect_server: str) -> None:
    MigrationTarget(database_url=URL, storage_folder="/x").save("broken", overwrite=True)
    with get_client(sync_client=True) as client:
        document = client.read_block_document_by_name("broken", "migration-target", include_secrets=True)
        data = {**document.data, "policies": {"lock_timeout_ms": -1}}
        update = BlockDocumentUpdate(block_schema_id=document.block_schema_id, data=data)
        client._client.patch(f"/block_documents/{document.id}", json=update.model_dump(mode="json"))
    with pytest.raises(ConfigurationError, match=r"'broken' cannot be used: policies\.lock_timeout_ms"):
        load_target("broken")
