"""Service descriptors: XML that the schema allows, and that pyvo turns into requests."""

import io

import pytest
from hypothesis import given
from hypothesis import strategies as st
from lxml import etree

from gateway.vo.descriptors import InputParam, ServiceDescriptor
from gateway.vo.formats import CSV, TABLEDATA, VOTABLE
from gateway.vo.formats.base import Broken, Overflow, TableHeader
from gateway.vo.tableset import Datatype, Field, VOType
from gateway.vo.votable.document import NAMESPACE
from tests.support.every_type import batch, is_schema_valid, votlint, write

V = f"{{{NAMESPACE}}}"
DID = Field("obs_publisher_did", VOType(Datatype.CHAR, "*"), ucd="meta.ref.ivoid")
ROWS = [batch([DID], [["ivo://a/b?1", "ivo://a/b?2"]])]

FULL = ServiceDescriptor(
    "http://example.org/soda/sync?fixed=a&other=b",
    (
        InputParam("ID", ucd="meta.id;meta.main", ref="obs_publisher_did"),
        InputParam("MODE", value="fast & <cheap>", description='Which "way" & how <far>'),
        InputParam(
            "BAND", VOType(Datatype.DOUBLE, "2", "interval"), "em.wl;stat.interval", "m", minimum="1", maximum="2"
        ),
        InputParam("POL", options=("I", "Q", "<&>")),
    ),
    standard_id="ivo://ivoa.net/std/SODA#sync-1.0",
    identifier="soda-sync",
    name='cut "out" & <in>',
    description="Cuts <here> & there",
    content_type="application/fits",
)


def document(*services: ServiceDescriptor, format_=TABLEDATA, rows=ROWS, ending=None) -> bytes:
    return write(format_, TableHeader((DID,), services=services), rows, ending)


def resources(content: bytes) -> list:
    return [found for found in etree.fromstring(content).findall(f"{V}RESOURCE") if found.get("type") == "meta"]


BOTH = pytest.mark.parametrize("format_", [VOTABLE, TABLEDATA], ids=lambda format_: format_.key)


@BOTH
@pytest.mark.parametrize("ending", [None, Overflow(2), Broken("<gone> & away")], ids=repr)
def test_dl20_descriptors_stand_after_the_table_and_the_document_stays_valid(format_, ending) -> None:
    content = document(FULL, ServiceDescriptor("http://x", ()), format_=format_, ending=ending)
    assert is_schema_valid(content)
    kinds = [found.get("type") for found in etree.fromstring(content).findall(f"{V}RESOURCE")]
    assert kinds == ["results", "meta", "meta"]
    assert all(found.get("utype") == "adhoc:service" for found in resources(content))


def test_votlint_finds_nothing_but_empty_values_of_numbers(tmp_path) -> None:
    """SODA's own pattern has value="" for numbers that are the user's to give."""
    lines = votlint(document(FULL), tmp_path / "d.vot").splitlines()
    assert [line for line in lines if "value" not in line.lower() and "''" not in line] == []


def test_dl21_the_service_is_told_outside_of_the_input_group() -> None:
    (found,) = resources(document(FULL))
    assert (found.get("ID"), found.get("name")) == ("soda-sync", FULL.name)
    assert found.findtext(f"{V}DESCRIPTION") == FULL.description
    params = {param.get("name"): param for param in found.findall(f"{V}PARAM")}
    assert {name: param.get("value") for name, param in params.items()} == {
        "standardID": FULL.standard_id,
        "accessURL": FULL.access_url,
        "contentType": FULL.content_type,
    }
    assert {(param.get("datatype"), param.get("arraysize")) for param in params.values()} == {("char", "*")}


def test_dl22_inputs_are_fixed_or_the_row_s_or_the_user_s() -> None:
    (found,) = resources(document(FULL))
    group = found.find(f"{V}GROUP")
    assert group.get("name") == "inputParams"
    params = {param.get("name"): param for param in group.findall(f"{V}PARAM")}
    assert [(name, param.get("value"), param.get("ref")) for name, param in params.items()] == [
        ("ID", "", "obs_publisher_did"),
        ("MODE", "fast & <cheap>", None),
        ("BAND", "", None),
        ("POL", "", None),
    ]
    assert params["MODE"].findtext(f"{V}DESCRIPTION") == 'Which "way" & how <far>'


def test_dl22_dl26_references_lead_to_fields_of_the_document() -> None:
    tree = etree.fromstring(document(FULL))
    fields = [found.get("ID") for found in tree.iter(f"{V}FIELD")]
    refs = [found.get("ref") for found in tree.iter(f"{V}PARAM") if found.get("ref")]
    assert refs
    assert all(fields.count(ref) == 1 for ref in refs)


def test_dl23_bounds_and_options_are_told() -> None:
    (found,) = resources(document(FULL))
    values = {param.get("name"): param.find(f"{V}VALUES") for param in found.iter(f"{V}PARAM")}
    band = values["BAND"]
    assert [band.find(f"{V}{tag}").get("value") for tag in ("MIN", "MAX")] == ["1", "2"]
    assert [option.get("value") for option in values["POL"].findall(f"{V}OPTION")] == ["I", "Q", "<&>"]
    assert values["ID"] is None


def test_dl22_the_group_is_there_even_without_inputs() -> None:
    (found,) = resources(document(ServiceDescriptor("http://x", ())))
    assert found.find(f"{V}GROUP") is not None
    assert len(found.find(f"{V}GROUP")) == 0


def test_dl25_sia2_11_a_service_describes_itself_by_the_name_this() -> None:
    (found,) = resources(document(ServiceDescriptor("http://x", (), name="sia", is_self=True)))
    assert found.get("name") == "this"


def test_formats_that_cannot_tell_leave_them_out() -> None:
    assert write(CSV, TableHeader((DID,), services=(FULL,)), ROWS) == write(CSV, TableHeader((DID,)), ROWS)


@given(st.text(), st.text(), st.text())
def test_any_text_anywhere_comes_back_and_leaves_the_document_valid(name, value, more) -> None:
    service = ServiceDescriptor(
        f"http://x/{more}",
        (InputParam("P", value=value, description=more, minimum=name or None, options=(name,)),),
        name=name,
        description=more,
    )
    content = document(service)
    assert is_schema_valid(content)
    (found,) = resources(content)
    if all(character.isprintable() for character in value):
        assert found.find(f"{V}GROUP/{V}PARAM").get("value") == value


# -- clients --------------------------------------------------------------------------------------


@pytest.mark.filterwarnings("ignore")
def test_astropy_reads_the_descriptor_with_its_parameters() -> None:
    from astropy.io.votable import parse

    for format_ in (VOTABLE, TABLEDATA):
        tree = parse(io.BytesIO(document(FULL, format_=format_)), verify="ignore")
        (found,) = (resource for resource in tree.resources if resource.type == "meta")
        assert {param.name: str(param.value) for param in found.params}["accessURL"] == FULL.access_url
        (group,) = found.groups
        assert [entry.name for entry in group.entries] == ["ID", "MODE", "BAND", "POL"]
        assert tree.get_first_table().array["obs_publisher_did"].tolist() == ["ivo://a/b?1", "ivo://a/b?2"]
