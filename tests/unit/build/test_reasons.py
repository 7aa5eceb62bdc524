"""What of dbt's messages is shown."""

from flows.build.reasons import MOST_LINES, found, why

DATABASE = """Runtime Error in model fct_sessions (models/marts/audience/fct_sessions.sql)
  Binder Error: Referenced column "devise_id" not found in FROM clause!

  LINE 12:     devise_id,
               ^
  compiled code at /somewhere/target/fct_sessions.sql"""
CONTRACT = """Compilation Error in model agg_audience_daily (models/marts/audience/agg_audience_daily.sql)
  This model has an enforced contract that failed.

  | column_name   | definition_type | contract_type | mismatch_reason       |
  | ------------- | --------------- | ------------- | --------------------- |
  | events_count  | BIGINT          |               | missing in contract   |
  | devices_count |                 | BIGINT        | missing in definition |

  > in macro assert_columns_equivalent (macros/relations/column/columns_spec_ddl.sql)
  > called by macro default__get_assert_columns_equivalent (macros/relations/column/columns_spec_ddl.sql)
  > called by model agg_audience_daily (models/marts/audience/agg_audience_daily.sql)"""


def test_the_excerpt_of_the_statement_keeps_its_columns() -> None:
    *_, excerpt, mark = why(DATABASE)
    assert excerpt == "LINE 12:     devise_id,"
    assert mark.index("^") == excerpt.index("devise_id")


def test_every_column_that_breaks_a_contract_is_kept_and_no_macro_of_dbts() -> None:
    lines = why(CONTRACT)
    assert lines[0] == "This model has an enforced contract that failed."
    assert lines[-1].startswith("| devices_count |") and len(lines) == 5


def test_what_is_no_heading_of_dbts_is_kept_and_what_is_long_says_so() -> None:
    assert why("Database Error\n  disk full (while writing)") == ("Database Error", "  disk full (while writing)")
    assert why("") == ()
    assert why("\n".join(map(str, range(MOST_LINES + 3))))[-1] == "... 3 more lines"


def test_rows_are_named_with_the_rules_they_break_where_those_are_known() -> None:
    assert found(1204, "Got 1204 results, configured to fail if != 0") == ("1,204 rows",)
    assert found(1, "broken rules, with rows: a (1)") == ("1 row; broken rules, with rows: a (1)",)
    assert found(0, DATABASE) == why(DATABASE)
    assert found(0, "") == ()
