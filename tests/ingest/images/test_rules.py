"""The TOML file of a collection: what it says is checked before any file is looked at."""

from pathlib import Path

import pytest

from gateway.errors import IngestError
from gateway.ingest.images.rules import COLUMN_TYPES, Band, Role, Rules, check_value, read_rules
from gateway.vo.obscore import FROM_RULES


def rules(tmp_path: Path, text: str) -> Rules:
    path = tmp_path / "rules.toml"
    path.write_text(text)
    return read_rules(path)


def test_every_key_is_read(tmp_path: Path) -> None:
    found = rules(
        tmp_path,
        """
        [columns]
        facility_name = "Blanco"
        calib_level = 3
        s_resolution = 1
        [keywords]
        target_name = ["FIELD"]
        [header]
        RADESYS = "FK5"
        EQUINOX = 2000.0
        SIMPLEX = true
        [filters."r DECam*"]
        em_min = 5.6e-7
        em_max = 7.2e-7
        [hdus]
        mask = ["FLAG*"]
        [companions.weight]
        replace = "ooi"
        by = "oow"
        [progenitors]
        keywords = "INPUT*"
        """,
    )
    assert found.columns == {"facility_name": "Blanco", "calib_level": 3, "s_resolution": 1}
    assert found.band("R decam SDSS") == Band(em_min=5.6e-7, em_max=7.2e-7)
    assert found.role(["", "FLAGS"]) is Role.MASK
    assert found.companions_of("x/a_ooi_r.fits") == {Role.WEIGHT: "x/a_oow_r.fits"}
    assert found.science_of("x/a_oow_r.fits") == "x/a_ooi_r.fits"
    assert found.progenitors.keywords == "INPUT*"


def test_an_empty_file_says_nothing(tmp_path: Path) -> None:
    assert rules(tmp_path, "") == Rules()


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("[column]\nx = 1", "column: there is no such key; known are columns, keywords, header, filters, hdus, comp"),
        ("[filters.r]\nem_min=1e-7\nem_mx=2e-7", "filters.r.em_max: is missing; filters.r.em_mx: there is no such key; known are em_min, em_max"),
        ("[filters.r]\nem_min='blue'\nem_max=2e-7", "filters.r.em_min: 'blue' does not fit, give a number"),
        ("[filters.r]\nem_min=3e-7\nem_max=2e-7", "em_min = 3e-07 is more than em_max = 2e-07"),
        ("[filters.r]\nem_min=-1\nem_max=2e-7", "filters.r.em_min: -1 does not fit, give a number above zero"),
        ("[filters.r]\nem_min=nan\nem_max=2e-7", "filters.r.em_min"),
        ("[filters.r]\nem_min=550e3\nem_max=700e3", "give metres, such as 5.5e-7 for 550 nm"),
        ("[columns]\ns_ra = 1.0", "columns: s_ra: not among the columns that can be set: calib_level"),
        ("[columns]\nem_min = 'x'", "columns: em_min = 'x': give a number"),
        ("[columns]\nem_min = true", "columns: em_min = True: give a number"),
        ("[columns]\nem_min = 0.0", "columns: em_min = 0.0: give a number above zero"),
        ("[columns]\nem_min = inf", "columns: em_min = inf: give a number"),
        ("[columns]\ncalib_level = 7", "columns: calib_level = 7: give a whole number from 0 to 4"),
        ("[columns]\nfacility_name = 4", "columns: facility_name = 4: give a text, in quotes"),
        ("[columns]\nobs_title = 2020-01-01", "columns.obs_title"),
        ("[keywords]\ntarget_name = 'FIELD'", "keywords.target_name: 'FIELD' does not fit, give a list"),
        ("[keywords]\nnothing = ['A']", "keywords: nothing: not among the columns"),
        ("[header]\nNAXIS1 = 5", "header: NAXIS1 says how the pixels are stored"),
        ("[header]\nradesys = 'FK5'", "header: 'radesys' is no FITS keyword"),
        ("[header]\nOBJECT = 'Ωmega'", "header: OBJECT: a header holds texts of up to 68 printable ASCII"),
        ("[header]\nCRVAL1 = nan", "header: CRVAL1 = nan: a header holds only finite"),
        ("[hdus]\nmasks = ['A']", "hdus.masks: is none of science, mask, variance, weight, uncertainty, ignored"),
        ("[hdus]\nmask = 'A'", "hdus.mask: 'A' does not fit, give a list"),
        ("[companions]\nscience = {replace='a', by='b'}", "companions: science: a companion is one of mask"),
        ("[companions]\nmask = {replace='', by='b'}", "companions.mask.replace: '' does not fit, give a text that is not"),
        ("[companions]\nmask = 'x'", "companions.mask: 'x' does not fit, give a table"),
        ("[companions]\nmask = {from='a', by='b'}", "companions.mask.from: there is no such key; known are replace, by"),
        ("columns = 5", "columns: 5 does not fit, give a table"),
        ("[columns", "rules.toml is no TOML: "),
    ],
)  # fmt: skip
def test_what_is_wrong_is_told_with_file_key_and_what_is_allowed(tmp_path: Path, text: str, words: str) -> None:
    with pytest.raises(IngestError) as caught:
        rules(tmp_path, text)
    assert "rules.toml" in caught.value.message
    assert words in caught.value.message
    assert "\n" not in caught.value.message


def test_a_file_that_cannot_be_read_is_told(tmp_path: Path) -> None:
    with pytest.raises(IngestError, match=r"none.toml cannot be read: No such file"):
        read_rules(tmp_path / "none.toml")
    (tmp_path / "latin.toml").write_bytes(b"# caf\xe9")
    with pytest.raises(IngestError, match=r"latin.toml is no text in UTF-8"):
        read_rules(tmp_path / "latin.toml")


def test_every_column_that_rules_may_set_has_a_known_type() -> None:
    for name in FROM_RULES:
        check_value(name, "text" if COLUMN_TYPES[name].startswith("str") else 1)


def test_the_digest_tells_rules_apart_but_not_their_order() -> None:
    one = Rules(header={"A": 1, "B": 2})
    assert one.digest == Rules(header={"B": 2, "A": 1}).digest
    assert one.digest != Rules(header={"A": 1, "B": 3}).digest


@pytest.mark.parametrize(
    ("path", "science"),
    [
        ("a/x.mask.fits", "a/x.fits"),
        ("a/x.fits", None),
        ("masks/x.fits", None),
        ("a.mask.fits/x.mask.fits", "a.mask.fits/x.fits"),
    ],
)
def test_a_companion_is_only_what_its_image_would_name(path: str, science: str | None) -> None:
    found = Rules.model_validate({"companions": {"mask": {"replace": ".fits", "by": ".mask.fits"}}})
    assert found.science_of(path) == science


def test_the_documentation_names_every_key_and_its_example_is_valid(tmp_path: Path) -> None:
    text = (Path(__file__).parents[3] / "docs" / "collections.md").read_text()
    example = text.partition("```toml\n")[2].partition("```")[0]
    found = rules(tmp_path, example)
    assert all(getattr(found, name) != getattr(Rules(), name) for name in Rules.model_fields)
    assert all(f"`{name}`" in text for name in FROM_RULES)
    assert all(f"`{role}`" in text for role in Role)
