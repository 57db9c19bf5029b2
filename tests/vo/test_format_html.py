import pytest
from lxml import html

from gateway.vo.formats import FORMATS, HTML
from gateway.vo.formats.base import Broken, Info, Overflow, TableHeader
from gateway.vo.formats.html import SHOWN_CHARACTERS, SHOWN_ROWS
from tests.support.every_type import FIELDS, batch, every_type, field, header, write

HOSTILE = "<script>alert(1)</script>\"'><img src=x onerror=alert(2)>&lt;</td></table>]]>\x00\x0b"


def page(document: bytes):
    return html.document_fromstring(document.decode())


def cells(document: bytes) -> list[list[str]]:
    return [[cell.text_content() for cell in row.findall("td")] for row in page(document).findall(".//tbody/tr")]


def numbers(count: int):
    item = field("n", "int")
    return [item], [batch([item], [list(range(count))])]


def test_rows_and_heads_are_those_of_the_table():
    document = write(HTML, header(), [every_type()])
    assert [head.text for head in page(document).iter("th")] == [item.name for item in FIELDS]
    rows = cells(document)
    assert len(rows) == 4
    first = dict(zip([item.name for item in FIELDS], rows[0], strict=True))
    assert first["source_id"] == "6917528443525529728"
    assert first["ra"] == "0.30000000000000004"
    assert set(rows[3]) == {""}


def test_a_hostile_text_anywhere_is_only_text():
    item = field(HOSTILE, "unicodeChar", "*", unit=HOSTILE, ucd=HOSTILE, description=HOSTILE)
    head = TableHeader((item,), (Info(HOSTILE, HOSTILE),), HOSTILE, HOSTILE, parameters=(("QUERY", HOSTILE),))
    document = write(
        HTML, head, [batch([item], [[HOSTILE, f"http://x/{HOSTILE}", f"javascript:{HOSTILE}"]])], Broken(HOSTILE)
    )
    found = page(document)
    assert not list(found.iter("script", "img"))
    assert all(name in {"href", "rel"} for link in found.iter("a") for name in link.attrib)
    assert all(link.get("href").startswith(("?", "http://x/")) for link in found.iter("a"))
    assert cells(document)[0] == [HOSTILE.replace("\x00", "\ufffd").replace("\x0b", "\ufffd")]
    assert len(cells(document)) == 3
    assert b"\x00" not in document


def test_only_the_first_rows_are_shown_and_the_others_counted():
    fields, batches = numbers(SHOWN_ROWS + 1)
    document = write(HTML, header(fields), batches * 2)
    assert len(cells(document)) == SHOWN_ROWS
    assert f"{SHOWN_ROWS + 2:,} more rows are not shown" in page(document).text_content()


def test_a_table_that_is_whole_says_so():
    fields, batches = numbers(3)
    text = page(write(HTML, header(fields), batches)).text_content()
    assert "3 rows." in text
    assert "more rows" not in text
    assert "0 rows." in page(write(HTML, header(fields))).text_content()


@pytest.mark.parametrize(
    ("ending", "told"), [(Overflow(3), "OVERFLOW"), (Broken("it went away"), "it went away")], ids=repr
)
def test_an_ending_is_told_below_the_rows(ending, told):  # DALI-46, DALI-47
    fields, batches = numbers(3)
    found = page(write(HTML, header(fields), batches, ending))
    assert told in found.find_class("error")[0].text_content()


def test_links_lead_to_the_same_table_in_all_other_formats():
    from urllib.parse import parse_qs

    head = TableHeader((field("n", "int"),), parameters=(("LANG", "ADQL"), ("QUERY", "SELECT 'ö' & 1")))
    links = [parse_qs(link.get("href")[1:]) for link in page(write(HTML, head)).iter("a")]
    assert [link["RESPONSEFORMAT"] for link in links] == [[form.key] for form in FORMATS if form is not HTML]
    assert all(link["QUERY"] == ["SELECT 'ö' & 1"] and link["LANG"] == ["ADQL"] for link in links)


def test_there_are_no_links_where_they_would_not_work():
    too_long = TableHeader((field("n", "int"),), parameters=(("QUERY", "x" * 9000),))
    assert not list(page(write(HTML, header([field("n", "int")]))).iter("a"))
    assert not list(page(write(HTML, too_long)).iter("a"))
    assert "RESPONSEFORMAT" in page(write(HTML, too_long)).text_content()


def test_a_long_cell_is_cut_and_an_url_is_a_link():
    item = field("t", "char", "*")
    rows = batch([item], [["x" * 10_000, "https://example.org/a?b&c", "ftp://example.org"]])
    document = write(HTML, header([item]), [rows])
    assert cells(document)[0] == ["x" * SHOWN_CHARACTERS + "\N{HORIZONTAL ELLIPSIS}"]
    assert [link.get("href") for link in page(document).iter("a")] == ["https://example.org/a?b&c"]


def test_the_page_lets_nothing_load_or_run():
    policy = page(write(HTML, header())).find(".//meta[@http-equiv='Content-Security-Policy']")
    assert policy.get("content").startswith("default-src 'none'")
