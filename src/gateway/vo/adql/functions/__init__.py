"""The functions that may be called: one row of a table for each, with its signatures and its SQL."""
