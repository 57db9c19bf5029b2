"""Our own interface beside the standards', below ``/api/v1``: JSON, events, problems (RFC 9457)."""
