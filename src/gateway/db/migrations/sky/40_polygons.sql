-- Polygons: great-circle edges, either order of vertices, always the smaller of the two sides, rim included.

-- Signed area, steradian, in (-2 pi, 2 pi]: positive when the smaller side is on the left of the edges as they are listed.
-- A fan of triangles (Oosterom and Strackee 1983), which gives the area modulo 4 pi.
CREATE OR REPLACE FUNCTION sky.turning_area(polygon double precision[])
RETURNS double precision
LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE STRICT
AS $$
DECLARE
    n integer := cardinality(polygon) / 2;
    x0 double precision; y0 double precision; z0 double precision;
    x1 double precision; y1 double precision; z1 double precision;
    x2 double precision; y2 double precision; z2 double precision;
    total double precision := 0;
BEGIN
    FOR i IN 1..n LOOP
        x1 := x2; y1 := y2; z1 := z2;
        x2 := cos(radians(polygon[2 * i])) * cos(radians(polygon[2 * i - 1]));
        y2 := cos(radians(polygon[2 * i])) * sin(radians(polygon[2 * i - 1]));
        z2 := sin(radians(polygon[2 * i]));
        IF i = 1 THEN
            x0 := x2; y0 := y2; z0 := z2;
        ELSIF i > 2 THEN
            total := total + 2 * atan2(
                x0 * (y1 * z2 - z1 * y2) + y0 * (z1 * x2 - x1 * z2) + z0 * (x1 * y2 - y1 * x2),
                1 + x0 * x1 + y0 * y1 + z0 * z1 + x1 * x2 + y1 * y2 + z1 * z2 + x2 * x0 + y2 * y0 + z2 * z0);
        END IF;
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
    px double precision := cos(radians(decl)) * cos(radians(ra));
    py double precision := cos(radians(decl)) * sin(radians(ra));
    pz double precision := sin(radians(decl));
    x1 double precision; y1 double precision; z1 double precision;
    x2 double precision; y2 double precision; z2 double precision;
    nx double precision; ny double precision; nz double precision; size double precision; off double precision;
    nearest double precision := 180;
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
        nearest := least(nearest, sky.distance(ra, decl, polygon[2 * i - 1], polygon[2 * i]));
        -- the foot of the perpendicular counts where it lies between both ends: ahead of the first, behind the second
        IF size > 1e-15
            AND (ny * z1 - nz * y1) * px + (nz * x1 - nx * z1) * py + (nx * y1 - ny * x1) * pz > 0
            AND (ny * z2 - nz * y2) * px + (nz * x2 - nx * z2) * py + (nx * y2 - ny * x2) * pz < 0 THEN
            off := (nx * px + ny * py + nz * pz) / size;
            nearest := least(nearest, degrees(asin(least(abs(off), 1))));
        END IF;
    END LOOP;
    RETURN nearest;
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
    px double precision := cos(radians(decl)) * cos(radians(ra));
    py double precision := cos(radians(decl)) * sin(radians(ra));
    pz double precision := sin(radians(decl));
    xs double precision[]; ys double precision[]; zs double precision[];
    x1 double precision; y1 double precision; z1 double precision;
    x2 double precision; y2 double precision; z2 double precision;
    nx double precision; ny double precision; nz double precision; size double precision; off double precision;
    best double precision := 0; best_edge integer; best_off double precision;
    mx double precision; my double precision; mz double precision;
    gx double precision; gy double precision; gz double precision;
    cx double precision; cy double precision; cz double precision;
    side1 boolean; side2 boolean;
    is_left boolean;
BEGIN
    IF ra = 'NaN' OR decl = 'NaN' THEN
        RETURN false;
    END IF;
    FOR i IN 1..n LOOP
        xs[i] := cos(radians(polygon[2 * i])) * cos(radians(polygon[2 * i - 1]));
        ys[i] := cos(radians(polygon[2 * i])) * sin(radians(polygon[2 * i - 1]));
        zs[i] := sin(radians(polygon[2 * i]));
    END LOOP;
    xs[n + 1] := xs[1]; ys[n + 1] := ys[1]; zs[n + 1] := zs[1];
    FOR i IN 1..n LOOP
        x1 := xs[i]; y1 := ys[i]; z1 := zs[i]; x2 := xs[i + 1]; y2 := ys[i + 1]; z2 := zs[i + 1];
        nx := y1 * z2 - z1 * y2; ny := z1 * x2 - x1 * z2; nz := x1 * y2 - y1 * x2;
        size := sqrt(nx * nx + ny * ny + nz * nz);
        CONTINUE WHEN size < 1e-15;  -- the same vertex twice
        off := (nx * px + ny * py + nz * pz) / size;
        IF abs(off) < 2e-15
            AND (ny * z1 - nz * y1) * px + (nz * x1 - nx * z1) * py + (nx * y1 - ny * x1) * pz >= 0
            AND (ny * z2 - nz * y2) * px + (nz * x2 - nx * z2) * py + (nx * y2 - ny * x2) * pz <= 0
            AND (x1 + x2) * px + (y1 + y2) * py + (z1 + z2) * pz > 0 THEN
            RETURN true;  -- on the rim
        END IF;
        -- An edge seen at a good angle; its length matters too, so that its middle is well defined.
        IF abs(off) > best THEN
            best := abs(off); best_edge := i; best_off := off;
        END IF;
    END LOOP;
    IF best_edge IS NULL THEN
        RETURN false;
    END IF;
    mx := xs[best_edge] + xs[best_edge + 1]; my := ys[best_edge] + ys[best_edge + 1]; mz := zs[best_edge] + zs[best_edge + 1];
    gx := py * mz - pz * my; gy := pz * mx - px * mz; gz := px * my - py * mx;
    is_left := best_off > 0;
    FOR i IN 1..n LOOP
        CONTINUE WHEN i = best_edge;
        x1 := xs[i]; y1 := ys[i]; z1 := zs[i]; x2 := xs[i + 1]; y2 := ys[i + 1]; z2 := zs[i + 1];
        -- a vertex exactly on the arc's great circle counts as on its left, for both of its edges alike
        side1 := gx * x1 + gy * y1 + gz * z1 >= 0;
        side2 := gx * x2 + gy * y2 + gz * z2 >= 0;
        CONTINUE WHEN side1 = side2;
        nx := y1 * z2 - z1 * y2; ny := z1 * x2 - x1 * z2; nz := x1 * y2 - y1 * x2;
        -- where both great circles meet, on the edge's half of the sphere
        cx := gy * nz - gz * ny; cy := gz * nx - gx * nz; cz := gx * ny - gy * nx;
        IF cx * (x1 + x2) + cy * (y1 + y2) + cz * (z1 + z2) < 0 THEN
            cx := -cx; cy := -cy; cz := -cz;
        END IF;
        -- between the position and the middle of the best edge
        IF (py * cz - pz * cy) * gx + (pz * cx - px * cz) * gy + (px * cy - py * cx) * gz > 0
            AND (cy * mz - cz * my) * gx + (cz * mx - cx * mz) * gy + (cx * my - cy * mx) * gz > 0 THEN
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
