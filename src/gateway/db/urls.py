"""Addresses of PostgreSQL: one spelling for people, the one each driver wants for us.

People write what ``psql`` takes: ``postgresql://user:password@host:5432/name?sslmode=require`` or, for a
unix socket, ``postgresql://user@/name?host=/folder``.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from urllib.parse import parse_qsl, quote, unquote, urlencode, urlsplit

from gateway.errors import UsageError

SCHEMES = ("postgresql", "postgres", "postgresql+asyncpg")

LIBPQ_ONLY = frozenset(
    """
    channel_binding connect_timeout gssencmode keepalives keepalives_count keepalives_idle keepalives_interval
    load_balance_hosts min_protocol_version max_protocol_version requiressl sslcertmode sslcompression
    tcp_user_timeout
    """.split()
)
"""Options of libpq that asyncpg would mistake for server settings; none of them changes what is reached."""


@dataclass(frozen=True, slots=True)
class DatabaseURL:
    """Address of one database, with its options in the order given."""

    authority: str
    """``user:password@host:port``, percent-encoded, maybe empty."""
    database: str
    options: tuple[tuple[str, str], ...] = ()

    @classmethod
    def parse(cls, text: str) -> DatabaseURL:
        """Read an address.

        Raises
        ------
        UsageError
            It is no ``postgresql://`` URL. The text is not repeated: it may hold a password.
        """
        parts = urlsplit(text.strip())
        if parts.scheme not in SCHEMES:
            raise UsageError("a database URL looks like postgresql://user:password@host:5432/name")
        pairs = parse_qsl(parts.query, keep_blank_values=True)
        return cls(parts.netloc, unquote(parts.path.removeprefix("/")), tuple(pairs))

    def with_database(self, name: str) -> DatabaseURL:
        """Make the address of another database on the same server."""
        return replace(self, database=name)

    def with_application_name(self, name: str) -> DatabaseURL:
        """Name the sessions, as ``pg_stat_activity`` shows them."""
        rest = tuple(pair for pair in self.options if pair[0] != "application_name")
        return replace(self, options=(*rest, ("application_name", name)))

    def libpq(self) -> str:
        """Spell the address for libpq, which ADBC and ``psql`` use."""
        return self._spell(self.options)

    def asyncpg(self) -> str:
        """Spell the address for asyncpg."""
        return self._spell(tuple(pair for pair in self.options if pair[0] not in LIBPQ_ONLY))

    def _spell(self, options: tuple[tuple[str, str], ...]) -> str:
        # libpq reads + in a query as itself, so that spaces must be %20.
        query = urlencode(options, quote_via=quote, safe="/")
        return f"postgresql://{self.authority}/{quote(self.database, safe='')}{'?' if query else ''}{query}"
