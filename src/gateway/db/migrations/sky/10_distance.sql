-- Great-circle distance, degrees, between two positions in degrees.
-- Haversine of the arc and of its rest to 180 degrees, so that tiny and nearly antipodal distances keep all their digits.
-- Not STRICT, so that the planner can inline it; NULLs stay NULL by themselves. NULL too where there is no position: a declination
-- beyond the poles, NaN, infinity. Right ascensions may be of any turn.
CREATE OR REPLACE FUNCTION sky.distance(ra1 double precision, decl1 double precision, ra2 double precision, decl2 double precision)
RETURNS double precision
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN CASE WHEN decl1 BETWEEN -90 AND 90 AND decl2 BETWEEN -90 AND 90 AND abs(ra1 - ra2) < 'Infinity' THEN degrees(2 * atan2(
    sqrt(sin(radians((decl1 - decl2) / 2)) ^ 2 + cos(radians(decl1)) * cos(radians(decl2)) * sin(radians((ra1 - ra2) / 2)) ^ 2),
    sqrt(sin(radians((decl1 + decl2) / 2)) ^ 2 + cos(radians(decl1)) * cos(radians(decl2)) * cos(radians((ra1 - ra2) / 2)) ^ 2))) END;
