"""SODA 1.0: the request, and what makes one of it into several cutouts."""

from __future__ import annotations

from dataclasses import dataclass

from gateway.errors import (
    AuthenticationError,
    AuthorizationError,
    GatewayError,
    MultipleValuesError,
    NotFoundError,
    NotSupportedError,
    ParameterError,
    QuotaError,
    TransientError,
    UsageError,
)
from gateway.vo.dali import ParamBag, Parameter
from gateway.vo.descriptors import InputParam, ServiceDescriptor
from gateway.vo.regions import Circle, Polygon, Region
from gateway.vo.shapes import POS_FORMS, parse_circle, parse_polygon, parse_pos
from gateway.vo.tableset import Datatype, VOType

SYNC_ID = "ivo://ivoa.net/std/SODA#sync-1.0"
ASYNC_ID = "ivo://ivoa.net/std/SODA#async-1.0"

SHAPES = ("CIRCLE", "POLYGON", "POS")
REPEATABLE = ("ID", *SHAPES)
"""Parameters of which a job may have several: each combination makes a cutout (SODA-14)."""

NOT_YET = ("BAND", "TIME", "POL", "MOC")
"""Parameters of the standard that this version refuses: ignoring them would answer another question (SODA-9)."""

LABELS: tuple[tuple[type[GatewayError], str], ...] = (
    (MultipleValuesError, "MultiValuedParamNotSupported"),
    (UsageError, "UsageError"),
    (NotFoundError, "UsageError"),
    (AuthenticationError, "AuthenticationError"),
    (AuthorizationError, "AuthorizationError"),
    (TransientError, "ServiceUnavailable"),
    (QuotaError, "ServiceUnavailable"),
)
"""With what word the text of an error begins, most exact class first; anything else is an ``Error`` (SODA-13)."""

MOST_CUTOUTS = 1_000
"""Cutouts of one job."""

PARAMETERS = (
    Parameter("ID", "Publisher DID of the dataset, as ObsCore, SIA and DataLink give it.", is_repeatable=True),
    Parameter("CIRCLE", "Region: ra dec radius, ICRS degrees.", is_repeatable=True, example="56.75 24.12 0.1"),
    Parameter("POLYGON", "Region: ra1 dec1 ra2 dec2 ra3 dec3 ..., ICRS degrees.", is_repeatable=True),
    Parameter("POS", f"Region: {POS_FORMS}.", is_repeatable=True),
)


@dataclass(frozen=True, slots=True)
class Cutout:
    """One cutout: a dataset and the region wanted of it; without a region, all of it."""

    dataset: str
    region: Region | None
    shown: str
    """The parameters, for people and for the file."""


@dataclass(frozen=True, slots=True)
class CutoutRequest:
    """Cutouts that a request asks for: each dataset with each region (SODA 1.0, "Asynchronous")."""

    cutouts: tuple[Cutout, ...]

    @classmethod
    def from_params(cls, bag: ParamBag) -> CutoutRequest:
        """Read a request.

        Raises
        ------
        ParameterError
            ID is missing, or a value is not what its parameter takes.
        NotSupportedError
            It filters by what this version cannot cut.
        """
        for name in NOT_YET:
            if any(value.strip() for value in bag.all(name)):
                raise NotSupportedError(f"{name}: this version cuts by CIRCLE, POLYGON and POS; leave {name} out")
        datasets = [value for value in bag.all("ID") if value.strip()]
        if not datasets:
            raise ParameterError(
                "ID", "", "give the publisher DID of a dataset (column obs_publisher_did of ivoa.obscore)"
            )
        regions: list[tuple[str, str, Region | None]] = [
            (name, text, _region(name, text)) for name, text in bag.items if name in SHAPES and text.strip()
        ]
        count = len(datasets) * max(1, len(regions))
        if count > MOST_CUTOUTS:
            raise ParameterError(
                "ID", datasets[0], f"{count} cutouts in one job; at most {MOST_CUTOUTS} are made, send several"
            )
        return cls(
            tuple(
                Cutout(dataset, region, f"{name}={text}" if name else "")
                for dataset in datasets
                for name, text, region in regions or [("", "", None)]
            )
        )

    def only(self, bag: ParamBag) -> Cutout:
        """Give the one cutout of a synchronous request.

        Raises
        ------
        MultipleValuesError
            There are several (SODA-3).
        """
        if len(self.cutouts) == 1:
            return self.cutouts[0]
        datasets = tuple(value for value in bag.all("ID") if value.strip())
        if len(datasets) > 1:
            raise MultipleValuesError("ID", datasets)
        name = next(name for name, value in bag.items if name in SHAPES and value.strip())
        raise MultipleValuesError(name, tuple(value for key, value in bag.items if key in SHAPES and value.strip()))


def _region(name: str, text: str) -> Region:
    match name:
        case "CIRCLE":
            return parse_circle(name, text, can_be_point=False)
        case "POLYGON":
            return parse_polygon(name, text)
        case _:
            return parse_pos(text, can_be_point=False)


def fault_text(error: Exception, message: str) -> str:
    """Text of an error: its word and what happened (SODA-13, SODA-15)."""
    label = next((label for kind, label in LABELS if isinstance(error, kind)), "Error")
    return f"{label}: {message}\n"


def descriptor(
    access_url: str,
    *,
    is_sync: bool,
    identifier: str,
    dataset: str | None = None,
    subject: str = "",
    ref: str | None = None,
    circle: Circle | None = None,
    polygon: Polygon | None = None,
) -> ServiceDescriptor:
    """Describe the service, for one dataset or for the rows of a table (SODA 1.0, "Integration").

    Parameters
    ----------
    identifier
        XML identifier.
    dataset
        Publisher DID of the one dataset.
    subject
        What people call it: several descriptors of a document are told apart by it.
    ref
        Identifier of the FIELD with publisher DIDs, where the rows of a table are meant.
    circle, polygon
        Around the dataset, so that clients know where to draw.
    """
    pos_type, circle_type = VOType(Datatype.CHAR, "*"), VOType(Datatype.DOUBLE, "3", "circle")
    around = None if circle is None else " ".join(map(repr, (circle.ra, circle.dec, circle.radius)))
    outline = None if polygon is None else " ".join(repr(number) for vertex in polygon.vertices for number in vertex)
    return ServiceDescriptor(
        access_url,
        (
            InputParam("ID", ucd="meta.id;meta.main", value=dataset or "", ref=ref),
            InputParam(
                "CIRCLE", circle_type, "pos.outline;obs", "deg", description="Region: ra dec radius", maximum=around
            ),
            InputParam(
                "POLYGON",
                VOType(Datatype.DOUBLE, "*", "polygon"),
                "pos.outline;obs",
                "deg",
                description="Region: ra1 dec1 ra2 dec2 ra3 dec3 ...",
                maximum=outline,
            ),
            InputParam("POS", pos_type, "pos.outline;obs", description=f"Region: {POS_FORMS}"),
        ),
        standard_id=SYNC_ID if is_sync else ASYNC_ID,
        identifier=identifier,
        name=("cutout" if is_sync else "cutout job") + (f" of {subject}" if subject else ""),
        description=f"Cut {'a region' if is_sync else 'regions'} out of {subject or 'an image'}, "
        + ("at once" if is_sync else "as a job"),
        content_type="application/fits" if is_sync else None,
    )
