"""A PostgreSQL, and declarations of what is extracted from it."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from flows.settings import Settings
from tests.support.databases import Postgres, served_postgres
from tests.support.lake import Lake

Declare = Callable[..., Settings]
VARIABLE = "TEST_CRM_URL"
ACCOUNTS = {
    "table": "@.accounts",
    "columns": {
        "id": {"type": "bigint", "to": "account_id"},
        "user_id": "text",
        "changed_at": {"type": "timestamp with time zone", "to": "updated_at"},
    },
    "cursor": "changed_at",
    "overlap": 0,
}
CREATE = """
create table @.accounts (id bigint primary key, user_id text not null, changed_at timestamptz);
insert into @.accounts select i, 'u-' || i, now() - make_interval(mins => {0} - i) from generate_series(1, {0}) i
"""


@pytest.fixture(scope="session")
def postgres_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with served_postgres(tmp_path_factory.mktemp("pg")) as url:
        yield url


@pytest.fixture
def postgres(postgres_url: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Postgres]:
    made = Postgres(postgres_url)
    monkeypatch.setenv(VARIABLE, postgres_url)
    yield made
    made.close()


@pytest.fixture
def declare(lake: Lake, postgres: Postgres, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Declare:
    """Declare the source crm with these tables; the settings of the lake that it is extracted into."""

    def made(**tables: dict[str, Any]) -> Settings:
        folder = tmp_path / "extracts"
        folder.mkdir(exist_ok=True)
        read = {"connection": {"kind": "postgres", "url_from": VARIABLE}, "extracts": tables}
        text = yaml.safe_dump(read, sort_keys=False).replace("@", postgres.schema)
        (folder / "crm.yml").write_text(text)
        monkeypatch.setenv("TIDEMARK_EXTRACTS", str(folder))
        monkeypatch.setenv("TIDEMARK_HOME", str(lake.settings.home))
        return lake.settings.model_copy(update={"extracts": folder})

    return made


def files(settings: Settings, dataset: str = "accounts") -> list[Path]:
    return sorted((settings.inbox / "crm" / dataset).glob("extract-*/*.parquet"))
