-- What one value of a result may be: it passes through the memory of the gateway as a whole.

CREATE OR REPLACE FUNCTION sky.bounded(value text)
RETURNS text
LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE STRICT
AS $$
BEGIN
    IF octet_length(value) > 10000000 THEN
        RAISE EXCEPTION USING ERRCODE = 'SKY01', MESSAGE = 'ivo_string_agg would make a text of more than 10 MB; aggregate fewer rows, or shorter texts';
    END IF;
    RETURN value;
END
$$;
