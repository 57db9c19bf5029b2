"""XML schemas of the IVOA, as an independent judge of our documents.

They are not part of this repository: STILTS brings them along in its Debian package (`stilts`), and its
`taplint` validates with the very same files. Where it is not installed the tests that need them are skipped.
"""

from __future__ import annotations

import zipfile
from functools import cache
from pathlib import Path

import pytest
from lxml import etree

JAR = Path("/usr/share/java/starlink-ttools.jar")
"""Where Debian puts it."""
FOLDER = "uk/ac/starlink/ttools/taplint/"
FILES = {
    "http://www.ivoa.net/xml/UWS/v1.0": "UWS-v1.1.xsd",
    "http://www.ivoa.net/xml/VOSIAvailability/v1.0": "VOSIAvailability-v1.0.xsd",
    "http://www.ivoa.net/xml/VOSICapabilities/v1.0": "VOSICapabilities-v1.0.xsd",
    "http://www.ivoa.net/xml/VOSITables/v1.0": "VOSITables-v1.1.xsd",
    "http://www.ivoa.net/xml/TAPRegExt/v1.0": "TAPRegExt-v1.0-Erratum1.xsd",
    "http://www.ivoa.net/xml/VODataService/v1.1": "VODataService-v1.2.xsd",
}
LOCATIONS = {
    "http://www.ivoa.net/xml/VOResource/v1.0": "VOResource-v1.1.xsd",
    "http://www.ivoa.net/xml/VOResource/VOResource-v1.0.xsd": "VOResource-v1.1.xsd",
    "http://www.ivoa.net/xml/VODataService/v1.1": "VODataService-v1.2.xsd",
    "http://www.ivoa.net/xml/STC/stc-v1.30.xsd": "stc-v1.30.xsd",
    "http://www.ivoa.net/xml/Xlink/xlink.xsd": "xlink.xsd",
    "http://www.w3.org/2001/xml.xsd": "xmlnamespace.xsd",
} | {name: name for name in FILES.values()}


class _Resolver(etree.Resolver):
    def resolve(self, url, public_id, context):
        name = LOCATIONS.get(url) or LOCATIONS.get(url.rsplit("/", 1)[-1])
        if name is None:
            return None
        with zipfile.ZipFile(JAR) as jar:
            return self.resolve_string(jar.read(FOLDER + name), context, base_url=url)


@cache
def schema() -> etree.XMLSchema:
    """All schemas in one."""
    if not JAR.exists():
        pytest.skip("the XML schemas come with stilts (Debian package), which is not installed")
    parser = etree.XMLParser(no_network=True)
    parser.resolvers.add(_Resolver())
    imports = "".join(f'<xs:import namespace="{name}" schemaLocation="{file}"/>' for name, file in FILES.items())
    text = f'<xs:schema xmlns:xs="http://www.w3.org/2001/XMLSchema">{imports}</xs:schema>'
    return etree.XMLSchema(etree.fromstring(text, parser))


def is_valid(document: bytes) -> bool:
    """Validity; a document that is not valid fails the test with the schema's own words."""
    schema().assertValid(etree.fromstring(document))
    return True
