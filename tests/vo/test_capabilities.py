import datetime as dt
import io
from dataclasses import replace

import pytest
from lxml import etree

from gateway.vo import formats
from gateway.vo.capabilities import (
    UPLOAD_HTTP,
    UPLOAD_HTTPS,
    UPLOAD_INLINE,
    TapCapabilities,
    TapLimits,
    tap_capabilities,
)
from tests.support.xsd import is_valid

LIMITS = TapLimits(
    maxrec_default=100_000,
    maxrec_hard=20_000_000,
    execution_duration_default=dt.timedelta(hours=1),
    execution_duration_hard=dt.timedelta(hours=4),
    retention_default=dt.timedelta(days=7),
    retention_hard=dt.timedelta(days=14),
    upload_max_rows=1_000_000,
)
GEOMETRY = "ivo://ivoa.net/std/TAPRegExt#features-adqlgeo"
UDF = "ivo://ivoa.net/std/TAPRegExt#features-udf"
SERVICE = TapCapabilities(
    base_url="https://example.org/tap",
    limits=LIMITS,
    features=[(GEOMETRY, [("POINT", None), ("CIRCLE", None)]), (UDF, [("f(x REAL) -> REAL", "Does <f>")]), ("x:y", [])],
    data_models=[("ivo://ivoa.net/std/ObsCore#core-1.1", "ObsCore-1.1")],
)


def root(service: TapCapabilities = SERVICE) -> etree._Element:
    return etree.fromstring(tap_capabilities(service))


def table_access(service: TapCapabilities = SERVICE) -> etree._Element:
    (found,) = (item for item in root(service) if item.get("standardID") == "ivo://ivoa.net/std/TAP")
    return found


@pytest.mark.parametrize(
    "service",
    [SERVICE, replace(SERVICE, features=(), data_models=(), upload_methods=())],
    ids=["full", "bare"],
)  # fmt: skip
def test_tre1_the_document_is_valid(service):
    assert is_valid(tap_capabilities(service))


def test_tap12_the_interface_is_tap_1_1_at_the_base_url():
    interface = table_access().find("interface")
    assert (interface.get("version"), interface.get("role")) == ("1.1", "std")
    assert interface.findtext("accessURL") == "https://example.org/tap"


@pytest.mark.parametrize("prefix", ['xsi:type="tr:TableAccess"', 'xsi:type="vs:ParamHTTP"'])
def test_prefixes_are_literally_those_that_clients_compare(prefix):
    assert prefix.encode() in tap_capabilities(SERVICE)


def test_vosi5_the_endpoints_are_listed_with_full_urls():
    urls = {item.get("standardID"): item.find("interface/accessURL") for item in root()}
    assert urls["ivo://ivoa.net/std/VOSI#capabilities"].text == "https://example.org/tap/capabilities"
    assert urls["ivo://ivoa.net/std/VOSI#availability"].text == "https://example.org/tap/availability"
    assert urls["ivo://ivoa.net/std/VOSI#tables-1.1"].text == "https://example.org/tap/tables"
    assert {urls[key].get("use") for key in urls if "VOSI" in key} == {"full"}


def test_tap19_the_page_of_examples_is_for_browsers():
    (found,) = (item for item in root() if item.get("standardID") == "ivo://ivoa.net/std/DALI#examples")
    assert found.find("interface").get("{http://www.w3.org/2001/XMLSchema-instance}type") == "vr:WebBrowser"
    assert found.findtext("interface/accessURL") == "https://example.org/tap/examples"


def test_features_of_our_own_are_told_in_words():
    service = replace(SERVICE, features=[*SERVICE.features, ("ivo://org.x/own", [("CASE", "When <so>"), ("%", None)])])
    language = table_access(service).find("language")
    assert language.findtext("description").endswith("Beyond it: CASE (When <so>); %")
    assert {group.get("type") for group in language.iter("languageFeatures")} == {GEOMETRY, UDF}
    assert is_valid(tap_capabilities(service))


def test_tre12_limits_by_mode_are_told_only_if_given():
    assert not root().xpath("//*[@forMode]")
    told = root(replace(SERVICE, limits=replace(LIMITS, sync_time_limit=dt.timedelta(seconds=60))))
    both = told.xpath("//executionDuration")
    assert [(item.get("forMode"), item.findtext("hard")) for item in both] == [(None, "14400"), ("sync", "60")]


def test_tre2_both_versions_of_adql():
    language = table_access().find("language")
    versions = {item.text: item.get("ivo-id") for item in language.findall("version")}
    assert language.findtext("name") == "ADQL"
    assert versions == {"2.0": "ivo://ivoa.net/std/ADQL#v2.0", "2.1": "ivo://ivoa.net/std/ADQL#v2.1"}


def test_tre3_features_stand_in_their_groups_and_empty_groups_nowhere():
    groups = {
        group.get("type"): [form.text for form in group.iter("form")]
        for group in table_access().iter("languageFeatures")
    }
    assert groups == {GEOMETRY: ["POINT", "CIRCLE"], UDF: ["f(x REAL) -> REAL"]}


def test_tre5_every_advertised_format_is_served_under_its_media_type():
    seen = set()
    for item in table_access().iter("outputFormat"):
        media_type = item.findtext("mime")
        for name in (media_type, *(alias.text for alias in item.iter("alias"))):
            format_, content_type = formats.find(name)
            assert content_type == media_type
            seen.add(format_.key)
    assert seen == {format_.key for format_ in formats.FORMATS}


def test_tre7_uploads_are_declared_as_they_are_enforced():
    declared = [item.get("ivo-id") for item in table_access().iter("uploadMethod")]
    assert declared == [UPLOAD_INLINE, UPLOAD_HTTP, UPLOAD_HTTPS]
    assert table_access(replace(SERVICE, upload_methods=())).find("uploadLimit") is None


@pytest.mark.parametrize(
    ("name", "default", "hard", "unit"),
    [
        ("retentionPeriod", "604800", "1209600", None),
        ("executionDuration", "3600", "14400", None),
        ("outputLimit", "100000", "20000000", "row"),
        ("uploadLimit", None, "1000000", "row"),
    ],
)
def test_tre8_to_10_every_limit_is_told(name, default, hard, unit):
    limit = table_access().find(name)
    assert (limit.findtext("default"), limit.findtext("hard")) == (default, hard)
    assert limit.find("hard").get("unit") == unit


def test_pyvo_reads_the_capabilities():
    from pyvo.io.vosi import parse_capabilities

    tap = next(item for item in parse_capabilities(io.BytesIO(tap_capabilities(SERVICE))) if "TAP" in item.standardid)
    assert tap.get_adql().get_udf("f").form == "f(x REAL) -> REAL"
    assert tap.outputlimit.hard.content == 20_000_000
    assert tap.executionduration.default == 3600
