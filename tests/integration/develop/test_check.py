"""A project that is broken in every way is checked once, and each fault is named with its place."""

from pathlib import Path

import pytest

from flows.build import dbt as dbt_module
from flows.develop import check as check_module
from flows.develop.check import check
from flows.settings import Settings
from tests.support.workshop import Workshop

SOUND = "{product: string, platform: string}"
# Each model's SQL, and its columns.
MODELS = {
    "unknown_column": (
        "select\n    product,\n    platform_kind as platform\nfrom {{ ref('agg_audience_daily') }}",
        SOUND,
    ),
    "below_it": ("select product, platform from {{ ref('unknown_column') }}", SOUND),
    "broken_below_it": ("select product, browser as platform\nfrom {{ ref('unknown_column') }}", SOUND),
    "wrong_type": (
        "select\n    {% for name in ['a', 'b'] %}\n    1 as {{ name }},\n    {% endfor %}\n    year(product) as years\n"
        "from {{ ref('agg_audience_daily') }}",
        "{a: integer, b: integer, years: bigint}",
    ),
    "bad_syntax": ("select product,, platform\nfrom {{ ref('agg_audience_daily') }}", SOUND),
    "other_contract": (
        "select product, 1 as number, 2 as visits\nfrom {{ ref('agg_audience_daily') }}",
        "{product: string, number: bigint, visit: integer}",
    ),
    "no_such_type": ("select product\nfrom {{ ref('agg_audience_daily') }}", "{product: strnig}"),
}
TEST = "select product\nfrom {{ ref('agg_audience_daily') }}\nwhere users_count < 0\n"


@pytest.fixture
def workshop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Workshop:
    made = Workshop(tmp_path / "project")
    monkeypatch.setattr(dbt_module, "PROJECT", made.folder)
    monkeypatch.setattr(check_module, "PROJECT", made.folder)
    monkeypatch.setattr(check_module, "PLACE", made.folder / "target" / "check")
    return made


def test_all_that_is_wrong_is_found_at_once(workshop: Workshop, tmp_path: Path) -> None:
    (workshop.folder / "models" / "mine").mkdir()
    for name, (sql, columns) in MODELS.items():
        workshop.write(f"models/mine/{name}.sql", f"{sql}\n")
        listed = "".join(
            f"      - {{name: {column}, data_type: {kind}}}\n"
            for column, kind in (pair.split(": ") for pair in columns.strip("{}").split(", "))
        )
        workshop.write(f"models/mine/{name}.yml", f"models:\n  - name: {name}\n    columns:\n{listed}")
    workshop.write("tests/singular/assert_mine.sql", TEST)
    home = tmp_path / "home"
    done = check(Settings(home=home))
    found = {finding.name: (finding.place, finding.message) for finding in done.findings}
    assert set(found) == {*MODELS, "assert_mine"} - {"below_it"}
    assert not home.exists()

    place, message = found["unknown_column"]
    assert place == "models/mine/unknown_column.sql:3" and '"platform_kind"' in message and '"platform"' in message
    place, message = found["broken_below_it"]
    assert place == "models/mine/broken_below_it.sql:1" and '"browser"' in message
    place, message = found["wrong_type"]
    assert place == "models/mine/wrong_type.sql:5" and "year(VARCHAR)" in message
    place, message = found["bad_syntax"]
    assert place == "models/mine/bad_syntax.sql:1" and "syntax error" in message
    place, message = found["other_contract"]
    assert place == "models/mine/other_contract.yml"
    assert "number is INTEGER in the SQL and BIGINT in the YAML" in message
    assert "the SQL has no column visit; it has visits, which the YAML has not" in message
    place, message = found["no_such_type"]
    assert place == "models/mine/no_such_type.yml" and "strnig" in message
    place, message = found["assert_mine"]
    assert place == "tests/singular/assert_mine.sql:3" and '"users_count"' in message


def test_what_cannot_be_parsed_is_named_with_its_file(workshop: Workshop, tmp_path: Path) -> None:
    workshop.write("models/lost.sql", "select * from {{ ref('agg_audience_dayly') }}\n")
    (finding,) = check(Settings(home=tmp_path / "home")).findings
    assert finding.path == "models/lost.sql"
    assert "agg_audience_dayly" in finding.message and "nothing else was checked" in finding.message
