"""A lake's life: the deliveries of many cases, landed, built and published bit by bit, now and then killed."""

import random
import re
import shutil
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import dataclass
from datetime import date
from hashlib import sha256
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any
from unittest import mock

import duckdb
from hypothesis import currently_in_test_context, event
from hypothesis import strategies as st

from flows.build import dbt
from flows.build.build import build, build_pending
from flows.build.warehouse import open_warehouse
from flows.land.compact import compact
from flows.land.land import land
from flows.land.receipts import Receipts
from flows.publish.publish import publish
from flows.run import run
from flows.settings import Settings
from tests.properties.cases import STEPS, Case
from tests.properties.delivered import Delivered, Landed, Said, changes, files_of
from tests.properties.kills import MOMENTS, killed
from tests.properties.oracle import ENVELOPE, PAYLOADS, PURPOSES, Event, local_day
from tests.properties.oracle_consent import NEEDED, in_use
from tests.properties.oracle_journeys import MARTS
from tests.properties.oracle_people import Rules
from tests.properties.unfolded import as_delivered, copies_of, number_of, statements_of, states_of
from tests.support.deliveries import in_format, ndjson
from tests.support.lake import KEY
from tests.support.processes import FORKSERVER
from tests.support.workshop import Workshop

SUFFIXES = ("ndjson", "ndjson.gz", "pb", "parquet")
NO_TESTS = ("--exclude-resource-type", "test")
# What dbt is asked to build, besides whole runs with tests and publication. A build may stop half-way: what it did not
# reach, the next one finds.
BUILDS = {
    "all": NO_TESTS,
    "to midnights": ("--select", "+int_audience__session_fragments_continued", *NO_TESTS),
    "to sessions": ("--select", "+fct_sessions", *NO_TESTS),
    "to content": ("--select", "+agg_content_periods", "+int_adverts__adverts_touched", *NO_TESTS),
}
LANDED = "stg_clients__events"
DEDUPLICATED = "int_events__events_deduplicated"
# Its columns but for lineage: which of two copies that are the same all through stays is nobody's business.
KEPT = (
    "event_id", "event_type", "occurred_at", "sent_at", "received_at", "product", *ENVELOPE, "country", "is_bot",
    *PAYLOADS, "copies_count", "is_future", *(f"has_{purpose}_consent" for purpose in PURPOSES),
)  # fmt: skip

Rows = Counter[tuple[Any, ...]]


@dataclass(frozen=True)
class Step:
    """One delivery: the formats of its files, what is delivered again with it, whether days are compacted once it
    landed, what is then run, and in which phase that is killed, if at all, and how far into it, in twentieths; or at
    which of the moments of tests/properties/kills.py."""

    suffixes: tuple[str, ...]
    again: str
    compacts: bool
    builds: str
    killed_in: str | None
    killed_at: int


@dataclass(frozen=True)
class Plan:
    """How the cases' copies are split into files, landed and built; ``order`` decides the order of rows, ``rules``
    which groups are shown."""

    steps: tuple[Step, ...]
    order: int
    rules: Rules


_STEP = st.builds(
    Step,
    suffixes=st.lists(st.sampled_from(SUFFIXES), min_size=1, max_size=3).map(tuple),
    again=st.sampled_from(["nothing", "nothing", "under another name", "in another order"]),
    compacts=st.booleans(),
    builds=st.sampled_from(["all", "run", "all", "run", "none", *BUILDS]),
    killed_in=st.sampled_from([*[None] * 8, "land", "compact", "build", "build", "publish", *MOMENTS]),
    killed_at=st.integers(0, 20),
)
# Cases have few devices: all are shown, or those that are two together.
RULES = (Rules(smallest_group=1, largest_share=1), Rules(smallest_group=2, largest_share=0.5))
PLAN = st.builds(
    Plan,
    steps=st.lists(_STEP, min_size=STEPS, max_size=STEPS).map(tuple),
    order=st.integers(0, 2**32 - 1),
    rules=st.sampled_from(RULES),
)


class Home:
    """A home for one life after another, by the same rules of which groups are shown. What dbt knows of the project
    stays, so that it is parsed only once."""

    def __init__(self, folder: Path, rules: Rules) -> None:
        self.rules = rules
        self.project = Workshop(folder / "project")
        self.project.set_variables(rules._asdict())
        self.settings = Settings(home=folder, settle_seconds=0, pseudonym_key=KEY)  # type: ignore[arg-type]
        # Seconds a phase usually takes: kills are spread over them. Runs that are not killed put them right.
        self.usual = {"land": 0.15, "compact": 0.3, "build": 5.0, "publish": 0.4}
        # How often what had been built was withdrawn or came into use again, and something was killed at a moment.
        self.met: Counter[str] = Counter()

    def live(self, cases: Sequence[Case], plan: Plan) -> dict[int, str]:
        """Live the cases by the plan: what is wrong afterwards, by the number of the case."""
        assert plan.rules == self.rules
        with mock.patch.object(dbt, "PROJECT", self.project.folder):
            return self._live(cases, plan)

    def _live(self, cases: Sequence[Case], plan: Plan) -> dict[int, str]:
        self._forget()
        delivered, built = self._deliver_and_run(cases, plan)
        assert run(self.settings).is_good
        landed, records = delivered.landed()
        self.met += changes(built, (landed, records))
        assert not [*(self.settings.lake / "told").rglob("*.parquet")], "what rows told of consent did not land"
        with open_warehouse(self.settings, read_only=True) as warehouse:
            copies = rows_of(warehouse, f"staging.{LANDED}", ", ".join(["event_date", "event_id", *NEEDED]))
            kept = rows_of(warehouse, f"intermediate.{DEDUPLICATED}", ", ".join(["event_date", *KEPT]))
        readers = self.settings.published / "current" / "marts.duckdb"
        with duckdb.connect(str(readers.resolve()), read_only=True) as db:
            published = {name: rows_of(db, name) for name in marts_of(db)}
            known = {name: rows_of(db, name, ", ".join(columns._fields)) for name, (columns, _) in MARTS.items()}

        wrong = Differences(cases)
        wrong.compare(LANDED, "the oracle", copies, Counter(map(_as_copied, delivered.copies())))
        events = in_use(landed, records)
        wrong.compare(DEDUPLICATED, "the oracle", kept, Counter(map(_as_kept, events)))
        for name, (_, rows) in MARTS.items():
            wrong.compare(name, "the oracle", known[name], Counter(map(tuple, rows(events, self.rules))))
        for name, expected in self._built_at_once().items():
            wrong.compare(name, "one full build", published.pop(name), expected)
        assert not published, f"published and not built: {sorted(published)}"
        return wrong.report()

    def _forget(self) -> None:
        for folder in (self.settings.lake, self.settings.published):
            shutil.rmtree(folder, ignore_errors=True)
        self._delete_warehouse()

    def _delete_warehouse(self) -> None:
        for path in self.settings.warehouse.parent.glob(f"{self.settings.warehouse.name}*"):
            path.unlink()

    def _built_at_once(self) -> dict[str, Rows]:
        """Every mart as one full build of the same landed zone makes it, each day of it in one file."""
        compact(self.settings).raise_faults()
        self._delete_warehouse()
        assert not build(self.settings, NO_TESTS).failed
        with open_warehouse(self.settings, read_only=True) as warehouse:
            return {name: rows_of(warehouse, f"marts.{name}") for name in marts_of(warehouse, "marts")}

    def _deliver_and_run(self, cases: Sequence[Case], plan: Plan) -> tuple[Delivered, Landed]:
        """Step by step; returns all that was delivered in the end, and what had landed at the last build."""
        chance = random.Random(plan.order)
        steps: list[list[Event]] = [[] for _ in plan.steps]
        for number, case in enumerate(cases):
            for step, copy in copies_of(case, number):
                steps[step].append(copy)
        delivered = Delivered()
        built: Landed = ([], [])
        for number, (step, copies) in enumerate(zip(plan.steps, steps, strict=True)):
            chance.shuffle(copies)
            files = [(suffix, copies[i :: len(step.suffixes)]) for i, suffix in enumerate(step.suffixes)]
            if delivered.events and step.again != "nothing":
                suffix, again = chance.choice(list(delivered.events.values()))
                files.append((suffix, again if step.again == "under another name" else again[::-1]))
            for part, (suffix, rows) in enumerate(files):
                data = in_format([as_delivered(copy) for copy in rows], suffix)
                self._deliver(f"clients/events/{number}-{part}.{suffix}", data)
                delivered.events[data] = suffix, rows  # the same bytes land once, whatever the name
            self._deliver_states(cases, number)
            self._deliver_statements(cases, number, step.again, delivered)
            if step.killed_in:
                self._work_and_kill(step)
                continue
            work(self.settings, step, self._clock())
            if step.builds != "none":
                now = delivered.landed()
                self.met += changes(built, now)
                built = now
        return delivered, built

    def _deliver_states(self, cases: Sequence[Case], step: int) -> None:
        files: dict[str, list[dict[str, Any]]] = defaultdict(list)
        for number, case in enumerate(cases):
            for state, row in states_of(case, number):
                if state.step == step:
                    files[f"tables/{state.dataset}/{state.file}.ndjson"].append(row)
        for name, rows in files.items():
            self._deliver(name, ndjson(rows))

    def _deliver_statements(self, cases: Sequence[Case], step: int, again: str, delivered: Delivered) -> None:
        """What people declare at a step; and some files of consents of earlier ones once more."""
        every = [statement for number, case in enumerate(cases) for statement in statements_of(case, number)]
        files = files_of(statement for statement in every if statement.step == step)
        for name in sorted(delivered.consents.keys() - files)[::5]:
            said = delivered.consents[name]
            if again == "under another name":
                files[name.replace("/consents/", f"/consents/again-{step}-")] = Said(
                    said.rows
                )  # the same bytes land once
            elif again == "in another order":
                files[name] = Said(said.rows[::-1], said.records)
        if files:
            self._land_what_is_to_be_replaced()
        for name, said in files.items():
            self._deliver(name, ndjson(said.rows))
            if said.records:
                delivered.take(name, said)

    def _land_what_is_to_be_replaced(self) -> None:
        """Where a landing was killed: what a file says that another replaces in the inbox before it landed nobody
        knows."""
        with closing(Receipts(self.settings, read_only=True)) as receipts:
            of_now = {receipt.file: receipt.sha256 for receipt in receipts.after(0)}
        inbox = self.settings.inbox
        waiting = [path for path in inbox.glob("*/[ac]*/*.ndjson") if path.parent.name in ("accounts", "consents")]
        if any(of_now.get(str(path.relative_to(inbox))) != sha256(path.read_bytes()).hexdigest() for path in waiting):
            land(self.settings)

    def _deliver(self, name: str, data: bytes) -> None:
        path = self.settings.inbox / name
        path.parent.mkdir(parents=True, exist_ok=True)
        partial = path.with_name(f".{path.name}.partial")
        partial.write_bytes(data)
        partial.rename(path)

    def _clock(self) -> Callable[[str], None]:
        """Called with each phase, it learns how long the one before took."""
        before: list[tuple[str, float]] = []

        def reached(phase: str) -> None:
            if before:
                name, since = before[-1]
                self.usual[name] = (self.usual[name] + time.monotonic() - since) / 2
            before.append((phase, time.monotonic()))

        return reached

    def _work_and_kill(self, step: Step) -> None:
        """Run in a process of its own and kill that so far into the phase; it may be done sooner."""
        phase = step.killed_in or ""
        here, there = FORKSERVER.Pipe(duplex=False)
        process = FORKSERVER.Process(
            target=_work_and_report, args=(self.settings.home, self.project.folder, step, there)
        )
        process.start()
        there.close()
        try:
            while here.recv() != phase:
                pass
        except EOFError:
            pass  # this run has no such phase
        process.join(None if phase in MOMENTS else self.usual[phase] * step.killed_at / 20)
        process.kill()
        process.join()
        assert process.exitcode in (0, -9), process.exitcode
        self.met[f"killed {phase}"] += process.exitcode != 0
        if currently_in_test_context():  # of Hypothesis, which counts events of random lives
            event(f"killed in {phase}" if process.exitcode else "done before the kill")


def work(settings: Settings, step: Step, reached: Callable[[str], None]) -> None:
    """Land, compact and build, and publish where a whole run is asked for; ``reached`` is called with each phase as it
    begins, and the end."""
    reached("land")
    land(settings)
    if step.compacts:
        reached("compact")
        compact(settings).raise_faults()
    if step.builds != "none":
        reached("build")
        done = build_pending(settings) if step.builds == "run" else build(settings, BUILDS[step.builds])
        assert done is None or not done.failed, [(node.name, node.message) for node in done.failed]
    if step.builds == "run":
        reached("publish")
        publish(settings)
    reached("end")


def _work_and_report(home: Path, project: Path, step: Step, report: Connection) -> None:
    dbt.PROJECT = project
    with killed(step.killed_in):
        work(Settings(home=home, settle_seconds=0, pseudonym_key=KEY), step, report.send)  # type: ignore[arg-type]


def marts_of(db: duckdb.DuckDBPyConnection, schema: str = "main") -> list[str]:
    """The marts there are, without what says how runs went."""
    names = db.execute(
        "select table_name from information_schema.tables "
        "where table_schema = $1 and table_name not like 'ops_%' and table_name <> 'published_tables' order by all",
        [schema],
    ).fetchall()
    return [name for (name,) in names]


def rows_of(db: duckdb.DuckDBPyConnection, table: str, columns: str = "*") -> Rows:
    """A table's rows, each with how often it is there."""
    return Counter(db.execute(f"select {columns} from {table}").fetchall())


def _as_copied(copy: Event) -> tuple[Any, ...]:
    """A copy of an event as it landed: what it says of a person."""
    return (local_day(copy["occurred_at"]), copy["event_id"], *(copy[column] for column in NEEDED))


def _as_kept(kept: Event) -> tuple[Any, ...]:
    """An event as a row of the deduplicated ones."""
    kept = kept | {f"has_{purpose}_consent": purpose in kept["consent"] for purpose in PURPOSES}
    return (local_day(kept["occurred_at"]), *(kept[column] for column in KEPT))


class Differences:
    """What differs, by the case that it belongs to."""

    def __init__(self, cases: Sequence[Case]) -> None:
        self._cases = cases
        self._lines: dict[int, list[str]] = defaultdict(list)

    def compare(self, table: str, of: str, found: Rows, expected: Rows) -> None:
        """Note the rows of a table that are there and should not be, or should be and are not."""
        for sign, rows in (("-", expected - found), ("+", found - expected)):
            for row in rows.elements():
                self._lines[_case_of(row)].append(f"{sign} {table}, against {of}: {row}")

    def report(self) -> dict[int, str]:
        """The cases that went wrong, each with its rows."""
        return {n: "\n".join([repr(self._cases[n]), *lines[:20]]) for n, lines in sorted(self._lines.items())}


def _case_of(row: tuple[Any, ...]) -> int:
    """The case that a row belongs to: by its day, or by the number that its id ends in."""
    for value in row:
        if type(value) is date:
            return number_of(value)
    return next(int(value.rsplit("-", 1)[1]) for value in row if isinstance(value, str) and re.search(r"-\d+$", value))
