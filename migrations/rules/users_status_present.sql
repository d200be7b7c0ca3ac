-- Users without a status.
SELECT id FROM users WHERE status IS NULL
