-- HEALPix in NESTED numbering (Gorski et al. 2005; the bits of a cell's x and y in its base cell, interleaved).

-- Refuse an order that 64-bit indices do not have.
CREATE OR REPLACE FUNCTION sky.check_order(hpx_order integer)
RETURNS void
LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE STRICT
AS $$
BEGIN
    IF hpx_order NOT BETWEEN 0 AND 29 THEN
        RAISE EXCEPTION USING ERRCODE = 'SKY01',
            MESSAGE = 'a HEALPix order is a whole number from 0 to 29, found ' || hpx_order;
    END IF;
END
$$;

-- Cell that contains a position, degrees; NULL for NaN, which many catalogues have where nothing is known.
CREATE OR REPLACE FUNCTION sky.healpix_index(hpx_order integer, ra double precision, decl double precision)
RETURNS bigint
LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE STRICT
AS $$
DECLARE
    nside bigint;
    z double precision;
    turn double precision;  -- right ascension in quarters of a circle, [0, 4)
    face bigint;
    x bigint;
    y bigint;
    north bigint;
    south bigint;
    scaled double precision;
BEGIN
    IF ra = 'NaN' OR decl = 'NaN' THEN
        RETURN NULL;
    ELSIF abs(decl) > 90 OR abs(ra) = 'Infinity' OR hpx_order NOT BETWEEN 0 AND 29 THEN
        PERFORM sky.check_order(hpx_order);
        RAISE EXCEPTION USING ERRCODE = 'SKY01',
            MESSAGE = 'ivo_healpix_index: no position on the sky: longitude ' || ra || ', latitude ' || decl;
    END IF;
    nside := 1::bigint << hpx_order;
    z := sin(radians(decl));
    turn := (ra - 360 * floor(ra / 360)) / 90;
    IF turn >= 4 THEN  -- just below 0 is rounded to a full circle
        turn := 0;
    END IF;
    IF abs(z) <= 2 / 3::double precision THEN
        scaled := 0.75 * z;
        north := floor(nside * (0.5 + turn - scaled))::bigint;  -- number of the line that ascends to the north
        south := floor(nside * (0.5 + turn + scaled))::bigint;
        face := north >> hpx_order;
        x := south >> hpx_order;
        face := CASE WHEN face = x THEN (face & 3) + 4 WHEN face < x THEN face ELSE x + 8 END;
        x := south & (nside - 1);
        y := nside - 1 - (north & (nside - 1));
    ELSE
        face := floor(turn)::bigint;
        turn := turn - face;
        -- sqrt(3 (1 - |z|)), without losing digits at the pole
        scaled := nside * sin(radians(90 - abs(decl))) * sqrt(3 / (1 + abs(z)));
        north := least(floor(turn * scaled)::bigint, nside - 1);
        south := least(floor((1 - turn) * scaled)::bigint, nside - 1);
        IF z > 0 THEN
            x := nside - 1 - south;
            y := nside - 1 - north;
        ELSE
            face := face + 8;
            x := north;
            y := south;
        END IF;
    END IF;
    x := (x | (x << 16)) & 281470681808895;
    x := (x | (x << 8)) & 71777214294589695;
    x := (x | (x << 4)) & 1085102592571150095;
    x := (x | (x << 2)) & 3689348814741910323;
    x := (x | (x << 1)) & 6148914691236517205;
    y := (y | (y << 16)) & 281470681808895;
    y := (y | (y << 8)) & 71777214294589695;
    y := (y | (y << 4)) & 1085102592571150095;
    y := (y | (y << 2)) & 3689348814741910323;
    y := (y | (y << 1)) & 6148914691236517205;
    RETURN (face << (2 * hpx_order)) | x | (y << 1);
END
$$;

CREATE OR REPLACE FUNCTION sky.healpix_index(hpx_order integer, point double precision[])
RETURNS bigint
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN sky.healpix_index(hpx_order, point[1], point[2]);

-- Every second bit of a number, pushed together.
CREATE OR REPLACE FUNCTION sky.even_bits(v bigint)
RETURNS bigint
LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE STRICT
AS $$
DECLARE
    x bigint := v & 6148914691236517205;
BEGIN
    x := (x | (x >> 1)) & 3689348814741910323;
    x := (x | (x >> 2)) & 1085102592571150095;
    x := (x | (x >> 4)) & 71777214294589695;
    x := (x | (x >> 8)) & 281470681808895;
    RETURN (x | (x >> 16)) & 4294967295;
END
$$;

-- Centre of a cell, degrees.
CREATE OR REPLACE FUNCTION sky.healpix_center(hpx_order integer, npix bigint)
RETURNS double precision[]
LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE STRICT
AS $$
DECLARE
    nside bigint;
    face integer;
    x bigint;
    y bigint;
    ring bigint;  -- 1 is the northernmost
    quarter bigint;  -- cells of this ring in a quarter of a circle
    column_ bigint;  -- right ascension in halves of a cell
    rest double precision;
    z double precision;
    cosine double precision;
BEGIN
    PERFORM sky.check_order(hpx_order);
    IF npix < 0 OR npix >= 12::bigint << (2 * hpx_order) THEN
        RAISE EXCEPTION USING ERRCODE = 'SKY01',
            MESSAGE = 'ivo_healpix_center: order ' || hpx_order || ' has indices from 0 to '
                || (12::bigint << (2 * hpx_order)) - 1 || ', found ' || npix;
    END IF;
    nside := 1::bigint << hpx_order;
    face := npix >> (2 * hpx_order);
    x := sky.even_bits(npix & ((1::bigint << (2 * hpx_order)) - 1));
    y := sky.even_bits((npix & ((1::bigint << (2 * hpx_order)) - 1)) >> 1);
    ring := (face / 4 + 2) * nside - x - y - 1;
    IF ring < nside OR ring > 3 * nside THEN
        quarter := least(ring, 4 * nside - ring);
        rest := (quarter::double precision / nside) ^ 2 / 3;
        z := CASE WHEN ring < nside THEN 1 - rest ELSE rest - 1 END;
        cosine := sqrt(rest * (2 - rest));
    ELSE
        quarter := nside;
        z := (2 * nside - ring) * 2 / (3 * nside::double precision);
        cosine := sqrt((1 - z) * (1 + z));
    END IF;
    column_ := (2 * (face % 4) + CASE WHEN face BETWEEN 4 AND 7 THEN 0 ELSE 1 END) * quarter + x - y;
    IF column_ < 0 THEN
        column_ := column_ + 8 * quarter;
    END IF;
    RETURN ARRAY[45 * column_::double precision / quarter, degrees(atan2(z, cosine))];
END
$$;
