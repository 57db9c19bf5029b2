"""What ADQL says as what PostgreSQL runs: casts, functions, geometry, and look-ups in the indexes of the sky."""
