"""Tells other services that a job has ended: a signed message to the URL that its parameter WEBHOOK names.

Notices are rows, so that none is lost with a process, and any API process may send them. A message may come twice; the job
in it says which it is.
"""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import json
import time
from collections.abc import Mapping
from contextlib import suppress
from datetime import timedelta

import structlog

from gateway.errors import GatewayError, UsageError
from gateway.jobs.models import Job
from gateway.jobs.service import WEBHOOK
from gateway.jobs.signals import PhaseSignals
from gateway.jobs.store import JobStore
from gateway.jobs.store.notices import Notice
from gateway.storage.fetching import parse_url
from gateway.storage.posting import Poster
from gateway.vo.uws import instant_text

log = structlog.get_logger()

SIGNATURE = "X-Gateway-Signature"
"""Header with the time, seconds since 1970, and the HMAC-SHA256 of that time, a dot and the body: ``t=...,v1=...``."""

FIRST_PAUSE = timedelta(seconds=15)
"""Pause before the second try; each further one is four times as long: 15 s, 1, 4, 16 minutes, 1 hour."""

MOST_TRIES = 6
"""Tries of one notice, over an hour and a half: longer than a service is restarted."""

AT_ONCE = 10
"""Notices that one process sends at once."""

POLL_S = 10.0
"""How often owed notices are looked for unasked: signals may be lost, and tries come again."""

SETTLE_S = 0.5
"""Least time between two looks, however many jobs change."""


class Notices:
    """Sends what is owed."""

    def __init__(
        self, *, store: JobStore, signals: PhaseSignals, poster: Poster, secret: str, places: Mapping[str, str]
    ) -> None:
        """Prepare to send.

        Parameters
        ----------
        store, signals, poster
            Where notices are, who tells of ends, who sends.
        secret
            From which the key of each receiving host is made; see `key_of`.
        places
            Where each job list lies below the base URL.
        """
        self._store = store
        self._signals = signals
        self._poster = poster
        self._secret = secret
        self._places = places
        self._changed = asyncio.Event()

    async def run(self) -> None:
        """Send until cancelled."""
        self._signals.observe(lambda _job_id: self._changed.set())
        while True:
            with suppress(TimeoutError):
                await asyncio.wait_for(self._changed.wait(), POLL_S)
            self._changed.clear()
            try:
                while await self.send_due() == AT_ONCE:
                    pass
            except GatewayError as e:
                log.warning("Notices not read", reason=e.message)
            await asyncio.sleep(SETTLE_S)

    async def send_due(self) -> int:
        """Send what is due now, at most `AT_ONCE`; returns how many were tried."""
        notices = await self._store.take_notices(pause=FIRST_PAUSE, at_most=AT_ONCE)
        for outcome in await asyncio.gather(*(self._send(notice) for notice in notices), return_exceptions=True):
            if isinstance(outcome, Exception):  # one that cannot be sent must not keep the others
                log.error("Notice failed", exc_info=outcome)
        return len(notices)

    async def _send(self, notice: Notice) -> None:
        job = notice.job
        url = (job.bag.all(WEBHOOK) or ("",))[-1]
        is_over = notice.tries >= MOST_TRIES
        try:
            body = message(job, self._places[job.job_list])
            signature = sign(body, key_of(parse_url(url).host, self._secret), int(time.time()))
            status = await self._poster.post(url, body, [("Content-Type", "application/json"), (SIGNATURE, signature)])
        except UsageError as e:
            log.warning("Notice refused", job_id=job.job_id, reason=e.message)
            is_over = True
        except GatewayError as e:
            log.warning("Notice not sent", job_id=job.job_id, tries=notice.tries, reason=e.message)
        else:
            is_taken = 200 <= status < 300
            is_over |= is_taken
            log.info("Notice sent", job_id=job.job_id, tries=notice.tries, status=status)
        if is_over:
            await self._store.settle_notice(job.job_id)


def message(job: Job, place: str) -> bytes:
    """Spell what is told: which job, and how it ended. Results and errors are read from the job itself."""
    record = {
        "jobId": job.job_id,
        "runId": job.run_id,
        "href": f"{job.base_url}{place}/{job.job_id}",
        "phase": job.phase,
        "endTime": instant_text(job.end_time),
    }
    return json.dumps(record).encode()


def key_of(host: str, secret: str) -> bytes:
    """Key of one receiving host, which its operator is told: nobody who can check messages to one can forge those to another."""
    return hmac.new(secret.encode(), host.lower().encode(), hashlib.sha256).hexdigest().encode()


def sign(body: bytes, key: bytes, instant: int) -> str:
    """Sign a body at an instant, seconds since 1970; old messages can be told from new ones."""
    digest = hmac.new(key, f"{instant}.".encode() + body, hashlib.sha256).hexdigest()
    return f"t={instant},v1={digest}"
