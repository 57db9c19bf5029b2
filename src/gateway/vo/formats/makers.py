"""Makers of all writers.

Writers and what they need, above all pyarrow's parts, are imported when the first table of their format is
written; `vo.votable` imports `formats.base`, too.
"""

from __future__ import annotations

from gateway.vo.formats.base import SpooledWriter, TableHeader, Writer


def votable(header: TableHeader) -> Writer:
    """VOTable in the serialisation that suits the columns."""
    has_polygons = any(field.type.xtype == "polygon" and field.type.is_array for field in header.fields)
    return tabledata(header) if has_polygons else binary2(header)


def binary2(header: TableHeader) -> Writer:
    """VOTable, BINARY2."""
    from gateway.vo.votable.writer import Binary2Writer

    return Binary2Writer(header)


def binary(header: TableHeader) -> Writer:
    """VOTable, BINARY."""
    from gateway.vo.votable.writer import BinaryWriter

    return BinaryWriter(header)


def tabledata(header: TableHeader) -> Writer:
    """VOTable, TABLEDATA."""
    from gateway.vo.votable.writer import TabledataWriter

    return TabledataWriter(header)


def csv(header: TableHeader, *, has_names: bool = True) -> Writer:
    """CSV, with or without its row of names."""
    from gateway.vo.formats.delimited import CSV, DelimitedWriter

    return DelimitedWriter(header, CSV, has_names=has_names)


def tsv(header: TableHeader) -> Writer:
    """TSV."""
    from gateway.vo.formats.delimited import TSV, DelimitedWriter

    return DelimitedWriter(header, TSV)


def fits(header: TableHeader) -> Writer:
    """FITS, of a small table."""
    from gateway.vo.formats.fits import GatheringFitsWriter

    return GatheringFitsWriter(header)


def spooled_fits(header: TableHeader) -> SpooledWriter:
    """FITS, of a table whose rows somebody keeps."""
    from gateway.vo.formats.fits import FitsWriter

    return FitsWriter(header)


def parquet(header: TableHeader) -> Writer:
    """Parquet."""
    from gateway.vo.formats.parquet import ParquetWriter

    return ParquetWriter(header)


def arrow(header: TableHeader) -> Writer:
    """Arrow IPC stream."""
    from gateway.vo.formats.arrow import ArrowWriter

    return ArrowWriter(header)


def json(header: TableHeader) -> Writer:
    """JSON, one document."""
    from gateway.vo.formats.json import JsonWriter

    return JsonWriter(header)


def ndjson(header: TableHeader) -> Writer:
    """JSON, one object a line."""
    from gateway.vo.formats.json import NdjsonWriter

    return NdjsonWriter(header)


def html(header: TableHeader) -> Writer:
    """HTML, which links to all other formats."""
    from gateway.vo.formats import FORMATS
    from gateway.vo.formats.html import HtmlWriter

    return HtmlWriter(header, [form.key for form in FORMATS if form.key != "html"])
