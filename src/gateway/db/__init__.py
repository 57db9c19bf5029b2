"""Databases: engines and roles, schema, migrations, the registry of published tables, streaming."""
