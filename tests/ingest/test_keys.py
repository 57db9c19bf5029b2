"""Foreign keys that a description gives: published with what they name, told where they cannot be (TAP-75)."""

import asyncio
from pathlib import Path

import asyncpg
import pytest

from gateway.ingest.tables import IngestReport, ingest_table

DESCRIPTION = """
name: survey
tables:
- name: stars
  columns:
  - {name: id, "@id": "#stars.id", datatype: long}
- name: visits
  columns:
  - {name: star, datatype: long}
  - {name: absent, datatype: long}
  constraints:
  - {name: of, "@type": ForeignKey, columns: [star], referencedColumns: ["#stars.id"]}
  - {name: by, "@type": ForeignKey, columns: [absent], referencedColumns: ["#stars.id"]}
"""


class Survey:
    """Publishes the two tables of the description."""

    def __init__(self, url: str, folder: Path) -> None:
        self._url = url
        self._folder = folder
        (folder / "survey.yaml").write_text(DESCRIPTION)

    def publish(self, name: str, content: str, *, replace: bool = False) -> IngestReport:
        (self._folder / f"{name}.csv").write_text(content)
        describe = self._folder / "survey.yaml"
        return ingest_table(
            [self._folder / f"{name}.csv"],
            name=f"survey.{name}",
            admin_url=self._url,
            describe=describe,
            replace=replace,
        )

    def keys(self) -> set[str]:
        async def work() -> set[str]:
            connection = await asyncpg.connect(self._url)
            try:
                rows = await connection.fetch("SELECT key_id FROM tap_schema.keys WHERE key_id LIKE 'survey.%'")
                return {row[0] for row in rows}
            finally:
                await connection.close()

        return asyncio.run(work())


@pytest.fixture
def survey(database_url: str, tmp_path: Path) -> Survey:
    return Survey(database_url, tmp_path)


def test_a_key_to_a_table_that_is_not_published_is_told(survey: Survey) -> None:
    report = survey.publish("visits", "star\n1\n")
    assert any("survey.visits.of" in note and "survey.stars is not" in note for note in report.warnings)
    assert survey.keys() == set()
    survey.publish("stars", "id\n1\n")
    again = survey.publish("visits", "star\n1\n", replace=True)
    assert not any("survey.visits.of" in note for note in again.warnings)
    assert survey.keys() == {"survey.visits.of"}


def test_a_key_of_a_column_that_no_file_has_is_told(survey: Survey) -> None:
    survey.publish("stars", "id\n1\n")
    report = survey.publish("visits", "star\n1\n")
    assert any("survey.visits.by" in note for note in report.warnings)
    assert survey.keys() == {"survey.visits.of"}
