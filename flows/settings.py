"""Where Tidemark keeps its data, and the few things an operator may set, all from the environment."""

import re
from ipaddress import ip_address
from pathlib import Path
from typing import Any

from pydantic import Field, SecretStr, ValidationError, ValidationInfo, field_validator, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

# Of these DuckDB takes *, ? and [ in a path for patterns, \ for an escape of one, = for a partition, and # for the
# beginning of something else; a URL ends its path at ?. Each was tried.
NOT_IN_A_HOME = "*?[\\=#"
# As DuckDB takes it, but for a share of the machine's memory, which it does not take everywhere.
MEMORY = re.compile(r"(\d+\.?\d*|\.\d+)\s*(?:(k|m|g|t)(i?)b?|b|bytes?)", re.IGNORECASE)
UNLIMITED = ("-1", "none")
LEAST_MEMORY = 64_000_000
STORE_URL = re.compile(r"s3://[a-z0-9][a-z0-9.-]+[a-z0-9](/[A-Za-z0-9_-][A-Za-z0-9._-]*)*")
HOST = re.compile(r"[A-Za-z0-9]([A-Za-z0-9-]*[A-Za-z0-9])?(\.[A-Za-z0-9]([A-Za-z0-9-]*[A-Za-z0-9])?)*")


PROJECT = Path(__file__).resolve().parents[1]


class Settings(BaseSettings):
    """Settings, each from the environment variable ``TIDEMARK_<NAME>``."""

    model_config = SettingsConfigDict(env_prefix="TIDEMARK_", frozen=True)

    home: Path = Field(Path("data"), description="The folder that holds lake, warehouse, publications and secrets.")
    settle_seconds: float = Field(
        5.0,
        ge=0,
        le=86_400,
        allow_inf_nan=False,
        description="Seconds that a file in the inbox must be unchanged to land, unless it was renamed into place.",
    )
    pseudonym_key: SecretStr | None = Field(
        None,
        description="The secret of the pseudonyms, 32 characters at least; where unset, it is in the file "
        "`secrets/pseudonym.key` below the home.",
    )
    pseudonym_key_next: SecretStr | None = Field(
        None,
        description="While the key is changed by `tidemark keys rotate`: the secret that comes after that of "
        "TIDEMARK_PSEUDONYM_KEY, where that is set.",
    )
    master_key: SecretStr | None = Field(
        None,
        description="The secret that locks what is encrypted, 32 characters at least; where unset, it is in the file "
        "`secrets/master.key` below the home.",
    )
    key_command: str | None = Field(
        None,
        repr=False,
        description="A command that prints a secret, as that of a key store does; it gets `pseudonym`, `master` or, "
        "while the key is changed, `pseudonym_next` as its last argument. Used where the variable of that secret is "
        "unset.",
    )
    keep_versions: int = Field(7, ge=2, description="How many published versions are kept.")
    keep_hours: float = Field(
        24,
        ge=0,
        le=1_000_000,
        allow_inf_nan=False,
        description="Hours that a published version is kept at least, for readers that have it open.",
    )
    published_url: str | None = Field(
        None,
        description="Where each publication is sent to as well, on an S3-compatible store, such as "
        "`s3://bucket/prefix`; its endpoint and credentials are those of AWS's variables.",
    )
    landed_url: str | None = Field(
        None,
        description="Where what landed is sent to as well, on an S3-compatible store, such as `s3://bucket/prefix`; to "
        "be read there, and restored from there. Its endpoint and credentials are those of AWS's variables.",
    )
    group_internal: str | None = Field(
        None,
        description="The group of users who may read what is published as internal; where unset, that of restricted, "
        "or nobody but the user that Tidemark runs as.",
    )
    group_restricted: str | None = Field(
        None,
        description="The group of users who may read what is published as restricted; where unset, nobody but the user "
        "that Tidemark runs as.",
    )
    threads: int = Field(2, ge=1, le=1024, description="Threads for landing and for DuckDB.")
    memory_limit: str = Field("4GB", description="Memory that DuckDB may use while building, such as `512MB`.")
    channels: Path = Field(
        description="Says where each owner's alerts go; where unset, the file `secrets/channels.yml` below the home."
    )

    extracts: Path = Field(
        description="The folder that says what is extracted from where; where unset, `extracts` of the project."
    )

    @model_validator(mode="before")
    @classmethod
    def _with_files_in_place(cls, given: dict[str, Any]) -> dict[str, Any]:
        home = given.get("home", cls.model_fields["home"].default)
        return {"channels": Path(home) / "secrets" / "channels.yml", "extracts": PROJECT / "extracts", **given}

    server_host: str = Field(
        "127.0.0.1", description="The address on which Prefect's server listens; it asks for no password."
    )
    server_port: int = Field(4200, ge=1, le=65535, description="The port on which Prefect's server listens.")
    site: bool = Field(True, description="Whether boards and pages are made after each publication.")
    site_port: int = Field(4201, ge=1, le=65535, description="The port on which the site is served, beside Prefect's.")
    watch_seconds: float = Field(
        30.0,
        ge=1,
        le=3600,
        allow_inf_nan=False,
        description="Seconds between two looks of the watcher at what is due, late or wrong.",
    )
    tidy_seconds: float = Field(
        600.0,
        ge=1,
        le=86_400,
        allow_inf_nan=False,
        description="Seconds between two looks of the watcher for flow runs whose process is gone.",
    )
    begin_seconds: float = Field(
        120.0,
        ge=1,
        le=86_400,
        allow_inf_nan=False,
        description="Seconds that a flow run may take to begin; an older one without a process is marked as crashed.",
    )

    @field_validator("home", "channels", "extracts", mode="before")
    @classmethod
    def _path(cls, given: Any, info: ValidationInfo) -> Any:
        path = str(given)
        if not path.strip():
            raise ValueError("it is empty; give a path, or leave it unset")
        if path.startswith("~"):
            raise ValueError("~ is not expanded here; write the whole path, or $HOME in the shell")
        if any(not character.isprintable() for character in path):
            raise ValueError("it holds a line break, a control character or bytes that are not UTF-8; choose another")
        return given

    @field_validator("home")
    @classmethod
    def _home(cls, home: Path) -> Path:
        try:
            paths = (str(home.absolute()), str(home.resolve()))
        except (OSError, RuntimeError) as error:
            raise ValueError(f"it cannot be followed: {error}") from None
        for path in paths:
            if found := sorted({*path} & {*NOT_IN_A_HOME}):
                raise ValueError(
                    f"the path {path} has {' and '.join(found)} in it, which means something else to DuckDB; choose a "
                    f"home without {' '.join(NOT_IN_A_HOME)}"
                )
            if any(not character.isprintable() for character in path):
                raise ValueError("the folder it is in has a line break or a control character in its path")
        return home

    @field_validator("published_url", "landed_url")
    @classmethod
    def _url(cls, url: str | None) -> str | None:
        # Views name it, in which DuckDB takes other characters for patterns or the beginning of something else.
        if url is None:
            return None
        if not STORE_URL.fullmatch(url.rstrip("/")):
            raise ValueError("write s3://BUCKET or s3://BUCKET/PREFIX, in letters, digits, - _ . and /")
        return url.rstrip("/")

    @field_validator("memory_limit")
    @classmethod
    def _memory(cls, text: str) -> str:
        text = text.strip()
        if text.lower() in UNLIMITED:
            return text
        found = MEMORY.fullmatch(text)
        if found is None:
            raise ValueError("it must be a number and a unit, as in 8GB, 512MB or 1.5GiB")
        number, unit, is_binary = found.groups()
        power = " kmgt".index((unit or " ").lower())
        if float(number) * (1024 if is_binary else 1000) ** power < LEAST_MEMORY:
            raise ValueError("DuckDB cannot work with less than 64MB")
        return text

    @field_validator("server_host")
    @classmethod
    def _host(cls, host: str) -> str:
        try:
            ip_address(host)
        except ValueError:
            # Numbers and dots alone are meant as an address.
            if not HOST.fullmatch(host) or re.fullmatch(r"[\d.]+", host):
                raise ValueError("it must be an address or a host's name, without a port, such as 127.0.0.1") from None
        return host

    @property
    def lake(self) -> Path:
        """Inbox, landed zone and quarantine."""
        return self.home / "lake"

    @property
    def inbox(self) -> Path:
        """Extracts as delivered: ``<source>/<dataset>/**/*.<format>[.gz|.zst]``."""
        return self.lake / "inbox"

    @property
    def landed(self) -> Path:
        """The source of truth: a folder per dataset and batch."""
        return self.lake / "landed"

    @property
    def quarantine(self) -> Path:
        """Rows that did not fit the contract, as they came. May hold personal data: readable by its owner only."""
        return self.lake / "quarantine"

    @property
    def text(self) -> Path:
        """Free text of the landed rows, redacted and encrypted: readable by its owner only."""
        return self.lake / "text"

    @property
    def day_keys(self) -> Path:
        """The keys that encrypt text and quarantine, one a day, locked with the master key."""
        return self.lake / "keys"

    @property
    def warehouse(self) -> Path:
        """The DuckDB file that dbt builds in: disposable, one writer."""
        return self.home / "warehouse" / "tidemark.duckdb"

    @property
    def published(self) -> Path:
        """Published versions and the ``current`` link."""
        return self.home / "published"

    @property
    def releases(self) -> Path:
        """What `tidemark deploy` deployed, and the link ``current`` to the active one."""
        return self.home / "releases"

    @property
    def jobs(self) -> Path:
        """What the jobs did, and the incidents they met."""
        return self.home / "jobs"

    @property
    def logs(self) -> Path:
        """The logs of the server, the worker and the watcher."""
        return self.home / "logs"

    @property
    def sockets(self) -> Path:
        """The sockets and process ids of what `tidemark serve` started; for its owner only."""
        return self.home.resolve() / "run"

    @property
    def warm_socket(self) -> Path:
        """Where :mod:`flows.orchestrate.service.prefork.host` listens."""
        return self.sockets / "warm.sock"

    def key_file(self, name: str) -> Path:
        """A secret's own file, where neither environment nor command gives it: of the name that `flows/keys.py` has."""
        return self.home / "secrets" / f"{name}.key"

    @property
    def incidents(self) -> Path:
        """Open and past incidents, and what was sent of them: SQLite."""
        return self.home / "jobs" / "incidents.sqlite"


def explain(error: ValidationError) -> list[str]:
    """What is wrong with which setting, a line each."""
    # What is below a home that cannot be is no fault of its own.
    faults = [fault for fault in error.errors() if fault["loc"] == ("home",)] or error.errors()
    return [
        f"TIDEMARK_{'_'.join(str(part) for part in fault['loc']).upper()} is {_shown(str(fault['input']))!r}: "
        f"{fault['msg'].removeprefix('Value error, ')}"
        for fault in faults
    ]


def _shown(given: str) -> str:
    """A value without what stands before the host of a URL, which may be a password."""
    return re.sub(r"(?<=://)[^/@]*(/[^@]*)?@", "***@", given)
