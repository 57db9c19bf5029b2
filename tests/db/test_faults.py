"""Errors of the drivers, and what they mean."""

import asyncio
import re
from collections.abc import Iterator
from datetime import timedelta

import asyncpg
import pytest
from adbc_driver_manager import AdbcStatusCode, Error
from structlog.testing import capture_logs

from gateway.db.engine import CatalogEngine
from gateway.db.faults import ADQL_NAMES, DRIVER_ERRORS, OURS, WRONG, is_unreachable, translated
from gateway.errors import (
    BackendUnavailableError,
    GatewayError,
    OverloadedError,
    QueryError,
    ServiceError,
    TimeLimitError,
)
from gateway.vo.adql import translate
from tests.db.support import MINUTE, admin, engine_on, rows
from tests.support.adql_catalog import adql_catalog
from tests.support.servers import Administrator
from tests.vo.adql import tables

FAMILIES = [
    kind
    for kind in vars(asyncpg.exceptions).values()
    if isinstance(kind, type) and issubclass(kind, Exception) and not issubclass(kind, Warning)
]


def test_driver_errors_are_all_that_asyncpg_can_raise() -> None:
    assert len(FAMILIES) > 100
    assert [kind for kind in FAMILIES if not issubclass(kind, DRIVER_ERRORS)] == []


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (asyncpg.AdminShutdownError("terminating connection"), True),
        (asyncpg.ConnectionDoesNotExistError("closed in the middle"), True),
        (asyncpg.IdleInTransactionSessionTimeoutError("5 s"), True),
        (asyncpg.InternalClientError("cannot switch to state 15; another operation (2) is in progress"), True),
        (asyncpg.InterfaceError("connection is closed"), True),
        (TimeoutError(), True),
        (ConnectionRefusedError(), True),
        (asyncpg.UniqueViolationError("twice"), False),
        (asyncpg.DivisionByZeroError("1/0"), False),
        (KeyError("ours"), False),
    ],
)
def test_unreachable_is_what_may_work_later(error: Exception, expected: bool) -> None:
    assert is_unreachable(error) is expected


# -- faults of queries, provoked on the server ----------------------------------------------------------------------

FOREIGN = re.compile(
    r"survey|stars|galaxies|title_1|c_2mass|gw_|sky\.|\bpg_|COPY|relation|PL/pgSQL|statement|syntax|varying|float8|numeric|SKY01"
    r"|PostgreSQL|HINT|LINE"
)
"""What only PostgreSQL would say, or what is not published."""


def text(value: str) -> str:
    """A text that only PostgreSQL can read: a literal would be refused before."""
    return f"'{value}' || LOWER('')"


PROVOKED = {
    # expressions over galaxies, where gid is 1 and 2, and name is Alpha and M31; what the answer must name
    "1 / (gid - 1)": "division by zero, in / or MOD",
    "1.5 / (gid - 1)": "division by zero, in / or MOD",
    "MOD(gid, gid - 1)": "division by zero, in / or MOD",
    "gid * 2000000000 * gid": "out of the range of INTEGER",
    "CAST(gid AS SMALLINT) * CAST(30000 AS SMALLINT)": "out of the range of SMALLINT",
    "CAST(40000 * gid AS SMALLINT)": "CAST .*out of the range of SMALLINT",
    "CAST(1e300 * gid AS INTEGER)": "CAST .*out of the range of INTEGER",
    "gid * 9000000000000000000": "out of the range of BIGINT",
    "SUM(gid * 5000000000000000000)": "SUM .*out of the range of BIGINT",
    f"CAST(CAST({text('NaN')} AS DOUBLE PRECISION) AS INTEGER)": "CAST .*INTEGER",
    f"CAST(CAST({text('Infinity')} AS DOUBLE PRECISION) AS BIGINT)": "CAST .*BIGINT",
    f"CAST({text('99999999999')} AS INTEGER)": "CAST of a text to a whole number that is out of the range",
    f"CAST({text('1e999')} AS DOUBLE PRECISION)": "CAST of a value that is out of the range",
    "CAST(name AS SMALLINT)": "CAST of a text that is not a SMALLINT",
    "CAST(name AS INTEGER)": "CAST of a text that is not an INTEGER",
    "CAST(name AS BIGINT)": "CAST of a text that is not a BIGINT",
    "CAST(name AS REAL)": "CAST of a text that is not a REAL",
    "CAST(name AS DOUBLE PRECISION)": "CAST of a text that is not a DOUBLE PRECISION",
    "CAST(name AS TIMESTAMP)": "is no timestamp",
    f"CAST({text('2020-13-01')} AS TIMESTAMP)": "month",
    f"CAST({text('2020-02-30T00:00:00')} AS TIMESTAMP)": "day",
    "CAST(name AS POINT)": "CAST AS POINT of a text that is not a list of numbers",
    "CAST(name AS CIRCLE)": "CAST AS CIRCLE of a text that is not a list of numbers",
    "CAST(name AS POLYGON)": "CAST AS POLYGON of a text that is not a list of numbers",
    f"CAST({text('1 2 3')} AS POINT)": "a point has two numbers, found '1 2 3'",
    f"CAST({text('1 2')} AS CIRCLE)": "a circle has three numbers, found '1 2'",
    f"CAST({text('1 2 3 4')} AS POLYGON)": "a polygon has at least three pairs of numbers, found '1 2 3 4'",
    "CAST(1e300 * gid AS REAL)": "CAST.* out of the range",
    "CAST(1e-300 * gid AS REAL)": "CAST.* close to zero",
    "1e308 * 10 * gid": r"\*.* out of the range of DOUBLE",
    "1e-300 * 1e-300 * gid": r"\*.* close to zero",
    "SUM(1e308 * gid)": "SUM.* out of the range of DOUBLE",
    "AVG(1e308 * gid)": "AVG.* out of the range of DOUBLE",
    "EXP(1000 * gid)": "EXP.* out of the range of DOUBLE",
    "EXP(-1000 * gid)": "EXP.* close to zero",
    "POWER(1e300, gid + 1)": "POWER.* out of the range of DOUBLE",
    "DEGREES(1e308 * gid)": "DEGREES.* out of the range of DOUBLE",
    "RADIANS(5e-324 * gid)": "RADIANS.* close to zero",
    "POWER(-gid, 0.5)": "^POWER of a negative number",
    "POWER(gid - 1, -1)": "^POWER of 0 has no negative exponent",
    "SQRT(-gid)": "^SQRT of a negative number",
    "LOG(gid - 1)": "^LOG or LOG10 of zero",
    "LOG(-gid)": "^LOG or LOG10 of a negative number",
    "LOG10(gid - 1)": "^LOG or LOG10 of zero",
    "LOG10(-gid)": "^LOG or LOG10 of a negative number",
    "ACOS(gid + 1)": "^ACOS takes a number from -1 to 1",
    "ASIN(-1 - gid)": "^ASIN takes a number from -1 to 1",
    f"COS(CAST({text('inf')} AS DOUBLE PRECISION))": "COS.* infinite",
    f"SIN(CAST({text('inf')} AS DOUBLE PRECISION))": "SIN.* infinite",
    f"TAN(CAST({text('-inf')} AS DOUBLE PRECISION))": "TAN.* infinite",
    f"COT(CAST({text('inf')} AS DOUBLE PRECISION))": "COT.* infinite",
    "(SELECT id FROM survey.stars)": "a subquery that stands for a value gives more than one row",
}

RAW = {
    # what no ADQL makes today, but what a change of ours, a view of an operator or a new function could
    "SELECT 'xy' LIKE 'x' || chr(92)": "ends in its escape character",
    "SELECT 'x' LIKE 'x' ESCAPE 'ab'": "ESCAPE is not one character",
    "SELECT 'x' ~ '('": "a regular expression is not valid",
    "SELECT substring('x', 1, -1)": "negative length",
    "SELECT chr(0)": "larger than the database|cannot store",
    "SELECT repeat('x', 1100000000)": "larger than the database can hold|larger than 1 GB",
    "SELECT lpad('x', 1100000000)": "larger than the database can hold",
    "SELECT width_bucket(1.0, 2.0, 2.0, 5)": "a histogram",
    "SELECT (ARRAY[1,2,3])::text::int": "CAST of a text that is not an INTEGER",
    "SELECT array_fill(1, NULL)": "NULL stands where",
    "SELECT array_fill(1, ARRAY[1,1,1,1,1,1,1])": "larger than|size",
    "SELECT 1::text::boolean AND 'maybe'::text::boolean": "CAST of a text that is not a truth value",
    "SELECT to_timestamp('x', 'YYYY')": "not a timestamp",
    "SELECT timezone('Nowhere/Land', now())": "an argument that it does not accept",
    "SELECT 1 LIMIT (SELECT -1)": "TOP has a negative number",
    "SELECT 1 OFFSET (SELECT -1)": "OFFSET has a negative number",
    "SELECT json_build_object(NULL, 1)": "does not fit|an argument|NULL",
    "SELECT 1 FROM (SELECT 1 AS a) x FULL JOIN (SELECT 1 AS b) y ON x.a < y.b": "FULL JOIN needs an equality",
    "SELECT " + ", ".join(["1"] * 1_700): "about 1,600",
    "SELECT " + "+".join(["1"] * 20_000): "too complex",
}

INCIDENTS = [
    "SELECT id, secret FROM survey.stars",
    "SELECT nothing FROM survey.stars",
    "SELECT * FROM pg_authid",
    "SELECT id FROM survey.gone",
    "SELECT no_such_function(1)",
    "SELECT now() + now()",
    "DELETE FROM survey.stars",
    "SELECT survey.boom()",
    "SELEKT",
    "SELECT 1; SELECT 2",
]


@pytest.fixture(scope="module")
def catalog_url(database_server: Administrator, database_template: str) -> Iterator[str]:
    """A catalog with the tables of ADQL's tests; one for all, as nothing changes it."""
    boom = (
        "CREATE FUNCTION survey.boom() RETURNS int LANGUAGE plpgsql AS 'BEGIN RAISE ''the secret of an operator''; END'"
    )
    with adql_catalog(database_server, database_template, boom) as url:
        yield url


@pytest.fixture(scope="module")
def answers(catalog_url: str) -> dict[str, GatewayError | None]:
    """What each query ends in, through the whole way from ADQL to the server and back."""
    ended: dict[str, GatewayError | None] = {}

    async def run_all() -> None:
        async with engine_on(catalog_url) as engine:
            for expression in PROVOKED:
                ended[expression] = await end_of(engine, translate(adql(expression), tables.TABLES).sql)
            for sql in (*RAW, *INCIDENTS):
                ended[sql] = await end_of(engine, sql)

    asyncio.run(run_all())
    return ended


def adql(expression: str) -> str:
    return f"SELECT {expression} AS x FROM other.galaxies"


async def end_of(engine: CatalogEngine, sql: str) -> GatewayError | None:
    try:
        await rows(engine, sql)
    except GatewayError as e:
        return e
    return None


@pytest.mark.parametrize("query", [*PROVOKED, *RAW], ids=lambda query: query[:60])
def test_a_fault_is_told_in_the_words_of_adql(query: str, answers: dict[str, GatewayError | None]) -> None:
    error = answers[query]
    assert isinstance(error, QueryError), error
    assert re.search((PROVOKED | RAW)[query], error.reason), error.reason
    assert not FOREIGN.search(error.reason), error.reason


@pytest.mark.parametrize("query", INCIDENTS)
def test_any_other_fault_is_an_incident_without_a_word(query: str, answers: dict[str, GatewayError | None]) -> None:
    error = answers[query]
    assert isinstance(error, ServiceError)
    assert re.search(r"\bincident [0-9a-f]{8}\b", error.message)
    assert not re.search(
        r"secret|nothing|authid|function|boom|now|SELEKT|\bquery \w+\(|" + FOREIGN.pattern, error.message
    )


async def test_the_log_has_what_an_incident_hides(catalog_url: str) -> None:
    async with engine_on(catalog_url) as engine:
        with capture_logs() as logs, pytest.raises(ServiceError) as caught:
            await rows(engine, "SELECT survey.boom()")
    (entry,) = [entry for entry in logs if "incident" in entry]
    assert entry["incident"] in caught.value.message
    assert "the secret of an operator" in entry["detail"]
    assert "secret" not in caught.value.message


async def test_limits_of_the_database_are_told_as_limits(catalog_url: str) -> None:  # A6
    big = "SELECT a.x FROM (SELECT generate_series(1, 300000) AS x) a ORDER BY md5(a.x::text)"
    async with engine_on(catalog_url, temp_file_limit="64kB", work_mem="64kB") as engine:
        with pytest.raises(QueryError, match="temporary disk space"):
            await rows(engine, big)
        cartesian = "SELECT COUNT(*) AS n FROM " + ", ".join(f"survey.stars AS s{n}" for n in range(20))
        with pytest.raises(TimeLimitError, match=r"time limit of 0\.3 s"):
            await rows(engine, translate(cartesian, tables.TABLES).sql, time_limit=timedelta(seconds=0.3))
        assert await rows(engine, "SELECT 1 AS a") == [{"a": 1}]


# -- faults that no query can provoke at will -----------------------------------------------------------------------


def fault(state: str, message: str, context: str = "") -> GatewayError:
    details = [("PG_DIAG_MESSAGE_PRIMARY", message.encode()), ("PG_DIAG_CONTEXT", context.encode())]
    error = Error(message, status_code=AdbcStatusCode.UNKNOWN, sqlstate=state, details=details)
    return translated(error, time_limit=MINUTE, is_late=False)


@pytest.mark.parametrize(
    ("state", "message", "kind"),
    [
        ("53100", 'could not extend file "base/1/2": No space left on device', OverloadedError),
        ("53200", "out of shared memory", OverloadedError),  # too many locks, too
        ("53200", "out of memory in a slab", OverloadedError),
        ("53300", "sorry, too many clients already", OverloadedError),
        ("57014", "canceling statement due to user request", BackendUnavailableError),
        ("57P01", "terminating connection due to administrator command", BackendUnavailableError),
        ("40001", "canceling statement due to conflict with recovery", BackendUnavailableError),
        ("40P01", "deadlock detected", BackendUnavailableError),
        ("XX000", "could not find pathkey item to sort", ServiceError),
        ("XX001", 'invalid page in block 7 of relation "survey.stars"', ServiceError),
        ("58030", 'could not read file "base/1/2"', ServiceError),
        ("42501", "permission denied for table secret", ServiceError),
        ("42P01", 'relation "survey.stars" does not exist', ServiceError),
        ("25006", "cannot execute DELETE in a read-only transaction", ServiceError),
        ("P0001", "the secret of an operator", ServiceError),
        ("22ZZZ", "a fault of a future release", QueryError),
        ("QQQQQ", "a fault of a future release", ServiceError),
    ],
)
def test_no_text_of_postgresql_goes_out(state: str, message: str, kind: type[GatewayError]) -> None:
    error = fault(state, message)
    assert type(error) is kind
    assert message not in error.message
    assert not FOREIGN.search(error.message)


@pytest.mark.parametrize("state", WRONG)
def test_a_server_that_speaks_another_language_still_tells_the_fault(state: str) -> None:
    error = fault(state, "Теплица")
    if state == "XX000":
        assert isinstance(error, ServiceError)
    else:
        assert isinstance(error, QueryError)
        assert error.reason == WRONG[state].text != ""


def test_our_own_functions_speak_for_themselves_and_nobody_else_does() -> None:
    assert fault(OURS, "a point has two numbers").message == "a point has two numbers"
    assert "two numbers" not in fault("P0001", "a point has two numbers").message
    assert "two numbers" not in fault("22023", "a point has two numbers").message


@pytest.mark.parametrize("name", ADQL_NAMES)
def test_a_function_is_named_where_its_context_tells_it(name: str) -> None:
    for context in (f"PL/pgSQL function sky.{name}(text) line 3 at RETURN", f'SQL function "{name}" statement 1'):
        assert ADQL_NAMES[name] in fault("22003", "x", context).message
    assert ADQL_NAMES[name] not in fault("22003", "x", "PL/pgSQL function survey.secret(text) line 3").message


async def test_functions_with_an_adql_name_exist(catalog_url: str) -> None:
    async with admin(catalog_url) as owner:
        found = await owner.fetch("SELECT DISTINCT proname::text FROM pg_proc WHERE pronamespace = 'sky'::regnamespace")
    assert set(ADQL_NAMES) <= {name for (name,) in found}


async def test_all_complaints_of_our_functions_go_out_as_such(catalog_url: str) -> None:
    async with admin(catalog_url) as owner:
        bodies = await owner.fetch("SELECT proname::text, prosrc FROM pg_proc WHERE pronamespace = 'sky'::regnamespace")
    complaints = [(name, line) for name, body in bodies for line in body.splitlines() if "RAISE" in line]
    assert complaints
    assert [name for name, line in complaints if f"ERRCODE = '{OURS}'" not in line] == []
