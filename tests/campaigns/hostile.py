"""Hostile queries (reliability A1 to A8): what each must end in, and how they are made.

All of them are written for a table ``survey.stars`` with the columns id, ra, dec, name, for whoever wants to run them.
"""

from collections.abc import Iterator

from gateway.vo.adql.functions import allowed

HEAD = "SELECT id FROM survey.stars"
WHERE = f"{HEAD} WHERE id = 1"
TEXT = f"{HEAD} WHERE name = 'x'"

DOUBLED = f"{TEXT}''"
"""Two quotes behind a text are one inside of it: this is right."""

STACKED = [
    "; DROP TABLE survey.stars",
    ";DROP TABLE survey.stars;--",
    "; SELECT pg_sleep(10)",
    "; SELECT 1; SELECT 2",
    ";;",
    "; ; ",
    "; COMMIT",
    "; ROLLBACK; SET ROLE postgres",
    "; COPY survey.stars TO STDOUT",
    "; COPY (SELECT 1) TO PROGRAM 'id'",
    "; DO $$ BEGIN PERFORM pg_sleep(10); END $$",
    "; PREPARE p AS SELECT 1; EXECUTE p",
    "; SET statement_timeout = 0",
    "; RESET ROLE",
    "; SET SESSION AUTHORIZATION postgres",
    "; LISTEN x",
    "; NOTIFY x, 'y'",
    "; DECLARE c CURSOR FOR SELECT 1",
    "; TRUNCATE survey.stars",
    "; VACUUM FULL",
    "; CREATE EXTENSION dblink",
    "; ALTER ROLE gateway_query SUPERUSER",
    "\n;\nDROP TABLE survey.stars\n;\n",
    "\uff1bDROP TABLE survey.stars",
    "\u037eDROP TABLE survey.stars",
    "') TO STDOUT; DROP TABLE survey.stars; COPY (SELECT (''",
    ") TO STDOUT; DROP TABLE survey.stars; --",
    ") TO PROGRAM 'id'",
    " \\; DROP TABLE survey.stars",
    " \\g",
    " \\gexec",
    " \\! id",
    " \\copy x from y",
]

COMMENTS = [
    "/* x */",
    "/**/OR/**/1=1",
    "/*/* nested */*/",
    "/*! OR 1=1 */",
    "/*+ SeqScan(stars) */",
    "*/",
    "/*",
    "# OR 1=1",
    " -\n- OR 1=1",
    " {- x -}",
    " // x",
    " <!-- x -->",
    " REM x",
    "--\nDROP TABLE survey.stars",
    "--\rDROP TABLE survey.stars",
    "--\r\n; DROP TABLE survey.stars",
    "--x\n/* y */",
]

LITERALS = [
    " OR name = E'\\''",
    " OR name = e'\\x27'",
    " OR name = U&'\\0027'",
    " OR name = U&'!0027' UESCAPE '!'",
    ' OR U&"\\0069d" = 1',
    " OR name = B'01'",
    " OR name = X'1F'",
    " OR name = N'x'",
    " OR name = _utf8'x'",
    " OR name = $$x$$",
    " OR name = $tag$x$tag$",
    " OR name = $_$ ' $_$",
    " OR name = $$ '; DROP TABLE x; -- $$",
    " OR name = $ $x$ $",
    " OR name = q'[x]'",
    " OR name = `x`",
    " OR name = [x]",
    " OR name = \u2018x\u2019",
    " OR name = \u201cx\u201d",
    " OR name = \uff07x\uff07",
    " OR name = \u02bcx\u02bc",
    " OR name = \u00b4x\u00b4",
    " OR name = 'x",
    " OR name = '''x",
    " OR name = 'x''",
    " OR name = 'x' 'y'",
    " OR name = 'x'\n'y'",
    ' OR name = "x"',
    ' OR name = "x',
    ' OR name = ""',
    " OR name = ''''''''''x",
    " OR name = '\0'",
    " OR name = '\ud800'",
    " OR name = '\udc00\ud800'",
    " OR name = \0",
    "\0",
    "\0; DROP TABLE survey.stars",
    "'",
    "''",
    "'; --",
    '"',
    "\\",
    "\\'",
    "' OR '1'='1",
    "' OR 1=1 --",
    "' UNION SELECT rolpassword FROM pg_authid --",
    "&#39; OR 1=1",
    "\x1a' OR 1=1",
    "\x08' OR 1=1",
]

UNICODE = [
    "S\u0415LECT id FROM survey.stars",  # Cyrillic
    "\u017fELECT id FROM survey.stars",  # its upper case is S
    "SELECT \u0131d FROM survey.stars",  # its upper case is I
    "SELECT \uff49\uff44 FROM survey.stars",
    "\uff33\uff25\uff2c\uff25\uff23\uff34 id FROM survey.stars",
    "SELECT\u00a0id FROM survey.stars",
    "SELECT\u2003id FROM survey.stars",
    "SELECT\u2028id FROM survey.stars",
    "SELECT\u0085id FROM survey.stars",
    "SELECT\u3000id FROM survey.stars",
    "SELECT\u180eid FROM survey.stars",
    "SELECT\x0bid FROM survey.stars",
    "SELECT\x1fid FROM survey.stars",
    "SELECT\x7fid FROM survey.stars",
    "SEL\u200bECT id FROM survey.stars",
    "SELECT i\u200dd FROM survey.stars",
    "SELECT id\u0301 FROM survey.stars",
    "\ufeffSELECT id FROM survey.stars",
    "\u202eSELECT id FROM survey.stars",
    "SELECT id FROM survey\uff0estars",
    "SELECT id FROM survey\u3002stars",
    "SELECT id FROM survey.stars WHERE id \uff1d 1",
    "SELECT id FROM survey.stars WHERE id = \u0661",
    "SELECT id FROM survey.stars WHERE id = \uff11",
    "SELECT id FROM survey.stars WHERE id = \u00bd",
    "SELECT id FROM survey.stars WHERE id = 1\u0661",
    "SELECT id FROM survey.stars WHERE id = \u2212 1",
    "SELECT id FROM survey.stars WHERE id \u2260 1",
    "SELECT id FROM survey.stars WHERE id IN \uff081\uff09",
    "SELECT \u212a FROM survey.stars",  # Kelvin sign: its lower case is k
    'SELECT "\u0131d" FROM survey.stars',
    'SELECT "i\u200bd" FROM survey.stars',
    'SELECT "\uff49d" FROM survey.stars',
    'SELECT id FROM "survey"."\u0455tars"',
    'SELECT id FROM "\u017furvey"."stars"',
    "SELECT \u00e4 FROM survey.stars",
    "SELECT \U0001f600 FROM survey.stars",
    "SELECT \u017fqrt(4) FROM survey.stars",
    'SELECT "\u017fqrt"(4) FROM survey.stars',
    'SELECT "pg_sleep\u200b"(4) FROM survey.stars',
]

STATEMENTS = """
INSERT INTO survey.stars VALUES (1)|INSERT INTO survey.stars SELECT * FROM survey.stars|UPDATE survey.stars SET id = 1
DELETE FROM survey.stars|MERGE INTO survey.stars USING x ON 1=1 WHEN MATCHED THEN DELETE|TRUNCATE survey.stars
DROP TABLE survey.stars|DROP SCHEMA survey CASCADE|DROP OWNED BY gateway_query|CREATE TABLE x (id int)|CREATE TEMP TABLE x AS SELECT 1
CREATE VIEW v AS SELECT 1|CREATE FUNCTION f() RETURNS int AS 'SELECT 1' LANGUAGE sql|CREATE ROLE x SUPERUSER|CREATE EXTENSION dblink
CREATE DATABASE x|CREATE RULE r AS ON SELECT TO survey.stars DO INSTEAD NOTHING|CREATE EVENT TRIGGER t ON sql_drop EXECUTE FUNCTION f()
ALTER TABLE survey.stars ADD x int|ALTER SYSTEM SET log_statement = 'none'|ALTER ROLE gateway_query SUPERUSER|ALTER DATABASE x OWNER TO y
GRANT ALL ON survey.stars TO public|REVOKE ALL ON survey.stars FROM public|REASSIGN OWNED BY x TO y|SECURITY LABEL ON TABLE x IS 'y'
COPY survey.stars TO STDOUT|COPY survey.stars FROM STDIN|COPY survey.stars TO '/tmp/x'|COPY survey.stars FROM PROGRAM 'id'
COPY (SELECT 1) TO STDOUT|DO $$ BEGIN END $$|DO LANGUAGE plpgsql 'BEGIN END'|CALL x()|SET ROLE postgres|SET SESSION AUTHORIZATION postgres
SET statement_timeout = 0|SET LOCAL ROLE NONE|SET TRANSACTION READ WRITE|RESET ROLE|RESET ALL|SHOW ALL|SHOW data_directory|DISCARD ALL
LOCK TABLE survey.stars|PREPARE x AS SELECT 1|EXECUTE x|DEALLOCATE ALL|LISTEN x|UNLISTEN *|NOTIFY x|VACUUM|ANALYZE survey.stars
CLUSTER|REINDEX TABLE survey.stars|CHECKPOINT|REFRESH MATERIALIZED VIEW x|IMPORT FOREIGN SCHEMA x FROM SERVER y INTO z|LOAD 'x'
BEGIN|START TRANSACTION|COMMIT|END|ROLLBACK|ABORT|SAVEPOINT x|RELEASE x|PREPARE TRANSACTION 'x'|COMMIT PREPARED 'x'
EXPLAIN SELECT id FROM survey.stars|EXPLAIN ANALYZE SELECT id FROM survey.stars|DECLARE c CURSOR FOR SELECT 1|FETCH ALL FROM c|MOVE c|CLOSE c
TABLE survey.stars|VALUES (1)|VALUES (1), (2)|COMMENT ON TABLE survey.stars IS 'x'|CREATE STATISTICS s ON id, ra FROM survey.stars
WITH x AS (DELETE FROM survey.stars RETURNING *) SELECT * FROM x|WITH x AS (INSERT INTO survey.stars VALUES (1) RETURNING *) SELECT * FROM x
WITH x AS (UPDATE survey.stars SET id = 1 RETURNING id) SELECT id FROM x|WITH x AS (SELECT 1) DELETE FROM survey.stars
WITH x AS (TABLE survey.stars) SELECT * FROM x|WITH x AS (VALUES (1)) SELECT * FROM x
WITH RECURSIVE x AS (SELECT 1 AS n UNION ALL SELECT n + 1 FROM x) SELECT n FROM x
WITH x AS (SELECT 1 AS n FROM survey.stars UNION ALL SELECT n + 1 FROM x) SELECT n FROM x
WITH x AS MATERIALIZED (SELECT id FROM survey.stars) SELECT * FROM x|WITH x AS NOT MATERIALIZED (SELECT id FROM survey.stars) SELECT * FROM x
WITH x AS (SELECT id FROM y), y AS (SELECT id FROM x) SELECT * FROM x|WITH x(a) AS (SELECT id FROM survey.stars) SELECT a FROM x
WITH x AS (SELECT id FROM survey.stars) SEARCH DEPTH FIRST BY id SET o SELECT * FROM x
SELECT INTO x FROM survey.stars|SELECT id INTO x FROM survey.stars|SELECT id INTO TEMP x FROM survey.stars|SELECT id INTO OUTFILE '/tmp/x' FROM survey.stars
SELECT|SELECT FROM survey.stars|SELECT ON id FROM survey.stars|SELECT DISTINCT ON (id) id FROM survey.stars|SELECT id FROM ONLY survey.stars
SELECT id FROM survey.stars*|SELECT id FROM LATERAL (SELECT 1 AS id) x|SELECT id FROM ROWS FROM (generate_series(1,2)) AS x(id)
SELECT id FROM unnest(ARRAY[1]) AS x(id)|SELECT * FROM generate_series(1, 100000000000) AS x|SELECT * FROM pg_ls_dir('/') AS x
SELECT * FROM XMLTABLE('x')|SELECT * FROM JSON_TABLE('x', '$')|SELECT * FROM dblink('', 'SELECT 1') AS x(a int)|SELECT * FROM TABLE(f())
SELECT id FROM survey.stars TABLESAMPLE SYSTEM (1)|SELECT id FROM survey.stars FOR UPDATE|SELECT id FROM survey.stars FOR SHARE NOWAIT
SELECT id FROM survey.stars LIMIT 1|SELECT id FROM survey.stars LIMIT ALL|SELECT id FROM survey.stars FETCH FIRST 1 ROWS ONLY
SELECT TOP 1 WITH TIES id FROM survey.stars|SELECT TOP 50 PERCENT id FROM survey.stars|SELECT TOP (SELECT 1) id FROM survey.stars
SELECT TOP -1 id FROM survey.stars|SELECT TOP 1.5 id FROM survey.stars|SELECT TOP 1e3 id FROM survey.stars|SELECT TOP 0x10 id FROM survey.stars
SELECT id FROM survey.stars OFFSET (SELECT 1)|SELECT id FROM survey.stars OFFSET -1|SELECT id FROM survey.stars OFFSET 1 ROWS|SELECT id FROM survey.stars OFFSET id
SELECT id FROM survey.stars WINDOW w AS ()|SELECT COUNT(*) OVER () FROM survey.stars|SELECT MAX(id) FILTER (WHERE id > 1) FROM survey.stars
SELECT MAX(id ORDER BY id) FROM survey.stars|SELECT MAX(VARIADIC id) FROM survey.stars|SELECT POWER(x => 1, y => 2) FROM survey.stars
SELECT id FROM survey.stars GROUP BY ROLLUP (id)|SELECT id FROM survey.stars GROUP BY CUBE (id)|SELECT id FROM survey.stars GROUP BY GROUPING SETS ((id))
SELECT id FROM survey.stars ORDER BY id USING >|SELECT id FROM survey.stars ORDER BY id NULLS FIRST|SELECT id FROM survey.stars ORDER BY id COLLATE "C"
SELECT name COLLATE "C" FROM survey.stars|SELECT id AT TIME ZONE 'UTC' FROM survey.stars|SELECT ARRAY[1] FROM survey.stars|SELECT ARRAY(SELECT 1) FROM survey.stars
SELECT ROW(1) FROM survey.stars|SELECT (survey.stars).id FROM survey.stars|SELECT (id, ra) FROM survey.stars|SELECT stars FROM survey.stars
SELECT survey.stars FROM survey.stars|SELECT stars.* IS NULL FROM survey.stars|SELECT id[1] FROM survey.stars|SELECT (id).x FROM survey.stars
SELECT id FROM survey.stars WHERE id = ANY (SELECT 1)|SELECT id FROM survey.stars WHERE id > ALL (SELECT 1)|SELECT id FROM survey.stars WHERE id = SOME (SELECT 1)
SELECT id FROM survey.stars WHERE (id, ra) = (1, 2)|SELECT id FROM survey.stars WHERE ROW(id) = ROW(1)|SELECT id FROM survey.stars WHERE id IS DISTINCT FROM 1
SELECT id FROM survey.stars WHERE name SIMILAR TO 'x'|SELECT id FROM survey.stars WHERE name LIKE 'x' ESCAPE 'y'|SELECT id FROM survey.stars WHERE name IS DOCUMENT
SELECT id FROM survey.stars WHERE name IS JSON|SELECT id FROM survey.stars WHERE name IS NORMALIZED|SELECT id FROM survey.stars WHERE id OPERATOR(pg_catalog.=) 1
SELECT id FROM survey.stars WHERE (ra, ra) OVERLAPS (dec, dec)|SELECT id FROM survey.stars WHERE UNIQUE (SELECT 1)|SELECT id FROM survey.stars WHERE CURRENT OF c
SELECT EXTRACT(EPOCH FROM ra) FROM survey.stars|SELECT SUBSTRING(name FROM 1) FROM survey.stars|SELECT POSITION('a' IN name) FROM survey.stars
SELECT OVERLAY(name PLACING 'x' FROM 1) FROM survey.stars|SELECT TRIM(BOTH 'x' FROM name) FROM survey.stars|SELECT CONVERT(name USING utf8) FROM survey.stars
SELECT XMLELEMENT(NAME a) FROM survey.stars|SELECT XMLPARSE(DOCUMENT name) FROM survey.stars|SELECT XMLSERIALIZE(CONTENT name AS text) FROM survey.stars
SELECT GROUPING(id) FROM survey.stars|SELECT MERGE_ACTION() FROM survey.stars|SELECT GREATEST(id, 1) FROM survey.stars|SELECT LEAST(id, 1) FROM survey.stars
SELECT INTERVAL '1' DAY FROM survey.stars|SELECT DATE '2020-01-01' FROM survey.stars|SELECT TIMESTAMP '2020-01-01' FROM survey.stars|SELECT POINT '1,2' FROM survey.stars
SELECT xml '<a/>' FROM survey.stars|SELECT regclass 'pg_class' FROM survey.stars|SELECT float8 '1' FROM survey.stars|SELECT pg_catalog.float8 '1' FROM survey.stars
SELECT id FROM survey.stars UNION SELECT 1|SELECT id FROM survey.stars UNION TABLE pg_class|SELECT id FROM survey.stars UNION VALUES (1)|SELECT id FROM survey.stars UNION CORRESPONDING SELECT id FROM survey.stars
SELECT 1|SELECT 1 WHERE 1=1|SELECT id, FROM survey.stars|SELECT id FROM survey.stars,|SELECT *.id FROM survey.stars|SELECT id FROM (SELECT id FROM survey.stars)
SELECT id FROM survey.stars CROSS APPLY x|SELECT id FROM survey.stars JOIN survey.stars|SELECT id FROM survey.stars UNION JOIN survey.stars|SELECT id FROM survey.stars s JOIN survey.stars t
SELECT :x FROM survey.stars|SELECT :'x' FROM survey.stars|SELECT $1 FROM survey.stars|SELECT ? FROM survey.stars|SELECT @x FROM survey.stars|SELECT @@version FROM survey.stars
SELECT %s FROM survey.stars|SELECT %(x)s FROM survey.stars|SELECT {x} FROM survey.stars|SELECT ${x} FROM survey.stars|SELECT #{x} FROM survey.stars|SELECT {{7*7}} FROM survey.stars
SELECT 1.2.3 FROM survey.stars|SELECT 1e FROM survey.stars|SELECT 0x1F FROM survey.stars|SELECT 0b1 FROM survey.stars|SELECT 1_000 FROM survey.stars|SELECT 1a FROM survey.stars|SELECT . FROM survey.stars
"""

VALUES = """CURRENT_USER SESSION_USER SYSTEM_USER USER CURRENT_ROLE CURRENT_CATALOG CURRENT_SCHEMA CURRENT_DATE CURRENT_TIME
LOCALTIME LOCALTIMESTAMP DEFAULT ctid xmin xmax cmin cmax tableoid oid gw_hpx29 secret stars survey rowid rownum""".split()

RELATIONS = """
pg_class pg_authid pg_shadow pg_user pg_roles pg_database pg_proc pg_settings pg_file_settings pg_hba_file_rules pg_stat_activity
pg_stat_statements pg_stat_ssl pg_locks pg_cursors pg_prepared_statements pg_tables pg_views pg_indexes pg_stats pg_statistic pg_largeobject
pg_largeobject_metadata pg_user_mapping pg_user_mappings pg_foreign_server pg_subscription pg_replication_slots pg_config pg_trigger
pg_attribute pg_namespace pg_extension pg_available_extensions pg_backend_memory_contexts pg_shmem_allocations pg_temp.mine pg_temp_3.mine
pg_toast.pg_toast_1 pg_catalog.pg_class information_schema.tables information_schema.columns information_schema.routines
gateway.job gateway.job_part gateway.account gateway.alembic_version tap_schema.version tap_schema.alembic_version gateway_images.dataset
gateway_images.collection public.stars sky.distance sky.zone alembic_version survey.hidden survey.stars.id postgres.survey.stars.x
""".split()

QUOTED = [
    '"survey.stars"',
    '"survey"."stars "',
    '" survey"."stars"',
    '"SURVEY"."stars"',
    '"survey"."STARS"',
    '"survey""."".stars"',
    '"survey"."stars"";DROP TABLE x;--"',
    '"survey"."stars\n"',
    '"survey\0"."stars"',
    '"survey"."stars\\"',
    '"pg_catalog"."pg_class"',
    '"pg_catalog.pg_class"',
    '"PG_CLASS"',
    '"pg_temp"."mine"',
    '"(SELECT 1)"',
    '"generate_series(1,10)"',
    '"survey"."' + "s" * 10_000 + '"',
]

FUNCTIONS = """
pg_sleep pg_sleep_for pg_sleep_until set_config current_setting query_to_xml query_to_xmlschema query_to_xml_and_xmlschema table_to_xml
schema_to_xml database_to_xml cursor_to_xml xmlparse xpath xpath_exists xmlagg ts_stat ts_rewrite ts_headline to_tsvector dblink
dblink_exec dblink_connect lo_import lo_export lo_get lo_put lo_create lo_creat lo_unlink lo_open lo_from_bytea loread lowrite
pg_read_file pg_read_binary_file pg_ls_dir pg_ls_logdir pg_ls_waldir pg_stat_file pg_file_write pg_file_unlink pg_current_logfile
pg_terminate_backend pg_cancel_backend pg_reload_conf pg_rotate_logfile pg_promote pg_switch_wal pg_create_restore_point
pg_advisory_lock pg_advisory_xact_lock pg_try_advisory_lock pg_advisory_unlock_all pg_notify pg_logical_emit_message
pg_export_snapshot pg_stat_reset pg_stat_clear_snapshot pg_create_logical_replication_slot pg_drop_replication_slot pg_backup_start
pg_import_system_collations pg_nextoid nextval setval currval lastval txid_current pg_current_xact_id version inet_server_addr
inet_client_addr pg_postmaster_start_time pg_backend_pid pg_conf_load_time pg_is_in_recovery current_user session_user
current_database current_schema current_schemas current_query pg_get_userbyid pg_get_viewdef pg_get_functiondef pg_get_ruledef
pg_get_constraintdef pg_get_indexdef pg_get_expr pg_relation_filepath pg_relation_size pg_database_size pg_table_size
has_table_privilege has_column_privilege has_function_privilege pg_has_role pg_show_all_settings pg_stat_get_activity
pg_lock_status pg_cursor pg_prepared_statement pg_typeof format_type col_description obj_description to_regclass to_regproc to_regrole
regclassin regprocin textin int4in array_in record_in byteain xml_in json_in int4out textout array_out record_out
generate_series generate_subscripts unnest repeat rpad lpad replace translate regexp_replace regexp_matches regexp_match
regexp_split_to_array regexp_split_to_table regexp_count string_to_array string_to_table array_to_string split_part overlay format concat
concat_ws quote_ident quote_literal quote_nullable chr ascii encode decode convert convert_from convert_to md5 sha256 sha512
crypt gen_salt gen_random_bytes gen_random_uuid uuidv7 random random_normal setseed clock_timestamp now timeofday
statement_timestamp transaction_timestamp age to_char to_date to_timestamp to_number make_interval make_date date_part date_trunc
string_agg array_agg json_agg jsonb_agg json_object_agg xmlconcat row_to_json to_json json_build_object json_populate_record
jsonb_path_query percentile_cont rank row_number lag ntile first_value stddev variance corr bit_and bool_or every
int4pl int4div float8div float8mul texteq textcat textlike int8inc int4_avg_accum pg_column_size pg_relation_is_updatable
width_bucket factorial gcd lcm cbrt erf sinh acosh div scale trim_scale min_scale hashtext hashint8 point box circle polygon area
abs_ substr substring position strpos left right reverse initcap length char_length octet_length bit_length btrim ltrim trim
if iff ifnull isnull nvl decode_ coalesce_ greatest least benchmark sleep load_file xp_cmdshell exec eval system shell
distance zone near near_narrow mod_ parse_point in_polygon side q3c_radial_query q3c_join pgs scircle spoint healpix_nest
""".split()

FORMS = [
    "SELECT {0}() FROM survey.stars",
    "SELECT {0}(1) FROM survey.stars",
    "SELECT id FROM survey.stars WHERE {0}('x') = 1",
    "SELECT pg_catalog.{0}('x', 1) FROM survey.stars",
    'SELECT "{0}"(1, 2, 3) FROM survey.stars',
    "SELECT * FROM {0}('x') AS x",
]

TYPES = """regclass regproc regprocedure regrole regnamespace regtype regconfig xml json jsonb bytea oid name text cstring record void
anyelement money inet cidr macaddr uuid tsvector tsquery box line lseg path int4 int8 float8 numeric decimal bool boolean date time
timestamptz interval bit varbit bpchar unknown pg_lsn txid_snapshot pg_node_tree aclitem int4range anyarray refcursor "char" "INTEGER"
pg_catalog.int4 survey.stars INTEGER[] VARCHAR(1)[] DOUBLE FLOAT(53) NUMERIC(1000,1000) VARCHAR(x) VARCHAR(-1) VARCHAR(1,2) VARCHAR(0)
CHAR(99999999999) VARCHAR('1') SETOF""".split()
TWO_WORDS = [
    "TIMESTAMP WITH TIME ZONE",
    "TIMESTAMP(3)",
    "NATIONAL CHARACTER",
    "SETOF INTEGER",
    "INTEGER ARRAY",
]

OPERATORS = """~ ~* !~ !~* ~~ ~~* @@ @> <@ && -> ->> #> #>> #- ? ?| ?& << >> <<| |>> |/ ||/ @ !! %% ^ & | # := => == <=> ** === ^@ -|- @-@
:: . .. !== <> ALL""".split()

GEOMETRY = [
    "POINT('ICRS''); DROP TABLE x; --', 1, 2)",
    "POINT('GALACTIC', 1, 2)",
    "POINT('FK5', 1, 2)",
    "POINT(name, 1, 2)",
    "POINT(1)",
    "POINT(1, 2, 3)",
    "POINT('1', '2')",
    "POINT(1, 95)",
    "POINT(400, 5)",
    "POINT(1e999, 5)",
    "CIRCLE(1, 2)",
    "CIRCLE(1, 2, -1)",
    "CIRCLE(1, 2, 3, 4, 5)",
    "CIRCLE(1, 2, 'x')",
    "CIRCLE('x', 1, 2, 3)",
    "POLYGON(1, 2, 3, 4)",
    "POLYGON(1, 2, 3, 4, 5)",
    "POLYGON(POINT(1, 2), POINT(2, 3), 4, 5)",
    "POLYGON()",
    "REGION(name)",
    "REGION('CIRCLE'; DROP TABLE x)",
    "REGION('CIRCLE 1 2')",
    "REGION('CIRCLE 1 2 3); DROP TABLE x; --')",
    "REGION('\ud800')",
    "CONTAINS(POINT(1, 2))",
    "CONTAINS(1, 2)",
    "CONTAINS(POINT(1, 2), name)",
    "INTERSECTS('a', 'b')",
    "DISTANCE(1, 2, 3)",
    "DISTANCE(POINT(1, 2), CIRCLE(1, 2, 3))",
    "AREA(1)",
    "CENTROID(name)",
    "COORD1(CIRCLE(1, 2, 3))",
    "BOX(1, 2, -3, 4)",
    "CAST('1 2; DROP TABLE x' AS POINT)",
    "CAST('nan inf' AS POINT)",
    "CAST('{1,2}' AS POINT)",
    "CAST('1 2 3' AS POINT)",
    "CAST('' AS CIRCLE)",
    "CAST(CAST('1 2' AS POINT) AS VARCHAR)",
    "IN_UNIT(ra, name)",
    "IN_UNIT(ra, 'deg''; DROP TABLE x; --')",
    "IN_UNIT(ra, 'kg')",
    "IN_UNIT(ra, '')",
    "IN_UNIT(ra, 'deg" + "**2" * 1000 + "')",
    "IN_UNIT(ra, '" + "(" * 5000 + "')",
    "IN_UNIT(id, 'deg')",
    '"RANGE OF RA AND DEC"(1, 2, 3, 4)',
    "RANGE OF RA AND DEC(1, 2, 3, 4)",
]

NUMBERS = [
    "1e999",
    "-1e999",
    "1e99999999999",
    "1e-999999999999999999",
    "9" * 400,
    "0." + "0" * 400 + "1e99999",
    "1e+",
    "1e400 * 0",
]


def one_line(text: str) -> list[str]:
    """Queries of a block, between bars and line ends."""
    return [part for line in text.strip().splitlines() for part in line.split("|") if part.strip()]


def growing(levels: int, expression: str) -> str:
    """Common tables, each of which names the one before several times."""
    steps = [f"q{n} AS (SELECT {expression} AS a FROM q{n - 1})" for n in range(1, levels)]
    return f"WITH {', '.join(['q0 AS (SELECT id AS a FROM survey.stars)', *steps])} SELECT a FROM q{levels - 1}"


def refused() -> Iterator[tuple[str, str]]:
    """Queries that are not ADQL, or name what is not published; with their family."""
    for family, tails in (("stacked", STACKED), ("comment", COMMENTS), ("literal", LITERALS)):
        for base in (WHERE, TEXT, HEAD):
            yield from ((family, base + tail) for tail in tails if base + tail != DOUBLED)
    yield from (("unicode", query) for query in UNICODE)
    yield from (("statement", query) for query in one_line(STATEMENTS))
    yield from (("statement", f"{HEAD}; {query}") for query in one_line(STATEMENTS))
    for value in VALUES:
        yield from (
            ("value", f"SELECT {value} FROM survey.stars"),
            ("value", f"SELECT stars.{value} FROM survey.stars"),
            ("value", f'{HEAD} WHERE "{value}" = 1'),
            ("value", f"{HEAD} ORDER BY survey.stars.{value}"),
        )
    for relation in [*RELATIONS, *QUOTED]:
        yield from (
            ("relation", f"SELECT * FROM {relation}"),
            ("relation", f"{HEAD} WHERE EXISTS (SELECT 1 FROM {relation})"),
            ("relation", f"{HEAD} UNION SELECT oid FROM {relation}"),
            ("relation", f"WITH x AS (SELECT * FROM {relation}) SELECT * FROM x"),
        )
    known = {name.lower() for name in allowed.names()}
    for name in FUNCTIONS:
        yield from (("function", form.format(name)) for form in FORMS if name not in known or "{0}(" not in form)
    for kind in [*TYPES, *TWO_WORDS]:
        yield ("type", f"SELECT CAST(name AS {kind}) FROM survey.stars")
        yield ("type", f"SELECT name::{kind} FROM survey.stars")
    yield from (("operator", f"SELECT id {sign} 2 FROM survey.stars") for sign in OPERATORS)
    yield from (("operator", f"{HEAD} WHERE name {sign} 'x'") for sign in OPERATORS if sign != "<>")
    yield from (("geometry", f"SELECT {call} FROM survey.stars") for call in GEOMETRY)
    yield from (("number", f"SELECT TOP {number} id FROM survey.stars") for number in NUMBERS)
    yield from (("number", f"{HEAD} OFFSET {number}") for number in NUMBERS)
    yield from (("size", query) for query in TOO_LARGE)
    yield from (("size", growing(levels, "a + a - a * a")) for levels in (10, 20, 40, 60))
    yield from (("size", growing(levels, "POWER(a, a)")) for levels in (20, 60))


TOO_LARGE = [
    "SELECT " + "(" * 70 + "1" + ")" * 70 + " FROM survey.stars",
    "SELECT " + "(" * 90_000,
    "SELECT " + "ABS(" * 70 + "id" + ")" * 70 + " FROM survey.stars",
    "SELECT id FROM " + "(SELECT id FROM " * 70 + "survey.stars" + ") AS q" * 70,
    HEAD + " WHERE " + "NOT " * 5_000 + "id = 1",
    HEAD + " WHERE id IN (" + ",".join(["1"] * 20_000) + ")",
    HEAD + " WHERE name = '" + "x" * 100_000 + "'",
    HEAD + " WHERE " + " OR ".join(["id=1"] * 9_000),
    " UNION ".join([HEAD] * 500),
    " INTERSECT ".join([HEAD] * 500),
    "SELECT s0.id FROM " + ",".join(f"survey.stars s{n}" for n in range(500)),
    "SELECT " + ",".join(f"id AS c{n}" for n in range(6_000)) + " FROM survey.stars",
    "WITH " + ",".join(f"q{n} AS (SELECT id FROM survey.stars)" for n in range(2_000)) + " SELECT id FROM q1",
    "SELECT " + "CASE WHEN id = 1 THEN " * 200 + "1" + " END" * 200 + " FROM survey.stars",
    "SELECT " + "- " * 9_000 + "id FROM survey.stars",
    "SELECT " + "id + " * 8_000 + "id FROM survey.stars",
    "SELECT " + "name || " * 9_999 + "name FROM survey.stars " + "x" * 50_000,
    HEAD + " ORDER BY " + ",".join(["id"] * 11_000),
    HEAD + " GROUP BY " + ",".join(["id"] * 11_000),
    "SELECT " + "." * 50_000,
    "SELECT " + "a." * 20 + "a FROM survey.stars",
    'SELECT "' + "x" * 99_000 + '" FROM survey.stars',
    "--" * 49_000,
    "\n" * 99_000,
    "SELECT id FROM survey.stars" + " " * 100_000,
]

INSIDE = [
    "'; DROP TABLE survey.stars; --",
    "' OR '1'='1",
    "\\",
    "\\'",
    "\\x27 OR 1=1",
    "%s %(x)s {} {0} $1 :x ? @x",
    "$$; DROP TABLE survey.stars; $$",
    "/* */ -- \n",
    "*/ ; --",
    ") TO STDOUT; DROP TABLE survey.stars; --",
    "E'\\''",
    "U&'\\0027'",
    "\u2019\u02bc\uff07",
    "\u202e\u200b\ufeff",
    "\r\n\t\x0b\x0c\x01\x7f",
    "</QUERY><script>alert(1)</script>",
    "\U0001f600" * 20,
    "x" * 5_000,
    "''" * 2_000,
    "%" * 50,
    "_" * 50,
    '"; DROP TABLE survey.stars; --"',
    '""',
    "NULL",
    "",
]
"""Texts that are harmless inside their quotes."""


def quoted(text: str, mark: str = "'") -> str:
    return mark + text.replace(mark, mark + mark) + mark


def harmless() -> Iterator[tuple[str, str]]:
    """Queries that look hostile and are right: they run, and do nothing but what they say."""
    for text in INSIDE:
        yield from (
            ("text", f"SELECT {quoted(text)} AS x FROM survey.stars"),
            ("text", f"{HEAD} WHERE name = {quoted(text)} OR name LIKE {quoted(text)}"),
            ("text", f"{HEAD} WHERE name IN ({quoted(text)}) -- {text.splitlines()[0] if text else ''}"),
        )
        if text and len(text) < 1_000:
            name = quoted(text, '"')
            yield ("name", f"SELECT id AS {name} FROM survey.stars AS {name} ORDER BY {name}")
            yield ("name", f"WITH {name} AS (SELECT id AS {name} FROM survey.stars) SELECT {name}.{name} FROM {name}")
    yield from (
        ("comment", f"{HEAD} -- ; DROP TABLE survey.stars"),
        ("comment", f"{HEAD} --\n--\n-- ' \" /* $$\nWHERE id = 1 --"),
        ("comment", "SELECT--x\nid--y\nFROM--z\nsurvey.stars"),
        ("semicolon", f"{HEAD};"),
        ("semicolon", f"{HEAD} ; -- x"),
        ("text", DOUBLED),
        ("text", f"{WHERE} OR name = 'x\\'' OR 1=1 --'"),
        ("large", f"{HEAD} WHERE id IN (" + ",".join(map(str, range(9_000))) + ")"),
        ("large", f"{HEAD} WHERE " + " OR ".join(f"id={n}" for n in range(4_000))),
        ("large", " UNION ALL ".join([HEAD] * 60)),
        ("large", "SELECT " + "(" * 60 + "id" + ")" * 60 + " FROM survey.stars"),
        ("large", "SELECT " + "||".join(["name"] * 3_000) + " FROM survey.stars"),
        ("number", f"{HEAD} WHERE id = 99999999999999999999999999999999"),
        ("number", f"{HEAD} WHERE ra < 1e308 AND ra > -1e308"),
    )


def bombs() -> Iterator[tuple[str, str]]:
    """Queries that are right and would never end, or fill memory or disk: a limit stops them (A6, A7)."""
    many = ", ".join(f"survey.big AS s{n}" for n in range(6))
    yield from (
        ("cartesian", f"SELECT COUNT(*) AS n FROM {many}"),
        ("cartesian", f"SELECT MAX(s0.id + s5.id) AS n FROM {many}"),
        ("sort", "SELECT s0.id FROM survey.big AS s0, survey.big AS s1 ORDER BY s1.id * s0.id"),
        ("distinct", "SELECT DISTINCT s0.id * s1.id AS n FROM survey.big AS s0, survey.big AS s1"),
        ("group", "SELECT s0.id * s1.id AS n, COUNT(*) AS m FROM survey.big s0, survey.big s1 GROUP BY s0.id * s1.id"),
        (
            "sets",
            "SELECT s0.id * s1.id AS n FROM survey.big s0, survey.big s1 UNION SELECT s0.id - s1.id FROM survey.big s0, survey.big s1",
        ),
        (
            "sets",
            "SELECT s0.id AS n FROM survey.big s0, survey.big s1 EXCEPT ALL SELECT s1.id FROM survey.big s0, survey.big s1",
        ),
        (
            "exists",
            "SELECT COUNT(*) AS n FROM survey.big s WHERE NOT EXISTS (SELECT 1 FROM survey.big t WHERE t.id * s.id < 0)",
        ),
        ("scalar", "SELECT (SELECT MAX(t.id * s.id) FROM survey.big t) AS n FROM survey.big s ORDER BY 1"),
        ("top", f"SELECT TOP 1000000000000 s0.id FROM {many} WHERE s0.id + s1.id + s2.id < 0"),
        (
            "join",
            "SELECT COUNT(*) AS n FROM survey.big s JOIN survey.big t ON s.id <> t.id JOIN survey.big u ON u.id <> t.id",
        ),
        (
            "distance",
            "SELECT COUNT(*) AS n FROM survey.big s, survey.big t WHERE DISTANCE(s.id / 1000.0, 0, t.id / 1000.0, 1) < 0.5",
        ),
        (
            "like",
            f"SELECT COUNT(*) AS n FROM survey.big s, survey.big t WHERE CAST(s.id AS VARCHAR) || '{'a' * 2000}' LIKE '{'%a' * 200}b'",
        ),
        (
            "like",
            f"SELECT COUNT(*) AS n FROM survey.big s, survey.big t WHERE '{'a' * 5000}' || CAST(t.id AS VARCHAR) ILIKE '{'%a_' * 300}b'",
        ),
        ("memory", f"SELECT ivo_string_agg('{'x' * 50_000}', ',') AS t FROM survey.big AS s WHERE s.id < 1000"),
        (
            "maths",
            "SELECT SUM("
            + "POWER(" * 40
            + "1.0000001 * s.id"
            + ", 0.99)" * 40
            + ") AS n FROM survey.big s, survey.big t",
        ),
    )
