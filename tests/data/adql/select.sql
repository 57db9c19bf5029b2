SELECT * FROM other.stars
=>
SELECT "stars"."id" AS "id", "stars"."ra" AS "ra", "stars"."dec" AS "dec", "stars"."z" AS "z" FROM "other"."stars_v2" AS "stars"

SELECT TOP 10 s.id, s.ra AS alpha, "2MASS", "odd ""name", Title FROM survey.stars AS s WHERE s."size" > 3 ORDER BY alpha DESC OFFSET 5
=>
SELECT "s"."id" AS "id", "s"."ra" AS "alpha", "s"."c_2mass" AS "2MASS", "s"."odd ""x" AS "odd ""name", CAST("s"."title_1" AS TEXT) AS "Title" FROM "survey"."stars" AS "s" WHERE "s"."size_" > 3 ORDER BY 2 DESC LIMIT 10 OFFSET 5

SELECT DISTINCT name FROM galaxies ORDER BY name
=>
SELECT DISTINCT "galaxies"."name" AS "name" FROM "other"."galaxies" AS "galaxies" ORDER BY 1 ASC

SELECT id FROM survey.stars WHERE NOT (mag < 3 OR mag > 5.5) AND name LIKE 'a\%' AND title NOT ILIKE '%x_'
=>
SELECT "stars"."id" AS "id" FROM "survey"."stars" AS "stars" WHERE NOT ("stars"."mag" < 3 OR "stars"."mag" > 5.5) AND "stars"."name" LIKE 'a\%' ESCAPE '' AND NOT "stars"."title_1" ILIKE '%x_'

SELECT id FROM survey.stars WHERE mag IS NOT NULL AND id NOT IN (1, 2) AND mag BETWEEN 1 AND 2.5
=>
SELECT "stars"."id" AS "id" FROM "survey"."stars" AS "stars" WHERE NOT "stars"."mag" IS NULL AND NOT "stars"."id" IN (1, 2) AND "stars"."mag" BETWEEN 1 AND 2.5

SELECT 'it''s; -- a "trap" \ $$' || name FROM galaxies
=>
SELECT 'it''s; -- a "trap" \ $$' || "galaxies"."name" AS "column_1" FROM "other"."galaxies" AS "galaxies"

SELECT changed, price, title, n_obs FROM survey.stars
=>
SELECT ("stars"."changed") AT TIME ZONE 'UTC' AS "changed", CAST("stars"."price" AS DOUBLE PRECISION) AS "price", CAST("stars"."title_1" AS TEXT) AS "title", "stars"."n_obs" AS "n_obs" FROM "survey"."stars" AS "stars"

SELECT is_star FROM survey.stars WHERE is_star AND is_star = 1 AND seen > '2020-01-01'
=>
SELECT "stars"."is_star" AS "is_star" FROM "survey"."stars" AS "stars" WHERE "stars"."is_star" AND "stars"."is_star" = TRUE AND "stars"."seen" > CAST('2020-01-01' AS TIMESTAMP)
