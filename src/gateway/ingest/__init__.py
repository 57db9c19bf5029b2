"""Files into published tables: readers, descriptions, positions, sorting, loading."""
