"""People of a lake, and what tests ask of a takeout."""

import csv
import json
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any
from uuid import UUID

from flows.land.pseudonyms import Pseudonymiser
from flows.privacy.takeout import Takeout
from tests.support.deliveries import ABSENT, event
from tests.support.lake import KEY

Export = Callable[..., tuple[Takeout, Path]]
Row = dict[str, Any]


def account(account_id: str, user_id: str, **more: Any) -> Row:
    return {"account_id": account_id, "user_id": user_id, "updated_at": "2026-01-01T00:00:00Z"} | more


def consent(number: int, **said: Any) -> Row:
    """A record that consent to analytics was withdrawn, by whom ``said`` names."""
    return {
        "consent_id": f"0191f3c2-8a44-7c1e-9d3c-{number:012x}",
        "purpose": "analytics",
        "is_granted": False,
        "valid_from": "2026-01-01T00:00:00Z",
        "received_at": "2026-01-01T00:00:01Z",
    } | said


def seen(number: int, device: str, user: str | None, **more: Any) -> Row:
    return event(number, device_id=device, user_id=user or ABSENT, **more)


def key_of(kind: str, id_: str) -> UUID:
    return UUID(bytes=Pseudonymiser(KEY.encode()).one(f"{kind}_key", id_))


def sheet(folder: Path, name: str) -> list[dict[str, str]]:
    with (folder / f"{name}.csv").open(newline="") as file:
        return [*csv.DictReader(file)]


def document(folder: Path) -> Any:
    return json.loads((folder / "person.json").read_text())


def places(rows: Iterable[Row]) -> set[tuple[int, int]]:
    return {(int(row["_batch_id"]), int(row["_line"])) for row in rows}
