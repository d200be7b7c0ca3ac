"""Monitoring: samples, rules, alerts, the impact budget beside a migration. See docs/monitoring.md."""

from lockkeeper.monitoring.incidents import Alert, AlertState, IncidentBook, Judge
from lockkeeper.monitoring.watcher import DatabaseMonitor, watching

__all__ = ["Alert", "AlertState", "DatabaseMonitor", "IncidentBook", "Judge", "watching"]
