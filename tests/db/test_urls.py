import pytest

from gateway.db.urls import DatabaseURL
from gateway.errors import UsageError


@pytest.mark.parametrize(
    "text",
    [
        "postgresql://user:p%40ss@host:5432/name",
        "postgresql://user@/name?host=/run/postgresql",
        "postgresql://host/name?sslmode=require&target_session_attrs=read-write",
        "postgresql:///name",
    ],
)
def test_addresses_survive(text: str) -> None:
    assert DatabaseURL.parse(text).libpq() == text.replace("postgresql:///", "postgresql:///")


@pytest.mark.parametrize("scheme", ["postgres", "postgresql+asyncpg"])
def test_other_spellings_are_understood(scheme: str) -> None:
    assert DatabaseURL.parse(f"{scheme}://u@h/n").libpq() == "postgresql://u@h/n"


def test_the_application_name_is_replaced() -> None:
    url = DatabaseURL.parse("postgresql://u@h/n?application_name=x").with_application_name("y")
    assert url.libpq() == "postgresql://u@h/n?application_name=y"


def test_what_only_libpq_knows_is_kept_from_asyncpg() -> None:
    url = DatabaseURL.parse("postgresql://u@h/n?channel_binding=require&sslmode=require")
    assert url.asyncpg() == "postgresql://u@h/n?sslmode=require"


def test_a_wrong_address_is_not_repeated() -> None:
    with pytest.raises(UsageError) as caught:
        DatabaseURL.parse("mysql://user:secret@host/name")
    assert "secret" not in caught.value.message


def test_a_database_beside_this_one() -> None:
    assert DatabaseURL.parse("postgresql://u@h/n?a=b").with_database("ö").libpq() == "postgresql://u@h/%C3%B6?a=b"
