-- Position and motion of a star at another epoch, for motion along a straight line: "The Hipparcos and Tycho Catalogues",
-- ESA SP-1200 vol. 1, section 1.5.5, "Epoch transformation: rigorous treatment".

-- Gives {ra, dec, parallax, pmra, pmdec, radial velocity}: degrees, mas, mas/yr (pmra with the cosine of dec), km/s; epochs in
-- Julian years. Without a positive parallax a star is infinitely remote: only its motion across the sky counts.
CREATE OR REPLACE FUNCTION sky.epoch_prop(
    ra double precision, decl double precision, parallax double precision,
    pmra double precision, pmdec double precision, radial_velocity double precision,
    ref_epoch double precision, out_epoch double precision)
RETURNS double precision[]
LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE
AS $$
DECLARE
    mas double precision := radians(1 / 3600000::double precision);
    -- kilometres per second in astronomical units per Julian year
    au_per_year double precision := 149597870.7 / 31557600;
    is_near boolean := coalesce(parallax > 0 AND parallax <> 'NaN', false);
    t double precision := out_epoch - ref_epoch;
    mu_ra double precision := coalesce(nullif(pmra, 'NaN'), 0) * mas;
    mu_dec double precision := coalesce(nullif(pmdec, 'NaN'), 0) * mas;
    zeta double precision := CASE
        WHEN is_near THEN coalesce(nullif(radial_velocity, 'NaN'), 0) * parallax / au_per_year * mas ELSE 0 END;
    sin_ra double precision; cos_ra double precision; sin_dec double precision; cos_dec double precision;
    mx double precision; my double precision; mz double precision; mu2 double precision;
    rx double precision; ry double precision; rz double precision;
    along double precision; f2 double precision; f double precision; flat double precision;
    ra1 double precision; decl1 double precision;
BEGIN
    IF ra IS NULL OR decl IS NULL OR ref_epoch IS NULL OR out_epoch IS NULL THEN
        RAISE EXCEPTION USING ERRCODE = 'SKY01',
            MESSAGE = 'epoch propagation needs a position and both epochs; '
                || CASE WHEN ra IS NULL THEN 'ra' WHEN decl IS NULL THEN 'dec'
                    WHEN ref_epoch IS NULL THEN 'ref_epoch' ELSE 'out_epoch' END || ' is NULL';
    ELSIF ra = 'NaN' OR decl = 'NaN' OR t = 'NaN' THEN
        RETURN NULL;
    ELSIF abs(decl) > 90 OR abs(ra) = 'Infinity' OR abs(t) = 'Infinity' THEN
        RAISE EXCEPTION USING ERRCODE = 'SKY01',
            MESSAGE = 'epoch propagation: no position or epoch: ra ' || ra || ', dec ' || decl || ', years ' || t;
    END IF;
    sin_ra := sin(radians(ra)); cos_ra := cos(radians(ra)); sin_dec := sin(radians(decl)); cos_dec := cos(radians(decl));
    -- proper motion as a vector; its square
    mx := -sin_ra * mu_ra - cos_ra * sin_dec * mu_dec;
    my := cos_ra * mu_ra - sin_ra * sin_dec * mu_dec;
    mz := cos_dec * mu_dec;
    mu2 := mu_ra * mu_ra + mu_dec * mu_dec;
    along := 1 + zeta * t;
    f2 := along * along + mu2 * t * t;
    IF f2 = 0 THEN
        RAISE EXCEPTION USING ERRCODE = 'SKY01',
            MESSAGE = 'epoch propagation: the star would be where the Sun is';
    END IF;
    f2 := 1 / f2;
    f := sqrt(f2);
    rx := (cos_ra * cos_dec * along + mx * t) * f;
    ry := (sin_ra * cos_dec * along + my * t) * f;
    rz := (sin_dec * along + mz * t) * f;
    flat := sqrt(rx * rx + ry * ry);
    ra1 := degrees(atan2(ry, rx));
    ra1 := CASE WHEN ra1 < 0 AND ra1 + 360 < 360 THEN ra1 + 360 WHEN ra1 < 0 THEN 0 ELSE ra1 END;
    decl1 := degrees(atan2(rz, flat));
    -- the motion at the new epoch
    mx := (mx * along - cos_ra * cos_dec * mu2 * t) * f * f2;
    my := (my * along - sin_ra * cos_dec * mu2 * t) * f * f2;
    mz := (mz * along - sin_dec * mu2 * t) * f * f2;
    sin_ra := sin(radians(ra1)); cos_ra := cos(radians(ra1)); sin_dec := sin(radians(decl1)); cos_dec := cos(radians(decl1));
    RETURN ARRAY[
        ra1,
        decl1,
        CASE WHEN is_near THEN parallax * f ELSE parallax END,
        (-sin_ra * mx + cos_ra * my) / mas,
        (-cos_ra * sin_dec * mx - sin_ra * sin_dec * my + cos_dec * mz) / mas,
        CASE
            WHEN is_near THEN (zeta + (mu2 + zeta * zeta) * t) * f2 / mas * au_per_year / (parallax * f)
            ELSE radial_velocity
        END];
END
$$;

CREATE OR REPLACE FUNCTION sky.epoch_prop_pos(
    ra double precision, decl double precision, parallax double precision,
    pmra double precision, pmdec double precision, radial_velocity double precision,
    ref_epoch double precision, out_epoch double precision)
RETURNS double precision[]
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN (sky.epoch_prop(ra, decl, parallax, pmra, pmdec, radial_velocity, ref_epoch, out_epoch))[1:2];
