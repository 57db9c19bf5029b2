"""Run the benchmarks and write ``bench/results.md``: ``python -m bench [NAME...]``.

Every module of this package with ``run(server_url)`` that gives `Result`s is one. The server is the one named by
``GATEWAY_BENCH_DATABASE_URL`` (a database that may be migrated and filled), else an embedded one that is
removed afterwards.
"""

from __future__ import annotations

import importlib
import os
import pkgutil
import platform
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

import bench
from bench.common import Result
from gateway import __version__
from gateway.db import migrate
from gateway.embedded import take_lease

REPORT = Path(__file__).with_name("results.md")


@contextmanager
def server() -> Iterator[str]:
    """URL of a migrated catalog database."""
    if url := os.environ.get("GATEWAY_BENCH_DATABASE_URL"):
        migrate.upgrade(control_url=url, catalog_url=url)
        yield url
        return
    # Short: the server's socket lies in it.
    with (
        tempfile.TemporaryDirectory(prefix="gw-bench-", ignore_cleanup_errors=True) as home,
        take_lease(Path(home), valkey=False, grace=0.0) as lease,
    ):
        url = lease.servers.database_url or ""
        migrate.upgrade(control_url=url, catalog_url=url)
        yield url


def modules(wanted: list[str]) -> Iterator[str]:
    for module in pkgutil.iter_modules(bench.__path__):
        if module.name not in {"__main__", "common", "service"} and (not wanted or module.name in wanted):
            yield module.name


def measure(wanted: list[str]) -> list[Result]:
    results = []
    with server() as url:
        for name in modules(wanted):
            run = getattr(importlib.import_module(f"bench.{name}"), "run", None)
            if run is None:
                continue
            print(f"{name} ...", flush=True)
            for result in run(url):
                print(line(result), flush=True)
                results.append(result)
    return results


def line(result: Result) -> str:
    verdict = ""
    if result.wanted is not None:
        verdict = f", wanted {result.wanted:.2f}: {'reached' if result.ratio >= result.wanted else 'MISSED'}"
    return f"  {result.name}: {result.value:,.0f} {result.unit}, floor {result.floor:,.0f}, ratio {result.ratio:.2f}{verdict}"


def report(results: list[Result]) -> str:
    rows = [
        f"| {r.name} | {r.value:,.0f} {r.unit} | {r.floor:,.0f} {r.unit} | **{r.ratio:.2f}** | "
        f"{'' if r.wanted is None else f'{r.wanted:.2f}'} | {r.remark} |"
        for r in results
    ]
    where = (
        f"vo-gateway {__version__}, Python {platform.python_version()}, {platform.machine()}, {os.cpu_count()} cores"
    )
    return "\n".join(
        [
            "# Benchmarks",
            "",
            "Written by `make bench`. Each ratio is to a floor measured in the same run on the same server.",
            "",
            f"{where}, {datetime.now(UTC):%Y-%m-%d}",
            "",
            "| what | rate | floor | ratio | wanted | floor is |",
            "| --- | ---: | ---: | ---: | ---: | --- |",
            *rows,
            "",
        ]
    )


def main() -> None:
    wanted = sys.argv[1:]
    unknown = set(wanted) - set(modules([]))
    if unknown:
        sys.exit(f"no such benchmark: {', '.join(sorted(unknown))}; there are {', '.join(modules([]))}")
    results = measure(wanted)
    if not wanted:
        REPORT.write_text(report(results))
        print(f"written to {REPORT}")


if __name__ == "__main__":
    main()
