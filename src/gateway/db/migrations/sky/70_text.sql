-- Functions of the IVOA's catalogue of user-defined functions on text and intervals. Numbers 1 and 0 stand for true and false.

-- A backslash is a character like any other, as in ADQL's LIKE.
CREATE OR REPLACE FUNCTION sky.nocasematch(value text, pattern text)
RETURNS integer
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN (value ILIKE pattern ESCAPE '')::integer;

-- Words are compared by their English stems, or as they stand: words such as "the" have no stem.
CREATE OR REPLACE FUNCTION sky.hasword(haystack text, needle text)
RETURNS integer
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN (
    to_tsvector('pg_catalog.english'::regconfig, haystack) @@ plainto_tsquery('pg_catalog.english'::regconfig, needle)
    OR to_tsvector('pg_catalog.simple'::regconfig, haystack) @@ plainto_tsquery('pg_catalog.simple'::regconfig, needle)
)::integer;

-- No word of the list has a hash sign, so an item with one is not found.
CREATE OR REPLACE FUNCTION sky.hashlist_has(hashlist text, item text)
RETURNS integer
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN (lower(item) = ANY (string_to_array(lower(hashlist), '#')))::integer;

CREATE OR REPLACE FUNCTION sky.interval_overlaps(
    a1 double precision, b1 double precision, a2 double precision, b2 double precision)
RETURNS integer
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN (a1 <= b1 AND a2 <= b2 AND a1 <= b2 AND a2 <= b1)::integer;

CREATE OR REPLACE FUNCTION sky.interval_overlaps(a1 bigint, b1 bigint, a2 bigint, b2 bigint)
RETURNS integer
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN (a1 <= b1 AND a2 <= b2 AND a1 <= b2 AND a2 <= b1)::integer;
