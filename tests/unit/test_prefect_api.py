"""How the command line finds Prefect's API."""

from __future__ import annotations

import pytest

from lockkeeper.errors import ConfigurationError
from lockkeeper.prefect_api import PrefectApi


def test_without_an_address_the_command_says_what_to_set() -> None:
    with pytest.raises(ConfigurationError, match="PREFECT_API_URL"):
        PrefectApi.from_environment({})
    with pytest.raises(ConfigurationError, match="must be like"):
        PrefectApi("localhost:4200")
