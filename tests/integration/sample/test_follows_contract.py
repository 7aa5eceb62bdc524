"""What the contract gains, the sample has at once: in lines and in records, and so that it lands."""

import shutil
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from flows import sample
from flows.contract import spec as contract
from flows.contract.generate import GENERATED, build_descriptors, generate
from flows.contract.spec import PROJECT, DatasetSpec, descriptors, load_specs
from flows.land.readers import protobuf as protobuf_reader
from flows.sample import files as sample_files
from flows.sample import wire as sample_wire
from flows.sample.values import NoSampleValueError
from tests.support.lake import Lake

Change = Callable[[dict[Path, Callable[[str], str]]], dict[str, DatasetSpec]]

EVENTS, DAYS, SEED = 6000, 3, 7
EVENTS_PROTO = Path("contracts/tidemark/events/v1/events.proto")
PURPOSE = 'purposes: ["analytics"] privacy: PRIVACY_NONE'


def field(name: str, number: int, kind: str = "optional string", options: str = "") -> str:
    return f'{kind} {name} = {number} [(tidemark.options.v1.field) = {{ description: "Made." {options} {PURPOSE} }}];\n'


KINDS = (
    field("content_id", 1, options="required: true")
    + field("content_type", 2, options="required: true")
    + field("advert_id", 3, options="required: true")
    + field("colour", 4, options='required: true accepted_values: ["light \\"blue\\"", "it\'s red"]')
    + field("code", 5, options='required: true pattern: "[A-Z]{3}"')
    + field("share", 6, "optional double", "required: true min: -1 max: 1")
    + field("seconds", 7, "optional int64", "required: true min: 5")
    + field("place", 8, "optional int32", "required: true max: -5")
    + field("moment", 9, "optional google.protobuf.Timestamp", "required: true")
    + field("birth", 10, options="required: true logical: LOGICAL_DATE")
    + field("request", 11, options="required: true logical: LOGICAL_UUID")
    + field("is_new", 12, "optional bool", "required: true")
    + field("tags", 13, "repeated string", 'accepted_values: ["a", "b"]')
    + field("note", 14)
)
NEWSLETTERS = f"""
syntax = "proto3";
package tidemark.newsletters.v1;
import "google/protobuf/timestamp.proto";
import "tidemark/options/v1/options.proto";
message Newsletter {{
  option (tidemark.options.v1.dataset) = {{
    name: "newsletters" description: "One row per newsletter." owner: "tests" source: "post"
    key: ["newsletter_id"] redelivery: REDELIVERY_NEWEST_WINS retention_days: 9
  }};
  {field("newsletter_id", 20, options="required: true")}
  {KINDS}
}}
"""


def with_payload(text: str) -> str:
    """A payload with a field of every kind."""
    return (
        text.replace("  oneof payload {", "  oneof payload {\n    Trial trial = 90;\n")
        + f"message Trial {{\n{KINDS}}}\n"
    )


def with_fields(text: str) -> str:
    """A required field more in the envelope, in a payload and in another dataset."""
    more = field("channel_name", 91, options='required: true pattern: "[a-z]+"') + field("score", 92, "optional double")
    text = text.replace("  // What happened: exactly one.", more + "  // What happened: exactly one.")
    return text.replace(
        "message ContentView {", f"message ContentView {{\n{field('wanted', 93, options='required: true')}"
    )


@pytest.fixture
def changed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Change:
    """Gives the sample and landing another contract: the project's, with each file named written again."""

    def change(files: dict[Path, Callable[[str], str]]) -> dict[str, DatasetSpec]:
        folder = tmp_path / "project"
        shutil.copytree(PROJECT / "contracts", folder / "contracts")
        shutil.copy(PROJECT / "buf.yaml", folder)
        for path, edit in files.items():
            (folder / path).parent.mkdir(parents=True, exist_ok=True)
            (folder / path).write_text(edit((folder / path).read_text() if (folder / path).exists() else ""))
        for path, content in generate(build_descriptors(folder), PROJECT).items():
            (folder / path).parent.mkdir(parents=True, exist_ok=True)
            (folder / path).write_bytes(content)
        specs = load_specs(folder / GENERATED)
        monkeypatch.setattr(sample, "load_specs", lambda: specs)
        for module in (sample_files, protobuf_reader):
            monkeypatch.setattr(module, "descriptors", lambda: descriptors(folder / GENERATED / "contract.binpb"))
        return specs

    return change


def land_sample(lake: Lake, specs: dict[str, DatasetSpec]) -> sample.SampleResult:
    """The sample, landed: nothing is rejected but the dirt that the sample counts."""
    result = sample.generate(lake.settings.home, EVENTS, DAYS, SEED)
    done = lake.land(specs)
    flaws = ("malformed_lines", "missing_fields", "wrong_types", "unreadable_records")
    known = [row for row in lake.rejects() if row["field"] not in (None, "occurred_at", "received_at")]
    assert done.rows("rows_rejected") == sum(result.dirt[flaw] for flaw in flaws), known
    assert done.rows("unknown_keys") == result.dirt["unknown_fields"]
    assert result.distinct_events == EVENTS
    return result


def test_every_recipe_is_of_the_contract() -> None:
    spec = load_specs()["events"]
    fields = {f.path for f in spec.fields}
    recipes = {f"{payload}.{name}" for payload, names in sample_wire.PAYLOADS.items() for name in names}
    assert recipes | sample_wire.ENVELOPE.keys() <= fields


def test_a_new_payload_is_sent_as_lines_and_as_records(lake: Lake, changed: Change) -> None:
    land_sample(lake, changed({EVENTS_PROTO: with_payload}))
    rows = [row for row in lake.rows() if row["event_type"] == "trial"]
    assert 10 < len(rows) < 0.05 * EVENTS
    assert {row["session_id"] is None for row in rows} == {True, False}  # browsers and apps
    assert {row["colour"] for row in rows} == {'light "blue"', "it's red"}
    assert len({row["code"] for row in rows}) > 1
    assert all(-1 <= row["share"] <= 1 and row["seconds"] >= 5 and row["place"] <= -5 for row in rows)
    assert {row["is_new"] for row in rows} == {True, False}
    assert {(row["has_a_tags"], row["has_b_tags"]) for row in rows} >= {(True, False), (False, True)}
    assert {row["note"] is None for row in rows} == {True, False}
    # About a thing that exists, and of the kind that it is.
    views = {(row["content_id"], row["content_type"]) for row in lake.rows("contents")}
    assert {(row["content_id"], row["content_type"]) for row in rows} <= views
    assert {row["advert_id"] for row in rows} <= {row["advert_id"] for row in lake.rows("adverts")}


def said_by_copies(rows: list[dict[str, Any]]) -> dict[bytes, set[str]]:
    """What the copies of each event say, beside when and how they came."""
    of_copy = {"sent_at", "received_at", "_batch_id", "_line"}
    said: dict[bytes, set[str]] = {}
    for row in rows:
        said.setdefault(row["event_id"], set()).add(repr({k: v for k, v in row.items() if k not in of_copy}))
    return said


def test_new_fields_have_values_and_every_copy_the_same(lake: Lake, changed: Change) -> None:
    proto = Path("contracts/tidemark/contents/v1/contents.proto")
    wanted = field("tone", 90, options="required: true")
    wanted += field("tags", 91, "repeated string", 'accepted_values: ["a", "b"]')
    specs = changed(
        {
            EVENTS_PROTO: lambda text: with_fields(with_payload(text)),
            proto: lambda text: text.rstrip().removesuffix("}") + wanted + "}\n",
        }
    )
    land_sample(lake, specs)
    rows = lake.rows()
    assert all(row["channel_name"] for row in rows)
    assert {row["score"] is None for row in rows} == {True, False}
    assert all(row["wanted"] for row in rows if row["event_type"] == "content_view")
    # Contents are delivered in CSV, where a list stands as JSON.
    assert all(row["tone"] for row in lake.rows("contents"))
    tags = {(row["has_a_tags"], row["has_b_tags"]) for row in lake.rows("contents")}
    assert tags == {(one, other) for one in (True, False) for other in (True, False)}
    said = said_by_copies(rows)
    assert len(said) < len(rows)
    assert all(len(ways) == 1 for ways in said.values())


def test_a_new_dataset_is_delivered_every_day(lake: Lake, changed: Change) -> None:
    specs = changed({Path("contracts/tidemark/newsletters/v1/newsletters.proto"): lambda _: NEWSLETTERS})
    result = land_sample(lake, specs)
    rows = lake.rows("newsletters")
    assert len(rows) == result.table_rows["newsletters"] == DAYS * sample.tables.MADE_ROWS
    assert len({row["newsletter_id"] for row in rows}) == len(rows)
    assert Counter(path.parent.name for path in lake.settings.inbox.glob("post/newsletters/*")) == {"newsletters": DAYS}


def test_what_the_contract_gains_changes_nothing_else(tmp_path: Path, changed: Change) -> None:
    """A dataset more leaves the other files' bytes as they are."""
    sample.generate(tmp_path / "before", 2000, 2, SEED)
    changed({Path("contracts/tidemark/newsletters/v1/newsletters.proto"): lambda _: NEWSLETTERS})
    sample.generate(tmp_path / "after", 2000, 2, SEED)
    before, after = (
        {path.relative_to(tmp_path / name): path.read_bytes() for path in (tmp_path / name / "lake").rglob("*.*")}
        for name in ("before", "after")
    )
    assert before.items() <= after.items()
    assert all("newsletters" in path.parts for path in after.keys() - before.keys())


def test_a_sample_made_before_says_what_it_lacks(tmp_path: Path, changed: Change) -> None:
    sample.generate(tmp_path / "home", 500, 2, SEED)
    assert sample.generate(tmp_path / "home", 500, 2, SEED).lacking == ()
    changed({EVENTS_PROTO: with_payload})
    found = sample.generate(tmp_path / "home", 500, 2, SEED)
    assert found.skipped and found.lacking == ("trial",)


def test_a_pattern_that_no_example_matches_is_reported_with_its_field(tmp_path: Path, changed: Change) -> None:
    odd = field("odd", 91, options='required: true pattern: "zz9-[x-z]{7}"')
    changed({EVENTS_PROTO: lambda text: text.replace("message ContentView {", f"message ContentView {{\n{odd}")})
    with pytest.raises(NoSampleValueError, match=r"content_view\.odd.*zz9.*EXAMPLES in flows/sample/values\.py"):
        sample.generate(tmp_path / "home", 500, 2, SEED)
    assert contract.load_specs() != sample.load_specs()
