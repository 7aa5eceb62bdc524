"""The contract is read whole, and a contract that contradicts itself is reported with the field's name."""

import json
from typing import Any

import pytest
from google.protobuf import descriptor_pb2

from flows.contract.from_protobuf import specs_from_descriptors
from flows.contract.spec import (
    DESCRIPTORS,
    GENERATED,
    LINEAGE,
    DatasetSpec,
    Held,
    Purpose,
    Redelivery,
    Treatment,
    Truncate,
    Truncation,
    load_specs,
)
from tests.support.contracts import Change, changed, changed_dataset
from tests.support.deliveries import field_of, small_spec

ALL_FIELDS = [pytest.param(spec, f, id=f"{spec.name}.{f.path}") for spec in load_specs().values() for f in spec.fields]


def set_option(name: str, value: Any) -> Change:
    return lambda field, option: setattr(option, name, value)


def set_type(number: int) -> Change:
    return lambda field, option: setattr(field, "type", number)


def repeat(field: Any, option: Any) -> None:
    field.label = field.LABEL_REPEATED
    field.ClearField("proto3_optional")
    field.ClearField("oneof_index")


def make_mandatory(field: Any, option: Any) -> None:
    field.ClearField("proto3_optional")
    field.ClearField("oneof_index")


FIELD = descriptor_pb2.FieldDescriptorProto


@pytest.mark.parametrize(
    ("message", "field", "change", "words"),
    [
        ("Event", "country", set_option("description", ""), "country.*description"),
        ("Event", "country", set_option("privacy", 0), "country.*privacy"),
        ("Event", "country", lambda field, option: option.Clear(), "country"),
        ("ContentProgress", "active_ms", set_type(FIELD.TYPE_UINT64), "active_ms.*int64"),
        ("ContentProgress", "depth", set_type(FIELD.TYPE_FLOAT), "depth.*double"),
        ("Event", "country", set_type(FIELD.TYPE_BYTES), "country"),
        ("ContentProgress", "active_ms", repeat, "active_ms.*repeated"),
        ("ContentProgress", "depth", make_mandatory, "depth.*optional"),
        ("ContentReaction", "content_id", set_option("privacy", 5), "content_reaction.content_id.*differ"),
        ("AdvertClick", "position", set_type(FIELD.TYPE_INT64), "advert_click.position.*differ"),
        ("AdvertClick", "slot", set_option("treatment", 2), "advert_click.slot.*differ"),
    ],
)
def test_a_contradiction_is_reported_with_the_field(message: str, field: str, change: Change, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        specs_from_descriptors(changed(field, change, message))


@pytest.mark.parametrize(
    ("option", "value", "error"),
    [
        ("key", ["contnt_id"], r"Content: key names 'contnt_id', which is no field of it; did you mean 'content_id'\?"),
        ("key", ["title"], r"Content: key names 'title', which must be `required: true`"),
        ("key", [], r"Content: the dataset option needs 'key'"),
        ("owner", "", r"Content: the dataset option needs 'owner'"),
        ("source", "", r"Content: the dataset option needs 'source'"),
        ("require_one_of", ["titl", "byline"], r"Content: require_one_of names 'titl', .* did you mean 'title'\?"),
        ("require_one_of", ["title"], r"Content: require_one_of names 'title' alone; make that field `required: true`"),
        ("day_of", "published", r"Content: day_of names 'published', which is no field of it"),
        ("day_of", "content_id", r"Content: day_of names 'content_id', which is no Timestamp"),
        (
            "history.updated_at",
            "updated",
            r"Content: history.updated_at names 'updated', .* did you mean 'updated_at'\?",
        ),
        (
            "history.updated_at",
            "published_at",
            r"history.updated_at names 'published_at', which must be `required: true`",
        ),
        ("history.updated_at", "content_id", r"Content: history.updated_at names 'content_id', which is no Timestamp"),
        ("history.updated_at", "", r"Content: history.versions needs history.updated_at"),
        ("history.domain", "", r"Content: history.domain names a folder of models/intermediate, .* it is ''"),
        ("history.domain", "News room", r"history.domain names a folder of models/intermediate, .* it is 'News room'"),
        ("key", ["content_id", "product"], r"Content: a dataset with a history has one field as its key, not 2"),
    ],
)
def test_a_contradiction_of_a_dataset_is_reported(option: str, value: Any, error: str) -> None:
    def change(dataset: Any) -> None:
        *inside, name = option.split(".")
        changed = getattr(dataset, inside[0]) if inside else dataset
        changed.ClearField(name)
        if isinstance(value, list):
            getattr(changed, name).extend(value)
        else:
            setattr(changed, name, value)

    with pytest.raises(ValueError, match=error):
        specs_from_descriptors(changed_dataset(change, "Content", "contents"))


def test_what_the_contract_says_of_a_field_reaches_its_spec() -> None:
    def change(field: Any, option: Any) -> None:
        option.required = True
        option.accepted_values.extend(["SE", "NO"])
        option.min, option.max = 0, 7
        option.retention_days = 30
        option.treatment = 2

    specs = {s.name: s for s in specs_from_descriptors(changed("country", change))}
    (country,) = (f for f in specs["events"].fields if f.name == "country")
    assert country.required
    assert country.accepted_values == ("SE", "NO")
    assert (country.min, country.max, country.retention_days, country.treatment) == (0, 7, 30, Treatment.DROP)


def test_the_committed_specs_are_those_of_the_committed_descriptors() -> None:
    specs = specs_from_descriptors(DESCRIPTORS.read_bytes())
    assert {s.name: s for s in specs} == load_specs()
    assert {s.name for s in specs} >= {"accounts", "adverts", "calls", "contents", "events"}


@pytest.mark.parametrize(("spec", "field"), ALL_FIELDS)
def test_every_field_says_what_it_means_and_may_be_used_for(spec: DatasetSpec, field: Any) -> None:
    assert field.description.endswith(".")
    assert field.purposes
    assert set(field.purposes) <= set(Purpose)
    if field.privacy in ("direct_identifier", "identifier"):
        assert field.treatment is not Treatment.KEEP


@pytest.mark.parametrize("spec", load_specs().values(), ids=lambda spec: spec.name)
def test_every_dataset_says_whose_it_is_and_what_identifies_a_row(spec: DatasetSpec) -> None:
    assert spec.description.startswith("One row per ")
    assert spec.owner
    assert spec.source
    of_people = {"behaviour", "quasi_identifier", "identifier", "direct_identifier", "free_text"}
    assert spec.retention_days > 0 or not {f.privacy for f in spec.fields} & of_people
    assert set(spec.key) <= {f.name for f in spec.fields if f.required}


def test_events_of_a_name_that_comes_again_stay() -> None:
    """Deduplication decides row by row: another file of the name may hold other events."""
    assert load_specs()["events"].redelivery is Redelivery.KEEP_BOTH


def test_columns_leave_out_what_is_dropped_and_name_what_is_hashed() -> None:
    columns = {c.name: c for c in load_specs()["events"].columns()}
    assert not {"ip_address", "user_agent", "query", "device_id", "user_id"} & set(columns)
    assert (columns["device_key"].type, columns["device_key"].privacy) == ("uuid", "pseudonym")
    # A sender must say it, and a row without consent lands without it.
    assert [f.required for f in load_specs()["events"].fields if f.name == "device_id"] == [True]
    assert not columns["device_key"].required
    assert not columns["user_key"].required
    assert columns["event_type"].accepted_values == load_specs()["events"].payloads
    assert list(columns)[-3:] == ["event_date", *LINEAGE] == ["event_date", "_batch_id", "_line"]
    assert (columns["event_date"].type, columns["event_date"].required) == ("date", True)
    # Required within its payload only, so not of every row.
    assert not columns["content_id"].required


def test_a_list_of_accepted_values_is_a_column_a_value_where_it_stood() -> None:
    columns = {c.name: c for c in load_specs()["events"].columns()}
    purposes = {f"has_{value}_consent": value for value in ("analytics", "personalisation", "advertising")}
    assert "consent" not in columns
    at = list(columns).index("session_id") + 1
    assert list(columns)[at : at + 4] == [*purposes, "country"]
    for name, value in purposes.items():
        assert columns[name].holds == Held(field="consent", value=value)
        assert (columns[name].type, columns[name].required, columns[name].accepted_values) == ("boolean", False, ())


def test_only_a_dataset_that_names_a_day_is_laid_out_by_it() -> None:
    for spec in load_specs().values():
        names_a_day = spec.name in ("calls", "events", "text_topics")
        assert spec.is_by_day == ("event_date" in {c.name for c in spec.columns()}) == names_a_day


@pytest.mark.parametrize(
    ("name", "treatment", "column"),
    [
        ("device_id", Treatment.PSEUDONYMISE, "device_key"), ("email", Treatment.PSEUDONYMISE, "email_key"),
        ("device_id", Treatment.KEEP, "device_id"), ("birth_date", Treatment.TRUNCATE, "year"),
    ],
)  # fmt: skip
def test_a_field_lands_in_the_column_its_treatment_says(name: str, treatment: Treatment, column: str) -> None:
    year = Truncate(to=Truncation.YEAR, column="year", description="The year.")
    truncate = year if treatment is Treatment.TRUNCATE else None
    assert field_of(name, treatment=treatment, truncate=truncate).column == column


@pytest.mark.parametrize(
    ("to", "privacy", "column"),
    [
        ("year", "quasi_identifier", ("integer", "quasi_identifier", True)),
        ("year", "direct_identifier", ("integer", "quasi_identifier", True)),
        ("year", "none", ("integer", "none", True)),
        # Not every address says its country.
        ("country", "direct_identifier", ("string", "behaviour", False)),
    ],
)
def test_type_and_class_of_a_truncated_column_follow_from_the_field(
    to: str, privacy: str, column: tuple[str, str, bool]
) -> None:
    truncate = Truncate(to=Truncation(to), column="coarse", description="Coarser.")
    field = field_of("fine", treatment="truncate", truncate=truncate, privacy=privacy, required=True)
    (made,) = (one for one in small_spec([field])["things"].columns() if one.name == "coarse")
    assert (made.type, made.privacy, made.required) == column
    assert made.description == "Coarser."


def test_accounts_land_the_year_and_the_country_alone() -> None:
    columns = {column.name: column for column in load_specs()["accounts"].columns()}
    assert not {"birth_date", "address"} & {*columns}
    assert (columns["birth_year"].type, columns["birth_year"].privacy) == ("integer", "quasi_identifier")
    assert (columns["country"].type, columns["country"].privacy) == ("string", "behaviour")


def test_the_wire_form_of_the_event_only_grows() -> None:
    """Senders hold to what is here: nothing of it is taken away or renamed."""
    spec = load_specs()["events"]
    payloads = {
        "content_view": ["content_id", "content_type", "referrer"],
        "content_progress": ["content_id", "content_type", "depth", "active_ms"],
        "content_reaction": ["content_id", "content_type", "reaction"],
        "search": ["query", "results_count"],
        "advert_impression": ["advert_id", "slot", "position", "page_type", "request_id"],
        "advert_click": ["advert_id", "slot", "position", "page_type", "request_id"],
        "enquiry": ["advert_id", "channel"],
    }
    for payload, names in payloads.items():
        assert [f.name for f in spec.fields if f.payload == payload and f.name in names] == names
    envelope = [
        "event_id", "occurred_at", "sent_at", "received_at", "product", "platform", "app_version", "device_id",
        "user_id", "session_id", "consent", "country", "ip_address", "user_agent",
    ]  # fmt: skip
    assert [f.name for f in spec.fields if f.payload is None and f.name in envelope] == envelope


def test_a_committed_spec_with_a_word_nobody_knows_is_refused() -> None:
    text = json.loads((GENERATED / "events.v1.json").read_text()) | {"retention": 5}
    with pytest.raises(ValueError, match="retention"):
        DatasetSpec.model_validate(text)
