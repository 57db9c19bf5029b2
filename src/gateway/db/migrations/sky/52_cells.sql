-- The cells that a region asks for, as they are. What is found by cells is few rows, but PostgreSQL cannot know it: it takes
-- each number of the array for a row in a few hundred, and starts workers, for ten times what the search itself takes. A
-- function that is no use to workers keeps it from that; a stable one is worked out once, before the index is searched.
CREATE OR REPLACE FUNCTION sky.asked(cells bigint[])
RETURNS bigint[]
LANGUAGE plpgsql STABLE PARALLEL RESTRICTED STRICT
AS $$
BEGIN
    RETURN cells;
END
$$;
