"""All settings of the gateway. This is the only module that reads the environment.

Each setting is a ``GATEWAY_*`` variable or a key of the TOML file that ``GATEWAY_CONFIG`` names; the
environment wins. ``gateway settings`` prints this list with the values in force.
"""

from __future__ import annotations

import os
import re
import tomllib
from dataclasses import dataclass
from datetime import timedelta
from ipaddress import ip_network
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BeforeValidator, Field, SecretStr, field_validator
from pydantic_settings import (
    BaseSettings,
    NoDecode,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    TomlConfigSettingsSource,
)
from typing_extensions import override

from gateway.errors import ParameterError, ServiceError

_UNITS = {"": 1.0, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}


def parse_duration(value: object) -> object:
    """Read ``90``, ``90s``, ``15m``, ``4h`` or ``14d``; leave ISO 8601 durations to pydantic."""
    if isinstance(value, str) and (match := re.fullmatch(r"\s*([0-9]*\.?[0-9]+)\s*([smhd]?)\s*", value)):
        return timedelta(seconds=float(match[1]) * _UNITS[match[2]])
    return value


def split_names(value: object) -> object:
    """Read names separated by commas or blanks."""
    return tuple(value.replace(",", " ").split()) if isinstance(value, str) else value


def lower(value: object) -> object:
    """Read a word in any letter case."""
    return value.lower() if isinstance(value, str) else value


def check_memory(value: str) -> str:
    """Refuse what PostgreSQL would refuse at every query."""
    if not re.fullmatch(r"[1-9][0-9]*(kB|MB|GB|TB)", value):
        raise ValueError("write a whole number and a unit, kB, MB, GB or TB, for example 64MB")
    return value


Memory = Annotated[str, AfterValidator(check_memory)]
Duration = Annotated[timedelta, BeforeValidator(parse_duration)]
Names = Annotated[tuple[str, ...], NoDecode, BeforeValidator(split_names)]


@dataclass(frozen=True, slots=True)
class Urls:
    """Addresses of the servers in force."""

    control: str
    catalog: str | None
    """Catalog as a user who may become the query role and nothing else; ``None``: reach it as the administrator."""
    catalog_admin: str
    redis: str


class Settings(BaseSettings):
    """Settings with their defaults; see `gateway settings`."""

    model_config = SettingsConfigDict(env_prefix="GATEWAY_", frozen=True, extra="forbid")

    # -- where things are --------------------------------------------------------------------------------
    home: Path = Field(Path(".gateway"), description="Folder for all state of the embedded mode.")
    database_url: SecretStr | None = Field(
        None, description="Control database (jobs, metadata): postgresql://... Unset: the embedded PostgreSQL."
    )
    catalog_url: SecretStr | None = Field(
        None,
        description="Database with the published tables, reached as the query role. Unset: the control database, "
        "with the role made by `gateway migrate`.",
    )
    catalog_admin_url: SecretStr | None = Field(
        None, description="The same database for migrate, ingest and drop. Unset: the control database."
    )
    redis_url: SecretStr | None = Field(
        None, description="Redis or Valkey for wake-ups: redis://... or unix://... Unset: the embedded Valkey."
    )
    results: str | None = Field(
        None,
        description="Result store of this gateway and no other: a folder, or s3://bucket/prefix (with the extra s3; credentials "
        "and region come from where AWS's own programs look for them). Unset: results/ under the home folder.",
    )
    results_endpoint: str | None = Field(
        None, description="URL of the S3 server, where it is not Amazon's, for example http://minio.internal:9000."
    )

    # -- who we are --------------------------------------------------------------------------------------
    public_base_url: str | None = Field(
        None, description="URL that clients see, without a trailing slash, for example https://archive.example.org."
    )
    allowed_hosts: Names = Field(
        (), description="Host names believed when no public base URL is set. Empty: this machine's names and addresses."
    )
    authority: str = Field("example.org.gateway", description="IVOA authority in identifiers.")
    title: str = Field("vo-gateway", description="Name of the service, shown to people.")
    publisher: str | None = Field(None, description="Publisher named in results.")
    contact: str | None = Field(None, description="E-mail address or URL for questions, named in results.")
    capabilities_by_mode: bool = Field(
        default=False,
        description="Tell the time limit of synchronous queries in capabilities, in the way of TAPRegExt 1.1 (forMode), which "
        "validators that know TAPRegExt 1.0 call an error.",
    )

    # -- limits ------------------------------------------------------------------------------------------
    maxrec_default: int = Field(100_000, ge=1, description="Rows returned when a request has no MAXREC.")
    maxrec_hard: int = Field(20_000_000, ge=1, description="Most rows that any request gets.")
    sync_time_limit: Duration = Field(timedelta(seconds=60), description="Longest synchronous query.")
    execution_duration_default: Duration = Field(
        timedelta(hours=1), description="Time limit of a job that asks for none."
    )
    execution_duration_hard: Duration = Field(timedelta(hours=4), description="Longest time limit of a job.")
    retention_default: Duration = Field(timedelta(days=14), description="How long a job and its result are kept.")
    retention_hard: Duration = Field(timedelta(days=14), description="Longest that a job may ask to be kept.")
    upload_max_bytes: int = Field(32 * 2**20, ge=1, description="Largest uploaded table, bytes.")
    upload_max_rows: int = Field(1_000_000, ge=1, description="Most rows of an uploaded table.")
    upload_max_columns: int = Field(1_000, ge=1, description="Most columns of an uploaded table.")
    upload_max_tables: int = Field(20, ge=1, description="Most tables uploaded with one query.")
    upload_hosts: Names = Field(
        (),
        description="Hosts, addresses and networks that are not public and that tables may be fetched from all the "
        "same, for example archive.internal, 10.1.0.0/16.",
    )
    upload_fetch_limit: Duration = Field(timedelta(seconds=30), description="Longest fetch of a table behind a URL.")
    request_max_bytes: int = Field(
        64 * 2**20, ge=1, description="Largest request body, bytes; also of what its URLs lead to, all together."
    )
    query_max_length: int = Field(100_000, ge=1, description="Longest ADQL text, characters.")
    sync_slots: int = Field(16, ge=1, description="Synchronous queries that run at once in one API process.")
    sync_slots_per_caller: int = Field(
        4,
        ge=0,
        description="Synchronous queries that one caller runs at once in all API processes; 0: as many as there are.",
    )
    sync_slots_on_loopback: bool = Field(
        default=False,
        description="Count the queries of callers on this machine too, who are otherwise free of that limit.",
    )
    slot_patience: Duration = Field(timedelta(seconds=5), description="How long a request waits for a free slot.")
    stall_limit: Duration = Field(
        timedelta(seconds=60), description="A client that takes nothing for so long is cut off."
    )
    query_memory: Memory = Field("64MB", description="work_mem of one query.")
    query_temp_limit: Memory = Field("4GB", description="Temporary disk space of one query, where the role may set it.")

    cutout_max_pixels_sync: int = Field(
        50_000_000, ge=1, description="Most pixels of a synchronous cutout, all planes together; more goes by job."
    )
    cutout_max_pixels: int = Field(
        250_000_000, ge=1, description="Most pixels of one cutout of a job, all planes together."
    )
    cutout_slots: int = Field(2, ge=1, description="Synchronous cutouts that are made at once in one API process.")

    # -- jobs --------------------------------------------------------------------------------------------
    worker_slots: int = Field(2, ge=1, description="Quick queries that one worker process runs at once.")
    worker_long_slots: int = Field(
        1, ge=0, description="Long queries that one worker process runs at once, beside the quick ones; 0: none."
    )
    worker_cutout_slots: int = Field(
        1, ge=0, description="Cutouts of jobs that one worker process makes at once, beside the queries; 0: none."
    )
    quick_limit: Duration = Field(
        timedelta(seconds=60),
        description="How long a quick query may run. A job that asks for no longer time limit is quick.",
    )
    quick_cost: float = Field(
        1_000_000,
        ge=0,
        description="Any other query is quick if PostgreSQL's planner expects it to cost no more than this, in its own units, of "
        "which a second takes some 100,000; or if nothing can be told before it runs.",
    )
    quick_overrun: Annotated[Literal["move", "stop"], BeforeValidator(lower)] = Field(
        "move",
        description="What becomes of a quick query that takes longer: move, it goes on among the long ones, or stop, it is aborted.",
    )
    jobs_per_owner: int = Field(4, ge=1, description="Parts of jobs of one owner that run at once in each queue.")
    queue_cap_per_owner: int = Field(100, ge=1, description="Jobs of one owner that may wait.")
    queue_cap_total: int = Field(10_000, ge=1, description="Jobs that may wait in all.")
    child_memory_bytes: int = Field(4 * 2**30, ge=1, description="Memory of one job's child process, bytes.")
    wait_cap: Duration = Field(timedelta(seconds=55), description="Longest that one WAIT blocks.")
    webhook_secret: SecretStr | None = Field(
        None,
        description="Jobs may name a URL (WEBHOOK) that is told of their end, signed with a key made from this secret and the "
        "receiving host. Unset: they may not.",
    )
    webhook_hosts: Names = Field(
        (), description="Hosts, addresses and networks that are not public and that may be told all the same."
    )
    event_streams: int = Field(
        200, ge=0, description="Clients that may watch jobs by events at once in one API process."
    )
    event_streams_per_caller: int = Field(20, ge=0, description="Of these, those of one caller.")
    lease: Duration = Field(timedelta(seconds=30), description="A worker that is silent for so long has lost its job.")
    heartbeat: Duration = Field(timedelta(seconds=10), description="How often a worker renews its leases.")
    poll_interval: Duration = Field(timedelta(seconds=5), description="How often workers look for jobs unasked.")
    results_reserve_bytes: int = Field(
        256 * 2**20, ge=0, description="No new jobs are taken when the result store has less free space."
    )
    results_timeout: Duration = Field(
        timedelta(seconds=20),
        description="Longest silence of an S3 server before a request is tried again, five times at most.",
    )
    results_delivery: Annotated[Literal["proxy", "redirect"], BeforeValidator(lower)] = Field(
        "proxy",
        description="How results in S3 reach clients: proxy, through the gateway, or redirect, by a signed URL of the S3 server.",
    )
    results_link_life: Duration = Field(
        timedelta(minutes=15), description="How long a signed URL works, at most an hour."
    )
    sidecar_max_bytes: int = Field(
        256 * 2**20,
        ge=0,
        description="Largest copy, as Parquet, that is kept beside a job's table to give it again in other formats and in "
        "parts, bytes; 0: none.",
    )
    sweep_age: Duration = Field(timedelta(hours=1), description="Age at which unreferenced results are removed.")

    # -- serving -----------------------------------------------------------------------------------------
    host: str = Field("127.0.0.1", description="Address to listen on.")
    port: int = Field(8080, ge=0, le=65535, description="Port to listen on.")
    api_processes: int = Field(1, ge=1, description="API processes.")
    base_path: str = Field("", description="Path prefix of all URLs, for example /vo.")
    log_level: Annotated[Literal["debug", "info", "warning", "error"], BeforeValidator(lower)] = Field(
        "info", description="debug, info, warning or error."
    )
    log_format: Annotated[Literal["console", "json"], BeforeValidator(lower)] = Field(
        "console", description="console or json."
    )

    @field_validator("public_base_url", "base_path")
    @classmethod
    def _no_trailing_slash(cls, value: str | None) -> str | None:
        return value.rstrip("/") if value else value

    @field_validator("public_base_url")
    @classmethod
    def _is_a_url(cls, value: str | None) -> str | None:
        if value and not re.match(r"https?://[^/]", value):
            raise ValueError("write the whole URL, for example https://archive.example.org")
        return value

    @field_validator("base_path")
    @classmethod
    def _is_a_path(cls, value: str) -> str:
        if value and not value.startswith("/"):
            raise ValueError(f"a path begins with a slash: /{value}")
        return value

    @field_validator("authority")
    @classmethod
    def _is_an_authority(cls, value: str) -> str:
        if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._~-]{2,}", value):  # IVOA Identifiers 2.0, "Authority"
            raise ValueError(
                "write three or more letters, digits, dots, hyphens and underscores, for example org.example"
            )
        return value

    @field_validator("results")
    @classmethod
    def _is_a_store(cls, value: str | None) -> str | None:
        if (
            value
            and "://" in value
            and not re.fullmatch(r"s3://[a-z0-9][a-z0-9.-]{2,62}(/[A-Za-z0-9_-][A-Za-z0-9_.-]*)*/?", value)
        ):
            raise ValueError("name a folder, or a bucket and a prefix in it as s3://bucket/prefix")
        return value

    @field_validator("results_link_life")
    @classmethod
    def _is_short(cls, value: timedelta) -> timedelta:
        if not timedelta(seconds=1) <= value <= timedelta(hours=1):
            raise ValueError("write at least a second and at most an hour, for example 15m")
        return value

    @field_validator("results_endpoint")
    @classmethod
    def _is_an_endpoint(cls, value: str | None) -> str | None:
        if value and not re.fullmatch(r"https?://[^/]+/?", value):
            raise ValueError("write the URL of the server, without a bucket, for example http://minio.internal:9000")
        return value

    @field_validator("upload_hosts", "webhook_hosts")
    @classmethod
    def _are_hosts(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for text in value:
            try:
                ip_network(text, strict=False)
            except ValueError:
                if not re.fullmatch(r"[A-Za-z0-9._-]+", text):
                    raise ValueError(
                        f"{text!r} is none; write host names, addresses and networks, for example archive.internal, "
                        "10.1.0.0/16"
                    ) from None
        return value

    @field_validator("redis_url")
    @classmethod
    def _is_redis(cls, value: SecretStr | None) -> SecretStr | None:
        if value and not value.get_secret_value().startswith(("redis://", "rediss://", "unix://")):
            raise ValueError("write redis://host:6379, rediss://host:6379 or unix:///path/of/the/socket")
        return value

    def urls(self) -> Urls:
        """Give the addresses of the databases and of Redis, all of them known.

        Raises
        ------
        ServiceError
            One is not: the caller was to hold the embedded servers and did not.
        """
        if self.database_url is None or self.redis_url is None:
            raise ServiceError("GATEWAY_DATABASE_URL or GATEWAY_REDIS_URL is unset and no embedded server was started")
        control = self.database_url.get_secret_value()
        admin = self.catalog_admin_url.get_secret_value() if self.catalog_admin_url else control
        return Urls(
            control=control,
            catalog=self.catalog_url.get_secret_value() if self.catalog_url else None,
            catalog_admin=admin,
            redis=self.redis_url.get_secret_value(),
        )

    def to_record(self) -> dict[str, Any]:
        """Give all settings as JSON values, secrets readable: for a process of our own, never for a log."""
        record = self.model_dump(mode="json")
        for name in type(self).model_fields:
            if isinstance(secret := getattr(self, name), SecretStr):
                record[name] = secret.get_secret_value()
        return record

    @property
    def home_path(self) -> Path:
        """Home folder as an absolute path."""
        return self.home.expanduser().resolve()

    @property
    def results_url(self) -> str | None:
        """Bucket and prefix of the result store, ``s3://...``; ``None``: it is a folder."""
        return self.results if self.results and self.results.startswith("s3://") else None

    @property
    def results_path(self) -> Path:
        """Folder of the result store, where it is one."""
        return Path(self.results).expanduser().resolve() if self.results else self.home_path / "results"

    @classmethod
    @override
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Read arguments first, then the environment, then the TOML file."""
        file = os.environ.get("GATEWAY_CONFIG")
        sources: tuple[PydanticBaseSettingsSource, ...] = (init_settings, env_settings)
        if not file:
            return sources
        try:
            Path(file).read_bytes()  # a file that is not there would be passed over
            return (*sources, TomlConfigSettingsSource(settings_cls, Path(file)))
        except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as e:
            raise ParameterError("GATEWAY_CONFIG", file, f"the file cannot be read: {e}") from e
