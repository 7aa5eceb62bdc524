"""Where Tidemark keeps its data, and the few things an operator may set, all from the environment."""

from pathlib import Path
from typing import Any

from pydantic import Field, SecretStr, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict


class Settings(BaseSettings):
    """Settings, each from the environment variable ``TIDEMARK_<NAME>``."""

    model_config = SettingsConfigDict(env_prefix="TIDEMARK_", frozen=True)

    home: Path = Field(Path("data"), description="The folder that holds the lake, warehouse and publications.")
    settle_seconds: float = Field(
        5.0, ge=0, description="Seconds an inbox file must be unchanged, unless it was renamed into place."
    )
    pseudonym_key: SecretStr | None = Field(
        None, description="The secret of the keyed hashes; a file below home/secrets/ where unset."
    )
    keep_versions: int = Field(7, ge=2, description="How many published versions are kept.")
    keep_hours: float = Field(24, ge=0, description="Hours a published version is kept at least, for its readers.")
    threads: int = Field(2, ge=1, description="Threads DuckDB uses.")
    memory_limit: str = Field("8GB", description="Memory DuckDB may use while building.")
    channels: Path = Field(
        description="Says where each owner's alerts go, and holds secrets; a file below home/secrets/ where unset."
    )

    @model_validator(mode="before")
    @classmethod
    def _channels_below_home(cls, given: dict[str, Any]) -> dict[str, Any]:
        home = given.get("home", cls.model_fields["home"].default)
        return {"channels": Path(home) / "secrets" / "channels.yml", **given}

    server_host: str = Field("127.0.0.1", description="The address Prefect's server listens on; it asks no password.")
    server_port: int = Field(4200, ge=1, le=65535, description="The port of Prefect's server on this machine.")

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
    def warehouse(self) -> Path:
        """The DuckDB file that dbt builds in: disposable, one writer."""
        return self.home / "warehouse" / "tidemark.duckdb"

    @property
    def published(self) -> Path:
        """Published versions and the ``current`` link."""
        return self.home / "published"

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
        """Where :mod:`flows.service.warm` listens."""
        return self.sockets / "warm.sock"

    @property
    def key_file(self) -> Path:
        """The pseudonymisation secret, where the environment does not give it."""
        return self.home / "secrets" / "pseudonym.key"

    @property
    def incidents(self) -> Path:
        """Open and past incidents, and what was told of them: SQLite."""
        return self.home / "jobs" / "incidents.sqlite"
