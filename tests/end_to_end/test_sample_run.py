"""From the sample lake's files to the published marts, held against what is known of the lake."""

import hashlib
import json
import re
import subprocess
import sys
from collections import defaultdict
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from xml.etree import ElementTree

import duckdb
import pyarrow.parquet as pq
import pytest
from sqlalchemy import create_engine, text

from flows.audit.audit import audit
from flows.build.build import Build
from flows.build.dbt import read_project
from flows.build.project import SCHEMAS
from flows.build.warehouse import open_warehouse
from flows.contract.spec import OWN_SOURCE, PROJECT, load_specs
from flows.land.land import Landing
from flows.land.receipt import Status
from flows.publish.publish import Publication
from flows.settings import Settings
from tests.support.sample_lake import EVENTS

Run = tuple[Settings, Landing, Build, Publication]
Query = Callable[..., list[tuple[object, ...]]]


def truth(settings: Settings) -> dict[str, dict[str, float]]:
    return json.loads((settings.home / "sample" / "truth.json").read_text())


def test_every_distinct_event_is_kept_once(sample_run: Run) -> None:
    with open_warehouse(sample_run[0], read_only=True) as warehouse:
        rows = warehouse.execute(
            "select count(*), count(distinct event_id), sum(copies_count) "
            "from intermediate.int_events__events_deduplicated"
        ).fetchone()
        raw = warehouse.execute("select count(*) from raw.raw_events").fetchone()
    assert rows is not None and raw is not None
    assert rows[:2] == (EVENTS, EVENTS)
    assert rows[2] == raw[0]


def test_the_audit_finds_every_row(sample_run: Run) -> None:
    done = audit(sample_run[0])
    # Nobody labelled what calls are about.
    landed = {name for name, spec in load_specs().items() if spec.source != OWN_SOURCE}
    assert done.findings == [] and {total.dataset for total in done.totals} == landed


def test_what_is_dirty_is_quarantined_and_nothing_else(sample_run: Run) -> None:
    settings, landing, _, _ = sample_run
    dirt = truth(settings)["dirt"]
    bad = dirt["malformed_lines"] + dirt["missing_fields"] + dirt["wrong_types"] + dirt["unreadable_records"]
    duplicates = landing.count(Status.DUPLICATE)
    assert duplicates == dirt["files_twice"] > 0
    assert landing.count(Status.REFUSED) == 0
    assert landing.rows("rows_rejected") == bad > 0
    assert all(r.rows_read == r.rows_landed + r.rows_rejected for r in landing.receipts)


def test_unknown_fields_of_either_format_are_counted(sample_run: Run) -> None:
    settings, landing, _, _ = sample_run
    assert landing.rows("unknown_keys") == truth(settings)["dirt"]["unknown_fields"]


def test_late_events_are_counted(sample_run: Run, query: Query) -> None:
    late = query("select cast(sum(late_events_count) as bigint) from ops_late_arrivals")[0][0]
    with open_warehouse(sample_run[0], read_only=True) as warehouse:
        row = warehouse.execute(
            "select count(*) from intermediate.int_events__events_deduplicated "
            "where received_at - occurred_at > interval 24 hours"
        ).fetchone()
    assert row is not None
    assert late == row[0] > 0


Record = tuple[bool, datetime, bool]


def may_be_used(records: list[Record], occurred_at: datetime) -> bool:
    """Whether what a device or user did then may be used, by what is known of their consent: of each record whether it
    grants, from when on, and whether the person declared it."""
    refused = [since for is_granted, since, _ in records if not is_granted]
    declared = [since for is_granted, since, is_declared in records if is_declared and not is_granted]
    again = [since for is_granted, since, is_declared in records if is_declared and is_granted]
    is_lifted = not declared or any(max(declared) < since <= occurred_at for since in again)
    return is_lifted and all(since < occurred_at for since in refused)


def test_sessions_are_of_events_whose_people_agree_to_analytics_still(sample_run: Run, query: Query) -> None:
    with open_warehouse(sample_run[0], read_only=True) as warehouse:
        told = warehouse.execute(
            "select device_key, user_key, is_granted, valid_from, stated_in is distinct from 'events' "
            "from raw.raw_consents where purpose = 'analytics'"
        ).fetchall()
        events = warehouse.execute(
            "select any_value(device_key), any_value(user_key), any_value(occurred_at) from raw.raw_events "
            "where has_analytics_consent group by event_id"
        ).fetchall()
    of_person: dict[object, list[Record]] = defaultdict(list)
    for *persons, is_granted, since, is_declared in told:
        for person in persons:
            of_person[person].append((is_granted, since, is_declared))
    of_person[None] = []
    used = [all(may_be_used(of_person[person], at) for person in persons) for *persons, at in events]
    assert 0.8 * EVENTS < len(events) < EVENTS
    assert 0 < used.count(False) < 0.1 * len(used)
    assert query("select sum(events_count) from fct_sessions")[0][0] == used.count(True)


def test_no_moment_of_an_event_stands_in_what_it_refused(sample_run: Run) -> None:
    with open_warehouse(sample_run[0], read_only=True) as warehouse:
        ((told, days, met),) = warehouse.execute(
            "with told as (select * from raw.raw_consents where stated_in = 'events'), "
            "moments as (select occurred_at as at from raw.raw_events union all select received_at from raw.raw_events)"
            "select count(*), count(distinct (device_key, purpose, valid_from)), "
            "count(*) filter (valid_from in (from moments) or received_at in (from moments)) from told"
        ).fetchall()
    assert told == days > 0
    assert met == 0


def test_marts_agree_with_each_other(sample_run: Run, query: Query) -> None:
    sessions = query("select count(*) from fct_sessions where not is_bot")[0][0]
    with open_warehouse(sample_run[0], read_only=True) as warehouse:
        ((active, of_small_groups),) = warehouse.execute(
            "select sum(sessions), sum(sessions) filter (where devices < 10 or most > 0.5 * sessions) from ("
            "  select sum(sessions_count) as sessions, count(*) as devices, max(sessions_count) as most"
            "  from intermediate.int_audience__devices_active group by event_date, product, platform)"
        ).fetchall()
    assert active == sessions
    assert query("select sum(sessions_count) from agg_audience_daily")[0][0] == sessions - (of_small_groups or 0)
    calls = query("select count(*), count(seller_id) from fct_calls")[0]
    assert calls[0] == calls[1] > 0  # type: ignore[operator]
    people = query("select count(distinct user_key) from fct_sessions semi join dim_accounts using (user_key)")[0][0]
    assert people > 0  # type: ignore[operator]
    views = query(
        "select sum(views) from (select sum(views_count) as views from fct_content_engagement where not is_bot "
        "group by event_date, product, platform having count(distinct device_key) >= 10)"
    )[0][0]
    assert query("select sum(views_count) from agg_content_daily")[0][0] == views


def test_clicks_follow_the_truth(sample_run: Run, query: Query) -> None:
    """Position 1 is clicked more often than the last, as the truth that no model read says."""
    effect = truth(sample_run[0])["position_effect"]
    rates = dict(
        query(
            "select cast(position as varchar), sum(clicks_count) / sum(impressions_count) "
            "from agg_adverts_daily group by all"
        )
    )
    first, last = min(effect, key=int), max(effect, key=int)
    assert effect[first] > effect[last]
    assert rates[first] > rates[last]  # type: ignore[operator]


def test_the_manifest_says_what_was_published(sample_run: Run) -> None:
    settings, landing, _, publication = sample_run
    folder = settings.published / publication.manifest.version
    # After the batches of the files comes that of what they tell of consent.
    assert publication.manifest.batch_high_water == max(r.batch_id for r in landing.receipts) + 1
    assert {t.name for t in publication.manifest.tables} >= {
        "dim_contents", "dim_adverts", "dim_dates", "fct_sessions",
        "fct_content_engagement", "fct_enquiries", "fct_calls", "dim_accounts", "agg_content_daily",
        "agg_audience_daily", "agg_audience_periods", "agg_content_periods", "agg_adverts_daily", "agg_enquiries_daily",
        "fct_funnels", "agg_retention_weekly", "agg_content_paths",
        "ops_landings", "ops_rejects",
        "ops_late_arrivals", "ops_model_runs", "ops_test_runs",
    }  # fmt: skip
    with duckdb.connect(str(folder / "marts.duckdb"), read_only=True) as marts:
        for table in publication.manifest.tables:
            for file in table.files:
                parquet = folder / file.path
                assert hashlib.sha256(parquet.read_bytes()).hexdigest() == file.sha256
                assert file.rows == pq.read_metadata(parquet).num_rows
            count = marts.execute(f"select count(*) from {table.name}").fetchone()
            assert count == (table.rows,)


def test_descriptions_reach_the_reader(sample_run: Run, query: Query) -> None:
    comments = dict(
        query(
            "select view_name, comment from duckdb_views() where not internal "
            "union all select table_name, comment from duckdb_tables()"
        )
    )
    models = read_project(sample_run[0]).models.values()
    assert set(comments) == {"published_tables", *(model.name for model in models if model.schema in SCHEMAS)}
    assert all(str(c).startswith("One row per") for c in comments.values()), comments
    assert query("select count(*) from duckdb_columns() where not internal and comment is null") == [(0,)]


def test_the_documented_ways_to_query_work(sample_run: Run) -> None:
    marts = sample_run[0].published / "current" / "marts.duckdb"
    sql = "select sum(sessions_count) as sessions from agg_audience_daily"
    shell = subprocess.run(
        [str(Path(sys.executable).with_name("duckdb")), "-readonly", "-csv", "-noheader", str(marts), sql],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    engine = create_engine(f"duckdb:///{marts}?access_mode=read_only")
    with engine.connect() as connection:
        assert int(shell.stdout) == connection.execute(text(sql)).scalar_one() > 0
    engine.dispose()


# A command of DuckDB as the docs show it, to the end of its last argument in quotes; and a query alone.
COMMAND = re.compile(r'\.venv/bin/duckdb(?: |\\\n)[^"\n]*(?:\\\n *)?"[^"]*"')
QUERY = re.compile(r"^```sql\n(.*?)^```$", re.MULTILINE | re.DOTALL)


# What a query asks that the sample does not have; tests of feeds, Kafka and object stores perform these.
NOT_OF_THE_SAMPLE = ("from delivered", "lake/inbox/shop", "s3://")


def documented_queries() -> dict[str, str]:
    """Every command of README and docs that asks DuckDB, and every query that is no model, by file and line."""
    found = {}
    for path in [PROJECT / "README.md", *sorted((PROJECT / "docs").rglob("*.md"))]:
        if path.name.startswith("add-"):
            continue  # recipes query what they add: their own test performs them
        text = path.read_text()
        commands = [(match.start(), match.group()) for match in COMMAND.finditer(text)]
        for match in QUERY.finditer(text):
            if not any(word in match.group() for word in ("{{", *NOT_OF_THE_SAMPLE)):
                sql = match.group(1).replace('"', '\\"')
                command = f'.venv/bin/duckdb -readonly data/published/current/marts.duckdb "{sql}"'
                commands.append((match.start(), command))
        for start, command in commands:
            found[f"{path.relative_to(PROJECT)}:{text.count(chr(10), 0, start) + 1}"] = command
    return found


DOCUMENTED = documented_queries()


def test_the_docs_have_queries() -> None:
    """Were they read wrongly, the next test would pass over nothing."""
    assert len(DOCUMENTED) >= 10 and {name.split(":")[0] for name in DOCUMENTED} >= {
        "README.md",
        "docs/tour.md",
        "docs/guides/analysts.md",
        "docs/guides/models.md",
    }


@pytest.mark.parametrize("place", DOCUMENTED)
def test_documented_queries_give_rows(sample_run: Run, tmp_path: Path, place: str) -> None:
    (tmp_path / "data").symlink_to(sample_run[0].home)
    (tmp_path / ".venv").symlink_to(sys.prefix)
    command = DOCUMENTED[place].replace("duckdb ", "duckdb -csv ", 1)
    done = subprocess.run(["bash", "-c", command], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0 and not done.stderr, f"{place}: {done.stderr}"
    assert len(done.stdout.splitlines()) > 1, f"{place} finds nothing"


@pytest.mark.parametrize("page", ["bi-tools.md"])
def test_documented_python_runs(sample_run: Run, tmp_path: Path, page: str) -> None:
    """Each block by itself, where the docs stand: beside `data`."""
    (tmp_path / "data").symlink_to(sample_run[0].home)
    blocks = re.findall(
        r"^```python\n(.*?)^```$", (PROJECT / "docs/guides" / page).read_text(), re.MULTILINE | re.DOTALL
    )
    assert blocks
    for block in blocks:
        done = subprocess.run([sys.executable, "-c", block], cwd=tmp_path, capture_output=True, text=True, check=False)
        assert done.returncode == 0 and done.stdout.strip(), f"{block}{done.stderr}"


def test_the_first_query_of_the_readme_counts_each_reader_once(sample_run: Run, query: Query) -> None:
    """It once added up the readers of days and contents: 294 where 166 devices had read. Small groups are left out."""
    (command,) = (c for name, c in DOCUMENTED.items() if name.startswith("README.md") and "readers_count" in c)
    shown = query(command.split('"')[1])
    with open_warehouse(sample_run[0], read_only=True) as warehouse:
        counted = warehouse.execute(
            "with readers as ("
            "  select event_date, product, platform, device_key, bool_or(is_enjoyed) as is_enjoyer"
            "  from marts.fct_content_engagement where is_read and not is_bot group by all"
            "), shown as ("
            "  select *, count(*) filter (where is_enjoyer) over day_group >= 10 as has_enjoyers"
            "  from readers semi join ("
            "    select event_date, product, platform from intermediate.int_audience__devices_active"
            "    group by all having count(*) >= 10"
            "  ) using (event_date, product, platform)"
            "  window day_group as (partition by event_date, product, platform) qualify count(*) over day_group >= 10"
            ") select cast(date_trunc('week', event_date) as date) as week, cast(week + 6 as date), "
            "count(distinct device_key), count(distinct device_key) filter (where is_enjoyer and has_enjoyers) "
            "from shown group by all order by all"
        ).fetchall()
    assert shown == counted
    summed = query("select sum(readers_count) from agg_content_daily")[0][0]
    assert 0 < sum(int(str(row[2])) for row in shown) < int(str(summed))


def test_the_picture_of_the_readme_is_drawn_from_the_marts(sample_run: Run, query: Query, tmp_path: Path) -> None:
    marts, picture = sample_run[0].published / "current" / "marts.duckdb", tmp_path / "picture.svg"
    script = PROJECT / "docs" / "pictures" / "most_read.py"
    subprocess.run([sys.executable, str(script), str(marts), str(picture)], check=True)
    drawn = ["".join(text.itertext()) for text in ElementTree.parse(picture).iter("{http://www.w3.org/2000/svg}text")]
    (most,) = query(
        "select max(readers) from (select count(distinct device_key) as readers from fct_content_engagement "
        "where content_type = 'article' and is_read and not is_bot group by content_id)"
    )
    assert sum(" · " in text for text in drawn) == 8
    assert next(text for text in drawn if " · " in text).startswith(f"{most[0]:,} · ")


@pytest.mark.parametrize("table", ["fct_sessions", "ops_rejects"])
def test_no_identifier_is_published(table: str, query: Query) -> None:
    columns = {str(name) for (name,) in query("select column_name from duckdb_columns() where not internal")}
    assert not columns & {"device_id", "user_id", "ip_address", "user_agent", "query", "email", "phone", "full_name"}
    assert query(f"select count(*) from {table}")[0][0] > 0  # type: ignore[operator]
