"""What belongs to a dataset, and what can be done with it: the links of DataLink."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import pyarrow as pa

from gateway.db.images import Dataset
from gateway.services.access import Caller
from gateway.services.datafiles import FITS, media_type
from gateway.services.repository import Repository
from gateway.vo import datalink, paths, soda
from gateway.vo.datalink import AUXILIARY, CUTOUT, PROGENITOR, THIS, Link
from gateway.vo.descriptors import ServiceDescriptor
from gateway.vo.formats.base import TableHeader
from gateway.vo.regions import Circle, Polygon

MOST_IDS = 1_000
"""Datasets whose links one answer holds; clients ask for the others again (DL-3)."""

PRODUCT_TYPES = "http://www.ivoa.net/rdf/product-type#"


@dataclass(frozen=True, slots=True)
class Links:
    """The table of an answer."""

    header: TableHeader
    rows: pa.RecordBatch
    count: int
    """Identifiers that it answers."""
    is_overflow: bool
    """Whether some identifiers were left out."""


class LinkService:
    """Links of datasets."""

    def __init__(self, repository: Repository) -> None:
        self._repository = repository

    async def links(self, identifiers: Sequence[str], caller: Caller) -> Links:
        """List the links of some datasets, those of each together and in the order asked for.

        An identifier that is not known has a row that says so: it is no reason to keep the others back (DL-2).
        """
        base = caller.base_url
        asked = list(dict.fromkeys(identifiers))
        taken = asked[:MOST_IDS]
        found = await self._repository.find(taken)
        rows: list[Link] = []
        services: list[ServiceDescriptor] = []
        for identifier in taken:
            dataset = found.get(identifier.lower())
            if dataset is None:
                message = "NotFoundFault: there is no such dataset here"
                rows.append(Link(id=identifier, semantics=THIS, error_message=message))
                continue
            rows += _own(identifier, dataset, base)
            rows += _progenitors(identifier, dataset, await self._repository.made_from(dataset), base)
            services += _services(dataset, base)
        header, batch = datalink.links_table(rows, services)
        return Links(header, batch, len(taken), len(asked) > len(taken))


def _own(identifier: str, dataset: Dataset, base: str) -> Iterator[Link]:
    file = _file_url(dataset, base)
    yield Link(
        id=identifier,
        semantics=THIS,
        access_url=file,
        description=f"FITS file; the image is HDU {dataset.hdu}",
        content_type=media_type(dataset.path),
        content_length=dataset.size,
        content_qualifier=PRODUCT_TYPES + str(dataset.values["dataproduct_type"]),
    )
    for kind in ("sync", "async"):
        yield Link(
            id=identifier,
            semantics=CUTOUT,
            service_def=f"soda-{kind}-{dataset.key}",
            description="Cut out a region" if kind == "sync" else "Cut out regions, as a job",
            content_type=FITS if kind == "sync" else None,
        )
    for plane in dataset.planes:
        is_same = plane.path == dataset.path
        yield Link(
            id=identifier,
            semantics=AUXILIARY,
            access_url=file if is_same else f"{file}?PLANE={plane.role}",
            description=f"{plane.role.capitalize()}: HDU {plane.hdu} of {'the same' if is_same else 'its own'} file",
            content_type=media_type(plane.path),
            content_length=dataset.size if is_same else None,
            local_semantics=f"#{plane.role}",
        )


def _progenitors(identifier: str, dataset: Dataset, found: Mapping[str, Dataset], base: str) -> Iterator[Link]:
    for path in dataset.progenitors:
        if path not in found:
            message = f"NotFoundFault: {path}, from which it was made, is not in this archive"
            yield Link(id=identifier, semantics=PROGENITOR, error_message=message)
            continue
        first = found[path]
        yield Link(
            id=identifier,
            semantics=PROGENITOR,
            access_url=_file_url(first, base),
            description=f"{first.values['obs_id']}, one of the images from which it was made",
            content_type=media_type(first.path),
            content_length=first.size,
            content_qualifier=PRODUCT_TYPES + str(first.values["dataproduct_type"]),
        )


def _file_url(dataset: Dataset, base: str) -> str:
    return f"{base}{paths.DATA}/{dataset.key}"


def _services(dataset: Dataset, base: str) -> Iterator[ServiceDescriptor]:
    """Cutout services with this image's own identifier and extent (SODA-10)."""
    values = dataset.values
    circle = Circle(values["s_ra"], values["s_dec"], min(values["s_fov"] / 2, 180.0))
    region = values["s_region"]
    polygon = Polygon(tuple(zip(region[::2], region[1::2], strict=True))) if region else None
    for is_sync, kind, path in ((True, "sync", paths.CUTOUT), (False, "async", paths.CUTOUT_JOBS)):
        yield soda.descriptor(
            base + path,
            is_sync=is_sync,
            identifier=f"soda-{kind}-{dataset.key}",
            dataset=dataset.obs_publisher_did,
            subject=f"{values['obs_id']} (HDU {dataset.hdu}, {dataset.key})",
            circle=circle,
            polygon=polygon,
        )
