"""The example queries of each table: questions in plain words with SQL, which tests ask and know the answers of."""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

import yaml

from flows.settings import PROJECT

QUESTIONS = PROJECT / "examples" / "questions.yml"
# On a page; the file has them all.
MOST = 4


@dataclass(frozen=True)
class Question:
    """A question and the query that answers it."""

    text: str
    sql: str


def questions_by_table(tables: Iterable[str], path: Path = QUESTIONS) -> Mapping[str, tuple[Question, ...]]:
    """The first questions that read each of these tables, by its name; those of one table alone come first."""
    known = set(tables)
    found: dict[str, list[tuple[int, Question]]] = {}
    for one in yaml.safe_load(path.read_text(encoding="utf-8")):
        question = Question(one["question"], one["sql"].strip())
        read = known.intersection(re.findall(r"\w+", question.sql))  # no column is named as a table is
        for table in read:
            found.setdefault(table, []).append((len(read), question))
    return {
        table: tuple(question for _, question in sorted(some, key=lambda pair: pair[0])[:MOST])
        for table, some in found.items()
    }
