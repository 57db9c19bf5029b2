"""Migrations of both databases, inside the package so that an installed gateway can migrate itself."""
