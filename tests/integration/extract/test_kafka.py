"""Extracts of a real broker: all messages, each once, in files whose names prove it."""

import json
import os
import random
import re
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import duckdb
import pytest
import yaml

from flows.contract.spec import load_specs
from flows.errors import TidemarkError
from flows.extract import run as running
from flows.extract.declared import load_declared
from flows.extract.errors import MayPassError
from flows.extract.kafka import client
from flows.extract.kafka.spans import Span, covered, missing, overlaps
from flows.extract.kafka.topics import deliver
from flows.extract.run import Extracted
from flows.extract.run import extract as extract_in_a_process
from flows.land.receipt import Status
from flows.settings import Settings
from tests.support.kafka import Broker, Cluster, Wire, forgetful_cluster, served_broker
from tests.support.lake import Lake
from tests.support.patience import until

VARIABLE = "TEST_EVENTS_KAFKA_URL"
TOPIC = "product-events"
GUIDE = Path(__file__).parents[3] / "docs" / "guides" / "kafka.md"
Declare = Callable[..., Settings]


@pytest.fixture(autouse=True)
def _quick_tries(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(running, "FIRST_WAIT_SECONDS", 0.01)
    monkeypatch.setattr(running, "LONGEST_WAIT_SECONDS", 0.01)
    monkeypatch.setattr(running, "TRIES", 2)
    monkeypatch.setattr(client, "ID_SECONDS", 0.5)  # that in a client gives topics no ids, and does not say so


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[Broker]:
    with served_broker(tmp_path) as made:
        yield made


@pytest.fixture
def declare(lake: Lake, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Declare:
    """Declare the source shop with events of the topic; the settings of the lake that it is extracted into."""

    def made(cluster: Cluster, home: Path | None = None, others: dict[str, Any] | None = None, **said: Any) -> Settings:
        home = home or lake.settings.home
        folder = home.parent / f"extracts-of-{home.name}"
        folder.mkdir(exist_ok=True)
        events = {"topic": TOPIC, "format": "json"} | said
        read = {
            "connection": {"kind": "kafka", "url_from": VARIABLE},
            "extracts": {"events": events} | (others or {}),
        }
        (folder / "shop.yml").write_text(yaml.safe_dump(read))
        monkeypatch.setenv(VARIABLE, cluster.url)
        return lake.settings.model_copy(update={"extracts": folder, "home": home})

    return made


def extract(settings: Settings) -> Extracted:
    """Extract the shop as its process does, in this one, which is quicker."""
    notes: list[str] = []
    declared = load_declared(settings.extracts).one("shop")
    done = tuple(deliver(settings, declared, [*declared.source.extracts], notes.append))
    return Extracted(done, tuple(notes))


def event(number: int) -> bytes:
    event_id = f"0191f3c2-8a44-7c1e-9d3b-{number:012d}"
    return json.dumps(
        {
            "event_id": event_id,
            "occurred_at": "2026-01-15T20:15:04.123Z",
            "received_at": "2026-01-15T20:15:05.410Z",
            "product": "news",
            "platform": "ios",
            "device_id": f"d-{number}",
            "consent": ["analytics"],
            "content_view": {"content_id": "c-1", "content_type": "article"},
        }
    ).encode()


def events(count: int, first: int = 0) -> list[bytes]:
    return [event(number) for number in range(first, first + count)]


def files(settings: Settings, dataset: str = "events") -> list[Path]:
    return sorted((settings.inbox / "shop" / dataset).glob("extract-*/[0-9]*"))


def numbers(settings: Settings) -> Counter[int]:
    """How often each event was delivered."""
    lines = [line for path in files(settings) if path.suffix == ".ndjson" for line in path.read_bytes().splitlines()]
    return Counter(int(json.loads(line)["event_id"][-12:]) for line in lines)


def landed(lake: Lake) -> list[int]:
    """The events that landed."""
    return sorted(int(row["event_id"].hex()[-12:]) for row in lake.rows())


def each_once(count: int) -> Counter[int]:
    return Counter(dict.fromkeys(range(count), 1))


def spans(settings: Settings) -> dict[int, tuple[Span, ...]]:
    return {**covered(path.name for path in files(settings)).spans}


def proven(settings: Settings, ends: dict[int, int]) -> None:
    """Names alone say that nothing is missing up to these offsets, and nothing is twice."""
    found = spans(settings)
    assert {partition: missing(some) for partition, some in found.items()} == {at: [end] for at, end in ends.items()}
    assert not any(overlaps(some) for some in found.values())
    assert [*settings.inbox.rglob(".*")] == []


def fails(settings: Settings, words: str) -> str:
    with pytest.raises(TidemarkError, match=words) as raised:
        extract(settings)
    return str(raised.value)


def test_messages_come_once_and_land(declare: Declare, broker: Broker, lake: Lake) -> None:
    broker.make(TOPIC, 3)
    settings = declare(broker, page_rows=40)
    assert extract(settings) == Extracted((), ())
    broker.produce(TOPIC, events(100), 0)
    broker.produce(TOPIC, events(30, 100), 2)
    done = extract(settings)
    assert [file.rows for file in done.files] == [40, 40, 20, 30]
    assert extract(settings).files == ()
    lake.land()
    for path in files(settings):
        path.unlink()
    broker.produce(TOPIC, events(10, 130), 2)
    assert [file.rows for file in extract(settings).files] == [10], "what landed is known by its receipt"
    lake.land()
    assert landed(lake) == [*range(140)]


def test_names_prove_it(declare: Declare, broker: Broker) -> None:
    broker.make(TOPIC, 2)
    settings = declare(broker, page_rows=300)
    for run in range(2):
        broker.produce(TOPIC, events(2_000, 2_000 * run), 0)
        extract(settings)
    proven(settings, {0: 4_000})
    removed = [files(settings)[at] for at in (0, 3, 4, 9)]
    for path in removed:
        path.unlink()
    assert len(missing(spans(settings)[0])) == 4, "gaps are seen"
    broker.produce(TOPIC, events(2_000, 4_000), 0)
    extract(settings)
    proven(settings, {0: 6_000})
    assert all(path.exists() for path in removed), "and just they are delivered again"
    for path in files(settings):
        first, end = map(int, path.stem.split("_")[1:3])
        ids = [int(json.loads(line)["event_id"][-12:]) for line in path.read_bytes().splitlines()]
        assert ids == [*range(first, end)]


def test_the_query_of_the_guide_finds_what_does_not_follow(declare: Declare, broker: Broker) -> None:
    (query,) = re.findall(r"```sql\n(.*?)```", GUIDE.read_text(), re.DOTALL)
    broker.make(TOPIC, 2)
    settings = declare(broker, page_rows=5)
    for partition in range(2):
        broker.produce(TOPIC, events(15, 15 * partition), partition)
    extract(settings)
    query = query.replace("data/lake/inbox", str(settings.inbox))
    assert duckdb.sql(query).fetchall() == []
    files(settings)[4].rename(files(settings)[4].with_name("000001_00000000000000000003_00000000000000000009.ndjson"))
    assert duckdb.sql(query).fetchall() == [(1, 3, 9, 5), (1, 10, 15, 9)]


def test_poison_is_kept_and_costs_no_other_message(declare: Declare, broker: Broker, lake: Lake) -> None:
    poison = [
        b"[{",
        b"no json",
        b"\xff\xfe\x00",
        b'{"a":',
        b'"}',
        b"\x1f\x8b\x08",
        b"[1]",
        b"null",
        b"{\n\n",
        b"\x00{\x00",
    ]
    broker.make(TOPIC, len(poison))
    for partition, first in enumerate(poison):
        values = [first, *[each for each in poison if each != first], event(partition)]
        broker.produce(TOPIC, values, partition)
    extract(declare(broker))
    receipts = lake.land().receipts
    assert {receipt.status for receipt in receipts} == {Status.LANDED}
    assert len(lake.rows()) == len(poison)
    kept = Counter(row["raw"].removeprefix(b"\x1e ") for row in lake.rejects())
    assert kept == Counter({each.replace(b"\n", b" "): len(poison) for each in poison})


def test_a_topic_of_poison_alone_lands_as_rejects(declare: Declare, broker: Broker, lake: Lake) -> None:
    broker.make(TOPIC)
    broker.produce(TOPIC, [b"{", b'"a": 1', b"}"])
    extract(declare(broker))
    (receipt,) = lake.land().receipts
    assert (receipt.status, receipt.rows_rejected) == (Status.LANDED, 3)


def test_messages_without_a_value_are_no_rows_and_are_said(declare: Declare, broker: Broker, lake: Lake) -> None:
    broker.make(TOPIC, 3)
    broker.produce(TOPIC, [None, event(0), b"", b" \n ", event(1)], 0)
    broker.produce(TOPIC, [None] * 5, 1)
    settings = declare(broker)
    done = extract(settings)
    assert [file.rows for file in done.files] == [2, 0]
    assert done.notes == (
        f"shop.events: 8 messages of {TOPIC} have no value, so they are no rows (the first: partition 0, offset 0)",
    )
    proven(settings, {0: 5, 1: 5})
    assert extract(settings) == Extracted((), ()), "they are not read again"
    assert [receipt.status for receipt in lake.land().receipts] == [Status.LANDED] * 2
    broker.produce(TOPIC, [None], 1)
    extract(settings)
    lake.land()
    assert extract(settings).files == (), "a file with the same content has landed, too"


def message_of(number: int) -> bytes:
    """An event as Protobuf."""
    from google.protobuf import json_format, message_factory  # noqa: PLC0415

    from flows.contract.spec import descriptors  # noqa: PLC0415

    made = message_factory.GetMessageClass(descriptors().FindMessageTypeByName(load_specs()["events"].message))()
    json_format.ParseDict(json.loads(event(number)), made)
    return bytes(made.SerializeToString())


HEADER = b"\x00\x00\x00\x00\x04\x00"


@pytest.mark.parametrize("header", [b"", HEADER])
def test_protobuf_lands_with_and_without_the_framing_of_a_registry(
    declare: Declare, broker: Broker, lake: Lake, header: bytes
) -> None:
    poison = [b"\xff\xff", b"\x00 no message"]
    broker.make(TOPIC)
    broker.produce(TOPIC, [poison[0], *[header + message_of(n) for n in range(50)], None, b"", poison[1]])
    said = {"framing": "registry", "schemas": [1, 4]} if header else {}
    done = extract(declare(broker, format="protobuf", **said))
    assert done.rows == 52
    lake.land()
    assert landed(lake) == [*range(50)]
    assert [(row["reason"], row["raw"]) for row in lake.rejects()] == [("undecodable", each) for each in poison]
    assert ["have no header of a registry" in note for note in done.notes].count(True) == bool(header)


def test_a_schema_that_is_new_is_said_and_another_message_is_rejected(
    declare: Declare, broker: Broker, lake: Lake
) -> None:
    other = b"\x00\x00\x00\x00\x04\x02\x02" + message_of(9)
    broker.make(TOPIC)
    broker.produce(TOPIC, [HEADER + message_of(0), b"\x00\x00\x00\x00\x05\x00" + message_of(1), other])
    done = extract(declare(broker, format="protobuf", framing="registry", schemas=[4]))
    another, new = sorted(done.notes)
    assert (
        f"1 messages of {TOPIC} have schema 5, which extracts/ does not name (the first: partition 0, offset 1)" in new
    )
    assert f"1 messages of {TOPIC} are another message of their schema than [0]" in another
    lake.land()
    assert len(lake.rows()) == 2
    assert [row["raw"] for row in lake.rejects()] == [other]


def test_json_with_the_framing_of_a_registry_lands(declare: Declare, broker: Broker, lake: Lake) -> None:
    broker.make(TOPIC)
    broker.produce(TOPIC, [HEADER[:5] + each for each in events(20)])
    assert extract(declare(broker, framing="registry", schemas=[4])).notes == ()
    lake.land()
    assert len(lake.rows()) == 20


def test_a_message_longer_than_landing_takes_costs_no_other(declare: Declare, broker: Broker, lake: Lake) -> None:
    broker.make(TOPIC)
    producer = broker.producer(**{"message.max.bytes": 40_000_000})
    for value in (message_of(0), b"\x0a" + bytes(17 << 20), message_of(1)):
        producer.produce(TOPIC, value, partition=0)
        assert producer.flush(60) == 0
    settings = declare(broker, format="protobuf")
    done = extract(settings)
    assert [file.rows for file in done.files] == [1, 1, 1]
    (note,) = done.notes
    assert "1 messages" in note and "longer than 16 MiB" in note and "offset 1" in note
    assert [receipt.status for receipt in lake.land().receipts] == [Status.LANDED, Status.REFUSED, Status.LANDED]
    broker.produce(TOPIC, [message_of(2)])
    assert [file.rows for file in extract(settings).files] == [1], "and holds up none that come later"
    known = declare(broker, format="protobuf", lost={0: ["1-1"]})
    assert extract(known) == Extracted((), ())


def test_transactions(declare: Declare, broker: Broker) -> None:
    """What is open is delivered once it is over, and names cover the markers in between.

    This broker does not say what was taken back, so that is delivered, too.
    """
    broker.make(TOPIC)
    settings = declare(broker)
    producer = broker.producer(**{"transactional.id": "t"})
    producer.init_transactions(30)

    def write(first: int, count: int) -> None:
        producer.begin_transaction()
        for number in range(first, first + count):
            producer.produce(TOPIC, event(number), partition=0)
        producer.flush(30)

    write(0, 5)
    producer.commit_transaction(30)
    write(100, 5)
    producer.abort_transaction(30)
    extract(settings)
    write(5, 5)
    waiting = extract(settings)
    assert waiting.files == ()
    assert "of a transaction that is still open" in waiting.notes[0]
    producer.commit_transaction(30)
    extract(settings)
    assert numbers(settings) == Counter(dict.fromkeys([*range(10), *range(100, 105)], 1))
    proven(settings, {0: 18})


def test_a_partition_that_is_new_is_found(declare: Declare) -> None:
    with forgetful_cluster() as cluster:
        cluster.produce(TOPIC, events(5), 0)
        settings = declare(cluster)
        extract(settings)
        cluster.produce(TOPIC, events(5, 5), 3)
        extract(settings)
        proven(settings, {0: 5, 3: 5})


def test_lost_offsets_are_an_error_until_they_are_known_and_stop_no_other_partition(declare: Declare) -> None:
    with forgetful_cluster() as cluster:
        cluster.produce(TOPIC, events(100), 0)
        settings = declare(cluster, page_rows=50_000)
        extract(settings)
        cluster.produce(TOPIC, events(30_000, 100), 0)  # the first of these go
        cluster.produce(TOPIC, events(7, 500_000), 1)
        said = fails(settings, f"shop.events: topic {TOPIC}, partition 0: offsets 100-[0-9]+ are lost")
        remedy = said.partition("write to extracts.events in extracts/shop.yml: ")[2]
        proven(settings, {0: 100, 1: 7})
        assert fails(settings, "are lost"), "it is said until somebody answers"
        known = declare(cluster, **yaml.safe_load(remedy))
        extract(known)
        (gap, reached) = missing(spans(known)[0])
        assert isinstance(gap, Span) and remedy == f"lost: {{0: [{gap}]}}", "names show what is lost"
        assert reached == 30_100 and numbers(known).most_common(1)[0][1] == 1
        assert extract(known) == Extracted((), ())


def test_a_first_run_begins_where_the_broker_does(declare: Declare) -> None:
    with forgetful_cluster() as cluster:
        cluster.produce(TOPIC, events(30_000), 0)
        settings = declare(cluster)
        done = extract(settings)
        assert f"shop.events: partition 0 of {TOPIC} begins at offset" in done.notes[0]
        proven(settings, {0: 30_000})
        assert 0 < done.rows < 30_000
        assert extract(settings) == Extracted((), ())


def test_a_topic_that_was_made_again_is_an_error_until_it_is_begun_again(declare: Declare, broker: Broker) -> None:
    broker.make(TOPIC)
    broker.produce(TOPIC, events(50))
    settings = declare(broker)
    extract(settings)
    broker.remove(TOPIC)
    fails(settings, f"shop.events: topic {TOPIC}: there is no topic {TOPIC}")
    broker.make(TOPIC)
    broker.produce(TOPIC, events(80))  # more than before: by offsets alone the first 50 would be passed over
    said = fails(settings, f"shop.events: topic {TOPIC}: it was deleted and made again")
    assert numbers(settings) == each_once(50)
    again = declare(broker, **yaml.safe_load(said.partition("write to extracts.events in extracts/shop.yml: ")[2]))
    assert extract(again).rows == 80


def test_a_topic_that_ends_before_it_was_extracted_to_is_an_error(declare: Declare) -> None:
    """As one that was made again is, where the cluster gives topics no ids; so is a partition that is gone."""
    with forgetful_cluster() as cluster:
        cluster.produce(TOPIC, events(50), 0)
        settings = declare(cluster)
        extract(settings)
        (path,) = files(settings)
        path.rename(path.with_name(path.name.replace("50.ndjson", "70.ndjson")))
        fails(settings, "partition 0: it ends at offset 50, and was extracted up to 70")
    with forgetful_cluster() as cluster:
        path.with_name(path.name.replace("50.", "70.")).rename(path.with_name(f"000009{path.name[6:]}"))
        cluster.produce(TOPIC, events(5), 0)
        fails(declare(cluster), "topic product-events has no partition 9 any more; what was not extracted of it")
        assert numbers(settings) == Counter({n: 1 + (n < 5) for n in range(50)}), "the others went on"


def test_one_dataset_that_fails_stops_no_other(declare: Declare, broker: Broker) -> None:
    broker.make("t")
    broker.produce("t", [b"{}"])
    contents = {"topic": "t", "format": "json"}
    settings = declare(broker, topic="not-there", others={"contents": contents, "adverts": contents})
    fails(settings, "shop.events: topic not-there: there is no topic not-there, or this user may not see it")
    assert [len(files(settings, dataset)) for dataset in ("contents", "adverts")] == [1, 1]


RUN = "from flows.extract.run import extract; from flows.settings import Settings; extract(Settings(), 'shop')"


def started(settings: Settings, is_worker: bool = False) -> subprocess.Popen[bytes]:
    """A run in processes of its own, or the one of these alone that delivers."""
    where = {"TIDEMARK_HOME": str(settings.home), "TIDEMARK_EXTRACTS": str(settings.extracts)}
    return subprocess.Popen(
        [sys.executable, *(["-m", "flows.extract.worker", "shop", "events"] if is_worker else ["-c", RUN])],
        env={**os.environ, **where},
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )


def killed_often(declare: Declare, broker: Broker, kills: int, count: int, seed: int) -> None:
    broker.make(TOPIC, 3)
    for partition in range(3):
        broker.produce(TOPIC, events(count, partition * count), partition)
    settings = declare(broker, page_rows=30)
    moments = random.Random(seed)
    for kill in range(kills):
        process = started(settings, is_worker=kill % 2 == 1)
        had = len(files(settings))
        # As many before it has begun to deliver as while it does.
        until(lambda had=had, p=process, k=kill: len(files(settings)) > had or p.poll() is not None or k % 4 == 0)  # type: ignore[misc]
        time.sleep(moments.uniform(0, 0.3))
        process.send_signal(signal.SIGKILL)
        process.wait()
        assert numbers(settings).most_common(1) in ([], [(0, 1)]) or max(numbers(settings).values()) == 1
    extract(settings)
    proven(settings, dict.fromkeys(range(3), count))
    assert numbers(settings) == each_once(3 * count)


def test_killed_anywhere_it_goes_on_and_no_message_comes_twice(declare: Declare, broker: Broker) -> None:
    killed_often(declare, broker, 4, 3_000, 1)


@pytest.mark.long
def test_killed_at_very_many_moments(declare: Declare, broker: Broker) -> None:
    killed_often(declare, broker, 60, 30_000, 2)


def test_two_at_once_wait_for_each_other(declare: Declare, broker: Broker) -> None:
    broker.make(TOPIC)
    broker.produce(TOPIC, events(2_000))
    settings = declare(broker, page_rows=50)
    assert [process.wait() for process in [started(settings), started(settings)]] == [0, 0]
    proven(settings, {0: 2_000})
    assert numbers(settings) == each_once(2_000)


def test_two_homes_that_share_an_inbox_leave_no_gap(declare: Declare, broker: Broker, tmp_path: Path) -> None:
    """Nobody holds them apart; names do, or show what is in two files."""
    broker.make(TOPIC, 2)
    broker.produce(TOPIC, events(2_000), 0)
    broker.produce(TOPIC, events(2_000, 2_000), 1)
    one = declare(broker, page_rows=40)
    other = declare(broker, tmp_path / "other", page_rows=70)
    (other.home / "lake").mkdir(parents=True)
    one.inbox.mkdir(parents=True)
    other.inbox.symlink_to(one.inbox)
    assert [process.wait() for process in [started(one), started(other)]] == [0, 0]
    found = spans(one)
    assert {at: missing(some) for at, some in found.items()} == {0: [2_000], 1: [2_000]}
    counted = numbers(one)
    assert counted.keys() == each_once(4_000).keys()
    twice = sum(span.end - span.first for some in found.values() for span in overlaps(some))
    assert (twice > 0) == (max(counted.values()) > 1), "what comes twice is seen by names"
    assert [*one.inbox.rglob(".*")] == []


def test_a_broker_that_hangs_for_a_while_is_waited_for(declare: Declare, broker: Broker) -> None:
    broker.make(TOPIC)
    broker.produce(TOPIC, events(20_000))
    settings = declare(broker, page_rows=100)
    process = started(settings)
    until(lambda: files(settings))
    with broker.hanging():
        time.sleep(1)
    assert process.wait() == 0
    proven(settings, {0: 20_000})


def test_connections_that_are_cut_are_made_again(declare: Declare, tmp_path: Path) -> None:
    wire = Wire()
    with served_broker(tmp_path, "--advertised-listener-url", f"tcp://{wire.address}") as broker:
        wire.lead_to(broker.address)
        broker.make(TOPIC, 4)
        for partition in range(4):
            broker.produce(TOPIC, events(300, 300 * partition), partition)
        settings = declare(Cluster(wire.address), page_rows=100)
        for _ in deliver(settings, load_declared(settings.extracts).one("shop"), ["events"], print):
            wire.cut()
        proven(settings, dict.fromkeys(range(4), 300))
        assert numbers(settings) == each_once(1_200)
        wire.close()


@pytest.mark.parametrize("after", [0, 1])
def test_a_broker_that_hangs_does_not_hang_the_run(
    declare: Declare, broker: Broker, after: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("ANSWER_SECONDS", "ID_SECONDS", "QUIET_SECONDS", "DOWN_SECONDS"):
        monkeypatch.setattr(client, name, 1.0)
    broker.make(TOPIC, 2)
    for partition in range(2):
        broker.produce(TOPIC, events(100, 100 * partition), partition)
    settings = declare(broker, page_rows=60)
    declared = load_declared(settings.extracts).one("shop")
    run = deliver(settings, declared, ["events"], print)
    for _ in range(after):
        next(run)
    with broker.hanging(), pytest.raises(MayPassError):
        list(run)
    extract(settings)
    proven(settings, {0: 100, 1: 100})


def test_a_broker_that_dies_and_comes_back_empty_is_an_error_and_what_was_delivered_stands(
    declare: Declare, broker: Broker, monkeypatch: pytest.MonkeyPatch
) -> None:
    """This one keeps all in memory: what it had is gone, and that is said."""
    monkeypatch.setattr(client, "DOWN_SECONDS", 1.0)
    broker.make(TOPIC, 2)
    for partition in range(2):
        broker.produce(TOPIC, events(100, 100 * partition), partition)
    settings = declare(broker, page_rows=60)
    run = deliver(settings, load_declared(settings.extracts).one("shop"), ["events"], print)
    next(run)
    broker.kill()
    with pytest.raises(MayPassError):
        list(run)
    delivered = numbers(settings)
    assert {*range(60)} <= delivered.keys() and max(delivered.values()) == 1
    broker.start()
    fails(settings, "there is no topic product-events")
    broker.make(TOPIC)
    broker.produce(TOPIC, events(300))
    fails(settings, "it was deleted and made again")
    assert numbers(settings) == delivered


def test_a_user_who_is_not_let_in_is_not_tried_again(
    declare: Declare, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with served_broker(tmp_path, "--authentication", "--advertised-listener-url", "tcp://127.0.0.1:1") as broker:
        settings = declare(broker)
        as_user = "security.protocol=SASL_PLAINTEXT&sasl.mechanism=SCRAM-SHA-256"
        monkeypatch.setenv(VARIABLE, f"kafka://reader:hunter2@{broker.address}?{as_user}")
        said: list[str] = []
        with pytest.raises(TidemarkError, match=r"the cluster does not let this user in .*SCRAM auth") as raised:
            extract_in_a_process(settings, "shop", said.append)
        assert said == [] and "hunter2" not in str(raised.value)


def test_no_secret_is_in_a_message(
    declare: Declare, broker: Broker, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    settings = declare(broker)
    monkeypatch.setattr(running, "TRIES", 1)  # each waits for a cluster that does not answer
    secret = "hunter2%2Fin-the-tests"
    said: list[str] = []
    for url in (
        f"kafka://me:{secret}@127.0.0.1:1?security.protocol=SASL_PLAINTEXT&sasl.mechanism=PLAIN",
        f"kafka://{broker.address}?no.such.setting=1&sasl.password={secret}",
        f"kafka://{broker.address}?error_cb=1&sasl.password={secret}",
    ):
        monkeypatch.setenv(VARIABLE, url)
        with pytest.raises(TidemarkError, match=r"shop: ") as raised:
            extract_in_a_process(settings, "shop", said.append)
        said.append(str(raised.value))
    everything = "\n".join([*said, *capfd.readouterr()])
    assert "in-the-tests" not in everything
    assert "the cluster does not answer" in said[0] and 'No such configuration property: "no.such.setting"' in said[-2]
    monkeypatch.delenv(VARIABLE)
    fails(settings, f"shop: {VARIABLE} is not set")
