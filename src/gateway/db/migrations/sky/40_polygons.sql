-- Polygons: great-circle edges, either order of vertices, always the smaller of the two sides, rim included.

-- Vertices as unit vectors {u1, v1, w1, u2, ...} in the frame of a position: u to the east, v to the north, w towards it.
-- Written with differences of angles, so that what is near the position keeps all its digits however small it is.
CREATE OR REPLACE FUNCTION sky.seen_from(ra double precision, decl double precision, polygon double precision[])
RETURNS double precision[]
LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE STRICT
AS $$
DECLARE
    n integer := cardinality(polygon) / 2;
    sin0 double precision := sin(radians(decl));
    cos0 double precision := cos(radians(decl));
    cosine double precision;
    half double precision;
    difference double precision;
    result double precision[];
BEGIN
    FOR i IN 1..n LOOP
        cosine := cos(radians(polygon[2 * i]));
        half := sin(radians((polygon[2 * i - 1] - ra) / 2));
        difference := radians(polygon[2 * i] - decl);
        result[3 * i - 2] := cosine * sin(radians(polygon[2 * i - 1] - ra));
        result[3 * i - 1] := sin(difference) + 2 * sin0 * cosine * half * half;
        result[3 * i] := cos(difference) - 2 * cos0 * cosine * half * half;
    END LOOP;
    RETURN result;
END
$$;

-- Signed area, steradian, in (-2 pi, 2 pi]: positive when the smaller side is on the left of the edges as they are listed.
-- A fan of triangles (Oosterom and Strackee 1983) seen from the first vertex, which gives the area modulo 4 pi.
CREATE OR REPLACE FUNCTION sky.turning_area(polygon double precision[])
RETURNS double precision
LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE STRICT
AS $$
DECLARE
    n integer := cardinality(polygon) / 2;
    p double precision[] := sky.seen_from(polygon[1], polygon[2], polygon);
    u1 double precision; v1 double precision; w1 double precision;
    u2 double precision := p[4]; v2 double precision := p[5]; w2 double precision := p[6];
    total double precision := 0;
BEGIN
    FOR i IN 3..n LOOP
        u1 := u2; v1 := v2; w1 := w2;
        u2 := p[3 * i - 2]; v2 := p[3 * i - 1]; w2 := p[3 * i];
        total := total + 2 * atan2(u1 * v2 - v1 * u2, 1 + w1 + w2 + u1 * u2 + v1 * v2 + w1 * w2);
    END LOOP;
    total := total - 4 * pi() * round(total / (4 * pi()));
    RETURN CASE WHEN total <= -2 * pi() THEN total + 4 * pi() ELSE total END;
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
    u1 double precision; v1 double precision; w1 double precision;
    u2 double precision := p[3 * n - 2]; v2 double precision := p[3 * n - 1]; w2 double precision := p[3 * n];
    nu double precision; nv double precision; nw double precision; across double precision;
    nearest double precision := pi();
BEGIN
    FOR i IN 1..n LOOP
        u1 := u2; v1 := v2; w1 := w2;
        u2 := p[3 * i - 2]; v2 := p[3 * i - 1]; w2 := p[3 * i];
        nearest := least(nearest, atan2(sqrt(u2 * u2 + v2 * v2), w2));
        nu := v1 * w2 - w1 * v2; nv := w1 * u2 - u1 * w2; nw := u1 * v2 - v1 * u2;
        across := sqrt(nu * nu + nv * nv);
        -- the foot of the perpendicular counts where it lies between both ends: ahead of the first, behind the second
        IF across > 0 AND nu * v1 - nv * u1 > 0 AND nu * v2 - nv * u2 < 0 THEN
            nearest := least(nearest, atan2(abs(nw), across));
        END IF;
    END LOOP;
    RETURN degrees(nearest);
END
$$;

-- Whether a position is in a polygon. The arc from the position to the middle of one edge is followed: each other edge that it
-- crosses changes the side, and the side on which it arrives is known.
CREATE OR REPLACE FUNCTION sky.in_polygon(ra double precision, decl double precision, polygon double precision[])
RETURNS boolean
LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE STRICT
AS $$
DECLARE
    n integer := cardinality(polygon) / 2;
    p double precision[] := sky.seen_from(ra, decl, polygon);
    u1 double precision; v1 double precision; w1 double precision;
    u2 double precision := p[3 * n - 2]; v2 double precision := p[3 * n - 1]; w2 double precision := p[3 * n];
    nu double precision; nv double precision; nw double precision; size double precision; off double precision;
    best double precision := 0; best_edge integer;
    mu double precision; mv double precision; mw double precision;
    cu double precision; cv double precision; cw double precision;
    side1 boolean; side2 boolean;
    is_left boolean;
BEGIN
    IF ra = 'NaN' OR decl = 'NaN' THEN
        RETURN false;
    END IF;
    FOR i IN 1..n LOOP
        u1 := u2; v1 := v2; w1 := w2;
        u2 := p[3 * i - 2]; v2 := p[3 * i - 1]; w2 := p[3 * i];
        nu := v1 * w2 - w1 * v2; nv := w1 * u2 - u1 * w2; nw := u1 * v2 - v1 * u2;
        size := sqrt(nu * nu + nv * nv + nw * nw);
        CONTINUE WHEN size = 0;  -- the same vertex twice
        off := nw / size;
        IF abs(off) < 2e-15 AND w1 + w2 > 0
            AND (nu * v1 - nv * u1) / size >= -2e-15 AND (nu * v2 - nv * u2) / size <= 2e-15 THEN
            RETURN true;  -- on the rim
        END IF;
        IF abs(off) > best THEN  -- the edge that is seen at the best angle
            best := abs(off); best_edge := i; is_left := off > 0;
            mu := u1 + u2; mv := v1 + v2; mw := w1 + w2;
        END IF;
    END LOOP;
    IF best_edge IS NULL THEN
        RETURN false;
    END IF;
    FOR i IN 1..n LOOP
        u1 := u2; v1 := v2; w1 := w2;
        u2 := p[3 * i - 2]; v2 := p[3 * i - 1]; w2 := p[3 * i];
        CONTINUE WHEN i = best_edge;
        -- a vertex exactly on the arc's great circle counts as on its left, for both of its edges alike
        side1 := mu * v1 >= mv * u1;
        side2 := mu * v2 >= mv * u2;
        CONTINUE WHEN side1 = side2;
        nu := v1 * w2 - w1 * v2; nv := w1 * u2 - u1 * w2; nw := u1 * v2 - v1 * u2;
        -- where both great circles meet, on the edge's half of the sphere: across the pole (-mv, mu, 0) of the arc
        cu := mu * nw; cv := mv * nw; cw := -mv * nv - mu * nu;
        IF cu * (u1 + u2) + cv * (v1 + v2) + cw * (w1 + w2) < 0 THEN
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

-- Centre of gravity of a polygon: the sum of its edges' normals, each as long as its edge, is the integral over its area.
CREATE OR REPLACE FUNCTION sky.centroid(polygon double precision[])
RETURNS double precision[]
LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE STRICT
AS $$
DECLARE
    n integer := cardinality(polygon) / 2;
    x1 double precision; y1 double precision; z1 double precision;
    x2 double precision; y2 double precision; z2 double precision;
    nx double precision; ny double precision; nz double precision; size double precision; weight double precision;
    sx double precision := 0; sy double precision := 0; sz double precision := 0;
    sign double precision := CASE WHEN sky.turning_area(polygon) < 0 THEN -1 ELSE 1 END;
BEGIN
    x2 := cos(radians(polygon[2 * n])) * cos(radians(polygon[2 * n - 1]));
    y2 := cos(radians(polygon[2 * n])) * sin(radians(polygon[2 * n - 1]));
    z2 := sin(radians(polygon[2 * n]));
    FOR i IN 1..n LOOP
        x1 := x2; y1 := y2; z1 := z2;
        x2 := cos(radians(polygon[2 * i])) * cos(radians(polygon[2 * i - 1]));
        y2 := cos(radians(polygon[2 * i])) * sin(radians(polygon[2 * i - 1]));
        z2 := sin(radians(polygon[2 * i]));
        nx := y1 * z2 - z1 * y2; ny := z1 * x2 - x1 * z2; nz := x1 * y2 - y1 * x2;
        size := sqrt(nx * nx + ny * ny + nz * nz);
        CONTINUE WHEN size < 1e-15;
        weight := sign * atan2(size, x1 * x2 + y1 * y2 + z1 * z2) / size;
        sx := sx + weight * nx; sy := sy + weight * ny; sz := sz + weight * nz;
    END LOOP;
    IF sx = 0 AND sy = 0 AND sz = 0 THEN
        RETURN NULL;
    END IF;
    size := degrees(atan2(sy, sx));
    RETURN ARRAY[CASE WHEN size < 0 THEN size + 360 ELSE size END, degrees(atan2(sz, sqrt(sx * sx + sy * sy)))];
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
    IF NOT (width > 0 AND width < 180 AND height > 0 AND height < 180) THEN
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
