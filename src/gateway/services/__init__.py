"""Use cases, one per module; they know neither HTTP nor UWS."""
