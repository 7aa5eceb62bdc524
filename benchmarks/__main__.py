"""Measure the job from extract to mart, and landing against the engine's plain reads of the same bytes.

Every measurement runs in a process of its own, so that its processor time and peak memory are its own. Times of a
busy machine differ; the ratios, taken in turn in one run, differ less. ``SIZE`` is the number of events.
"""

import gzip
import os
import platform
import shutil
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from datetime import date
from pathlib import Path

import duckdb
import zstandard
from rich.console import Console
from rich.table import Table

from flows.conform import SQL_TYPES
from flows.contract import load_specs

ROUNDS = 3
FILES = {
    "NDJSON": "events.ndjson",
    "NDJSON, gzip": "events.ndjson.gz",
    "Protobuf": "events.pb",
    "Parquet": "events.parquet",
}


@dataclass(frozen=True)
class Measurement:
    """One run: rows dealt with, seconds on the clock and of processor time, peak memory in MiB."""

    rows: int
    seconds: float
    cpu_seconds: float
    peak_mib: float

    @property
    def rows_per_second(self) -> float:
        return self.rows / self.seconds


def main() -> None:
    size = int(os.environ.get("SIZE", "1000000"))
    out = Console(width=130)
    out.print(
        f"{date.today()}, {platform.machine()}, {os.cpu_count()} cores, {size:,} events, medians of {ROUNDS} rounds"
    )
    work = Path(tempfile.mkdtemp(prefix="tidemark-bench-"))
    try:
        out.print(_job_table(work, size))
        _prepare_files(work)
        out.print(_landing_table(work))
        out.print(_memory_table(work))
    finally:
        shutil.rmtree(work)


def _job_table(work: Path, size: int) -> Table:
    """The demo's job, step by step."""
    table = Table("the job of `make demo`", "rows", "seconds", "rows/s", "peak MiB", title_justify="left")
    steps = {
        "sample": f"from flows import sample; rows = sample.generate(home, {size}, 30, 1).delivered_rows",
        "land": "from flows.land import land; rows = land(settings).rows('rows_read')",
        "build": "from flows.build import build; done = build(settings); rows = 0; assert not done.failed",
        "publish": "from flows.publish import publish; rows = sum(t.rows for t in publish(settings).manifest.tables)",
    }
    total = 0.0
    for step, code in steps.items():
        done = _measured(code, work / "lake")
        total += done.seconds if step != "sample" else 0
        rate = f"{done.rows_per_second:,.0f}" if done.rows else ""
        table.add_row(step, f"{done.rows:,}", f"{done.seconds:.1f}", rate, f"{done.peak_mib:,.0f}")
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
            out.write(_content(path))
    subprocess.run(["gzip", "-1", "--keep", "--force", str(text)], check=True)
    # The good rows alone, typed and nested as the contract has them.
    spec = load_specs()["events"]
    columns = {f.name: SQL_TYPES.get(f.type, f.type) for f in spec.fields if f.payload is None}
    for payload in spec.payloads:
        members = ", ".join(f"{f.name} {SQL_TYPES.get(f.type, f.type)}" for f in spec.fields if f.payload == payload)
        columns[payload] = f"struct({members})"
    duckdb.execute(
        f"copy (select * from read_json('{text}', columns = {columns}, format = 'nd', ignore_errors = true) "
        f"where event_id is not null) to '{work / FILES['Parquet']}' (format parquet)"
    )


def _content(path: Path) -> bytes:
    data = path.read_bytes()
    if path.suffix == ".gz":
        return gzip.decompress(data)
    return zstandard.ZstdDecompressor().decompressobj().decompress(data) if path.suffix == ".zst" else data


def _landing_table(work: Path) -> Table:
    """Landing with every check against reading the same file with none."""
    plain = {
        "NDJSON": "select * from read_json('{path}', ignore_errors = true)",
        "NDJSON, gzip": "select * from read_json('{path}', ignore_errors = true)",
        "Parquet": "select * from read_parquet('{path}')",
    }
    table = Table(
        "landing with every check", "rows", "rows/s", "rows per CPU s", "plain rows/s", "ratio", "ratio of CPU"
    )
    for name, file in FILES.items():
        path = work / file
        alone = PTARS_ALONE if name == "Protobuf" else PLAIN.replace("SQL", plain[name])
        ours, theirs = [], []
        for round_ in range(ROUNDS):
            home = work / f"landing-{round_}"
            target = home / "lake" / "inbox" / "bench" / "events" / file
            target.parent.mkdir(parents=True)
            os.link(path, target)
            ours.append(_measured("from flows.land import land; rows = land(settings).rows('rows_read')", home))
            theirs.append(_measured(alone.replace("{path}", str(path)), work))
            shutil.rmtree(home)
        rate, other = _median(ours, lambda m: m.rows_per_second), _median(theirs, lambda m: m.rows_per_second)
        cpu = _median(ours, lambda m: m.rows / m.cpu_seconds)
        other_cpu = _median(theirs, lambda m: m.rows / m.cpu_seconds)
        table.add_row(
            name, f"{ours[0].rows:,}", f"{rate:,.0f}", f"{cpu:,.0f}", f"{other:,.0f}", f"{rate / other:.2f}",
            f"{cpu / other_cpu:.2f}",
        )  # fmt: skip
    return table


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
        done = _measured("from flows.land import land; rows = land(settings).rows('rows_read')", home)
        table.add_row(f"{times} x", f"{target.stat().st_size / 2**20:,.0f}", f"{done.peak_mib:,.0f}")
        shutil.rmtree(home)
    return table


PLAIN = """
import duckdb
c = duckdb.connect(config={'threads': 2})
c.execute("create table t as SQL")
rows = c.execute('select count(*) from t').fetchone()[0]
"""

PTARS_ALONE = """
import ptars
from flows.contract import descriptors
from flows.readers import _decompressed, _messages
from pathlib import Path
d = descriptors().FindMessageTypeByName('tidemark.events.v1.Event')
handler = ptars.HandlerPool([d.file]).get_for_message(d)
rows = 0
for messages in _messages(_decompressed(Path('{path}'))):
    try:
        handler.list_to_record_batch(messages)
    except Exception:
        pass
    rows += len(messages)
"""


def _measured(code: str, home: Path) -> Measurement:
    """Run code in a fresh interpreter; it sets ``rows``."""
    preamble = (
        "from pathlib import Path; from flows.settings import Settings\n"
        f"home = Path({str(home)!r}); settings = Settings(home=home, settle_seconds=0)\n"
    )
    # What a program imports once is not what it does.
    imports = "import time, ptars\nimport flows.land, flows.build, flows.publish, flows.sample\n"
    before = "started, worked = time.monotonic(), time.process_time()\n"
    after = "\nprint(rows, time.monotonic() - started, time.process_time() - worked)"
    script = f"{preamble}{imports}{before}{code}{after}"
    process = subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    text = process.stdout.read()
    _, status, usage = os.wait4(process.pid, 0)
    if status:
        raise SystemExit(f"a measurement failed:\n{script}")
    rows, seconds, cpu_seconds = text.split()[-3:]
    return Measurement(int(rows), float(seconds), float(cpu_seconds), usage.ru_maxrss / 1024)


def _median(runs: list[Measurement], figure: Callable[[Measurement], float]) -> float:
    return statistics.median(figure(run) for run in runs)


if __name__ == "__main__":
    main()
