"""What ``make demo`` plays: a shop's database migrated in production style, twice, on real servers.

The first migration succeeds. The second fails on purpose and is recovered; that the database is as
before is checked here once more, by fingerprints taken before and after.
"""
