"""Schema changes beside an application: short locks, bounded waits, and every one can be run again.

What ``lockkeeper.ops`` (operations for migration scripts), ``lockkeeper.backfill`` and ``lockkeeper.rename``
stand on. It runs in the user's own Alembic too: nothing is imported but the standard library, Alembic and
SQLAlchemy.
"""
