"""Measures what a revision costs the others on a server: locks, rewrites, scans, WAL, space.

Guarantees: a lock that a transaction of the revision took is seen, however short it was (the runner reads
them in the session itself); reads catalogues only, takes no lock that anybody waits for, changes nothing.
What could not be measured is None, never nothing.
"""

from lockkeeper.costs.meter import CostMeter, Measurement

__all__ = ["CostMeter", "Measurement"]
