"""What ``docs/conformance/adql.md`` says beyond the standard is what the code accepts beyond it."""

import re

from gateway.vo.adql.parsing.extensions import EXTENSIONS
from tests.vo.test_conformance import DOCUMENTS

TABLE = (DOCUMENTS / "adql.md").read_text()


def test_the_extensions_of_the_table_are_those_of_the_code() -> None:
    section = TABLE.partition("## Beyond the standard")[2].partition("\n## ")[0]
    rows = re.findall(r"^\| `(.+?)` \| (.+) \|$", section, re.MULTILINE)
    assert rows == [(extension.form, extension.description) for extension in EXTENSIONS.values()]
