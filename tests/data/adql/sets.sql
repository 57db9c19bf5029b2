SELECT id FROM survey.stars UNION SELECT gid FROM galaxies INTERSECT ALL SELECT 3 FROM galaxies ORDER BY id OFFSET 2
=>
SELECT "stars"."id" AS "id" FROM "survey"."stars" AS "stars" UNION SELECT CAST("galaxies"."gid" AS BIGINT) AS "gid" FROM "other"."galaxies" AS "galaxies" INTERSECT ALL SELECT CAST(3 AS BIGINT) AS "column_1" FROM "other"."galaxies" AS "galaxies" ORDER BY 1 ASC OFFSET 2

(SELECT id FROM survey.stars EXCEPT SELECT gid FROM galaxies) INTERSECT SELECT gid FROM galaxies
=>
(SELECT "stars"."id" AS "id" FROM "survey"."stars" AS "stars" EXCEPT SELECT CAST("galaxies"."gid" AS BIGINT) AS "gid" FROM "other"."galaxies" AS "galaxies") INTERSECT SELECT CAST("galaxies"."gid" AS BIGINT) AS "gid" FROM "other"."galaxies" AS "galaxies"

(SELECT TOP 3 mag FROM survey.stars ORDER BY mag) UNION ALL (SELECT 1.5 FROM galaxies)
=>
(SELECT CAST("stars"."mag" AS DOUBLE PRECISION) AS "mag" FROM "survey"."stars" AS "stars" ORDER BY 1 ASC LIMIT 3) UNION ALL SELECT CAST(1.5 AS DOUBLE PRECISION) AS "column_1" FROM "other"."galaxies" AS "galaxies"

SELECT NULL AS x FROM galaxies UNION SELECT NULL FROM galaxies UNION SELECT gid FROM galaxies
=>
SELECT CAST(NULL AS INT) AS "x" FROM "other"."galaxies" AS "galaxies" UNION SELECT CAST(NULL AS INT) AS "column_1" FROM "other"."galaxies" AS "galaxies" UNION SELECT "galaxies"."gid" AS "gid" FROM "other"."galaxies" AS "galaxies"
