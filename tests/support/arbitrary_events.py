"""Events as Hypothesis draws them: any that fit the contract, and lines with any mutation of one."""

import json
from datetime import datetime
from typing import Any

from hypothesis import strategies as st

from tests.support.contract_reading import CHANNELS, ENVELOPE, NAME, PAYLOADS, PLATFORMS, PURPOSES, REACTIONS

texts = st.text(max_size=12)
words = st.text(min_size=1, max_size=12).filter(lambda text: text.strip() == text)
numbers_as_text = st.sampled_from(["12345", "-1", "true", "null", "{}", "[1]", "NaN", "1e5", "0"])
moments = st.datetimes(datetime(1970, 1, 1), datetime(2090, 1, 1))
times = moments.map(lambda moment: moment.isoformat(timespec="microseconds") + "Z")
names = st.from_regex(NAME, fullmatch=True).map(lambda name: name[:10])
KINDS: dict[str, st.SearchStrategy[Any]] = {
    "uuid": st.uuids().map(str),
    "time": times,
    "name": names,
    "platform": st.sampled_from(PLATFORMS),
    "text": words | numbers_as_text,
    "consent": st.lists(st.sampled_from(PURPOSES), unique=True),
    "country": st.sampled_from(["SE", "NO", "GB"]),
    "dropped": st.sampled_from(["a crawler", "203.0.113.9", "a person"]),
    "depth": st.floats(0, 1),
    "active_ms": st.integers(0, 86_400_000),
    "count": st.integers(0, 2**63 - 1),
    "position": st.integers(1, 2**31 - 1),
    "reaction": st.sampled_from(REACTIONS),
    "channel": st.sampled_from(CHANNELS),
}
junk = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | texts,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3),
    max_leaves=5,
)


@st.composite
def valid_events(draw: st.DrawFn) -> dict[str, Any]:
    """An event that fits; optional fields may be null."""

    def fields(kinds: dict[str, str]) -> dict[str, Any]:
        return {
            name: draw(KINDS[kind.removesuffix("!")] if kind.endswith("!") or kind == "consent"
                       else st.none() | KINDS[kind])
            for name, kind in kinds.items()
        }  # fmt: skip

    payload = draw(st.sampled_from(sorted(PAYLOADS)))
    return fields(ENVELOPE) | {payload: fields(PAYLOADS[payload])}


MUTATIONS = ["none", "none", "value", "drop", "unknown", "payload", "bytes", "cut", "text", "junk"]


def says_something(event: dict[str, Any]) -> bool:
    """Whether the payload holds any value: CSV cannot tell an empty payload from none."""
    (payload,) = set(event) & set(PAYLOADS)
    return any(value is not None for value in event[payload].values())


@st.composite
def json_lines(draw: st.DrawFn) -> bytes:
    """An event as a line, as it is or mutated in any way."""
    event = draw(valid_events())
    (payload,) = set(event) & set(PAYLOADS)
    mutation = draw(st.sampled_from(MUTATIONS))
    holder = event if draw(st.booleans()) else event[payload]
    key = draw(st.sampled_from(sorted(holder)))
    if mutation == "value":
        holder[key] = draw(junk)
    elif mutation == "drop":
        del holder[key]
    elif mutation == "unknown":
        holder[draw(texts)] = draw(junk)
    elif mutation == "payload":
        event[draw(st.sampled_from(sorted(PAYLOADS)))] = draw(junk)
    separators = draw(st.sampled_from([(",", ":"), (", ", ": ")]))
    line = json.dumps(event, ensure_ascii=draw(st.booleans()), separators=separators).encode()
    position = draw(st.integers(0, len(line) - 1))
    if mutation == "bytes":
        line = line[:position] + draw(st.binary(min_size=1, max_size=2)) + line[position + 1 :]
    elif mutation == "cut":
        line = line[:position]
    elif mutation == "text":
        line = draw(texts).encode()
    elif mutation == "junk":
        line = json.dumps(draw(junk)).encode()
    return line.replace(b"\n", b" ").replace(b"\r", b" ")
