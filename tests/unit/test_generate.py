"""What is committed is what the contract generates, and any difference is found."""

from pathlib import Path

import pytest
import yaml
from click.testing import CliRunner

from flows import generate as generate_module
from flows.contract import DESCRIPTORS, PROJECT, load_specs
from flows.generate import NOTICE, RAW, build_descriptors, differences, generate, main

FILES = generate(DESCRIPTORS.read_bytes())


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A project that holds just the generated files."""
    for path, content in FILES.items():
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_bytes(content)
    return tmp_path


def test_committed_files_follow_the_contract() -> None:
    assert differences(generate(build_descriptors(PROJECT)), PROJECT) == []


def test_generating_twice_gives_the_same_bytes() -> None:
    assert generate(build_descriptors(PROJECT)) == generate(build_descriptors(PROJECT))


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
    ],
)
def test_a_file_no_longer_generated_is_found_and_others_are_left_alone(
    project: Path, path: str, content: str, found: bool
) -> None:
    (project / path).write_text(content)
    assert differences(FILES, project) == ([f"{path}: no longer generated"] if found else [])


def test_check_writes_nothing_and_fails_with_the_files_named(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(generate_module, "PROJECT", project)
    monkeypatch.setattr(generate_module, "build_descriptors", lambda _: DESCRIPTORS.read_bytes())
    assert CliRunner().invoke(main, ["--check"]).exit_code == 0
    changed, surplus = project / RAW / "raw_events.sql", project / RAW / "raw_visits.sql"
    changed.write_text("select 1")
    surplus.write_text(f"-- {NOTICE}")
    done = CliRunner().invoke(main, ["--check"])
    assert done.exit_code == 1
    assert "raw_events.sql: differs" in done.output
    assert "raw_visits.sql: no longer generated" in done.output
    assert "make contract" in done.output
    assert changed.read_text() == "select 1"
    assert CliRunner().invoke(main, []).exit_code == 0
    assert differences(FILES, project) == []
    assert not surplus.exists()


def test_a_contract_that_does_not_compile_is_told_in_the_compiler_s_words(tmp_path: Path) -> None:
    (tmp_path / "buf.yaml").write_text("version: v2\n")
    (tmp_path / "bad.proto").write_text('syntax = "proto3";\nmessage A { nonsense b = 1; }\n')
    with pytest.raises(Exception, match="does not compile") as error:
        build_descriptors(tmp_path)
    assert "nonsense" in str(error.value)


@pytest.mark.parametrize("spec", load_specs().values(), ids=lambda spec: spec.name)
def test_every_landed_column_is_selected_described_and_classed(spec: generate_module.DatasetSpec) -> None:
    sql = FILES[RAW / f"raw_{spec.name}.sql"].decode()
    (model,) = yaml.safe_load(FILES[RAW / f"raw_{spec.name}.yml"])["models"]
    columns = {c["name"]: c for c in model["columns"]}
    rules = model["data_tests"][0]["sound"]["arguments"]["rule"].split(" and ")
    for column in spec.columns():
        assert f"    {column.name}" in sql
        described = columns[column.name]
        assert described["description"]
        assert described["config"]["meta"]["privacy"]
        assert (f"{column.name} is not null" in rules) == column.required
        assert any(rule.startswith(f"{column.name} in (") for rule in rules) == bool(column.accepted_values)
    dropped = {f.name for f in spec.fields if f.column != f.name or f.treatment == "drop"}
    assert not dropped & set(columns)
    assert model["config"]["meta"]["owner"] == spec.owner
