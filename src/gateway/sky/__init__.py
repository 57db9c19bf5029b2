"""The sky on a database: regions to HEALPix ranges."""
