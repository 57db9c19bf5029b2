import io
from pathlib import Path

import numpy as np
import pytest
from astropy.io.votable import from_table
from astropy.table import Table as AstropyTable

from gateway.errors import QueryError, UploadError
from gateway.services.access import ANONYMOUS
from gateway.services.queries import QueryService
from gateway.services.reading import position_columns, read_upload, with_distinct_names
from gateway.vo.dali import UploadedPart
from gateway.vo.tableset import Datatype
from gateway.vo.tap import TapRequest, UploadRef, parse_uploads
from tests.db.support import column
from tests.services.support import read, rows, upload

NO_LIMITS = {"max_bytes": 2**20, "max_rows": 1000, "max_columns": 10}

STARS = """<?xml version="1.0"?>
<VOTABLE version="1.4" xmlns="http://www.ivoa.net/xml/VOTable/v1.3"><RESOURCE><TABLE name="x">
<DESCRIPTION>Mine</DESCRIPTION>
<FIELD name="my col" datatype="int" ucd="meta.id" unit="s" utype="a.b"><DESCRIPTION>An id</DESCRIPTION></FIELD>
<FIELD name="ra" datatype="double" ucd="pos.eq.ra;meta.main" unit="deg"/>
<FIELD name="dec" datatype="double" ucd="pos.eq.dec;meta.main" unit="deg"/>
<FIELD name="name" datatype="char" arraysize="*"/>
<DATA><TABLEDATA>
<TR><TD>1</TD><TD>10</TD><TD>20</TD><TD>a</TD></TR>
<TR><TD>2</TD><TD>359.5</TD><TD>-90</TD><TD>{text}</TD></TR>
<TR><TD></TD><TD></TD><TD></TD><TD></TD></TR>
</TABLEDATA></DATA></TABLE></RESOURCE></VOTABLE>
"""


@pytest.fixture
def stars(tmp_path: Path) -> Path:
    path = tmp_path / "stars.vot"
    path.write_text(STARS.format(text="b"))
    return path


async def test_an_upload_comes_back_as_it_went(service: QueryService, stars: Path) -> None:  # TAP-38, TAP-41
    table = await upload(service, "SELECT * FROM TAP_UPLOAD.t", t=stars)
    assert [field.name for field in table.header.fields] == ["my col", "ra", "dec", "name"]
    first = table.header.fields[0]
    assert (first.ucd, first.unit, first.utype, first.description) == ("meta.id", "s", "a.b", "An id")  # VOT-42
    (found,) = await read(table)
    assert [list(row.values()) for row in found.to_pylist()] == [
        [1, 10.0, 20.0, "a"],
        [2, 359.5, -90.0, "b"],
        [None, None, None, None],
    ]


async def test_odd_names_are_reached_by_quotes(service: QueryService, stars: Path) -> None:  # TAP-40
    (found,) = await read(await upload(service, 'SELECT "my col" FROM tap_upload.T WHERE "my col" = 2', t=stars))
    assert found.to_pylist() == [{"my col": 2}]


async def test_an_upload_joins_a_published_table(service: QueryService, stars: Path) -> None:
    query = 'SELECT s.name FROM survey.stars AS s JOIN TAP_UPLOAD.t AS t ON s.id = t."my col" ORDER BY 1'
    (found,) = await read(await upload(service, query, t=stars))
    assert found["name"].to_pylist() == ["a", "b"]


async def test_two_uploads_at_once(service: QueryService, stars: Path) -> None:
    query = 'SELECT COUNT(*) AS n FROM TAP_UPLOAD.a AS a JOIN TAP_UPLOAD.b AS b ON a."my col" = b."my col"'
    (found,) = await read(await upload(service, query, a=stars, b=stars))
    assert found.to_pylist() == [{"n": 2}]


async def test_char_promises_ascii(service: QueryService, tmp_path: Path) -> None:
    path = tmp_path / "t.vot"
    path.write_text(STARS.format(text="é"), encoding="utf-8")
    table = await upload(service, "SELECT name FROM TAP_UPLOAD.t", t=path)
    assert table.header.fields[0].type.datatype is Datatype.UNICODE_CHAR
    await table.aclose()


async def test_uploads_are_not_published(service: QueryService, stars: Path) -> None:  # TAP-39
    table = await upload(service, "SELECT * FROM TAP_UPLOAD.t", t=stars)
    assert all(schema.name != "TAP_UPLOAD" for schema in (await service.tableset(ANONYMOUS)).schemas)
    assert await rows(service, "SELECT table_name FROM TAP_SCHEMA.tables WHERE table_name LIKE '%UPLOAD%'") == []
    await table.aclose()


async def test_an_upload_of_another_request_is_unknown(service: QueryService, stars: Path) -> None:
    await read(await upload(service, "SELECT * FROM TAP_UPLOAD.t", t=stars))
    with pytest.raises(QueryError):
        await rows(service, "SELECT * FROM TAP_UPLOAD.t")


async def test_a_check_looks_at_the_columns_of_uploads(service: QueryService, stars: Path) -> None:
    parts = {"t": UploadedPart("t", stars, 10)}
    request = TapRequest("SELECT ra FROM TAP_UPLOAD.t", uploads=(UploadRef("t", "param:t"),))
    assert (await service.check(request, ANONYMOUS, uploads=parts)).fields[0].unit == "deg"
    wrong = TapRequest("SELECT nothing FROM TAP_UPLOAD.t", uploads=request.uploads)
    with pytest.raises(QueryError):
        await service.check(wrong, ANONYMOUS, uploads=parts)


async def test_a_check_knows_the_columns_of_csv(service: QueryService, tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text("when,x\n2024-05-31T12:00:00,1\n")
    request = TapRequest("SELECT * FROM TAP_UPLOAD.t", uploads=(UploadRef("t", "param:t"),))
    found = await service.check(request, ANONYMOUS, uploads={"t": UploadedPart("t", tmp_path / "t.csv", 10)})
    assert [(field.name, field.type.xtype) for field in found.fields] == [("when", "timestamp"), ("x", None)]


async def test_a_check_leaves_urls_alone(service: QueryService) -> None:
    request = TapRequest("SELECT * FROM TAP_UPLOAD.t", uploads=(UploadRef("t", "http://example.org/t.vot"),))
    assert await service.check(request, ANONYMOUS) is None


@pytest.mark.parametrize("form", ["tabledata", "binary", "binary2"])
async def test_what_astropy_writes_comes_back(service: QueryService, tmp_path: Path, form: str) -> None:  # TAP-41
    given = AstropyTable(
        {
            "l": np.array([2**62, -5, 0]),
            "s": np.array([1, -5, 7], dtype=np.int16),
            "d": np.array([0.1, np.nan, -1e300]),
            "f": np.array([0.1, 2, 3], dtype=np.float32),
            "a": np.array([[1.0, 2], [3, 4], [5, 6]]),
            "c": np.array(["x", "yy", "zzz"]),
        }
    )
    path = tmp_path / "t.vot"
    votable = from_table(given)
    votable.to_xml(str(path), tabledata_format=form)
    (found,) = await read(await upload(service, "SELECT * FROM TAP_UPLOAD.t", t=path))
    assert found["l"].to_pylist() == [2**62, -5, 0]
    assert found["s"].to_pylist() == [1, -5, 7]
    assert found["d"].to_pylist()[::2] == [0.1, -1e300]
    assert found["f"].to_pylist() == given["f"].tolist()
    assert found["a"].to_pylist() == [[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]]
    assert found["c"].to_pylist() == ["x", "yy", "zzz"]


async def test_a_table_without_rows_can_be_uploaded(service: QueryService, tmp_path: Path) -> None:
    path = tmp_path / "t.vot"
    buffer = io.BytesIO()
    from_table(AstropyTable({"ra": np.zeros(0), "x": np.zeros(0, np.int32)})).to_xml(buffer)
    path.write_bytes(buffer.getvalue())
    assert sum(found.num_rows for found in await read(await upload(service, "SELECT * FROM TAP_UPLOAD.t", t=path))) == 0


@pytest.mark.parametrize(
    ("value", "uris"),
    [
        ("a,http://h/x;v=1?p=1;q=2,3", ["http://h/x;v=1?p=1;q=2,3"]),
        ("a,http://h/x;v=1;b,param:b", ["http://h/x;v=1", "param:b"]),
        ("a,param:a;b,https://h/x;", ["param:a", "https://h/x"]),
        ("a,PARAM:a ; b , HTTP://h/x", ["PARAM:a", "HTTP://h/x"]),
    ],
)
def test_semicolons_of_urls_stay_in_them(value: str, uris: list[str]) -> None:
    refs = parse_uploads((value,))
    assert [ref.uri for ref in refs] == uris
    assert [ref.part for ref in refs] == [None if "http" in uri.lower() else uri[6:] for uri in uris]


# -- limits ----------------------------------------------------------------------------------------------------------


async def test_a_file_that_is_too_large_is_named(service: QueryService, stars: Path) -> None:  # TAP-42
    stars.write_text(stars.read_text() + " " * 2**20)
    with pytest.raises(UploadError, match=r"table t .*upload_max_bytes"):
        await upload(service, "SELECT * FROM TAP_UPLOAD.t", t=stars)


async def test_too_many_rows_are_refused(service: QueryService, tmp_path: Path) -> None:
    path = tmp_path / "t.vot"
    from_table(AstropyTable({"x": np.arange(1001)})).to_xml(str(path))
    with pytest.raises(UploadError, match=r"table t: .*1000 rows"):
        await upload(service, "SELECT * FROM TAP_UPLOAD.t", t=path)


async def test_too_many_columns_are_refused(service: QueryService, tmp_path: Path) -> None:
    path = tmp_path / "t.vot"
    from_table(AstropyTable({f"x{n}": [1] for n in range(21)})).to_xml(str(path))
    with pytest.raises(UploadError, match=r"table t: .*20"):
        await upload(service, "SELECT * FROM TAP_UPLOAD.t", t=path)


async def test_too_many_tables_are_refused(service: QueryService, stars: Path) -> None:
    with pytest.raises(UploadError, match="upload_max_tables"):
        await upload(service, "SELECT * FROM TAP_UPLOAD.a", a=stars, b=stars, c=stars)


async def test_a_doctype_is_refused(service: QueryService, stars: Path) -> None:
    stars.write_text(stars.read_text().replace("<VOTABLE", '<!DOCTYPE x [<!ENTITY a "b">]>\n<VOTABLE', 1))
    with pytest.raises(UploadError, match=r"table t"):
        await upload(service, "SELECT * FROM TAP_UPLOAD.t", t=stars)


async def test_files_are_gone_after_the_query(
    service: QueryService, stars: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "spool"
    folder.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(folder))
    table = await upload(service, "SELECT * FROM TAP_UPLOAD.t", t=stars)
    assert list(folder.iterdir())
    await table.aclose()
    assert not list(folder.iterdir())


# -- positions -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("ucds", "expected"),
    [
        (("pos.eq.ra;meta.main", "pos.eq.dec;meta.main"), (1, 2)),
        (("pos.eq.ra", "pos.eq.dec"), (1, 2)),
        (("POS.EQ.RA;META.MAIN", "pos.eq.dec"), (1, 2)),
        (("POS_EQ_RA_MAIN", "POS_EQ_DEC_MAIN"), (1, 2)),
        (("pos.eq.ra", "pos.eq.dec", "pos.eq.ra;meta.main"), (3, 2)),
        (("pos.eq.ra", "pos.eq.dec", "pos.eq.ra"), None),  # which of the two?
        (("pos.eq.ra", None), None),
        (("stat.error;pos.eq.ra", "stat.error;pos.eq.dec"), None),
    ],
)
def test_positions_are_found_by_ucd(ucds: tuple[str | None, ...], expected: tuple[int, int] | None) -> None:
    fields = [column(f"c{n}", "double", "double precision", ucd=ucd).field for n, ucd in enumerate(ucds)]
    assert position_columns(fields) == expected


def test_positions_in_radians_have_no_index() -> None:
    fields = [
        column(word, "double", "double precision", ucd=f"pos.eq.{word}", unit="rad").field for word in ("ra", "dec")
    ]
    assert position_columns(fields) is None


def test_positions_get_their_cell(stars: Path, tmp_path: Path) -> None:
    import pyarrow as pa

    target = tmp_path / "t.arrow"
    described = read_upload(source=str(stars), name="t", folder=str(tmp_path), target=str(target), **NO_LIMITS)
    assert tuple(described["sky"]) == (2, 3)
    cells = pa.ipc.open_stream(target.read_bytes()).read_all()["gw_hpx29"].to_pylist()
    assert cells[2] is None
    assert 0 <= cells[0] < 12 * 4**29


def cells_of(stars: Path, target: Path, **edits: str) -> tuple[bool, list[int | None]]:
    import pyarrow as pa

    text = stars.read_text()
    for old, new in edits.items():
        text = text.replace(f">{old}<", f">{new}<")
    changed = target.with_suffix(".xml")
    changed.write_text(text)
    described = read_upload(source=str(changed), name="t", folder=str(target.parent), target=str(target), **NO_LIMITS)
    return described["turns"], pa.ipc.open_stream(target.read_bytes()).read_all()["gw_hpx29"].to_pylist()


def test_positions_off_the_sphere_have_no_cell(stars: Path, tmp_path: Path) -> None:
    _, cells = cells_of(stars, tmp_path / "t.arrow")
    turns, without = cells_of(stars, tmp_path / "u.arrow", **{"-90": "-91"})
    assert cells[1] is not None
    assert without == [cells[0], None, None]
    assert not turns


def test_right_ascensions_of_other_turns_have_the_same_cell(stars: Path, tmp_path: Path) -> None:
    turns, cells = cells_of(stars, tmp_path / "t.arrow")
    assert not turns
    for other in ("370", "-350"):
        assert cells_of(stars, tmp_path / "u.arrow", **{"10": other}) == (True, cells)


def test_columns_of_one_name_are_told_apart() -> None:
    fields = [column(name, "int", "integer").field for name in ("a", "a", "a_2", "")]
    assert [field.name for field in with_distinct_names(fields)] == ["a", "a_2", "a_2_2", "column_4"]
