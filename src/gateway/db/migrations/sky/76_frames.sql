-- A point, circle or polygon turned by a rotation, of which the matrix is given row by row.
CREATE OR REPLACE FUNCTION sky.rotate(shape double precision[], m double precision[])
RETURNS double precision[]
LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE STRICT
AS $$
DECLARE
    result double precision[] := shape;
    x double precision; y double precision; z double precision;
    u double precision; v double precision; w double precision;
    lon double precision;
BEGIN
    -- the third number of a circle is its radius
    FOR i IN 1..CASE WHEN cardinality(shape) = 3 THEN 1 ELSE cardinality(shape) / 2 END LOOP
        x := cos(radians(shape[2 * i])) * cos(radians(shape[2 * i - 1]));
        y := cos(radians(shape[2 * i])) * sin(radians(shape[2 * i - 1]));
        z := sin(radians(shape[2 * i]));
        u := m[1] * x + m[2] * y + m[3] * z;
        v := m[4] * x + m[5] * y + m[6] * z;
        w := m[7] * x + m[8] * y + m[9] * z;
        lon := degrees(atan2(v, u));
        result[2 * i - 1] := CASE WHEN lon < 0 AND lon + 360 < 360 THEN lon + 360 WHEN lon < 0 THEN 0 ELSE lon END;
        result[2 * i] := degrees(atan2(w, sqrt(u * u + v * v)));
    END LOOP;
    RETURN result;
END
$$;
