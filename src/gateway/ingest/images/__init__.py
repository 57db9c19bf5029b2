"""FITS images into ObsCore: what ``gateway ingest images`` does.

Files are looked at in processes of their own, and each is written in a transaction of its own: what was done stays done. A
file that has not changed since is passed over, so that repeating goes on where an interrupted ingest was, and changes nothing
where nothing has changed.
"""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass, replace
from pathlib import Path
from typing import assert_never

import asyncpg

from gateway.errors import DatasetError, IngestError, NotFoundError, TransientError
from gateway.ingest.connection import admin_connection
from gateway.ingest.images.examine import Examined, Fault, Refusal, Task
from gateway.ingest.images.files import Places, check_collection, common_root, find_files, relative
from gateway.ingest.images.inspect import Found
from gateway.ingest.images.load import BusyError, Known, Loader, only_one
from gateway.ingest.images.pool import FILES_A_PROCESS, cores, examined
from gateway.ingest.images.progenitors import Progenitors
from gateway.ingest.images.report import FileReport, ImagesReport, Outcome, Step, StepSink, ignore
from gateway.ingest.images.rules import Rules, read_rules
from gateway.storage.sources import SCHEMES, source

__all__ = ["BusyError", "FileReport", "ImagesReport", "Outcome", "Step", "ingest_images"]


def ingest_images(
    paths: Sequence[str],
    *,
    collection: str,
    admin_url: str,
    authority: str,
    describe: Path | None = None,
    root: str | None = None,
    prune: bool = False,
    processes: int | None = None,
    progress: StepSink = ignore,
) -> ImagesReport:
    """Publish FITS images as a collection, or bring one up to date.

    Ctrl-C ends it in order: the report then says what was done until then.

    Parameters
    ----------
    paths
        Files, folders and ``http(s)://`` URLs of files.
    describe
        TOML file with what headers cannot say; without it, the rules of the last time stay.
    root
        Folder or URL below which the files of the collection lie; tells that they were moved, if they lay elsewhere.
    prune
        Whether files below `paths` that are gone leave the collection.
    processes
        How many look into files at once; by default as many as there are cores, and only this one for a few files.

    Raises
    ------
    IngestError
        Nothing could be done; what is wrong with single files is told in the report.
    """
    check_collection(collection)
    rules = read_rules(describe) if describe else None
    places = find_files(paths)
    if root is not None:
        root = root.rstrip("/") if root.startswith(SCHEMES) else os.path.realpath(Path(root).expanduser())

    async def work() -> ImagesReport:
        async with admin_connection(admin_url) as connection, only_one(connection, collection) as is_alone:
            if not is_alone:
                raise BusyError(f"another ingest of {collection} is running; wait for its end, or stop it")
            ingest = _Ingest(Loader(connection, collection, authority), collection, progress)
            return await ingest.run(places, rules, root, prune=prune, processes=processes)

    return asyncio.run(work())


class _Ingest:
    def __init__(self, loader: Loader, collection: str, progress: StepSink) -> None:
        self._loader = loader
        self._collection = collection
        self._progress = progress
        self._reports: list[FileReport] = []
        self._images = 0
        self._looked_at = 0
        self._total = 0

    async def run(
        self, places: Places, rules: Rules | None, root: str | None, *, prune: bool, processes: int | None
    ) -> ImagesReport:
        started = time.monotonic()
        await self._check_case()
        known = await self._loader.collection()
        before = await self._loader.files()
        rules = rules or (Rules.model_validate(known.rules) if known else Rules())
        if known is None and places.missing:
            raise IngestError(": ".join(places.missing[0]))
        root = root or (known.root if known else common_root(places))
        files = self._below(places.locations, root)
        gone = _gone(before, files, places.given, root)
        self._check_gone(places, gone, before, root, prune=prune)
        if known is not None and root != known.root:
            self._check_move(before, root)
        companions = _companions(files, rules, root)
        for path in (*companions, *companions.values()):
            files.setdefault(path, f"{root}/{path}")
        await self._loader.set_collection(root, rules.model_dump(mode="json"))
        self._reports += [FileReport(path, Outcome.REFUSED, 0, (reason,)) for path, reason in places.unreadable]
        self._total = len(files) + len(self._reports) + len(gone)
        work = _Work(root, rules, rules.digest, companions, before, Progenitors({*files, *before}), is_pruned=prune)
        is_interrupted = False
        try:
            await self._take(self._tasks(files, gone, work), work, processes)
            await self._forget(gone, before, prune=prune)
        except asyncio.CancelledError:
            is_interrupted = True
        await self._loader.finish()
        others = sum(one.rules_digest != work.digest for path, one in before.items() if path not in {*files, *gone})
        return ImagesReport(
            self._collection,
            tuple(sorted(self._reports, key=lambda one: one.path)),
            seconds=time.monotonic() - started,
            looked_at=self._looked_at,
            unread=self._total - len(self._reports) if is_interrupted else 0,
            is_interrupted=is_interrupted,
            notes=(f"{others} other files are described by earlier rules; ingest them too",) if others else (),
        )

    async def _check_case(self) -> None:
        names = await self._loader.names()
        same = [name for name in names if name.lower() == self._collection.lower() and name != self._collection]
        if same:
            raise IngestError(
                f"there is a collection {same[0]}; names that differ in upper and lower case only would be the same "
                "in identifiers"
            )

    def _below(self, locations: Iterable[str], root: str) -> dict[str, str]:
        """Locations by their path below the root."""
        files = {}
        for location in locations:
            path = relative(location, root)
            if path is None:
                raise IngestError(
                    f"{location} does not lie below {root}, where {self._collection} has its files. If they were moved, "
                    f"name the folder to which with --root; for files of several folders, gateway drop collection "
                    f"{self._collection} and ingest all of them again"
                )
            files[path] = location
        return files

    def _check_gone(
        self, places: Places, gone: Sequence[str], before: Mapping[str, Known], root: str, *, prune: bool
    ) -> None:
        lost = {parent for path in gone for parent in _with_parents(f"{root}/{path}")}
        for path, reason in places.missing:
            if path not in lost:
                raise IngestError(f"{path}: {reason}")
        if prune and before and len(gone) == len(before):
            raise IngestError(
                f"none of the {len(before)} files of {self._collection} is there any more; is a disk not mounted? "
                f"If they are gone for good: gateway drop collection {self._collection}"
            )

    def _check_move(self, before: Mapping[str, Known], root: str) -> None:
        if before and not any(_exists(f"{root}/{path}") for path in before):
            raise IngestError(
                f"none of the {len(before)} files of {self._collection} is below {root}, not even {next(iter(before))}; "
                "--root names the folder to which they were moved, subfolders and all"
            )

    def _tasks(self, files: Mapping[str, str], gone: Sequence[str], work: _Work) -> list[Task]:
        """Files to be looked at: new ones, changed ones, and those whose companions are new, changed or gone."""
        changed = {path for path, location in files.items() if not work.is_known(path, location)}
        sciences = {work.companions[path] for path in changed if path in work.companions}
        sciences |= {science for path in gone if (science := work.rules.science_of(path)) is not None}
        tasks = []
        for path in files:
            if path in changed or path in sciences:
                wanted = {} if path in work.companions else work.rules.companions_of(path)
                tasks.append(Task(path, work.root, wanted, work.companions.get(path)))
            else:
                self._done(FileReport(path, Outcome.UNCHANGED, work.before[path].images))
        return tasks

    def _done(self, report: FileReport) -> None:
        self._reports.append(report)
        self._images += report.images
        self._progress(Step(len(self._reports), self._total, self._images, report.path))

    async def _take(self, tasks: Sequence[Task], work: _Work, processes: int | None) -> None:
        if processes is None:
            processes = min(cores(), 1 + len(tasks) // FILES_A_PROCESS)
        async with aclosing(examined(tasks, work.rules, processes=min(processes, len(tasks)))) as results:
            async for task, result in results:
                self._looked_at += 1
                self._done(await self._keep(task, result, work))

    async def _keep(self, task: Task, result: Examined | Refusal, work: _Work) -> FileReport:
        if isinstance(result, Refusal):
            return await self._refuse(task, result, work)
        found = result.inspection
        images = [(work.resolved(image, task.path), planes) for image, planes in result.images]
        try:
            is_new = await self._loader.write(task.path, found.stamp, found.records, images, rules_digest=work.digest)
        except (asyncpg.DataError, asyncpg.IntegrityConstraintViolationError) as e:
            reason = f"PostgreSQL cannot hold what its headers say: {str(e).splitlines()[0]}"
            return await self._refuse(task, Refusal(reason), work)
        if task.science is not None:
            return FileReport(task.path, Outcome.COMPANION)
        return FileReport(task.path, Outcome.ADDED if is_new else Outcome.UPDATED, len(images), result.notes)

    async def _refuse(self, task: Task, refusal: Refusal, work: _Work) -> FileReport:
        known = work.before.get(task.path)
        if known is None:
            return FileReport(task.path, Outcome.REFUSED, 0, (refusal.reason,))
        match refusal.fault:
            case Fault.PASSING:
                return FileReport(
                    task.path, Outcome.REFUSED, known.images, (f"{refusal.reason}; the collection keeps what it had",)
                )
            case Fault.GONE if not work.is_pruned:
                return FileReport(task.path, Outcome.MISSING, known.images, (GONE_NOTE,))
            case Fault.GONE:
                await self._loader.drop_files([task.path])
                return FileReport(task.path, Outcome.REMOVED)
            case Fault.FILE:
                await self._loader.drop_files([task.path])
                lost = f"; the collection gives up what it had from it, images: {known.images}" if known.images else ""
                return FileReport(task.path, Outcome.REFUSED, 0, (refusal.reason + lost,))
            case _:
                assert_never(refusal.fault)

    async def _forget(self, gone: Sequence[str], before: Mapping[str, Known], *, prune: bool) -> None:
        if prune and gone:
            await self._loader.drop_files(gone)
        for path in gone:
            self._done(
                FileReport(path, Outcome.REMOVED)
                if prune
                else FileReport(path, Outcome.MISSING, before[path].images, (GONE_NOTE,))
            )


GONE_NOTE = "the file is gone; --prune removes what the collection has from it"


@dataclass(frozen=True)
class _Work:
    """What all files of an ingest have in common."""

    root: str
    rules: Rules
    digest: str
    companions: Mapping[str, str]
    """Files that belong to the images of others: path of each, and path of that other."""
    before: Mapping[str, Known]
    progenitors: Progenitors
    is_pruned: bool

    def is_known(self, path: str, location: str) -> bool:
        """Whether a file is as it was when it was ingested, under the same rules."""
        known = self.before.get(path)
        if known is None or known.rules_digest != self.digest:
            return False
        try:
            return source(location).stamp() == known.stamp
        except (NotFoundError, DatasetError, TransientError):
            return False

    def resolved(self, image: Found, path: str) -> Found:
        """Image with the paths of the files from which it was made."""
        if not image.progenitors:
            return image
        return replace(image, progenitors=tuple(self.progenitors.find(name, beside=path) for name in image.progenitors))


def _companions(files: Mapping[str, str], rules: Rules, root: str) -> dict[str, str]:
    """Find the files that belong to the images of others, also those that were not named: each with that other."""
    found: dict[str, str] = {}
    if not rules.companions:
        return found
    for path in files:
        for name in rules.companions_of(path).values():
            if name != path and (name in files or _exists(f"{root}/{name}")):
                found[name] = path
    for path in files:
        science = rules.science_of(path) if path not in found else None
        if science is not None and (science in files or _exists(f"{root}/{science}")):
            found[path] = science
    return found


def _gone(before: Iterable[str], files: Mapping[str, str], given: Iterable[str], root: str) -> list[str]:
    """Files that the collection has below what was named, and that are not there any more."""
    if root.startswith(SCHEMES):
        return []
    places = frozenset(given)
    return [
        path
        for path in before
        if path not in files
        and any(parent in places for parent in _with_parents(f"{root}/{path}"))
        and not _exists(f"{root}/{path}")
    ]


def _with_parents(location: str) -> Iterator[str]:
    """Give a path and all folders that it lies in."""
    yield location
    while (end := location.rfind("/")) > 0:
        location = location[:end]
        yield location


def _exists(location: str) -> bool:
    try:
        source(location).stamp()
    except (NotFoundError, DatasetError):
        return False
    except TransientError:
        return True  # it cannot be known; what is there is not forgotten
    return True
