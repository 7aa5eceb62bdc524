"""What `tidemark query` and `tidemark shell` print, and what they say when they cannot answer."""

import csv
import io
import json
import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from flows.ask.answer import ask
from flows.ask.connection import Limits
from flows.ask.publication import current_publication
from flows.cli import main
from flows.errors import TidemarkError
from flows.publish.manifest import current_version
from flows.publish.publish import publish
from flows.rights import Visibility
from flows.settings import PROJECT, Settings
from tests.support.processes import as_nobody
from tests.support.small_marts import DAYS, build_small


def query(settings: Settings, *arguments: str, given: str | None = None) -> Result:
    return CliRunner().invoke(main, ["query", *arguments], env={"TIDEMARK_HOME": str(settings.home)}, input=given)


def test_a_table_with_what_it_is_of(small: Settings) -> None:
    done = query(
        small, "select id, number, null as nothing, 'å' || chr(27) || '[2J' as word from agg_whole order by id limit 2"
    )
    assert done.exit_code == 0
    head, rule, first, second, below = done.output.splitlines()
    assert head.split() == ["id", "number", "nothing", "word"] and set(rule) <= {"─", "-"}
    assert first.split() == ["0", "1", "NULL", "å\\x1b[2J"] and second.split()[0] == "1"
    version = current_version(small)
    assert below.startswith(f"publication {version} · published 20") and below.endswith("· level internal")


def test_rows_that_are_left_off_are_said(small: Settings) -> None:
    done = query(small, "from agg_whole", "--limit", "3")
    assert "the first 3 rows; there are more\n--limit N prints N rows" in done.output
    assert "there are more" not in query(small, "from agg_whole", "--limit", "9").output


def test_the_days_of_a_table_say_how_far_its_data_goes(small: Settings) -> None:
    done = query(small, "select count(*) from fct_days", "--level", "restricted")
    assert "150" in done.output and f"data up to {max(DAYS)} · level restricted" in done.output


def test_rows_for_programs_are_alone_in_the_output(small: Settings) -> None:
    sql = "select id, id = 0 as is_first, 'a|\"b\"' as word, null as nothing from agg_whole order by id limit 2"
    as_csv = query(small, sql, "--format", "csv")
    assert [*csv.reader(io.StringIO(as_csv.stdout))] == [
        ["id", "is_first", "word", "nothing"], ["0", "true", 'a|"b"', ""], ["1", "false", 'a|"b"', ""],
    ]  # fmt: skip
    assert as_csv.stderr.startswith("publication ")
    as_json = query(small, sql, "--format", "json")
    assert json.loads(as_json.stdout)[1] == {"id": 1, "is_first": False, "word": 'a|"b"', "nothing": None}
    as_markdown = query(small, sql, "--format", "markdown")
    assert as_markdown.stdout.splitlines()[1:3] == ["| ---: | --- | --- | ---: |", '| 0 | true | a\\|"b" |  |']


def test_json_keeps_columns_of_the_same_name(small: Settings) -> None:
    done = query(small, "select 1 as a, 2 as a, 3 as a", "--format", "json")
    assert json.loads(done.stdout) == [{"a": 1, "a_2": 2, "a_3": 3}]


def test_no_rows_are_said(small: Settings) -> None:
    assert "no rows" in query(small, "from agg_whole where id < 0").output
    assert query(small, "from agg_whole where id < 0", "--format", "json").stdout == "[]\n"


def test_sql_comes_from_an_argument_a_file_or_the_standard_input(small: Settings, tmp_path: Path) -> None:
    file = tmp_path / "question.sql"
    file.write_text("select count(*) as n -- how many\nfrom agg_whole;\n")
    given = file.read_text()
    outputs = [query(small, given), query(small, "--file", str(file)), query(small, "-", given=given)]
    assert all(done.exit_code == 0 for done in outputs) and len({done.output for done in outputs}) == 1
    for wrong in ([], [given, "--file", str(file)]):
        assert query(small, *wrong).exit_code == 2


@pytest.mark.parametrize(
    ("sql", "says"),
    [
        ("from agg_whol", "error: there is no table agg_whol here; did you mean agg_whole?"),
        ("from fct_days", "tables of single people, devices and calls are asked by --level restricted"),
        ("select nosuch from agg_whole", 'Candidate bindings: "number"'),
        ("delete from agg_whole", "error: this is a DELETE; only one SELECT is answered"),
        ("select cast('x' as int)", "Could not convert string 'x'"),
    ],
)
def test_what_is_wrong_is_said_with_what_to_do(small: Settings, sql: str, says: str) -> None:
    done = query(small, sql)
    assert done.exit_code == 1 and says in done.output and "Traceback" not in done.output


def test_a_question_that_takes_too_long_ends(small: Settings) -> None:
    done = query(small, "select count(*) from range(1000000000000)", "--seconds", "1")
    assert done.exit_code == 1 and "took more than 1 seconds" in done.output


def test_where_nothing_is_published_it_says_so(tmp_path: Path) -> None:
    done = query(Settings(home=tmp_path), "select 1")
    assert done.exit_code == 1 and "nothing is published in" in done.output and [*tmp_path.iterdir()] == []


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become somebody else")
def test_who_is_in_no_group_is_told_so(open_small: Settings) -> None:
    def work() -> tuple[int, str, str]:
        done = query(open_small, "select 1")
        return done.exit_code, done.output, ""

    query(open_small, "select 1", "--level", "public")  # what is imported may be in a folder closed to nobody
    code, output, _ = as_nobody(work)
    assert code == 1 and "you may not read what is internal" in output and "--level public" in output


def test_a_stale_table_is_said_to_be(small: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    publication = current_publication(small, Visibility.INTERNAL)
    answer = ask(publication, "from agg_whole", Limits())
    stale = answer.tables[0].__class__(
        **{**vars(answer.tables[0]), "stale_since": publication.published_at, "stale_because": "fct_x (owner: a)"}
    )
    notes = answer.__class__(**{**vars(answer), "tables": (stale,)}).notes
    assert notes == [
        f"agg_whole is stale since {publication.published_at:%Y-%m-%d %H:%M} UTC: it waits for fct_x (owner: a)"
    ]


def test_a_question_keeps_its_publication_while_another_is_published(small: Settings) -> None:
    """What began on one version is answered from it, whatever becomes current; what is asked next has the new one."""
    first = current_publication(small, Visibility.INTERNAL)
    slow = "select max(number), count(*) from agg_whole, range(30000000) where id + range >= 0"
    answers = []
    asking = threading.Thread(target=lambda: answers.append(ask(first, slow, Limits(seconds=120))))
    asking.start()
    build_small(small, 2, *DAYS)
    publish(small)
    second = current_publication(small, Visibility.INTERNAL)
    assert second.version != first.version
    assert ask(second, "select max(number) from agg_whole", Limits()).rows == [[2]]
    assert ask(first, "select max(number) from agg_whole", Limits()).rows == [[1]]
    asking.join()
    assert answers[0].rows == [[1, 270_000_000]] and answers[0].publication.version == first.version


def test_a_publication_that_is_removed_says_to_ask_again(small: Settings) -> None:
    publication = current_publication(small, Visibility.INTERNAL)
    (publication.folder / "parquet" / "agg_whole" / "agg_whole.parquet").unlink()
    with pytest.raises(TidemarkError, match="ask once more"):
        ask(publication, "from agg_whole", Limits())


def test_the_shell_is_duckdb_s_own_and_only_reads(small: Settings) -> None:
    given = "select count(*) as n from agg_whole;\ncreate table mine as select 1;\nselect * from fct_days;\n"
    done = subprocess.run(
        [sys.executable, "-P", "-m", "flows.cli", "shell"], input=given, capture_output=True, text=True, check=False,
        env=os.environ | {"TIDEMARK_HOME": str(small.home), "PYTHONPATH": str(PROJECT)},
    )  # fmt: skip
    assert done.stdout.startswith("publication ") and " 9 " in done.stdout
    assert "read-only mode" in done.stderr and "fct_days does not exist" in done.stderr


def test_without_the_shell_it_says_how_to_get_it(small: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("flows.cli.ask.sys.executable", "/nowhere/python")
    monkeypatch.setenv("PATH", "/nowhere")
    done = CliRunner().invoke(main, ["shell"], env={"TIDEMARK_HOME": str(small.home)})
    assert done.exit_code == 1 and "duckdb-cli" in done.output
