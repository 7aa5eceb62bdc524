"""What people say of topics in seeds, and what is wrong with it."""

from pathlib import Path

import pytest

from flows.errors import TidemarkError
from flows.topics.declared import Declared, declared_of, read_declared, read_names

HEAD = "dataset,field,topics_count,vectors\n"


def declared(folder: Path, text: str) -> dict[str, Declared]:
    path = folder / "topic_settings.csv"
    path.write_text(HEAD + text)
    return read_declared(path)


def test_the_project_declares_what_can_be() -> None:
    assert read_declared()["calls"].field == "transcript"
    assert read_names()["calls-0"] == "unclear"


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ("cars,text,6,words\n", "line 2: the contract has no dataset cars; it has .*calls"),
        ("calls,channel,6,words\n", "line 2: calls has no free text channel; it has transcript"),
        ("calls,transcript,1,words\n", "topics_count is 1; write a number from 2 to 200"),
        ("calls,transcript,many,words\n", "topics_count is many; write a number"),
        ("calls,transcript,,words\n", "topics_count is empty"),
        ("calls,transcript,6,latin\n", "vectors is latin; write one of words, english, multilingual"),
        ("calls,transcript,6,words\ncalls,transcript,7,words\n", "line 3: calls stands there twice"),
        ("calls\n", "calls has no free text None|calls has no free text"),
    ],
)
def test_a_line_that_cannot_be_says_where_and_what_to_do(tmp_path: Path, text: str, what: str) -> None:
    with pytest.raises(TidemarkError, match=what):
        declared(tmp_path, text)


def test_a_dataset_that_is_not_declared_says_which_are() -> None:
    with pytest.raises(TidemarkError, match=r"no topics are declared of events; .* has calls: add a line"):
        declared_of("events")
