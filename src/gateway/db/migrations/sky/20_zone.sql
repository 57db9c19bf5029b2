-- Declination zone: 120 zones per degree, 30 arcseconds high.
-- High enough that a join at one arcsecond rarely meets two zones, low enough that a zone of a dense catalogue stays thin.
-- What is far from any declination has no zone: NaN, infinity.
CREATE OR REPLACE FUNCTION sky.zone(decl double precision)
RETURNS integer
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN CASE WHEN abs(decl) <= 1000 THEN floor((decl + 90) * 120)::integer END;

-- All zones within a radius of a declination, degrees. The slack of 2e-9 degrees is for rounding; an exact test follows.
CREATE OR REPLACE FUNCTION sky.zones(decl double precision, radius double precision)
RETURNS integer[]
LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE STRICT
AS $$
DECLARE
    low integer;
    high integer;
BEGIN
    IF NOT abs(decl) <= 90 OR radius = 'NaN' OR radius < 0 THEN
        RETURN '{}';
    END IF;
    low := floor((greatest(decl - radius, -90) - 2e-9 + 90) * 120)::integer;
    high := floor((least(decl + radius, 90) + 2e-9 + 90) * 120)::integer;
    IF low = high THEN
        RETURN ARRAY[low];
    ELSIF high = low + 1 THEN
        RETURN ARRAY[low, high];
    END IF;
    RETURN ARRAY(SELECT generate_series(low, high));
END
$$;

-- Half the width in right ascension, degrees, of a circle; 360 where it reaches a pole.
CREATE OR REPLACE FUNCTION sky.reach(decl double precision, radius double precision)
RETURNS double precision
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN CASE
    WHEN abs(decl) + radius < 89.9999
    THEN degrees(asin(sin(radians(radius + 2e-9)) / cos(radians(decl)))) * (1 + 1e-12) + 1e-9
    ELSE 360
END;

-- How far to shift a circle's window in right ascension, degrees, to find what sticks out beyond 0 or 360; NULL: nothing does.
CREATE OR REPLACE FUNCTION sky.turn(ra double precision, decl double precision, radius double precision)
RETURNS double precision
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN CASE
    WHEN ra < sky.reach(decl, radius) THEN 360
    WHEN ra > 360 - sky.reach(decl, radius) THEN -360
END;

-- Whether a position can be within a radius of another: true for all that are, and for some more. For the index on
-- (sky.zone(dec), ra) of the first position. Right ascensions of the first are in [0, 360], of the second in [-360, 720].
-- The first arm is the window itself, the second what sticks out beyond 0 or 360; its zones are NULL, and cost nothing,
-- where nothing does. Inlined by the planner: keep it one expression, and not STRICT.
CREATE OR REPLACE FUNCTION sky.near(
    ra double precision, decl double precision, ra0 double precision, decl0 double precision, radius double precision)
RETURNS boolean
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN (
    sky.zone(decl) = ANY (sky.zones(decl0, radius))
    AND ra >= ra0 - sky.reach(decl0, radius)
    AND ra <= ra0 + sky.reach(decl0, radius)
) OR (
    sky.zone(decl) = ANY (CASE WHEN sky.turn(ra0, decl0, radius) IS NOT NULL THEN sky.zones(decl0, radius) END)
    AND ra >= ra0 - sky.reach(decl0, radius) + sky.turn(ra0, decl0, radius)
    AND ra <= ra0 + sky.reach(decl0, radius) + sky.turn(ra0, decl0, radius)
);

-- The same for radii below half the height of a zone (15 arcseconds), which meet at most two zones: no function is called,
-- and the planner knows how many zones there are.
CREATE OR REPLACE FUNCTION sky.near_narrow(
    ra double precision, decl double precision, ra0 double precision, decl0 double precision, radius double precision)
RETURNS boolean
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN (
    sky.zone(decl) = ANY (ARRAY[sky.zone(decl0 - radius - 2e-9), sky.zone(decl0 + radius + 2e-9)])
    AND ra >= ra0 - sky.reach(decl0, radius)
    AND ra <= ra0 + sky.reach(decl0, radius)
) OR (
    sky.zone(decl) = ANY (ARRAY[
        CASE WHEN sky.turn(ra0, decl0, radius) IS NOT NULL THEN sky.zone(decl0 - radius - 2e-9) END,
        CASE WHEN sky.turn(ra0, decl0, radius) IS NOT NULL THEN sky.zone(decl0 + radius + 2e-9) END])
    AND ra >= ra0 - sky.reach(decl0, radius) + sky.turn(ra0, decl0, radius)
    AND ra <= ra0 + sky.reach(decl0, radius) + sky.turn(ra0, decl0, radius)
);
