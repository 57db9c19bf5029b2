-- Shapes against coverage maps. A map is a set of ranges of order-29 HEALPix indices (NESTED), and each of its cells is taken as
-- it is: two kinds of curves bound it, none of them great circles but for some meridians.

-- Position, degrees, in a base cell of HEALPix: x and y from 0 at its southern corner to 1. As `healpix_center`, of any position.
CREATE OR REPLACE FUNCTION sky.face_position(face integer, x double precision, y double precision)
RETURNS double precision[]
LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE STRICT
AS $$
DECLARE
    ring double precision := face / 4 + 2 - x - y;  -- 0 at the northern pole, 4 at the southern
    width double precision := least(ring, 1, 4 - ring);  -- of this ring in a quarter of a circle
    rest double precision;
    z double precision;
    cosine double precision;
BEGIN
    IF width < 1 THEN
        rest := width * width / 3;
        z := CASE WHEN ring < 1 THEN 1 - rest ELSE rest - 1 END;
        cosine := sqrt(rest * (2 - rest));
    ELSE
        z := (2 - ring) * 2 / 3;
        cosine := sqrt((1 - z) * (1 + z));
    END IF;
    rest := 2 * (face % 4) + CASE WHEN face BETWEEN 4 AND 7 THEN 0 ELSE 1 END
        + CASE WHEN width > 0 THEN (x - y) / width ELSE 0 END;
    RETURN ARRAY[45 * CASE WHEN rest < 0 THEN rest + 8 ELSE rest END, degrees(atan2(z, cosine))];
END
$$;

-- Whether a position is in a circle or polygon, or (`is_outside`) outside it; on its rim only where rims count.
CREATE OR REPLACE FUNCTION sky.side_has(
    shape double precision[], is_outside boolean, rims_count boolean, ra double precision, decl double precision)
RETURNS boolean
LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE STRICT
AS $$
BEGIN
    IF cardinality(shape) = 3 THEN
        RETURN sky.distance(shape[1], shape[2], ra, decl) <= shape[3] - CASE WHEN rims_count THEN 0 ELSE 1e-11 END;
    END IF;
    RETURN sky.in_polygon(ra, decl, shape) <> is_outside AND (rims_count OR sky.rim_distance(ra, decl, shape) > 1e-11);
END
$$;

-- Degrees from a position, or from the arc between two, to a shape whose side that is asked for has neither end; of a circle less
-- than 0 where it goes in. A polygon that an arc crosses is at 0.
CREATE OR REPLACE FUNCTION sky.side_gap(shape double precision[], arc double precision[])
RETURNS double precision
LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE STRICT
AS $$
DECLARE
    gap double precision;
BEGIN
    IF cardinality(shape) = 3 THEN
        RETURN sky.rim_distance(shape[1], shape[2], arc) - shape[3];
    ELSIF cardinality(arc) = 2 THEN
        RETURN sky.rim_distance(arc[1], arc[2], shape);
    ELSIF sky.rims_cross(arc, shape) THEN
        RETURN 0;
    END IF;
    gap := least(sky.rim_distance(arc[1], arc[2], shape), sky.rim_distance(arc[3], arc[4], shape));
    FOR i IN 1..cardinality(shape) / 2 LOOP
        gap := least(gap, sky.rim_distance(shape[2 * i - 1], shape[2 * i], arc));
    END LOOP;
    RETURN gap;
END
$$;

-- Whether a side of a cell, with neither end in the side of the shape that is asked for, goes through it. A side is as good as the
-- arc between its ends where it leaves that by less than the gap; else each half is looked at. With each halving a side comes
-- four times nearer to its arc, so that even what only touches is soon decided, at 1e-11 degrees.
CREATE OR REPLACE FUNCTION sky.edge_enters(
    shape double precision[], is_outside boolean, rims_count boolean,
    face integer, x1 double precision, y1 double precision, x2 double precision, y2 double precision)
RETURNS boolean
LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE STRICT
AS $$
DECLARE
    one double precision[] := sky.face_position(face, x1, y1);
    other double precision[] := sky.face_position(face, x2, y2);
    p double precision[];
    q double precision[];
    nx double precision; ny double precision; nz double precision; size double precision;
    off double precision := 0;
    gap double precision;
BEGIN
    p := sky.face_position(face, (x1 + x2) / 2, (y1 + y2) / 2);
    IF sky.side_has(shape, is_outside, rims_count, p[1], p[2]) THEN
        RETURN true;
    END IF;
    -- how far the side goes from the arc between its ends: seen from the first, at its quarters; doubled, to be safe
    q := sky.seen_from(one[1], one[2], one || sky.face_position(face, (3 * x1 + x2) / 4, (3 * y1 + y2) / 4)
        || p || sky.face_position(face, (x1 + 3 * x2) / 4, (y1 + 3 * y2) / 4) || other);
    -- the arc's plane goes through the first end, (0, 0, 1), and the last
    size := sqrt(q[25] * q[25] + q[26] * q[26]);
    FOR i IN 1..3 LOOP
        off := greatest(off, abs(q[6 * i + 1] * q[26] - q[6 * i + 2] * q[25]) / greatest(size, 1e-300));
    END LOOP;
    off := degrees(2 * off + 1e-15);
    gap := sky.side_gap(shape, one || other);
    IF gap > off THEN
        RETURN false;
    ELSIF cardinality(shape) = 3 AND gap < -off - 1e-11 THEN
        RETURN true;
    ELSIF off < 1e-11 THEN
        RETURN rims_count OR (cardinality(shape) > 3 AND sky.rims_cross(one || other, shape));
    END IF;
    RETURN sky.edge_enters(shape, is_outside, rims_count, face, x1, y1, (x1 + x2) / 2, (y1 + y2) / 2)
        OR sky.edge_enters(shape, is_outside, rims_count, face, (x1 + x2) / 2, (y1 + y2) / 2, x2, y2);
END
$$;

-- Whether the side of a shape that is asked for has a position of a cell in common with a map. It does not lie within the cell: the
-- caller has seen to that.
CREATE OR REPLACE FUNCTION sky.cell_meets(
    shape double precision[], moc int8multirange, is_outside boolean, rims_count boolean, hpx_order integer, npix bigint)
RETURNS boolean
LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE STRICT
AS $$
DECLARE
    span int8range := int8range(npix << (2 * (29 - hpx_order)), (npix + 1) << (2 * (29 - hpx_order)));
    is_whole boolean;
    centre double precision[];
    face integer;
    width double precision;
    x double precision;
    y double precision;
    corners double precision[];
    corner double precision[];
BEGIN
    IF NOT moc && span THEN
        RETURN false;
    END IF;
    is_whole := moc @> span;
    centre := sky.healpix_center(hpx_order, npix);
    IF sky.side_has(shape, is_outside, rims_count, centre[1], centre[2]) THEN
        IF is_whole THEN
            RETURN true;
        END IF;
    -- no cell of an order is larger than 1.075 radians, halved with each order
    ELSIF sky.side_gap(shape, CASE WHEN cardinality(shape) = 3 THEN centre || centre ELSE centre END)
            > degrees(1.075) / (1::bigint << hpx_order) THEN
        RETURN false;
    END IF;
    IF NOT is_whole THEN
        FOR i IN 0..3 LOOP
            IF sky.cell_meets(shape, moc, is_outside, rims_count, hpx_order + 1, 4 * npix + i) THEN
                RETURN true;
            END IF;
        END LOOP;
        RETURN false;
    END IF;
    face := npix >> (2 * hpx_order);
    width := 1 / (1::bigint << hpx_order)::double precision;
    x := width * sky.even_bits(npix & ((1::bigint << (2 * hpx_order)) - 1));
    y := width * sky.even_bits((npix & ((1::bigint << (2 * hpx_order)) - 1)) >> 1);
    corners := ARRAY[x, y, x + width, y, x + width, y + width, x, y + width, x, y];
    FOR i IN 1..4 LOOP
        corner := sky.face_position(face, corners[2 * i - 1], corners[2 * i]);
        IF sky.side_has(shape, is_outside, rims_count, corner[1], corner[2]) THEN
            RETURN true;
        END IF;
    END LOOP;
    FOR i IN 1..4 LOOP
        IF sky.edge_enters(shape, is_outside, rims_count, face,
                corners[2 * i - 1], corners[2 * i], corners[2 * i + 1], corners[2 * i + 2]) THEN
            RETURN true;
        END IF;
    END LOOP;
    RETURN false;
END
$$;

-- Whether a position is in a map; where its rim does not count, not within some 1e-10 degrees of it.
CREATE OR REPLACE FUNCTION sky.moc_has(moc int8multirange, rims_count boolean, ra double precision, decl double precision)
RETURNS boolean
LANGUAGE sql IMMUTABLE PARALLEL SAFE STRICT
RETURN moc @> sky.healpix_index(29, ra, decl) AND (rims_count OR (
    moc @> sky.healpix_index(29, ra, greatest(decl - 1e-10, -90))
    AND moc @> sky.healpix_index(29, ra, least(decl + 1e-10, 90))
    AND moc @> sky.healpix_index(29, ra - 1e-10 / greatest(cos(radians(decl)), 1e-10), decl)
    AND moc @> sky.healpix_index(29, ra + 1e-10 / greatest(cos(radians(decl)), 1e-10), decl)));

-- Whether a circle or polygon, or (`is_outside`) what lies outside it, has a position in common with a map. With rims that do not
-- count and the opposite of either, it tells that one is in the other: what it contains does not meet what is outside it.
CREATE OR REPLACE FUNCTION sky.meets_moc(
    shape double precision[], moc int8multirange, is_outside boolean, rims_count boolean)
RETURNS boolean
LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE STRICT
AS $$
DECLARE
    wanted double precision[] := shape;
    is_circle boolean := cardinality(shape) = 3;
BEGIN
    -- a shape that is stored may be none
    IF (is_circle AND sky.circle(shape[1], shape[2], shape[3]) IS NULL)
        OR (NOT is_circle AND sky.polygon(shape) IS NULL) THEN
        RETURN NULL;
    END IF;
    IF is_circle AND is_outside THEN
        IF shape[3] >= 180 THEN
            RETURN false;
        END IF;
        -- a circle too, around the opposite point
        wanted := ARRAY[shape[1] + CASE WHEN shape[1] < 180 THEN 180 ELSE -180 END, -shape[2], 180 - shape[3]];
    END IF;
    -- a shape that lies within a cell has its vertices there; what is outside a polygon is larger than any cell
    IF is_circle OR NOT is_outside THEN
        FOR i IN 1..(CASE WHEN is_circle THEN 1 ELSE cardinality(shape) / 2 END) LOOP
            IF sky.moc_has(moc, rims_count, wanted[2 * i - 1], wanted[2 * i]) THEN
                RETURN true;
            END IF;
        END LOOP;
    END IF;
    FOR face IN 0..11 LOOP
        IF sky.cell_meets(wanted, moc, is_outside AND NOT is_circle, rims_count, 0, face) THEN
            RETURN true;
        END IF;
    END LOOP;
    RETURN false;
END
$$;
