SELECT id FROM survey.stars WHERE 1 = CONTAINS(POINT('ICRS', ra, dec), CIRCLE('ICRS', 10.5, -20, 0.1))
=>
SELECT "stars"."id" AS "id" FROM "survey"."stars" AS "stars" WHERE (("stars"."gw_hpx29" BETWEEN 10 AND 19 OR "stars"."gw_hpx29" BETWEEN 30 AND 39) AND "sky".distance("stars"."ra", "stars"."dec", CAST(10.5 AS DOUBLE PRECISION), CAST(-20 AS DOUBLE PRECISION)) <= CAST(0.1 AS DOUBLE PRECISION))

SELECT id FROM survey.stars WHERE DISTANCE(POINT(10, 20), POINT(ra, dec)) < 0.5 AND CONTAINS(POINT(ra, dec), POLYGON(10, 10, 12, 10, 11, 12)) = 1
=>
SELECT "stars"."id" AS "id" FROM "survey"."stars" AS "stars" WHERE (("stars"."gw_hpx29" BETWEEN 10 AND 19 OR "stars"."gw_hpx29" BETWEEN 30 AND 39) AND "sky".distance(CAST(10 AS DOUBLE PRECISION), CAST(20 AS DOUBLE PRECISION), "stars"."ra", "stars"."dec") < CAST(0.5 AS DOUBLE PRECISION)) AND (("stars"."gw_hpx29" BETWEEN 10 AND 19 OR "stars"."gw_hpx29" BETWEEN 30 AND 39) AND "sky".side("stars"."ra", "stars"."dec", -0.17048295392381133, -0.03313852928642186, 0.9848032292281259) >= -2e-15 AND "sky".side("stars"."ra", "stars"."dec", 0.2613809204688996, -0.8629338637660342, -0.4324640576749175) >= -2e-15 AND "sky".side("stars"."ra", "stars"."dec", -0.0809125456980555, 0.8980133622435724, -0.4324640576749175) >= -2e-15)

SELECT id FROM survey.stars WHERE 0 = CONTAINS(POINT(ra, dec), CIRCLE(10, 20, 1)) OR 1 = CONTAINS(POINT(ra, dec), POLYGON(0, 0, 10, 0, 10, 10, 5, 2, 0, 10))
=>
SELECT "stars"."id" AS "id" FROM "survey"."stars" AS "stars" WHERE NOT ("sky".distance("stars"."ra", "stars"."dec", CAST(10 AS DOUBLE PRECISION), CAST(20 AS DOUBLE PRECISION)) <= CAST(1 AS DOUBLE PRECISION)) OR (("stars"."gw_hpx29" BETWEEN 10 AND 19 OR "stars"."gw_hpx29" BETWEEN 30 AND 39) AND "sky".in_polygon("stars"."ra", "stars"."dec", CAST('{0.0,0.0,10.0,0.0,10.0,10.0,5.0,2.0,0.0,10.0}' AS DOUBLE PRECISION[])))

SELECT CONTAINS(POINT(ra, dec), CIRCLE(10, 20, 1)), DISTANCE(ra, dec, 10, 20) AS d FROM survey.stars ORDER BY d
=>
SELECT CAST(("sky".distance("stars"."ra", "stars"."dec", CAST(10 AS DOUBLE PRECISION), CAST(20 AS DOUBLE PRECISION)) <= CAST(1 AS DOUBLE PRECISION)) AS INT) AS "contains_1", "sky".distance("stars"."ra", "stars"."dec", CAST(10 AS DOUBLE PRECISION), CAST(20 AS DOUBLE PRECISION)) AS "d" FROM "survey"."stars" AS "stars" ORDER BY 2 ASC

SELECT a.id FROM survey.stars AS a JOIN other.stars AS b ON 1 = CONTAINS(POINT(a.ra, a.dec), CIRCLE(b.ra, b.dec, 1./3600))
=>
SELECT "a"."id" AS "id" FROM "survey"."stars" AS "a" JOIN "other"."stars_v2" AS "b" ON ("sky".near_narrow("b"."ra", "b"."dec", "a"."ra", "a"."dec", CAST(1. AS DOUBLE PRECISION) / 3600) AND "sky".distance("a"."ra", "a"."dec", "b"."ra", "b"."dec") <= CAST(1. AS DOUBLE PRECISION) / 3600)

SELECT a.id FROM survey.stars AS a LEFT JOIN other.stars AS b ON DISTANCE(a.ra, a.dec, b.ra, b.dec) <= 0.1
=>
SELECT "a"."id" AS "id" FROM "survey"."stars" AS "a" LEFT JOIN "other"."stars_v2" AS "b" ON ("sky".near("b"."ra", "b"."dec", "a"."ra", "a"."dec", CAST(0.1 AS DOUBLE PRECISION)) AND "sky".distance("a"."ra", "a"."dec", "b"."ra", "b"."dec") <= CAST(0.1 AS DOUBLE PRECISION))

SELECT a.id FROM other.stars AS a JOIN survey.stars AS b ON DISTANCE(a.ra, a.dec, b.ra, b.dec) <= b.mag WHERE a.id = 3
=>
SELECT "a"."id" AS "id" FROM "other"."stars_v2" AS "a" JOIN "survey"."stars" AS "b" ON ("sky".near("a"."ra", "a"."dec", "b"."ra", "b"."dec", CAST("b"."mag" AS DOUBLE PRECISION)) AND "sky".distance("a"."ra", "a"."dec", "b"."ra", "b"."dec") <= CAST("b"."mag" AS DOUBLE PRECISION)) WHERE "a"."id" = 3

SELECT n FROM TAP_UPLOAD.mine AS m JOIN survey.stars AS s ON DISTANCE(POINT(m.ra, m.dec), POINT(s.ra, s.dec)) < 0.001
=>
SELECT "m"."n" AS "n" FROM "pg_temp"."mine" AS "m" JOIN "survey"."stars" AS "s" ON ("sky".near_narrow("s"."ra", "s"."dec", "m"."ra", "m"."dec", CAST(0.001 AS DOUBLE PRECISION)) AND "sky".distance("m"."ra", "m"."dec", "s"."ra", "s"."dec") < CAST(0.001 AS DOUBLE PRECISION))

SELECT id FROM regions WHERE 1 = CONTAINS(POINT(10, 20), s_region) AND 1 = INTERSECTS(c, CIRCLE(1, 2, 3)) AND 1 = CONTAINS(p, CIRCLE(1, 2, 3))
=>
SELECT "regions"."id" AS "id" FROM "survey"."regions" AS "regions" WHERE ("sky".in_polygon(CAST(10 AS DOUBLE PRECISION), CAST(20 AS DOUBLE PRECISION), "regions"."s_region")) AND "sky".circles_meet("regions"."c", "sky".circle(CAST(1 AS DOUBLE PRECISION), CAST(2 AS DOUBLE PRECISION), CAST(3 AS DOUBLE PRECISION))) AND "sky".distance("regions"."p"[1], "regions"."p"[2], CAST(1 AS DOUBLE PRECISION), CAST(2 AS DOUBLE PRECISION)) <= CAST(3 AS DOUBLE PRECISION)

SELECT AREA(s_region), CENTROID(c), COORD1(p), COORD2(POINT(1, 2)), BOX(10, 20, 1, 2), POLYGON(p, POINT(1, 2), POINT(3, 4)) FROM regions
=>
SELECT "sky".polygon_area("regions"."s_region") AS "area_s_region", "sky".point("regions"."c"[1], "regions"."c"[2]) AS "centroid_c", "regions"."p"[1] AS "coord1_p", CAST(2 AS DOUBLE PRECISION) AS "coord2_4", CAST('{9.471271786473437,18.999249028934965,10.528728213526563,18.999249028934965,10.535488928329714,20.999162801314398,9.464511071670286,20.999162801314398}' AS DOUBLE PRECISION[]) AS "box_5", "sky".polygon(ARRAY["regions"."p"[1], "regions"."p"[2], CAST(1 AS DOUBLE PRECISION), CAST(2 AS DOUBLE PRECISION), CAST(3 AS DOUBLE PRECISION), CAST(4 AS DOUBLE PRECISION)]) AS "polygon_6" FROM "survey"."regions" AS "regions"
