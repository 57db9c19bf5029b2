SELECT a.id, b.z FROM survey.stars a JOIN other.stars b ON a.id = b.id
=>
SELECT "a"."id" AS "id", "b"."z" AS "z" FROM "survey"."stars" AS "a" JOIN "other"."stars_v2" AS "b" ON "a"."id" = "b"."id"

SELECT id, z FROM survey.stars FULL JOIN other.stars USING (id)
=>
SELECT COALESCE("stars"."id", "stars_2"."id") AS "id", "stars_2"."z" AS "z" FROM "survey"."stars" AS "stars" FULL JOIN "other"."stars_v2" AS "stars_2" ON "stars"."id" = "stars_2"."id"

SELECT * FROM other.stars NATURAL JOIN TAP_UPLOAD.mine
=>
SELECT "stars"."ra" AS "ra", "stars"."dec" AS "dec", "stars"."id" AS "id", "stars"."z" AS "z", "mine"."n" AS "n" FROM "other"."stars_v2" AS "stars" JOIN "pg_temp"."mine" AS "mine" ON "stars"."ra" = "mine"."ra" AND "stars"."dec" = "mine"."dec"

SELECT s.id FROM (survey.stars AS s LEFT JOIN galaxies AS g ON s.id = g.gid) JOIN regions AS r ON r.id = s.id, tap_upload.mine
=>
SELECT "s"."id" AS "id" FROM ("survey"."stars" AS "s" LEFT JOIN "other"."galaxies" AS "g" ON "s"."id" = "g"."gid") JOIN "survey"."regions" AS "r" ON "r"."id" = "s"."id", "pg_temp"."mine" AS "mine"

SELECT s.id FROM survey.stars AS s CROSS JOIN galaxies
=>
SELECT "s"."id" AS "id" FROM "survey"."stars" AS "s" CROSS JOIN "other"."galaxies" AS "galaxies"
