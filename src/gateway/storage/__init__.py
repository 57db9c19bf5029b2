"""Bytes at rest: the result store and ranged reads."""
