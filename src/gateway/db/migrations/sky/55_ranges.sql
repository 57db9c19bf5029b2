-- Boxes between meridians and parallels (SIA 2.0, "POS": RANGE); rims count, and a box with ra_min > ra_max goes through 0.
-- Right ascension 0 and 360 are one meridian, and a pole has every right ascension.

CREATE OR REPLACE FUNCTION sky.in_range(
    ra double precision, decl double precision,
    ra_min double precision, ra_max double precision, decl_min double precision, decl_max double precision)
RETURNS boolean
LANGUAGE sql IMMUTABLE PARALLEL SAFE STRICT
RETURN decl BETWEEN decl_min AND decl_max AND (abs(decl) = 90 OR CASE
    WHEN ra_max - ra_min >= 360 THEN true
    WHEN ra_min <= ra_max
        THEN ra BETWEEN ra_min AND ra_max OR ra + 360 BETWEEN ra_min AND ra_max OR ra - 360 BETWEEN ra_min AND ra_max
    ELSE ra >= ra_min OR ra <= ra_max
END);

-- Whether an edge crosses the part of a parallel that bounds a box. The edge is the arc of a great circle: its positions at a
-- declination solve A cos(t) + B sin(t) = sin(decl), t being the angle from its first vertex.
CREATE OR REPLACE FUNCTION sky.edge_meets_parallel(
    ra1 double precision, decl1 double precision, ra2 double precision, decl2 double precision,
    decl double precision, ra_min double precision, ra_max double precision)
RETURNS boolean
LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE STRICT
AS $$
DECLARE
    ax double precision := cos(radians(decl1)) * cos(radians(ra1));
    ay double precision := cos(radians(decl1)) * sin(radians(ra1));
    az double precision := sin(radians(decl1));
    bx double precision := cos(radians(decl2)) * cos(radians(ra2));
    by_ double precision := cos(radians(decl2)) * sin(radians(ra2));
    bz double precision := sin(radians(decl2));
    c double precision := ax * bx + ay * by_ + az * bz;
    s double precision; length double precision;
    ux double precision; uy double precision; uz double precision;
    r double precision; middle double precision; swing double precision; t double precision;
    x double precision; y double precision;
BEGIN
    -- the direction of the second vertex seen from the first, at right angles to it
    ux := bx - c * ax; uy := by_ - c * ay; uz := bz - c * az;
    s := sqrt(ux * ux + uy * uy + uz * uz);
    IF s < 1e-15 THEN
        RETURN false;
    END IF;
    ux := ux / s; uy := uy / s; uz := uz / s;
    length := atan2(s, c);
    r := sqrt(az * az + uz * uz);
    IF r < abs(sin(radians(decl))) OR r = 0 THEN
        RETURN false;
    END IF;
    middle := atan2(uz, az);
    swing := acos(greatest(-1, least(1, sin(radians(decl)) / r)));
    FOREACH t IN ARRAY ARRAY[middle - swing, middle + swing] LOOP
        t := t - 2 * pi() * floor(t / (2 * pi()));
        IF t <= length + 1e-13 OR t >= 2 * pi() - 1e-13 THEN
            x := cos(t) * ax + sin(t) * ux;
            y := cos(t) * ay + sin(t) * uy;
            IF sky.in_range(degrees(atan2(y, x)) + CASE WHEN atan2(y, x) < 0 THEN 360 ELSE 0 END, decl,
                            ra_min, ra_max, decl, decl) THEN
                RETURN true;
            END IF;
        END IF;
    END LOOP;
    RETURN false;
END
$$;

-- Whether the circle around a polygon's vertices, which holds all of it below a hemisphere, is clear of a box. Most polygons are
-- far from most boxes, and this tells it for a tenth of what the exact test costs.
CREATE OR REPLACE FUNCTION sky.range_is_far(
    polygon double precision[],
    ra_min double precision, ra_max double precision, decl_min double precision, decl_max double precision)
RETURNS boolean
LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE STRICT
AS $$
DECLARE
    n integer := cardinality(polygon) / 2;
    x double precision := 0; y double precision := 0; z double precision := 0; size double precision;
    cosine double precision; nearest double precision := 1;
    ra double precision; decl double precision; reach double precision; half double precision; width double precision;
BEGIN
    FOR i IN 1..n LOOP
        cosine := cos(radians(polygon[2 * i]));
        x := x + cosine * cos(radians(polygon[2 * i - 1]));
        y := y + cosine * sin(radians(polygon[2 * i - 1]));
        z := z + sin(radians(polygon[2 * i]));
    END LOOP;
    size := sqrt(x * x + y * y + z * z);
    IF size < 1e-6 THEN
        RETURN false;
    END IF;
    FOR i IN 1..n LOOP
        cosine := cos(radians(polygon[2 * i]));
        nearest := least(nearest, (x * cosine * cos(radians(polygon[2 * i - 1]))
            + y * cosine * sin(radians(polygon[2 * i - 1])) + z * sin(radians(polygon[2 * i]))) / size);
    END LOOP;
    -- an arc cosine near 1 is good to some 1e-8 radians only
    reach := degrees(acos(greatest(nearest, -1))) + 1e-5;
    IF reach >= 89 THEN
        RETURN false;
    END IF;
    decl := degrees(atan2(z, sqrt(x * x + y * y)));
    IF decl + reach < decl_min OR decl - reach > decl_max THEN
        RETURN true;
    END IF;
    IF ra_max - ra_min >= 360 OR abs(decl) + reach >= 89.9999 THEN
        RETURN false;
    END IF;
    width := ra_max - ra_min + CASE WHEN ra_max < ra_min THEN 360 ELSE 0 END;
    half := degrees(asin(sin(radians(reach)) / cos(radians(decl)))) + 1e-5;
    -- how far the circle's eastern end is east of the box's western side
    ra := degrees(atan2(y, x)) + half - ra_min;
    ra := ra - 360 * floor(ra / 360);
    RETURN width + 2 * half < 360 AND ra > width + 2 * half;
END
$$;

-- A box meets a polygon where a vertex is in the box, a corner of the box in the polygon, or their rims cross. The meridians of
-- the box are arcs of great circles, cut into pieces of at most 60 degrees, as an edge must be shorter than half a circle.
CREATE OR REPLACE FUNCTION sky.range_meets_polygon(
    polygon double precision[],
    ra_min double precision, ra_max double precision, decl_min double precision, decl_max double precision)
RETURNS boolean
LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE STRICT
AS $$
DECLARE
    n integer := cardinality(polygon) / 2;
    k integer;
    side double precision;
    low double precision; high double precision;
BEGIN
    IF sky.range_is_far(polygon, ra_min, ra_max, decl_min, decl_max) THEN
        RETURN false;
    END IF;
    FOR i IN 1..n LOOP
        IF sky.in_range(polygon[2 * i - 1], polygon[2 * i], ra_min, ra_max, decl_min, decl_max) THEN
            RETURN true;
        END IF;
    END LOOP;
    IF sky.in_polygon(ra_min, decl_min, polygon) OR sky.in_polygon(ra_min, decl_max, polygon)
        OR sky.in_polygon(ra_max, decl_min, polygon) OR sky.in_polygon(ra_max, decl_max, polygon) THEN
        RETURN true;
    END IF;
    FOR i IN 1..n LOOP
        k := CASE WHEN i = n THEN 1 ELSE i + 1 END;
        IF sky.edge_meets_parallel(polygon[2 * i - 1], polygon[2 * i], polygon[2 * k - 1], polygon[2 * k], decl_min, ra_min, ra_max)
            OR sky.edge_meets_parallel(polygon[2 * i - 1], polygon[2 * i], polygon[2 * k - 1], polygon[2 * k], decl_max, ra_min, ra_max) THEN
            RETURN true;
        END IF;
    END LOOP;
    IF ra_max - ra_min >= 360 THEN
        RETURN false;
    END IF;
    FOREACH side IN ARRAY ARRAY[ra_min, ra_max] LOOP
        low := decl_min;
        WHILE low < decl_max LOOP
            high := least(low + 60, decl_max);
            IF sky.rims_cross(ARRAY[side, low, side, (low + high) / 2, side, high], polygon) THEN
                RETURN true;
            END IF;
            low := high;
        END LOOP;
    END LOOP;
    RETURN false;
END
$$;
