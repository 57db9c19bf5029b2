-- Functions of ADQL 2.1, "Mathematical functions", that PostgreSQL lacks for doubles.

-- Remainder with the sign of x.
CREATE OR REPLACE FUNCTION sky.mod(x double precision, y double precision)
RETURNS double precision
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN x - y * trunc(x / y);

-- Halves are rounded away from zero, as people expect, and not to even. A double of 1e15 or more has no decimals to round, and
-- numeric would drop its last digits.
CREATE OR REPLACE FUNCTION sky.round(x double precision)
RETURNS double precision
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN CASE WHEN abs(x) < 1e15 THEN round(x::numeric)::double precision ELSE x END;

CREATE OR REPLACE FUNCTION sky.round(x double precision, digits integer)
RETURNS double precision
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN CASE WHEN abs(x) < 1e15 OR digits < 0 THEN round(x::numeric, digits)::double precision ELSE x END;

CREATE OR REPLACE FUNCTION sky.truncate(x double precision)
RETURNS double precision
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN trunc(x);

CREATE OR REPLACE FUNCTION sky.truncate(x double precision, digits integer)
RETURNS double precision
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN CASE WHEN abs(x) < 1e15 OR digits < 0 THEN trunc(x::numeric, digits)::double precision ELSE x END;
