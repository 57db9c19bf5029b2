-- Aggregate of the IVOA's catalogue of user-defined functions.

-- One more value for a histogram: bin 1 has what is below, the last what is above; NULL and NaN count as below.
CREATE OR REPLACE FUNCTION sky.histogram_add(
    bins integer[], val double precision, lower_ double precision, upper_ double precision, nbins integer)
RETURNS integer[]
LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE
AS $$
DECLARE
    place integer := 1;
BEGIN
    IF bins IS NULL THEN
        IF nbins IS NULL OR lower_ IS NULL OR upper_ IS NULL OR nbins NOT BETWEEN 1 AND 100000
            OR NOT lower_ < upper_ OR lower_ = '-Infinity' OR upper_ >= 'Infinity' THEN
            RAISE EXCEPTION USING ERRCODE = 'SKY01',
                MESSAGE = 'ivo_histogram needs 1 to 100000 bins and a lower limit below the upper one, found '
                    || coalesce(nbins::text, 'NULL') || ' bins from ' || coalesce(lower_::text, 'NULL')
                    || ' to ' || coalesce(upper_::text, 'NULL');
        END IF;
        bins := array_fill(0, ARRAY[nbins + 2]);
    ELSIF nbins IS DISTINCT FROM cardinality(bins) - 2 THEN
        RAISE EXCEPTION USING ERRCODE = 'SKY01',
            MESSAGE = 'ivo_histogram needs the same number of bins in every row';
    END IF;
    IF val = upper_ THEN  -- only what is larger is above
        place := nbins + 1;
    ELSIF val <> 'NaN' THEN
        place := width_bucket(val, lower_, upper_, nbins) + 1;
    END IF;
    bins[place] := bins[place] + 1;
    RETURN bins;
END
$$;

CREATE OR REPLACE FUNCTION sky.histogram_join(one integer[], other integer[])
RETURNS integer[]
LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE
AS $$
BEGIN
    IF one IS NULL OR other IS NULL THEN
        RETURN coalesce(one, other);
    END IF;
    RETURN ARRAY(SELECT a + b FROM unnest(one, other) WITH ORDINALITY AS pair(a, b, place) ORDER BY place);
END
$$;

CREATE OR REPLACE AGGREGATE sky.histogram(
    val double precision, lower_ double precision, upper_ double precision, nbins integer
) (
    SFUNC = sky.histogram_add,
    STYPE = integer[],
    COMBINEFUNC = sky.histogram_join,
    PARALLEL = SAFE
);
