"""Lockkeeper brings a live PostgreSQL database from one schema to the next and never loses a row.

This package is the engine. It never imports Prefect: ``tasks/`` and ``flows/`` adapt it.
"""

__version__ = "0.1.0"
