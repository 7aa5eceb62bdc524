"""Fifty questions whose answers are known: to the MCP server, in one session of a real client, and to the command."""

import json
import sys
from typing import Any

import anyio
import pytest
import yaml
from click.testing import CliRunner

from flows.cli import main
from flows.settings import PROJECT, Settings
from tests.support.asked_lake import CALLS, files

QUESTIONS = yaml.safe_load((PROJECT / "examples" / "questions.yml").read_text())
NAMES = [question["question"] for question in QUESTIONS]


def test_there_are_fifty_or_more_and_each_says_how_its_answer_is_known() -> None:
    assert len(QUESTIONS) == len(set(NAMES)) >= 50
    assert all(question.keys() == {"question", "sql", "answer", "because"} for question in QUESTIONS)


@pytest.fixture(scope="module")
def by_mcp(asked: Settings) -> dict[str, Any]:
    """The answer to each question, all asked in one session over the server's own transport."""
    pytest.importorskip("mcp")
    from mcp.client import Client  # noqa: PLC0415 (an extra)
    from mcp.client.stdio import StdioServerParameters, stdio_client  # noqa: PLC0415

    given = {"TIDEMARK_HOME": str(asked.home), "PYTHONPATH": str(PROJECT)}
    server = StdioServerParameters(command=sys.executable, args=["-P", "-m", "flows.cli", "mcp"], env=given)

    async def session() -> dict[str, Any]:
        found = {}
        async with Client(stdio_client(server)) as client:
            for question in QUESTIONS:
                done = await client.call_tool("query_sql", {"sql": question["sql"]})
                found[question["question"]] = done.content[0].text if done.is_error else done.structured_content
        return found

    return anyio.run(session)


@pytest.mark.parametrize("question", QUESTIONS, ids=NAMES)
def test_an_assistant_gets_the_known_answer(by_mcp: dict[str, Any], asked: Settings, question: dict[str, Any]) -> None:
    answer = by_mcp[question["question"]]
    assert isinstance(answer, dict), answer
    assert answer["rows"] == question["answer"], question["because"]
    assert answer["sql"] == question["sql"]
    assert answer["publication"]["version"] == str((asked.published / "current").readlink())
    assert not answer["rows_left_off"] and answer["notes"] == []


@pytest.mark.parametrize("question", QUESTIONS, ids=NAMES)
def test_the_command_gets_the_known_answer(asked: Settings, question: dict[str, Any]) -> None:
    done = CliRunner().invoke(
        main, ["query", question["sql"], "--format", "json"], env={"TIDEMARK_HOME": str(asked.home)}
    )
    assert done.exit_code == 0, done.output
    assert [[*row.values()] for row in json.loads(done.stdout)] == question["answer"], question["because"]
    assert "data up to 2026-01-" in done.stderr or "ops_" in question["sql"]


def test_what_was_delivered_has_the_figures_that_are_stated() -> None:
    """Of the files, counted without SQL: the figures behind a dozen of the answers."""
    events = [json.loads(line) for name, data in files() if "/events/" in name for line in data.splitlines()]
    events = [*{event["event_id"]: event for event in events if "product" in event}.values()]
    people = [event for event in events if event["consent"] and "Somebot" not in event["user_agent"]]

    def devices(product: str, platform: str) -> set[str]:
        return {e["device_id"] for e in people if (e["product"], e["platform"]) == (product, platform)}

    def done(payload: str, **of: Any) -> list[dict[str, Any]]:
        return [e for e in people if e.get(payload, {}).items() >= of.items() and payload in e]

    assert len(events) == 150
    groups = {of: len(devices(*of)) for of in (("news", "ios"), ("news", "web"), ("sport", "web"), ("play", "tv"))}
    assert groups == {("news", "ios"): 12, ("news", "web"): 15, ("sport", "web"): 10, ("play", "tv"): 4}
    assert len(devices("market", "web")) == 6
    assert [len(done("content_view", content_id=f"c-{n}")) for n in (1, 2, 3, 4)] == [39, 30, 4, 10]
    seconds = [sum(e["content_progress"]["active_ms"] for e in done("content_progress", content_id=c)) for c in
               ("c-1", "c-2", "c-4")]  # fmt: skip
    assert seconds == [200_000, 770_000, 120_000]
    assert [len(done("advert_impression", advert_id=a)) for a in ("a-1", "a-2")] == [10, 6]
    assert [len(done("advert_click", advert_id=a)) for a in ("a-1", "a-2")] == [4, 1]
    assert [len(done("enquiry", advert_id=a)) for a in ("a-1", "a-2")] == [2, 1]
    lengths = [seconds for *_, seconds in CALLS if seconds]
    assert sum(lengths) / len(lengths) == 277.5
