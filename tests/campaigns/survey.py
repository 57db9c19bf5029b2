"""The tables that campaigns ask, the questions, and the oracle: numpy knows every answer without the gateway.

``campaign.points`` holds numbers; ``campaign.slow`` is the same with a pause at each row, which costs time and no
processor; ``campaign.gated`` waits at a gate that the campaign holds shut.
"""

from __future__ import annotations

import csv
import hashlib
import io
import random
from dataclasses import dataclass
from functools import cache

import asyncpg
import numpy as np
import numpy.typing as npt

ROWS = 20_000
"""Rows of each table; identifiers run from 0."""

PAUSE_S = 0.01
"""What each row of ``campaign.slow`` takes, seconds."""

GATE = 0x67617465
"""First number of the advisory locks that are the gates."""

TABLES = f"""
CREATE SCHEMA campaign;
CREATE TABLE campaign.points (id bigint PRIMARY KEY, flux double precision NOT NULL);
CREATE FUNCTION campaign.pause(id bigint) RETURNS bigint LANGUAGE plpgsql VOLATILE SECURITY DEFINER AS
    $$ BEGIN PERFORM pg_sleep({PAUSE_S}); RETURN id; END $$;
CREATE FUNCTION campaign.pass_gate(id bigint) RETURNS bigint LANGUAGE plpgsql VOLATILE SECURITY DEFINER AS
    $$ BEGIN PERFORM pg_advisory_xact_lock_shared({GATE}, (id % 100000)::integer); RETURN id; END $$;
CREATE VIEW campaign.slow AS SELECT id, flux, campaign.pause(id) AS paused FROM campaign.points;
CREATE VIEW campaign.gated AS SELECT id, flux, campaign.pass_gate(id) AS passed FROM campaign.points;
"""

HISTORY = """
CREATE TABLE campaign.phases (
    n bigint GENERATED ALWAYS AS IDENTITY, job_id text, phase text, at timestamptz DEFAULT clock_timestamp());
CREATE TABLE campaign.commits (
    n bigint GENERATED ALWAYS AS IDENTITY, job_id text, number integer, token integer, at timestamptz DEFAULT clock_timestamp());
CREATE FUNCTION campaign.note_phase() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER AS
    $$ BEGIN INSERT INTO campaign.phases (job_id, phase) VALUES (NEW.id, NEW.phase); RETURN NULL; END $$;
CREATE FUNCTION campaign.note_commit() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER AS
    $$ BEGIN INSERT INTO campaign.commits (job_id, number, token) VALUES (NEW.job_id, NEW.number, NEW.result_token);
       RETURN NULL; END $$;
CREATE TRIGGER campaign_created AFTER INSERT ON gateway.job FOR EACH ROW EXECUTE FUNCTION campaign.note_phase();
CREATE TRIGGER campaign_moved AFTER UPDATE ON gateway.job FOR EACH ROW
    WHEN (OLD.phase IS DISTINCT FROM NEW.phase) EXECUTE FUNCTION campaign.note_phase();
CREATE TRIGGER campaign_committed AFTER UPDATE ON gateway.job_part FOR EACH ROW
    WHEN (NEW.result_token IS NOT NULL AND NEW.result_token IS DISTINCT FROM OLD.result_token)
    EXECUTE FUNCTION campaign.note_commit();
"""
"""Every phase that a job ever had, and every result that was ever committed: written in the transaction that does it."""


@cache
def values() -> npt.NDArray[np.float64]:
    """Column ``flux``, by identifier."""
    return np.random.default_rng(20260101).normal(0, 1e3, ROWS)


async def create_database(maintenance_url: str) -> None:
    """Make the gateway's database."""
    connection = await asyncpg.connect(maintenance_url)
    try:
        await connection.execute("CREATE DATABASE gateway")
    finally:
        await connection.close()


async def create_tables(url: str) -> None:
    """Make the tables, and the triggers that write the history."""
    connection = await asyncpg.connect(url)
    try:
        await connection.execute(TABLES)
        rows = [(n, float(value)) for n, value in enumerate(values())]
        await connection.copy_records_to_table("points", schema_name="campaign", records=rows)
        await connection.execute(HISTORY)
        await connection.execute("ANALYZE campaign.points")
    finally:
        await connection.close()


def publish(url: str) -> None:
    """Let queries see them."""
    from gateway.ingest.register import register_table

    for name in ("points", "slow", "gated"):
        register_table(f"campaign.{name}", admin_url=url)


@dataclass(frozen=True)
class Question:
    """A query whose answer is known."""

    table: str
    first: int
    count: int
    """Identifiers ``[first, first + count)`` are asked for."""
    response_format: str = "csv"

    @property
    def adql(self) -> str:
        """The query."""
        last = self.first + self.count - 1
        extra = {"slow": ", paused", "gated": ", passed"}.get(self.table, "")
        return f"SELECT id, flux{extra} FROM campaign.{self.table} WHERE id BETWEEN {self.first} AND {last} ORDER BY id"

    @property
    def answer(self) -> tuple[int, str]:
        """Rows, and their hash."""
        ids = np.arange(self.first, self.first + self.count)
        return self.count, digest(ids, values()[ids])


def digest(ids: npt.NDArray[np.int64], found: npt.NDArray[np.float64]) -> str:
    """Hash of two columns, bit by bit."""
    return hashlib.sha256(ids.astype("<i8").tobytes() + found.astype("<f8").tobytes()).hexdigest()


def read_answer(content: bytes, response_format: str) -> tuple[int, str]:
    """Rows and hash of what the gateway gave, read without its help."""
    if response_format == "csv":
        rows = list(csv.reader(io.StringIO(content.decode())))
        if not rows or rows[0][:2] != ["id", "flux"]:
            raise ValueError("no header")
        ids = np.array([int(row[0]) for row in rows[1:]], dtype=np.int64)
        return len(rows) - 1, digest(ids, np.array([float(row[1]) for row in rows[1:]]))
    from astropy.io.votable import parse_single_table

    table = parse_single_table(io.BytesIO(content)).array
    return len(table), digest(np.asarray(table["id"]), np.asarray(table["flux"]))


def any_question(chance: random.Random, *, slow_s: float = 1.0) -> Question:
    """A question drawn by lot: most take some tenths of a second, some are quick, some have many rows.

    Parameters
    ----------
    chance
        Decides.
    slow_s
        Longest run time of the slow ones, seconds.
    """
    form = "votable" if chance.random() < 0.1 else "csv"
    kind = chance.random()
    if kind < 0.6:
        count = max(1, int(chance.uniform(0.2, 1) * slow_s / PAUSE_S))
        return Question("slow", chance.randrange(ROWS - count), count, form)
    count = chance.randrange(1, 200) if kind < 0.9 else chance.randrange(5_000, ROWS)
    return Question("points", chance.randrange(ROWS - count), count, form)
