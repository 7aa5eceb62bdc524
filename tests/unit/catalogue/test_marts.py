"""The lists of the marts follow from the models' YAML."""

import os
import subprocess
from pathlib import Path

import click
import pytest

from flows.catalogue.marts import BEGIN, END, first_sentence, list_of, names_of, read_marts, with_table, written
from flows.contract.spec import PROJECT


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("One row per thing.\n\nMore of it. And more.", "One row per thing."),
        ("One row per day, from 1.5 to\n  2.5 o'clock. More.", "One row per day, from 1.5 to 2.5 o'clock."),
        ("One row per thing", "One row per thing"),
        ("", ""),
    ],
)
def test_the_first_sentence_ends_at_a_full_stop_before_a_space(text: str, sentence: str) -> None:
    assert first_sentence(text) == sentence


def test_a_new_mart_is_listed_with_its_sentence(tmp_path: Path) -> None:
    folder = tmp_path / "models/marts/content"
    folder.mkdir(parents=True)
    (folder / "agg_new.yml").write_text(
        "models:\n  - name: agg_new\n    description: One row per new. More.\n"
        "    config: {meta: {visibility: internal}}\n"
    )
    marts = read_marts(tmp_path)
    assert "## content\n" in list_of(marts)
    assert "| [`agg_new`](../models/marts/content/agg_new.sql) | internal | One row per new. |" in list_of(marts)
    table = names_of(marts)
    assert "| content | [`agg_new`](models/marts/content/agg_new.sql) |" in table
    readme = with_table(f"before\n{BEGIN}old\n{END}after\n", table)
    assert readme == f"before\n{BEGIN}\n{table}\n{END}after\n"
    assert with_table(readme, table) == readme


def test_a_readme_without_a_place_for_it_is_named(tmp_path: Path) -> None:
    with pytest.raises(click.ClickException, match="put these two lines where it is to be"):
        with_table("nothing", "table")


def test_the_marts_that_there_are_are_listed() -> None:
    for path, wanted in written(PROJECT).items():
        assert path.read_text(encoding="utf-8") == wanted, "run `make contract`"
        assert "`fct_sessions`" in wanted


@pytest.mark.long
def test_the_catalogue_is_made_without_the_warehouse(tmp_path: Path) -> None:
    (tmp_path / "warehouse").mkdir()
    (tmp_path / "warehouse/tidemark.duckdb").write_text("what opens this fails")
    environment = os.environ | {"TIDEMARK_HOME": str(tmp_path)}
    done = subprocess.run(["make", "docs"], cwd=PROJECT, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    folder = PROJECT / "target/catalogue"
    for line, name in zip(done.stdout.splitlines()[-2:], ("models.html", "lineage.html"), strict=True):
        assert line.endswith(f"file://{folder / name}")
        text = (folder / name).read_text(encoding="utf-8")
        assert "fct_sessions" in text and str(PROJECT) not in text
