SELECT name, COUNT(*), AVG(flags) AS mean, SUM(id), SUM(mag), MAX(seen) FROM survey.stars GROUP BY name HAVING COUNT(*) > 1 ORDER BY mean DESC
=>
SELECT "stars"."name" AS "name", COUNT(*) AS "count_all", CAST(AVG("stars"."flags") AS DOUBLE PRECISION) AS "mean", CAST(SUM("stars"."id") AS BIGINT) AS "sum_id", SUM(CAST("stars"."mag" AS DOUBLE PRECISION)) AS "sum_mag", MAX("stars"."seen") AS "max_seen" FROM "survey"."stars" AS "stars" GROUP BY "stars"."name" HAVING COUNT(*) > 1 ORDER BY 3 DESC

SELECT ROUND(mag, 1) AS m, COUNT(DISTINCT id) AS n FROM survey.stars GROUP BY m ORDER BY m
=>
SELECT "sky".round(CAST("stars"."mag" AS DOUBLE PRECISION), 1) AS "m", COUNT(DISTINCT "stars"."id") AS "n" FROM "survey"."stars" AS "stars" GROUP BY "sky".round(CAST("stars"."mag" AS DOUBLE PRECISION), 1) ORDER BY 1 ASC
