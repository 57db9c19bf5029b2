"""User-defined functions over TAP: declared as clients read them, run by the query role, told about in our own words."""

import io

import httpx
import numpy as np
from pyvo.io.vosi import parse_capabilities

from gateway.vo.adql.functions.udf import UDFS

from .test_tap import ask, fault, read

CALLS = [
    "ivo_healpix_index(5, ra, dec)", "ivo_healpix_index(5, ra + 0, dec)", "ivo_healpix_index(5, POINT(ra, dec))",
    "ivo_healpix_center(5, ivo_healpix_index(5, ra, dec))", "ivo_epoch_prop_pos(ra, dec, mag, mag, mag, mag, 2000, 2016)",
    "gw_epoch_prop(ra, dec, mag, mag, mag, NULL, 2000, 2016)", "ivo_geom_transform('ICRS', 'GALACTIC', CIRCLE(ra, dec, 1))",
    "ivo_to_jd('2020-01-01')", "ivo_to_mjd('2020-01-01T' || '00:00:00')", "ivo_nocasematch(name, 'É%')", "ivo_hasword(name, '7')",
    "ivo_hashlist_has(name, 'x')", "ivo_normal_random(mag, 1)", "ivo_interval_overlaps(1, 2, mag, mag)",
    "ivo_hms_to_degrees(name)", "ivo_dms_to_degrees('-0:0:1')", "RAND(3)", "RAND(id)", "MOD(id, 10)", "MOD(mag, 2.5)",
    "ROUND(mag, 1)", "TRUNCATE(mag)", "POWER(10, mag)", "ACOS(mag / 100)", "ASIN(0)",
]  # fmt: skip


async def test_functions_are_declared_as_clients_read_them(
    client: httpx.AsyncClient,
) -> None:  # ADQL-63, ADQL-64, TRE-3
    answer = await client.get("/tap/capabilities")
    (tap,) = [
        capability
        for capability in parse_capabilities(io.BytesIO(answer.content))
        if capability.standardid == "ivo://ivoa.net/std/TAP"
    ]
    adql = tap.get_adql()
    for function in UDFS:
        assert adql.get_udf(function.spelling) is not None, function.spelling
    declared = {
        feature.form: feature.description
        for feature in adql.get_feature_list("ivo://ivoa.net/std/TAPRegExt#features-udf")
    }
    assert declared == {function.declared: function.description for function in UDFS}


async def test_query_role_can_call_all_functions(client: httpx.AsyncClient) -> None:
    called = {name for name in (function.name.lower() for function in UDFS) if any(name in call for call in CALLS)}
    assert {function.name.lower() for function in UDFS if not function.is_aggregate} == called
    table = read(
        await ask(client, f"SELECT {', '.join(CALLS)} FROM survey.stars WHERE ra IS NOT NULL ORDER BY id", MAXREC="400")
    )
    assert len(table) == 400
    assert len(table.colnames) == len(CALLS)
    assert list(table.columns[0]) == list(table.columns[1]) == list(table.columns[2])
    last_digit = [(9_007_199_254_740_993 + n) % 10 for n in range(400)]
    assert sorted(table["mod_19"]) == sorted(last_digit)  # no digit of the identifiers is lost on the way
    assert len(set(table["rand_17"])) == 400


async def test_aggregates_are_called_too(client: httpx.AsyncClient) -> None:
    table = read(
        await ask(
            client, "SELECT ivo_histogram(mag, 10, 20, 4) AS h, ivo_string_agg(\"2MASS\", '#') AS s FROM survey.stars"
        )
    )
    assert np.sum(table["h"][0]) == 500
    assert len(table["s"][0].split("#")) == 333


async def test_stored_cells_are_counted(client: httpx.AsyncClient) -> None:
    table = read(
        await ask(client, "SELECT ivo_healpix_index(0, ra, dec) AS cell, COUNT(*) AS n FROM survey.stars GROUP BY cell")
    )
    assert len(table) == 13  # and the star without a position
    assert np.sum(table["n"]) == 500


async def test_bad_value_is_an_error_in_words_of_ours(client: httpx.AsyncClient) -> None:
    answer = await ask(
        client, "SELECT ivo_epoch_prop_pos(ra, dec, 1, 1, 1, 1, 2000, 2016) FROM survey.stars WHERE ra IS NULL"
    )
    assert answer.status_code == 400
    assert fault(answer) == "epoch propagation needs a position and both epochs; ra is NULL"
    answer = await ask(client, "SELECT ACOS(mag) FROM survey.stars")
    assert "ACOS takes a number from -1 to 1, found" in fault(answer)
