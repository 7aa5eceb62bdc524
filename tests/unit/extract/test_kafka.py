"""What a Kafka topic's files are named and hold, without a broker."""

import json
import re
import textwrap
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from flows.errors import TidemarkError
from flows.extract.declared import load_declared
from flows.extract.kafka.address import AddressError, client_settings
from flows.extract.kafka.declared import Cluster, Topic
from flows.extract.kafka.messages import (
    OTHER_MESSAGE,
    UNFRAMED,
    WITHOUT_VALUE,
    Encoder,
    Seen,
    beginning,
)
from flows.extract.kafka.spans import Span, covered, file_name, missing, overlaps
from flows.extract.worker import without_secrets
from flows.land.readers.protobuf import messages_in

OFFSETS = st.integers(0, 2**63 - 1)


@given(st.lists(st.tuples(st.integers(0, 40), st.integers(1, 15)), max_size=12))
def test_what_is_missing_is_what_no_name_covers(spans: list[tuple[int, int]]) -> None:
    made = [Span(first, first + length) for first, length in spans]
    offsets = [offset for span in made for offset in range(span.first, span.end)]
    *gaps, open_from = missing(made)
    assert open_from == max(offsets, default=-1) + 1
    found = [offset for gap in gaps if isinstance(gap, Span) for offset in range(gap.first, gap.end)]
    assert isinstance(open_from, int) and found == sorted({*range(open_from)} - {*offsets})
    twice = {offset for offset in offsets if offsets.count(offset) > 1}
    assert {offset for span in overlaps(made) for offset in range(span.first, span.end)} == twice


@given(st.integers(0, 10**6), OFFSETS, OFFSETS, st.sampled_from([None, "0a1b2c3d"]))
def test_a_name_says_its_span(partition: int, one: int, other: int, topic: str | None) -> None:
    span = Span(min(one, other), max(one, other) + 1)
    name = file_name(partition, span, topic, "ndjson")
    found = covered([f"shop/events/extract-12345678/{name}", name, "by hand.ndjson", "000001_5_6.pb", ""])
    assert found.spans == {partition: (span,)}
    assert found.topics == ({topic} if topic else set())


def test_names_are_in_the_order_of_offsets() -> None:
    spans = [Span(0, 9), Span(9, 10), Span(10, 10**6), Span(10**6, 2**63 - 1)]
    names = [file_name(3, span, None, "pb") for span in spans]
    assert names == sorted(names)
    assert all(covered([one, other]).spans[3] == pair for (one, other), pair in zip(pairwise(names), pairwise(spans)))  # noqa: B905


def topic(**said: Any) -> Topic:
    return Topic(**{"topic": "t", "format": "json"} | said)


def records(values: list[bytes | None], **said: Any) -> tuple[bytes, Seen]:
    seen = Seen()
    encoder = Encoder(topic(**said), seen)
    return b"".join(encoder.one(value, offset) for offset, value in enumerate(values)), seen


def framed(schema: int, *indexes: int) -> bytes:
    """A header as a registry's clients write it: https://docs.confluent.io, "wire format"."""
    return bytes([0]) + schema.to_bytes(4, "big") + bytes(indexes)


@given(st.lists(st.one_of(st.none(), st.binary(max_size=200)), max_size=20), st.sampled_from(["json", "protobuf"]))
def test_the_quick_way_makes_the_same_records(values: list[bytes | None], format_: str) -> None:
    for some in (values, [b"{" + (value or b"").replace(b"\n", b"") + b"}" for value in values]):
        quick = Encoder(topic(format=format_), Seen()).plain([*some])
        slow, _ = records([*some], format=format_)
        assert quick is None or quick == slow
        assert quick is not None or not some or some is values


@given(st.lists(st.binary(max_size=300), min_size=1, max_size=20))
def test_landing_reads_each_protobuf_message_as_it_was_sent(values: list[bytes]) -> None:
    data, seen = records([*values], format="protobuf")
    kept = [value for value in values if value]
    if kept:
        assert [message for some in messages_in(iter([beginning(data, is_json=False)])) for message in some] == kept
    assert seen.counts[WITHOUT_VALUE] == len(values) - len(kept)


@pytest.mark.parametrize("head", [b"PK\x03\x04", b"%PDF-", b"\x28\xb5\x2f\xfd", b"\x1f\x8b\x08", b"Obj\x01"])
def test_a_message_that_makes_a_file_look_like_another_format_does_not(head: bytes) -> None:
    value = (head[1:] + bytes(head[0]))[: head[0]]
    data, _ = records([value, b"\x08\x01"], format="protobuf")
    assert data.startswith(head)
    made = beginning(data, is_json=False)
    assert not made.startswith(head)
    assert [message for some in messages_in(iter([made])) for message in some] == [value, b"\x08\x01"]


def test_json_is_one_message_a_line() -> None:
    pretty = json.dumps({"a": "x\ny", "b": [1, 2]}, indent=2).encode()
    data, seen = records([pretty, None, b"", b" \n", b"no json", b'{"a":1}\r\n'])
    lines = data.split(b"\n")
    assert [json.loads(lines[0]), lines[1:]] == [{"a": "x\ny", "b": [1, 2]}, [b"no json", b'{"a":1}\r ', b""]]
    assert (seen.counts[WITHOUT_VALUE], seen.first[WITHOUT_VALUE]) == (3, "partition 0, offset 1")


@pytest.mark.parametrize(
    ("header", "said"),
    [
        (framed(7), {}),
        (framed(7, 0), {"format": "protobuf"}),
        (framed(7, 2, 0), {"format": "protobuf"}),
        (framed(7, 4, 2, 4), {"format": "protobuf", "message": (1, 2)}),
        (framed(7, 2, 0x80 | 0x48, 0x02), {"format": "protobuf", "message": (164,)}),
    ],
)
def test_a_header_is_taken_away_exactly(header: bytes, said: dict[str, Any]) -> None:
    bare, _ = records([b"{payload}"], **said)
    data, seen = records([header + b"{payload}"], framing="registry", schemas=(7,), **said)
    assert data == bare and not seen.counts
    data, seen = records([header + b"{payload}"] * 2, framing="registry", schemas=(1, 4), **said)
    assert data == bare * 2 and seen.counts == {7: 2} and seen.first == {7: "partition 0, offset 0"}


@pytest.mark.parametrize(
    ("value", "said", "what"),
    [
        (b'{"a":1}', {}, UNFRAMED),
        (b"\x00\x00\x00", {}, UNFRAMED),
        (b"\x0a\x01a", {"format": "protobuf"}, UNFRAMED),
        (framed(7), {"format": "protobuf"}, UNFRAMED),
        (framed(7, 0x80), {"format": "protobuf"}, UNFRAMED),
        (framed(7, 3) + b"abc", {"format": "protobuf"}, UNFRAMED),
        (framed(7, *[0xFF] * 12), {"format": "protobuf"}, UNFRAMED),
        (framed(7, 2, 2) + b"abc", {"format": "protobuf"}, OTHER_MESSAGE),
        (framed(7, 0) + b"abc", {"format": "protobuf", "message": (1,)}, OTHER_MESSAGE),
    ],
)
def test_what_has_no_header_or_another_is_kept_as_it_came(value: bytes, said: dict[str, Any], what: str) -> None:
    data, seen = records([value], framing="registry", schemas=(7,), **said)
    assert data == records([value], **said)[0]
    assert seen.counts == {what: 1}


GOOD: dict[str, Any] = {
    "connection": {"kind": "kafka", "url_from": "EVENTS_KAFKA_URL"},
    "extracts": {"events": {"topic": "product-events", "format": "protobuf", "framing": "registry", "schemas": [1, 4]}},
}


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"topic": "a b"}, "extracts.events.topic"),
        ({"format": "avro"}, "extracts.events.format: input should be 'json' or 'protobuf'"),
        ({"framing": "none"}, "extracts.events.schemas: ids stand before messages with `framing: registry` alone"),
        ({"framing": "none", "schemas": [], "message": [1]}, "extracts.events.message: this stands before"),
        ({"lost": {0: ["9-5"]}}, r"extracts.events.lost.0.0: write the first and the last offset, such as 12000-14999"),
        ({"lost": {"a": ["5-9"]}}, "extracts.events.lost.a"),
        ({"restart": -1}, "extracts.events.restart"),
        ({"page_rows": 0}, "extracts.events.page_rows"),
        ({"group": "x"}, "extracts.events.group: extra inputs are not permitted"),
    ],
)
def test_a_declaration_is_read_and_what_is_wrong_is_said(tmp_path: Any, changes: dict[str, Any], words: str) -> None:
    path = tmp_path / "shop.yml"
    path.write_text(yaml.safe_dump(GOOD))
    read = load_declared(tmp_path).one("shop").source.extracts["events"]
    assert isinstance(read, Topic) and (read.schemas, read.message, read.page_rows) == ((1, 4), (0,), 1_000_000)
    events = {**GOOD["extracts"]["events"], **changes}
    path.write_text(yaml.safe_dump({**GOOD, "extracts": {"events": events}}))
    with pytest.raises(TidemarkError, match=words):
        load_declared(tmp_path).one("shop")


def test_the_example_of_the_guide_is_right(tmp_path: Any) -> None:
    guide = (Path(__file__).parents[3] / "docs" / "guides" / "kafka.md").read_text()
    (example,) = re.findall(r"```yaml\n(.*?)```", guide, re.DOTALL)
    (tmp_path / "shop.yml").write_text(textwrap.dedent(example))
    extracted = load_declared(tmp_path).one("shop").source.extracts["events"]
    assert isinstance(extracted, Topic) and extracted.schemas == (1, 4)
    (address,) = re.findall(r"EVENTS_KAFKA_URL='(.*)'", guide)
    assert client_settings(address)["sasl.mechanism"] == "SCRAM-SHA-512"


def test_what_decides_is_what_files_follow_from() -> None:
    one = topic()
    assert one.mark() == topic(page_rows=5, lost={0: ["5-9"]}).mark()
    assert topic(lost={3: ["12000-14999"]}).lost == {3: (Span(12000, 15000),)}
    marks = {topic(**said).mark() for said in ({}, {"restart": 1}, {"topic": "u"}, {"format": "protobuf"})}
    assert len(marks) == 4


def test_an_address_is_settings() -> None:
    found = client_settings(
        "kafka://me:p%40ss:+w@h1:9092,h2:9092/?security.protocol=SASL_SSL&sasl.mechanism=SCRAM-SHA-512&x=a+%26b"
    )
    assert (found["bootstrap.servers"], found["sasl.username"], found["sasl.password"]) == (
        "h1:9092,h2:9092",
        "me",
        "p@ss:+w",
    )
    assert (found["security.protocol"], found["x"], found["auto.offset.reset"]) == ("SASL_SSL", "a+&b", "error")
    assert client_settings("kafka://[::1]:9092")["bootstrap.servers"] == "[::1]:9092"


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("host:9092", "is no address of Kafka: write kafka://"),
        ("http://host", "is no address of Kafka"),
        ("kafka://", "names no hosts"),
        ("kafka://me:hunter2/x@host", "in its password write / @ #"),
        ("kafka://me:hunter2@x@host", "in its password write"),
        ("kafka://me:hunter2?x@host", "in its password write"),
        ("kafka://me:hunter2#x@host", "in its password write"),
        ("kafka://me:hunter2@host?sasl.mechanism=PLAIN", "does not say how they sign in"),
        ("kafka://me:hunter2@host", "does not say how they sign in"),
        ("kafka://host?hunter2", "has settings that are not name=value"),
        ("kafka://host?auto.offset.reset=earliest", "may not set auto.offset.reset"),
        ("kafka://host?a=hunter2&a=b", "has a setting twice"),
        ("kafka://me hunter2", "in its password write"),
    ],
)
def test_what_is_wrong_with_an_address_is_said_without_it(url: str, words: str) -> None:
    with pytest.raises(AddressError, match=words) as raised:
        client_settings(url)
    assert "hunter2" not in str(raised.value)


@pytest.mark.parametrize(
    "url",
    [
        "kafka://me:p%40ss%2Fword@host:9092?security.protocol=SASL_SSL&sasl.mechanism=PLAIN",
        "kafka://host?sasl.password=p%40ss%2Fword&sasl.username=x",
        "kafka://host?sasl.oauthbearer.client.secret=p%40ss%2Fword",
        "kafka://host?ssl.key.password=p%40ss%2Fword",
    ],
)
def test_no_form_of_a_password_is_said(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EVENTS_KAFKA_URL", url)
    secrets = [*Cluster(kind="kafka", url_from="EVENTS_KAFKA_URL").secrets()]
    for said in (f"cannot reach {url}", "password p@ss/word was wrong", "p%40ss%2Fword"):
        found = without_secrets(said, secrets)
        assert "ss/word" not in found and "ss%2Fword" not in found and "***" in found
