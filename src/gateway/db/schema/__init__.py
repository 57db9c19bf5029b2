"""Tables of ours in PostgreSQL, as SQLAlchemy describes them."""
