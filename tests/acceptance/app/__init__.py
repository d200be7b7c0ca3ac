"""A small shop in three versions, run as real processes beside a rename: see ``product`` and ``traffic``."""
