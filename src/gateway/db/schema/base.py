"""The two sets of tables that the gateway owns, and how their constraints are named."""

from sqlalchemy import MetaData

CONTROL_SCHEMA = "gateway"
"""Schema of the control database: jobs, their parts, leases."""

CATALOG_SCHEMA = "tap_schema"
"""Schema of the catalog database: TAP_SCHEMA with the physical names beside the published ones."""

IMAGES_SCHEMA = "gateway_images"
"""Schema of the catalog database that holds collections, files and datasets; ``ivoa.obscore`` is a view of it."""

NAMING = {
    "ix": "ix_%(table_name)s_%(column_0_N_name)s",
    "uq": "uq_%(table_name)s_%(column_0_N_name)s",
    "ck": "ck_%(table_name)s_%(constraint_name)s",
    "fk": "fk_%(table_name)s_%(column_0_N_name)s_%(referred_table_name)s",
    "pk": "pk_%(table_name)s",
}
"""Every constraint has a name that a later migration can rely on."""

CONTROL = MetaData(schema=CONTROL_SCHEMA, naming_convention=NAMING)
"""Tables of the control database; modules of this package add theirs."""

CATALOG = MetaData(schema=CATALOG_SCHEMA, naming_convention=NAMING)
"""Tables of the catalog database."""
