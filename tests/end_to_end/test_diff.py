"""A home whose warehouse is that of the sample's, changed by hand, against what the sample's home publishes."""

import shutil
from pathlib import Path

import duckdb
from click.testing import CliRunner

from flows.build.build import Build
from flows.cli import main
from flows.land.land import Landing
from flows.publish.publish import Publication
from flows.settings import Settings

EDITS = """
update marts.agg_audience_daily set views_count = views_count + 1 where views_count is not null;
delete from marts.agg_content_daily where event_date = (select max(event_date) from marts.agg_content_daily);
alter table marts.dim_contents add column extra integer;
alter table marts.dim_dates alter column year type varchar;
update marts.fct_sessions set events_count = events_count + 1;
drop table marts.fct_calls;
insert into marts.dim_adverts select * from marts.dim_adverts limit 1;
"""


def diff_of(home: Path, *arguments: str) -> str:
    done = CliRunner().invoke(main, ["diff", *arguments], env={"TIDEMARK_HOME": str(home)})
    assert done.exit_code == 0, done.output
    return done.output


def test_a_diff_says_what_changed_and_shows_no_row(
    sample_run: tuple[Settings, Landing, Build, Publication], tmp_path: Path
) -> None:
    published = sample_run[0]
    assert diff_of(published.home).splitlines()[1:] == ["the same: 28 tables"]

    mine = Settings(home=tmp_path / "home")
    mine.warehouse.parent.mkdir(parents=True)
    shutil.copy(published.warehouse, mine.warehouse)
    with duckdb.connect(str(mine.warehouse)) as db:
        key = str(db.execute("select session_key from marts.fct_sessions").fetchone())
        db.execute(EDITS)
    found = diff_of(mine.home, "--against", str(published.home))
    assert "agg_audience_daily, 2026" in found and "views_count: other in" in found and "; sum " in found
    # Only days that both have count: the one that was deleted is not missing.
    assert "agg_content_daily" not in found
    assert "column extra added (integer)" in found
    assert "column year: " in found and "-> varchar" in found
    sessions = found[found.index("fct_sessions") :]
    assert "events_count: other in" in sessions and "sum" not in sessions[: sessions.index("the same")]
    assert "not compared row by row: advert_id, version_number is no key of the warehouse" in found
    assert "not built here, so not compared: fct_calls" in found
    assert key not in found
    assert diff_of(mine.home, "--against", str(published.home), "--format", "markdown").startswith("### ")


def test_without_a_publication_it_says_what_to_do(tmp_path: Path) -> None:
    done = CliRunner().invoke(main, ["diff"], env={"TIDEMARK_HOME": str(tmp_path)})
    assert done.exit_code == 1 and "`tidemark run` publishes there" in done.output
