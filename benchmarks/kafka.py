"""How fast do messages of Kafka come into the inbox, beside a loop that takes the same ones and drops them?"""

import os
import resource
import time
from collections.abc import Iterator
from pathlib import Path

import yaml
from confluent_kafka import Consumer, TopicPartition
from rich.table import Table

from benchmarks.measure import Measurement, in_turn, measured, median, settings_of
from flows.extract.run import extract
from tests.support.kafka import served_broker

TOPIC = "product-events"
EVENT = (
    b'{"event_id":"0191f3c2-8a44-7c1e-9d3b-%012d","occurred_at":"2026-01-15T20:15:04.123Z","received_at":'
    b'"2026-01-15T20:15:05.410Z","product":"news","platform":"ios","device_id":"d-%d","consent":["analytics"],'
    b'"content_view":{"content_id":"c-%d","content_type":"article"}}'
)
BARE = "a loop that takes and drops"


def tables(work: Path, size: int) -> Iterator[Table]:
    """One table: messages a second, of SIZE events in JSON in one partition, with the broker on the same machine."""
    with served_broker(work) as broker:
        broker.make(TOPIC)
        broker.produce(TOPIC, (EVENT % (n, n % 1000, n % 5000) for n in range(size)))
        runs = in_turn(
            {
                BARE: lambda: measured(drop_all, address=broker.address, size=size),
                "extracted, JSON": lambda: measured(extract_all, home=work / "home", url=broker.url, size=size),
                "extracted, as if Protobuf": lambda: measured(
                    extract_all, home=work / "home", url=broker.url, size=size, kind="protobuf"
                ),
            }
        )
    table = Table(f"{size:,} messages", "messages/s", "messages/CPU-s here", "ratio", "peak MiB", title_justify="left")
    base = median(runs[BARE], _seconds)
    for name, found in runs.items():
        seconds, cpu = median(found, _seconds), median(found, lambda run: run.result["cpu"])
        peak = median(found, lambda run: run.result["peak_mib"])
        table.add_row(name, f"{size / seconds:,.0f}", f"{size / cpu:,.0f}", f"{base / seconds:.2f}", f"{peak:,.0f}")
    yield table


def _seconds(run: Measurement) -> float:
    return float(run.result["seconds"])


def drop_all(address: str, size: int) -> dict[str, float]:
    """Job: take all messages with the client, and drop them."""
    started, cpu = time.monotonic(), time.process_time()
    consumer = Consumer({"bootstrap.servers": address, "group.id": "benchmark"})
    consumer.assign([TopicPartition(TOPIC, 0, 0)])
    taken = 0
    while taken < size:
        taken += len(consumer.consume(10_000, timeout=0.1))
    seconds, cpu = time.monotonic() - started, time.process_time() - cpu
    consumer.close()
    return {"seconds": seconds, "cpu": cpu, "peak_mib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024}


def extract_all(home: str, url: str, size: int, kind: str = "json") -> dict[str, float]:
    """Job: extract the topic, in a process that begins and ends; that one's seconds of processor time and memory."""
    folder = Path(home) / "extracts"
    folder.mkdir(parents=True, exist_ok=True)
    settings = settings_of(home).model_copy(update={"extracts": folder})
    declared = {
        "connection": {"kind": "kafka", "url_from": "BENCHMARK_URL"},
        "extracts": {"events": {"topic": TOPIC, "format": kind}},
    }
    (folder / "shop.yml").write_text(yaml.safe_dump(declared))
    os.environ["BENCHMARK_URL"] = url
    for file in (settings.inbox / "shop").rglob("*.*"):
        file.unlink()
    started = time.monotonic()
    assert extract(settings, "shop").rows == size
    seconds, used = time.monotonic() - started, resource.getrusage(resource.RUSAGE_CHILDREN)
    return {"seconds": seconds, "cpu": used.ru_utime + used.ru_stime, "peak_mib": used.ru_maxrss / 1024}
