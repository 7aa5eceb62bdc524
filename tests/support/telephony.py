"""A telephony's calls: rows of an API for tests, and the source that is declared of it."""

from collections import Counter
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import yaml

from flows.extract.api.rest import deliver
from flows.extract.declared import load_declared
from flows.extract.delivery import Delivered
from flows.settings import Settings
from tests.support.apis import Api
from tests.support.lake import Lake

BEGAN = datetime(2026, 1, 15, 10, tzinfo=UTC)
CURSOR_PAGES = {"kind": "cursor", "next": "meta.next_cursor", "parameter": "cursor"}
PAGES = {"kind": "page", "parameter": "page"}
OFFSETS = {"kind": "offset", "parameter": "offset", "size_parameter": "limit", "size": 4}
CALLS: dict[str, Any] = {
    "path": "calls",
    "parameters": {"status": "finished"},
    "rows": "data",
    "columns": {
        "id": {"type": "string", "to": "call_id"},
        "about.advert": {"type": "string | integer", "to": "advert_id"},
        "started_at": "string",
        "seconds": {"type": "number", "to": "duration_seconds"},
        "text": {"type": "string | null", "to": "transcript"},
        "updated_at": {"type": "string", "to": "channel"},
    },
    "ignored": ["links"],
    "paging": CURSOR_PAGES,
}
BY_CURSOR = {"cursor": "updated_at", "since": "updated_since", "overlap": "1 min"}
BEARER = {"kind": "bearer", "token_from": "TEST_API_TOKEN"}


LINKS: dict[str, Any] = {"kind": "link"}
VARIED = {"kind": "page", "parameter": "page", "size_parameter": "per_page", "size": 20}


OAUTH = {
    "kind": "oauth",
    "token_url_from": "TEST_TOKEN_URL",
    "client_id_from": "TEST_CLIENT",
    "client_secret_from": "TEST_SECRET",
    "scope": "calls.read",
}


def call(number: int, **more: Any) -> dict[str, Any]:
    at = (BEGAN + timedelta(minutes=number)).isoformat().replace("+00:00", "Z")
    row = {"id": f"c-{number}", "about": {"advert": f"a-{number}"}, "started_at": at, "seconds": 60, "updated_at": at}
    return row | {"links": {"self": "x"}} | more


class Declared:
    """The source telephony as it is declared, and what it delivers into a lake."""

    def __init__(self, lake: Lake, folder: Path) -> None:
        self.settings: Settings = lake.settings.model_copy(update={"extracts": folder})
        self.notes: list[str] = []

    def write(self, auth: Any = BEARER, timeout: float = 20, **extracts: Any) -> "Declared":
        connection = {"kind": "api", "url_from": "TEST_API_URL", "timeout": timeout} | ({"auth": auth} if auth else {})
        text = yaml.safe_dump({"connection": connection, "extracts": extracts}, sort_keys=False)
        self.settings.extracts.mkdir(exist_ok=True)
        (self.settings.extracts / "telephony.yml").write_text(text)
        return self

    def run(self, *datasets: str) -> list[Delivered]:
        """In this process, without further tries of the whole."""
        declared = load_declared(self.settings.extracts).one("telephony")
        return [*deliver(self.settings, declared, datasets or [*declared.source.extracts], self.notes.append)]

    def files(self, dataset: str = "calls") -> list[Path]:
        return sorted((self.settings.inbox / "telephony" / dataset).glob("extract-*/*.parquet"))

    def rows(self, dataset: str = "calls") -> list[dict[str, Any]]:
        return [row for path in self.files(dataset) for row in pq.read_table(path).to_pylist()]

    def ids(self) -> Counter[str]:
        return Counter(row["call_id"] for row in self.rows())

    def leftovers(self) -> list[Path]:
        return [*self.settings.inbox.glob("telephony/*/*/.*")]


def all_of(api: Api) -> Counter[str]:
    return Counter(row["id"] for row in api.lists["calls"])
