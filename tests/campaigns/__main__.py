"""Run one campaign in its full form: ``python -m tests.campaigns C1 --seed 7``."""

import argparse
import asyncio
import importlib
import random
import sys

CAMPAIGNS = {
    "C1": ("tests.campaigns.test_c1_workers", 480),
    "C2": ("tests.campaigns.test_c2_valkey", 600),
    "C3": ("tests.campaigns.test_c3_postgres", 480),
    "C4": ("tests.campaigns.test_c4_races", 900),
    "C5": ("tests.campaigns.test_c5_store", 900),
    "C5-S3": ("tests.campaigns.test_c5_s3", 900),
    "C6": ("tests.campaigns.test_c6_clients", 1800),
    "C7": ("tests.campaigns.test_c7_rolling", 900),
}
"""Where each is, and how long its full form may take on a quiet machine with two cores, seconds."""


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.campaigns", description=__doc__)
    parser.add_argument("name", choices=CAMPAIGNS)
    parser.add_argument("--seed", type=int, help="replays an earlier run; drawn by lot and printed otherwise")
    parser.add_argument("--short", action="store_true", help="the form that CI runs")
    parser.add_argument(
        "--limit", type=int, help="seconds that it may take, on a machine that is busy with other things"
    )
    arguments = parser.parse_args()
    seed = random.SystemRandom().randrange(1_000_000) if arguments.seed is None else arguments.seed
    print(f"{arguments.name} with seed {seed}", flush=True)
    module, usual_s = CAMPAIGNS[arguments.name]
    limit_s = arguments.limit or usual_s
    try:
        asyncio.run(run(module, seed, limit_s, is_full=not arguments.short))
    except TimeoutError:
        print(f"{arguments.name} seed {seed}: not done after {limit_s} s", file=sys.stderr)
        return 1
    except AssertionError as e:
        print(e, file=sys.stderr)
        return 1
    return 0


async def run(module: str, seed: int, limit_s: int, *, is_full: bool) -> None:
    async with asyncio.timeout(limit_s):
        report = await importlib.import_module(module).campaign(seed, is_full=is_full)
    report.finish()


if __name__ == "__main__":
    sys.exit(main())
