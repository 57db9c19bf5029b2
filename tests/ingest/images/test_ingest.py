"""Collections of images: what becomes a row, and what repeating does."""

import gzip
import json
import os
import shutil
from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits

from gateway.errors import IngestError, NotFoundError
from gateway.ingest.images import Outcome
from gateway.ingest.images.collections import drop_collection, list_collections
from gateway.ingest.images.report import Step
from tests.ingest.images.builders import Survey, image, only, outcomes, primary, sky


def planes(survey: Survey, columns: str = "planes") -> list[list[tuple[str, str, int]]]:
    return [[(p["role"], p["path"], p["hdu"]) for p in json.loads(row[0])] for row in survey.rows(columns)]


# -- what becomes a row ----------------------------------------------------------------------------------


def test_an_image_becomes_one_row_with_what_its_header_says(survey: Survey) -> None:
    survey.write("a.fits", primary(OBJECT="M 31", TELESCOP="T", INSTRUME="I"), image("SCI", BUNIT="adu"))
    report = survey.ingest()
    assert only(report).outcome is Outcome.ADDED
    columns = "obs_id, obs_collection, target_name, facility_name, instrument_name, o_unit, o_ucd, calib_level, hdu"
    assert survey.rows(columns) == [("a", "survey", "M 31", "T", "I", "adu", "phot.count", 2, 1)]
    numbers = survey.rows("s_ra, s_dec, s_pixel_scale, t_min, t_max, t_exptime, em_min, em_max, s_xel1, s_xel2")
    assert numbers[0] == pytest.approx((10.0, 20.0, 0.36, 58_000.0, 58_000.001, 86.4, 5.5e-7, 7e-7, 32, 32), rel=1e-6)


def test_the_identifier_is_below_the_authority_and_stays_when_the_file_changes(survey: Survey) -> None:
    survey.write("a.fits")
    survey.ingest()
    before = survey.rows("obs_publisher_did, key")
    survey.write("a.fits", primary(), image("SCI"))
    survey.write("a.fits", fits.PrimaryHDU(np.ones((64, 64), "f4"), sky(size=64)))
    survey.ingest()
    assert survey.rows("obs_publisher_did, key") == before
    assert before[0][0] == f"ivo://example.org/survey?{before[0][1]}"


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        (["SCI", "MASK", "VARIANCE"], [("mask", 2), ("variance", 3)]),
        (["IMAGE", "DQ", "WHT", "ERR"], [("mask", 2), ("weight", 3), ("uncertainty", 4)]),
        (["DATA", "STAT", "DQ"], [("variance", 2), ("mask", 3)]),
    ],
)
def test_planes_are_recognised_by_extname(survey: Survey, names: list[str], expected: list[tuple[str, int]]) -> None:
    survey.write("a.fits", primary(), *(image(name) for name in names))
    assert only(survey.ingest()).images == 1
    assert planes(survey) == [[(role, "a.fits", hdu) for role, hdu in expected]]


def test_planes_are_recognised_by_exttype_where_extname_is_empty(survey: Survey) -> None:
    survey.write("a.fits", primary(), image(EXTTYPE="IMAGE"), image(EXTTYPE="MASK"), image(EXTTYPE="VARIANCE"))
    survey.ingest()
    assert planes(survey) == [[("mask", "a.fits", 2), ("variance", "a.fits", 3)]]


def test_planes_are_recognised_by_the_rules_where_names_are_unusual(survey: Survey) -> None:
    survey.write("a.fits", primary(), image("PIXELS"), image("FLAGGED_7"), image("PSF"))
    rules = survey.rules('[hdus]\nscience = ["PIX*"]\nmask = ["FLAGGED*"]\nignored = ["PSF"]')
    assert only(survey.ingest(describe=rules)).images == 1
    assert planes(survey) == [[("mask", "a.fits", 2)]]


def test_each_science_image_of_a_file_is_a_row_with_its_own_planes(survey: Survey) -> None:
    ccds = [image(name, EXTVER=n, ra=10.0 + n) for n in (1, 2, 3) for name in ("SCI", "DQ")]
    survey.write("mosaic.fits", primary(), *ccds)
    assert only(survey.ingest()).images == 3
    assert [round(ra) for (ra,) in survey.rows("s_ra")] == [11, 12, 13]
    assert planes(survey) == [[("mask", "mosaic.fits", hdu)] for hdu in (2, 4, 6)]


def test_one_bad_ccd_of_a_mosaic_is_noted_and_the_others_are_taken(survey: Survey) -> None:
    bad = fits.ImageHDU(np.zeros((32, 32), "f4"), name="CCD2")
    survey.write("mosaic.fits", primary(), image("CCD1"), bad, image("CCD3"))
    file = only(survey.ingest())
    assert (file.outcome, file.images) == (Outcome.ADDED, 2)
    assert file.notes == (
        "HDU 2 CCD2: its header has no celestial coordinates (CTYPE of right ascension and declination)",
    )


@pytest.mark.parametrize("name", ["a.fits", "a.FITS.GZ", "a.fits.fz", "a.fit", "a.fts.gz"])
def test_packed_images_are_images(survey: Survey, name: str) -> None:
    pixels = np.arange(32 * 32, dtype="f4").reshape(32, 32)
    if name.endswith(".fz"):
        survey.write(name, primary(), fits.CompImageHDU(pixels, sky(), name="SCI", compression_type="RICE_1"))
    else:
        survey.write("plain", primary(), fits.ImageHDU(pixels, sky(), name="SCI"))
        content = (survey.folder / "plain").read_bytes()
        packed = name.lower().endswith(".gz")
        (survey.folder / name).write_bytes(gzip.compress(content) if packed else content)
        (survey.folder / "plain").unlink()
    assert outcomes(survey.ingest()) == {name: "added"}
    assert survey.rows("s_xel1, s_xel2, hdu") == [(32, 32, 1)]


def test_frames_other_than_icrs_are_transformed(survey: Survey) -> None:
    from astropy.coordinates import SkyCoord

    header = sky(120.0, 30.0)
    header["CTYPE1"], header["CTYPE2"] = "GLON-TAN", "GLAT-TAN"
    survey.write("galactic.fits", fits.PrimaryHDU(np.zeros((32, 32), "f4"), header))
    survey.ingest()
    expected = SkyCoord(120.0, 30.0, frame="galactic", unit="deg").icrs
    assert survey.rows("s_ra, s_dec")[0] == pytest.approx((expected.ra.deg, expected.dec.deg), abs=1e-9)


def test_progenitors_are_found_by_path_by_neighbour_and_by_name(survey: Survey) -> None:
    for name in ("visits/a.fits", "visits/b.fits", "c.fits"):
        survey.write(name)
    survey.write(
        "coadds/all.fits", primary(IMCMB001="visits/a.fits", IMCMB002="b.fits[SCI]", IMCMB003="c"), image("SCI")
    )
    survey.ingest()
    rows = dict(survey.rows("obs_id, progenitors"))
    assert rows["all"] == ["visits/a.fits", "visits/b.fits", "c.fits"]
    assert survey.rows("calib_level", "calib_level DESC")[0] == (3,)


# -- again -----------------------------------------------------------------------------------------------


def test_twice_is_once(survey: Survey) -> None:
    for number in range(3):
        survey.write(f"{number}.fits", primary(), image("SCI"), image("MASK"))
    assert survey.ingest().count(Outcome.ADDED) == 3
    before = survey.everything()
    again = survey.ingest()
    assert (again.count(Outcome.UNCHANGED), again.looked_at, len(again.files)) == (3, 0, 3)
    assert [file.images for file in again.files] == [1, 1, 1]
    assert survey.everything() == before


def test_rules_stay_and_the_most_exact_counts_in_any_order(survey: Survey) -> None:
    survey.write("a.fits", primary(FILTER="long blue"), image("SCI"))
    wide, exact = "[filters.'*blue']\nem_min=1e-7\nem_max=9e-7\n", "[filters.'LONG BLUE']\nem_min=3e-7\nem_max=4e-7\n"
    survey.ingest(describe=survey.rules(wide + exact))
    for options in ({}, {"describe": survey.rules(exact + wide)}):
        assert outcomes(survey.ingest(**options)) == {"a.fits": "unchanged"}
    assert survey.rows("em_min") == [(3e-7,)]


def test_new_rules_update_all_that_is_looked_at_and_tell_of_the_rest(survey: Survey) -> None:
    survey.write("new/a.fits")
    survey.write("old/b.fits")
    survey.ingest()
    report = survey.ingest(survey.folder / "new", describe=survey.rules('[columns]\nfacility_name = "T"'))
    assert outcomes(report) == {"new/a.fits": "updated"}
    assert report.notes == ("1 other files are described by earlier rules; ingest them too",)
    assert survey.rows("obs_id, facility_name") == [("a", "T"), ("b", None)]


def test_a_replaced_file_updates_its_row(survey: Survey) -> None:
    survey.write("a.fits")
    survey.write("b.fits")
    survey.ingest()
    survey.write("a.fits", fits.PrimaryHDU(np.zeros((64, 64), "f4"), sky(200.0, size=64)))
    assert outcomes(survey.ingest()) == {"a.fits": "updated", "b.fits": "unchanged"}
    assert [(name, round(ra), x) for name, ra, x in survey.rows("obs_id, s_ra, s_xel1")] == [
        ("a", 200, 64),
        ("b", 10, 32),
    ]
    assert survey.hdus("a.fits")[0]["cards"].count("NAXIS1  =                   64") == 1


def test_a_file_with_fewer_images_than_before_loses_their_rows(survey: Survey) -> None:
    survey.write("a.fits", primary(), image("CCD1"), image("CCD2"))
    survey.ingest()
    survey.write("a.fits", primary(), image("CCD1"))
    survey.ingest()
    assert survey.rows("hdu") == [(1,)]


def test_a_file_that_became_unusable_leaves_the_collection_and_says_so(survey: Survey) -> None:
    path = survey.write("a.fits")
    survey.write("b.fits")
    survey.ingest()
    path.write_bytes(b"<html>moved</html>")
    report = survey.ingest()
    assert outcomes(report) == {"a.fits": "refused", "b.fits": "unchanged"}
    assert "gives up what it had from it, images: 1" in report.files[0].notes[0]
    assert survey.rows() == [("b",)]


def test_a_file_that_is_gone_is_told_and_leaves_with_prune(survey: Survey) -> None:
    path = survey.write("a.fits")
    survey.write("b.fits")
    survey.ingest()
    path.unlink()
    report = survey.ingest()
    assert outcomes(report) == {"a.fits": "missing", "b.fits": "unchanged"}
    assert "--prune" in report.files[0].notes[0]
    assert outcomes(survey.ingest(path)) == {"a.fits": "missing"}
    assert survey.rows() == [("a",), ("b",)]
    assert outcomes(survey.ingest(prune=True)) == {"a.fits": "removed", "b.fits": "unchanged"}
    assert survey.rows() == [("b",)]
    assert outcomes(survey.ingest()) == {"b.fits": "unchanged"}


def test_prune_looks_only_below_what_was_named(survey: Survey) -> None:
    for name in ("one/a.fits", "one/b.fits", "one-more/c.fits"):
        survey.write(name)
    survey.ingest()
    (survey.folder / "one" / "a.fits").unlink()
    (survey.folder / "one-more" / "c.fits").unlink()
    assert outcomes(survey.ingest(survey.folder / "one", prune=True)) == {
        "one/a.fits": "removed",
        "one/b.fits": "unchanged",
    }
    assert survey.rows() == [("b",), ("c",)]


def test_prune_does_not_empty_a_collection_whose_disk_is_away(survey: Survey, tmp_path: Path) -> None:
    survey.write("a.fits")
    survey.ingest()
    survey.folder.rename(tmp_path / "away")
    survey.folder.mkdir()
    with pytest.raises(IngestError, match="none of the 1 files of survey is there any more; is a disk not mounted"):
        survey.ingest(prune=True)
    assert survey.rows() == [("a",)]


# -- where files lie -------------------------------------------------------------------------------------


def test_a_collection_moves_with_root_and_keeps_its_identifiers(survey: Survey, tmp_path: Path) -> None:
    survey.write("deep/a.fits")
    survey.write("b.fits")
    survey.ingest()
    before = survey.rows("obs_publisher_did")
    moved = tmp_path / "elsewhere"
    survey.folder.rename(moved)
    with pytest.raises(IngestError, match=r"does not lie below .*survey, where survey has its files"):
        survey.ingest(moved)
    report = survey.ingest(moved, root=str(moved))
    assert outcomes(report) == {"b.fits": "unchanged", "deep/a.fits": "unchanged"}
    assert survey.rows("obs_publisher_did") == before
    assert survey.catalog.fetch("SELECT root FROM gateway_images.collection") == [(str(moved),)]


def test_a_root_that_holds_nothing_of_the_collection_is_refused(survey: Survey, tmp_path: Path) -> None:
    survey.write("a.fits")
    survey.ingest()
    with pytest.raises(IngestError, match=r"none of the 1 files of survey is below .*, not even a.fits"):
        survey.ingest(root=str(tmp_path))
    assert survey.catalog.fetch("SELECT root FROM gateway_images.collection") == [(str(survey.folder),)]


def test_single_files_lie_below_their_common_folder(survey: Survey) -> None:
    paths = [survey.write("x/a.fits"), survey.write("x/y/b.fits"), survey.write("z.fits")]
    assert outcomes(survey.ingest(*paths[:2])) == {"a.fits": "added", "y/b.fits": "added"}
    with pytest.raises(IngestError, match="does not lie below"):
        survey.ingest(paths[2])


def test_links_are_followed_once_and_hidden_files_left_alone(survey: Survey, tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    Survey(outside, survey.catalog).write("linked.fits")
    survey.write("a.fits")
    survey.write("._a.fits")
    survey.write(".snapshot/a.fits")
    (survey.folder / "link").symlink_to(outside)
    (outside / "back").symlink_to(survey.folder)
    assert outcomes(survey.ingest()) == {"a.fits": "added", "link/linked.fits": "added"}


def test_collections_do_not_see_each_other(survey: Survey) -> None:
    survey.write("a.fits")
    survey.ingest()
    survey.ingest(collection="second")
    assert len(survey.rows("key")) == 2
    assert [(one.name, one.files, one.images) for one in list_collections(survey.catalog.url)] == [
        ("second", 1, 1),
        ("survey", 1, 1),
    ]
    gone = drop_collection("second", survey.catalog.url)
    assert (gone.name, gone.files, gone.images) == ("second", 1, 1)
    assert survey.rows("obs_collection") == [("survey",)]
    assert survey.catalog.fetch("SELECT count(*) FROM gateway_images.hdu") == [(1,)]
    assert (survey.folder / "a.fits").exists()
    with pytest.raises(NotFoundError, match="there is no collection second; there are survey"):
        drop_collection("second", survey.catalog.url)


def test_the_published_count_of_obscore_is_kept(survey: Survey) -> None:
    count = "SELECT nrows FROM tap_schema.tables WHERE table_name = 'ivoa.obscore'"
    survey.write("a.fits", primary(), image("CCD1"), image("CCD2"))
    survey.ingest()
    assert survey.catalog.fetch(count) == [(2,)]
    drop_collection("survey", survey.catalog.url)
    assert survey.catalog.fetch(count) == [(0,)]


@pytest.mark.parametrize("name", ["", "a b", "../x", "-x", "a/b", "a?b", "x" * 64, "sürvey", "a#b", "a\n"])
def test_names_that_identifiers_cannot_hold_are_refused(survey: Survey, name: str) -> None:
    survey.write("a.fits")
    with pytest.raises(IngestError, match="is no name of a collection"):
        survey.ingest(collection=name)


def test_names_that_differ_in_case_only_are_refused(survey: Survey) -> None:
    survey.write("a.fits")
    survey.ingest()
    with pytest.raises(
        IngestError, match="there is a collection survey; names that differ in upper and lower case only"
    ):
        survey.ingest(collection="Survey")


def test_each_file_is_told_while_it_goes_on(survey: Survey) -> None:
    for number in range(3):
        survey.write(f"{number}.fits", primary(), image("SCI"))
    steps: list[Step] = []
    survey.ingest(progress=steps.append)
    assert steps == [Step(n + 1, 3, n + 1, f"{n}.fits") for n in range(3)]


# -- companions ------------------------------------------------------------------------------------------

COMPANIONS = """
[companions]
mask = { replace = "_i", by = "_d" }
weight = { replace = "_i", by = "_w" }
"""


def trio(survey: Survey, number: int = 1, **sizes: int) -> None:
    for letter in "idw":
        survey.write(f"{number}_{letter}.fits", primary(), image("N6", size=sizes.get(letter, 32)))


def test_companions_belong_to_their_image(survey: Survey) -> None:
    trio(survey)
    report = survey.ingest(describe=survey.rules(COMPANIONS))
    assert outcomes(report) == {"1_d.fits": "companion", "1_i.fits": "added", "1_w.fits": "companion"}
    assert survey.rows() == [("1_i",)]
    assert planes(survey) == [[("mask", "1_d.fits", 1), ("weight", "1_w.fits", 1)]]
    assert len(survey.hdus("1_d.fits")) == 2
    assert survey.ingest().count(Outcome.UNCHANGED) == 3


def test_companions_that_were_not_named_are_found(survey: Survey) -> None:
    trio(survey)
    survey.ingest(survey.folder / "1_i.fits", describe=survey.rules(COMPANIONS), root=str(survey.folder))
    assert planes(survey) == [[("mask", "1_d.fits", 1), ("weight", "1_w.fits", 1)]]
    assert len(survey.hdus("1_w.fits")) == 2


def test_a_companion_that_comes_later_finds_its_image(survey: Survey) -> None:
    trio(survey)
    (survey.folder / "1_d.fits").rename(survey.folder / "later")
    rules = survey.rules(COMPANIONS)
    report = survey.ingest(describe=rules)
    assert {file.path: file.notes for file in report.files}["1_i.fits"] == ("no mask: 1_d.fits is not there",)
    (survey.folder / "later").rename(survey.folder / "1_d.fits")
    report = survey.ingest(survey.folder / "1_d.fits", describe=rules)
    assert outcomes(report) == {"1_d.fits": "companion", "1_i.fits": "updated"}
    assert planes(survey) == [[("mask", "1_d.fits", 1), ("weight", "1_w.fits", 1)]]


def test_a_companion_that_goes_leaves_its_image(survey: Survey) -> None:
    trio(survey)
    survey.ingest(describe=survey.rules(COMPANIONS))
    (survey.folder / "1_w.fits").unlink()
    assert outcomes(survey.ingest(prune=True)) == {
        "1_d.fits": "unchanged",
        "1_i.fits": "updated",
        "1_w.fits": "removed",
    }
    assert planes(survey) == [[("mask", "1_d.fits", 1)]]


def test_a_companion_of_another_size_is_noted(survey: Survey) -> None:
    trio(survey, d=16)
    report = survey.ingest(describe=survey.rules(COMPANIONS))
    notes = {file.path: file.notes for file in report.files}["1_i.fits"]
    assert notes == ("no mask: HDU 1 of 1_d.fits has another size than the image",)
    assert planes(survey) == [[("weight", "1_w.fits", 1)]]


def test_a_broken_companion_is_refused_and_its_image_taken(survey: Survey) -> None:
    trio(survey)
    (survey.folder / "1_d.fits").write_bytes(b"")
    report = survey.ingest(describe=survey.rules(COMPANIONS))
    assert outcomes(report) == {"1_d.fits": "refused", "1_i.fits": "added", "1_w.fits": "companion"}


def test_a_file_copied_without_its_date_is_updated_not_doubled(survey: Survey, tmp_path: Path) -> None:
    path = survey.write("a.fits")
    survey.ingest()
    shutil.copyfile(path, tmp_path / "copy")
    os.utime(tmp_path / "copy", (1, 1))
    (tmp_path / "copy").replace(path)
    assert outcomes(survey.ingest()) == {"a.fits": "updated"}
    assert survey.rows() == [("a",)]
