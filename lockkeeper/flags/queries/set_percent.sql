-- One statement, so one transaction; the audit is written by the table's own trigger.
INSERT INTO lockkeeper.feature_flag AS flag (name, percent, changed_by, reason)
VALUES (%(name)s, %(percent)s, %(changed_by)s, %(reason)s)
ON CONFLICT (name) DO UPDATE
SET percent = excluded.percent, changed_by = excluded.changed_by, reason = excluded.reason, changed_at = now()
WHERE flag.percent <> excluded.percent
