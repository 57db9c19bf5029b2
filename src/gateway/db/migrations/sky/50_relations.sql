-- Relations of shapes; rims count.

-- Whether a shape is no larger than a point, and is that point.
CREATE OR REPLACE FUNCTION sky.is_point(shape double precision[], point double precision[])
RETURNS boolean
LANGUAGE sql IMMUTABLE PARALLEL SAFE STRICT
RETURN cardinality(shape) = 3 AND shape[3] = 0 AND sky.distance(shape[1], shape[2], point[1], point[2]) = 0;

CREATE OR REPLACE FUNCTION sky.circle_in_circle(inside double precision[], outside double precision[])
RETURNS boolean
LANGUAGE sql IMMUTABLE PARALLEL SAFE STRICT
RETURN outside[3] >= 180 OR sky.distance(inside[1], inside[2], outside[1], outside[2]) + inside[3] <= outside[3];

CREATE OR REPLACE FUNCTION sky.circles_meet(one double precision[], other double precision[])
RETURNS boolean
LANGUAGE sql IMMUTABLE PARALLEL SAFE STRICT
RETURN sky.distance(one[1], one[2], other[1], other[2]) <= one[3] + other[3];

CREATE OR REPLACE FUNCTION sky.circle_in_polygon(circle double precision[], polygon double precision[])
RETURNS boolean
LANGUAGE sql IMMUTABLE PARALLEL SAFE STRICT
RETURN sky.in_polygon(circle[1], circle[2], polygon)
    AND (circle[3] <= 0 OR sky.rim_distance(circle[1], circle[2], polygon) >= circle[3]);

CREATE OR REPLACE FUNCTION sky.circle_meets_polygon(circle double precision[], polygon double precision[])
RETURNS boolean
LANGUAGE sql IMMUTABLE PARALLEL SAFE STRICT
RETURN sky.in_polygon(circle[1], circle[2], polygon) OR sky.rim_distance(circle[1], circle[2], polygon) <= circle[3];

-- What is left outside the circle is a circle too, around the opposite point: no position of the polygon may be in it.
CREATE OR REPLACE FUNCTION sky.polygon_in_circle(polygon double precision[], circle double precision[])
RETURNS boolean
LANGUAGE sql IMMUTABLE PARALLEL SAFE STRICT
RETURN circle[3] >= 180 OR (
    NOT sky.in_polygon(circle[1] + CASE WHEN circle[1] < 180 THEN 180 ELSE -180 END, -circle[2], polygon)
    AND sky.rim_distance(circle[1] + CASE WHEN circle[1] < 180 THEN 180 ELSE -180 END, -circle[2], polygon)
        >= 180 - circle[3]
);

-- Whether an edge of one polygon crosses an edge of the other, each inside the other.
CREATE OR REPLACE FUNCTION sky.rims_cross(one double precision[], other double precision[])
RETURNS boolean
LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE STRICT
AS $$
DECLARE
    n integer := cardinality(one) / 2;
    m integer := cardinality(other) / 2;
    p double precision[] := sky.seen_from(one[1], one[2], one);
    q double precision[] := sky.seen_from(one[1], one[2], other);
    ax double precision; ay double precision; az double precision;
    ex double precision; ey double precision; ez double precision;
    cx double precision; cy double precision; cz double precision;
    dx double precision; dy double precision; dz double precision;
    nx double precision; ny double precision; nz double precision; rounding double precision;
    mx double precision; my double precision; mz double precision; rounding2 double precision;
    kx double precision; ky double precision; kz double precision;
    c double precision; d double precision; a double precision; e double precision;
BEGIN
    FOR i IN 1..n LOOP
        ax := p[6 * i - 5]; ay := p[6 * i - 4]; az := p[6 * i - 3];
        ex := p[6 * i - 2]; ey := p[6 * i - 1]; ez := p[6 * i];
        nx := ay * ez - az * ey; ny := az * ex - ax * ez; nz := ax * ey - ay * ex;
        rounding := 2e-15 * sqrt(nx * nx + ny * ny + nz * nz);
        d := nx * q[6 * m - 5] + ny * q[6 * m - 4] + nz * q[6 * m - 3];
        FOR j IN 1..m LOOP
            c := d;
            d := nx * q[6 * j - 5] + ny * q[6 * j - 4] + nz * q[6 * j - 3];
            CONTINUE WHEN NOT ((c > rounding AND d < -rounding) OR (c < -rounding AND d > rounding));
            -- the edge that ends at vertex j; ex, ey, ez and dx, dy, dz are steps
            cx := q[6 * CASE WHEN j = 1 THEN m ELSE j - 1 END - 5];
            cy := q[6 * CASE WHEN j = 1 THEN m ELSE j - 1 END - 4];
            cz := q[6 * CASE WHEN j = 1 THEN m ELSE j - 1 END - 3];
            dx := q[6 * CASE WHEN j = 1 THEN m ELSE j - 1 END - 2];
            dy := q[6 * CASE WHEN j = 1 THEN m ELSE j - 1 END - 1];
            dz := q[6 * CASE WHEN j = 1 THEN m ELSE j - 1 END];
            mx := cy * dz - cz * dy; my := cz * dx - cx * dz; mz := cx * dy - cy * dx;
            rounding2 := 2e-15 * sqrt(mx * mx + my * my + mz * mz);
            a := mx * ax + my * ay + mz * az;
            e := a + mx * ex + my * ey + mz * ez;
            CONTINUE WHEN NOT ((a > rounding2 AND e < -rounding2) OR (a < -rounding2 AND e > rounding2));
            -- the great circles meet at two opposite points; both edges must have the same one
            kx := ny * mz - nz * my; ky := nz * mx - nx * mz; kz := nx * my - ny * mx;
            IF (kx * (2 * ax + ex) + ky * (2 * ay + ey) + kz * (2 * az + ez) > 0)
                = (kx * (2 * cx + dx) + ky * (2 * cy + dy) + kz * (2 * cz + dz) > 0) THEN
                RETURN true;
            END IF;
        END LOOP;
    END LOOP;
    RETURN false;
END
$$;

-- Whether all vertices, and all middles of edges, of one polygon are in the other.
CREATE OR REPLACE FUNCTION sky.rim_in_polygon(inside double precision[], outside double precision[])
RETURNS boolean
LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE STRICT
AS $$
DECLARE
    n integer := cardinality(inside) / 2;
    k integer;
    x double precision; y double precision; z double precision;
BEGIN
    FOR i IN 1..n LOOP
        IF NOT (sky.in_polygon(inside[2 * i - 1], inside[2 * i], outside)
                OR sky.rim_distance(inside[2 * i - 1], inside[2 * i], outside) < 1e-12) THEN
            RETURN false;
        END IF;
        k := CASE WHEN i = n THEN 1 ELSE i + 1 END;
        x := cos(radians(inside[2 * i])) * cos(radians(inside[2 * i - 1])) + cos(radians(inside[2 * k])) * cos(radians(inside[2 * k - 1]));
        y := cos(radians(inside[2 * i])) * sin(radians(inside[2 * i - 1])) + cos(radians(inside[2 * k])) * sin(radians(inside[2 * k - 1]));
        z := sin(radians(inside[2 * i])) + sin(radians(inside[2 * k]));
        IF NOT (sky.in_polygon(degrees(atan2(y, x)), degrees(atan2(z, sqrt(x * x + y * y))), outside)
                OR sky.rim_distance(degrees(atan2(y, x)), degrees(atan2(z, sqrt(x * x + y * y))), outside) < 1e-12) THEN
            RETURN false;
        END IF;
    END LOOP;
    RETURN true;
END
$$;

-- With no rim crossing the other and the one rim inside, the one polygon or its outside is in the other; as both mean their
-- smaller sides, it is the polygon.
CREATE OR REPLACE FUNCTION sky.polygon_in_polygon(inside double precision[], outside double precision[])
RETURNS boolean
LANGUAGE sql IMMUTABLE PARALLEL SAFE STRICT
RETURN sky.rim_in_polygon(inside, outside) AND NOT sky.rims_cross(inside, outside);

CREATE OR REPLACE FUNCTION sky.polygons_meet(one double precision[], other double precision[])
RETURNS boolean
LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE STRICT
AS $$
BEGIN
    FOR i IN 1..cardinality(one) / 2 LOOP
        IF sky.in_polygon(one[2 * i - 1], one[2 * i], other) THEN
            RETURN true;
        END IF;
    END LOOP;
    FOR i IN 1..cardinality(other) / 2 LOOP
        IF sky.in_polygon(other[2 * i - 1], other[2 * i], one) THEN
            RETURN true;
        END IF;
    END LOOP;
    RETURN sky.rims_cross(one, other);
END
$$;
