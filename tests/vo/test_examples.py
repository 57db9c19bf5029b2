"""DALI-examples made of tables, as values; that they run is seen in tests/routers/test_metadata.py."""

import re

import pytest
from lxml import etree

from gateway.vo import examples, obscore
from gateway.vo.adql import translate
from gateway.vo.tableset import Column, Datatype, Field, ForeignKey, Schema, SkyIndex, Table, Tableset, VOType

DOUBLE = VOType(Datatype.DOUBLE)
XHTML = "{http://www.w3.org/1999/xhtml}"


def table(name: str, *, sky: bool = True, nrows: int | None = 10, keys: tuple[ForeignKey, ...] = ()) -> Table:
    columns = tuple(
        Column(Field(column, DOUBLE, ucd=ucd), f"p_{number}", "double precision")
        for number, (column, ucd) in enumerate(
            (("my ra", None), ("dec", None), ("mag", None), ("ID", "meta.id;meta.main"))
        )
    )
    index = SkyIndex("p_0", "p_1") if sky else None
    return Table("my survey", name, columns, "s", name, sky=index, nrows=nrows, keys=keys)


IMAGES = Table(obscore.SCHEMA, obscore.TABLE, obscore.MANDATORY, "ivoa", "obscore", sky=SkyIndex("s_ra", "s_dec"))


def tableset(*tables: Table, images: bool = False) -> Tableset:
    own = (Schema("ivoa", (IMAGES,)),) if images else ()
    return Tableset((*own, Schema("my survey", tables)))


def rows(described: Tableset) -> dict[str, tuple[float | None, ...]]:
    return dict.fromkeys(examples.probes(described), (359.99996, -0.00001, 59000.7))


def made(described: Tableset) -> dict[str, examples.Example]:
    found = examples.examples(described, rows(described))
    assert len({example.id for example in found}) == len(found)  # DALI-10
    return {example.id: example for example in found}


FULL = tableset(
    table("stars", nrows=None),
    table("more", nrows=5, keys=(ForeignKey("k", '"my survey".stars', (("ID", "ID"),)),)),
    images=True,
)


def test_there_are_examples_for_all_that_is_published():
    assert list(made(FULL)) == ["tables", "columns", "cone-1", "cone-2", "join", "key", "images", "upload", "groups"]


def test_there_are_examples_when_nothing_is_published():
    assert list(made(tableset())) == ["tables", "columns", "groups"]
    assert made(tableset())["groups"].tables == ("tap_schema.columns",)


def test_tables_without_positions_have_no_cones():
    assert list(made(tableset(table("plain", sky=False)))) == ["tables", "columns", "groups"]


def test_tables_of_which_no_row_is_known_are_left_out():
    described = tableset(table("stars"), images=True)
    assert [example.id for example in examples.examples(described, {})] == ["tables", "columns", "groups"]


def test_hundreds_of_tables_have_few_examples():
    assert len(made(tableset(*(table(f"t{n}") for n in range(200))))) < 12


@pytest.mark.parametrize(("nrows", "is_read"), [(1_000_000, True), (10_000_000, False), (None, False)])
def test_only_small_tables_are_read_whole(nrows, is_read):
    (example,) = [one for one in made(tableset(table("stars", nrows=nrows))).values() if one.id == "groups"]
    assert ('"my survey".stars' in example.query) is is_read


def test_the_join_begins_with_the_smaller_table():
    query = made(FULL)["join"].query
    assert re.search(r'FROM "my survey".more AS a\s+JOIN "my survey".stars AS b', query)


def test_images_without_a_time_are_found_by_position_only():
    described = tableset(images=True)
    found = examples.examples(described, {"ivoa.obscore": (10.0, 20.0, None)})
    (example,) = [one for one in found if one.id == "images"]
    assert "t_min >=" not in example.query
    assert "t_min >= 59000" in made(described)["images"].query


@pytest.mark.parametrize("example", [one for one in made(FULL).values() if "TAP_UPLOAD" not in one.query and "tap_schema" not in one.query], ids=lambda one: one.id)  # fmt: skip
def test_queries_on_odd_names_translate_also_strictly(example):
    translate(example.query, FULL, strict=True)


# -- the document -----------------------------------------------------------------------------------------------


def document(described: Tableset = FULL, title: str = "Us & <them>") -> etree._Element:
    shown = examples.examples(described, rows(described))
    return etree.fromstring(examples.document(title, shown))


def texts(parent: etree._Element, name: str) -> list[str]:
    found = [item for item in parent.iter() if item.get("property") == name]
    assert all(len(item) == 0 and item.get("href") is None and item.get("src") is None for item in found)  # DALI-12
    return [item.text for item in found]


def test_dali9_one_vocabulary_for_all_examples():
    (place,) = [item for item in document().iter() if item.get("vocab") is not None]
    assert place.get("vocab") == "http://www.ivoa.net/rdf/examples#"
    assert len([item for item in place.iter() if item.get("typeof") == "example"]) == len(made(FULL))


def test_dali10_each_example_has_one_name_and_one_query():
    shown = [item for item in document().iter() if item.get("typeof") == "example"]
    for item, example in zip(shown, made(FULL).values(), strict=True):
        assert (item.get("id"), item.get("resource")) == (example.id, f"#{example.id}")
        assert texts(item, "name") == [example.name]
        assert texts(item, "query") == [example.query]  # TAP-20
        assert texts(item, "table") == list(example.tables)
        assert texts(item, "capability") == ["ivo://ivoa.net/std/TAP"]  # DALI-11


def test_dali11_parameters_are_pairs_of_key_and_value():
    (pair,) = [item for item in document().iter() if item.get("property") == "generic-parameter"]
    assert pair.get("typeof") == "keyval"
    assert (texts(pair, "key"), texts(pair, "value")) == (["UPLOAD"], ["mine,param:mine"])


def test_the_document_is_xhtml_with_its_text_escaped():
    root = document()
    assert root.tag == f"{XHTML}html"
    assert root.findtext(f".//{XHTML}h1").startswith("Us & <them>")
