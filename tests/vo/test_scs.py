"""Cone searches as values: what is asked, which columns answer, which of them carries which role."""

from dataclasses import replace

import pytest
from lxml import etree

from gateway.errors import MultipleValuesError, ParameterError
from gateway.vo import obscore, scs
from gateway.vo.adql import translate_tree
from gateway.vo.dali import ParamBag
from gateway.vo.regions import Circle
from gateway.vo.scs import ConeQuery, cone_of
from gateway.vo.tableset import Column, Datatype, Field, Schema, SkyIndex, Table, Tableset, VOType

TEXT, LONG, FLOAT, DOUBLE = (
    VOType(Datatype.CHAR, "*"),
    VOType(Datatype.LONG),
    VOType(Datatype.FLOAT),
    VOType(Datatype.DOUBLE),
)
SQL = {TEXT: "text", LONG: "bigint", FLOAT: "real", DOUBLE: "double precision"}


def column(name: str, kind: VOType = DOUBLE, ucd: str | None = None, **facts: bool) -> Column:
    return Column(Field(name, kind, ucd=ucd, description=f"The {name}"), name, SQL[kind], **facts)


def table(*columns: Column, ra: str = "ra", dec: str = "dec") -> Table:
    return Table("survey", "stars", columns, "survey", "stars", sky=SkyIndex(ra, dec))


POSITION = (column("ra", ucd="pos.eq.ra;meta.main"), column("dec", ucd="pos.eq.dec;meta.main"))
NAMED = table(column("name", TEXT, "meta.id;meta.main"), *POSITION, column("mag", FLOAT, "phot.mag"))


def answer(of: Table, verbosity: int = 3) -> tuple[Field, ...]:
    """Fields of an answer, from the whole way that a query takes."""
    cone = cone_of(of)
    assert cone is not None
    query = scs.search(cone, ConeQuery(Circle(10, 20, 1), verbosity))
    found = translate_tree(query, Tableset((Schema("survey", (of,)),))).fields
    return scs.fields(cone, verbosity, found)


def ask(**parameters: str) -> ConeQuery:
    return ConeQuery.from_params(ParamBag.of(({"RA": "10", "DEC": "20", "SR": "0.1"} | parameters).items()))


# -- what is asked ------------------------------------------------------------------------------------------------


def test_a_request_is_a_circle() -> None:  # SCS-1
    assert ask() == ConeQuery(Circle(10.0, 20.0, 0.1), 2, None)
    assert ask(VERB="3", MAXREC="7") == ConeQuery(Circle(10.0, 20.0, 0.1), 3, 7)
    bag = ParamBag.of([("sr", " 1e-3 "), ("Dec", "-90"), ("ra", "+360"), ("foo", "bar")])
    assert ConeQuery.from_params(bag).circle == Circle(360.0, -90.0, 0.001)  # SCS-3


@pytest.mark.parametrize("radius", ["0", "0.0", "-0"])
def test_radius_0_is_valid_and_wants_no_rows(radius: str) -> None:  # SCS-13
    assert not ask(SR=radius).wants_rows
    assert ask(SR="180").wants_rows


@pytest.mark.parametrize(
    ("name", "value", "told"),
    [
        ("RA", "", "give the right ascension"),
        ("RA", "ten", "'ten' is no number"),
        ("RA", "10:20:30", "'10:20:30' is no number"),
        ("RA", "10 20", "2 numbers found"),
        ("RA", "nan", "expected one number"),
        ("RA", "360.001", "right ascension 360.001 is outside 0 to 360"),
        ("RA", "-1", "outside 0 to 360"),
        ("RA", "inf", "outside 0 to 360"),
        ("DEC", "", "give the declination"),
        ("DEC", "91", "declination 91 is outside -90 to 90"),
        ("SR", "", "give the radius"),
        ("SR", "-0.1", "a radius of 0 to 180 degrees"),
        ("SR", "181", "a radius of 0 to 180 degrees"),
        ("VERB", "0", "expected 1, 2 or 3"),
        ("VERB", "all", "expected 1, 2 or 3"),
        ("MAXREC", "-1", "whole number of rows"),
    ],
)
def test_a_wrong_value_is_told_with_its_name(name: str, value: str, told: str) -> None:  # SCS-11
    with pytest.raises(ParameterError, match=told) as caught:
        ask(**{name: value})
    assert caught.value.name == name


def test_a_value_given_twice_is_refused() -> None:  # DALI-31
    with pytest.raises(MultipleValuesError):
        ConeQuery.from_params(ParamBag.of([("RA", "1"), ("ra", "2"), ("DEC", "0"), ("SR", "1")]))


# -- which tables, which columns ----------------------------------------------------------------------------------


def test_tables_without_positions_and_images_are_no_cone_search() -> None:
    assert cone_of(replace(NAMED, sky=None)) is None
    assert cone_of(replace(NAMED, sky=SkyIndex("ra", "hidden"))) is None
    assert cone_of(replace(NAMED, schema=obscore.SCHEMA, name=obscore.TABLE)) is None
    assert cone_of(NAMED) is not None


def roles(fields: tuple[Field, ...]) -> dict[str, str]:
    """Names of the columns that have one of the three words; each word once."""
    found = [(field.ucd, field.name) for field in fields if field.ucd in {scs.ID, scs.RA, scs.DEC}]
    assert len(found) == len(dict(found)) == 3
    return {str(word): name for word, name in found}


def test_three_columns_have_the_roles_and_the_others_keep_their_ucds() -> None:  # SCS-8, SCS-10
    fields = answer(NAMED)
    assert [field.name for field in fields] == ["name", "ra", "dec", "mag"]
    assert roles(fields) == {scs.ID: "name", scs.RA: "ra", scs.DEC: "dec"}
    assert fields[3].ucd == "phot.mag"
    assert [field.unit for field in fields] == [None, "deg", "deg", None]
    assert [field.description for field in fields] == ["The name", "The ra", "The dec", "The mag"]


def test_a_number_stays_a_number_and_is_given_as_text_too() -> None:  # SCS-8
    fields = answer(table(column("source_id", LONG, "meta.id"), *POSITION))
    assert [(field.name, field.type.datatype.value, field.ucd) for field in fields[:2]] == [
        ("main_id", "char", scs.ID),
        ("source_id", "long", "meta.id"),
    ]


def test_a_table_without_identifier_is_given_one() -> None:
    fields = answer(table(*POSITION, column("main_id", FLOAT)))
    assert roles(fields)[scs.ID] == "main_id_"
    assert fields[0].type.is_text


@pytest.mark.parametrize("ucds", [("meta.id", "meta.id"), ("meta.id;meta.main", "meta.id;meta.main"), (None, "src.id")])
def test_an_identifier_that_is_not_the_only_one_is_none(ucds: tuple[str | None, str | None]) -> None:
    fields = answer(table(column("a", TEXT, ucds[0]), column("b", TEXT, ucds[1]), *POSITION))
    assert roles(fields)[scs.ID] == "main_id"


def test_words_of_ucd1_on_other_columns_are_made_modern() -> None:  # SCS-8
    other = (column("l_ra", DOUBLE, "POS_EQ_RA_MAIN"), column("l_dec", DOUBLE, "pos_eq_dec_main"))
    fields = answer(table(column("key", TEXT, "ID_MAIN"), *other, *POSITION))
    assert roles(fields) == {scs.ID: "key", scs.RA: "ra", scs.DEC: "dec"}
    assert [field.ucd for field in fields[1:3]] == ["pos.eq.ra", "pos.eq.dec"]


@pytest.mark.parametrize("kind", [FLOAT, LONG])
def test_positions_are_doubles_whatever_the_table_has(kind: VOType) -> None:  # SCS-8
    fields = answer(table(column("Name", TEXT, "meta.id;meta.main"), column("ra", kind), column("dec", kind)))
    assert [field.type.datatype for field in fields[1:]] == [Datatype.DOUBLE, Datatype.DOUBLE]
    assert [field.description for field in fields[1:]] == ["The ra", "The dec"]


def test_names_that_differ_in_case_only_are_told_apart() -> None:
    fields = answer(table(column("Ra"), column("ra"), column("dec"), column("order", LONG)))
    assert next(field for field in fields if field.ucd == scs.RA).description == "The ra"
    assert fields[1].description == "The Ra"
    assert fields[-1].name == "order"  # a reserved word


def test_verbosity_chooses_columns_and_always_has_the_three() -> None:  # SCS-2
    columns = (
        column("a", TEXT, is_principal=True),
        column("b", TEXT, is_principal=False, is_std=True),
        column("c", TEXT, is_principal=False),
        column("ra", is_principal=False),
        column("dec", is_principal=False),
    )

    def names(verbosity: int) -> list[str]:
        return [field.name for field in answer(table(*columns), verbosity)]

    assert names(1) == ["main_id", "a", "ra", "dec"]
    assert names(2) == ["main_id", "a", "b", "ra", "dec"]
    assert names(3) == ["main_id", "a", "b", "c", "ra", "dec"]


def test_where_nothing_matters_more_the_least_verbose_answer_has_the_three_alone() -> None:  # SCS-2
    assert [field.name for field in answer(NAMED, 1)] == ["name", "ra", "dec"]
    assert len(answer(NAMED, 2)) == len(answer(NAMED, 3)) == 4


# -- documents ----------------------------------------------------------------------------------------------------


def test_an_error_is_told_where_old_and_new_clients_look() -> None:  # SCS-11, SCS-16
    root = etree.fromstring(scs.error_document('RA="<x>": no'))
    space = {"v": scs.PROLOGUE.partition('xmlns="')[2].partition('"')[0]}
    told = root.findall(".//v:INFO[@name='Error']", space)
    assert [info.get("value") for info in told] == ['RA="<x>": no']
    assert told[0].getparent() is root
    status = root.find("v:RESOURCE[@type='results']/v:INFO[@name='QUERY_STATUS']", space)
    assert (status.get("value"), status.text) == ("ERROR", 'RA="<x>": no')
    assert root.find(".//v:TABLE", space) is None


# -- the table of requirements ------------------------------------------------------------------------------------
