"""ADQL 2.1: text to PostgreSQL."""
