"""Print the tables named on the command line, or the usual ones: `python -m benchmarks full_build landing`.

Times of a busy machine differ; the ratios, taken in turn in one run, differ less. ``SIZE`` is the number of events.
"""

import os
import shutil
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from rich.console import Console
from rich.table import Table

from benchmarks import erasure, full_build, increments, landing, latency, memory, redaction, service, year
from benchmarks.measure import machine


def extracts_tables(work: Path, size: int) -> Iterator[Table]:
    """Those of extracts; what they need `make sources` installs."""
    from benchmarks import extracts  # noqa: PLC0415

    return extracts.tables(work, size)


def kafka_tables(work: Path, size: int) -> Iterator[Table]:
    """Those of extracts of Kafka."""
    from benchmarks import kafka  # noqa: PLC0415

    return kafka.tables(work, size)


def adverts_tables(work: Path, size: int) -> Iterator[Table]:
    """Those of scores of adverts."""
    from benchmarks import adverts  # noqa: PLC0415 (scipy, which no other needs)

    return adverts.tables(work, size)


def adverts_day_tables(work: Path, size: int) -> Iterator[Table]:
    """Those of a day of many adverts."""
    from benchmarks import adverts_day  # noqa: PLC0415 (as above)

    return adverts_day.tables(work, size)


def topics_tables(work: Path, size: int) -> Iterator[Table]:
    """Those of topics of texts."""
    from benchmarks import topics  # noqa: PLC0415 (scikit-learn, which no other needs)

    return topics.tables(work, size)


TABLES = {
    "landing": landing.tables,
    "full_build": full_build.tables,
    "increments": increments.tables,
    "latency": latency.tables,
    "service": service.tables,
    "year": year.tables,
    "memory": memory.tables,
    "redaction": redaction.tables,
    "erasure": erasure.tables,
    "extracts": extracts_tables,
    "kafka": kafka_tables,
    "adverts": adverts_tables,
    "adverts_day": adverts_day_tables,
    "topics": topics_tables,
}
# A year of runs takes as long as all the others together, memory and erasure are worth measuring with far more events,
# redaction and topics need conversations that are no part of this project, extracts servers that `make sources`
# installs, adverts measures how right scores are, and adverts_day makes a market of its own.
UNUSUAL = ("year", "memory", "redaction", "erasure", "extracts", "kafka", "adverts", "adverts_day", "topics")
USUAL = [name for name in TABLES if name not in UNUSUAL]


def main(names: list[str]) -> None:
    unknown = [name for name in names if name not in TABLES]
    if unknown:
        raise SystemExit(f"no table {', '.join(unknown)}; there are {', '.join(TABLES)}")
    size = int(os.environ.get("SIZE", "1000000"))
    out = Console(width=130)
    out.print(f"{machine()}, {size:,} events")
    for name in names or USUAL:
        work = Path(tempfile.mkdtemp(prefix="tidemark-bench-"))
        try:
            for table in TABLES[name](work, size):
                out.print(table)
        finally:
            shutil.rmtree(work)


if __name__ == "__main__":
    main(sys.argv[1:])
