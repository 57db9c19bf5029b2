SELECT q.n FROM (SELECT COUNT(*) AS n FROM galaxies) AS q
=>
SELECT "q"."n" AS "n" FROM (SELECT COUNT(*) AS "n" FROM "other"."galaxies" AS "galaxies") AS "q"

SELECT id FROM survey.stars WHERE EXISTS (SELECT 1 FROM galaxies WHERE gid = stars.id) AND id IN (SELECT id FROM survey.stars)
=>
SELECT "stars"."id" AS "id" FROM "survey"."stars" AS "stars" WHERE EXISTS(SELECT 1 AS "column_1" FROM "other"."galaxies" AS "galaxies" WHERE "galaxies"."gid" = "stars"."id") AND "stars"."id" IN (SELECT "stars_2"."id" AS "id" FROM "survey"."stars" AS "stars_2")

WITH bright AS (SELECT id, mag FROM survey.stars WHERE mag < 6), faint AS (SELECT * FROM bright WHERE mag > 5) SELECT MAX(mag) AS m FROM faint
=>
WITH "bright" AS (SELECT "stars"."id" AS "id", "stars"."mag" AS "mag" FROM "survey"."stars" AS "stars" WHERE "stars"."mag" < 6), "faint" AS (SELECT "bright"."id" AS "id", "bright"."mag" AS "mag" FROM "bright" AS "bright" WHERE "bright"."mag" > 5) SELECT MAX("faint"."mag") AS "m" FROM "faint" AS "faint"

SELECT (SELECT MAX(gid) FROM galaxies) AS m FROM galaxies
=>
SELECT (SELECT MAX("galaxies_2"."gid") AS "max_gid" FROM "other"."galaxies" AS "galaxies_2") AS "m" FROM "other"."galaxies" AS "galaxies"
