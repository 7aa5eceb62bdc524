"""Customers' turns in which others labelled what is personal: nearly all of it is found, and little else."""

import pytest

from benchmarks.redaction import FOLDER, OTHER, Measured, Turn, measure, turns
from flows.land.redaction.redact import redact

pytestmark = pytest.mark.skipif(
    not FOLDER.exists(),
    reason="the collected conversations are not here: TIDEMARK_REAL_DATA does not name their folder",
)

# The share of labelled words that is replaced, at least. Names that are a whole turn need the question before them,
# which is not in these files.
RECALL = {
    "email": 0.9, "phone": 0.9, "card": 0.9, "account": 0.9, "id": 0.9, "postcode": 0.9, "reference": 0.9,
    "password": 0.85, "name": 0.7, "address": 0.7,
}  # fmt: skip
MOST_FALSE = 0.03


@pytest.fixture(scope="module")
def rows() -> list[Turn]:
    return turns()


@pytest.fixture(scope="module")
def measured(rows: list[Turn]) -> Measured:
    return measure(rows)


@pytest.mark.parametrize("kind", RECALL)
def test_recall(measured: Measured, kind: str) -> None:
    assert measured.replaced[kind] >= RECALL[kind] * measured.labelled[kind] > 0


def test_little_else_is_replaced(measured: Measured) -> None:
    assert measured.replaced[OTHER] <= MOST_FALSE * measured.labelled[OTHER]


def test_redacting_again_changes_nothing(rows: list[Turn]) -> None:
    once = {redact(turn.text).text for turn in rows}
    assert [text for text in once if redact(text).text != text] == []
