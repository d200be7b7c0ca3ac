"""What is watched: one rule for each condition, with its limit. Pure: a rule only measures a look."""

from lockkeeper.monitoring.rules.catalogue import BESIDE_A_MIGRATION, RULES, limits_of, rule_named
from lockkeeper.monitoring.rules.model import Measurement, Rule, Severity

__all__ = [
    "BESIDE_A_MIGRATION",
    "RULES",
    "Measurement",
    "Rule",
    "Severity",
    "limits_of",
    "rule_named",
]
