INSERT INTO {places}
SELECT p.tableoid, p.ctid
FROM {parent} AS p
WHERE ({parent_columns}) IN (
        SELECT {child_columns}
        FROM {child} AS c
        JOIN {child_places} AS k ON c.tableoid = k.source AND c.ctid = k.place
    )
    AND NOT EXISTS (SELECT FROM {places} AS k WHERE k.source = p.tableoid AND k.place = p.ctid)
