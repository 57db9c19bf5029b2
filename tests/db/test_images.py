"""Look-ups of images by identifier, as the query role, in a real database."""

import asyncio
from collections.abc import AsyncIterator

import asyncpg
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.db.images import ImageCatalog, Plane, pack, unpack
from gateway.db.schema.images import STORED
from gateway.errors import BackendUnavailableError
from tests.db.support import admin
from tests.support.datasets import at, dataset, store

SQUARE = [(10.0, 0.0), (11.0, 0.0), (11.0, 1.0), (10.0, 1.0)]
PLANES = '[{"role": "mask", "path": "a.fits", "hdu": 2}, {"role": "weight", "path": "w/a.fits", "hdu": 0}]'
RECORDS = (
    {"number": 0, "header": "SIMPLE  =                    T", "offset": 0},
    {"number": 1, "data": [1, 2**60, 0.1]},
)

FILES = (
    {"id": 1, "path": "a.fits", "size": 5760, "modified": "2020-01-31T12:00:00", "hdus": RECORDS},
    {"id": 2, "path": "sub/b c.fits", "size": 2**40, "etag": '"x"', "hdus": RECORDS[:1]},
    {"id": 3, "path": "empty.fits"},
)


def rows() -> list[dict]:
    return [
        at(1, SQUARE, file_id=1, hdu=1, planes=PLANES, obs_title="The title", em_min=4e-7, s_ra=10.5, t_xel=None),
        at(2, SQUARE, file_id=2, hdu=0, progenitors=["a.fits", "gone.fits"], calib_level=3),
        at(3, SQUARE, file_id=1, hdu=3, obs_publisher_did="ivo://Example.org/Survey~2.x_-?Key3"),
        dataset(4, file_id=2, hdu=5, cells=[4, 5]),
    ]


@pytest.fixture
async def catalog(database_url: str) -> AsyncIterator[ImageCatalog]:
    await store(database_url, rows(), files=FILES, rules={"header": {"A": 1}})
    other = [dataset(5, file_id=9, hdu=0, cells=[4], obs_collection="other")]
    await store(database_url, other, collection="other", files=[{"id": 9, "path": "a.fits", "hdus": RECORDS}])
    async with ImageCatalog.open(database_url) as catalog:
        yield catalog


async def test_a_dataset_comes_with_its_file_collection_and_planes(catalog) -> None:
    found = await catalog.find(["ivo://Example.org/Survey?key000001"])
    (one,) = found.values()
    assert (one.key, one.collection, one.root, one.path, one.hdu) == ("key000001", "survey", "/archive", "a.fits", 1)
    assert (one.size, one.modified, one.etag) == (5760, "2020-01-31T12:00:00", None)
    assert one.planes == (Plane("mask", "a.fits", 2), Plane("weight", "w/a.fits", 0))
    assert (one.progenitors, one.rules) == ((), {"header": {"A": 1}})


async def test_all_columns_of_obscore_are_among_its_values(catalog) -> None:
    (one,) = (await catalog.find(["ivo://Example.org/Survey?key000001"])).values()
    expected = rows()[0]
    assert {column.name: one.values[column.name] for column in STORED} == {c.name: expected[c.name] for c in STORED}
    assert one.values["s_region"] == [10.0, 0.0, 11.0, 0.0, 11.0, 1.0, 10.0, 1.0]


async def test_sia2_6_identifiers_compare_without_case_and_are_found_by_their_lower_case(catalog) -> None:
    did = "ivo://Example.org/Survey?key000002"
    for spelled in (did, did.upper(), did.lower()):
        found = await catalog.find([spelled])
        assert list(found) == [did.lower()]
        assert found[did.lower()].obs_publisher_did == did
    assert len(await catalog.find([did, did.upper(), did.lower()])) == 1


async def test_dl2_what_is_unknown_is_left_out_and_the_rest_is_found(catalog) -> None:
    found = await catalog.find(
        ["ivo://x/y?z", "", "ivo://Example.org/Survey?key000004", "' OR 1=1 --", "%", "key000001"]
    )
    assert [one.key for one in found.values()] == ["key000004"]
    assert await catalog.find([]) == {}


async def test_keys_are_exact(catalog) -> None:
    found = await catalog.find_key("key000002")
    assert found is not None
    assert (found.path, found.progenitors) == ("sub/b c.fits", ("a.fits", "gone.fits"))
    for key in ("KEY000002", "key00000", "", "key%"):
        assert await catalog.find_key(key) is None


async def test_datasets_in_files_are_those_of_one_collection_in_order(catalog) -> None:
    found = await catalog.made_from("survey", ["sub/b c.fits", "a.fits", "gone.fits"])
    assert [(one.path, one.hdu) for one in found] == [
        ("a.fits", 1),
        ("a.fits", 3),
        ("sub/b c.fits", 0),
        ("sub/b c.fits", 5),
    ]
    assert [one.key for one in await catalog.made_from("other", ["a.fits"])] == ["key000005"]
    assert await catalog.made_from("survey", ["A.fits", "a.fit", ""]) == []
    assert await catalog.made_from("nothing", ["a.fits"]) == []


async def test_the_progenitors_of_a_dataset_can_be_looked_up(catalog) -> None:
    combined = await catalog.find_key("key000002")
    assert {one.path for one in await catalog.made_from(combined.collection, combined.progenitors)} == {"a.fits"}


async def test_files_come_with_their_hdus_in_order(catalog) -> None:
    found = await catalog.files("survey", ["sub/b c.fits", "a.fits", "gone.fits"])
    assert sorted(found) == ["a.fits", "sub/b c.fits"]
    one, other = found["a.fits"], found["sub/b c.fits"]
    assert (one.path, one.size, one.modified, one.etag, one.hdus) == (
        "a.fits",
        5760,
        "2020-01-31T12:00:00",
        None,
        RECORDS,
    )
    assert (other.size, other.modified, other.etag, other.hdus) == (2**40, None, '"x"', RECORDS[:1])
    assert await catalog.files("other", ["sub/b c.fits"]) == {}


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=5) | st.dictionaries(st.text(), inner, max_size=5),
    max_leaves=8,
)


@given(st.dictionaries(st.text(), JSON, max_size=5))
def test_a_record_that_was_packed_is_unpacked_the_same(record) -> None:
    assert unpack(pack(record)) == record


def test_a_header_is_packed_small() -> None:
    header = "".join(f"KEY{n:05d}= {n:20d} / what it is".ljust(80) for n in range(360))
    assert len(pack({"header": header})) < len(header) / 8


# -- the role, and a database that is away ---------------------------------------------------------


async def test_look_ups_run_as_the_query_role_which_can_change_nothing(catalog) -> None:
    assert [row["user"] for row in await catalog._fetch("SELECT current_user AS user")] == ["gateway_query"]
    for statement in ("DELETE FROM gateway_images.dataset", "UPDATE gateway_images.file SET size = 1"):
        with pytest.raises((asyncpg.InsufficientPrivilegeError, asyncpg.ReadOnlySQLTransactionError)):
            await catalog._fetch(statement)


async def test_many_look_ups_share_a_few_connections(catalog, database_url) -> None:
    found = await asyncio.gather(*(catalog.find_key(f"key00000{n % 5 + 1}") for n in range(60)))
    assert all(found)
    async with admin(database_url) as connection:
        count = await connection.fetchval(
            "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'gw:images' AND datname = current_database()"
        )
    assert 1 <= count <= 4


async def test_a_database_that_is_not_there_is_told_at_the_look_up_and_not_before() -> None:
    async with ImageCatalog.open("postgresql://nobody@127.0.0.1:1/nothing") as catalog:
        for look_up in (
            catalog.find(["x"]),
            catalog.find_key("x"),
            catalog.made_from("x", ["y"]),
            catalog.files("x", []),
        ):
            with pytest.raises(BackendUnavailableError, match="try again"):
                await look_up


async def test_connections_that_were_cut_are_made_anew(catalog, database_url) -> None:
    assert await catalog.find_key("key000001") is not None
    async with admin(database_url) as connection:
        await connection.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
            " WHERE application_name = 'gw:images' AND datname = current_database()"
        )
    for _ in range(20):
        try:
            found = await catalog.find_key("key000001")
        except BackendUnavailableError:  # the cut may be noticed only when the connection is used
            continue
        break
    assert found is not None


# -- the view ---------------------------------------------------------------------------------------


async def test_obs8_access_url_is_made_from_the_base_url_of_the_session_and_null_without(catalog, database_url) -> None:
    from gateway.db.roles import BASE_URL

    query = "SELECT access_url FROM ivoa.obscore WHERE obs_id = 'o1'"
    async with admin(database_url) as connection:
        assert await connection.fetchval(query) is None
        await connection.execute(f"SET {BASE_URL} = 'https://example.org/vo'")
        url = await connection.fetchval(query)
    assert url.startswith("https://example.org/vo/")


async def test_dl14_the_url_of_links_leads_back_to_the_identifier(catalog, database_url) -> None:
    from urllib.parse import parse_qs, urlsplit

    from gateway.db.roles import BASE_URL

    async with admin(database_url) as connection:
        await connection.execute(f"SET {BASE_URL} = 'https://example.org'")
        found = await connection.fetch("SELECT access_url, access_format, obs_publisher_did FROM ivoa.obscore")
    assert len(found) == 5
    for row in found:
        assert parse_qs(urlsplit(row["access_url"]).query) == {"ID": [row["obs_publisher_did"]]}
        assert row["access_format"] == "application/x-votable+xml;content=datalink"


async def test_obs5_obs7_what_must_not_be_null_or_twice_is_refused_by_the_database(catalog, database_url) -> None:
    async with admin(database_url) as connection:
        for change in ("calib_level = NULL", "obs_id = NULL", "obs_collection = NULL", "obs_publisher_did = NULL"):
            with pytest.raises(asyncpg.NotNullViolationError):
                await connection.execute(f"UPDATE gateway_images.dataset SET {change}")
        with pytest.raises(asyncpg.UniqueViolationError):
            await connection.execute("UPDATE gateway_images.dataset SET obs_publisher_did = 'ivo://a/b?c'")


async def test_dropping_a_collection_takes_all_that_is_in_it(catalog, database_url) -> None:
    async with admin(database_url) as connection:
        await connection.execute("DELETE FROM gateway_images.collection WHERE name = 'survey'")
    assert await catalog.find_key("key000001") is None
    assert await catalog.files("survey", ["a.fits"]) == {}
    assert await catalog.find_key("key000005") is not None
