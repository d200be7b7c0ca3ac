-- Users with a status that the application does not know.
SELECT id FROM users WHERE status NOT IN ('active', 'inactive', 'suspended')
