"""The role under which the queries of callers run: it reads what is published and nothing else."""

from __future__ import annotations

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
            EXECUTE 'GRANT SET ON PARAMETER temp_file_limit TO {QUERY_ROLE}';
        END IF;
    END IF;
EXCEPTION
    -- Only superusers may grant temp_file_limit; without it the server's own limit is in force.
    WHEN insufficient_privilege THEN
        IF NOT pg_has_role(current_user, '{QUERY_ROLE}', become) THEN
            RAISE;
        END IF;
END
$$
"""
"""Make the role and let this user become it. Fails if the role is absent and this user may not make it."""


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
