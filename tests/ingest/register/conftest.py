"""A data centre's database for each test, one with many stars for all, and a user who owns nothing."""

import secrets
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import pytest

from gateway.db.roles import QUERY_ROLE
from tests.ingest.register.site import Site
from tests.support.servers import Administrator, as_user

FEW = """
CREATE TABLE public.stars (id bigint PRIMARY KEY, ra double precision, dec double precision, mag real);
INSERT INTO public.stars SELECT g, (g * 37) % 360, (g * 17) % 170 - 85, g / 10.0 FROM generate_series(1, 100) g;
"""

MANY = """
CREATE TABLE public.stars (id integer, ra double precision, dec double precision);
INSERT INTO public.stars
SELECT g, 360.0 * ((g * 7919::bigint) % 200003) / 200003.0, degrees(asin(2.0 * ((g * 104729::bigint) % 199999) / 199999.0 - 1))
FROM generate_series(1, 200000) g;
-- the places where windows go wrong: around both poles, and on both sides of RA 0
UPDATE public.stars SET dec = 90 - (id / 1000) / 2000.0 WHERE id % 1000 = 1;
UPDATE public.stars SET dec = (id / 1000) / 2000.0 - 90 WHERE id % 1000 = 2;
UPDATE public.stars SET ra = (id / 1000) / 4000.0, dec = (id / 1000 % 40) / 400.0 WHERE id % 1000 = 3;
UPDATE public.stars SET ra = 360 - (id / 1000) / 4000.0, dec = (id / 1000 % 30) / 300.0 WHERE id % 1000 = 4;
UPDATE public.stars SET ra = NULL WHERE id = 5;
UPDATE public.stars SET dec = 'NaN' WHERE id = 6;
ANALYZE public.stars;
"""


@pytest.fixture
def site(database_url: str) -> Site:
    return Site(database_url)


@pytest.fixture
def few(site: Site) -> Site:
    """One with a table of 100 stars, public.stars."""
    site.run(FEW)
    return site


@dataclass(frozen=True)
class Many:
    """A database with 200,000 stars that are registered, and the same stars in memory."""

    site: Site
    id: np.ndarray
    ra: np.ndarray
    dec: np.ndarray


@pytest.fixture(scope="session")
def many(database_server: Administrator, database_template: str) -> Iterator[Many]:
    url = database_server.create(database_template)
    site = Site(url)
    site.run(MANY)
    site.register(ra="ra", dec="dec")
    rows = site.fetch("SELECT id, coalesce(ra, 'NaN'), dec FROM public.stars")
    columns = (np.array(column) for column in zip(*rows, strict=True))
    yield Many(site, *columns)
    database_server.drop(url)


@pytest.fixture
def clerk(database_server: Administrator, database_url: str) -> Iterator[str]:
    """URL of a user who may publish, but owns no table."""
    name = f"clerk_{secrets.token_hex(4)}"
    database_server.execute(f"CREATE ROLE {name} LOGIN", f"GRANT {QUERY_ROLE} TO {name}")
    Site(database_url).run(
        f"GRANT USAGE ON SCHEMA tap_schema, sky TO {name}",
        f"GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA tap_schema TO {name}",
        # on the embedded server only its owner may hold locks
        f"GRANT EXECUTE ON FUNCTION pg_try_advisory_lock(bigint) TO {name}",
    )
    yield as_user(database_url, name)
    Site(database_url).run(f"DROP OWNED BY {name}")
    database_server.execute(f"DROP ROLE {name}")
