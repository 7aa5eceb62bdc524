"""The lake of another home, lent to a developer's: read where it is, over the last days, and never written to.

What was built of it stays in the developer's warehouse. So the lake's home notes to whom it is lent, and where a person
is erased there, or the key of pseudonyms changed, these warehouses are deleted. Where rows are removed otherwise, that
warehouse is deleted before anything else is done with it.
"""

import json
import shutil
from collections.abc import Mapping
from contextlib import closing
from dataclasses import dataclass
from datetime import date
from pathlib import Path

import duckdb
from filelock import FileLock

from flows.build.warehouse import has_table, last_batch, open_warehouse
from flows.errors import TidemarkError
from flows.files import replace_private
from flows.land.field_sql import literal
from flows.land.file_index import FileInForce
from flows.land.receipts import Receipts
from flows.rights import make_private
from flows.settings import Settings

FILE = "lent.json"
# Below the home whose lake it is: the homes that it is lent to.
LENT_TO = "lent_to.json"
# As what, the publication beside the lake is attached to the developer's warehouse.
PUBLISHED = "published"
# A day with fewer than this share of the rows of the fullest day does not count as one of the last: clocks of devices
# that run ahead make such days.
LEAST_SHARE = 0.01


@dataclass(frozen=True)
class Lent:
    """Whose lake it is, and how many of its last days are read."""

    home: Path
    days: int

    @property
    def settings(self) -> Settings:
        """Of the home whose lake it is."""
        return Settings(home=self.home)

    @property
    def publication(self) -> Path:
        """The folder of what its readers see now."""
        return self.settings.published / "current"


def read_lent(settings: Settings) -> Lent | None:
    """Whose lake a home reads; None where it has its own."""
    try:
        given = json.loads((settings.home / FILE).read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    return Lent(Path(given["home"]), int(given["days"]))


def lend(settings: Settings, lent: Lent) -> None:
    """Let a home read that lake from now on.

    Raises :class:`TidemarkError` where that cannot be noted with the lake: nobody would know whom to take it from.
    """
    make_private(settings.home)
    noted = lent.home / LENT_TO
    try:
        with FileLock(noted.with_suffix(".lock")):
            homes = {*_lent_to(noted), str(settings.home.absolute())}
            replace_private(noted, json.dumps(sorted(homes)).encode())
    except OSError as error:
        raise TidemarkError(f"{noted} cannot be written, where it is noted who reads that lake: {error}") from error
    text = json.dumps({"home": str(lent.home.absolute()), "days": lent.days})
    replace_private(settings.home / FILE, text.encode())


def delete_what_was_lent(settings: Settings) -> list[Path]:
    """Delete every warehouse that was made of this home's lake; returns those that were there.

    Who has one open keeps what is open. A home that has another lake by now is left alone. Raises
    :class:`TidemarkError` where it cannot be read whom the lake was lent to.
    """
    noted = settings.home / LENT_TO
    deleted = []
    for home in map(Path, _lent_to(noted)):
        own = Settings(home=home)
        if read_lent(own) and own.warehouse.exists():
            delete_warehouse(own)
            deleted.append(own.warehouse)
    return deleted


def _lent_to(noted: Path) -> list[str]:
    try:
        return [str(home) for home in json.loads(noted.read_text(encoding="utf-8"))]
    except FileNotFoundError:
        return []
    except ValueError as error:
        raise TidemarkError(
            f"{noted}, which names the developers' homes that read this lake, is damaged: delete these homes "
            "(`target/dev` of their clones) and the file"
        ) from error


def refuse_removed(settings: Settings, lent: Lent) -> None:
    """Delete the warehouse where rows that it may hold were removed from the lake later, and raise what to do."""
    if not settings.warehouse.exists():
        return
    with open_warehouse(settings, read_only=True) as warehouse:
        if not has_table(warehouse, "landed", "landed_files") or not (known := last_batch(warehouse)):
            return
        (first,) = warehouse.execute("select min(event_date) from landed.landed_files").fetchone() or (None,)
    with closing(Receipts(lent.settings, read_only=True)) as receipts:
        days = [rows.event_date for receipt in receipts.after(known) for rows in receipt.removed]
    # What ended with its time was of days that were not read.
    if any(day is None or first is None or day >= first for day in days):
        delete_warehouse(settings)
        raise TidemarkError(
            f"rows were removed from the lake {lent.settings.lake} since {settings.warehouse} was made of it, as "
            "when a person is erased: that warehouse is deleted; `tidemark dev` makes it again"
        )


def delete_warehouse(settings: Settings) -> None:
    """Delete a warehouse with all that DuckDB keeps beside it. Who has it open keeps what is open."""
    for path in settings.warehouse.parent.glob(f"{settings.warehouse.name}*"):
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink()


def last_days(files: list[FileInForce], days: int) -> list[FileInForce]:
    """The files of the last days that have rows worth the name, and of any after."""
    rows: dict[date, int] = {}
    for file in files:
        if file.event_date:
            rows[file.event_date] = rows.get(file.event_date, 0) + file.rows
    least = LEAST_SHARE * max(rows.values(), default=0)
    full = sorted((day for day, number in rows.items() if number >= least), reverse=True)[:days]
    return [file for file in files if file.event_date is None or not full or file.event_date >= full[-1]]


def point_at(warehouse: duckdb.DuckDBPyConnection, lent: Lent, files: Mapping[str, list[FileInForce]]) -> None:
    """Let what was entered name files where they are, and nothing that is not read: days before, and quarantine."""
    lake = literal(f"{lent.settings.lake.absolute()}/")
    warehouse.execute(
        f"update landed.landed_files set path = {lake} || path where path <> '' and not starts_with(path, '/')"
    )
    for dataset, read in files.items():
        days = [file.event_date for file in read if file.event_date]
        if days:
            warehouse.execute(
                "delete from landed.landed_files where dataset = ? and event_date < ?", [dataset, min(days)]
            )
    warehouse.execute("update landed.landings set rejects_path = null where rejects_path is not null")
