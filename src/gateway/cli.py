"""Command line of the gateway: thin, each command calls one function below it."""

from __future__ import annotations

import asyncio
import io
import json
import re
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from rich.table import Table as RichTable

from gateway import __version__
from gateway.errors import GatewayError, ParameterError, QueryError, ServiceError
from gateway.log import configure_logs
from gateway.settings import Settings

if TYPE_CHECKING:
    from gateway.ingest.progress import Progress
    from gateway.ingest.register import Registered

app = typer.Typer(
    name="gateway",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
    help="""One program that turns a survey's tables and images into Virtual Observatory services.

    Try it: [bold]gateway demo[/bold] starts everything with two real star catalogues.
    Publish a table: [bold]gateway ingest table stars.parquet --name survey.stars[/bold], then [bold]gateway serve[/bold].
    State lies under GATEWAY_HOME (default ./.gateway); [bold]gateway settings[/bold] lists every setting.""",
)
ingest_app = typer.Typer(no_args_is_help=True, help="Publish tables and images.")
drop_app = typer.Typer(no_args_is_help=True, help="Unpublish and remove.")
app.add_typer(ingest_app, name="ingest")
app.add_typer(drop_app, name="drop")

out = Console()
err = Console(stderr=True, highlight=False)

EXIT_FAULT = 1
EXIT_USAGE = 2
EXIT_INTERRUPTED = 130


def main() -> None:
    """Run the command line; errors of ours are one line on stderr, never a trace."""
    try:
        app()
    except GatewayError as e:
        err.print(f"[red]gateway:[/red] {_plain(e.message)}", soft_wrap=True)
        sys.exit(
            EXIT_FAULT if isinstance(e, ServiceError) else EXIT_USAGE if isinstance(e, ParameterError) else EXIT_FAULT
        )
    except KeyboardInterrupt:
        err.print("gateway: stopped")
        sys.exit(EXIT_INTERRUPTED)


def _plain(text: str) -> str:
    return text.replace("[", r"\[")


def load_settings(**changes: Any) -> Settings:
    """Read the settings; a bad value is told in one line that names it."""
    from pydantic import ValidationError

    try:
        return Settings(**{name: value for name, value in changes.items() if value is not None})
    except ValidationError as e:
        first = e.errors()[0]
        name = "GATEWAY_" + "_".join(str(part) for part in first["loc"]).upper()
        if first["type"] == "extra_forbidden":
            raise ParameterError(name, "...", "there is no such setting; gateway settings lists them all") from None
        # An address may hold a password.
        shown = "..." if name.endswith("_URL") else str(first.get("input", ""))
        raise ParameterError(name, shown, first["msg"].removeprefix("Value error, ")) from None


# -- serving ---------------------------------------------------------------------------------------------

HostOption = Annotated[
    str | None, typer.Option(help=r"Address to listen on. \[default: 127.0.0.1]", show_default=False)
]
PortOption = Annotated[int | None, typer.Option(help=r"Port to listen on. \[default: 8080]", show_default=False)]


@app.command()
def serve(
    host: HostOption = None,
    port: PortOption = None,
    api_processes: Annotated[int | None, typer.Option(help="API processes.", show_default=False)] = None,
    no_worker: Annotated[bool, typer.Option("--no-worker", help="Run no job worker here.")] = False,
) -> None:
    """Run the API and a job worker; starts its own PostgreSQL and Valkey where no URL is set."""
    from gateway import serve as serving

    settings = load_settings(host=host, port=port, api_processes=api_processes)
    raise typer.Exit(serving.serve(settings, with_worker=not no_worker))


@app.command()
def worker() -> None:
    """Run a job worker only; start as many as you like, on any machine."""
    from gateway.embedded import embedded_servers
    from gateway.jobs import worker as working

    settings = load_settings()
    with embedded_servers(settings) as resolved:
        raise typer.Exit(working.run(resolved))


@app.command()
def demo(
    host: HostOption = None,
    port: PortOption = None,
    small: Annotated[bool, typer.Option("--small", help="Fewer and smaller images: 2 MB instead of 120.")] = False,
) -> None:
    """Build the demo survey (real Gaia DR3 and Hipparcos stars, images simulated from them) and serve it."""
    from gateway import serve as serving

    settings = load_settings(host=host, port=port)

    def prepare(resolved: Settings) -> None:
        from gateway.demo.catalogs import ensure_demo

        with _ingest_progress() as progress:
            reports = ensure_demo(_admin_url(resolved), progress)
        for report in reports:
            err.print(f"Published {report.table}: {report.rows:,} rows in {report.seconds:.1f} s")
        _prepare_images(resolved, is_small=small)

    raise typer.Exit(serving.serve(settings, prepare=prepare, ready=_show_demo))


def _prepare_images(settings: Settings, *, is_small: bool) -> None:
    """Build and publish the images of the demo survey, as far as that is not done."""
    from gateway.demo.images import COLLECTION, ensure_built, publish
    from gateway.ingest.images.show import files_bar

    started = time.monotonic()
    with files_bar(err, "Simulating images") as progress:
        folder = ensure_built(settings.home_path, is_small=is_small, progress=progress)
    with files_bar(err, "Looking into images") as progress:
        report = publish(folder, admin_url=_admin_url(settings), authority=settings.authority, progress=progress)
    if report is None:
        return
    if report.is_interrupted:
        raise KeyboardInterrupt
    if report.looked_at:
        images = sum(images for _, _, images in report.counts())
        err.print(f"Published {COLLECTION}: {images:,} simulated images in {time.monotonic() - started:.1f} s")


@app.command()
def migrate() -> None:
    """Bring the databases to this version's schema; safe to run again and at once from several places."""
    from gateway.db.migrate import open_functions
    from gateway.db.roles import open_functions_report
    from gateway.serve import migrate as bring_up_to_date

    with _databases() as settings:
        started = time.monotonic()
        bring_up_to_date(settings)
        err.print(f"The databases are at the schema of version {__version__} ({time.monotonic() - started:.1f} s).")
        if names := open_functions(settings.urls().catalog_admin):
            err.print(f"Note: {open_functions_report(names)}.", markup=False)


# -- publishing ------------------------------------------------------------------------------------------


@ingest_app.command("table")
def ingest_table(
    files: Annotated[list[Path], typer.Argument(help="Parquet, FITS, VOTable, CSV or ECSV files, gzip'd or not.")],
    name: Annotated[str, typer.Option(help="Name to publish as: schema.table.")],
    describe: Annotated[
        Path | None, typer.Option(help="YAML file in Felis format: descriptions, units, UCDs, keys.")
    ] = None,
    replace: Annotated[bool, typer.Option("--replace", help="Replace the table if it exists.")] = False,
    ra: Annotated[str | None, typer.Option(help="Column with the right ascension, ICRS.")] = None,
    dec: Annotated[str | None, typer.Option(help="Column with the declination, ICRS.")] = None,
    convert_radians: Annotated[
        bool, typer.Option("--convert-radians", help="Turn columns with the unit rad into degrees.")
    ] = False,
) -> None:
    """Publish files as one table: all of it or nothing, with a sky index.

    Example: gateway ingest table stars-*.parquet --name survey.stars --describe stars.yaml
    """
    from gateway.ingest.tables import ingest_table as ingest

    with _databases(migrated=True) as settings, _ingest_progress() as progress:
        report = ingest(
            files,
            name=name,
            admin_url=_admin_url(settings),
            describe=describe,
            replace=replace,
            ra=ra,
            dec=dec,
            convert_radians=convert_radians,
            progress=progress,
        )
    for warning in report.warnings:
        err.print(f"[yellow]note:[/yellow] {_plain(warning)}", soft_wrap=True)
    rate = report.rows / report.seconds if report.seconds else 0
    err.print(f"Published {report.table}: {report.rows:,} rows in {report.seconds:.1f} s ({rate:,.0f} rows/s).")
    err.print(f'Try it: gateway query "SELECT TOP 5 * FROM {_plain(report.table)}"', soft_wrap=True)


@ingest_app.command("images")
def ingest_images(
    paths: Annotated[
        list[str],
        typer.Argument(help="FITS files, folders of them (with subfolders), or http(s):// URLs of files."),
    ],
    collection: Annotated[str, typer.Option(help="Name of the collection; new, or one to bring up to date.")],
    describe: Annotated[
        Path | None,
        typer.Option(
            help="TOML file with what headers do not say: filters, companion files, columns (docs/collections.md)."
        ),
    ] = None,
    root: Annotated[
        str | None,
        typer.Option(
            help="Folder below which all files of the collection lie; of a known collection, the one to which they were moved. "
            r"\[default: the folder named, or the nearest common one]",
            show_default=False,
        ),
    ] = None,
    prune: Annotated[
        bool, typer.Option("--prune", help="Remove what the collection has from files that are gone below the paths.")
    ] = False,
    list_all: Annotated[
        bool, typer.Option("--list", help="List every file at the end, however many there are.")
    ] = False,
    processes: Annotated[
        int | None,
        typer.Option(
            min=1, help=r"Processes that look into files. \[default: as many as there are cores]", show_default=False
        ),
    ] = None,
) -> None:
    """Publish FITS images as a collection: one row of ivoa.obscore for each science image.

    Masks, variances and weights are recognised by EXTNAME or EXTTYPE, or,
    in files of their own, by the rules of --describe.
    A file that cannot be placed on the sky is refused with a reason; the rest goes on.
    Repeating looks only into files that are new or have changed: it brings a
    collection up to date, and goes on after an interruption.
    Files stay where they are and are never changed.

    Example: gateway ingest images /data/survey --collection survey
    With rules: gateway ingest images /data/survey --collection survey --describe survey.toml
    """
    from gateway.ingest.images import ingest_images as ingest
    from gateway.ingest.images.show import files_bar, show_report

    with _databases(migrated=True) as settings:
        with files_bar(err, "Looking into files") as progress:
            report = ingest(
                paths,
                collection=collection,
                admin_url=_admin_url(settings),
                authority=settings.authority,
                describe=describe,
                root=root,
                prune=prune,
                processes=processes,
                progress=progress,
            )
        show_report(report, out, is_full=list_all)
    if report.is_interrupted:
        err.print(f"Interrupted with {report.unread:,} files to go; the same command again goes on from here.")
        raise typer.Exit(EXIT_INTERRUPTED)
    if report.is_all_refused:
        raise typer.Exit(EXIT_FAULT)
    err.print(f'Try it: gateway query "{_plain(IMAGES_QUERY.format(collection))}"', soft_wrap=True, highlight=False)


IMAGES_QUERY = "SELECT TOP 5 obs_id, s_ra, s_dec FROM ivoa.obscore WHERE obs_collection='{}'"


@app.command()
def register(
    table: Annotated[str, typer.Argument(help="Table or view in PostgreSQL: schema.table.")],
    ra: Annotated[str | None, typer.Option(help="Column with the right ascension, ICRS degrees in 0 to 360.")] = None,
    dec: Annotated[str | None, typer.Option(help="Column with the declination, ICRS degrees.")] = None,
    name: Annotated[
        str | None,
        typer.Option(help=r"Name to publish as, schema.table. \[default: that in PostgreSQL]", show_default=False),
    ] = None,
    describe: Annotated[Path | None, typer.Option(help="YAML file in Felis format: descriptions, units, UCDs.")] = None,
    from_tap_schema: Annotated[
        str | None,
        typer.Option(metavar="SCHEMA", help="Schema with the TAP_SCHEMA of another service, for descriptions."),
    ] = None,
    columns: Annotated[str | None, typer.Option(metavar="a,b", help="Publish these columns only.")] = None,
    hide: Annotated[str | None, typer.Option(metavar="c,d", help="Do not publish these columns.")] = None,
    replace: Annotated[bool, typer.Option("--replace", help="Publish anew what is registered already.")] = False,
    no_index: Annotated[bool, typer.Option("--no-index", help="Make no index for searches by position.")] = False,
) -> None:
    """Publish a table or view that PostgreSQL already has, without rewriting it.

    Views, materialised views, partitioned and foreign tables too. The owner of a table has an index made
    for searches by position, while others read and write; anyone else is told the SQL for it.
    Descriptions come from comments, like "Flux in V [Jy] {phot.flux}", unless another source is named.

    Example: gateway register public.stars --ra ra --dec dec --name survey.stars
    """
    from gateway.ingest.register import register_table

    with _databases(migrated=True) as settings, _ingest_progress() as progress:
        report = register_table(
            table,
            admin_url=_admin_url(settings),
            ra=ra,
            dec=dec,
            name=name,
            describe=describe,
            from_tap_schema=from_tap_schema,
            columns=_names(columns),
            hide=_names(hide),
            replace=replace,
            index=not no_index,
            progress=progress,
        )
    for note in report.notes:
        err.print(f"[yellow]note:[/yellow] {_plain(note)}", soft_wrap=True)
    for statement in report.statements:
        out.print(statement, soft_wrap=True, highlight=False, markup=False)
    rows = "" if report.rows is None else f", {report.rows:,} rows"
    index = f"; searches by position use the index {report.index}" if report.index else ""
    err.print(
        f"Published {_plain(report.table)} ({report.what}{rows}, {report.columns} columns){index} ({report.seconds:.1f} s).",
        soft_wrap=True,
        highlight=False,
    )
    err.print(f'Try it: gateway query "SELECT TOP 5 * FROM {_plain(report.table)}"', soft_wrap=True, highlight=False)


def _names(text: str | None) -> list[str]:
    """Names of columns in a list with commas; a name with a comma stands in double quotes."""
    import csv

    if text is None:
        return []
    return [name.strip() for name in next(csv.reader([text], skipinitialspace=True), []) if name.strip()]


@drop_app.command("table")
def drop_table(name: Annotated[str, typer.Argument(help="Published name: schema.table.")]) -> None:
    """Unpublish a table. Rows that came from files go; a table that was only registered stays."""
    from gateway.ingest.register import unregister_table
    from gateway.ingest.tables import drop_table as drop

    with _databases(migrated=True) as settings:
        said = unregister_table(name, _admin_url(settings))
        if said is None:
            drop(name, _admin_url(settings))
            err.print(f"Dropped {name}.")
            return
    err.print(f"Unpublished {_plain(name)}: {_plain('; '.join(said))}.", soft_wrap=True, highlight=False)


@drop_app.command("collection")
def drop_collection(name: Annotated[str, typer.Argument(help="Name of the collection.")]) -> None:
    """Forget an image collection; its files stay where they are."""
    from gateway.ingest.images.collections import drop_collection as drop

    with _databases(migrated=True) as settings:
        gone = drop(name, _admin_url(settings))
    err.print(
        f"Dropped {gone.name}: {gone.images:,} images of {gone.files:,} files. The files themselves were not touched; "
        f"they are below {_plain(gone.root)}",
        soft_wrap=True,
        highlight=False,
    )


# -- asking ----------------------------------------------------------------------------------------------


@app.command()
def query(
    adql: Annotated[str, typer.Argument(help='The query, or "-" to read it from standard input.')],
    output: Annotated[
        Path | None, typer.Option("-o", "--output", help="File to write; its ending chooses the format.")
    ] = None,
    response_format: Annotated[
        str | None,
        typer.Option("--format", help="Format, if not the one of the file's ending: votable, csv, parquet ..."),
    ] = None,
    maxrec: Annotated[int | None, typer.Option(min=0, help="Most rows wanted.")] = None,
) -> None:
    """Run a query on the published tables; show the rows, or write any format with -o."""
    from gateway.console import show_query, write_query

    text = sys.stdin.read() if adql == "-" else adql
    with _databases(migrated=True) as settings:
        if output is None and response_format is None:
            asyncio.run(show_query(settings, text, maxrec=maxrec, base_url=_base_url(settings), console=out, notes=err))
        else:
            asyncio.run(
                write_query(
                    settings,
                    text,
                    maxrec=maxrec,
                    base_url=_base_url(settings),
                    path=output,
                    response_format=response_format,
                    notes=err,
                )
            )


def _base_url(settings: Settings) -> str:
    """URL under which clients see the service, as far as that is known here: links in rows begin with it."""
    from gateway.serve import service_url

    if settings.public_base_url:
        return settings.public_base_url + settings.base_path
    return service_url(settings) or f"http://127.0.0.1:{settings.port}{settings.base_path}"


@app.command("adql")
def check_adql(
    file: Annotated[
        str, typer.Argument(help='The query, a file with it (with --json-lines: with many), or "-" for standard input.')
    ] = "-",
    no_resolve: Annotated[bool, typer.Option("--no-resolve", help="Translate without looking up tables.")] = False,
    json_lines: Annotated[
        bool, typer.Option("--json-lines", help='One {"adql": ...} a line in, one {"ok": ...} a line out.')
    ] = False,
    strict: Annotated[bool, typer.Option("--strict", help="Refuse what goes beyond ADQL 2.1.")] = False,
) -> None:
    """Check a query and print its SQL (exit 0), or its fault as line:column: message (exit 1).

    With --json-lines the exit code is 0 whatever the queries are: each answer tells.
    """
    from gateway.console import translator

    lines = sys.stdin if file == "-" else io.StringIO(file if _is_query(file) else _read_text(Path(file)))
    with translator(None if no_resolve else _databases(migrated=True), strict=strict) as translate:
        if json_lines:
            _check_lines(translate, lines)
            return
        try:
            print(translate(lines.read().removeprefix("\ufeff")))  # noqa: T201 - the SQL is the command's output
        except QueryError as e:
            place = f"{e.line}:{e.column}: " if e.line is not None else ""
            print(f"{place}{e.reason}", file=sys.stderr)  # noqa: T201 - the form is fixed, for editors
            raise typer.Exit(EXIT_FAULT) from e


def _check_lines(translate: Callable[[str], str], lines: Iterable[str]) -> None:
    for line in lines:
        if line.strip():
            print(json.dumps(_check_line(translate, line)), flush=True)  # noqa: T201 - the command's output


def _check_line(translate: Callable[[str], str], line: str) -> dict[str, object]:
    try:
        text = json.loads(line)["adql"]
        return {"ok": True, "sql": translate(text), "error": None}
    except QueryError as e:
        return {"ok": False, "sql": None, "error": {"message": e.reason, "line": e.line, "column": e.column}}
    except (ValueError, KeyError, TypeError, RecursionError):  # the last: JSON that is nested without end
        message = 'this line is not a JSON object with a text under "adql"'
        return {"ok": False, "sql": None, "error": {"message": message, "line": None, "column": None}}


def _is_query(text: str) -> bool:
    """Whether an argument is a query and not the name of a file: no file is called so."""
    return re.match(r"\s*(\(\s*)*(SELECT|WITH)\s", text, re.IGNORECASE) is not None


def _read_text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, ValueError) as e:
        raise ParameterError("FILE", str(path), f"cannot be read: {e}") from e


@app.command()
def status() -> None:
    """Show what is running: versions, servers, queue depths, published tables."""
    from gateway.console import collect_status
    from gateway.serve import running_service

    settings = load_settings()
    table = RichTable(show_header=False, box=None, pad_edge=False)
    table.add_column(style="bold")
    table.add_column(overflow="fold")
    for name, value in (
        ("gateway", __version__),
        ("home", str(settings.home_path)),
        ("service", running_service(settings) or "not running here; start it with: gateway serve"),
    ):
        table.add_row(name, _plain(value))
    with _databases(migrated=True) as resolved:
        for name, value in (
            *asyncio.run(collect_status(resolved)),
            *_registered(resolved),
            *_collections(resolved),
        ):
            table.add_row(name, _plain(value))
    _print_table(table)


def _print_table(table: RichTable) -> None:
    """Fold a table to a terminal; a file or another program gets each row as one line."""
    console = out if out.is_terminal else Console(width=10_000)
    console.print(table)


def _registered(settings: Settings) -> list[tuple[str, str]]:
    """Lines of ``gateway status`` about tables that are published where they were."""
    from gateway.ingest.register import list_registered

    found = list_registered(_admin_url(settings))
    faulty = [item for item in found if item.faults]
    if not found:
        return []
    rows = sum(item.rows or 0 for item in found)
    return [
        (
            "  registered",
            f"{len(found)} of them with {rows:,} rows, {sum(item.is_indexed for item in found)} indexed by position",
        ),
        *((f"  {item.name}", _change(item)) for item in faulty),
    ]


def _change(item: Registered) -> str:
    cure = f"gateway register {item.physical} --name {item.name} --replace"
    return f"has changed: {', '.join(item.faults)}; {cure} (with its other options) publishes it as it is now"


def _collections(settings: Settings) -> list[tuple[str, str]]:
    """Lines of ``gateway status`` about image collections."""
    from gateway.ingest.images.collections import list_collections

    found = list_collections(_admin_url(settings))
    if not found:
        return [("images", "none; publish some: gateway ingest images")]
    images, files = (sum(getattr(one, name) for one in found) for name in ("images", "files"))
    total = f"{images:,} of {files:,} files in {len(found)} collection{'s' if len(found) > 1 else ''}"
    return [
        ("images", total),
        *((f"  {one.name}", f"{one.images:,} of {one.files:,} files below {one.root}") for one in found),
    ]


@app.command("settings")
def show_settings() -> None:
    """List every setting with its value in force, its default and its meaning."""
    settings = load_settings()
    table = RichTable("variable", "in force", "meaning", title="Settings (environment, or the file GATEWAY_CONFIG)")
    for name, field in Settings.model_fields.items():
        value = getattr(settings, name)
        is_default = value == field.get_default()
        table.add_row(
            f"GATEWAY_{name.upper()}",
            "(unset)" if value is None else _plain(str(value)) + ("" if is_default else " *"),
            _plain(field.description or ""),
        )
    _print_table(table)
    out.print("* differs from the default. Secrets are shown as stars.")


@app.command("version", hidden=True)
def version() -> None:
    """Print the version."""
    print(metadata.version("vo-gateway"))  # noqa: T201 - the command's output


# -- pieces ----------------------------------------------------------------------------------------------


def _secret(value: Any) -> str:
    return str(value.get_secret_value())


def _admin_url(settings: Settings) -> str:
    return _secret(settings.catalog_admin_url or settings.database_url)


@contextmanager
def _databases(*, migrated: bool = False) -> Iterator[Settings]:
    """Give settings in which every URL is set: those of the environment, else the embedded servers'."""
    from gateway.embedded import embedded_servers

    settings = load_settings()
    # On a terminal the answer is what counts; events are for services.
    configure_logs(
        settings if "log_level" in settings.model_fields_set else settings.model_copy(update={"log_level": "warning"})
    )
    with embedded_servers(settings) as resolved:
        if migrated:
            from gateway.serve import migrate as bring_up_to_date

            bring_up_to_date(resolved)
        yield resolved


@contextmanager
def _ingest_progress() -> Iterator[Callable[[Progress], None]]:
    """Show how far an ingest has come; its phases follow each other on one line."""
    from rich.progress import (
        BarColumn,
        SpinnerColumn,
        TaskProgressColumn,
        TextColumn,
        TimeElapsedColumn,
    )
    from rich.progress import (
        Progress as Bar,
    )

    columns = (
        SpinnerColumn(),
        TextColumn("{task.description:<9}"),
        BarColumn(),
        TaskProgressColumn(),
        TextColumn("{task.fields[rows]:>12,} rows"),
        TimeElapsedColumn(),
    )
    with Bar(*columns, console=err, transient=True) as bar:
        task = bar.add_task("starting", total=None, rows=0)

        def show(progress: Progress) -> None:
            bar.update(
                task,
                description=progress.phase,
                completed=progress.done,
                total=progress.total or None,
                rows=progress.rows,
            )

        yield show


DEMO_QUERY = """SELECT TOP 5 source_id, ra, dec, phot_g_mean_mag
FROM gaia.dr3_bright
WHERE 1 = CONTAINS(POINT(ra, dec), CIRCLE(56.75, 24.12, 1))
ORDER BY phot_g_mean_mag"""


def _show_demo(url: str) -> None:
    """Print the URLs and one real query's answer, asked over HTTP as an astronomer would."""
    import csv

    import httpx

    started = time.monotonic()
    answer = httpx.post(
        f"{url}/tap/sync", data={"LANG": "ADQL", "RESPONSEFORMAT": "csv", "QUERY": DEMO_QUERY}, timeout=60
    )
    elapsed = time.monotonic() - started
    if not answer.is_success:
        err.print(_plain(f"The demo query failed: {answer.text}"))
        return
    heading, *rows = csv.reader(answer.text.splitlines())
    grid = RichTable(
        *heading, title="The five brightest stars of the Pleiades in Gaia DR3", title_justify="left", box=None
    )
    for row in rows:
        grid.add_row(*row)
    out.print()
    out.print(f"[bold]Query[/bold] ({1000 * elapsed:.0f} ms over HTTP):")
    out.print(_plain(DEMO_QUERY), highlight=False)
    out.print(grid)
    for name, path in (
        ("Home", "/"),
        ("TAP (pyvo, TOPCAT, Aladin)", "/tap"),
        ("Images: SIA 2", "/sia2"),
        ("Cutouts: SODA", "/soda"),
        ("Tables", "/tap/tables"),
        ("OpenAPI", "/docs"),
    ):
        out.print(f"  {name + ':':<28}{url}{path}", highlight=False)
    out.print("More to try: README.md. Stop with Ctrl-C; the data stay for the next start.")
