"""What the MCP server offers, cites and refuses, over its real transport."""

import subprocess
import sys
from collections.abc import Awaitable, Callable
from typing import Any

import anyio
import pytest
from click.testing import CliRunner

from flows.cli import main
from flows.publish.manifest import current_version
from flows.publish.publish import publish
from flows.settings import PROJECT, Settings
from tests.support.hostile_sql import BOMBS, HOSTILE
from tests.support.small_marts import DAYS, build_small

SLOW = BOMBS["rows without end"]


def talk(settings: Settings, work: Callable[[Any], Awaitable[None]], *options: str) -> None:
    """Let a client work with a server on this home."""
    pytest.importorskip("mcp")
    from mcp.client import Client  # noqa: PLC0415 (an extra)
    from mcp.client.stdio import StdioServerParameters, stdio_client  # noqa: PLC0415

    given = {"TIDEMARK_HOME": str(settings.home), "PYTHONPATH": str(PROJECT)}
    server = StdioServerParameters(command=sys.executable, args=["-P", "-m", "flows.cli", "mcp", *options], env=given)

    async def session() -> None:
        async with Client(stdio_client(server)) as client:
            await work(client)

    anyio.run(session)


async def refusal(client: Any, sql: str) -> str:
    """What the server says to a question that it does not answer."""
    done = await client.call_tool("query_sql", {"sql": sql})
    assert done.is_error, (sql, done.structured_content)
    return str(done.content[0].text)


def test_it_lists_describes_and_cites(small: Settings) -> None:
    async def work(client: Any) -> None:
        tools = (await client.list_tools()).tools
        assert [tool.name for tool in tools] == [
            "list_products",
            "describe",
            "query_sql",
            "list_metrics",
            "query_metric",
        ]
        assert all(tool.annotations.read_only_hint for tool in tools)
        assert "never 0" in client.instructions
        listed = (await client.call_tool("list_products", {})).structured_content
        assert [product["name"] for product in listed["products"]] == ["agg_whole", "fct_none"]
        assert listed["products"][0]["meaning"] == "All."
        described = (await client.call_tool("describe", {"table": "fct_none"})).structured_content
        assert described["columns"][0] == {"name": "number", "type": "BIGINT", "meaning": ""}
        sql = "select count(*) as n, max(number) from agg_whole"
        answer = (await client.call_tool("query_sql", {"sql": sql})).structured_content
        assert (answer["columns"], answer["rows"], answer["sql"]) == (["n", "max(number)"], [[9, 1]], sql)
        cited = {str(each["publication"]["version"]) for each in (listed, described, answer)}
        assert cited == {current_version(small)}
        short = (await client.call_tool("query_sql", {"sql": "from agg_whole", "limit": 2})).structured_content
        assert len(short["rows"]) == 2 and short["rows_left_off"]
        assert short["notes"] == ["the first 2 rows; there are more"]

    talk(small, work)


def test_it_answers_by_metrics(asked: Settings) -> None:
    async def work(client: Any) -> None:
        listed = (await client.call_tool("list_metrics", {})).structured_content
        readers = next(metric for metric in listed["metrics"] if metric["name"] == "readers")
        assert readers["unit"] == "devices" and readers["dimensions"] == ["platform", "product"]
        given = {"metrics": ["sessions"], "by": ["platform"], "where": ["platform=ios"]}
        answer = (await client.call_tool("query_metric", given)).structured_content
        assert answer["rows"] == [["ios", 24]] and "agg_audience_daily" in answer["sql"]
        assert answer["publication"]["version"] == current_version(asked)
        wrong = await client.call_tool("query_metric", {"metrics": ["sesions"]})
        assert wrong.is_error and "did you mean sessions" in wrong.content[0].text

    talk(asked, work)


def test_it_answers_from_what_is_current(small: Settings) -> None:
    async def work(client: Any) -> None:
        async def newest() -> tuple[str, Any]:
            done = (
                await client.call_tool("query_sql", {"sql": "select max(number) from agg_whole"})
            ).structured_content
            return done["publication"]["version"], done["rows"]

        before = current_version(small)
        assert await newest() == (before, [[1]])
        build_small(small, 2, *DAYS)
        publish(small)
        assert current_version(small) != before
        assert await newest() == (current_version(small), [[2]])

    talk(small, work)


def test_it_refuses_what_the_command_refuses_and_goes_on(small: Settings) -> None:
    names = ("copy to a file", "attach the file with every table", "read_parquet of a restricted table", "query()",
             "two statements", "pragma that gives rows", "settings by a view", "a restricted table")  # fmt: skip

    async def work(client: Any) -> None:
        for name in names:
            sql = HOSTILE[name].replace("{folder}", str(small.published / "current")).replace("{table}", "agg_whole")
            assert current_version(small) in await refusal(client, sql)
        said = await refusal(client, "from agg_whol")
        assert "did you mean agg_whole? there are agg_whole, fct_none, published_tables" in said
        unknown = await client.call_tool("describe", {"table": "fct_days"})
        assert unknown.is_error and "there is no table fct_days here" in unknown.content[0].text
        long = (await client.call_tool("query_sql", {"sql": "select repeat('x', 5000000) as x"})).structured_content
        assert len(long["rows"][0][0]) == 2_000 and long["rows"][0][0].endswith("more characters")
        wide = "select repeat('x', 1900) from range(1000)"
        wide = (await client.call_tool("query_sql", {"sql": wide, "limit": 1000})).structured_content
        assert wide["rows_left_off"] and 20 < len(wide["rows"]) < 40
        assert not (await client.call_tool("query_sql", {"sql": "select 1"})).is_error

    talk(small, work)


def test_questions_that_nobody_waits_for_hold_up_no_other(small: Settings) -> None:
    async def work(client: Any) -> None:
        async def give_up() -> None:
            with anyio.move_on_after(2):
                await client.call_tool("query_sql", {"sql": SLOW})

        async with anyio.create_task_group() as group:
            for _ in range(4):
                group.start_soon(give_up)
        with anyio.fail_after(25):  # they would have worked for 30 s
            assert (await client.call_tool("query_sql", {"sql": "select 1"})).structured_content["rows"] == [[1]]

    talk(small, work)


def test_the_public_level_is_less(small: Settings) -> None:
    async def work(client: Any) -> None:
        listed = (await client.call_tool("list_products", {})).structured_content
        assert [product["name"] for product in listed["products"]] == ["agg_whole"]
        assert "there is no table fct_none here" in await refusal(client, "from fct_none")

    talk(small, work, "--level", "public")


def test_no_level_has_rows_of_single_people(small: Settings) -> None:
    done = CliRunner().invoke(main, ["mcp", "--level", "restricted"], env={"TIDEMARK_HOME": str(small.home)})
    assert done.exit_code == 2 and "'public', 'internal'" in done.output


def test_without_a_publication_it_says_so_when_it_is_asked(tmp_path: Any) -> None:
    async def work(client: Any) -> None:
        done = await client.call_tool("list_products", {})
        assert done.is_error and "nothing is published in" in done.content[0].text

    talk(Settings(home=tmp_path), work)


def test_without_the_package_it_says_how_to_install_it(small: Settings) -> None:
    program = "import sys; sys.modules['mcp'] = None; from flows.cli import main; main(['mcp'])"
    done = subprocess.run([sys.executable, "-c", program], cwd=PROJECT, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "the server needs the package mcp, which is not installed" in done.stdout and "pip install" in done.stdout
