"""What a question may be is decided by DuckDB's parser, and what is not known is refused."""

from collections.abc import Iterator

import duckdb
import pytest

from flows.ask.functions import FUNCTIONS, TABLE_FUNCTIONS
from flows.ask.statement import LONGEST, RefusedError, check
from tests.support.hostile_sql import HOSTILE

TABLES = ("sales", "shops", "published_tables")


@pytest.fixture(scope="module")
def db() -> Iterator[duckdb.DuckDBPyConnection]:
    """A database in memory with the tables."""
    with duckdb.connect() as opened:
        opened.execute("create table sales (id int, shop varchar, amount double, day date)")
        opened.execute("create table shops (shop varchar, tags varchar[])")
        opened.execute("create table published_tables (name varchar)")
        yield opened


ASKED = [
    "select * from sales",
    "from sales",
    "table sales",
    "values (1, 'a'), (2, 'b')",
    "SELECT Shop, SUM(Amount) FROM Memory.Main.Sales GROUP BY ALL ORDER BY ALL DESC NULLS LAST LIMIT 3 OFFSET 1",
    "select shop from sales group by rollup (shop) having count(*) > 1 limit 10%",
    "select distinct on (shop) * exclude (day) replace (amount * 2 as amount) from sales",
    "select row_number() over (partition by shop order by day rows between 1 preceding and current row) from sales "
    "qualify row_number() over (partition by shop order by id) = 1",
    "select * from sales left join shops using (shop) semi join published_tables on name = shop",
    "select * from sales asof join sales as s on sales.shop = s.shop and sales.day >= s.day",
    "with a as materialized (select 1 as n), b as (select n + 1 as n from a) select * from a, b",
    "with recursive n as (select 1 as a union all select a + 1 from n where a < 5) select sum(a) from n",
    "select * from sales where id in (select 1 union select 2 except select 3) or exists (select 1 from shops)",
    "select case when id = 1 then 'x' else cast(day as varchar) end, try_cast(shop as int), id::decimal(9, 2) "
    "from sales",
    "select list(id order by id), [x * 2 for x in [1, 2]], {'a': 1}.a, map {'k': 1}['k'] from sales, shops",
    "select unnest(tags) from shops",
    "select list_filter(tags, lambda t: t like 'a%'), tags[1:2], len(tags) from shops",
    "select count(*) filter (where amount > 1), max_by(id, amount), median(amount), approx_quantile(id, 0.5) "
    "from sales",
    "select date_trunc('week', day), day + interval 7 days, strftime(day, '%Y'), extract(year from day) from sales",
    "select shop ilike 'a%', shop similar to 'a', shop ~ 'b', shop || 'c', coalesce(shop, 'd') from sales",
    "from sales pivot (sum(amount) for shop in ('a', 'b'))",
    "from sales unpivot (v for k in (id, amount))",
    "describe sales",
    "from (summarize sales)",
    "select * from range(3), generate_series(1, 2), unnest([1, 2])",
    "select * from sales using sample 10%",
    "select current_date, now(), today(), random() > 2",
    "select sales.shop, #1 from sales",
    "select columns('a.*') from sales",
    "with sales as (select 1 as mine) select mine from sales",
    "select 1; -- the end",
]


@pytest.mark.parametrize("sql", ASKED)
def test_what_analysts_ask_is_answered(db: duckdb.DuckDBPyConnection, sql: str) -> None:
    checked = check(db, sql, TABLES, "memory")
    db.execute(checked.statement).fetchall()


@pytest.mark.parametrize("name", HOSTILE)
def test_what_wants_more_is_refused_by_what_it_is(db: duckdb.DuckDBPyConnection, name: str) -> None:
    sql = HOSTILE[name].replace("{folder}", "/srv/published/20260115T201504.123456Z").replace("{table}", "sales")
    with pytest.raises(RefusedError) as refused:
        check(db, sql, TABLES, "memory")
    assert len(str(refused.value)) > 20


def test_the_tables_of_a_question_are_known(db: duckdb.DuckDBPyConnection) -> None:
    sql = "with x as (select * from SALES) select * from x where exists (from shops)"
    assert check(db, sql, TABLES, "memory").tables == ("sales", "shops")


@pytest.mark.parametrize(
    ("sql", "says"),
    [
        (
            "select * from sale",
            "there is no table sale here; did you mean sales? there are published_tables, sales, shops",
        ),
        ("select * from nowhere", "there is no table nowhere here; there are published_tables, sales, shops"),
        ("select date_trnc('day', day) from sales", "did you mean date_trunc"),
        ("delete from sales", "this is a DELETE; only one SELECT is answered"),
        ("select 1; select 2", "these are 2 statements"),
        ("selec 1", 'syntax error at or near "selec"'),
        ("show tables", "`select name, description from published_tables` lists them"),
        ("select * from read_csv('x')", "read_csv() is no source of rows here"),
        ("select ?", "write the value in its place"),
    ],
)
def test_a_refusal_says_what_is_wrong_and_what_to_do(db: duckdb.DuckDBPyConnection, sql: str, says: str) -> None:
    with pytest.raises(RefusedError) as refused:
        check(db, sql, TABLES, "memory")
    assert says in str(refused.value)


def test_what_is_too_long_or_too_deep_is_refused_before_it_runs(db: duckdb.DuckDBPyConnection) -> None:
    for sql in (f"select {'1' * LONGEST}", f"select {'abs(' * 900}1{')' * 900}"):
        with pytest.raises(RefusedError):
            check(db, sql, TABLES, "memory")


def test_only_functions_that_duckdb_has_are_listed(db: duckdb.DuckDBPyConnection) -> None:
    """Another name would be one that somebody else could bring."""
    found = db.execute("select distinct lower(function_name) from duckdb_functions()").fetchall()
    assert FUNCTIONS - {name for (name,) in found} == set()


def test_no_listed_function_has_effects_or_sees_the_session(db: duckdb.DuckDBPyConnection) -> None:
    found = db.execute(
        "select distinct lower(function_name) from duckdb_functions() where has_side_effects or stability = 'VOLATILE'"
    ).fetchall()
    # Each gives another value each time, and does nothing else.
    assert FUNCTIONS & {name for (name,) in found} == {"gen_random_uuid", "random", "uuid", "uuidv4", "uuidv7"}
    assert {name for name in FUNCTIONS if name.startswith(("current_", "pg_", "duckdb_", "read_"))} == {
        "current_date", "current_localtime", "current_localtimestamp", "pg_typeof",
    }  # fmt: skip
    assert {"generate_series", "range", "unnest"} == TABLE_FUNCTIONS
