-- Times, and angles written in sixties.

-- A text as a timestamp (DALI 1.1, "Timestamp"). PostgreSQL's own cast takes much more: 'now', 'yesterday', other zones ignored.
-- No EXCEPTION block: before PostgreSQL 17 none can run in a parallel query.
CREATE OR REPLACE FUNCTION sky.parse_timestamp(value text)
RETURNS timestamp without time zone
LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE STRICT
AS $$
DECLARE
    trimmed text := btrim(value);
    is_one boolean := trimmed ~ ('^(?!0000)[0-9]{4}-(0[1-9]|1[0-2])-(0[1-9]|[12][0-9]|3[01])'
        '([T ]([01][0-9]|2[0-3]):[0-5][0-9]:[0-5][0-9](\.[0-9]+)?)?Z?$');
BEGIN
    IF is_one AND substr(trimmed, 9, 2) > '28' THEN  -- has the month so many days?
        is_one := substr(trimmed, 9, 2)::integer
            <= extract(day FROM (substr(trimmed, 1, 8) || '01')::date + interval '1 month' - interval '1 day');
    END IF;
    IF NOT is_one THEN
        RAISE EXCEPTION USING ERRCODE = 'SKY01',
            MESSAGE = quote_literal(left(value, 60)) || CASE
                WHEN trimmed ~ '^[0-9]{4}-[0-9]{2}-[0-9]{2}([T ][0-9]{2}:[0-9]{2}:[0-9]{2}(\.[0-9]+)?)?Z?$'
                THEN ' is no timestamp: there is no such month, day or time'
                ELSE ' is no timestamp; write it as ''2024-03-01T12:30:00'''
            END;
    END IF;
    RETURN trimmed::timestamp without time zone;
END
$$;

-- Naive, as the catalogue of functions has it: days of 86400 seconds, no time scale. Computed in decimals, rounded once.
CREATE OR REPLACE FUNCTION sky.to_jd(d timestamp without time zone)
RETURNS double precision
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN (2440587.5 + extract(epoch FROM d) / 86400)::double precision;

CREATE OR REPLACE FUNCTION sky.to_mjd(d timestamp without time zone)
RETURNS double precision
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN (40587 + extract(epoch FROM d) / 86400)::double precision;

-- Sixtieths of sixtieths, of what has been split into three parts; NULL where there are more than sixty of them.
CREATE OR REPLACE FUNCTION sky.sexagesimal(parts text[])
RETURNS numeric
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN CASE
    WHEN parts[2]::integer < 60 AND parts[3]::numeric < 60
    THEN parts[1]::integer * 3600 + parts[2]::integer * 60 + parts[3]::numeric
END;

-- Three numbers with colons or blanks between them, with letters behind them, or of two digits each; the third may have decimals.
CREATE OR REPLACE FUNCTION sky.sixties(value text, unit text)
RETURNS text[]
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN coalesce(
    regexp_match(value, '^([0-9]{1,3}) *: *([0-9]{1,2}) *: *([0-9]{1,2}(?:\.[0-9]{0,30})?)$'),
    regexp_match(value, '^([0-9]{1,3}) *' || unit || ' *([0-9]{1,2}) *m *([0-9]{1,2}(?:\.[0-9]{0,30})?) *s$', 'i'),
    regexp_match(value, '^([0-9]{2})([0-9]{2})([0-9]{2}(?:\.[0-9]{0,30})?)$'),
    regexp_match(value, '^([0-9]{1,3}) +([0-9]{1,2}) +([0-9]{1,2}(?:\.[0-9]{0,30})?)$'));

-- NULL for what is no time of day from 0 h to 24 h.
CREATE OR REPLACE FUNCTION sky.hms_to_degrees(hms text)
RETURNS double precision
LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE STRICT
AS $$
DECLARE
    seconds numeric := sky.sexagesimal(sky.sixties(btrim(hms), 'h'));
BEGIN
    RETURN CASE WHEN seconds <= 86400 THEN seconds / 240 END;
END
$$;

-- NULL for what is no angle from -360 to 360 degrees. The sign belongs to the whole: -0d15m is south of 0.
CREATE OR REPLACE FUNCTION sky.dms_to_degrees(dms text)
RETURNS double precision
LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE STRICT
AS $$
DECLARE
    seconds numeric := sky.sexagesimal(sky.sixties(btrim(regexp_replace(btrim(dms), '^[+−-]', '')), 'd'));
BEGIN
    RETURN CASE WHEN seconds <= 1296000 THEN CASE WHEN btrim(dms) ~ '^[−-]' THEN -seconds ELSE seconds END / 3600 END;
END
$$;
