"""Data Origin in the VO: what results say of themselves."""

import datetime as dt
from urllib.parse import parse_qs, urlsplit

from gateway.vo.provenance import Publisher, dataset_infos, query_infos, tap_infos
from gateway.vo.tableset import Table
from gateway.vo.tap import TapRequest, UploadRef

US = Publisher(software="x/1", name="We <us>", contact="us@example.org", authority="org.us")
BASE = "https://example.org"


def values(infos):
    return {info.name: info.value for info in infos}


def test_a_publisher_says_what_it_knows_and_nothing_else():
    assert values(US.infos("ivo://ivoa.net/std/TAP")) == {
        "service_ivoid": "ivo://org.us/tap",
        "publisher": "We <us>",
        "contact": "us@example.org",
        "server_software": "x/1",
    }
    assert values(Publisher(software="x/1").infos("ivo://ivoa.net/std/TAP")) == {"server_software": "x/1"}


def test_each_service_has_an_identifier_of_its_own():
    standards = ("ivo://ivoa.net/std/TAP", "ivo://ivoa.net/std/SIA#query-2.0", "ivo://ivoa.net/std/ConeSearch")
    found = [values(US.infos(standard))["service_ivoid"] for standard in standards]
    assert found == ["ivo://org.us/tap", "ivo://org.us/sia2", "ivo://org.us/scs"]
    assert "service_ivoid" not in values(US.infos("ivo://elsewhere/std"))


def test_the_date_of_a_request_is_a_timestamp_of_dali():
    at = dt.datetime(2026, 1, 2, 3, 4, 5, 678, tzinfo=dt.UTC)
    found = values(query_infos("ivo://ivoa.net/std/TAP", at))
    assert found["request_date"] == "2026-01-02T03:04:05Z"
    assert found["standardID"] == found["service_protocol"] == "ivo://ivoa.net/std/TAP"


def test_the_request_is_a_url_that_asks_for_the_same():
    asked = TapRequest("SELECT 'a+b' AS x\nFROM t", "csv", 7)
    url = urlsplit(values(tap_infos(asked, BASE))["request"])
    assert url.geturl().startswith(f"{BASE}/tap/sync?")
    expected = {"LANG": ["ADQL"], "QUERY": [asked.query], "RESPONSEFORMAT": ["csv"], "MAXREC": ["7"]}
    assert parse_qs(url.query) == expected


def test_what_a_url_cannot_ask_again_has_none():
    with_upload = TapRequest("SELECT 1 AS a FROM TAP_UPLOAD.t", uploads=(UploadRef("t", "param:t"),))
    for asked, base in (
        (with_upload, BASE),
        (TapRequest(f"SELECT {'1+' * 1000}1 AS a FROM t"), BASE),
        (with_upload, ""),
    ):
        assert values(tap_infos(asked, base)) == {"query": asked.query}


def test_each_table_of_a_query_says_whence_it_is():
    one = Table("s", "a", (), "s", "a", origin=(("creator", "A"), ("creator", "B"), ("citation", "doi:1")))
    other = Table("s", "b", (), "s", "b", origin=(("citation", "doi:2"),))
    found = [(info.name, info.value, info.text) for info in dataset_infos((one, other))]
    assert [pair[:2] for pair in found] == [*one.origin, *other.origin]
    assert "s.b" in found[-1][2]  # which of the two it is
