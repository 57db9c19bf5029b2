SELECT 7/2, 7/2., -mag, mag * 1.5 + n_obs, price * 2.0, 1e3, .5, 12. FROM survey.stars
=>
SELECT 7 / 2 AS "column_1", 7 / CAST(2. AS DOUBLE PRECISION) AS "column_2", -"stars"."mag" AS "column_3", "stars"."mag" * 1.5 + "stars"."n_obs" AS "column_4", "stars"."price" * CAST(2.0 AS DOUBLE PRECISION) AS "column_5", CAST(1e3 AS DOUBLE PRECISION) AS "column_6", CAST(.5 AS DOUBLE PRECISION) AS "column_7", CAST(12. AS DOUBLE PRECISION) AS "column_8" FROM "survey"."stars" AS "stars"

SELECT LOG(mag), LOG10(mag), MOD(id, 3), ROUND(mag), ROUND(mag, -1), TRUNCATE(mag, 2), RAND(3), PI(), CEILING(mag), ATAN2(mag, 1) FROM survey.stars
=>
SELECT LN(CAST("stars"."mag" AS DOUBLE PRECISION)) AS "log_mag", LOG(CAST("stars"."mag" AS DOUBLE PRECISION)) AS "log10_mag", "sky".mod("stars"."id", CAST(3 AS BIGINT)) AS "mod_3", "sky".round(CAST("stars"."mag" AS DOUBLE PRECISION)) AS "round_mag", "sky".round(CAST("stars"."mag" AS DOUBLE PRECISION), -1) AS "round_5", "sky".truncate(CAST("stars"."mag" AS DOUBLE PRECISION), 2) AS "truncate_6", "sky".rand_sequence(CAST(3 AS BIGINT)) AS "rand_7", PI() AS "pi_8", CEIL(CAST("stars"."mag" AS DOUBLE PRECISION)) AS "ceiling_mag", ATAN2(CAST("stars"."mag" AS DOUBLE PRECISION), CAST(1 AS DOUBLE PRECISION)) AS "atan2_10" FROM "survey"."stars" AS "stars"

SELECT CASE WHEN id = 1 THEN 1 ELSE 2.5 END, CASE id WHEN 1 THEN 'a' END, COALESCE(mag, 0), NULLIF(name, '') FROM survey.stars
=>
SELECT CASE WHEN "stars"."id" = 1 THEN CAST(1 AS DOUBLE PRECISION) ELSE CAST(2.5 AS DOUBLE PRECISION) END AS "column_1", CASE "stars"."id" WHEN 1 THEN 'a' END AS "column_2", COALESCE(CAST("stars"."mag" AS DOUBLE PRECISION), CAST(0 AS DOUBLE PRECISION)) AS "coalesce_3", NULLIF("stars"."name", '') AS "nullif_4" FROM "survey"."stars" AS "stars"

SELECT CAST(mag AS INTEGER), CAST(mag AS VARCHAR), CAST(name AS CHAR(3)), CAST('2020-01-01T00:00:00Z' AS TIMESTAMP), CAST(name AS DOUBLE PRECISION), CAST('1 2 3' AS CIRCLE) FROM survey.stars
=>
SELECT CAST("stars"."mag" AS INT) AS "column_1", CAST("stars"."mag" AS TEXT) AS "column_2", CAST(CAST("stars"."name" AS VARCHAR(3)) AS TEXT) AS "column_3", CAST('2020-01-01T00:00:00Z' AS TIMESTAMP) AS "column_4", CAST("stars"."name" AS DOUBLE PRECISION) AS "column_5", CAST('{1.0,2.0,3.0}' AS DOUBLE PRECISION[]) AS "column_6" FROM "survey"."stars" AS "stars"

SELECT LOWER(name), UPPER(Title) FROM survey.stars
=>
SELECT LOWER("stars"."name") AS "lower_name", UPPER(CAST("stars"."title_1" AS TEXT)) AS "upper_Title" FROM "survey"."stars" AS "stars"
