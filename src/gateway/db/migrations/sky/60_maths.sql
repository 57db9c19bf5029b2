-- Functions of ADQL 2.1, "Mathematical functions", that PostgreSQL lacks for doubles or has with another meaning.

-- Ends the query with words for its author. Not folded away while planning, as the value is part of the call.
CREATE OR REPLACE FUNCTION sky.refuse(reason text, value double precision)
RETURNS double precision
LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE
AS $$
BEGIN
    RAISE EXCEPTION USING ERRCODE = 'SKY01', MESSAGE = reason || ', found ' || value;
END
$$;

CREATE OR REPLACE FUNCTION sky.acos(x double precision)
RETURNS double precision
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN CASE WHEN abs(x) > 1 AND x <> 'NaN' THEN sky.refuse('ACOS takes a number from -1 to 1', x) ELSE acos(x) END;

CREATE OR REPLACE FUNCTION sky.asin(x double precision)
RETURNS double precision
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN CASE WHEN abs(x) > 1 AND x <> 'NaN' THEN sky.refuse('ASIN takes a number from -1 to 1', x) ELSE asin(x) END;

CREATE OR REPLACE FUNCTION sky.power(x double precision, y double precision)
RETURNS double precision
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN CASE WHEN x = 0 AND y < 0 THEN sky.refuse('POWER of 0 has no negative exponent', y) ELSE power(x, y) END;

-- Remainder with the sign of x, exact for all doubles. From |x| powers of two times |y| are taken away, the greatest first: each
-- difference is exact, which x - y * trunc(x / y) is not.
CREATE OR REPLACE FUNCTION sky.remainder(x double precision, y double precision)
RETURNS double precision
LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE STRICT
AS $$
DECLARE
    rest double precision := abs(x);
    size double precision := abs(y);
    part double precision;
BEGIN
    IF x = 'NaN' OR y = 'NaN' OR rest = 'Infinity' THEN
        RETURN 'NaN';
    ELSIF size = 'Infinity' THEN
        RETURN x;
    ELSIF size = 0 THEN
        RETURN sky.refuse('MOD by zero; x is', x);
    END IF;
    part := size;
    WHILE part <= rest / 2 LOOP
        part := part * 2;
    END LOOP;
    LOOP
        IF rest >= part THEN
            rest := rest - part;
        END IF;
        EXIT WHEN part <= size OR rest < size;
        part := part / 2;
    END LOOP;
    RETURN CASE WHEN x < 0 AND rest > 0 THEN -rest ELSE rest END;
END
$$;

-- Whole numbers below 2^53 divide without a harmful error, and are what is asked for most.
CREATE OR REPLACE FUNCTION sky.mod(x double precision, y double precision)
RETURNS double precision
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN CASE
    WHEN abs(x) < 9007199254740992 AND abs(y) < 9007199254740992 AND x = trunc(x) AND y = trunc(y) AND y <> 0
    THEN x - y * trunc(x / y)
    ELSE sky.remainder(x, y)
END;

CREATE OR REPLACE FUNCTION sky.mod(x bigint, y bigint)
RETURNS double precision
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN (x % y)::double precision;

-- Halves are rounded away from zero, as people expect, and not to even. The last addition makes -0 a 0.
CREATE OR REPLACE FUNCTION sky.round(x double precision)
RETURNS double precision
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN CASE WHEN abs(x) < 4503599627370496 THEN trunc(x) + CASE WHEN abs(x - trunc(x)) >= 0.5 THEN sign(x) ELSE 0 END ELSE x END;

-- The shortest digits that give a double back are what its reader takes it for: 2.675 is rounded to 2.68. (A cast of a double to
-- numeric keeps 15 digits only.)
CREATE OR REPLACE FUNCTION sky.round(x double precision, digits integer)
RETURNS double precision
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN round(x::text::numeric, digits)::double precision;

CREATE OR REPLACE FUNCTION sky.truncate(x double precision)
RETURNS double precision
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN trunc(x) + 0;

CREATE OR REPLACE FUNCTION sky.truncate(x double precision, digits integer)
RETURNS double precision
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN trunc(x::text::numeric, digits)::double precision;

-- A number in [0, 1) that belongs to a seed: the same for the same seed, in every row and every query.
CREATE OR REPLACE FUNCTION sky.rand(seed bigint)
RETURNS double precision
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN (hashint8extended(seed, 0) & 9007199254740991) / 9007199254740992::double precision;

-- The next number in [0, 1) of the sequence of a seed; every transaction begins it anew. Its place is kept in a setting, which no
-- parallel plan may change; by SET and not by set_config(), which the query role cannot call.
CREATE OR REPLACE FUNCTION sky.rand_sequence(seed bigint)
RETURNS double precision
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE STRICT
AS $$
DECLARE
    setting text := 'gw_rand.s' || replace(seed::text, '-', '_');
    place bigint := coalesce(nullif(current_setting(setting, true), ''), '0')::bigint;
BEGIN
    EXECUTE 'SET LOCAL ' || setting || ' = ' || quote_literal(place + 1);
    RETURN (hashint8extended(place, seed) & 9007199254740991) / 9007199254740992::double precision;
END
$$;

-- By Box and Muller. The argument of the logarithm is never 0.
CREATE OR REPLACE FUNCTION sky.normal_random(mu double precision, sigma double precision)
RETURNS double precision
LANGUAGE sql VOLATILE PARALLEL RESTRICTED
RETURN mu + CASE WHEN sigma < 0 THEN sky.refuse('the sigma of ivo_normal_random cannot be negative', sigma) ELSE sigma END
    * sqrt(-2 * ln(1 - random())) * cos(2 * pi() * random());
