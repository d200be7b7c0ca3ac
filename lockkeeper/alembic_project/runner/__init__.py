"""The half of Lockkeeper that runs inside the user's own interpreter, beside the user's own Alembic.

It guarantees to import nothing but the standard library, Alembic and SQLAlchemy (Python 3.8, Alembic 1.9,
SQLAlchemy 1.4 and later): Lockkeeper need not be installed there. ``__main__`` loads this folder under the
name ``lockkeeper_runner``, so that neither its modules nor another version of Lockkeeper hide anything of
the project's; hence the relative imports, which hold under both names.
"""
