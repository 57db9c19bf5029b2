"""C5 with S3: requests are refused, hang, are cut, or done and answered with an error; jobs end well all the same (F15)."""

import random
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from tests.campaigns.campaign import Plan, run
from tests.campaigns.harness import Site
from tests.campaigns.load import Load
from tests.campaigns.proxy import FaultProxy
from tests.campaigns.report import Report
from tests.support.s3 import Fault, S3Server

pytestmark = pytest.mark.campaign

SILENCE_S = 1.5
"""After so long the gateway gives a request up, and tries again; twenty seconds in production."""

SHARES = {"status": 0.3, "hang": 0.1, "lose": 0.05}
"""Of the requests that write: refused with 503; not answered; done, but answered with 503."""


async def campaign(seed: int, *, is_full: bool) -> Report:
    jobs = 1000 if is_full else 60
    plan = Plan(
        name="C5-S3",
        title="S3 tired, silent, cut",
        minimum={"requests refused": jobs // 4, "requests without an answer": jobs // 20, "connections to S3 cut": 3},
        bound_s=120,
    )
    with S3Server.open() as server, bucket(server) as (name, objects):
        chance = random.Random(f"{seed} s3")
        async with FaultProxy.open(server.port, chance) as proxy:
            settings = {
                "RESULTS": f"s3://{name}/results",
                "RESULTS_ENDPOINT": f"http://127.0.0.1:{proxy.port}",
                "RESULTS_TIMEOUT": f"{SILENCE_S}s",
            }

            async def harm(site: Site, load: Load, report: Report) -> None:
                plan_of_faults = list(faults(chance, 4 * jobs))
                server.break_down(*plan_of_faults)
                # A fifth of the connections break somewhere, uploads and downloads alike.
                proxy.budget = lambda: chance.randrange(200, 4_000) if chance.random() < 0.2 else None
                await load.all_accepted.wait()
                done = plan_of_faults[: len(plan_of_faults) - server.left()]
                server.break_down()
                proxy.heal()
                report.faults["requests refused"] = sum(fault.what == "status" for fault in done)
                report.faults["requests without an answer"] = sum(fault.what == "hang" for fault in done)
                report.faults["requests done and answered with 503"] = sum(fault.what == "lose" for fault in done)
                report.faults["connections to S3 cut"] = proxy.counts["cut"]

            environment = dict(server.environment)
            async with Site.open(seed, settings=settings, environment=environment, objects=objects) as site:
                load = Load(site, jobs, slow_s=1.0, excuse=lambda message: "result store" in message)
                report = await run(plan, site, load, harm, is_full=is_full)
                failed = sum(job["phase"] == "ERROR" for job in await site.fetch("SELECT phase FROM gateway.job"))
                report.add(
                    "at most one job of fifty is given up",
                    [f"{failed} jobs"] if failed > jobs / 50 else [],
                    checked=f"{failed} jobs",
                )
                return report


def faults(chance: random.Random, count: int) -> Iterator[Fault]:
    """What becomes of each request that writes, in their order."""
    for _ in range(count):
        (what,) = chance.choices([*SHARES, "skip"], [*SHARES.values(), 1 - sum(SHARES.values())])
        yield Fault("PUT", what, seconds=2 * SILENCE_S)


@contextmanager
def bucket(server: S3Server) -> Iterator[tuple[str, Any]]:
    """Hold a bucket; gives its name, and a function that lists the objects of the store in it."""
    import boto3

    client = boto3.client(
        "s3",
        endpoint_url=server.url,
        aws_access_key_id=server.environment["AWS_ACCESS_KEY_ID"],
        aws_secret_access_key=server.environment["AWS_SECRET_ACCESS_KEY"],
        region_name=server.environment["AWS_DEFAULT_REGION"],
    )
    name = f"campaign-{secrets.token_hex(4)}"
    client.create_bucket(Bucket=name)

    def objects() -> dict[str, int]:
        pages = client.get_paginator("list_objects_v2").paginate(Bucket=name, Prefix="results/")
        found = {one["Key"].removeprefix("results/"): one["Size"] for page in pages for one in page.get("Contents", ())}
        begun = client.list_multipart_uploads(Bucket=name).get("Uploads", ())
        return found | {f"{one['Key']} (upload {one['UploadId']})": 0 for one in begun}

    try:
        yield name, objects
    finally:
        client.close()


async def test_jobs_end_well_though_s3_is_tired() -> None:
    pytest.importorskip("moto")
    (await campaign(5, is_full=False)).finish()
