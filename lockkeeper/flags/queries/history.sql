SELECT percent_before, percent_after, changed_at, changed_by, reason
FROM lockkeeper.feature_flag_change
WHERE flag = %(name)s
ORDER BY id
