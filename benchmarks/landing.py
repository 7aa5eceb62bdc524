"""The demo's job step by step, landing against the engine's plain reads of the same bytes, and many small files."""

import gzip
import io
import os
import shutil
import subprocess
from collections.abc import Callable, Iterator
from contextlib import suppress
from functools import partial
from itertools import islice
from pathlib import Path
from typing import BinaryIO

import duckdb
import ptars
import pyarrow.parquet as pq
import zstandard
from google.protobuf import message_factory, proto
from google.protobuf.message import DecodeError
from rich.table import Table

from benchmarks.measure import Measurement, all_passed, in_turn, land_all, measured, median, settings_of
from flows import sample
from flows.build.build import build
from flows.contract.spec import descriptors, load_specs
from flows.land.conform_sql import SQL_TYPES
from flows.land.readers.compression import decompressed
from flows.land.readers.protobuf import messages_in
from flows.publish.publish import publish

EVENT = "tidemark.events.v1.Event"
SMALL_FILES = 1_000
SMALL_EVENTS = 20
FILES = {
    "NDJSON": "events.ndjson",
    "NDJSON, gzip": "events.ndjson.gz",
    "Protobuf": "events.pb",
    "Parquet": "events.parquet",
}
PLAIN = {
    "NDJSON": "read_json('{path}', ignore_errors = true)",
    "NDJSON, gzip": "read_json('{path}', ignore_errors = true)",
    "Parquet": "read_parquet('{path}')",
}


def tables(work: Path, size: int) -> Iterator[Table]:
    """The tables one after the other, each when it is measured."""
    yield _job_table(work / "lake", size)
    _prepare_files(work)
    yield _landing_table(work)
    yield _small_files_table(work)
    yield _memory_table(work)


def make_sample(home: str, events: int) -> int:
    """Job: write the sample; the rows delivered."""
    return sample.generate(Path(home), events, 30, 1).delivered_rows


def build_all(home: str) -> None:
    """Job: build and test everything."""
    all_passed(build(settings_of(home)))


def publish_all(home: str) -> int:
    """Job: publish; the rows of all tables."""
    return sum(table.rows for table in publish(settings_of(home)).manifest.tables)


def read_plainly(table: str) -> int:
    """Job: read a file with DuckDB's own function into a table; its rows."""
    with duckdb.connect(config={"threads": 2}) as db:
        db.execute(f"create table plain as select * from {table}")
        row = db.execute("select count(*) from plain").fetchone()
    return row[0] if row else 0


def decode_with_ptars(path: str) -> int:
    """Job: decode a file of Protobuf messages, checking nothing; their number."""
    message = descriptors().FindMessageTypeByName(EVENT)
    handler = ptars.HandlerPool([message.file]).get_for_message(message)
    rows = 0
    for messages in messages_in(decompressed(Path(path))):
        rows += int(handler.list_to_record_batch(messages).num_rows)
    return rows


def _job_table(home: Path, size: int) -> Table:
    table = Table("the job of `make demo`", "rows", "seconds", "rows/s", "peak MiB", title_justify="left")
    total = 0.0
    steps: dict[str, Callable[[], Measurement]] = {
        "sample": lambda: measured(make_sample, home=home, events=size),
        "land": lambda: measured(land_all, home=home),
        "build": lambda: measured(build_all, home=home),
        "publish": lambda: measured(publish_all, home=home),
    }
    for step, job in steps.items():
        done = job()
        rows = done.result or 0
        total += done.seconds if step != "sample" else 0
        rate = f"{rows / done.seconds:,.0f}" if rows else ""
        table.add_row(step, f"{rows:,}", f"{done.seconds:.1f}", rate, f"{done.peak_mib:,.0f}")
    table.add_row("land + build + publish", "", f"{total:.1f}", "", "")
    return table


def _prepare_files(work: Path) -> None:
    """The sample's events as one file a format."""
    inbox = work / "lake" / "lake" / "inbox"
    text = work / FILES["NDJSON"]
    with text.open("wb") as out:
        for path in sorted((inbox / "web" / "events").rglob("*.ndjson*")):
            out.write(_content(path))
    with (work / FILES["Protobuf"]).open("wb") as out:
        for path in sorted((inbox / "apps" / "events").rglob("*.pb*")):
            _write_decodable(path, out)
    subprocess.run(["gzip", "-1", "--keep", "--force", str(text)], check=True)
    # The good rows alone, typed and nested as the contract has them.
    duckdb.execute(
        f"copy (select * from read_json('{text}', columns = {_nested_columns()}, format = 'nd', ignore_errors = true) "
        f"where event_id is not null) to '{work / FILES['Parquet']}' (format parquet)"
    )


def _write_decodable(path: Path, out: BinaryIO) -> None:
    """The file's records that can be decoded: for one that cannot, `ptars` gives up at once and nothing is compared."""
    event = message_factory.GetMessageClass(descriptors().FindMessageTypeByName(EVENT))
    for messages in messages_in(decompressed(path)):
        for message in messages:
            with suppress(DecodeError):
                proto.serialize_length_prefixed(event.FromString(message), out)


def _nested_columns() -> dict[str, str]:
    spec = load_specs()["events"]
    columns = {f.name: SQL_TYPES.get(f.type, f.type) for f in spec.fields if f.payload is None}
    for payload in spec.payloads:
        members = ", ".join(f"{f.name} {SQL_TYPES.get(f.type, f.type)}" for f in spec.fields if f.payload == payload)
        columns[payload] = f"struct({members})"
    return columns


def _content(path: Path) -> bytes:
    data = path.read_bytes()
    if path.suffix == ".gz":
        return gzip.decompress(data)
    return zstandard.ZstdDecompressor().decompressobj().decompress(data) if path.suffix == ".zst" else data


def _landing_table(work: Path) -> Table:
    table = Table(
        "landing with every check", "rows", "rows/s", "rows per CPU s", "plain rows/s", "ratio", "ratio of CPU"
    )
    for name, file in FILES.items():
        path = work / file
        runs = in_turn({"ours": partial(_land_alone, path, work / "landing"), "plain": partial(_plainly, name, path)})
        rate, plain_rate = (median(runs[who], lambda m: m.result / m.seconds) for who in ("ours", "plain"))
        cpu, plain_cpu = (median(runs[who], lambda m: m.result / m.cpu_seconds) for who in ("ours", "plain"))
        table.add_row(
            name, f"{runs['ours'][0].result:,}", f"{rate:,.0f}", f"{cpu:,.0f}", f"{plain_rate:,.0f}",
            f"{rate / plain_rate:.2f}", f"{cpu / plain_cpu:.2f}",
        )  # fmt: skip
    shutil.rmtree(work / "landing")
    return table


def _land_alone(path: Path, home: Path) -> Measurement:
    shutil.rmtree(home, ignore_errors=True)
    target = home / "lake" / "inbox" / "bench" / "events" / path.name
    target.parent.mkdir(parents=True)
    os.link(path, target)
    return measured(land_all, home=home)


def _plainly(name: str, path: Path) -> Measurement:
    if name == "Protobuf":
        return measured(decode_with_ptars, path=path)
    return measured(read_plainly, table=PLAIN[name].format(path=path))


def _small_files_table(work: Path) -> Table:
    """What it takes to land many small files at once."""
    title = f"landing {SMALL_FILES:,} files of {SMALL_EVENTS} events"
    table = Table(title, "rows", "seconds", "CPU seconds", "peak MiB")
    for name, file in FILES.items():
        home = work / "small"
        inbox = home / "lake" / "inbox" / "bench" / "events"
        inbox.mkdir(parents=True)
        for number, data in enumerate(islice(_small_files(name, work / file), SMALL_FILES)):
            (inbox / f"{number:04}-{file}").write_bytes(data)
        done = measured(land_all, home=home)
        table.add_row(
            name, f"{done.result:,}", f"{done.seconds:.1f}", f"{done.cpu_seconds:.1f}", f"{done.peak_mib:,.0f}"
        )
        shutil.rmtree(home)
    return table


def _small_files(name: str, path: Path) -> Iterator[bytes]:
    """The bytes of small files of a format, with the events of a large one."""
    if name == "Parquet":
        for batch in pq.ParquetFile(path).iter_batches(SMALL_EVENTS):
            out = io.BytesIO()
            with pq.ParquetWriter(out, batch.schema) as writer:
                writer.write_batch(batch)
            yield out.getvalue()
    elif name == "Protobuf":
        event = message_factory.GetMessageClass(descriptors().FindMessageTypeByName(EVENT))
        messages = (message for some in messages_in(decompressed(path)) for message in some)
        while some := list(islice(messages, SMALL_EVENTS)):
            out = io.BytesIO()
            for message in some:
                proto.serialize_length_prefixed(event.FromString(message), out)
            yield out.getvalue()
    else:
        with gzip.open(path) if path.suffix == ".gz" else path.open("rb") as lines:
            while data := b"".join(islice(lines, SMALL_EVENTS)):
                yield gzip.compress(data) if path.suffix == ".gz" else data


def _memory_table(work: Path) -> Table:
    """Peak memory of landing one file, and one four times its size."""
    table = Table("peak memory of landing NDJSON", "MiB of file", "peak MiB")
    text = (work / FILES["NDJSON"]).read_bytes()
    for times in (1, 4):
        home = work / f"memory-{times}"
        target = home / "lake" / "inbox" / "bench" / "events" / "events.ndjson"
        target.parent.mkdir(parents=True)
        with target.open("wb") as out:
            for _ in range(times):
                out.write(text)
        done = measured(land_all, home=home)
        table.add_row(f"{times} x", f"{target.stat().st_size / 2**20:,.0f}", f"{done.peak_mib:,.0f}")
        shutil.rmtree(home)
    return table
