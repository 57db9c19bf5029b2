"""DataLink 1.1: the table of links, as schema, astropy, pyvo and STILTS see it."""

import io
import shutil
import subprocess

import pytest
from lxml import etree

from gateway.vo import soda
from gateway.vo.dali import ParamBag
from gateway.vo.datalink import (
    CUTOUT,
    FIELDS,
    MEDIA_TYPE,
    PARAMETERS,
    STANDARD_ID,
    THIS,
    Link,
    links_descriptor,
    links_table,
)
from gateway.vo.descriptors import ServiceDescriptor
from gateway.vo.formats import TABLEDATA, VOTABLE
from gateway.vo.formats.base import Info, TableHeader
from gateway.vo.obscore import DATALINK_FORMAT
from gateway.vo.regions import Circle, Polygon
from gateway.vo.tableset import Datatype, Field, VOType
from gateway.vo.votable.document import NAMESPACE
from tests.support.every_type import astropy_table, batch, is_schema_valid, write

V = f"{{{NAMESPACE}}}"
DIDS = ("ivo://example.org/a?x&1", "ivo://example.org/a?y<2>")

LINKS = (
    Link(
        id=DIDS[0],
        semantics=THIS,
        access_url="http://example.org/data/x?a=1&b=2",
        description='The "file" & its <HDU> Å',
        content_type="application/fits",
        content_length=2**40,
    ),
    Link(id=DIDS[0], semantics=CUTOUT, service_def="soda-sync-x", content_type="application/fits"),
    Link(id=DIDS[0], semantics="#auxiliary", access_url="http://example.org/data/x?w", local_semantics="#weight"),
    Link(id=DIDS[1], semantics=THIS, error_message="NotFoundFault: there is no such dataset here"),
)
SERVICES = (
    soda.descriptor(
        "http://example.org/soda/sync",
        is_sync=True,
        identifier="soda-sync-x",
        dataset=DIDS[0],
        circle=Circle(10.0, 20.0, 1.0),
        polygon=Polygon(((10.0, 0.0), (20.0, 0.0), (15.0, 9.0))),
    ),
    soda.descriptor("http://example.org/soda/async", is_sync=False, identifier="soda-async-x", dataset=DIDS[0]),
)


def document(links=LINKS, services: tuple[ServiceDescriptor, ...] = SERVICES, format_=TABLEDATA, infos=()) -> bytes:
    header, rows = links_table(links, services, infos)
    return write(format_, header, [rows])


def test_dl6_the_columns_are_the_standard_s_with_the_identifier_first() -> None:
    found = {field.name: (field.type.datatype.value.replace("unicodeChar", "char"), field.ucd) for field in FIELDS}
    assert found == {
        "ID": ("char", "meta.id;meta.main"),
        "access_url": ("char", "meta.ref.url"),
        "service_def": ("char", "meta.ref"),
        "error_message": ("char", "meta.code.error"),
        "description": ("char", "meta.note"),
        "semantics": ("char", "meta.code"),
        "content_type": ("char", "meta.code.mime"),
        "content_length": ("long", "phys.size;meta.file"),
        "content_qualifier": ("char", None),
        "local_semantics": ("char", "meta.id.assoc"),
    }
    assert FIELDS[0].name == "ID"


def test_dl10_lengths_are_in_bytes() -> None:
    assert {field.name: field.unit for field in FIELDS if field.unit} == {"content_length": "byte"}


def test_dl1_parameters() -> None:
    assert {parameter.name: parameter.is_repeatable for parameter in PARAMETERS} == {
        "ID": True,
        "RESPONSEFORMAT": False,
    }


@pytest.mark.parametrize("format_", [VOTABLE, TABLEDATA], ids=lambda format_: format_.key)
@pytest.mark.parametrize("links", [LINKS, ()], ids=["links", "none"])
def test_dl4_dl6_the_document_is_valid_with_links_and_without(format_, links) -> None:
    assert is_schema_valid(document(links, format_=format_))


@pytest.mark.filterwarnings("ignore:.*:astropy.io.votable.exceptions.VOTableSpecWarning")
@pytest.mark.filterwarnings("ignore:.*:astropy.io.votable.exceptions.VOWarning")
@pytest.mark.parametrize("format_", [VOTABLE, TABLEDATA], ids=lambda format_: format_.key)
def test_dl7_astropy_reads_every_link_back(format_) -> None:
    table = astropy_table(document(format_=format_), verify="ignore").to_table()
    assert table.colnames == [field.name for field in FIELDS]
    for link, row in zip(LINKS, table, strict=True):
        assert row["ID"] == link.id
        assert row["semantics"] == link.semantics
        for name in ("access_url", "service_def", "error_message", "description", "content_type", "local_semantics"):
            assert (str(row[name]) if row[name] not in {"", "--"} else None) == getattr(link, name)
    assert table["content_length"][0] == 2**40
    assert table["content_length"].mask.tolist() == [False, True, True, True]


def test_dl12_the_standard_is_named_in_the_resource_of_the_results() -> None:
    (resource,) = (
        r for r in etree.fromstring(document(infos=[Info("x", "y")])).iter(f"{V}RESOURCE") if r.get("type") == "results"
    )
    infos = {info.get("name"): info.get("value") for info in resource.findall(f"{V}INFO")}
    assert infos == {"QUERY_STATUS": "OK", "standardID": STANDARD_ID, "x": "y"}
    assert STANDARD_ID == "ivo://ivoa.net/std/DataLink#links-1.1"


def test_dl20_services_that_rows_name_are_in_the_document() -> None:
    tree = etree.fromstring(document())
    identifiers = [resource.get("ID") for resource in tree.iter(f"{V}RESOURCE") if resource.get("type") == "meta"]
    assert identifiers == ["soda-sync-x", "soda-async-x"]
    assert {link.service_def for link in LINKS if link.service_def} <= set(identifiers)


def test_dl14_clients_know_links_by_this_exact_media_type() -> None:
    assert DATALINK_FORMAT == MEDIA_TYPE == "application/x-votable+xml;content=datalink"


def test_stilts_finds_nothing_wrong(tmp_path) -> None:
    if shutil.which("stilts") is None:
        pytest.skip("stilts is not installed (Debian package stilts)")
    path = tmp_path / "links.vot"
    path.write_bytes(document())
    done = subprocess.run(
        ["stilts", "datalinklint", f"votable={path}"], capture_output=True, text=True, check=False, timeout=60
    )
    assert "Errors: 0; Warnings: 0" in done.stdout + done.stderr
    assert "Failures: 0" in done.stdout


# -- pyvo -----------------------------------------------------------------------------------------


def results(content: bytes):
    from astropy.io.votable import parse
    from pyvo.dal.adhoc import DatalinkResults

    return DatalinkResults(parse(io.BytesIO(content), verify="ignore"), url="http://example.org/datalink/links")


QUIET = pytest.mark.filterwarnings("ignore:.*:Warning")


@QUIET
def test_pyvo_finds_the_file_by_its_semantics() -> None:
    found = results(document())
    (this,) = (row for row in found.bysemantics("#this", include_narrower=False) if row["ID"] == DIDS[0])
    assert this.access_url == LINKS[0].access_url
    assert this.content_length == 2**40


@QUIET
def test_pyvo_finds_the_cutout_service_and_asks_it_with_the_dataset_s_identifier() -> None:
    from pyvo.dal.adhoc import SodaQuery

    found = results(document())
    assert [proc.access_url for proc in found.iter_procs()] == ["http://example.org/soda/sync"]
    proc = found.get_first_proc()
    assert proc["semantics"] == CUTOUT
    assert [param.name for param in proc.input_params] == ["ID", "CIRCLE", "POLYGON", "POS"]
    resource = found.get_adhocservice_by_id("soda-sync-x")
    plain = SodaQuery.from_resource([], resource)
    assert (plain.baseurl, dict(plain)) == ("http://example.org/soda/sync", {"ID": DIDS[0]})
    asked = SodaQuery.from_resource([], resource, circle=(10, 20, 1), polygon=(10, 0, 20, 0, 15, 9))
    cutouts = soda.CutoutRequest.from_params(ParamBag.of((name, str(value)) for name, value in asked.items())).cutouts
    assert {cutout.dataset for cutout in cutouts} == {DIDS[0]}
    assert [cutout.region for cutout in cutouts] == [
        Circle(10.0, 20.0, 1.0),
        Polygon(((10.0, 0.0), (20.0, 0.0), (15.0, 9.0))),
    ]


@QUIET
def test_soda10_pyvo_knows_where_to_draw() -> None:
    (circle,) = (param for param in results(document()).get_first_proc().input_params if param.name == "CIRCLE")
    assert circle.values.max.tolist() == [10, 20, 1]


@QUIET
def test_sia2_10_pyvo_finds_links_and_cutouts_of_the_rows_of_a_search() -> None:
    from astropy.io.votable import parse
    from pyvo.dal.adhoc import DatalinkQuery, SodaQuery
    from pyvo.dal.sia2 import SIA2Results

    field = Field("obs_publisher_did", VOType(Datatype.CHAR, "*"), ucd="meta.ref.ivoid")
    services = (
        links_descriptor("http://example.org/datalink/links", "obs_publisher_did"),
        soda.descriptor("http://example.org/soda/sync", is_sync=True, identifier="s", ref="obs_publisher_did"),
    )
    content = write(TABLEDATA, TableHeader((field,), services=services), [batch([field], [list(DIDS)])])
    assert is_schema_valid(content)
    found = SIA2Results(parse(io.BytesIO(content), verify="ignore"), url="http://example.org/sia2/query")
    links = found.get_adhocservice_by_ivoid("ivo://ivoa.net/std/datalink")
    asked = DatalinkQuery.from_resource(list(found), links)
    assert (asked.baseurl, asked["ID"]) == ("http://example.org/datalink/links", list(DIDS))
    assert {param.name: str(param.value) for param in links.params}["contentType"] == MEDIA_TYPE
    cutout = SodaQuery.from_resource(found[1], found.get_adhocservice_by_ivoid("ivo://ivoa.net/std/SODA#sync-1"))
    assert (cutout.baseurl, dict(cutout)) == ("http://example.org/soda/sync", {"ID": DIDS[1]})
