"""The hostile corpus against a server of its own whose log has every statement that reached it (A1 to A8)."""

import asyncio
import csv
import io
import re
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import timedelta

import asyncpg
import pytest

from gateway.db import migrate
from gateway.embedded.binaries import postgres_programs
from gateway.errors import GatewayError, OverloadedError, QueryError, TimeLimitError
from gateway.services.access import ANONYMOUS
from gateway.services.queries import QueryService
from gateway.vo.adql import translate
from gateway.vo.tableset import Tableset
from gateway.vo.tap import TapRequest
from tests.campaigns import hostile
from tests.db.support import admin
from tests.services.support import make_survey, rows, service_on
from tests.support.servers import on_database
from tests.support.stock import stock_server

LOGGING = {
    "logging_collector": "on",
    "log_destination": "csvlog",
    "log_statement": "all",
    "log_min_duration_statement": "0",  # tells the parsing of prepared statements, too
    "log_rotation_size": "0",
    "track_activity_query_size": "200000",
}

BOMB_LIMIT = timedelta(seconds=0.3)
"""Time limit of a bomb."""

REFUSED = list(dict.fromkeys(hostile.refused()))
HARMLESS = list(dict.fromkeys(hostile.harmless()))
BOMBS = list(hostile.bombs())


@dataclass
class Campaign:
    """What happened."""

    errors: dict[str, GatewayError | None] = field(default_factory=dict)
    """By query; ``None``: it ran to its end."""
    seconds: dict[str, float] = field(default_factory=dict)
    expected: Counter[str] = field(default_factory=Counter)
    """SQL that the translator made."""
    known: set[str] = field(default_factory=set)
    """Statements of the gateway itself, seen before the first hostile query."""
    seen: list[tuple[str, str]] = field(default_factory=list)
    """Statements seen since: what the server did with each, and its text."""
    before: object = None
    after: object = None


@pytest.fixture(scope="module")
def campaign() -> Iterator[Campaign]:
    with stock_server(postgres_programs(), **LOGGING) as server:
        yield asyncio.run(run(server))


async def run(server: str) -> Campaign:
    campaign = Campaign()
    async with admin(server) as owner:
        await owner.execute("CREATE DATABASE hostile")
    url = on_database(server, "hostile")
    await asyncio.to_thread(migrate.upgrade, control_url=url, catalog_url=url)
    async with admin(url) as owner:
        await make_survey(owner)
    limits = {"query_length": 200_000, "maxrec_default": 20, "time_limit": timedelta(seconds=20)}
    async with admin(url) as owner, service_on(url, **limits) as service:
        tableset = await service.tableset(ANONYMOUS)
        assert len(await rows(service, hostile.HEAD)) == 3
        for wrong in ("SELECT", "SELECT 1 / (id - 1) AS x FROM survey.stars", "SELECT LOG(-id) AS x FROM survey.stars"):
            with pytest.raises(QueryError):
                await rows(service, wrong)
        campaign.before = await state(owner)
        earlier = await log_of(owner)
        campaign.known = {statement for _, statement in earlier}
        for _, query in (*REFUSED, *HARMLESS):
            await attack(campaign, service, tableset, query)
        for _, query in BOMBS:
            await attack(campaign, service, tableset, query, BOMB_LIMIT)
        campaign.after = await state(owner)
        campaign.seen = (await log_of(owner))[len(earlier) :]
    return campaign


async def attack(
    campaign: Campaign, service: QueryService, tableset: Tableset, query: str, limit: timedelta | None = None
) -> None:
    started = time.process_time()
    try:
        table = await service.open(TapRequest(query), ANONYMOUS, time_limit=limit)
        try:
            async for _ in table:
                pass
        finally:
            await table.aclose()
    except GatewayError as e:
        campaign.errors[query] = e
    else:
        campaign.errors[query] = None
    campaign.seconds[query] = time.process_time() - started
    with suppress(QueryError):
        if not is_refused(campaign.errors[query]):
            campaign.expected[translate(query, tableset, maxrec=20).sql] += 1


def is_refused(error: GatewayError | None) -> bool:
    """Whether an error came from the translator; those of the database have no place in the query."""
    return isinstance(error, QueryError) and error.line is not None


async def state(owner: asyncpg.Connection) -> object:
    """What no query may change."""
    return [
        tuple(row)
        for sql in (
            "SELECT count(*), sum(id), sum(ra), max(name), max(secret) FROM survey.stars",
            "SELECT relname, relkind FROM pg_class WHERE relnamespace::regnamespace::text !~ '^pg_' ORDER BY 1, oid",
            "SELECT rolname, rolsuper, rolcanlogin FROM pg_roles ORDER BY 1",
            "SELECT proname FROM pg_proc ORDER BY oid",
            "SELECT name, setting FROM pg_settings WHERE source <> 'session' ORDER BY 1",
            "SELECT loid FROM pg_largeobject",
            "SELECT pg_postmaster_start_time()",
        )
        for row in await owner.fetch(sql)
    ]


STATEMENT = re.compile(r"(?:duration: [0-9.]+ ms +)?(statement|execute|parse|bind)[^:]*: (.*)", re.DOTALL)


async def log_of(owner: asyncpg.Connection) -> list[tuple[str, str]]:
    """Statements of all sessions of the gateway; those that PostgreSQL could not read as well."""
    await asyncio.sleep(0.1)  # the collector is a process of its own
    text = await owner.fetchval("SELECT pg_read_file(pg_current_logfile('csvlog'))")
    found = []
    for line in csv.reader(io.StringIO(text)):
        severity, message, query, application = line[11], line[13], line[19], line[22]
        if not application.startswith("gw:") or application == "gw:migrate":
            continue
        match = STATEMENT.match(message)
        if match:
            found.append((match[1], match[2]))
        elif severity in {"ERROR", "FATAL"} and query:
            found.append(("error", query))
    return found


COPY = re.compile(r"COPY \((.*)\) TO STDOUT \(FORMAT binary\)", re.DOTALL)
BEGIN = re.compile(
    r"BEGIN READ ONLY; SET LOCAL statement_timeout = '\d+'; SET LOCAL work_mem = '64MB'; SET LOCAL application_name = "
    r"'gw:sync'; SET LOCAL gateway\.base_url = '[^']*'(; SET LOCAL temp_file_limit = '4GB')?"
)


def test_the_corpus_is_large_and_of_all_kinds() -> None:
    assert len(REFUSED) >= 2_000
    assert len(HARMLESS) >= 80
    assert len(BOMBS) >= 15


@pytest.mark.parametrize("family", sorted({family for family, _ in REFUSED}))
def test_what_is_hostile_is_refused_with_a_reason_and_a_place(campaign: Campaign, family: str) -> None:
    for kind, query in REFUSED:
        if kind != family:
            continue
        error = campaign.errors[query]
        assert isinstance(error, QueryError), (query[:200], error)
        assert error.line is not None or "bytes" in error.reason, (query[:200], error)
        assert 0 < len(error.reason) <= 500
        assert not re.search(r"sqlglot|Traceback|NoneType|object at 0x|incident", error.reason), (query[:200], error)


def test_what_is_hostile_is_refused_at_once(campaign: Campaign) -> None:  # A8
    slow = [query for _, query in REFUSED if campaign.seconds[query] > 0.1]
    assert [query[:80] for query in slow if min(seconds_to_refuse(query) for _ in range(3)) > 0.1] == []


def seconds_to_refuse(query: str) -> float:
    started = time.process_time()
    with pytest.raises(QueryError):
        translate(query, Tableset(()))
    return time.process_time() - started


def test_what_only_looks_hostile_runs(campaign: Campaign) -> None:
    failed = {query[:200]: campaign.errors[query] for _, query in HARMLESS if campaign.errors[query] is not None}
    assert failed == {}


@pytest.mark.parametrize(("family", "query"), BOMBS, ids=[f"{family}-{n}" for n, (family, _) in enumerate(BOMBS)])
def test_a_bomb_ends_at_a_limit(campaign: Campaign, family: str, query: str) -> None:  # A6, A7
    error = campaign.errors[query]
    assert isinstance(error, (TimeLimitError, QueryError, OverloadedError)), (family, error)
    if isinstance(error, TimeLimitError):
        assert "0.3 s" in error.message


def test_the_server_saw_what_was_generated_and_nothing_else(campaign: Campaign) -> None:  # A1 to A5
    copied: set[str] = set()
    others = []
    for _, statement in campaign.seen:
        if match := COPY.fullmatch(statement):
            copied.add(match[1])
        elif statement not in campaign.known | campaign.expected.keys() and not BEGIN.fullmatch(statement):
            others.append(statement[:300])
    assert others == []
    assert copied == campaign.expected.keys()
    # The driver prepares each query once, under no name, before it copies what comes out.
    assert (
        Counter(text for kind, text in campaign.seen if kind == "parse" and not COPY.fullmatch(text))
        == campaign.expected
    )
    assert campaign.expected.total() == len(HARMLESS) + len(BOMBS)


def test_nothing_has_changed_and_nobody_died(campaign: Campaign) -> None:
    assert campaign.before == campaign.after
    assert campaign.before


def test_the_log_would_have_told(campaign: Campaign) -> None:
    """The comparison sees what it must: statements of sessions, prepared ones included, before the first attack."""
    assert any(COPY.fullmatch(statement) for statement in campaign.known)
    assert any(BEGIN.fullmatch(statement) for statement in campaign.known)
    assert any(statement.startswith("SELECT") and "survey" in statement for statement in campaign.known)
