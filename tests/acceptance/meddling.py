"""What the fault tests share: revisions and a rule, something that happens between backup and migration."""

from __future__ import annotations

from lockkeeper.engine import Engine

ADD_STATUS = "op.execute(\"ALTER TABLE users ADD COLUMN status text DEFAULT 'active'\")"
DROP_STATUS = 'op.execute("ALTER TABLE users DROP COLUMN status")'
ZERO_BALANCES = 'op.execute("UPDATE users SET balance = 0")'
NOT_ZERO = "SELECT id, email FROM users WHERE balance = 0"
NOT_IN_PREFLIGHT = "if not op.get_context().as_sql:"  # whose lint runs revisions in Alembic's offline mode


def rungs(report) -> list[tuple[str, bool]]:
    return [(attempt.rung, attempt.succeeded) for attempt in report.recovery]


class MeddlingEngine(Engine):
    """Runs ``between`` after the verified backup and before the first change."""

    between = staticmethod(lambda shop: None)
    shop = None

    def migrate(self, plan, backup):
        type(self).between(type(self).shop)
        return super().migrate(plan, backup)


def engine_with(shop, action) -> type[Engine]:
    return type("Engine", (MeddlingEngine,), {"between": staticmethod(action), "shop": shop})
