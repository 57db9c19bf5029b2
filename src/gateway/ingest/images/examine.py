"""A file and its companions, looked at in a process of its own: whatever is in them, the ingest goes on."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

from gateway.db.images import Plane
from gateway.errors import DatasetError, NotFoundError, TransientError
from gateway.imaging.hdus import Hdu
from gateway.ingest.images.inspect import Found, Inspection, inspect
from gateway.ingest.images.rules import Role, Rules
from gateway.storage.sources import source


@dataclass(frozen=True, slots=True)
class Task:
    """File to look at."""

    path: str
    """Below the root of the collection."""
    root: str
    companions: Mapping[Role, str]
    """Files that belong to its images, below the root."""
    science: str | None = None
    """File to whose images it belongs itself."""


@dataclass(frozen=True, slots=True)
class Examined:
    """What a file holds."""

    inspection: Inspection
    images: tuple[tuple[Found, tuple[Plane, ...]], ...]
    notes: tuple[str, ...]


class Fault(StrEnum):
    """Whose fault it is that nothing can be taken from a file."""

    FILE = "file"
    GONE = "gone"
    """There is no file any more."""
    PASSING = "passing"
    """Nobody's: another time may do, and what was taken before stays."""


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why nothing can be taken from a file."""

    reason: str
    fault: Fault = Fault.FILE


def examine(task: Task, rules: Rules) -> Examined | Refusal:
    """Look into a file; never raises."""
    location = f"{task.root}/{task.path}"
    obs_id = task.path.rsplit("/", 1)[-1].partition(".fit")[0]
    try:
        found = inspect(location, rules, obs_id=obs_id, is_companion=task.science is not None)
        notes = list(found.notes)
        companions = _companions(task, rules, notes)
        images = tuple((image, tuple(_planes(task.path, image, found, companions, notes))) for image in found.images)
        if source(location).stamp() != found.stamp:
            return Refusal("it was changed while it was read; ingest it again", Fault.PASSING)
    except DatasetError as e:
        return Refusal(e.message)
    except NotFoundError as e:
        return Refusal(e.message, Fault.GONE)
    except TransientError as e:
        return Refusal(e.message, Fault.PASSING)
    except OSError as e:
        return Refusal(f"it cannot be read: {os.strerror(e.errno) if e.errno else e}", Fault.PASSING)
    except MemoryError:
        return Refusal("there is not enough memory to look into it")
    except Exception as e:  # noqa: BLE001 - one file must not end the ingest of thousands
        lines = str(e).strip().splitlines() or [""]
        return Refusal(f"it cannot be read: {type(e).__name__}: {lines[0][:200]}")
    return Examined(found, images, tuple(dict.fromkeys(notes)))


def _companions(task: Task, rules: Rules, notes: list[str]) -> dict[Role, tuple[str, Inspection]]:
    found = {}
    for role, path in task.companions.items():
        try:
            found[role] = path, inspect(f"{task.root}/{path}", rules, obs_id="", is_companion=True)
        except NotFoundError:
            notes.append(f"no {role}: {path} is not there")
        except (DatasetError, TransientError) as e:
            notes.append(f"no {role}: {path}: {e.message}")
    return found


def _planes(
    path: str, image: Found, found: Inspection, companions: Mapping[Role, tuple[str, Inspection]], notes: list[str]
) -> list[Plane]:
    planes = [Plane(role, path, hdu) for role, hdu in image.planes]
    own = Hdu(found.records[image.hdu])
    for role, (name, other) in companions.items():
        same_name = [hdu.number for record in other.records if (hdu := Hdu(record)).name == own.name and own.name]
        number = same_name[0] if same_name else image.hdu
        if other.shape(number)[-2:] == image.shape[-2:]:
            planes.append(Plane(role, name, number))
        else:
            notes.append(f"no {role}: HDU {number} of {name} has another size than the image")
    return planes
