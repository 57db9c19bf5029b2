-- Polygons: great-circle edges, either order of vertices, always the smaller of the two sides, rim included.

-- Difference of two right ascensions, degrees in [-180, 180], exact for neighbours on either side of 0.
CREATE OR REPLACE FUNCTION sky.east_of(ra double precision, ra0 double precision)
RETURNS double precision
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN CASE
    WHEN ra - ra0 > 180 THEN (ra - 360) - ra0
    WHEN ra - ra0 < -180 THEN ra - (ra0 - 360)
    ELSE ra - ra0
END;

-- Vertices as unit vectors in the frame of a position, each with the step to the next: {u1, v1, w1, du1, dv1, dw1, u2, ...}; u to
-- the east, v to the north, w towards the position. Written with differences of angles, so that what is near the position, and
-- every edge however short and far, keeps all its digits: the product of two near vectors loses as many as they are near.
CREATE OR REPLACE FUNCTION sky.seen_from(ra double precision, decl double precision, polygon double precision[])
RETURNS double precision[]
LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE STRICT
AS $$
DECLARE
    n integer := cardinality(polygon) / 2;
    sin0 double precision := sin(radians(decl));
    cos0 double precision := cos(radians(decl));
    a double precision := radians(sky.east_of(polygon[1], ra)); d double precision := polygon[2];
    cosine double precision := cos(radians(d)); half double precision;
    turn double precision; d2 double precision; cosine2 double precision;
    growth double precision; rise double precision; outward double precision;
    result double precision[];
BEGIN
    FOR i IN 1..n LOOP
        half := sin(a / 2);
        d2 := polygon[CASE WHEN i = n THEN 2 ELSE 2 * i + 2 END];
        cosine2 := cos(radians(d2));
        turn := radians(sky.east_of(polygon[CASE WHEN i = n THEN 1 ELSE 2 * i + 1 END], polygon[2 * i - 1]));
        growth := -2 * sin(radians((d + d2) / 2)) * sin(radians((d2 - d) / 2));
        rise := 2 * cos(radians((d + d2) / 2)) * sin(radians((d2 - d) / 2));
        outward := growth * cos(a + turn) - 2 * cosine * sin(a + turn / 2) * sin(turn / 2);
        result := result || ARRAY[
            cosine * sin(a),
            sin(radians(d - decl)) + 2 * sin0 * cosine * half * half,
            cos(radians(d - decl)) - 2 * cos0 * cosine * half * half,
            growth * sin(a + turn) + 2 * cosine * cos(a + turn / 2) * sin(turn / 2),
            rise * cos0 - outward * sin0,
            rise * sin0 + outward * cos0];
        IF i < n THEN
            d := d2; cosine := cosine2; a := radians(sky.east_of(polygon[2 * i + 1], ra));
        END IF;
    END LOOP;
    RETURN result;
END
$$;

-- Signed area, steradian, in (-2 pi, 2 pi]: positive when the smaller side is on the left of the edges as they are listed.
-- A fan of triangles (Oosterom and Strackee 1983), which gives the area modulo 4 pi. It is seen from the first vertex, so that
-- a small polygon keeps its digits; where an edge comes near the point opposite to that, from whichever of a few others is
-- farthest from the opposite of any edge.
CREATE OR REPLACE FUNCTION sky.turning_area(polygon double precision[])
RETURNS double precision
LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE STRICT
AS $$
DECLARE
    n integer := cardinality(polygon) / 2;
    apexes double precision[] := ARRAY[polygon[1], polygon[2], 17, 23, 111, -31, 203, 41, 297, -59, 71, 67, 251, 3];
    p double precision[];
    u double precision; v double precision; w double precision;
    du double precision; dv double precision; dw double precision;
    twice double precision; below double precision;
    total double precision; worst double precision; best double precision := -1; found double precision := 0;
BEGIN
    FOR k IN 1..7 LOOP
        p := sky.seen_from(apexes[2 * k - 1], apexes[2 * k], polygon);
        total := 0;
        worst := 4;
        FOR i IN 1..n LOOP
            u := p[6 * i - 5]; v := p[6 * i - 4]; w := p[6 * i - 3];
            du := p[6 * i - 2]; dv := p[6 * i - 1]; dw := p[6 * i];
            twice := u * dv - v * du;
            below := 2 + 2 * w + dw + u * du + v * dv + w * dw;
            total := total + 2 * atan2(twice, below);
            worst := least(worst, abs(twice) + abs(below));
        END LOOP;
        IF worst > best THEN
            best := worst; found := total;
        END IF;
        EXIT WHEN best > 0.1;
    END LOOP;
    found := found - 4 * pi() * round(found / (4 * pi()));
    RETURN CASE WHEN found <= -2 * pi() THEN found + 4 * pi() ELSE found END;
END
$$;

CREATE OR REPLACE FUNCTION sky.polygon_area(polygon double precision[])
RETURNS double precision
LANGUAGE sql IMMUTABLE PARALLEL SAFE STRICT
RETURN abs(sky.turning_area(polygon)) * (180 / pi()) ^ 2;

-- Angular distance, degrees, of a position from the nearest point of a polygon's rim.
CREATE OR REPLACE FUNCTION sky.rim_distance(ra double precision, decl double precision, polygon double precision[])
RETURNS double precision
LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE STRICT
AS $$
DECLARE
    n integer := cardinality(polygon) / 2;
    p double precision[] := sky.seen_from(ra, decl, polygon);
    u double precision; v double precision; w double precision;
    du double precision; dv double precision; dw double precision;
    nu double precision; nv double precision; nw double precision; across double precision;
    nearest double precision := pi();
BEGIN
    FOR i IN 1..n LOOP
        u := p[6 * i - 5]; v := p[6 * i - 4]; w := p[6 * i - 3];
        du := p[6 * i - 2]; dv := p[6 * i - 1]; dw := p[6 * i];
        nearest := least(nearest, atan2(sqrt(u * u + v * v), w));
        nu := v * dw - w * dv; nv := w * du - u * dw; nw := u * dv - v * du;
        across := sqrt(nu * nu + nv * nv);
        -- the foot of the perpendicular counts where it lies between both ends: ahead of the first, behind the second
        IF across > 0 AND nu * v - nv * u > 0 AND nu * (v + dv) - nv * (u + du) < 0 THEN
            nearest := least(nearest, atan2(abs(nw), across));
        END IF;
    END LOOP;
    RETURN degrees(nearest);
END
$$;

-- Whether a position is in a polygon. Where all of the polygon is less than 90 degrees away, its rim turns round the position,
-- or does not; where all of it is farther than that, its smaller side is too. Else `in_wide_polygon` decides.
CREATE OR REPLACE FUNCTION sky.in_polygon(ra double precision, decl double precision, polygon double precision[])
RETURNS boolean
LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE STRICT
AS $$
DECLARE
    n integer := cardinality(polygon) / 2;
    p double precision[];
    u double precision; v double precision; w double precision;
    du double precision; dv double precision; dw double precision;
    nu double precision; nv double precision; nw double precision; size double precision;
    turns double precision := 0; nearest double precision := 1; farthest double precision := -1;
BEGIN
    IF NOT (decl BETWEEN -90 AND 90 AND abs(ra) < 'Infinity') THEN
        RETURN NULL;
    END IF;
    p := sky.seen_from(ra, decl, polygon);
    FOR i IN 1..n LOOP
        u := p[6 * i - 5]; v := p[6 * i - 4]; w := p[6 * i - 3];
        du := p[6 * i - 2]; dv := p[6 * i - 1]; dw := p[6 * i];
        nearest := least(nearest, w); farthest := greatest(farthest, w);
        nw := u * dv - v * du;
        turns := turns + atan2(nw, u * u + u * du + v * v + v * dv);
        -- on the rim
        IF abs(nw) < 2e-15 AND 2 * w + dw > 0 THEN
            nu := v * dw - w * dv; nv := w * du - u * dw;
            size := 2e-15 * sqrt(nu * nu + nv * nv + nw * nw);
            IF abs(nw) <= size AND nu * v - nv * u >= -size AND nu * (v + dv) - nv * (u + du) <= size
                AND (size > 0 OR u * u + v * v < 4e-30) THEN
                RETURN true;
            END IF;
        END IF;
    END LOOP;
    IF nearest > 0 THEN
        RETURN abs(turns) > 1;  -- a multiple of 2 pi but for rounding
    ELSIF farthest < 0 THEN
        RETURN false;
    END IF;
    RETURN sky.in_wide_polygon(p, polygon);
END
$$;

-- Whether the position from which a polygon is seen is in it, off its rim, wherever the polygon goes. The arc from the position
-- to the middle of one edge is followed: each other edge that it crosses changes the side, and the side on which it arrives is
-- known.
CREATE OR REPLACE FUNCTION sky.in_wide_polygon(p double precision[], polygon double precision[])
RETURNS boolean
LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE STRICT
AS $$
DECLARE
    n integer := cardinality(polygon) / 2;
    u double precision; v double precision; w double precision;
    du double precision; dv double precision; dw double precision;
    nu double precision; nv double precision; nw double precision; size double precision; off double precision;
    best double precision := 0; best_edge integer;
    mu double precision; mv double precision; mw double precision;
    cu double precision; cv double precision; cw double precision;
    side1 boolean; side2 boolean;
    is_left boolean;
BEGIN
    -- outside the circle around the vertices, where that is less than a hemisphere: what has no area has no side to tell it by
    mu := 0; mv := 0; mw := 0; off := 1;
    FOR i IN 1..n LOOP
        mu := mu + p[6 * i - 5]; mv := mv + p[6 * i - 4]; mw := mw + p[6 * i - 3];
    END LOOP;
    size := sqrt(mu * mu + mv * mv + mw * mw);
    FOR i IN 1..n LOOP
        off := least(off, (mu * p[6 * i - 5] + mv * p[6 * i - 4] + mw * p[6 * i - 3]) / greatest(size, 1e-300));
    END LOOP;
    IF off > 1e-9 AND mw / size < off - 1e-9 THEN
        RETURN false;
    END IF;
    FOR i IN 1..n LOOP
        u := p[6 * i - 5]; v := p[6 * i - 4]; w := p[6 * i - 3];
        du := p[6 * i - 2]; dv := p[6 * i - 1]; dw := p[6 * i];
        nu := v * dw - w * dv; nv := w * du - u * dw; nw := u * dv - v * du;
        size := sqrt(nu * nu + nv * nv + nw * nw);
        CONTINUE WHEN size = 0;  -- the same vertex twice
        off := nw / size;
        IF abs(off) > best THEN  -- the edge that is seen at the best angle
            best := abs(off); best_edge := i; is_left := off > 0;
            mu := 2 * u + du; mv := 2 * v + dv; mw := 2 * w + dw;
        END IF;
    END LOOP;
    IF best_edge IS NULL THEN
        RETURN false;
    END IF;
    FOR i IN 1..n LOOP
        CONTINUE WHEN i = best_edge;
        u := p[6 * i - 5]; v := p[6 * i - 4]; w := p[6 * i - 3];
        du := p[6 * i - 2]; dv := p[6 * i - 1]; dw := p[6 * i];
        -- a vertex exactly on the arc's great circle counts as on its left, for both of its edges alike
        side1 := mu * v >= mv * u;
        side2 := CASE WHEN i = n THEN mu * p[2] >= mv * p[1] ELSE mu * p[6 * i + 2] >= mv * p[6 * i + 1] END;
        CONTINUE WHEN side1 = side2;
        nu := v * dw - w * dv; nv := w * du - u * dw; nw := u * dv - v * du;
        -- where both great circles meet, on the edge's half of the sphere: across the pole (-mv, mu, 0) of the arc
        cu := mu * nw; cv := mv * nw; cw := -mv * nv - mu * nu;
        IF cu * (2 * u + du) + cv * (2 * v + dv) + cw * (2 * w + dw) < 0 THEN
            cu := -cu; cv := -cv; cw := -cw;
        END IF;
        -- between the position and the middle of the best edge
        IF cu * mu + cv * mv > 0 AND (mu * cu + mv * cv) * mw < (mu * mu + mv * mv) * cw THEN
            is_left := NOT is_left;
        END IF;
    END LOOP;
    RETURN is_left = (sky.turning_area(polygon) > 0);
END
$$;

-- Centre of gravity of a polygon: the sum of its edges' normals, each as long as its edge, is the integral over its area. Below
-- some 20 arcseconds that sum is all rounding, and the sphere is as good as flat. What has no area has its vertices' middle.
CREATE OR REPLACE FUNCTION sky.centroid(polygon double precision[])
RETURNS double precision[]
LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE STRICT
AS $$
DECLARE
    n integer := cardinality(polygon) / 2;
    p double precision[] := sky.seen_from(polygon[1], polygon[2], polygon);
    u double precision; v double precision; w double precision;
    du double precision; dv double precision; dw double precision;
    nu double precision; nv double precision; nw double precision; size double precision; weight double precision;
    extent double precision := 0; twice double precision := 0;
    su double precision := 0; sv double precision := 0; sw double precision := 0;
    mu double precision := 0; mv double precision := 0; mw double precision := 0;
    sign double precision := CASE WHEN sky.turning_area(polygon) < 0 THEN -1 ELSE 1 END;
    sin0 double precision := sin(radians(polygon[2]));
    cos0 double precision := cos(radians(polygon[2]));
    lon double precision;
    k integer;
BEGIN
    FOR i IN 1..n LOOP
        u := p[6 * i - 5]; v := p[6 * i - 4]; w := p[6 * i - 3];
        -- not the steps of `seen_from`: these must add up to nothing
        k := CASE WHEN i = n THEN 0 ELSE 6 * i END;
        du := p[k + 1] - u; dv := p[k + 2] - v; dw := p[k + 3] - w;
        extent := greatest(extent, abs(u), abs(v), 1 - w);
        mu := mu + u; mv := mv + v; mw := mw + w;
        nu := v * dw - w * dv; nv := w * du - u * dw; nw := u * dv - v * du;
        size := sqrt(nu * nu + nv * nv + nw * nw);
        CONTINUE WHEN size = 0;
        weight := sign * atan2(size, 1 - (du * du + dv * dv + dw * dw) / 2) / size;
        su := su + weight * nu; sv := sv + weight * nv; sw := sw + weight * nw;
    END LOOP;
    IF extent < 1e-4 THEN
        su := 0; sv := 0;
        FOR i IN 1..n LOOP
            k := CASE WHEN i = n THEN 0 ELSE 6 * i END;
            u := p[6 * i - 5]; v := p[6 * i - 4]; du := p[k + 1] - u; dv := p[k + 2] - v;
            nw := u * dv - v * du;
            twice := twice + nw;
            su := su + (2 * u + du) * nw; sv := sv + (2 * v + dv) * nw;
        END LOOP;
        IF abs(twice) > 1e-9 * extent * extent THEN
            su := su / (3 * twice); sv := sv / (3 * twice); sw := 1;
        ELSE
            su := 0; sv := 0; sw := 0;
        END IF;
    END IF;
    IF sqrt(su * su + sv * sv + sw * sw) < 1e-14 THEN
        su := mu; sv := mv; sw := mw;
    END IF;
    IF su = 0 AND sv = 0 AND sw = 0 THEN
        RETURN NULL;
    END IF;
    lon := polygon[1] + degrees(atan2(su, sw * cos0 - sv * sin0));
    RETURN ARRAY[
        lon - 360 * floor(lon / 360),
        degrees(atan2(sv * cos0 + sw * sin0, sqrt(su * su + (sw * cos0 - sv * sin0) ^ 2)))];
END
$$;

-- Box of ADQL 2.1, "BOX": great circles at right angles to the arms of a cross. NULL where it is none.
CREATE OR REPLACE FUNCTION sky.box(
    ra double precision, decl double precision, width double precision, height double precision)
RETURNS double precision[]
LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE STRICT
AS $$
DECLARE
    lat double precision;
    east double precision;
    north double precision;
    x double precision; y double precision; z double precision; u double precision; w double precision;
    result double precision[];
BEGIN
    IF NOT (width > 0 AND width < 180 AND height > 0 AND height < 180 AND decl BETWEEN -90 AND 90 AND abs(ra) < 'Infinity') THEN
        RETURN NULL;
    END IF;
    lat := atan(tan(radians(height / 2)) * cos(radians(width / 2)));
    FOR i IN 1..4 LOOP
        east := radians(CASE WHEN i IN (1, 4) THEN -width ELSE width END / 2);
        north := CASE WHEN i <= 2 THEN -lat ELSE lat END;
        x := cos(north) * cos(east); y := cos(north) * sin(east); z := sin(north);
        u := x * cos(radians(decl)) - z * sin(radians(decl));
        w := x * sin(radians(decl)) + z * cos(radians(decl));
        x := u * cos(radians(ra)) - y * sin(radians(ra));
        y := u * sin(radians(ra)) + y * cos(radians(ra));
        u := degrees(atan2(y, x));
        result := result || ARRAY[CASE WHEN u < 0 THEN u + 360 ELSE u END, degrees(atan2(w, sqrt(x * x + y * y)))];
    END LOOP;
    RETURN result;
END
$$;
