"""Make the sample lake: what four products might deliver in some days, dirt included, the same on every run.

    lake/inbox/web/events/2026-01-15/part-0001.ndjson.gz    events of browsers: NDJSON (.gz, .zst or plain)
    lake/inbox/apps/events/2026-01-15/part-0001.pb          of apps: length-delimited Protobuf (plain or .zst)
    lake/inbox/cms/contents/2026-01-15.csv                  and crm/accounts
    lake/inbox/market/adverts/2026-01-15.parquet            and telephony/calls
    lake/inbox/cmp/consents/2026-01-15.ndjson               on days on which there were any
    sample/manifest.json                                    the parameters, and every file with its SHA-256
    sample/truth.json                                       what really happened; no model reads it

A day is a day in Stockholm; a folder's day is the day the collector received the events. `sample_sql` makes
the events, `sample_wire` their copies and dirt, `sample_tables` the tables; `sample_files` writes them down.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import asdict, dataclass, field
from pathlib import Path
from threading import Lock
from typing import Any

import duckdb
import pyarrow as pa

from flows.contract.spec import OWN_SOURCE, load_specs
from flows.errors import TidemarkError
from flows.files import sha256
from flows.rights import make_inbox
from flows.sample import calls, consents, files, people_sql, tables, wire
from flows.sample import events_sql as sql
from flows.sample.days import Day, blocks_of, calendar_of, hours_of
from flows.sample.values import Values

# Raised when the same parameters come to mean other bytes, so that an older sample is made again.
VERSION = 2

SHARE = {
    "retry": 0.01,
    "late": 0.005,
    "clock_off": 0.003,
    "bot": 0.004,
    "unknown": 0.002,
    "malformed": 0.0005,
    "missing": 0.0005,
    "wrong_type": 0.0005,
    "unreadable": 0.0001,
}
"""How much dirt there is, and of what.

| dirt       | share of          | what it is                                                             |
| ---------- | ----------------- | ---------------------------------------------------------------------- |
| retry      | events            | sent again: same event_id and occurred_at, later sent_at, received_at  |
| late       | events            | received 6 hours to 5 days after it happened, in that later day's file |
| clock_off  | devices           | occurred_at and sent_at an hour fast or slow                           |
| bot        | web devices       | a user agent that names a robot                                        |
| unknown    | rows              | a field not in the contract: "experiment" in JSON, 99 in Protobuf      |
| malformed  | web events        | an additional line, cut short                                          |
| missing    | events            | an additional row without event_id, received_at, product or device_id  |
| wrong_type | web events        | an additional row with "lots", "first" or "yesterday" as a value       |
| unreadable | app events        | an additional record whose bytes do not decode                         |
| (file)     | see `FILES_TWICE` | a whole file delivered again under another name                        |

Nothing is received after the lake's last day, so the last days have fewer late events and retries.
"""

LATE_MS = (6 * 3_600_000, 120 * 3_600_000)
RETRY_MS = (30_000, 600_000)

# Every this many days, from the first, the first file of a source's day comes twice.
FILES_TWICE = {"web": 15, "apps": 20}

# How a source's files are written, day by day in turn.
ENDINGS = {
    "web": (".ndjson.gz", ".ndjson.gz", ".ndjson", ".ndjson.gz", ".ndjson.zst", ".ndjson.gz", ".ndjson.gz"),
    "apps": (".pb", ".pb", ".pb.zst"),
}

ROWS_PER_FILE = 200_000

# Threads of a statement: one, as one block's statements run beside the last block's.
THREADS = 1


class SampleConflict(TidemarkError):
    """The home holds a sample lake of other parameters."""


@dataclass(frozen=True)
class SampleResult:
    """What was written, or what was found in place (`skipped`).

    `delivered_rows` are the rows of the events' files, those of a file that came twice counted twice; `dirt`
    counts them once. Its keys are those of `wire.DIRT`, and what is known of files and devices.
    """

    files: int
    bytes: int
    delivered_rows: int
    distinct_events: int
    table_rows: dict[str, int] = field(default_factory=dict)
    dirt: dict[str, int] = field(default_factory=dict)
    skipped: bool = False
    lacking: tuple[str, ...] = ()
    """Events and datasets that the contract has by now and the sample found in place has not."""


def generate(
    home: Path, events: int, days: int, seed: int, *, progress: Callable[[str], None] = lambda _: None
) -> SampleResult:
    """Write the sample lake of `events` distinct well-formed events on `days` days below `home`.

    The same parameters give the same bytes. Where all files are in place nothing is done; where some are
    missing, all are written again (with the bytes they had). `progress` hears a line about each day.

    Raises:
        ValueError: `events` or `days` is less than 1.
        SampleConflict: `home` holds a sample of other parameters.
    """
    if events < 1 or days < 1:
        raise ValueError(f"A sample needs at least one event and one day, not {events} and {days}.")
    parameters = {"events": events, "days": days, "seed": seed, "version": VERSION}
    found = _manifest(home)
    if found is not None:
        _refuse_other_parameters(home, found["parameters"], parameters)
        if found["is_complete"] and all((home / name).exists() for name in found["files"]):
            lacking = tuple(name for name in _holds() if name not in found.get("holds", _holds()))
            return SampleResult(**{**found["result"], "skipped": True, "lacking": lacking})
    # Written first, so that a run that is cut off still protects what it has made from other parameters.
    if found is None:
        _write_json(_manifest_path(home), {"parameters": parameters, "is_complete": False, "files": {}})
    make_inbox(home / "lake" / "inbox")
    return _Maker(home, parameters, progress).make()


def _holds() -> list[str]:
    """The events and datasets of the contract, all of which a sample made now would hold."""
    specs = load_specs()
    return [*specs["events"].payloads, *(spec.name for spec in specs.values() if spec.source != OWN_SOURCE)]


def _manifest_path(home: Path) -> Path:
    return home / "sample" / "manifest.json"


def _manifest(home: Path) -> dict[str, Any] | None:
    path = _manifest_path(home)
    return dict(json.loads(path.read_text())) if path.exists() else None


def _refuse_other_parameters(home: Path, there: dict[str, int], asked: dict[str, int]) -> None:
    if there == asked:
        return
    described = ", ".join(f"{name} {value}" for name, value in there.items())
    wanted = ", ".join(f"{name} {value}" for name, value in asked.items())
    raise SampleConflict(
        f"{home} already holds a sample lake of {described}; asked for: {wanted}. "
        f"Ask for the same again, choose another home (TIDEMARK_HOME), or delete {home} to start over."
    )


def _write_json(path: Path, content: dict[str, Any]) -> None:
    files.publish(path, json.dumps(content, indent=1, ensure_ascii=False).encode() + b"\n")


class _Maker:
    """One run: the made-up world in a DuckDB of its own, and the files written so far."""

    def __init__(self, home: Path, parameters: dict[str, int], progress: Callable[[str], None]) -> None:
        self.home = home
        self.parameters = parameters
        self.progress = progress
        self.days = calendar_of(parameters["events"], parameters["days"])
        self.lake_end_ms = self.days[-1].end_ms
        self.people = max(40, parameters["events"] // 40)
        self.connection = duckdb.connect(config={"threads": THREADS})
        self.specs = load_specs()
        self.values = Values(self.connection)
        self.wire = wire.Wire(self.specs["events"], self.values)
        self.others = [payload for payload in self.specs["events"].payloads if payload not in wire.PAYLOADS]
        self.extracts: list[tables.Extract] = []
        self.encoder = files.EventEncoder()
        self.lock = Lock()
        self.written: dict[str, str] = {}
        self.bytes = 0
        self.rows: Counter[str] = Counter()
        self.dirt: Counter[str] = Counter()
        self.topics: dict[str, str] = {}

    def make(self) -> SampleResult:
        """Write every file, the truth, and last the manifest.

        While a block's files are written, the next block's events are made.
        """
        self._make_world()
        # Made values name things of the world, so it comes first.
        self.extracts = tables.extracts(self.specs, self.values)
        writing: list[Future[None]] = []
        with ThreadPoolExecutor(max_workers=2) as pens:
            for number, days in enumerate(blocks_of(self.days)):
                self._make_block(number, days)
                self._await(writing)
                if number > 0:
                    self._run(f"drop view delivered_{number - 1}", f"drop table copies_{number - 1}")
                counts = self._count(number)
                writing = [
                    pens.submit(self._write_events, number, counts, "web", self.wire.lines(number)),
                    pens.submit(self._write_events, number, counts, "apps", self.wire.records(number)),
                ]
                self._write_tables(number, days)
            self._await(writing)
        self._write_truth()
        return self._finish()

    def _await(self, writing: list[Future[None]]) -> None:
        for future in writing:
            future.result()

    def _run(self, *statements: str) -> None:
        for statement in statements:
            self.connection.execute(statement)

    def _make_world(self) -> None:
        """People with devices, contents, adverts, accounts: what lasts longer than a day."""
        number = len(self.days)
        initial_contents = min(max(self.parameters["events"] // 1000, 150), 4000)
        initial_adverts = min(max(self.parameters["events"] // 1000, 200), 4000)
        self._run(
            *sql.macros(self.parameters["seed"]),
            people_sql.devices(self.people, SHARE["clock_off"], SHARE["bot"]),
            people_sql.DEVICES_AS_JSON,
            people_sql.PEOPLE,
            wire.NO_ONE_WAITS,
            "create table days (day bigint, start_ms bigint, end_ms bigint, events bigint)",
            "create table hours (day bigint, low double, start_ms bigint, quarter bigint)",
            calls.PHRASES_TABLE,
        )
        self._insert("days", [(day.number, day.start_ms, day.end_ms, day.events) for day in self.days])
        self._insert("hours", [hour for day in self.days for hour in hours_of(day)])
        self._insert("phrases", [(number, *topic) for number, topic in enumerate(calls.PHRASES.items())])
        self._run(
            tables.contents(initial_contents, max(6, initial_contents // 80), number),
            tables.CONTENT_VERSIONS,
            tables.adverts(initial_adverts, max(4, initial_adverts // 40), number),
            tables.ADVERT_VERSIONS,
            people_sql.account_versions(self.people, number),
            consents.records(number, self.lake_end_ms, LATE_MS),
        )

    def _insert(self, table: str, rows: list[tuple[Any, ...]]) -> None:
        columns = [list(column) for column in zip(*rows, strict=True)]
        lists = ", ".join("unnest(?)" for _ in columns)
        self.connection.execute(f"insert into {table} select {lists}", columns)

    def _make_block(self, number: int, days: list[Day]) -> None:
        """The days' events, the calls they led to, and what of all events was delivered on those days."""
        self._run(
            f"create or replace table block as from days where day between {days[0].number} and {days[-1].number}",
            tables.DAY_CONTENTS,
            tables.DAY_CONTENT_COUNTS,
            tables.DAY_ADVERTS,
            tables.DAY_ADVERT_COUNTS,
            sql.VISITS,
            sql.PAGES,
            sql.impressions(),
            sql.chosen_pages(self.lake_end_ms),
            sql.events(self.lake_end_ms, self.others),
            wire.copies(number, self.lake_end_ms, SHARE, LATE_MS, RETRY_MS),
            *wire.delivered(number, days[-1].end_ms),
            calls.CALLS.format(block=number),
        )

    def _count(self, number: int) -> list[dict[str, int]]:
        """What was delivered on each day."""
        counted = self.connection.sql(wire.COUNTS.format(block=number))
        counts = [dict(zip(counted.columns, row, strict=True)) for row in counted.fetchall()]
        for of_day in counts:
            self.rows.update(of_day)
        return counts

    def _write_events(self, number: int, counts: list[dict[str, int]], source: str, query: str) -> None:
        """One source's files of a block, by a connection of its own: one serves one thread at a time."""
        with self.connection.cursor() as cursor:
            rows = cursor.execute(query).to_arrow_table()
        start = 0
        for of_day in counts:
            end = start + of_day[f"{source}_rows"]
            for part, first in enumerate(range(start, end, ROWS_PER_FILE), start=1):
                of_part = rows.slice(first, min(ROWS_PER_FILE, end - first))
                self._write_part(self.days[of_day["day"]], source, part, of_part)
            start = end

    def _write_part(self, day: Day, source: str, part: int, rows: pa.Table) -> None:
        ending = ENDINGS[source][day.number % len(ENDINGS[source])]
        folder = self._inbox(source, "events") / day.date.isoformat()
        # One batch, one write: where DuckDB cuts its results must not show in the compressed bytes.
        batch = rows.combine_chunks().to_batches()[0]
        content = files.values_buffer(batch.column("line")) if source == "web" else self.encoder.encode(batch)
        path = folder / f"part-{part:04}{ending}"
        files.publish(path, content)
        self._record(path)
        if part == 1 and day.number % FILES_TWICE[source] == 0:
            again = path.with_name(f"part-{part:04}-again{ending}")
            files.publish_copy(path, again)
            self._record(again, rows_again=rows.num_rows)

    def _write_tables(self, block: int, days: list[Day]) -> None:
        for day in days:
            first_ms = 0 if day.number == 0 else day.start_ms
            for extract in self.extracts:
                query = extract.query.format(first_ms=first_ms, end_ms=day.end_ms, day=day.number, block=block)
                spec, columns = self.specs[extract.dataset], self.connection.sql(query).columns
                query = tables.completed(extract, query, columns, spec, self.values, day.start_ms)
                path = self._inbox(extract.source, extract.dataset) / f"{day.date.isoformat()}.{extract.format}"
                self.rows[extract.dataset] += files.publish_query(self.connection, query, path)
                if path.exists():
                    self._record(path)
            self.progress(f"{day.date}: {day.events:,} events")
        topics = self.connection.sql(f"from (select call_id, topic from calls_{block} order by call_id)")
        self.topics |= dict(topics.fetchall())

    def _inbox(self, source: str, dataset: str) -> Path:
        return self.home / "lake" / "inbox" / source / dataset

    def _record(self, path: Path, rows_again: int | None = None) -> None:
        digest, size = sha256(path), path.stat().st_size
        with self.lock:
            self.written[path.relative_to(self.home).as_posix()] = digest
            self.bytes += size
            if rows_again is not None:
                self.dirt["files_twice"] += 1
                self.dirt["rows_in_files_twice"] += rows_again

    def _write_truth(self) -> None:
        """What an estimate can be held against; nothing in the lake says it."""
        self._count_dirt()
        qualities = self.connection.sql("select advert_id, quality from adverts order by advert_no").fetchall()
        truth = {
            "parameters": self.parameters,
            "dirt": dict(sorted(self.dirt.items())),
            "position_effect": sql.POSITION_EFFECT,
            "advert_quality": dict(qualities),
            "call_topic": self.topics,
        }
        _write_json(self.home / "sample" / "truth.json", truth)

    def _count_dirt(self) -> None:
        self.dirt.update({name: self.rows[name] for name in wire.DIRT})
        devices = self.connection.sql("select count(*) from devices where clock_off_ms != 0").fetchone()
        self.dirt["devices_with_clock_off"] = devices[0] if devices else 0

    def _finish(self) -> SampleResult:
        result = SampleResult(
            files=len(self.written),
            bytes=self.bytes,
            delivered_rows=self.rows["web_rows"] + self.rows["apps_rows"] + self.dirt["rows_in_files_twice"],
            distinct_events=self.rows["distinct_events"],
            table_rows={extract.dataset: self.rows[extract.dataset] for extract in self.extracts},
            dirt=dict(sorted(self.dirt.items())),
        )
        if result.distinct_events != self.parameters["events"]:
            raise RuntimeError(
                f"The sample holds {result.distinct_events:,} events, not {self.parameters['events']:,}: "
                "a day's visits did not suffice. Please report the parameters."
            )
        content = {
            "parameters": self.parameters,
            "is_complete": True,
            "result": asdict(result),
            "holds": _holds(),
            "files": dict(sorted(self.written.items())),
        }
        _write_json(_manifest_path(self.home), content)
        return result
