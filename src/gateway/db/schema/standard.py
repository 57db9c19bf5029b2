"""TAP_SCHEMA's description of itself (TAP 1.1, "Metadata: TAP_SCHEMA"), as a value like any other schema's."""

from __future__ import annotations

from gateway.vo.tableset import Column, Datatype, Field, ForeignKey, Schema, Table, VOType

NAME = "tap_schema"

_TEXT = VOType(Datatype.CHAR, "*")
_INT = VOType(Datatype.INT)

_STRINGS = {
    "schema_name": "Name of the schema, as queries write it",
    "table_name": "Qualified name of the table, as queries write it",
    "table_type": "table or view",
    "column_name": "Name of the column, as queries write it",
    "datatype": "VOTable type of the values",
    "arraysize": "VOTable arraysize; null for single values",
    "xtype": "Extended type of the values, as DALI defines them",
    "description": "What it is, in words",
    "utype": "Path in a data model",
    "unit": "Unit in VOUnit syntax",
    "ucd": "Unified content descriptor",
    "key_id": "Identifier of the foreign key",
    "from_table": "Table whose rows refer to another",
    "target_table": "Table that is referred to",
    "from_column": "Column of the referring table",
    "target_column": "Column that is referred to",
}
_INTEGERS = {
    "schema_index": "Recommended place among the schemas",
    "table_index": "Recommended place among the tables of the schema",
    "column_index": "Recommended place among the columns of the table",
    "size": "Length of the values where it is fixed or bounded; use arraysize instead",
    "indexed": "1 if an index makes conditions on the column fast",
    "principal": "1 if the column is among the most important ones",
    "std": "1 if a standard defines the column",
}

_CONTENTS = {
    "schemas": ("Schemas that can be queried", "schema_name utype description schema_index"),
    "tables": ("Tables that can be queried", "schema_name table_name table_type utype description table_index"),
    "columns": (
        "Columns of the tables that can be queried",
        """
        table_name column_name datatype arraysize xtype size description utype unit ucd indexed principal std
        column_index
        """,
    ),
    "keys": ("Foreign keys between tables", "key_id from_table target_table description utype"),
    "key_columns": ("Columns of the foreign keys", "key_id from_column target_column"),
}

_KEYS = {
    # TAP 1.1, "TAP_SCHEMA": these five are enforced and listed.
    "tables": (("tap_schema_tables_schemas", "schemas", "schema_name", "schema_name"),),
    "columns": (("tap_schema_columns_tables", "tables", "table_name", "table_name"),),
    "keys": (
        ("tap_schema_keys_from", "tables", "from_table", "table_name"),
        ("tap_schema_keys_target", "tables", "target_table", "table_name"),
    ),
    "key_columns": (("tap_schema_key_columns_keys", "keys", "key_id", "key_id"),),
}


def _column(name: str, index: int, *, is_indexed: bool) -> Column:
    is_text = name in _STRINGS
    return Column(
        field=Field(
            name,
            _TEXT if is_text else _INT,
            description=_STRINGS[name] if is_text else _INTEGERS[name],
        ),
        physical=name,
        sql_type="text" if is_text else "integer",
        is_indexed=is_indexed,
        is_std=True,
        index=index,
    )


def _table(name: str, index: int) -> Table:
    description, words = _CONTENTS[name]
    return Table(
        schema=NAME,
        name=name,
        columns=tuple(_column(word, place, is_indexed=place == 1) for place, word in enumerate(words.split(), start=1)),
        physical_schema=NAME,
        physical_name=name,
        description=description,
        keys=tuple(
            ForeignKey(key_id, f"{NAME}.{target}", ((here, there),))
            for key_id, target, here, there in _KEYS.get(name, ())
        ),
        index=index,
    )


TABLE_NAMES = tuple(_CONTENTS)
"""The five tables of the standard."""

STANDARD = Schema(
    NAME,
    tuple(_table(name, index) for index, name in enumerate(_CONTENTS, start=1)),
    description="What can be queried here: schemas, tables, columns and foreign keys (TAP 1.1)",
)
"""TAP_SCHEMA's description of itself; `migrate` publishes it like any other schema."""
