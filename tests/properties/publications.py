"""What is published of small worlds: the project's own SQL, compiled by dbt, on devices that a test thinks up.

Many worlds are published at once. Each has some years to itself, of which the first has the calendar of 2026.
"""

import re
from calendar import isleap
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from datetime import date
from pathlib import Path
from typing import Any, NamedTuple

import duckdb
import pyarrow as pa

from flows.build.dbt import run_dbt
from flows.settings import Settings
from tests.properties.oracle_people import Rules
from tests.support.lake import KEY

# In the order in which they read each other.
MODELS = (
    "int_audience__groups_counted", "agg_audience_daily", "agg_audience_periods", "agg_content_daily",
    "agg_content_periods",
)  # fmt: skip
# The columns of each mart's days: the one that a row is of, and others.
DAYS = {
    "agg_audience_daily": ("event_date",),
    "agg_audience_periods": ("period_end_date", "period_start_date"),
    "agg_content_daily": ("event_date",),
    "agg_content_periods": ("period_end_date", "period_start_date"),
}
# A Thursday: the third day after it is of another month, the fourth of another week.
FIRST_DAY = date(2026, 1, 29)
# Days from it to the same day of each year of 400 that has its weekdays and no more days; then the calendar repeats.
ALIKE = [
    (day - FIRST_DAY).days
    for year in range(2026, 2426)
    if (day := FIRST_DAY.replace(year=year)).weekday() == FIRST_DAY.weekday() and not isleap(year)
]
DAYS_OF_400_YEARS = 146_097
AT_ONCE = 10_000  # worlds: DuckDB's timestamps end after 290,000 years

ROWS = pa.schema(
    [
        ("world", pa.int64()), ("day", pa.int64()), ("product", pa.string()), ("platform", pa.string()),
        ("device", pa.int64()), ("role", pa.int64()), ("is_logged_in", pa.bool_()), ("content", pa.string()),
        ("views", pa.int64()), ("has_consent", pa.bool_()),
    ]
)  # fmt: skip

ACTIVE, READER, ENJOYER = range(3)


class Group(NamedTuple):
    """A day's devices of a product and platform; days are counted from 0."""

    day: int
    product: str
    platform: str


class Visit(NamedTuple):
    """What one device did on a day on a product and platform: with a content, if any, so often, and in which role.
    Without consent to analytics it is no device of any group, and its views are nobody's."""

    group: Group
    device: int
    role: int = ACTIVE
    content: str | None = None
    views: int = 1
    is_logged_in: bool = False
    has_consent: bool = True


World = Sequence[Visit]
# The rows of each mart, by its name, days counted from 0.
Publication = Mapping[str, frozenset[tuple[Any, ...]]]


class Publisher:
    """Publishes worlds by the rules of which groups are shown."""

    def __init__(self, home: Path, rules: Rules) -> None:
        self.rules = rules
        self._queries = compiled(home, rules, MODELS)

    def publish(self, worlds: Iterable[World]) -> list[Publication]:
        """What is published of each world."""
        every = list(worlds)
        parts = (every[first : first + AT_ONCE] for first in range(0, len(every), AT_ONCE))
        return [published for part in parts for published in self._publish(part)]

    def _publish(self, worlds: Sequence[World]) -> list[Publication]:
        rows = pa.Table.from_pylist(
            [
                {
                    "world": number, "day": visit.group.day, "product": visit.group.product,
                    "platform": visit.group.platform, "device": visit.device, "role": visit.role,
                    "is_logged_in": visit.is_logged_in, "content": visit.content, "views": visit.views,
                    "has_consent": visit.has_consent,
                }
                for number, world in enumerate(worlds)
                for visit in world
            ],
            schema=ROWS,
        )  # fmt: skip
        with duckdb.connect(config={"threads": 2}) as db:
            db.register("visits", rows)
            db.execute(
                "create table worlds as select unnest($1) as world, unnest($2) as first_day", _years(len(worlds))
            )
            db.execute(_MET)
            for name, query in self._queries.items():
                db.execute(f"create table {name} as {query}")
            found: list[dict[str, set[tuple[Any, ...]]]] = [defaultdict(set) for _ in worlds]
            for name in DAYS:
                for number, *row in db.execute(_rows_by_world(name)).fetchall():
                    found[number][name].add(tuple(row))
        return [{name: frozenset(rows[name]) for name in DAYS} for rows in found]


def compiled(home: Path, rules: Rules, models: Sequence[str]) -> dict[str, str]:
    """The project's own SQL of these models by the rules, which reads tables by their names alone."""
    settings = Settings(home=home, pseudonym_key=KEY)  # type: ignore[arg-type]
    given = "{" + ", ".join(f"{name}: {value}" for name, value in rules._asdict().items()) + "}"
    done = run_dbt(settings, ["compile", "--select", *models, "--vars", given])
    queries = {result.node.name: result.node.compiled_code for result in done.results}
    return {name: re.sub(r'"\w+"\."\w+"\."(\w+)"', r"\1", queries[name]) for name in models}


# A content is of one product. Of a device, content and day there is one row, with the platform of its first event.
_MET = f"""
alter table worlds alter first_day type date using date '{FIRST_DAY}' + first_day::integer;

create table met as
select
    first_day + day::integer as event_date,
    cast(lpad(printf('%x', device), 32, '0') as uuid) as device_key,
    visits.*
from visits
inner join worlds using (world)
where has_consent;

create table int_events__events_deduplicated as
select
    first_day + day::integer as event_date, 'content_view' as event_type, product, 'article' as content_type,
    product || '/' || content as content_id, has_consent as has_analytics_consent, false as is_bot, false as is_future
from visits
inner join worlds using (world)
cross join lateral (select unnest(range(views)))
where content is not null;

create table int_audience__devices_active as
select
    event_date, product, platform, device_key,
    1::bigint as sessions_count, sum(views)::bigint as views_count, sum(views)::bigint * 1000 as active_ms
from met
group by all;

create table fct_content_engagement as
select
    event_date, device_key, product || '/' || content as content_id, product, 'article' as content_type,
    min(platform) as platform, case when bool_or(is_logged_in) then device_key end as user_key,
    sum(views)::bigint as views_count, sum(views)::double as engaged_seconds, 0::bigint as reactions_count,
    max(role) >= {READER} as is_read, max(role) >= {ENJOYER} as is_enjoyed, false as is_bot
from met
where content is not null
group by event_date, device_key, product, content;
"""


def _years(number: int) -> list[list[int]]:
    """The numbers of worlds, and after how many days each begins."""
    cycles = (divmod(world, len(ALIKE)) for world in range(number))
    return [list(range(number)), [cycle * DAYS_OF_400_YEARS + ALIKE[year] for cycle, year in cycles]]


def _rows_by_world(name: str) -> str:
    """Each row of a mart after the number of its world and its day there."""
    day, *others = DAYS[name]
    figures = f"{name}.* exclude ({', '.join([day, *others])})"
    return f"select world, {day} - first_day, {figures} from {name} asof join worlds on {day} >= first_day"
