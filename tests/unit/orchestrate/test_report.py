"""What a run says of itself: a line for each thing that failed, the page with the reason first, and its name."""

from dataclasses import replace
from datetime import date

import pytest

from flows.build.build import Build, Node
from flows.build.reasons import MOST_LINES
from flows.clock import organisation_timezone
from flows.orchestrate.problems import NODES_FAILED
from flows.orchestrate.report import (
    LINE_CHARACTERS,
    Failure,
    Link,
    NodesFailedError,
    Report,
    failure_of,
    failures_of,
    markdown,
)
from flows.orchestrate.run_names import days, run_name
from flows.orchestrate.steps import failed
from flows.publish.manifest import Manifest, PublishedTable
from flows.publish.publish import Cause, Publication
from flows.text import counted
from tests.support.schedules import utc

PATH = "models/marts/audience/fct_sessions.sql"
MESSAGE = f"""Runtime Error in model fct_sessions ({PATH})
  Binder Error: Referenced column "devise_id" not found in FROM clause!
  Candidate bindings: "device_id"

  LINE 12:     devise_id,
               ^
  compiled code at /somewhere/target/fct_sessions.sql"""
MODEL = Node("fct_sessions", "model", "error", PATH, 0.2, 0, MESSAGE, "audience-insight")
TEST = Node("assert_x", "test", "fail", "tests/x.sql", 0.1, 1204, "Got 1204 results, configured to fail if != 0", "")


def test_a_line_says_what_failed_where_whose_it_is_why_and_what_to_type() -> None:
    assert failure_of(MODEL).line == (
        f'model fct_sessions failed ({PATH}, owner audience-insight): Binder Error: Referenced column "devise_id" not '
        'found in FROM clause! Candidate bindings: "device_id"; '
        "reproduce: tidemark build -- --select fct_sessions"
    )
    assert failure_of(TEST).line == (
        "test assert_x failed (tests/x.sql, owner none): Got 1204 results, configured to fail if != 0; "
        "reproduce: tidemark build -- --select assert_x"
    )


def test_an_error_of_many_lines_or_none_is_still_one_line() -> None:
    long = replace(MODEL, message="Compilation Error\n" + "\n".join(f"| column_{n} | missing |" for n in range(200)))
    line = failure_of(long).line
    assert "\n" not in line and "more characters" in line and len(line) < LINE_CHARACTERS + 200
    assert len(failure_of(long).why) == MOST_LINES + 1 and failure_of(long).why[-1] == "... 186 more lines"
    assert "): 1,204 rows; " in failure_of(replace(TEST, message="")).line


def test_the_state_names_the_first_few_with_their_reasons_in_one_line() -> None:
    state = failed(NodesFailedError([failure_of(node) for node in [MODEL, TEST] * 3], "once fixed, run again"))
    assert state.is_failed() and state.message is not None and "\n" not in state.message
    assert state.message.startswith(f"{NODES_FAILED}fct_sessions (Binder Error: Referenced column ")
    assert state.message.endswith("), 3 more; once fixed, run again")
    assert str(NodesFailedError([], "run again"))
    assert failures_of([Build([TEST, MODEL])]) == [failure_of(MODEL), failure_of(TEST)], "the likely cause first"


def test_the_page_has_the_reason_first_then_what_stands_and_where_to_go_on() -> None:
    skipped = Node("agg_audience_daily", "model", "skipped", "", 0, 0, "", "")
    built = Node("dim_dates", "model", "success", "", 0, 0, "", "")
    stale = PublishedTable(
        name="fct_sessions",
        day_column=None,
        files=(),
        as_of=utc("2026-11-22 05:00"),
        stale_since=utc("2026-11-22 06:00"),
        stale_because=(Cause("fct_sessions", ""),),
    )
    manifest = Manifest(
        version="v7",
        created_at=utc("2026-11-22 06:00"),
        git_revision=None,
        warehouse_id="w",
        batch_high_water=1,
        change_high_water=1,
        project_fingerprint="f",
        tables=(stale, PublishedTable(name="dim_dates", day_column=None, files=())),
    )
    page = markdown(
        Report(
            "refine · 2 files · failed: 1 model, 1 test",
            (failure_of(MODEL), failure_of(TEST)),
            (Build([MODEL, TEST, skipped, built]),),
            Publication(manifest, is_new=True),
            links=(Link("run refine again", "http://tidemark.example/7"),),
        )
    )
    assert page.startswith(
        "## refine · 2 files · failed: 1 model, 1 test\n\n### model `fct_sessions` failed\n\n"
        '    Binder Error: Referenced column "devise_id" not found in FROM clause!\n'
    )
    assert "- Owner: **audience-insight**\n" in page
    assert f"- File: `{PATH}`\n- Reproduce: `tidemark build -- --select fct_sessions`" in page
    order = [
        "### model `fct_sessions` failed",
        "### test `assert_x` failed",
        "### What stands",
        "Built and passed: 1 model\n",
        "downstream of what failed: `agg_audience_daily`",
        "Version `v7` published: 1 of 2 tables up to date",
        "As they were before: `fct_sessions` (of 2026-11-22 05:00 UTC)",
        "[run refine again](http://tidemark.example/7)",
    ]
    assert [page.index(part) for part in order] == sorted(page.index(part) for part in order)


def test_of_what_no_command_shows_again_the_page_has_the_remedy_alone() -> None:
    refused = Failure("file a.csv", ("it is empty",), "newsroom", "", "", "was refused", remedy="deliver it again")
    assert refused.line == "file a.csv was refused (owner newsroom): it is empty; remedy: deliver it again"
    page = markdown(Report("land", (refused,)))
    assert page.endswith("- Owner: **newsroom**\n- Remedy: deliver it again\n") and "see it again" not in page


def test_the_table_begins_with_what_failed_and_ends_with_what_is_long() -> None:
    good, skipped = (Node(status, "model", status, "m.sql", 1, 0, "ok", "them") for status in ("success", "skipped"))
    page = markdown(Report("refine", builds=(Build([good, skipped]), Build([TEST, replace(MODEL, message="a | b")]))))
    head, _, *rows = page.partition("### Every model and test\n\n")[2].strip().splitlines()
    assert head == "| node | status | owner | kind | rows | seconds | file | message |"
    assert rows == [
        "| `assert_x` | fail |  | test | 1204 | 0.10 | tests/x.sql | Got 1204 results, configured to fail if != 0 |",
        f"| `fct_sessions` | error | audience-insight | model |  | 0.20 | {PATH} | a \\| b |",
        "| `skipped` | skipped | them | model |  | 1.00 | m.sql |  |",
        "| `success` | success | them | model |  | 1.00 | m.sql |  |",
    ]


@pytest.mark.parametrize(
    ("began", "clock"), [("2026-07-01 18:44", "20:44"), ("2026-12-01 19:44", "20:44"), ("2026-12-31 23:30", "00:30")]
)
def test_a_run_is_called_by_its_job_what_it_is_about_and_the_local_time(began: str, clock: str) -> None:
    assert organisation_timezone() == "Europe/Stockholm"
    assert run_name("refine", counted(2, "file"), utc(began)) == f"refine · 2 files · {clock}"
    assert run_name("refine", None, utc(began)) == f"refine · {clock}"


def test_what_a_run_is_about_is_in_words() -> None:
    assert [counted(count, "file") for count in (1, 1_200)] == ["1 file", "1,200 files"]
    day = date(2026, 1, 1)
    assert days(day, day) == "2026-01-01"
    assert days(day, date(2026, 1, 7)) == "2026-01-01 to 2026-01-07"
