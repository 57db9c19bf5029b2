"""Files into published tables."""
