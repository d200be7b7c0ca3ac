INSERT INTO "Verkauf"."Kunden" ("Straße", "select") SELECT 'Straße ' || n, n FROM generate_series(1, 9) AS n;
