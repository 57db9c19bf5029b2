"""The gateway: a survey's tables and images as Virtual Observatory services."""

__version__ = "0.1.0"
