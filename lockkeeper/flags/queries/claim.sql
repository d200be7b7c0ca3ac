-- A flag that is there already is taken over only when nobody sees it and nobody owns it.
INSERT INTO lockkeeper.feature_flag AS flag (name, percent, reason, subject)
VALUES (%(name)s, 0, 'made for ' || %(subject)s, %(subject)s)
ON CONFLICT (name) DO UPDATE SET subject = excluded.subject WHERE flag.subject IS NULL AND flag.percent = 0
