"""What is committed is what the contract generates, any difference is found, and no column can be forgotten."""

import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click
import pytest
import yaml
from click.testing import CliRunner
from google.protobuf import descriptor_pb2

from flows.contract.generate import __main__ as command
from flows.contract.generate import build_descriptors, columns, differences, generate, history, raw, staging
from flows.contract.generate.documents import NOTICE
from flows.contract.spec import DESCRIPTORS, LINEAGE, PROJECT, DatasetSpec, load_specs
from tests.support.contracts import changed

FILES = generate(DESCRIPTORS.read_bytes(), PROJECT)
DEDUPLICATED = columns.FOLDER / "int_events__events_deduplicated.sql"
DESCRIBED = DEDUPLICATED.with_suffix(".yml")
COMPARED = columns.FOLDER / "int_events__copies_compared.sql"
EVENTS = staging.path_of(load_specs()["events"], "sql")
SPECS = pytest.mark.parametrize("spec", load_specs().values(), ids=lambda spec: spec.name)


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A project that holds just the generated files."""
    for path, content in FILES.items():
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_bytes(content)
    return tmp_path


def described(yml: bytes) -> dict[str, dict[str, Any]]:
    (model,) = yaml.safe_load(yml)["models"]
    return {column["name"]: column for column in model["columns"]}


def selected(sql: bytes) -> list[str]:
    """The names that the last select of a generated model gives."""
    lines = sql.decode().rsplit("\nselect\n", 1)[1].split("\nfrom ")[0].splitlines()
    return [re.findall(r"\w+", line)[-1] for line in lines if not line.strip().startswith("--")]


def compared(sql: bytes) -> list[str]:
    """What the comparison of copies orders by and compares, as its lists name it."""
    return re.findall(r"'(\w+)'", sql.decode().split(columns.BEGIN)[1].split(columns.END)[0])


def test_committed_files_follow_the_contract() -> None:
    assert differences(generate(build_descriptors(PROJECT), PROJECT), PROJECT) == []


def test_generating_twice_gives_the_same_bytes(project: Path) -> None:
    assert generate(build_descriptors(PROJECT), project) == FILES


def test_nothing_differs_right_after_generating(project: Path) -> None:
    assert differences(FILES, project) == []


@pytest.mark.parametrize("path", FILES, ids=str)
def test_a_changed_file_is_found(project: Path, path: Path) -> None:
    (project / path).write_bytes(FILES[path] + b" ")
    assert differences(FILES, project) == [f"{path}: differs"]


@pytest.mark.parametrize("path", FILES, ids=str)
def test_a_missing_file_is_found(project: Path, path: Path) -> None:
    (project / path).unlink()
    assert differences(FILES, project) == [f"{path}: missing"]


@pytest.mark.parametrize(
    ("path", "content", "found"),
    [
        ("contracts/generated/visits.v1.json", "{}", True),
        ("models/raw/raw_visits.sql", f"-- {NOTICE}\nselect 1", True),
        ("models/raw/raw_visits.yml", f"# {NOTICE}\n", True),
        ("models/raw/raw_by_hand.sql", "select 1", False),
        ("models/staging/web/stg_web__visits.sql", f"-- {NOTICE}\nselect 1", True),
        ("models/staging/web/stg_web__by_hand.sql", "select 1", False),
    ],
)
def test_a_file_no_longer_generated_is_found_and_others_are_left_alone(
    project: Path, path: str, content: str, found: bool
) -> None:
    (project / path).parent.mkdir(exist_ok=True)
    (project / path).write_text(content)
    assert differences(FILES, project) == ([f"{path}: no longer generated"] if found else [])


def test_check_writes_nothing_and_fails_with_the_files_named(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(command, "PROJECT", project)
    monkeypatch.setattr(command, "build_descriptors", lambda _: DESCRIPTORS.read_bytes())
    assert CliRunner().invoke(command.main, ["--check"]).exit_code == 0
    edited, surplus = project / raw.FOLDER / "raw_events.sql", project / raw.FOLDER / "raw_visits.sql"
    edited.write_text("select 1")
    surplus.write_text(f"-- {NOTICE}")
    done = CliRunner().invoke(command.main, ["--check"])
    assert done.exit_code == 1
    assert "raw_events.sql: differs" in done.output
    assert "raw_visits.sql: no longer generated" in done.output
    assert "make contract" in done.output
    assert edited.read_text() == "select 1"
    assert CliRunner().invoke(command.main, []).exit_code == 0
    assert differences(FILES, project) == []
    assert not surplus.exists()


def test_a_contract_that_does_not_compile_is_reported_in_the_compiler_s_words(tmp_path: Path) -> None:
    (tmp_path / "buf.yaml").write_text("version: v2\n")
    (tmp_path / "bad.proto").write_text('syntax = "proto3";\nmessage A { nonsense b = 1; }\n')
    with pytest.raises(Exception, match="does not compile") as error:
        build_descriptors(tmp_path)
    assert "nonsense" in str(error.value)


def test_a_contract_that_contradicts_itself_is_no_traceback() -> None:
    def forget_it(field: Any, option: Any) -> None:
        option.description = ""

    with pytest.raises(click.ClickException, match=r"Event\.country: every field needs"):
        generate(changed("country", forget_it), PROJECT)


@SPECS
def test_every_landed_column_is_selected_described_and_classed(spec: DatasetSpec) -> None:
    sql = FILES[raw.path_of(spec, "sql")].decode()
    (model,) = yaml.safe_load(FILES[raw.path_of(spec, "yml")])["models"]
    columns = {c["name"]: c for c in model["columns"]}
    test = model["data_tests"][0]["valid_rows"]["arguments"]
    for column in spec.columns():
        assert f"    {column.name}" in sql
        described = columns[column.name]
        assert described["description"]
        assert described["config"]["meta"]["privacy"]
        assert (column.name in test["not_null"]) == column.required
        rules = [rule for rule in test.get("rules", {}).values() if rule.startswith(f"{column.name} in (")]
        assert bool(rules) == bool(column.accepted_values)
    dropped = {f.name for f in spec.fields if f.column != f.name or f.treatment == "drop"}
    assert not dropped & set(columns)
    assert model["config"]["meta"]["owner"] == spec.owner


@SPECS
def test_the_rows_of_every_dataset_are_counted_against_its_receipts(spec: DatasetSpec) -> None:
    (model,) = yaml.safe_load(FILES[raw.path_of(spec, "yml")])["models"]
    name = "conserved_by_day" if spec.is_by_day else "conserved"
    (test,) = (next(iter(t.values())) for t in model["data_tests"] if "conserved" in next(iter(t)))
    assert [t for t in model["data_tests"] if name in t] == [{name: test}]
    assert test["arguments"] == {"dataset": spec.name}


@SPECS
def test_staging_takes_every_raw_column_and_no_list_whose_values_are_known(spec: DatasetSpec) -> None:
    names = selected(FILES[staging.path_of(spec, "sql")])
    columns = described(FILES[staging.path_of(spec, "yml")])
    assert list(columns) == names
    assert sorted(names) == sorted(column.name for column in spec.columns())
    for column in spec.columns():
        assert columns[column.name]["config"]["meta"]["privacy"] == column.privacy
    for f in spec.fields:
        if f.type == "string[]" and f.accepted_values and f.treatment != "drop":
            assert f.column not in names and {f"has_{v}_{f.column}" for v in f.accepted_values} <= set(names)
            assert {columns[f"has_{v}_{f.column}"]["config"]["meta"]["privacy"] for v in f.accepted_values} == {
                f.privacy
            }
    assert not {f.name for f in spec.fields if f.treatment == "drop"} & set(names)


def test_flags_and_spelled_out_lists_are_never_null() -> None:
    sql = FILES[EVENTS].decode()
    assert "    coalesce(is_bot, false) as is_bot,\n" in sql
    assert "    coalesce(has_analytics_consent, false) as has_analytics_consent,\n" in sql


def test_free_text_is_in_no_model_and_staging_says_where_it_is() -> None:
    assert b"is in no table: transcript." in FILES[staging.path_of(load_specs()["calls"], "sql")]
    assert not [path for path, text in FILES.items() if path.suffix == ".yml" and b"name: transcript" in text]
    assert b"Free text" not in FILES[EVENTS]


def test_which_events_carry_a_column_is_said() -> None:
    result = described(FILES[EVENTS.with_suffix(".yml")])["advert_id"]["description"]
    assert result.endswith("In advert_impression, advert_click and enquiry; NULL in other events.")


def test_events_stand_deduplicated_with_every_column_of_staging() -> None:
    names = [name for name in selected(FILES[EVENTS]) if name not in LINEAGE]
    assert selected(FILES[DEDUPLICATED])[: len(names)] == names
    assert list(described(FILES[DESCRIBED]))[: len(names)] == names


def test_copies_are_told_apart_by_every_column_but_those_they_meet_by() -> None:
    listed = compared(FILES[COMPARED])
    assert sorted(listed) == sorted({*selected(FILES[EVENTS])} - {"event_id", "event_date", *LINEAGE})
    # The time first, the delivery's own last.
    assert (listed[0], listed[-2:]) == ("occurred_at", ["sent_at", "received_at"])


def renamed(name: str) -> Callable[[Any, Any], None]:
    return lambda field, option: setattr(field, "name", name)


def test_a_new_column_reaches_every_model_of_events() -> None:
    files = generate(changed("reaction", renamed("feeling"), "ContentReaction"), PROJECT)
    for path in (raw.path_of(load_specs()["events"], "sql"), EVENTS, DEDUPLICATED):
        assert "feeling" in selected(files[path])
        assert "reaction" not in selected(files[path])
    assert "feeling" in described(files[DESCRIBED])
    assert "feeling" in compared(files[COMPARED])


def test_a_column_of_the_delivery_is_no_difference_between_copies() -> None:
    def change(field: Any, option: Any) -> None:
        option.per_delivery = True

    lists = generate(changed("app_version", change), PROJECT)[COMPARED].decode().split("{% set of_delivery")
    assert ["'app_version'" in part for part in lists] == [False, True]


def test_a_list_s_values_become_names_and_two_alike_are_refused() -> None:
    def change(*values: str) -> bytes:
        # Not the list of consent, whose values are to be purposes.
        def to_values(field: Any, option: Any) -> None:
            field.label = field.LABEL_REPEATED
            field.ClearField("proto3_optional")
            field.ClearField("oneof_index")
            option.accepted_values.extend(values)

        return changed("app_version", to_values)

    sql = generate(change("Third parties"), PROJECT)[EVENTS].decode()
    assert "    coalesce(has_third_parties_app_version, false) as has_third_parties_app_version,\n" in sql
    with pytest.raises(click.ClickException, match=r"'a-b'.*'a_b'.*would share the column has_a_b_app_version; rename"):
        generate(change("a-b", "a_b"), PROJECT)
    for value in ("it's", "", "å", "}}"):
        with pytest.raises(click.ClickException, match=r"Event\.app_version: the accepted value.*letters of a to z"):
            generate(change(value), PROJECT)


def test_a_new_dataset_brings_all_it_needs() -> None:
    files = descriptor_pb2.FileDescriptorSet.FromString(DESCRIPTORS.read_bytes())
    (contents,) = (f for f in files.file if f.package == "tidemark.contents.v1")
    letters = descriptor_pb2.FileDescriptorProto.FromString(
        contents.SerializeToString().replace(b"tidemark.contents.v1", b"tidemark.letterss.v1")
    )
    letters.name = "letters.proto"
    option = letters.message_type[0].options
    option.ParseFromString(option.SerializeToString().replace(b"contents", b"letterss").replace(b"cms", b"esp"))
    files.file.append(letters)
    new = generate(files.SerializeToString(), PROJECT)
    assert {str(path) for path in set(new) - set(FILES)} == {
        "contracts/generated/letterss.v1.json",
        *(f"models/raw/raw_letterss.{suffix}" for suffix in ("sql", "yml")),
        *(f"models/staging/esp/stg_esp__letterss.{suffix}" for suffix in ("sql", "yml")),
        *(
            f"models/intermediate/content/int_content__letterss_{step}.{suffix}"
            for step in ("touched", "deduplicated", "versioned")
            for suffix in ("sql", "yml")
        ),
    }
    (source,) = yaml.safe_load(new[raw.SOURCES])["sources"]
    assert "letterss" in {table["name"] for table in source["tables"]}


@SPECS
def test_a_history_keeps_every_attribute_but_free_text(spec: DatasetSpec) -> None:
    models = {path.name: content.decode() for path, content in history.models(spec).items() if path.suffix == ".sql"}
    if spec.history is None:
        assert models == {}
        return
    deduplicated = models.pop(f"int_{spec.history.domain}__{spec.name}_deduplicated.sql")
    staged = [each.column for each in staging.staged_columns(spec)]
    assert selected(deduplicated.encode()) == [c.name for c in staged if c.privacy != "free_text"]
    assert f"int_{spec.history.domain}__{spec.name}_touched.sql" in models
    versioned = models.get(f"int_{spec.history.domain}__{spec.name}_versioned.sql")
    assert (versioned is not None) == spec.history.versions
    for column in staged if versioned else []:
        is_attribute = column.name not in (*spec.key, spec.history.updated_at, *LINEAGE)
        assert (f"or {column.name} is distinct from previous_{column.name}" in str(versioned)) == is_attribute


@pytest.mark.parametrize(
    "damage",
    [
        lambda text: text.replace(columns.BEGIN, "Columns."),
        lambda text: text.replace(columns.END, "End."),
        lambda text: text + text,
    ],
)
def test_a_model_without_its_marks_is_named_and_what_is_by_hand_is_left_alone(
    project: Path, damage: Callable[[str], str]
) -> None:
    path = project / DEDUPLICATED
    by_hand = path.read_text().replace("-- One row per event", "-- ONE row per event").replace("    country,\n", "")
    path.write_text(by_hand)
    again = generate(DESCRIPTORS.read_bytes(), project)[DEDUPLICATED].decode()
    assert again == FILES[DEDUPLICATED].decode().replace("-- One row per event", "-- ONE row per event")
    path.write_text(damage(by_hand))
    with pytest.raises(click.ClickException, match=rf"{DEDUPLICATED}: its generated columns.*put them back"):
        generate(DESCRIPTORS.read_bytes(), project)
    shutil.rmtree(path.parent)
    with pytest.raises(click.ClickException, match="not there"):
        generate(DESCRIPTORS.read_bytes(), project)
