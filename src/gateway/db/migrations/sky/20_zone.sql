-- Declination zone: 120 zones per degree, 30 arcseconds high.
-- High enough that a join at one arcsecond rarely meets two zones, low enough that a zone of a dense catalogue stays thin.
CREATE OR REPLACE FUNCTION sky.zone(decl double precision)
RETURNS integer
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN floor((decl + 90) * 120)::integer;
