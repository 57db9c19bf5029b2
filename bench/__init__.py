"""Benchmarks: each number is a ratio to its floor, measured in the same run on the same server."""
