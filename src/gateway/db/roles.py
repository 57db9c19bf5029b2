"""The role under which the queries of callers run: it reads what is published and nothing else."""

from __future__ import annotations

from collections.abc import Sequence

BASE_URL = "gateway.base_url"
"""Session setting from which views make URLs: that of the service, as the caller sees it."""

QUERY_ROLE = "gateway_query"
"""Name of the role; belongs to the whole server, so that all databases of a server share it."""

ROLE_STATEMENTS = f"""
DO $$
DECLARE
    release constant integer := current_setting('server_version_num');
    -- Since 16 whoever makes a role administers it without being allowed to become it.
    become constant text := CASE WHEN release >= 160000 THEN 'SET' ELSE 'MEMBER' END;
BEGIN
    IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = '{QUERY_ROLE}') THEN
        BEGIN
            CREATE ROLE {QUERY_ROLE} NOLOGIN NOINHERIT;
        EXCEPTION
            -- Another database of this server is being migrated at this moment.
            WHEN duplicate_object OR unique_violation THEN NULL;
        END;
    END IF;
    IF NOT pg_has_role(current_user, '{QUERY_ROLE}', become) THEN
        EXECUTE format('GRANT {QUERY_ROLE} TO %I', current_user);
    END IF;
    IF NOT has_database_privilege('{QUERY_ROLE}', current_database(), 'TEMPORARY') THEN
        BEGIN
            EXECUTE format('GRANT TEMPORARY ON DATABASE %I TO {QUERY_ROLE}', current_database());
        EXCEPTION
            -- PUBLIC has this right unless an administrator took it away; then uploads say so.
            WHEN insufficient_privilege THEN NULL;
        END;
    END IF;
    IF release >= 150000 THEN
        IF NOT has_parameter_privilege('{QUERY_ROLE}', 'temp_file_limit', 'SET') THEN
            BEGIN
                EXECUTE 'GRANT SET ON PARAMETER temp_file_limit TO {QUERY_ROLE}';
            EXCEPTION
                -- Only superusers may grant it; without it the server's own limit is in force.
                WHEN insufficient_privilege THEN NULL;
            END;
        END IF;
    END IF;
END
$$
"""
"""Make the role and let this user become it. Fails if the role is absent and this user may not make it."""


DANGEROUS = (
    # wait, or hold locks that others wait for
    "pg_sleep.*",
    "pg_(try_)?advisory_.*",
    # undo the limits of the session
    "set_config",
    # act on other sessions, on the server, or on its log of changes
    "pg_(cancel|terminate)_backend",
    "pg_notify",
    "pg_export_snapshot",
    "pg_log_.*",
    "pg_logical_.*",
    "pg_(create|drop|copy|sync)_.*slots?",
    "pg_replication_.*",
    "pg_(reload_conf|promote|switch_wal|create_restore_point)",
    "pg_(rotate_logfile|import_system_collations|nextoid|stop_making_pinned_objects)",
    "pg_backup_.*",
    "pg_wal_replay_.*",
    "pg_stat_reset.*",
    "pg_(clear|restore)_.*_stats",
    "binary_upgrade_.*",
    "brin_(de)?summarize_.*",
    "gin_clean_pending_list",
    # read and write files and large objects
    "lo_.*",
    "loread",
    "lowrite",
    "pg_(read|ls|file)_.*",
    "pg_stat_file",
    "pg_current_logfile",
    # run a text as SQL, here or elsewhere
    "(query|cursor|table|schema|database)_to_xml.*",
    "ts_stat",
    "ts_rewrite",
    "dblink.*",
    "crosstab.*",
    "connectby",
)
"""Functions of PostgreSQL and its extensions that act on more than the rows of a query, as patterns of names.

ADQL reaches none of them, as only the functions of one table can be called. Taking them from the query role as well is a second
line: what a mistake of ours let through would still be refused.
"""

_OPEN = f"""
    SELECT format('%I.%I(%s)', n.nspname, p.proname, pg_get_function_identity_arguments(p.oid)) AS signature, p.proname
    FROM pg_proc p JOIN pg_namespace n ON n.oid = p.pronamespace
    WHERE p.proname ~ '^({"|".join(DANGEROUS)})$'
      AND (n.nspname = 'pg_catalog' OR EXISTS (
          SELECT FROM pg_depend d WHERE d.classid = 'pg_proc'::regclass AND d.objid = p.oid AND d.deptype = 'e'))
      AND has_function_privilege('{QUERY_ROLE}', p.oid, 'EXECUTE')
      AND has_schema_privilege('{QUERY_ROLE}', n.oid, 'USAGE')
"""

OPEN_FUNCTIONS = f"SELECT DISTINCT proname::text FROM ({_OPEN}) AS open ORDER BY 1"
"""Names of the dangerous functions that the query role may call."""

# The embedded server reads this file; only superusers are told.
_IS_OURS = "EXISTS (SELECT FROM pg_settings WHERE sourcefile LIKE '%/gateway.conf')"

CAN_CLOSE = f"SELECT {_IS_OURS} AND EXISTS ({_OPEN})"
"""Whether there are such functions and `CLOSE_STATEMENTS` would close them."""

CLOSE_STATEMENTS = f"""
DO $$
DECLARE
    signature text;
BEGIN
    IF {_IS_OURS} THEN
        FOR signature IN SELECT open.signature FROM ({_OPEN}) AS open LOOP
            EXECUTE 'REVOKE EXECUTE ON ROUTINE ' || signature || ' FROM PUBLIC';
            EXECUTE 'GRANT EXECUTE ON ROUTINE ' || signature || ' TO pg_database_owner';
        END LOOP;
    END IF;
END
$$
"""
"""Take the dangerous functions from everybody but the owner of the database, on the embedded server alone.

Everybody may call them by a right of PUBLIC, which cannot be taken from one role alone: elsewhere, others could lose by it, and
who owns a managed database may not do it at all.
"""


WELL_KNOWN = ("set_config", "pg_sleep", "pg_terminate_backend", "query_to_xml")
"""The first to be named in a report."""


def open_functions_report(names: Sequence[str]) -> str:
    """Tell an administrator what stays open, and that this alone is no hole."""
    shown = [name for name in WELL_KNOWN if name in names] or list(names[:4])
    more = f" and {len(names) - len(shown)} more" if len(names) > len(shown) else ""
    return (
        f"the role {QUERY_ROLE!r} may call {', '.join(shown)}{more}, as everybody may on this server. No ADQL query can: only "
        "the functions that the capabilities list pass. To close this second line as well, let a superuser revoke EXECUTE on "
        "them from PUBLIC, if nobody else in this database needs them"
    )


def role_instructions() -> str:
    """Tell what an administrator has to do when `ROLE_STATEMENTS` are refused."""
    return (
        f"this user may not create the role {QUERY_ROLE!r}, under which queries run; let an administrator run: "
        f"CREATE ROLE {QUERY_ROLE} NOLOGIN; GRANT {QUERY_ROLE} TO <this user>; and migrate again"
    )


def membership_instructions(fault: str) -> str:
    """Tell what an administrator has to do for a user under which queries shall reach the catalog."""
    return (
        f"the user of GATEWAY_CATALOG_URL cannot query as the role {QUERY_ROLE!r} ({fault}): let an administrator run "
        f"GRANT {QUERY_ROLE} TO <that user>, and see that GATEWAY_CATALOG_ADMIN_URL names the same database, or the "
        "primary of this replica"
    )
