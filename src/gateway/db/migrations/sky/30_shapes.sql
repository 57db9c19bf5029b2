-- Shapes are arrays of doubles, ICRS degrees: point {ra, dec}, circle {ra, dec, radius}, polygon {ra1, dec1, ra2, dec2, ...}.
-- A shape with an unknown number is unknown as a whole.
CREATE OR REPLACE FUNCTION sky.point(ra double precision, decl double precision)
RETURNS double precision[]
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN CASE WHEN ra IS NOT NULL AND decl IS NOT NULL THEN ARRAY[ra, decl] END;

CREATE OR REPLACE FUNCTION sky.circle(ra double precision, decl double precision, radius double precision)
RETURNS double precision[]
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN CASE WHEN ra IS NOT NULL AND decl IS NOT NULL AND radius IS NOT NULL THEN ARRAY[ra, decl, radius] END;

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
        RAISE EXCEPTION USING ERRCODE = 'data_exception', MESSAGE = 'a point has two numbers, found ' || quote_literal(shape);
    END IF;
    RETURN numbers;
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
        RAISE EXCEPTION USING ERRCODE = 'data_exception', MESSAGE = 'a circle has three numbers, found ' || quote_literal(shape);
    END IF;
    RETURN numbers;
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
        RAISE EXCEPTION USING ERRCODE = 'data_exception', MESSAGE = 'a polygon has at least three pairs of numbers, found ' || quote_literal(shape);
    END IF;
    RETURN numbers;
END
$$;

-- Distance of a position from the plane of a great circle with this unit normal, as a sine. Inlined: one side of a convex
-- polygon that is known when the query is translated.
CREATE OR REPLACE FUNCTION sky.side(
    ra double precision, decl double precision, x double precision, y double precision, z double precision)
RETURNS double precision
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN cos(radians(decl)) * (x * cos(radians(ra)) + y * sin(radians(ra))) + z * sin(radians(decl));

-- Solid angle of a circle, square degrees.
CREATE OR REPLACE FUNCTION sky.circle_area(radius double precision)
RETURNS double precision
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN CASE
    WHEN radius >= 180 THEN 4 * pi()
    WHEN radius <= 0 THEN 0
    ELSE 4 * pi() * sin(radians(radius / 2)) ^ 2
END * (180 / pi()) ^ 2;
