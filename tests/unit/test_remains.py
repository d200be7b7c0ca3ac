"""What `lockkeeper clean` may remove: decided without a database."""

from __future__ import annotations

import pytest

from lockkeeper.recovery.remains import Remain, removable

OLD = Remain("quarantine", "shop_lk_failed_1", "an older one")
NEWEST = Remain("quarantine", "shop_lk_failed_2", "the newest", kept=True)
WAITING = Remain("capture", "run", "waits for an undo", kept=True)
UNNOTED = Remain("scratch", "shop_lk_verify_1", "without a note", kept=True, noted=False)
SLOT = Remain("slot", "lockkeeper_run", "nobody reads from it")


@pytest.mark.parametrize(
    ("quarantine", "waiting", "going"),
    [
        (None, False, [OLD, SLOT]),
        (None, True, [OLD, WAITING, SLOT]),
        ("shop_lk_failed_2", False, [OLD, NEWEST, SLOT]),
        ("shop_lk_failed_1", True, [OLD, WAITING, SLOT]),
    ],
)
def test_the_newest_quarantine_goes_only_by_its_name_and_what_waits_only_when_asked_for(
    quarantine: str | None, waiting: bool, going: list[Remain]
) -> None:
    assert removable([OLD, NEWEST, WAITING, UNNOTED, SLOT], quarantine=quarantine, waiting=waiting) == going
