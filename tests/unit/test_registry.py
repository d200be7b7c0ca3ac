"""The registry keeps what is needed to find a target, and never a secret."""

from __future__ import annotations

import stat
import threading
from pathlib import Path
from typing import Any

import pytest

from lockkeeper.config import LocalStorageSettings, S3StorageSettings
from lockkeeper.errors import ConfigurationError
from lockkeeper.redaction import redact
from lockkeeper.registry import Registry, carries_password, check_policies, make_entry, registry_path, resolve

PASSWORD = "Canary-7f3a-registry"
URL = f"postgresql://app:{PASSWORD}@db.example:5432/shop"


@pytest.fixture
def registry(tmp_path: Path) -> Registry:
    return Registry(tmp_path / "home" / "targets.toml")


def entry_values(**changes: Any) -> dict[str, Any]:
    return {"database_url_env": "SHOP_URL", "storage": {"kind": "local", "path": "/var/backups"}, **changes}


def test_a_registered_target_is_read_back_as_it_was_written(registry: Registry) -> None:
    entry = make_entry(
        "test",
        entry_values(
            alembic={"config_file": "/srv/shop/alembic.ini", "x_arguments": {"url": "{url}"}},
            storage={"kind": "s3", "bucket": "backups", "prefix": "shop"},
            policies={"lock_timeout_ms": "500", "keep_quarantine": "false"},
        ),
    )
    registry.add("shop", entry)
    assert Registry(registry.path).get("shop") == entry
    assert entry.policies == {"lock_timeout_ms": 500, "keep_quarantine": False}


def test_the_file_is_for_its_owner_only_and_replaced_in_one_piece(registry: Registry) -> None:
    registry.add("shop", make_entry("test", entry_values()))
    registry.add("crm", make_entry("test", entry_values()))
    assert stat.S_IMODE(registry.path.stat().st_mode) == 0o600
    assert sorted(registry.entries()) == ["crm", "shop"]
    leftovers = [path.name for path in registry.path.parent.iterdir()]
    assert sorted(leftovers) == [".targets.toml.lock", "targets.toml"]


def test_targets_added_at_the_same_time_are_all_kept(registry: Registry) -> None:
    entry = make_entry("test", entry_values())
    threads = [
        threading.Thread(target=Registry(registry.path).add, args=(f"shop-{number}", entry))
        for number in range(12)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(registry.entries()) == 12


def test_a_symbolic_link_stays_one(tmp_path: Path) -> None:
    real = tmp_path / "dotfiles.toml"
    real.touch()
    link = tmp_path / "targets.toml"
    link.symlink_to(real)
    Registry(link).add("shop", make_entry("test", entry_values()))
    assert link.is_symlink()
    assert "shop" in real.read_text()


@pytest.mark.parametrize(
    "values",
    [
        entry_values(database_url_env=None, database_url=URL),
        entry_values(database_url_env=URL),
        entry_values(database_url_env=None, database_url=f"postgresql://h/shop?password={PASSWORD}"),
        entry_values(scratch_url_env=f"host=h password={PASSWORD}"),
        entry_values(alembic={"config_file": "a.ini", "x_arguments": {"dburl": URL}}),
        entry_values(storage={"kind": "s3", "bucket": "b-1", "endpoint_url": f"http://u:{PASSWORD}@h"}),
        entry_values(policies={"lock_timeout_ms": PASSWORD}),
        entry_values(policies={"recovery": PASSWORD}),
        entry_values(storage={"kind": "s3", "bucket": "b-1", "access_key_id_env": f"{PASSWORD}!"}),
    ],
)
def test_a_secret_is_refused_and_not_repeated(registry: Registry, values: dict[str, Any]) -> None:
    with pytest.raises(ConfigurationError) as caught:
        registry.add("shop", make_entry("test", values))
    assert PASSWORD not in str(caught.value)
    assert "\n" not in str(caught.value)
    assert not registry.path.exists()


def test_a_url_without_a_password_may_be_registered(registry: Registry) -> None:
    values = entry_values(database_url_env=None, database_url="postgresql://app@db.example/shop")
    target = resolve("shop", make_entry("test", values), environ={})
    assert target.url.host == "db.example"
    assert target.url.password is None


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (URL, True),
        ("postgresql://app@h/d", False),
        ("host=h password=x dbname=d", True),
        ("postgresql://h/d?password=abc", True),
        ("postgresql://h/d?sslkey=k&sslpassword=abc", True),
        ("postgresql://h/d?oauth_client_secret=abc", True),
        ("postgresql://h/d?pass%77ord=abc", True),
        ("postgresql://h/d?passfile=/srv/password", False),
        ("SHOP_URL", False),
        ("{url}", False),
        ("/srv/password/alembic.ini", False),
        ("http://127.0.0.1:9000", False),
    ],
)
def test_passwords_are_recognised_in_urls_and_dsns(text: str, expected: bool) -> None:
    assert carries_password(text) is expected


@pytest.mark.parametrize("name", ["password", "sslpassword", "oauth_client_secret"])
def test_a_password_in_a_urls_parameters_is_masked(name: str) -> None:
    assert redact(f"postgresql://h/d?{name}=canary&sslmode=require") == (
        f"postgresql://h/d?{name}=********&sslmode=require"
    )


def test_an_unknown_target_names_the_known_ones(registry: Registry) -> None:
    registry.add("shop", make_entry("test", entry_values()))
    with pytest.raises(ConfigurationError, match=r"No target 'shp'.*known: shop"):
        registry.get("shp")
    with pytest.raises(ConfigurationError, match="No target 'shp'"):
        registry.remove("shp")


def test_a_target_is_replaced_only_when_asked_for(registry: Registry) -> None:
    registry.add("shop", make_entry("test", entry_values()))
    other = make_entry("test", entry_values(database_url_env="OTHER_URL"))
    with pytest.raises(ConfigurationError, match="--replace"):
        registry.add("shop", other)
    registry.add("shop", other, replace=True)
    assert registry.get("shop").database_url_env == "OTHER_URL"
    registry.remove("shop")
    assert registry.entries() == {}


@pytest.mark.parametrize("name", ["Shop", "", "a b", "-shop", "s" * 64, "shöp"])
def test_names_that_prefect_would_not_take_are_refused(registry: Registry, name: str) -> None:
    with pytest.raises(ConfigurationError, match="cannot be a target's name"):
        registry.add(name, make_entry("test", entry_values()))


def test_a_missing_variable_is_named_with_what_to_export() -> None:
    entry = make_entry("test", entry_values())
    with pytest.raises(ConfigurationError, match=r"SHOP_URL.*not set.*export SHOP_URL="):
        resolve("shop", entry, environ={})
    with pytest.raises(ConfigurationError, match="is empty"):
        resolve("shop", entry, environ={"SHOP_URL": ""})


def test_a_wrong_url_is_refused_with_its_source_and_without_its_text() -> None:
    entry = make_entry("test", entry_values())
    with pytest.raises(ConfigurationError, match=r"comes from SHOP_URL.*database_url: a mysql URL") as caught:
        resolve("shop", entry, environ={"SHOP_URL": f"mysql://app:{PASSWORD}@h/shop"})
    assert PASSWORD not in str(caught.value)
    with pytest.raises(ConfigurationError, match="not a database URL") as caught:
        resolve("shop", entry, environ={"SHOP_URL": f"app:{PASSWORD}"})
    assert PASSWORD not in str(caught.value)


def test_secrets_come_from_the_environment_and_are_masked_from_then_on() -> None:
    entry = make_entry(
        "test",
        entry_values(
            alembic={"config_file": "/srv/shop/alembic.ini", "environment_from": ["STRIPE_KEY"]},
            storage={
                "kind": "s3", "bucket": "backups",
                "access_key_id_env": "S3_ID", "secret_access_key_env": "S3_KEY",
            },
            slack_webhook_url_env="HOOK",
        ),
    )  # fmt: skip
    secrets = {
        "STRIPE_KEY": "stripe-0815", "S3_ID": "key-id-77", "S3_KEY": "s3-secret-77",
        "HOOK": "https://hooks.example/T/canary", "AWS_SESSION_TOKEN": "ambient-token-3",
    }  # fmt: skip
    target = resolve("shop", entry, environ={"SHOP_URL": URL, **secrets})
    assert target.alembic is not None
    assert target.alembic.environment["STRIPE_KEY"].get_secret_value() == "stripe-0815"
    assert isinstance(target.storage, S3StorageSettings)
    assert target.storage.secret_access_key is not None
    shown = redact(f"{URL} stripe-0815 s3-secret-77 {secrets['HOOK']} ambient-token-3")
    for secret in (PASSWORD, "stripe-0815", "s3-secret-77", "canary", "ambient-token-3"):
        assert secret not in shown


def test_policies_given_for_one_run_override_the_registered_ones() -> None:
    entry = make_entry("test", entry_values(policies={"lock_timeout_ms": 500, "restore_jobs": 4}))
    target = resolve(
        "shop", entry, policies=check_policies({"lock_timeout_ms": "700"}), environ={"SHOP_URL": URL}
    )
    assert (target.policies.lock_timeout_ms, target.policies.restore_jobs) == (700, 4)
    assert isinstance(target.storage, LocalStorageSettings)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"lock_timeout": "5"}, "no policy 'lock_timeout'; did you mean 'lock_timeout_ms'"),
        ({"xyzzy": "5"}, "known: alert_actions, alert_limits, approval, "),
        ({"lock_timeout_ms": "0"}, "lock_timeout_ms: Input should be greater than or equal to 1"),
        ({"recovery": "yes"}, "'lossless', 'accept-loss' or 'manual'"),
    ],
)
def test_a_wrong_policy_says_what_would_be_right(given: dict[str, str], message: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        check_policies(given)
    assert message in str(caught.value)


@pytest.mark.parametrize("text", ["targets = 3", "[targets]\nshop = 1", "not toml ["])
def test_a_broken_registry_is_named(registry: Registry, text: str) -> None:
    registry.path.parent.mkdir()
    registry.path.write_text(text)
    with pytest.raises(ConfigurationError, match=str(registry.path)):
        registry.entries()


def test_a_misspelt_key_in_the_file_is_named_with_its_target(registry: Registry) -> None:
    registry.path.parent.mkdir()
    registry.path.write_text('[targets.shop]\ndatabase_url_env = "U"\nstorge = 1\n')
    with pytest.raises(ConfigurationError) as caught:
        registry.get("shop")
    assert "Target 'shop'" in str(caught.value)
    assert "storage: Field required" in str(caught.value)
    assert "storge: Extra inputs are not permitted" in str(caught.value)


def test_the_registry_is_where_lockkeeper_home_says() -> None:
    assert registry_path({"LOCKKEEPER_HOME": "/x"}) == Path("/x/targets.toml")
    with pytest.raises(ConfigurationError, match="LOCKKEEPER_HOME is '~no-such-user/x'"):
        registry_path({"LOCKKEEPER_HOME": "~no-such-user/x"})
    assert registry_path({"XDG_CONFIG_HOME": "/c"}) == Path("/c/lockkeeper/targets.toml")
    assert registry_path({}) == Path.home() / ".config" / "lockkeeper" / "targets.toml"
