"""The demonstration survey."""
