-- Shapes are arrays of doubles, ICRS degrees: point {ra, dec}, circle {ra, dec, radius}, polygon {ra1, dec1, ra2, dec2, ...}.
-- A shape with an unknown number is unknown as a whole, and so is what is none: with a declination beyond the poles, a radius beyond
-- 180 degrees or below 0, NaN, infinity. Right ascensions may be of any turn.
CREATE OR REPLACE FUNCTION sky.point(ra double precision, decl double precision)
RETURNS double precision[]
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN CASE WHEN abs(ra) < 'Infinity' AND decl BETWEEN -90 AND 90 THEN ARRAY[ra, decl] END;

CREATE OR REPLACE FUNCTION sky.circle(ra double precision, decl double precision, radius double precision)
RETURNS double precision[]
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN CASE
    WHEN abs(ra) < 'Infinity' AND decl BETWEEN -90 AND 90 AND radius BETWEEN 0 AND 180 THEN ARRAY[ra, decl, radius]
END;

-- Radius of a circle, degrees, where it is one.
CREATE OR REPLACE FUNCTION sky.radius(radius double precision)
RETURNS double precision
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN CASE WHEN radius BETWEEN 0 AND 180 THEN radius END;

CREATE OR REPLACE FUNCTION sky.polygon(numbers double precision[])
RETURNS double precision[]
LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE STRICT
AS $$
BEGIN
    FOR i IN 1..cardinality(numbers) / 2 LOOP
        IF (abs(numbers[2 * i - 1]) < 'Infinity' AND numbers[2 * i] BETWEEN -90 AND 90) IS NOT TRUE THEN
            RETURN NULL;
        END IF;
    END LOOP;
    RETURN numbers;
END
$$;

-- Numbers of a DALI shape: blank-separated.
CREATE OR REPLACE FUNCTION sky.parse_numbers(shape text)
RETURNS double precision[]
LANGUAGE sql IMMUTABLE PARALLEL SAFE STRICT
RETURN regexp_split_to_array(btrim(shape, E' \t\r\n'), '[ \t\r\n]+')::double precision[];

CREATE OR REPLACE FUNCTION sky.parse_point(shape text)
RETURNS double precision[]
LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE STRICT
AS $$
DECLARE
    numbers double precision[] := sky.parse_numbers(shape);
BEGIN
    IF cardinality(numbers) <> 2 THEN
        RAISE EXCEPTION USING ERRCODE = 'SKY01', MESSAGE = 'a point has two numbers, found ' || quote_literal(left(shape, 60));
    END IF;
    RETURN sky.point(numbers[1], numbers[2]);
END
$$;

CREATE OR REPLACE FUNCTION sky.parse_circle(shape text)
RETURNS double precision[]
LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE STRICT
AS $$
DECLARE
    numbers double precision[] := sky.parse_numbers(shape);
BEGIN
    IF cardinality(numbers) <> 3 THEN
        RAISE EXCEPTION USING ERRCODE = 'SKY01', MESSAGE = 'a circle has three numbers, found ' || quote_literal(left(shape, 60));
    END IF;
    RETURN sky.circle(numbers[1], numbers[2], numbers[3]);
END
$$;

CREATE OR REPLACE FUNCTION sky.parse_polygon(shape text)
RETURNS double precision[]
LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE STRICT
AS $$
DECLARE
    numbers double precision[] := sky.parse_numbers(shape);
BEGIN
    IF cardinality(numbers) < 6 OR cardinality(numbers) % 2 = 1 THEN
        RAISE EXCEPTION USING ERRCODE = 'SKY01', MESSAGE = 'a polygon has at least three pairs of numbers, found ' || quote_literal(left(shape, 60));
    END IF;
    RETURN sky.polygon(numbers);
END
$$;

-- Distance of a position from the plane of a great circle with this unit normal, as a sine. Inlined: one side of a convex
-- polygon that is known when the query is translated.
CREATE OR REPLACE FUNCTION sky.side(
    ra double precision, decl double precision, x double precision, y double precision, z double precision)
RETURNS double precision
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN CASE WHEN decl BETWEEN -90 AND 90 AND abs(ra) < 'Infinity' THEN
    cos(radians(decl)) * (x * cos(radians(ra)) + y * sin(radians(ra))) + z * sin(radians(decl)) END;

-- Solid angle of a circle, square degrees.
CREATE OR REPLACE FUNCTION sky.circle_area(radius double precision)
RETURNS double precision
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN CASE
    WHEN radius >= 180 THEN 4 * pi()
    WHEN radius <= 0 THEN 0
    ELSE 4 * pi() * sin(radians(radius / 2)) ^ 2
END * (180 / pi()) ^ 2;
