"""``gateway register``, ``drop table`` and ``status`` as they are typed, and docs/register.md as it is printed."""

import re
import shlex
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from gateway.cli import EXIT_INTERRUPTED
from tests.ingest.register.conftest import FEW
from tests.ingest.register.site import Site
from tests.ingest.register.test_index import Blocker
from tests.support.commands import Run, command_line
from tests.support.signals import ctrl_c_heard

GUIDE = (Path(__file__).parents[1] / "docs" / "register.md").read_text()


@pytest.fixture
def site(database_url: str) -> Site:
    return Site(database_url)


@pytest.fixture
def gateway(
    database_url: str,
    redis_url: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> Run:
    environment = {
        "GATEWAY_HOME": str(tmp_path / "home"),
        "GATEWAY_DATABASE_URL": database_url,
        "GATEWAY_REDIS_URL": redis_url,
        "COLUMNS": "200",
    }
    return command_line(monkeypatch, capsys, environment)


def test_registering_tells_what_was_published(site: Site, gateway: Run) -> None:
    site.run(FEW)
    code, _, said = gateway("register", "public.stars", "--ra", "ra", "--dec", "dec", "--name", "survey.stars")
    assert code == 0, said
    assert (
        "Published survey.stars (table, 100 rows, 4 columns); searches by position use the index gw_zone_stars_" in said
    )


def test_statements_go_to_standard_output_and_can_be_run(site: Site, gateway: Run) -> None:
    site.run(FEW)
    _, printed, said = gateway("register", "public.stars", "--name", "survey.stars", "--no-index")
    assert "you asked for none" in said
    site.run(*printed.strip().splitlines())
    _, printed, said = gateway("register", "public.stars", "--name", "survey.stars", "--replace")
    assert "searches by position use the index" in said
    assert printed == ""


def test_a_mistake_is_one_line_and_no_trace(site: Site, gateway: Run) -> None:
    site.run(FEW)
    code, printed, said = gateway("register", "public.star")
    assert code == 1
    assert printed == ""
    assert said.strip().startswith("gateway: there is no table public.star")
    assert said.strip().count("\n") == 0


def test_lists_of_columns(site: Site, gateway: Run) -> None:
    site.run(FEW, 'ALTER TABLE public.stars ADD "a,b" int, ADD c int')
    gateway("register", "public.stars", "--name", "survey.stars", "--columns", 'id, ra,dec,"a,b",mag', "--hide", "mag")
    assert list(site.columns()) == ["id", "ra", "dec", "a,b"]


def test_status_counts_registered_tables_and_names_what_has_changed(site: Site, gateway: Run) -> None:
    site.run(FEW)
    gateway("register", "public.stars", "--name", "survey.stars")
    _, printed, _ = gateway("status")
    assert re.search(r"registered +1 of them with 100 rows, 1 indexed by position", printed)
    assert "has changed" not in printed
    site.run("ALTER TABLE public.stars DROP mag")
    _, printed, _ = gateway("status")
    assert re.search(
        r"survey.stars +has changed: column mag is gone; gateway register public.stars --name survey.stars --replace",
        printed,
    )


def test_an_interruption_ends_at_once_and_the_same_command_goes_on(site: Site, gateway: Run, database_url: str) -> None:
    """``gateway`` has set the environment, which the process inherits."""
    site.run("CREATE TABLE public.stars AS SELECT 1 AS id, 1.0::float8 AS ra, 1.0::float8 AS dec")
    blocker = Blocker(database_url)
    command = [sys.executable, "-m", "gateway", "register", "public.stars", "--name", "survey.stars"]
    with ctrl_c_heard():
        process = subprocess.Popen(command, stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    try:
        building = "SELECT count(*) FROM pg_stat_activity WHERE query LIKE 'CREATE INDEX CONC%' AND datname = current_database()"
        deadline = time.monotonic() + 30
        while site.fetch(building) != [(1,)]:
            assert time.monotonic() < deadline
            time.sleep(0.05)
        process.send_signal(signal.SIGINT)
        _, said = process.communicate(timeout=20)
        assert process.returncode == EXIT_INTERRUPTED
        assert "Traceback" not in said
        assert site.fetch(building) == [(0,)]
    finally:
        process.kill()
        blocker.stop()
    assert site.table() is None
    code, _, said = gateway("register", "public.stars", "--name", "survey.stars")
    assert code == 0
    assert "unfinished was replaced" in said


def test_dropping_says_what_stayed_and_what_went(site: Site, gateway: Run) -> None:
    site.run(FEW)
    gateway("register", "public.stars", "--name", "survey.stars")
    code, _, said = gateway("drop", "table", "survey.stars")
    assert code == 0
    assert (
        "Unpublished survey.stars: public.stars itself was not touched; the index that gateway register had made was dropped"
        in said
    )


def test_the_guide_works_as_it_is_printed(site: Site, gateway: Run) -> None:
    printed = {}
    for language, block in re.findall(r"```(sql|sh)\n(.*?)```", GUIDE, re.DOTALL):
        if language == "sql":
            site.run(block)
            continue
        for line in block.strip().splitlines():
            program, *arguments = shlex.split(line)
            assert program == "gateway"
            code, out, err = gateway(*arguments)
            assert code == 0, f"{line}\n{err}"
            printed[line] = out + err
    first, again, bright = (printed[line] for line in printed if line.startswith("gateway register"))
    assert "index gw_zone_stars_" in first
    assert "index gw_zone_stars_" in again
    assert "index gw_zone_stars_" in bright, "the view is searched through the index of its table"
    cone, count = (printed[line] for line in printed if line.startswith("gateway query"))
    assert len(cone.splitlines()) >= 5
    (true,) = site.fetch("SELECT count(*) FROM public.bright")
    assert str(true[0]) in count
    columns = site.columns()
    assert list(columns) == ["id", "ra", "decl", "mag", "seen", "remarks"]
    assert (columns["mag"].field.unit, columns["mag"].field.ucd) == ("mag", "phot.mag;em.opt.V")
    assert site.table("survey.bright") is None
    assert site.fetch("SELECT count(*) FROM public.stars") == [(5000,)]


def test_the_guide_tells_every_type_that_is_published_as_it_is() -> None:
    """The table of types in the guide and the code agree."""
    from gateway.ingest.register.kinds import EXACT

    said = {
        "bool": "boolean",
        "int2": "smallint",
        "int4": "integer",
        "int8": "bigint",
        "float4": "real",
        "float8": "double precision",
    }
    for name in EXACT:
        if name in {"oid", "char", "money", "timetz", "macaddr", "macaddr8"}:
            continue  # rare
        assert f"`{said.get(name, name)}`" in GUIDE, name
