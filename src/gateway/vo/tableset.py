"""Tables, columns and their types: the values that describe what can be queried.

The vocabulary is that of VODataService 1.2 and TAP 1.1, "TAP_SCHEMA". A `Tableset` is what one caller
may see; every name in it is the *published* one, without quotes, and stands beside the *physical* one
that PostgreSQL knows.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import StrEnum
from functools import cached_property


class Datatype(StrEnum):
    """VOTable primitive types (VOTable 1.4, "Datatypes")."""

    BOOLEAN = "boolean"
    BIT = "bit"
    UNSIGNED_BYTE = "unsignedByte"
    SHORT = "short"
    INT = "int"
    LONG = "long"
    CHAR = "char"
    UNICODE_CHAR = "unicodeChar"
    FLOAT = "float"
    DOUBLE = "double"
    FLOAT_COMPLEX = "floatComplex"
    DOUBLE_COMPLEX = "doubleComplex"


TEXT_DATATYPES = frozenset({Datatype.CHAR, Datatype.UNICODE_CHAR})
INTEGER_DATATYPES = frozenset({Datatype.UNSIGNED_BYTE, Datatype.SHORT, Datatype.INT, Datatype.LONG})
REAL_DATATYPES = frozenset({Datatype.FLOAT, Datatype.DOUBLE})


@dataclass(frozen=True, slots=True)
class VOType:
    """Type of a field: VOTable datatype, arraysize and DALI xtype.

    ``arraysize`` is ``None`` for a scalar; text always has one (``*``, ``N`` or ``N*``).
    """

    datatype: Datatype
    arraysize: str | None = None
    xtype: str | None = None

    @property
    def is_text(self) -> bool:
        """Whether values are strings of characters, timestamps included."""
        return self.datatype in TEXT_DATATYPES

    @property
    def is_timestamp(self) -> bool:
        """Whether values are instants, UTC (DALI 1.1, "Timestamp")."""
        return self.xtype == "timestamp"

    @property
    def is_array(self) -> bool:
        """Whether a cell holds several values; a string of characters is one value."""
        return self.arraysize is not None and not self.is_text

    @property
    def is_number(self) -> bool:
        """Whether values are single real or integer numbers."""
        return not self.is_array and self.datatype in INTEGER_DATATYPES | REAL_DATATYPES


@dataclass(frozen=True, slots=True)
class Field:
    """Column of a result, or the described part of a published column (VOTable FIELD).

    Units are VOUnit strings, UCDs are UCD1+; ``None`` means that nothing is known.
    """

    name: str
    type: VOType
    unit: str | None = None
    ucd: str | None = None
    utype: str | None = None
    description: str | None = None


@dataclass(frozen=True, slots=True)
class Column:
    """Published column of a table."""

    field: Field
    """Name as published (no quotes), type and meaning."""
    physical: str
    """Name in PostgreSQL, exactly."""
    sql_type: str
    """Type in PostgreSQL as ``format_type`` spells it, for example ``double precision``."""
    is_indexed: bool = False
    is_principal: bool = True
    is_std: bool = False
    index: int | None = None
    """Place among the columns, from 1; TAP_SCHEMA ``column_index``."""

    @property
    def name(self) -> str:
        """Published name, without quotes."""
        return self.field.name


class Extension(StrEnum):
    """Extensions of PostgreSQL that index positions, by the names that PostgreSQL knows them by."""

    Q3C = "q3c"
    PGSPHERE = "pg_sphere"


@dataclass(frozen=True, slots=True)
class ExtensionIndex:
    """Index of an extension on the positions of a table that is only registered, made by its owner."""

    extension: Extension
    schema: str
    """Schema in which the extension's functions are."""
    is_cast: bool = False
    """Whether the index is on the two columns cast to double precision, and not on the columns as they are."""
    point: str | None = None
    """Generated column with the position that is indexed; ``None``: an expression of the two columns is."""


@dataclass(frozen=True, slots=True)
class SkyIndex:
    """How positions of a table are found fast; names are physical column names."""

    ra: str
    """Right ascension, ICRS degrees in [0, 360)."""
    dec: str
    """Declination, ICRS degrees."""
    healpix: str | None = None
    """Hidden bigint column with the order-29 nested HEALPix index, under a btree; ``None``: none."""
    has_zones: bool = False
    """Whether an index on ``(sky.zone(dec), ra)`` exists."""
    region: str | None = None
    """Column with a footprint, ICRS degrees; ``None``: rows are positions only."""
    cells: str | None = None
    """Hidden bigint[] column with the cells that cover the footprint, under a GIN index."""
    extension: ExtensionIndex | None = None
    """Index of an extension, used where there is neither a HEALPix index nor one of zones."""


@dataclass(frozen=True, slots=True)
class ForeignKey:
    """Columns of one table that name rows of another (TAP_SCHEMA.keys, key_columns)."""

    key_id: str
    target_table: str
    """Qualified ADQL name of the other table."""
    columns: tuple[tuple[str, str], ...]
    """Pairs (column here, column there), published names."""
    description: str | None = None
    utype: str | None = None


@dataclass(frozen=True)
class Table:
    """Published table or view."""

    schema: str
    """Published schema name, without quotes."""
    name: str
    """Published table name inside the schema, without quotes."""
    columns: tuple[Column, ...]
    physical_schema: str
    physical_name: str
    type: str = "table"
    """``table`` or ``view``."""
    description: str | None = None
    utype: str | None = None
    title: str | None = None
    nrows: int | None = None
    """Number of rows as last counted; an estimate."""
    sky: SkyIndex | None = None
    keys: tuple[ForeignKey, ...] = ()
    index: int | None = None
    """Place among the tables of its schema; TAP_SCHEMA ``table_index``."""
    origin: tuple[tuple[str, str], ...] = ()
    """Whence the data are and how to cite them: pairs (term of `gateway.vo.provenance`, value); terms may repeat."""

    @property
    def qualified_name(self) -> str:
        """Name to write in a query, with quotes where they are needed."""
        return f"{adql_identifier(self.schema)}.{adql_identifier(self.name)}"


@dataclass(frozen=True)
class Schema:
    """Published schema with its tables."""

    name: str
    tables: tuple[Table, ...]
    description: str | None = None
    utype: str | None = None
    title: str | None = None
    index: int | None = None


@dataclass(frozen=True)
class Tableset:
    """All that one caller may query, in published order."""

    schemas: tuple[Schema, ...] = ()
    version: str = ""
    """Changes whenever anything in the set does; for ETags and caches."""

    @cached_property
    def tables(self) -> tuple[Table, ...]:
        """All tables of all schemas."""
        return tuple(table for schema in self.schemas for table in schema.tables)

    def find(self, qualified_name: str) -> Table | None:
        """Look up a table by the exact name that ``qualified_name`` gives."""
        return self._by_name.get(qualified_name)

    @cached_property
    def renderings(self) -> dict[str, bytes]:
        """Documents that were made of this set, under any names: they live as long as it does.

        A set never changes, and is asked for thousands of times: what describes 2,000 columns is written once.
        """
        return {}

    @cached_property
    def _by_name(self) -> dict[str, Table]:
        return {table.qualified_name: table for table in self.tables}


REGULAR_IDENTIFIER = re.compile(r"[A-Za-z][A-Za-z0-9_]*\Z")
"""ADQL 2.1, "Identifiers": a Latin letter, then letters, digits and underscores."""


def adql_identifier(name: str) -> str:
    """Write a published name as ADQL needs it: plain if it is regular, else in double quotes.

    Unquoted names compare without case, so mixed case needs no quotes; reserved words do.
    """
    if REGULAR_IDENTIFIER.match(name) and name.upper() not in RESERVED_WORDS:
        return name
    return '"' + name.replace('"', '""') + '"'


RESERVED_WORDS = frozenset(
    """
    ABSOLUTE ACTION ADD ALL ALLOCATE ALTER AND ANY ARE AS ASC ASSERTION AT AUTHORIZATION AVG BEGIN BETWEEN BIT
    BIT_LENGTH BOTH BY CASCADE CASCADED CASE CAST CATALOG CHAR CHARACTER CHAR_LENGTH CHARACTER_LENGTH CHECK CLOSE
    COALESCE COLLATE COLLATION COLUMN COMMIT CONNECT CONNECTION CONSTRAINT CONSTRAINTS CONTINUE CONVERT CORRESPONDING
    COUNT CREATE CROSS CURRENT CURRENT_DATE CURRENT_TIME CURRENT_TIMESTAMP CURRENT_USER CURSOR DATE DAY DEALLOCATE
    DECIMAL DECLARE DEFAULT DEFERRABLE DEFERRED DELETE DESC DESCRIBE DESCRIPTOR DIAGNOSTICS DISCONNECT DISTINCT DOMAIN
    DOUBLE DROP ELSE END END-EXEC ESCAPE EXCEPT EXCEPTION EXEC EXECUTE EXISTS EXTERNAL EXTRACT FALSE FETCH FIRST FLOAT
    FOR FOREIGN FOUND FROM FULL GET GLOBAL GO GOTO GRANT GROUP HAVING HOUR IDENTITY IMMEDIATE IN INDICATOR INITIALLY
    INNER INPUT INSENSITIVE INSERT INT INTEGER INTERSECT INTERVAL INTO IS ISOLATION JOIN KEY LANGUAGE LAST LEADING
    LEFT LEVEL LIKE LOCAL LOWER MATCH MAX MIN MINUTE MODULE MONTH NAMES NATIONAL NATURAL NCHAR NEXT NO NOT NULL NULLIF
    NUMERIC OCTET_LENGTH OF ON ONLY OPEN OPTION OR ORDER OUTER OUTPUT OVERLAPS PAD PARTIAL POSITION PRECISION PREPARE
    PRESERVE PRIMARY PRIOR PRIVILEGES PROCEDURE PUBLIC READ REAL REFERENCES RELATIVE RESTRICT REVOKE RIGHT ROLLBACK
    ROWS SCHEMA SCROLL SECOND SECTION SELECT SESSION SESSION_USER SET SIZE SMALLINT SOME SPACE SQL SQLCODE SQLERROR
    SQLSTATE SUBSTRING SUM SYSTEM_USER TABLE TEMPORARY THEN TIME TIMESTAMP TIMEZONE_HOUR TIMEZONE_MINUTE TO TRAILING
    TRANSACTION TRANSLATE TRANSLATION TRIM TRUE UNION UNIQUE UNKNOWN UPDATE UPPER USAGE USER USING VALUE VALUES
    VARCHAR VARYING VIEW WHEN WHENEVER WHERE WITH WORK WRITE YEAR ZONE
    ABS ACOS AREA ASIN ATAN ATAN2 BIGINT BOX CEILING CENTROID CIRCLE CONTAINS COORD1 COORD2 COORDSYS COS COT DEGREES
    DISTANCE EXP FLOOR ILIKE INTERSECTS IN_UNIT LOG LOG10 MOD OFFSET PI POINT POLYGON POWER RADIANS RAND REGION ROUND
    SIN SQRT TAN TOP TRUNCATE
    """.split()
)
"""Words that are names only inside double quotes (ADQL 2.1, "ADQL reserved words" and SQL-92)."""
